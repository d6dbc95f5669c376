"""Controls of outside frameworks, and the log's evidence for them on one version.

1. A control names kinds of evidence. Each kind is looked up in the version's verified records.
   Missing parts are named.
2. A control's result follows from its kinds alone: all complete, some, none, or not recorded here.
   Signed policies may declare a control not applicable, with a reason. There is no percentage.
3. The result states that evidence exists and verifies. Whether it satisfies a duty is a legal
   judgement that no record makes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from governance.base.model import Model
from governance.history.verify import LogReport
from governance.report.facts import Facts
from governance.report.frameworks import Control, FoundControl, Milestone
from governance.report.links import link
from governance.report.model.controls import ControlRow, Link, Outcome

WARNINGS = (
    "Linked evidence exists and verifies. Whether a duty is met is a judgement that no record here"
    " makes. This is not legal advice.",
    "[V:S2] checked against source S2 of the framework's file in policies/controls/; [M] from"
    " memory, not yet checked.",
)
EVIDENCE_SHOWN = 6
"""Entries named per control; its kinds of evidence name them all."""
COMPLETE: Outcome = "evidence present and verified"
WITHOUT_DATE = {
    "standard": "a standard: binding by contract or certification only",
    "voluntary": "voluntary",
}
"""Kind of framework to what holds where the catalogue has no date."""


class ControlReport(Model):
    """The answer of `countersign control`."""

    model: str
    version: str
    digest: str
    at: str
    """The day for which the dates in force are stated."""
    as_of: str
    """The time of the records."""
    log: str
    controls: list[ControlRow]
    links: dict[str, Link]
    """The kinds of evidence that the controls name."""
    warnings: list[str]


def assess(
    facts: Facts, verified: LogReport, selected: Sequence[FoundControl], at: date
) -> ControlReport:
    """Assesses each control for one version, with dates as of `at`."""
    keys = dict.fromkeys(key for found in selected for key in found.control.evidence)
    links = {key: link(key, facts, verified) for key in keys}
    registration = facts.registration
    return ControlReport(
        model=registration.model,
        version=registration.version,
        digest=facts.digest,
        at=at.isoformat(),
        as_of=facts.as_of,
        log=f"{verified.entries} entries verified, root {verified.root}",
        controls=[_row(found, links, registration.model, at) for found in selected],
        links=links,
        warnings=_warnings(selected),
    )


def _row(found: FoundControl, links: Mapping[str, Link], model: str, at: date) -> ControlRow:
    control, dates = found.control, found.control.in_force
    kinds: dict[str, str] = {key: links[key].state for key in control.evidence}
    result, why = _outcome(control, set(kinds.values()), model)
    entries = {index for key in control.evidence for index in links[key].evidence}
    return ControlRow(
        framework=found.framework.framework,
        control=control,
        asked_by=f"{found.alias.id}: {found.alias.why}" if found.alias else None,
        result=result,
        why=why,
        kinds=kinds,
        in_force=in_force(dates, found.framework.kind, at),
        in_force_later=bool(dates) and all(milestone.since > at for milestone in dates),
        evidence=sorted(entries)[:EVIDENCE_SHOWN],
    )


def _outcome(control: Control, states: set[str], model: str) -> tuple[Outcome, str | None]:
    for exclusion in control.not_applicable:
        if model in exclusion.models:
            return "not applicable", f"policies declare so: {exclusion.why}"
    if states == {"present"}:
        return COMPLETE, None
    if states == {"not recorded"}:
        return "not assessed", "no record here could show it"
    return ("partial" if states & {"present", "partial"} else "missing"), None


def in_force(dates: Sequence[Milestone], kind: str, at: date) -> str:
    """Whether a control is in force on a day and for whom; else from when."""
    if not dates:
        return WITHOUT_DATE.get(kind, "no date in the catalogue: a person must find it")
    since = [f"in force since {day.since} for {day.of}" for day in dates if day.since <= at]
    later = [f"{day.since} for {day.of}" for day in dates if day.since > at]
    if not since:
        return f"NOT in force on {at}: {'; '.join(f'from {day}' for day in later)}"
    return "; ".join([*since, *(f"not before {day}" for day in later)])


def _warnings(selected: Sequence[FoundControl]) -> list[str]:
    """The warnings of the catalogue about the frameworks that are shown."""
    warnings = [*WARNINGS]
    for framework in {found.framework.framework: found.framework for found in selected}.values():
        name = framework.framework
        warnings.append(f"{name}: checked on {framework.as_of}; later changes are missing")
        for fact in framework.facts:
            confirm = "; a person must confirm it" if fact.to_confirm else ""
            warnings.append(f"{name}: {fact.fact} ({fact.how_sure}{confirm})")
    return warnings
