"""What the log says of the alias that is served (`permission.Said`).

1. The holder is resolved and checked as the verifying loader does: `governance.release.serving`.
   What the loader refuses is a finding here.
2. Beyond the loader: open incidents end serving from the severity on that policy names; and so does
   a retirement of these bytes under any version number.
3. A row of the registry that says something else of version or alias is a finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from governance.attest.findings import finding
from governance.attest.predicates import CANDIDATE, Finding, Promotion
from governance.base.errors import InputError, VerificationError
from governance.history import cases
from governance.history.state import LogState
from governance.log.evidence import Evidence
from governance.policy.serving import ServingRules
from governance.proxy.permission import Held, Said
from governance.release import retrospect
from governance.release.serving import resolve


def said_of(now: LogState, model: str, alias: str, differences: Iterable[Finding] = ()) -> Said:
    """What the log says. `differences`: between log and registry."""
    rules, name = rules_of(now), f"{model}@{alias}"
    tenure = now.timeline.holders.get((model, alias))
    if tenure is None:
        return Said(now.size, (), None, (_not_held(now, model, alias),), rules)
    try:
        resolve(now, name)
    except (VerificationError, InputError) as error:
        return Said(now.size, (), None, (_refused(now, name, error),), rules)
    held = _held(now, tenure.given, rules)
    concerned = {held.name, name}
    findings = tuple(each for each in differences if each.subject in concerned)
    return Said(now.size, (held,), _former(now, tenure.given, rules), findings, rules)


def rules_of(now: LogState) -> ServingRules:
    """What the policies in force say of serving; the defaults where the log, an old one, does not
    carry them.
    """
    policies = now.authority.in_force.policies
    return policies.rules.serving if policies is not None else ServingRules()


def _held(now: LogState, given: Evidence[Promotion], rules: ServingRules) -> Held:
    move = given.predicate
    subject = f"{move.model}/{move.version}"
    against = (
        *_incidents(now, move.model_digest, subject, rules),
        *_retired(now, move.model_digest, subject),
    )
    return Held(move.model, move.version, move.model_digest, given.index, against)


def _former(now: LogState, given: Evidence[Promotion], rules: ServingRules) -> Held | None:
    """The version from which a promotion took the alias, unless its bytes were rejected since."""
    if given.predicate.action != "promote":
        return None
    ended = (each for each in now.timeline.tenures if each.ended is not None)
    before = next((each for each in ended if each.ended and each.ended.index == given.index), None)
    if before is None or now.timeline.settled_otherwise(before.given.predicate) is not None:
        return None
    return _held(now, before.given, rules)


def _incidents(now: LogState, digest: str, subject: str, rules: ServingRules) -> Iterator[Finding]:
    """(2) A finding for each open incident that ends serving."""
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


def _retired(now: LogState, digest: str, subject: str) -> Iterator[Finding]:
    """(2) A finding if these bytes were retired."""
    for statement in now.timeline.retirements.values():
        move = statement.predicate
        if move.model_digest == digest and move.alias != CANDIDATE:
            fields = {"model": move.model, "version": move.version, "alias": move.alias}
            yield finding("RETIRED", subject, found=f"entry {statement.index}", **fields)
            return


def _not_held(now: LogState, model: str, alias: str) -> Finding:
    """Why nobody holds the alias: its last holder was retired, or nobody ever did."""
    tenures = [
        tenure for tenure in now.timeline.tenures if (tenure.model, tenure.alias) == (model, alias)
    ]
    last = tenures[-1] if tenures else None
    if last is not None and last.ended is not None and last.how_ended == "retired":
        fields = {"model": model, "version": last.version, "alias": alias}
        subject, found = f"{model}/{last.version}", f"entry {last.ended.index}"
        return finding("RETIRED", subject, found=found, **fields)
    return finding("ALIAS_NOT_HELD", f"{model}@{alias}", alias=alias)


def _refused(now: LogState, name: str, error: VerificationError | InputError) -> Finding:
    """(1) What the loader refuses."""
    known = [each for each in retrospect.rejected(now) if each.subject == name]
    if known:
        return known[0]
    return finding(
        "DECISION_NOT_REPRODUCED",
        name,
        expected=error.expected,
        found=f"{error.found} {error.where}",
    )
