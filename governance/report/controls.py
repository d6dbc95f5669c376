"""What outside frameworks ask, and what the log holds of it for one version.

1. A control names kinds of evidence; each kind is looked for in this version's verified records,
   and what it lacks of what the catalogue says it has to hold is named. Whole means nothing is
   lacking.
2. A control's result follows from its kinds alone: all whole, some, none; or that Countersign has
   no record of any of them; or that policies, which people sign, declare it not applicable and why.
   Nothing is counted into a share.
3. The result says that evidence exists and verifies. Whether that satisfies anybody stands in no
   record here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Literal

from governance.base.model import Model
from governance.base.text import visible
from governance.history.verify import LogReport
from governance.policy.controls import Control, Found, Milestone
from governance.report.facts import PREFIX, Facts
from governance.report.links import Link, Look

Outcome = Literal[
    "evidence present and verified", "partial", "missing", "not applicable", "not assessed"
]

WARNING = (
    "Evidence that exists and verifies is linked; whether a duty is met is a judgement that no"
    " record here makes. This is no legal advice."
)
SURE = (
    "In brackets, how an entry was checked: V:S2 against source S2 of the framework's file in"
    " policies/controls/, M from memory"
)


class ControlResult(Model):
    """One control, for one version."""

    framework: str
    id: str
    title: str
    asked_by: str
    """The id it was asked for by, and what became of that; empty where it is its own."""
    what_it_asks: str
    strength: str
    result: Outcome
    why: str
    """Why it is not applicable or not assessed; empty else."""
    links: list[Link]
    gap: str
    applies: str
    in_force: str
    """As of the reference time, in words."""
    by_analogy: str
    confirm: str
    """What a person must confirm; empty where the entry was checked against its source."""


class ControlReport(Model):
    """The answer of `countersign control`."""

    model: str
    version: str
    digest: str
    at: str
    """The day for which dates are told."""
    as_of: str
    """The time of the records."""
    log: str
    controls: list[ControlResult]
    warnings: list[str]


def assess(facts: Facts, verified: LogReport, found: Sequence[Found], at: date) -> ControlReport:
    """Every control that was asked for, on one version's facts, with dates as of `at`."""
    look = Look(facts, verified)
    links = {key: look.link(key) for one in found for key in one.control.evidence}
    said = facts.registration
    return ControlReport(
        model=said.model,
        version=said.version,
        digest=facts.digest,
        at=at.isoformat(),
        as_of=facts.as_of,
        log=f"{verified.entries} entries verified, root {verified.root}",
        controls=[
            _result(one, [links[key] for key in one.control.evidence], said.model, at)
            for one in found
        ],
        warnings=_warnings(found),
    )


def _result(found: Found, links: list[Link], model: str, at: date) -> ControlResult:
    control = found.control
    result, why = _outcome(control, links, model)
    return ControlResult(
        framework=found.framework.framework,
        id=control.id,
        title=control.title or control.note,
        asked_by=f"{found.alias.id}: {found.alias.why}" if found.alias else "",
        what_it_asks=control.what_it_asks
        or control.note
        or "see the source: the catalogue names it only",
        strength=control.strength,
        result=result,
        why=why,
        links=links,
        gap=control.gap or "not stated: a secondary entry of the catalogue",
        applies=control.applies or "not limited in the catalogue",
        in_force=in_force(control.in_force or found.framework.in_force, found.framework.kind, at),
        by_analogy=control.by_analogy,
        confirm=(
            f"a person must confirm this entry ({control.how_sure})" if control.to_confirm else ""
        ),
    )


def _outcome(control: Control, links: list[Link], model: str) -> tuple[Outcome, str]:
    declared = [one.why for one in control.not_applicable if model in one.models]
    if declared:
        return "not applicable", f"policies declare so: {declared[0]}"
    states = {link.state for link in links}
    if states == {"present"}:
        return "evidence present and verified", ""
    if states == {"not recorded"}:
        return "not assessed", "nothing that is recorded here could show it"
    return ("partial", "") if states & {"present", "partial"} else ("missing", "")


def in_force(dates: Sequence[Milestone], kind: str, at: date) -> str:
    """Whether it is in force on a day, for whom, and from when it is where it is not yet."""
    if not dates:
        words = {
            "standard": "a standard: binding by contract or certification only",
            "voluntary": "voluntary",
        }
        return words.get(kind, "no date in the catalogue: a person must find it")
    since = [f"in force since {one.since} for {one.of}" for one in dates if one.since <= at]
    later = [f"from {one.since} for {one.of}" for one in dates if one.since > at]
    if not since:
        return f"NOT in force on {at}: {'; '.join(later)}"
    return "; ".join([*since, *(f"not before {one.removeprefix('from ')}" for one in later)])


def _warnings(found: Sequence[Found]) -> list[str]:
    """The catalogue's own, of the frameworks that are shown."""
    warnings = [WARNING, SURE]
    for framework in {one.framework.framework: one.framework for one in found}.values():
        warnings.append(
            f"{framework.framework}: entries as checked on {framework.as_of}; later changes are not"
            " in them"
        )
        for fact in framework.facts:
            confirm = "; a person must confirm it" if fact.to_confirm else ""
            warnings.append(f"{framework.framework}: {fact.fact} ({fact.how_sure}{confirm})")
    return warnings


def lines(report: ControlReport) -> list[str]:
    """The answer for people: of few controls everything, of many one line each; then the
    warnings.
    """
    text = [
        f"{report.model}/{report.version} ({report.digest[:PREFIX]}), dates as of {report.at};"
        f" {report.log}"
    ]
    if len(report.controls) > FEW:
        text += [part for one in report.controls for part in _line(one)]
        text += [
            "",
            (
                "countersign control ID MODEL/VERSION tells what one of them rests on; --framework"
                " shows one only."
            ),
        ]
    else:
        text += [part for one in report.controls for part in _all(one)]
    return [
        visible(part) for part in [*text, "", "Warnings:", *(f"- {one}" for one in report.warnings)]
    ]


def _line(one: ControlResult) -> list[str]:
    notes = ["NOT in force"] if one.in_force.startswith("NOT") else []
    notes += ["by analogy only"] if one.by_analogy else []
    told = f" ({', '.join(notes)})" if notes else ""
    return [f"  {one.result:<31} {one.framework} {one.id}  {one.title}{told}"]


def _all(one: ControlResult) -> list[str]:
    why = f": {one.why}" if one.why else ""
    text = ["", f"{one.framework} {one.id}  {one.title}", f"  result    {one.result}{why}"]
    text.append(f"  in force  {one.in_force}")
    text += [f"  asked by  {one.asked_by}"] if one.asked_by else []
    text += [f"  ANALOGY   {one.by_analogy}"] if one.by_analogy else []
    text.append(f"  asks      {one.what_it_asks}")
    text += [part for link in one.links for part in _link_lines(link)]
    text += [
        f"  gap       {one.gap}",
        f"  strength  {one.strength}: {STRENGTHS[one.strength]}; applies: {one.applies}",
    ]
    return [*text, *([f"  confirm   {one.confirm}"] if one.confirm else [])]


def _link_lines(link: Link) -> list[str]:
    shown = ", ".join(f"E{index}" for index in link.evidence[:SHOWN])
    more = f" and {len(link.evidence) - SHOWN} more" if len(link.evidence) > SHOWN else ""
    where = f" ({shown}{more})" if shown else ""
    text = [f"  {link.state:<12}  {link.key}: {link.says}{where}"]
    return [*text, *(f"                lacks {one}" for one in link.lacks)]


SHOWN = 8
"""Entries named per kind of evidence; --json has all."""
FEW = 12
"""Controls of which everything is told."""
STRENGTHS = {
    "proves": "the evidence alone shows what is asked, for this version",
    "supports": "the evidence is needed and not enough",
    "pointer": "only a reference to something kept elsewhere can be held",
}
