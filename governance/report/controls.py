"""Controls of outside frameworks, and the log's evidence for them on one version.

1. A control names kinds of evidence. Each kind is looked up in the version's verified records.
   Missing parts are named.
2. A control's result follows from its kinds alone: all complete, some, none, or not recorded here.
   Signed policies may declare a control not applicable, with a reason. There is no percentage.
3. The result states that evidence exists and verifies. Whether it satisfies a duty is a legal
   judgement that no record makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Literal

from governance.base.model import Model
from governance.base.text import visible
from governance.history.verify import LogReport
from governance.report.facts import PREFIX, Facts
from governance.report.frameworks import Control, FoundControl, Milestone
from governance.report.links import Link, link

Outcome = Literal[
    "evidence present and verified", "partial", "missing", "not applicable", "not assessed"
]

WARNING = (
    "Linked evidence exists and verifies. Whether a duty is met is a judgement that no record here"
    " makes. This is not legal advice."
)
SURE = (
    "[V:S2] checked against source S2 of the framework's file in policies/controls/; [M] from"
    " memory, not yet checked."
)
SHOWN = 8
"""Entries named per kind of evidence; --json has all."""
FEW = 12
"""The most controls that are shown in full."""
STRENGTHS = {
    "proves": "the evidence alone shows what is asked, for this version",
    "supports": "the evidence is needed and not enough",
    "pointer": "only a reference to something kept elsewhere can be held",
}
INCOMPLETE = "complete evidence would show what is asked; here it is incomplete"
"""Instead of `proves`, if some of the evidence is missing."""


class ControlResult(Model):
    """One control, for one version."""

    framework: str
    id: str
    title: str
    asked_by: str
    """The older id that the caller gave, and what replaced it; empty for a current id."""
    what_it_asks: str
    strength: str
    result: Outcome
    why: str
    """Why the control is not applicable or not assessed; empty otherwise."""
    links: list[Link]
    gap: str
    applies: str
    roles: list[str]
    jurisdictions: list[str]
    in_force: str
    """On the reference day, in words."""
    in_force_later: bool
    """Whether it is not in force for anybody on that day."""
    by_analogy: str
    confirm: str
    """What a person must confirm; empty if the entry was checked against its source."""


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
    controls: list[ControlResult]
    warnings: list[str]


def assess(
    facts: Facts, verified: LogReport, selected: Sequence[FoundControl], at: date
) -> ControlReport:
    """Assesses each control for one version, with dates as of `at`."""
    keys = {key for choice in selected for key in choice.control.evidence}
    links = {key: link(key, facts, verified) for key in keys}
    registration = facts.registration
    return ControlReport(
        model=registration.model,
        version=registration.version,
        digest=facts.digest,
        at=at.isoformat(),
        as_of=facts.as_of,
        log=f"{verified.entries} entries verified, root {verified.root}",
        controls=[
            _result(choice, [links[key] for key in choice.control.evidence], registration.model, at)
            for choice in selected
        ],
        warnings=_warnings(selected),
    )


def _result(selected: FoundControl, links: list[Link], model: str, at: date) -> ControlResult:
    control = selected.control
    result, why = _outcome(control, links, model)
    dates = control.in_force or selected.framework.in_force
    return ControlResult(
        framework=selected.framework.framework,
        id=control.id,
        title=control.title or control.note,
        asked_by=f"{selected.alias.id}: {selected.alias.why}" if selected.alias else "",
        what_it_asks=control.what_it_asks or control.note or "see the source",
        strength=control.strength,
        result=result,
        why=why,
        links=links,
        gap=control.gap or "not stated: a secondary entry of the catalogue",
        applies=control.applies or "not limited in the catalogue",
        roles=list(selected.roles),
        jurisdictions=list(selected.jurisdictions),
        in_force=in_force(dates, selected.framework.kind, at),
        in_force_later=bool(dates) and all(milestone.since > at for milestone in dates),
        by_analogy=control.by_analogy,
        confirm=f"a person must confirm this entry ({control.how_sure})"
        if control.to_confirm
        else "",
    )


def _outcome(control: Control, links: list[Link], model: str) -> tuple[Outcome, str]:
    declared = [exclusion.why for exclusion in control.not_applicable if model in exclusion.models]
    if declared:
        return "not applicable", f"policies declare so: {declared[0]}"
    states = {link.state for link in links}
    if states == {"present"}:
        return "evidence present and verified", ""
    if states == {"not recorded"}:
        return "not assessed", "no record here could show it"
    return ("partial", "") if states & {"present", "partial"} else ("missing", "")


def in_force(dates: Sequence[Milestone], kind: str, at: date) -> str:
    """Whether a control is in force on a day and for whom; else from when."""
    if not dates:
        words = {
            "standard": "a standard: binding by contract or certification only",
            "voluntary": "voluntary",
        }
        return words.get(kind, "no date in the catalogue: a person must find it")
    since = [
        f"in force since {milestone.since} for {milestone.of}"
        for milestone in dates
        if milestone.since <= at
    ]
    later = [
        f"from {milestone.since} for {milestone.of}" for milestone in dates if milestone.since > at
    ]
    if not since:
        return f"NOT in force on {at}: {'; '.join(later)}"
    not_yet = [f"not before {text.removeprefix('from ')}" for text in later]
    return "; ".join([*since, *not_yet])


def _warnings(selected: Sequence[FoundControl]) -> list[str]:
    """The warnings of the catalogue about the frameworks that are shown."""
    warnings = [WARNING, SURE]
    for framework in {choice.framework.framework: choice.framework for choice in selected}.values():
        warnings.append(
            f"{framework.framework}: checked on {framework.as_of}; later changes are missing"
        )
        for fact in framework.facts:
            confirm = "; a person must confirm it" if fact.to_confirm else ""
            warnings.append(f"{framework.framework}: {fact.fact} ({fact.how_sure}{confirm})")
    return warnings


def lines(report: ControlReport) -> list[str]:
    """The result as text: a few controls in full, many in one line each; then the warnings."""
    text = [
        f"{report.model}/{report.version} ({report.digest[:PREFIX]}), dates as of {report.at};"
        f" {report.log}"
    ]
    if len(report.controls) > FEW:
        text += [_line(control) for control in report.controls]
        text += ["", 'countersign control "FRAMEWORK ID" MODEL/VERSION shows one in full.']
    else:
        text += [part for control in report.controls for part in _in_full(control)]
    text += ["", "Warnings:", *(f"- {control}" for control in report.warnings)]
    return [visible(part) for part in text]


def _line(control: ControlResult) -> str:
    notes = ["NOT in force"] if control.in_force_later else []
    notes += ["by analogy only"] if control.by_analogy else []
    shown = f" ({', '.join(notes)})" if notes else ""
    return f"  {control.result:<31} {control.framework} {control.id}  {control.title}{shown}"


def _in_full(control: ControlResult) -> list[str]:
    complete = control.result == "evidence present and verified"
    strength = (
        STRENGTHS[control.strength] if complete or control.strength != "proves" else INCOMPLETE
    )
    rows = [
        ("result", f"{control.result}: {control.why}" if control.why else control.result),
        ("in force", control.in_force),
        ("asked by", control.asked_by),
        ("ANALOGY", control.by_analogy),
        ("asks", control.what_it_asks),
        ("gap", control.gap),
        ("strength", strength),
        ("applies", f"{control.applies}; roles: {', '.join(control.roles) or 'not stated'}"),
        ("where", ", ".join(control.jurisdictions)),
        ("confirm", control.confirm),
    ]
    text = ["", f"{control.framework} {control.id}  {control.title}"]
    for name, value in rows:
        text += [f"  {name:<9} {value}"] if value else []
        if name == "asks":
            text += [part for evidence in control.links for part in _link_lines(evidence)]
    return text


def _link_lines(evidence: Link) -> list[str]:
    shown = ", ".join(f"E{index}" for index in evidence.evidence[:SHOWN])
    more = f" and {len(evidence.evidence) - SHOWN} more" if len(evidence.evidence) > SHOWN else ""
    where = f" ({shown}{more})" if shown else ""
    text = [f"  {evidence.state:<12}  {evidence.key}: {evidence.says}{where}"]
    return [*text, *(f"                lacks {missing}" for missing in evidence.lacks)]
