"""Waivers: which are in force, and why others are not. The gates judge what each one passes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from governance.attest.codes import NEVER_WAIVED
from governance.base.time import instant_of

if TYPE_CHECKING:
    from governance.attest.predicates import Waiver
    from governance.log.evidence import Evidence
    from governance.policy.authority import Authority
    from governance.policy.policies import WaiverRules

Reason = Literal[
    "not_accepted", "time_ended", "never_waived", "too_long", "expired", "not_begun", "overtaken"
]
_TEXTS: dict[Reason, str] = {
    "not_accepted": "its signer may not accept it",
    "time_ended": "the time of {}, who accepted it, has ended",
    "never_waived": "{} is never waived",
    "too_long": "it lasts longer than {} days",
    "expired": "it expired at {}",
    "not_begun": "it begins at {}",
    "overtaken": "an incident was opened since it was accepted",
}
"""Recorded in the finding WAIVER_NOT_IN_FORCE."""


@dataclass(frozen=True)
class NotInForce:
    """Why a waiver does not count."""

    reason: Reason
    detail: str = ""
    """The person, code, days or time that the reason names."""

    @property
    def text(self) -> str:
        """The reason, as a finding has it."""
        return _TEXTS[self.reason].format(self.detail)


def problem_of(
    waiver: Evidence[Waiver],
    rights: Authority,
    rules: WaiverRules,
    *,
    days: int,
    at: datetime,
    overtaken: bool,
) -> NotInForce | None:
    """Why a waiver does not count at a time; None where it does.

    `days`: how long one may last. `overtaken`: whether an incident was opened since a waiver of
    incidents was accepted.
    """
    said = waiver.predicate
    begun, ends = instant_of(said.at), instant_of(said.expires)
    may_accept = rights.speaker(waiver) is not None and said.role in rules.accepted_by
    never = said.finding in NEVER_WAIVED or said.finding in rules.never
    problems: list[tuple[bool, Reason, str]] = [
        (not may_accept, "not_accepted", ""),
        (not rights.acts(waiver, at), "time_ended", said.principal),
        (never, "never_waived", said.finding),
        (ends - begun > timedelta(days=days), "too_long", str(days)),
        (at >= ends, "expired", said.expires),
        (at < begun, "not_begun", said.at),
        (overtaken, "overtaken", ""),
    ]
    found = next(((reason, detail) for holds, reason, detail in problems if holds), None)
    return NotInForce(*found) if found else None
