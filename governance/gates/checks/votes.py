"""Votes: who approves or rejects a packet or a request, and whose vote counts. People are counted,
never keys.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from governance.attest.predicates import Approval, Predicate
from governance.base.time import instant_of
from governance.gates.checks.context import Context, ReleaseContext

if TYPE_CHECKING:
    from governance.log.evidence import Evidence, EvidenceView
    from governance.policy.authority import Authority

Vote = tuple[str, str, "Evidence"]
"""Who, in which role, by which statement."""


def packet_votes(context: ReleaseContext) -> tuple[list[Vote], list[str]]:
    """The last word of each person who may vote on the packet; and why others do not count, in
    words.
    """
    if context.packet is None or context.tier is None:
        return [], []
    authors = _authors(context)
    last: dict[tuple[str, str], Vote] = {}
    aside: dict[str, None] = {}
    for item in context.evidence.by_subject(context.asked.packet or "", "approval"):
        said: Approval = item.predicate
        if said.about != "packet":
            continue
        why, (name,) = _vote_problem(context, item), one_each(context.rights, {said.principal})
        voter = (name, said.role)
        if not why:
            last[voter] = (*voter, item)
            why = authors.get(said.principal, "") if said.decision == "approve" else ""
        if why:
            aside[f"{said.principal} does not count: {why}"] = None
    for voter in [
        one for one in last if one[0] in authors and last[one][2].predicate.decision == "approve"
    ]:
        del last[voter]  # nobody approves their own work; they may reject it, and take that back
    return list(last.values()), list(aside)


def _vote_problem(context: ReleaseContext, item: Evidence) -> str:
    said: Approval = item.predicate
    problems = {
        "the key was not theirs at that entry, or the role": context.rights.speaker(item) is None,
        "their time has ended": (
            said.decision == "approve" and not context.rights.acts(item, context.at)
        ),
        f"role {said.role} does not approve": (
            said.role not in (context.tier.approvers if context.tier else [])
        ),
        f"it is about model {said.model}": said.model != context.model,
        f"it is about alias {said.alias}": said.alias not in (None, context.asked.alias),
        "it stands before the packet": (
            context.packet is not None and item.index < context.packet.index
        ),
        "it is not in force at this time": not in_force(said, context.at),
        "no page was shown": said.page is None,
    }
    return next((why for why, holds in problems.items() if holds), "")


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


def one_each(rights: Authority, names: Iterable[str]) -> set[str]:
    """Everybody by one name, whatever names policies gave their keys: a new one makes nobody two
    people.
    """
    return {min(rights.also_called.get(name, (name,))) for name in names}


def others(rights: Authority, names: Iterable[str], *than: str) -> list[str]:
    """Those of them who are somebody else than all of these."""
    known = one_each(rights, than)
    return [name for name in names if not one_each(rights, {name}) & known]


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


def _authors(context: ReleaseContext) -> dict[str, str]:
    """Who cannot approve because it is their own work, and why."""
    found: dict[str, str] = {}
    for item in statements(context):
        found.setdefault(
            item.predicate.run.requested_by.name, f"they asked for {item.predicate.stage}"
        )
        signer = context.rights.principal(item.keyid, item.index)
        if signer is not None:
            found.setdefault(signer.name, f"they signed {item.predicate.stage}")
    if context.requester is not None:  # nobody is made to ask by whoever writes their name
        found.setdefault(context.requester.name, "they ask for the move")
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
