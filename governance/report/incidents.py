"""Incidents of a version, and what people overrode or excepted while it was in use, for the report
and for `countersign incident show`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from governance.attest.predicates import Intervention
from governance.base.time import exact_instant
from governance.history.cases import Case, Remark
from governance.history.clocks import Running
from governance.history.descendants import descendants
from governance.history.state import LogState
from governance.log.evidence import Evidence
from governance.report.facts import Facts
from governance.report.model.incident import Affected, IncidentRecord, InterventionRow, Said
from governance.report.model.record import LegalClock


def incidents(facts: Facts) -> list[IncidentRecord]:
    """The incidents on the version's bytes, at the report's time."""
    found = [case for case in facts.now.timeline.cases if case.digest == facts.digest]
    return [incident_record(facts.now, case, facts.time) for case in found]


def interventions(facts: Facts) -> list[InterventionRow]:
    """What people overrode or excepted while the version's bytes were in use."""
    return [
        _row(each)
        for each in facts.now.timeline.interventions
        if any(subject.sha256 == facts.digest for subject in each.subjects)
    ]


def clocks(facts: Facts) -> list[LegalClock]:
    """The legal clocks of the version's incidents, at the report's time."""
    model, version = facts.registration.model, facts.registration.version
    return [
        _clock(one)
        for one in facts.now.timeline.clocks(facts.time)
        if (one.model, one.version) == (model, version)
    ]


def incident_record(now: LogState, case: Case, at: datetime) -> IncidentRecord:
    """One incident, at a moment."""
    closing = case.closed.predicate if case.closed else None
    running = [one for one in now.timeline.clocks(at) if one.opened == case.opened]
    return IncidentRecord(
        about=case.name,
        sha256=case.digest,
        state="closed" if closing else "open",
        severity=case.severity,
        kinds=case.kinds,
        opened_at=exact_instant(case.opened_at),
        opened_by=case.opened_by,
        reason=case.reason,
        aware_at=exact_instant(case.aware),
        aware_stated="awareness" in case.stated,
        classified_at=_time(case.stated.get("classification")),
        determined_at=_time(case.stated.get("determination")),
        affected=list(_affected(now, case)),
        informed=[_said(remark) for remark in case.informed],
        actions=[_said(remark) for remark in case.actions],
        interventions=[_row(each) for each in case.interventions],
        cause=case.cause or None,
        checks=[_said(remark) for remark in case.checks],
        closed_at=closing.at if closing else None,
        closed_by=closing.principal if closing else None,
        closing_reason=closing.reason if closing else None,
        not_stated=case.lacks(),
        clocks=[_clock(one) for one in running],
        evidence=[case.opened, *([case.closed.index] if case.closed else [])],
    )


def _affected(now: LogState, case: Case) -> Iterator[Affected]:
    """The models that the opening named, then those that were made or registered since."""
    named = {(each.name, each.sha256) for each in case.affected}
    for name, sha256 in sorted(named):
        yield Affected(name=name, sha256=sha256, named=True)
    for each in descendants(now.timeline, case.digest):
        if (each.name, each.sha256) not in named:
            yield Affected(name=each.name, sha256=each.sha256, named=False)


def _said(remark: Remark) -> Said:
    return Said(
        text=remark.text,
        by=remark.by,
        role=remark.role,
        at=exact_instant(remark.at),
        evidence=[remark.entry],
    )


def _row(statement: Evidence[Intervention]) -> InterventionRow:
    said = statement.predicate
    return InterventionRow(
        event=said.event,
        what=said.what,
        reason=said.reason,
        by=said.principal,
        role=said.role,
        at=said.happened_at,
        evidence=[statement.index],
    )


def _clock(one: Running) -> LegalClock:
    return LegalClock(
        clock=one.clock,
        rule=one.rule,
        to=one.to,
        state=one.state,
        trigger=one.trigger,
        due=_time(one.due),
        filed=_time(one.filed),
        checked=one.checked,
        evidence=[one.opened],
    )


def _time(moment: datetime | None) -> str | None:
    return exact_instant(moment) if moment else None
