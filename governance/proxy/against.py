"""What is against serving certain bytes: findings that the log gives, of the holder of an alias and
of the new version of a rollout alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from governance.attest.findings import finding
from governance.attest.predicates import CANDIDATE, Finding
from governance.history import cases
from governance.history.state import LogState
from governance.policy.serving import ServingRules
from governance.release.serving import Served, late_review


def incidents(now: LogState, digest: str, subject: str, rules: ServingRules) -> Iterator[Finding]:
    """A finding for each open incident that ends serving."""
    last = {
        (case.model, case.version): case  # the last one of each version
        for case in cases.cases(now.timeline.incidents(digest))
    }
    for statement in now.timeline.open_incidents(digest):
        incident = statement.predicate
        case = last.get((incident.model, incident.version))
        severity = case.severity if case else None
        if rules.stops_at(severity):
            expected = f"none of severity {rules.stop_at_incident} or more"
            found = f"entry {statement.index}, severity {severity or 'not stated'}"
            fields = {"model": incident.model, "version": incident.version}
            yield finding("INCIDENT_OPEN", subject, expected=expected, found=found, **fields)


def retired(now: LogState, digest: str, subject: str) -> Iterator[Finding]:
    """A finding if these bytes were retired."""
    for statement in now.timeline.retirements.values():
        move = statement.predicate
        if move.model_digest == digest and move.alias != CANDIDATE:
            fields = {"model": move.model, "version": move.version, "alias": move.alias}
            yield finding("RETIRED", subject, found=f"entry {statement.index}", **fields)
            return


def unreviewed(now: LogState, served: Served, at: datetime) -> Iterator[Finding]:
    """A finding if the periodic review of the version has lapsed and policy then stops it."""
    late = late_review(now, served, at)
    if late is not None and late.stops_serving:
        expected = "a review within the days of grace"
        found = f"due on {late.due}, last reviewed in entry {late.last.index}"
        fields = {"version": served.name}
        yield finding("REVIEW_STOPS_SERVING", served.name, expected=expected, found=found, **fields)
