"""Votes: which count, and why others do not. People are counted, never keys.

The gates decide whether the votes suffice (`governance.gates.checks.votes`).
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
    from governance.log.evidence import Evidence
    from governance.log.views import EvidenceView
    from governance.policy.authority import Authority

Vote = tuple[str, str, "Evidence[Approval]"]
"""Name of the person, role, and the signed statement."""
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
    "declared_it",
]
"""Why a vote does not count."""
_TEXTS: dict[Reason, str] = {
    "not_theirs": "at that entry, the key was not {person}'s, or they had no right to say this",
    "time_ended": "policy ended {person}'s time",
    "role": "role {detail} does not approve",
    "other_model": "it is about model {detail}",
    "other_alias": "it is about alias {detail}",
    "before_packet": "it is older than the packet",
    "not_in_force": "it is not in force at this time",
    "no_page": "no page was opened",
    "incident_open": "an incident is open (entry {detail})",
    "asked_for_run": "{person} started {detail}",
    "signed_run": "{person}'s key signed {detail}",
    "asks_for_move": "{person} requests the move",
    "declared_it": "{person} declared how {detail} was trained",
}
"""Recorded in the finding APPROVAL_MISSING."""


@dataclass(frozen=True)
class SetAside:
    """A vote that does not count, and why."""

    person: str
    reason: Reason
    detail: str
    """The role, model, alias, stage or entry that the reason names; empty where it names none."""
    statement: Evidence[Approval]

    @property
    def why(self) -> str:
        """The reason, as a finding has it."""
        return _TEXTS[self.reason].format(person=self.person, detail=self.detail)

    @property
    def text(self) -> str:
        """The person and the reason, as a finding has them."""
        return f"{self.person} does not count: {self.why}"


def distinct(votes: Iterable[Vote]) -> list[tuple[str, str]]:
    """As many people as possible in different roles, each counted once: a maximum matching of
    people to roles.
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


def _second_signers(
    rights: Authority, statements: Iterable[Evidence[Approval]], at: datetime | None = None
) -> set[str]:
    """The people who signed somebody else's request. With `at`: only signatures in force then."""
    in_force_by_name: dict[str, bool] = {}
    for statement in statements:
        if statement.predicate.about == "promotion" and _may_sign_second(rights, statement):
            holds = at is None or (
                in_force(statement.predicate, at) and rights.may_still_act(statement, at)
            )
            approval = statement.predicate
            in_force_by_name[approval.principal] = approval.decision == "approve" and holds
    return {name for name, approved in in_force_by_name.items() if approved}


def _may_sign_second(rights: Authority, statement: Evidence[Approval]) -> bool:
    policies = rights.at(statement.index).policies
    permitted = policies.rules.seconded_by if policies else None
    may_sign = permitted is None or statement.predicate.role in permitted
    return rights.speaker(statement) is not None and may_sign


def signers_of_request(
    rights: Authority,
    evidence: EvidenceView,
    request: Evidence[PromotionRequest],
    at: datetime | None = None,
) -> set[str]:
    """The names of a request's author and its further signers. With `at`: only further signatures
    in force then.
    """
    seconded = _second_signers(rights, evidence.by_subject(request.digest, Approval), at)
    return {request.predicate.principal} | seconded


def seconded_by_another(
    rights: Authority, evidence: EvidenceView, request: Evidence[PromotionRequest] | None
) -> bool:
    """Whether a person other than its author signed a request."""
    if request is None:
        return False
    return len(one_each(rights, signers_of_request(rights, evidence, request))) > 1


def agreed(
    rights: Authority,
    statements: Iterable[Evidence[Approval]],
    about: str,
    roles: Collection[str],
    at: datetime,
    used_at: datetime | None = None,
) -> bool:
    """Whether somebody approved in one of these roles and the last vote of each such person
    approves.

    `at`: the time at which the votes must be in force. `used_at`: when the approved thing was used,
    if it was; the voters' rights are judged at that time.
    """
    last: dict[str, bool] = {}
    for statement in statements:
        approval = statement.predicate
        person = rights.speaker(statement)
        if person is not None and approval.about == about and approval.role in roles:
            holds = in_force(approval, at) and rights.may_still_act(statement, used_at or at)
            last[person.name] = approval.decision == "approve" and holds
    return bool(last) and all(last.values())


def owners_agreed(rights: Authority, statements: Iterable[Evidence[Approval]], about: str) -> bool:
    """Whether so many policy owners approve as a change of policy wants: each by their last vote,
    in a role that owned the policies at that entry.
    """
    approves: dict[str, bool] = {}
    for statement in statements:
        vote, policies = statement.predicate, rights.at(statement.index).policies
        owners = policies.rules.owners if policies else None
        is_owner = owners is not None and vote.role in owners.roles
        if vote.about == about and is_owner and rights.speaker(statement) is not None:
            approves[vote.principal] = vote.decision == "approve" and vote.expires is None
    names = {name for name, does in approves.items() if does}
    owners = rights.policies.rules.owners
    return owners is not None and len(one_each(rights, names)) >= owners.people


def in_force(approval: Approval, at: datetime) -> bool:
    """Whether a vote is in force at that time. A rejection counts whatever its date: a fast clock
    does not delay it.
    """
    begun = approval.decision == "reject" or instant_of(approval.at) <= at
    return begun and (approval.expires is None or at < instant_of(approval.expires))
