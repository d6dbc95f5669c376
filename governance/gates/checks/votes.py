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
from governance.history.incidents import about, unaccepted
from governance.history.persons import one_each
from governance.history.votes import Reason, SetAside, Vote, in_force

if TYPE_CHECKING:
    from governance.log.evidence import Evidence
    from governance.log.views import EvidenceView
    from governance.policy.authority import Authority

Author = tuple[Reason, str]
"""Why somebody cannot approve their own work, and the stage."""


def packet_votes(context: ReleaseContext) -> tuple[list[Vote], list[SetAside]]:
    """The last vote of each person who may vote on the packet, and the votes that do not count."""
    if context.packet is None or context.tier is None:
        return [], []
    own_work = authors(context)
    last: dict[tuple[str, str], Vote] = {}
    set_aside: list[SetAside] = []
    for statement in context.evidence.by_subject(context.request.packet or "", Approval):
        approval = statement.predicate
        if approval.about != "packet":
            continue
        (name,) = one_each(context.rights, {approval.principal})
        voter = (name, approval.role)
        problem = _vote_problem(context, statement)
        if problem is None:
            last[voter] = (*voter, statement)
            problem = own_work.get(approval.principal) if approval.decision == "approve" else None
        if problem is not None:
            set_aside.append(SetAside(approval.principal, *problem, statement))
    # Nobody approves their own work. An author may reject it, and may take the rejection back.
    votes = [
        vote
        for vote in last.values()
        if not (vote[0] in own_work and vote[2].predicate.decision == "approve")
    ]
    return votes, set_aside


def _vote_problem(
    context: ReleaseContext, statement: Evidence[Approval]
) -> tuple[Reason, str] | None:
    """The first reason why a vote does not count."""
    approval = statement.predicate
    approves = approval.decision == "approve"
    approvers = context.tier.approvers if context.tier else []
    packet_index = context.packet.index if context.packet else 0
    expired = approves and not context.rights.may_still_act(statement, context.at)
    reasons: list[tuple[Reason, str, bool]] = [
        ("role", approval.role, approval.role not in approvers),
        ("not_theirs", "", context.rights.speaker(statement) is None),
        ("time_ended", "", expired),
        ("other_model", str(approval.model), approval.model != context.model),
        ("other_alias", str(approval.alias), approval.alias not in (None, context.request.alias)),
        ("before_packet", "", statement.index < packet_index),
        ("not_in_force", "", not in_force(approval, context.at)),
        ("no_page", "", approval.page is None),
    ]
    problem = next(((reason, detail) for reason, detail, holds in reasons if holds), None)
    if problem is None and approves and approval.opened_at is not None:
        return _incident_problem(context, statement)
    return problem


def _incident_problem(
    context: ReleaseContext, statement: Evidence[Approval]
) -> tuple[Reason, str] | None:
    if context.packet is None:
        return None
    open_incidents = incidents_against(
        context.rights, context.evidence, context.packet, statement.index
    )
    return ("incident_open", str(open_incidents[0].index)) if open_incidents else None


def incidents_against(
    rights: Authority, evidence: EvidenceView, packet: Evidence[Packet], before: int
) -> list[Evidence[Incident]]:
    """The incidents that keep anybody from approving a packet at entry `before`."""
    incidents = about(evidence, rights, packet.predicate.model_digest)
    earlier = [incident for incident in incidents if incident.index < before]
    return unaccepted(rights, earlier, packet)


def authors(context: ReleaseContext) -> dict[str, Author]:
    """Who cannot approve because it is their own work, and the reason."""
    authors: dict[str, Author] = {}
    for statement in statements(context):
        stage = statement.predicate.stage
        authors.setdefault(statement.predicate.run.requested_by.name, ("asked_for_run", stage))
        signer = context.rights.principal(statement.keyid, statement.index)
        if signer is not None:
            authors.setdefault(signer.name, ("signed_run", stage))
    for facts in context.models:
        declared = context.policies.declaration_of(facts.ref.sha256)
        if declared is not None and facts.node.imported:
            authors.setdefault(declared[1].declared_by, ("declared_it", declared[0]))
    if context.requester is not None:  # nobody is made to ask by whoever writes their name
        authors.setdefault(context.requester.name, ("asks_for_move", ""))
    other_names = {
        other: problem
        for name, problem in authors.items()
        for other in context.rights.also_called.get(name, ())
    }
    return {**other_names, **authors}


def statements(context: Context) -> Iterator[Evidence]:
    """The statements of the trainings, imports and evaluations behind the model."""
    for facts in context.models:
        for node in facts.chain:
            for statement in (node.train, node.base):
                if statement is not None and isinstance(statement.predicate, Predicate):
                    yield statement
    for facts in context.evaluated:
        if facts.evaluation is not None:
            yield facts.evaluation
