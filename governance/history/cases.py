"""Incidents from opening to closing: what people said of each, added up.

1. What people say adds up, from the opening to the closing: lists are joined; of a time, the
   severity and the cause, what was said last counts.
2. Without a time of awareness, it is that of the first opening: whoever opens it is aware.
3. Interventions in operation (`Intervention`) on the same bytes during that time belong to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from governance.attest.predicates import Artifact, Incident, Intervention, Severity
from governance.base.time import instant_of
from governance.history.incidents import is_check

if TYPE_CHECKING:
    from governance.log.evidence import Evidence
    from governance.policy.clocks import Clock, Trigger


@dataclass(frozen=True)
class Remark:
    """One thing that a person said of an incident."""

    text: str
    by: str
    role: str
    at: datetime
    """When it was signed; of a check, when it was measured."""
    entry: int


@dataclass
class Case:
    """One incident of one version, from its opening to its closing."""

    model: str
    version: str
    digest: str
    """Of the version's bytes."""
    opened: int
    """Entry of the first opening."""
    opened_at: datetime
    opened_by: str
    reason: str
    """Of the first opening."""
    severity: Severity | None = None
    kinds: list[str] = field(default_factory=list)
    stated: dict[Trigger, datetime] = field(default_factory=dict)
    filed: dict[str, datetime] = field(default_factory=dict)
    """Clock to when a person filed what it asks for."""
    affected: list[Artifact] = field(default_factory=list)
    """What was made from these bytes, as the opening recorded it."""
    informed: list[Remark] = field(default_factory=list)
    actions: list[Remark] = field(default_factory=list)
    cause: str = ""
    checks: list[Remark] = field(default_factory=list)
    """What was measured to see whether the actions were effective."""
    interventions: list[Evidence[Intervention]] = field(default_factory=list)
    closed: Evidence[Incident] | None = None

    @property
    def name(self) -> str:
        """MODEL/VERSION"""
        return f"{self.model}/{self.version}"

    @property
    def aware(self) -> datetime:
        """(2)"""
        return self.stated.get("awareness", self.opened_at)

    def trigger(self, clock: Clock) -> datetime | None:
        """When the clock started; None where nobody has said."""
        if clock.after is not None:
            return self.filed.get(clock.after)
        return self.aware if clock.trigger == "awareness" else self.stated.get(clock.trigger)

    def lacks(self) -> list[str]:
        """What nobody has said that a record of an incident has."""
        said = {
            "severity": self.severity,
            "kind": self.kinds,
            "time of awareness": "awareness" in self.stated,
            "time of classification": "classification" in self.stated,
            "people informed": self.informed,
            "actions": self.actions,
            "root cause": self.cause,
            "check of effectiveness": self.checks,
        }
        return [name for name, value in said.items() if not value]


def cases(
    statements: Iterable[Evidence[Incident]],
    interventions: Iterable[Evidence[Intervention]] = (),
) -> list[Case]:
    """The incidents of statements that count, in log order of their openings."""
    found: list[Case] = []
    open_cases: dict[tuple[str, str], Case] = {}
    for statement in statements:
        said = statement.predicate
        name = (said.model, said.version)
        if name not in open_cases:
            if said.state == "closed":
                continue  # closed once more, by another person
            open_cases[name] = _opened(statement)
            found.append(open_cases[name])
        _add(open_cases[name], statement)
        if said.state == "closed":
            open_cases.pop(name).closed = statement
    for case in found:
        case.interventions = [each for each in interventions if _during(case, each)]
    return found


def _opened(statement: Evidence[Incident]) -> Case:
    said = statement.predicate
    digest = statement.subjects[0].sha256
    at, by = instant_of(said.at), said.principal
    return Case(said.model, said.version, digest, statement.index, at, by, said.reason)


def _add(case: Case, statement: Evidence[Incident]) -> None:
    said = statement.predicate
    case.kinds += [kind for kind in said.kinds if kind not in case.kinds]
    times: dict[Trigger, str | None] = {
        "awareness": said.aware_at,
        "classification": said.classified_at,
        "determination": said.determined_at,
    }
    case.stated |= {name: instant_of(time) for name, time in times.items() if time is not None}
    for clock, time in said.filed.items():
        case.filed.setdefault(clock, instant_of(time))
    case.severity = said.severity or case.severity
    case.cause = said.cause or case.cause
    case.affected += [each for each in said.affected if each not in case.affected]
    case.informed += [_remark(statement, text) for text in said.informed]
    case.actions += [_remark(statement, text) for text in said.actions]
    if is_check(said):
        case.checks.append(_remark(statement, said.effective, said.effective_at))


def _remark(statement: Evidence[Incident], text: str, at: str | None = None) -> Remark:
    said = statement.predicate
    return Remark(text, said.principal, said.role, instant_of(at or said.at), statement.index)


def _during(case: Case, intervention: Evidence[Intervention]) -> bool:
    """(3)"""
    same = any(subject.sha256 == case.digest for subject in intervention.subjects)
    ended = case.closed is not None and intervention.index > case.closed.index
    return same and intervention.index > case.opened and not ended
