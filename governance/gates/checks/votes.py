"""Votes: who approves or rejects a packet or a request, and whose vote counts. People are counted,
never keys.

An approval made while an incident on the same bytes is open does not count, unless the packet
carries the waiver of that incident (`incidents.unaccepted`). Approvals without `opened_at` are
older than this rule, and are read as before, so that old decisions are reproduced.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from governance.attest.predicates import Approval, Predicate
from governance.base.time import instant_of
from governance.gates.checks.context import Context, ReleaseContext
from governance.gates.checks.incidents import unaccepted
from governance.gates.checks.persons import one_each

if TYPE_CHECKING:
    from governance.log.evidence import Evidence, EvidenceView
    from governance.policy.authority import Authority

Vote = tuple[str, str, "Evidence"]
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
    item: Evidence

    @property
    def why(self) -> str:
        """The reason, as a finding has it."""
        return _TEXTS[self.reason].format(self.detail)

    @property
    def text(self) -> str:
        """The person and the reason, as a finding has them."""
        return f"{self.person} does not count: {self.why}"


Author = tuple[Reason, str]
"""Why somebody cannot approve their own work, and the stage."""


def packet_votes(context: ReleaseContext) -> tuple[list[Vote], list[SetAside]]:
    """The last word of each person who may vote on the packet; and the votes that do not count."""
    if context.packet is None or context.tier is None:
        return [], []
    authors = _authors(context)
    last: dict[tuple[str, str], Vote] = {}
    aside: list[SetAside] = []
    for item in context.evidence.by_subject(context.asked.packet or "", "approval"):
        said: Approval = item.predicate
        if said.about != "packet":
            continue
        why, (name,) = _vote_problem(context, item), one_each(context.rights, {said.principal})
        voter = (name, said.role)
        if why is None:
            last[voter] = (*voter, item)
            why = authors.get(said.principal) if said.decision == "approve" else None
        if why is not None:
            aside.append(SetAside(said.principal, *why, item))
    for voter in [
        one for one in last if one[0] in authors and last[one][2].predicate.decision == "approve"
    ]:
        del last[voter]  # nobody approves their own work; they may reject it, and take that back
    return list(last.values()), aside


def _vote_problem(context: ReleaseContext, item: Evidence) -> tuple[Reason, str] | None:
    """The first reason why a vote does not count."""
    said: Approval = item.predicate
    approves = said.decision == "approve"
    approvers = context.tier.approvers if context.tier else []
    packet_index = context.packet.index if context.packet else 0
    expired = approves and not context.rights.acts(item, context.at)
    reasons: list[tuple[Reason, str, bool]] = [
        ("not_theirs", "", context.rights.speaker(item) is None),
        ("time_ended", "", expired),
        ("role", said.role, said.role not in approvers),
        ("other_model", str(said.model), said.model != context.model),
        ("other_alias", str(said.alias), said.alias not in (None, context.asked.alias)),
        ("before_packet", "", item.index < packet_index),
        ("not_in_force", "", not in_force(said, context.at)),
        ("no_page", "", said.page is None),
    ]
    found = next(((reason, detail) for reason, detail, holds in reasons if holds), None)
    if found is None and approves and said.opened_at is not None:
        return _incident_problem(context, item)
    return found


def _incident_problem(context: ReleaseContext, item: Evidence) -> tuple[Reason, str] | None:
    if context.packet is None:
        return None
    opened = incidents_against(context.rights, context.evidence, context.packet, item.index)
    return ("incident_open", str(opened[0].index)) if opened else None


def incidents_against(
    rights: Authority, evidence: EvidenceView, packet: Evidence, before: int
) -> list[Evidence]:
    """The incidents that keep anybody from approving a packet at entry `before`."""
    about = evidence.by_subject(packet.predicate.model_digest, "incident")
    return unaccepted(rights, [item for item in about if item.index < before], packet)


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
    rights: Authority, items: Iterable[Evidence], at: datetime | None = None
) -> set[str]:
    """The people who signed a request made by another; with `at`, whose signature is in force
    then.
    """
    found: dict[str, bool] = {}
    for item in items:
        if (
            item.kind == "approval"
            and item.predicate.about == "promotion"
            and _may_second(rights, item)
        ):
            holds = at is None or (in_force(item.predicate, at) and rights.acts(item, at))
            found[item.predicate.principal] = item.predicate.decision == "approve" and holds
    return {name for name, yes in found.items() if yes}


def _may_second(rights: Authority, item: Evidence) -> bool:
    policies = rights.at(item.index).policies
    named = policies.rules.seconded_by if policies else None
    return rights.speaker(item) is not None and (named is None or item.predicate.role in named)


def behind(
    rights: Authority, evidence: EvidenceView, asked: Evidence, at: datetime | None = None
) -> set[str]:
    """Who signed a request: its author and its seconders; with `at`, whose signature is in force
    then.
    """
    seconded = _seconders(rights, evidence.by_subject(asked.digest, "approval"), at)
    return {asked.predicate.principal} | seconded


def by_another(rights: Authority, evidence: EvidenceView, asked: Evidence | None) -> bool:
    """Whether somebody other than its author signed a request, too."""
    return asked is not None and len(one_each(rights, behind(rights, evidence, asked))) > 1


def _authors(context: ReleaseContext) -> dict[str, Author]:
    """Who cannot approve because it is their own work, and why."""
    found: dict[str, Author] = {}
    for item in statements(context):
        stage = item.predicate.stage
        found.setdefault(item.predicate.run.requested_by.name, ("asked_for_run", stage))
        signer = context.rights.principal(item.keyid, item.index)
        if signer is not None:
            found.setdefault(signer.name, ("signed_run", stage))
    if context.requester is not None:  # nobody is made to ask by whoever writes their name
        found.setdefault(context.requester.name, ("asks_for_move", ""))
    others = {
        name: why for one, why in found.items() for name in context.rights.also_called.get(one, ())
    }
    return {**others, **found}


def statements(context: Context) -> Iterator[Evidence]:
    """The trainings, evaluations and imports behind the model."""
    for facts in context.models:
        for node in facts.chain:
            for item in (node.train, node.base):
                if item is not None and isinstance(item.predicate, Predicate):
                    yield item
        if facts.evaluation is not None:
            yield facts.evaluation


def agreed(
    rights: Authority,
    items: Iterable[Evidence],
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
        said: Approval = item.predicate
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
