"""Waivers: which are in force, and why others are not. The gates match them with findings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from governance.attest.codes import NEVER_WAIVED
from governance.base.time import instant_of
from governance.log.rules import WAIVES_FIGURES

if TYPE_CHECKING:
    from governance.attest.predicates import Finding, Waiver
    from governance.log.evidence import Evidence
    from governance.policy.authority import Authority
    from governance.policy.rules import WaiverRules

Reason = Literal[
    "not_accepted", "time_ended", "never_waived", "too_long", "expired", "not_begun", "overtaken",
    "not_recorded", "other_figures",
]  # fmt: skip
_TEXTS: dict[Reason, str] = {
    "not_accepted": "its signer may not accept it",
    "time_ended": "the time of {}, who accepted it, has ended",
    "never_waived": "{} is never waived",
    "too_long": "it lasts longer than {} days",
    "expired": "it expired at {}",
    "not_begun": "it begins at {}",
    "overtaken": "an incident was opened since it was accepted",
    "not_recorded": "the log has no waiver of it",
    "other_figures": "it accepts {}, and something else was found",
}
"""Recorded in the finding WAIVER_NOT_IN_FORCE."""


@dataclass(frozen=True)
class NotInForce:
    """Why a waiver does not count."""

    reason: Reason
    detail: str = ""
    """The person, code, days, time or figures that the reason names."""

    @property
    def text(self) -> str:
        """The reason, as a finding has it."""
        return _TEXTS[self.reason].format(self.detail)


def is_never_waived(code: str, rules: WaiverRules) -> bool:
    """Whether no waiver passes a finding of this code."""
    return code in NEVER_WAIVED or code in rules.never


def is_of(statement: Evidence[Waiver], found: Finding, model: str) -> bool:
    """Whether a waiver is about this model, code and subject, whatever was found."""
    waiver = statement.predicate
    return (waiver.finding, waiver.about, waiver.model) == (found.code, found.subject, model)


def other_figures(
    statement: Evidence[Waiver], found: Finding, rights: Authority
) -> NotInForce | None:
    """Why a waiver that `is_of` a finding does not cover what was found; None where it does.

    It covers exactly what it accepts: no order of figures is the right one for every finding, and
    people read the figures that they accept. Under version 1 of the rules it covered any figures.
    """
    if rights.rules_at(statement.index) < WAIVES_FIGURES:
        return None
    accepted = [(each.measure, each.figures) for each in statement.predicate.accepts]
    was_found = (found.measure, found.figures)
    if was_found == ("", []) or was_found in accepted:
        return None
    return NotInForce("other_figures", statement.predicate.accepted or "no figures")


def problem_of(
    statement: Evidence[Waiver],
    rights: Authority,
    rules: WaiverRules,
    *,
    days: int,
    at: datetime,
    overtaken: bool,
) -> NotInForce | None:
    """Why a waiver does not count at a time; None where it does.

    `days`: how many days a waiver may last. `overtaken`: whether an incident was opened after a
    waiver of incidents was accepted.
    """
    waiver = statement.predicate
    begun, ends = instant_of(waiver.at), instant_of(waiver.expires)
    may_accept = rights.speaker(statement) is not None and waiver.role in rules.accepted_by
    never = is_never_waived(waiver.finding, rules)
    problems: list[tuple[bool, Reason, str]] = [
        (not may_accept, "not_accepted", ""),
        (not rights.may_still_act(statement, at), "time_ended", waiver.principal),
        (never, "never_waived", waiver.finding),
        (ends - begun > timedelta(days=days), "too_long", str(days)),
        (at >= ends, "expired", waiver.expires),
        (at < begun, "not_begun", waiver.at),
        (overtaken, "overtaken", ""),
    ]
    first = next(((reason, detail) for holds, reason, detail in problems if holds), None)
    return NotInForce(*first) if first else None
