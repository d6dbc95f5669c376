"""Votes: who approves or rejects a packet or a request, and whose vote counts. People are counted,
never keys.

An approval made while an incident on the same bytes is open does not count, unless the packet
carries the waiver of that incident (`incidents.unaccepted`). Approvals without `opened_at` are
older than this rule, and are read as before, so that old decisions are reproduced.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from governance.attest.predicates import Approval, Incident, Packet, Predicate
from governance.gates.checks.context import Context, ReleaseContext
from governance.history.incidents import unaccepted
from governance.history.persons import one_each
from governance.history.votes import Reason, SetAside, Vote, in_force

if TYPE_CHECKING:
    from governance.log.evidence import Evidence, EvidenceView
    from governance.policy.authority import Authority

Author = tuple[Reason, str]
"""Why somebody cannot approve their own work, and the stage."""


def packet_votes(context: ReleaseContext) -> tuple[list[Vote], list[SetAside]]:
    """The last word of each person who may vote on the packet; and the votes that do not count."""
    if context.packet is None or context.tier is None:
        return [], []
    authors = _authors(context)
    last: dict[tuple[str, str], Vote] = {}
    aside: list[SetAside] = []
    for item in context.evidence.by_subject(context.asked.packet or "", Approval):
        said = item.predicate
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


def _vote_problem(context: ReleaseContext, item: Evidence[Approval]) -> tuple[Reason, str] | None:
    """The first reason why a vote does not count."""
    said = item.predicate
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


def _incident_problem(
    context: ReleaseContext, item: Evidence[Approval]
) -> tuple[Reason, str] | None:
    if context.packet is None:
        return None
    opened = incidents_against(context.rights, context.evidence, context.packet, item.index)
    return ("incident_open", str(opened[0].index)) if opened else None


def incidents_against(
    rights: Authority, evidence: EvidenceView, packet: Evidence[Packet], before: int
) -> list[Evidence[Incident]]:
    """The incidents that keep anybody from approving a packet at entry `before`."""
    about = evidence.by_subject(packet.predicate.model_digest, Incident)
    return unaccepted(rights, [item for item in about if item.index < before], packet)


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
