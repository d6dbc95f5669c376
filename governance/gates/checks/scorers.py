"""Checks of what people say of the models that a stage is made from: its parent, its reward model,
and those that make its data. A release decides the gates of its chain again, so what they say after
the training counts, too. How a reward model ranks: `behaviour`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from governance.attest.predicates import Approval, Packet
from governance.attest.requests import ModelRef, ReleaseRequest
from governance.gates.checks.context import (
    Context,
    DataContext,
    Findings,
    GateContext,
    GenerationContext,
    ReleaseContext,
)
from governance.gates.checks.votes import packet_votes
from governance.history.packet import digest_of
from governance.history.timeline import Timeline
from governance.history.votes import Vote
from governance.log.rules import JUDGES_NAMES, JUDGES_SCORERS

if TYPE_CHECKING:
    from governance.log.evidence import Evidence
    from governance.policy.authority import Authority

Objection = tuple[str, "Evidence"]
"""What people say, and the statement that says it."""


def scorer_in_service(context: GateContext) -> Findings:
    """No incident on the scorer's bytes is open; no version of them is retired or rejected."""
    if (scorer := context.request.scorer) is not None:
        yield from _withdrawn(context, scorer, "SCORER_WITHDRAWN", "reward model that scores")


def parent_in_service(context: GateContext) -> Findings:
    """The same of the model that it is trained from: a base can be a version of ours."""
    parent, role = context.request.parent, "model that is the parent of"
    yield from _withdrawn(context, parent, "PARENT_WITHDRAWN", role)


def makers_in_service(context: GenerationContext) -> Findings:
    """The same of each model that writes or judges generated data."""
    for maker in context.request.asked:
        yield from _withdrawn(context, maker, "SCORER_WITHDRAWN", "model that is asked by")


def other_names_in_service(context: ReleaseContext) -> Findings:
    """Under no other model name were the bytes of the version retired or rejected. Incidents and
    what this name has against it: `people`.
    """
    if context.rights.rules < JUDGES_NAMES:
        return
    for what, statement in _objections(context, context.request.released, context.rights):
        name = statement.predicate.model
        if name != context.model and statement.kind != "incident":
            yield context.finding(
                "OTHER_NAME_WITHDRAWN",
                f"model {name}",
                f"the model of these bytes under the name {name} {what}",
                expected="bytes that nobody withdrew",
                found=f"entry {statement.index}",
                figures=[str(statement.index)],
            )


def _withdrawn(context: DataContext, model: ModelRef, code: str, role: str) -> Findings:
    rights = context.authority
    if rights is None or rights.rules < JUDGES_SCORERS:
        return
    for what, statement in _objections(context, model, rights):
        yield context.finding(
            code,
            f"model {model.name}",
            f"the {role} {context.request.stage} {what}",
            expected="a model that nobody withdrew",
            found=f"entry {statement.index}",
            figures=[str(statement.index)],
            stage=context.request.stage,
        )


def _objections(context: Context, model: ModelRef, rights: Authority) -> Iterator[Objection]:
    timeline = Timeline(context.evidence, rights)
    for incident in timeline.open_incidents(model.sha256):
        yield f"has an open incident: {incident.predicate.reason}", incident
    for move in timeline.governed_moves_of(model.sha256):
        if move.predicate.action == "retire":
            yield f"was retired as {move.predicate.model}/{move.predicate.version}", move
    for (name, role), vote in _last_votes(context, model, rights).items():
        if vote.predicate.decision == "reject":
            yield f"was rejected by {name} as {role}: {vote.predicate.reason}", vote


def _last_votes(
    context: Context, model: ModelRef, rights: Authority
) -> dict[tuple[str, str], Evidence[Approval]]:
    """Person and role to the last vote that counts, on any packet of these bytes. Another packet
    alone ends no rejection: anybody enrolled may record one.
    """
    if rights.in_force.policies is None:
        return {}
    votes: list[Vote] = []
    for packet in context.evidence.by_subject(model.sha256, Packet):
        if packet.predicate.model_digest == model.sha256 and rights.admits(packet):
            votes += _votes(context, model, rights, packet.predicate)
    ordered = sorted(votes, key=lambda vote: vote[2].index)
    return {(name, role): vote for name, role, vote in ordered}


def _votes(context: Context, model: ModelRef, rights: Authority, packet: Packet) -> list[Vote]:
    asked = ReleaseRequest(
        model=packet.model,
        released=model,
        alias=rights.policies.main_alias,
        version=packet.version,
        packet=digest_of(packet),
    )
    return packet_votes(ReleaseContext.of(asked, rights, context.evidence, context.at))[0]
