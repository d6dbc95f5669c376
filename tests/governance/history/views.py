"""Every reader of one log, asked for the same facts, and a fold of our own to hold them against."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from governance.attest.predicates import CANDIDATE, Promotion
from governance.base.errors import InputError
from governance.base.time import instant_of
from governance.gates.checks.votes import packet_votes
from governance.history.state import LogState
from governance.history.verify import LogReport
from governance.history.votes import distinct
from governance.release import promotion, retrospect, serving
from governance.release.shown import shown
from governance.report.index import index
from governance.report.standing import Standing
from governance.report.status import versions_of

Holders = dict[tuple[str, str], str]


@dataclass
class Fold:
    """What the log says, told by nothing but its entries."""

    holders: Holders = field(default_factory=dict)
    retired: set[str] = field(default_factory=set)
    consumed: set[str] = field(default_factory=set)
    requests: dict[str, Any] = field(default_factory=dict)
    incidents: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def open_requests(self, at: datetime) -> set[str]:
        found = set()
        for digest, asked in self.requests.items():
            held = self.holders.get((asked.model, asked.alias))
            stands = asked.action == "retire" or asked.from_version == held
            if digest not in self.consumed and stands and at < instant_of(asked.expires):
                found.add(digest)
        return found


def fold(now: LogState) -> Fold:
    """Of a log whose people may say what they say."""
    found = Fold()
    for item in now.evidence.all():
        said = item.predicate
        match item.kind:
            case "promotion" if said.allowed:
                _move(found, said)
            case "request":
                found.requests[item.digest] = said
            case "incident":
                about = (said.version, item.subjects[0].sha256)
                found.incidents.setdefault(about, []).append(said.state)
    return found


def _move(found: Fold, said: Promotion) -> None:
    if said.request:
        found.consumed.add(said.request)
    if said.action != "retire":
        found.holders[said.model, said.alias] = said.version
        return
    found.retired.add(said.version)
    for key, version in list(found.holders.items()):
        if version == said.version and key[1] != CANDIDATE:
            del found.holders[key]


def check(now: LogState, at: datetime) -> None:
    """Raises `AssertionError` where any two readers of this log disagree."""
    truth = fold(now)
    rows = index(now, LogReport(project="x", entries=now.size), at)
    _check_holders(now, at, truth, rows)
    asked = {str(one["request"]) for one in retrospect.waiting(now, at)}
    assert asked == truth.open_requests(at)
    assert len(asked) == sum(
        one.evidence[0] in _entries(now, asked) for one in rows.waiting if one.evidence
    )
    for (model, version), item in now.timeline.registrations.items():
        row = next(one for one in rows.versions if (one.model, one.version) == (model, version))
        _check_version(now, at, truth, row, Standing(now, item.predicate, at))


def _entries(now: LogState, digests: set[str]) -> set[int]:
    return {item.index for item in now.evidence.all("request") if item.digest in digests}


def _check_holders(now: LogState, at: datetime, truth: Fold, rows: Any) -> None:
    governed = {key: version for key, version in truth.holders.items() if key[1] != CANDIDATE}
    live_rows = ((one, hold.alias) for one in rows.live for hold in one.holds)
    assert {(one.model, alias): one.version for one, alias in live_rows} == governed
    models = {model for model, _ in now.timeline.registrations}
    live = [one for model in models for one in retrospect.live(now, model, at)]
    assert {(one.model, one.alias): one.version for one in live} == truth.holders
    listed = {(one.model, alias): one.version for one in versions_of(now) for alias in one.aliases}
    assert listed == truth.holders
    for (model, alias), version in truth.holders.items():
        held = now.holder(model, alias)
        assert held is not None and held.version == version
        assert serving.resolve(now, f"{model}@{alias}").registration.version == version
    assert not retrospect.forged(now) and not retrospect.rejected(now)
    for model in models:
        told = retrospect.history(now, model)
        assert len(told) == len({one.entry for one in told})


def _check_version(now: LogState, at: datetime, truth: Fold, row: Any, standing: Standing) -> None:
    model, version = row.model, row.version
    held = {
        alias
        for (name, alias), holder in truth.holders.items()
        if (name, holder) == (model, version)
    }
    assert {one.alias for one in standing.live} == held - {CANDIDATE}
    assert (row.state == "live") == bool(held - {CANDIDATE})
    retired = version in truth.retired
    assert (standing.retired is not None) == retired == (row.state == "retired")
    page = shown(now, model, at).get(version)
    if page is not None:
        assert ("governance.retired" in page.tags) == retired
        if not retired:
            assert {
                alias for alias in held if f"{alias} since" in page.tags["governance.status"]
            } == held
    served = serving.resolve(now, f"{model}/{version}")
    is_open = bool(standing.open_incidents)
    assert (served.incident is not None) == is_open
    assert any(one.kind == "incident" for one in row.exceptions) == is_open
    last = truth.incidents.get((version, standing.registration.model_digest), ["closed"])[-1]
    assert is_open or last == "closed"
    if now.authority.in_force.policies is None:
        return
    try:
        asked = promotion.ask(now, "promote", model, version, "champion")
    except InputError:
        return
    decision = promotion.decide(now, asked, at)
    codes = {one.code for one in (*decision.findings, *decision.waived)}
    assert ("INCIDENT_OPEN" in codes) == is_open
    assert ("RETIRED" in codes) == retired
    if standing.released is None:
        votes, _ = packet_votes(standing.context)
        assert votes == standing.votes[0]
        counted = distinct([one for one in votes if one[2].predicate.decision == "approve"])
        names = {
            f"{name} ({role})" for name, role, item in votes if item.predicate.decision == "approve"
        }
        assert names == {one for one in row.approved_by if not one.endswith(" REJECTS")}
        subject = f"model {model}"
        missing = any(
            (one.code, one.subject) == ("APPROVAL_MISSING", subject) for one in decision.findings
        )
        assert missing == (len(counted) < 2) == (row.lacks > 0 or asked.packet is None)
