"""Votes: whose count, and why others do not. People are counted, never keys.

What a vote is about, and whether it suffices, the gates ask (`governance.gates.checks.votes`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from governance.attest.predicates import Approval, PromotionRequest
from governance.base.time import instant_of
from governance.history.persons import one_each

if TYPE_CHECKING:
    from governance.log.evidence import Evidence, EvidenceView
    from governance.policy.authority import Authority

Vote = tuple[str, str, "Evidence[Approval]"]
"""Who, in which role, by which statement."""
Reason = Literal[
    "not_theirs",
    "time_ended",
    "role",
    "other_model",
    "other_alias",
    "before_packet",
    "not_in_force",
    "no_page",
    "incident_open",
    "asked_for_run",
    "signed_run",
    "asks_for_move",
]
"""Why a vote does not count."""
_TEXTS: dict[Reason, str] = {
    "not_theirs": "the key was not theirs at that entry, or the role",
    "time_ended": "their time has ended",
    "role": "role {} does not approve",
    "other_model": "it is about model {}",
    "other_alias": "it is about alias {}",
    "before_packet": "it stands before the packet",
    "not_in_force": "it is not in force at this time",
    "no_page": "no page was shown",
    "incident_open": "an incident was open when it was made (entry {})",
    "asked_for_run": "they asked for {}",
    "signed_run": "they signed {}",
    "asks_for_move": "they ask for the move",
}
"""Recorded in the finding APPROVAL_MISSING."""


@dataclass(frozen=True)
class SetAside:
    """A vote that does not count, and why."""

    person: str
    reason: Reason
    detail: str
    """The role, model, alias, stage or entry that the reason names; empty where it names none."""
    item: Evidence[Approval]

    @property
    def why(self) -> str:
        """The reason, as a finding has it."""
        return _TEXTS[self.reason].format(self.detail)

    @property
    def text(self) -> str:
        """The person and the reason, as a finding has them."""
        return f"{self.person} does not count: {self.why}"


def distinct(votes: Iterable[Vote]) -> list[tuple[str, str]]:
    """The most people in different roles, each counted once (a greatest matching of people to
    roles).
    """
    roles_of: dict[str, list[str]] = {}
    for name, role, _ in votes:
        roles_of.setdefault(name, []).append(role)
    holder: dict[str, str] = {}

    def place(name: str, tried: set[str]) -> bool:
        for role in roles_of[name]:
            if role in tried:
                continue
            tried.add(role)
            if role not in holder or place(holder[role], tried):
                holder[role] = name
                return True
        return False

    for name in sorted(roles_of):
        place(name, set())
    return sorted((name, role) for role, name in holder.items())


def _seconders(
    rights: Authority, items: Iterable[Evidence[Approval]], at: datetime | None = None
) -> set[str]:
    """The people who signed a request made by another; with `at`, whose signature is in force
    then.
    """
    found: dict[str, bool] = {}
    for item in items:
        if item.predicate.about == "promotion" and _may_second(rights, item):
            holds = at is None or (in_force(item.predicate, at) and rights.acts(item, at))
            found[item.predicate.principal] = item.predicate.decision == "approve" and holds
    return {name for name, yes in found.items() if yes}


def _may_second(rights: Authority, item: Evidence[Approval]) -> bool:
    policies = rights.at(item.index).policies
    named = policies.rules.seconded_by if policies else None
    return rights.speaker(item) is not None and (named is None or item.predicate.role in named)


def signers_of_request(
    rights: Authority,
    evidence: EvidenceView,
    request: Evidence[PromotionRequest],
    at: datetime | None = None,
) -> set[str]:
    """The names of its author and its seconders; with `at`, whose signature is in force then."""
    seconded = _seconders(rights, evidence.by_subject(request.digest, Approval), at)
    return {request.predicate.principal} | seconded


def seconded_by_another(
    rights: Authority, evidence: EvidenceView, request: Evidence[PromotionRequest] | None
) -> bool:
    """Whether somebody other than its author signed a request, too."""
    if request is None:
        return False
    return len(one_each(rights, signers_of_request(rights, evidence, request))) > 1


def agreed(
    rights: Authority,
    items: Iterable[Evidence[Approval]],
    about: str,
    roles: Collection[str],
    at: datetime,
    used: datetime | None = None,
) -> bool:
    """Whether the last word of everybody who spoke on it, in one of these roles, is yes; `used`:
    when it was, if before `at`, and until when whoever approved it had to act.
    """
    last: dict[str, bool] = {}
    for item in items:
        said = item.predicate
        person = rights.speaker(item)
        if person is not None and said.about == about and said.role in roles:
            holds = in_force(said, at) and rights.acts(item, used or at)
            last[person.name] = said.decision == "approve" and holds
    return bool(last) and all(last.values())


def in_force(said: Approval, at: datetime) -> bool:
    """Whether it holds at that time. A no holds from its entry on: a clock that is fast lets
    nothing past it.
    """
    begun = said.decision == "reject" or instant_of(said.at) <= at
    return begun and (said.expires is None or at < instant_of(said.expires))
