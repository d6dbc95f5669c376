"""Checks of what people signed: requests, packets, approvals, rejections, waivers, incidents. They
concern governed aliases only.

`governance.policy.authority` tells who signed, at the position of each statement. People are
counted, never keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from governance.attest.findings import finding, same_exception
from governance.attest.predicates import (
    Approval,
    Authorization,
    Finding,
    Incident,
    Promotion,
    PromotionRequest,
)
from governance.base.time import instant_of
from governance.gates.checks.context import Context, GateContext, ReleaseContext
from governance.gates.checks.votes import packet_votes, statements
from governance.history.incidents import not_closed, still_open
from governance.history.packet import differing
from governance.history.persons import one_each
from governance.history.votes import agreed, distinct, signers_of_request

if TYPE_CHECKING:
    from governance.attest.requests import ReleaseRequest
    from governance.log.evidence import Evidence
    from governance.policy.policies import AliasRule

Found = Iterable[Finding]


# -- What must hold whatever people say ------------------------------------------------------------
def policy_signed(context: ReleaseContext) -> Found:
    """The policies in force were signed by a quorum of their owners."""
    period = context.rights.in_force
    if period.signed_at is None:
        owners = period.policies.rules.owners if period.policies else None
        yield finding(
            "POLICY_NOT_SIGNED",
            f"policies {period.digest[:12]}",
            "the policies in force were never signed by their owners",
            expected=(
                f"{owners.people} of {', '.join(owners.roles)}"
                if owners
                else "owners, and their signatures"
            ),
            found="no owners are named" if owners is None else "too few signatures",
        )


def incidents(context: ReleaseContext) -> Found:
    """No incident on the model is open. The requester of the move cannot close an incident that
    others opened.
    """
    incident_statements = context.evidence.by_subject(context.request.released.sha256, Incident)
    open_incidents = still_open(context.rights, incident_statements, context.asks)
    for statement in open_incidents:
        incident = statement.predicate
        yield finding(
            "INCIDENT_OPEN",
            f"model {context.model}",
            f"an incident is open since {incident.at}: {incident.reason}",
            expected="none",
            found=f"entry {statement.index}, by {incident.principal}",
            figures=[str(statement.index)],
            next=(
                f"countersign incident close {context.model}/{incident.version}, not by who asks"
            ),
        )
    for statement in not_closed(context.rights, incident_statements) if open_incidents else ():
        incident = statement.predicate
        roles = context.policies.rules.incidents.closed_by or []
        yield finding(
            "INCIDENT_NOT_CLOSED",
            f"model {context.model}",
            f"{incident.principal} says as {incident.role} that it is over, and may not close it",
            expected=f"the word of a person as {', '.join(roles) or 'whoever policy names'}",
            found=f"entry {statement.index}",
            next=(
                f"countersign incident close {context.model}/{incident.version}, by somebody"
                " who may"
            ),
        )


def canary(context: ReleaseContext) -> Found:
    """A canary, where the tier demands one; nothing records one yet."""
    if context.tier is not None and context.tier.canary:
        yield finding(
            "CANARY_MISSING",
            f"model {context.model}",
            f"tier {context.tier_name} demands a passed canary",
            expected="a canary",
            found="not recorded: no statement of that kind exists yet",
        )


def commits(context: ReleaseContext) -> Found:
    """Only code of commits that policy permits, if policy names any."""
    permitted = context.policies.rules.commits
    if permitted is None:
        return
    used = {statement.predicate.code.commit or "none" for statement in statements(context)}
    refused = sorted(used - set(permitted))
    if refused:
        yield finding(
            "COMMIT_NOT_PERMITTED",
            f"model {context.model}",
            "policy does not name the commit of the code that made or evaluated it",
            expected=", ".join(commit[:12] for commit in permitted) or "none",
            found=", ".join(commit[:12] for commit in refused),
        )


def requesters(context: ReleaseContext) -> Found:
    """Every run has a signed authorization of a person, in force when the run began."""
    unauthorized = sorted(
        {
            statement.predicate.stage
            for statement in statements(context)
            if not _authorized(context, statement)
        }
    )
    if unauthorized:
        yield finding(
            "REQUESTER_UNKNOWN",
            f"model {context.model}",
            "no authenticated person asked for these runs",
            expected="runs made with a person's authorization (countersign authorize)",
            found=", ".join(unauthorized),
        )


# -- The move of an alias --------------------------------------------------------------------------
def alias_rule(context: ReleaseContext) -> Found:
    """Policy has a rule for this alias."""
    if _rule(context) is None:
        names = ", ".join(sorted(context.policies.rules.aliases)) or "none"
        yield finding(
            "ALIAS_UNKNOWN",
            f"alias {context.request.alias}",
            "policy has no rule for it, so nobody may be asked",
            expected=f"one of {names}",
            found=context.request.alias,
            next=f"policies/policy.yaml: aliases.{context.request.alias}",
        )


def request(context: ReleaseContext) -> Found:
    """There is an open request for exactly this move, by a person with the right to ask for it."""
    subject, signed = f"alias {context.request.alias}", context.signed
    if signed is None or not isinstance(signed.predicate, PromotionRequest):
        yield finding(
            "REQUEST_MISSING",
            subject,
            "nobody has asked for this move, or what they asked for is another",
            expected=(
                f"a signed request for {context.model}/{context.request.version} as"
                f" {context.request.alias}"
            ),
            found="none open",
            next=_asking(context.request),
        )
        return
    terms = signed.predicate
    yield from _entitled(context, signed)
    differing_terms = _other_terms(context, terms)
    if differing_terms:
        yield finding(
            "REQUEST_MISMATCH",
            subject,
            "the request is for something else",
            expected=differing_terms[0],
            found=differing_terms[1],
        )
    if terms.from_version != context.request.from_version:
        yield finding(
            "REQUEST_CONFLICT",
            subject,
            "the alias has moved since it was asked for",
            expected=f"held by version {terms.from_version or 'none'}",
            found=f"held by version {context.request.from_version or 'none'}",
        )
    rule = _rule(context)
    hours = rule.request_hours if rule else 0
    latest_end = instant_of(terms.at) + timedelta(hours=hours)
    if not instant_of(terms.at) <= context.at < min(instant_of(terms.expires), latest_end):
        yield finding(
            "REQUEST_EXPIRED",
            subject,
            "the request is not open at this time",
            expected=(f"from {terms.at} until {terms.expires}, at most {hours} hours"),
            found=f"{context.at:%Y-%m-%dT%H:%M:%SZ}",
        )
    if signed.digest in context.timeline.consumed_requests:
        yield finding(
            "REQUEST_SPENT", subject, "this request was carried out already; each is good for once"
        )


def packet(context: ReleaseContext) -> Found:
    """The log has a packet of this model, and nothing in it changed since, policies included."""
    subject = f"model {context.model}"
    if context.packet is None:
        yield finding(
            "PACKET_MISSING",
            subject,
            "no packet of it stands in the log, so nobody can have approved it",
            next=f"countersign freeze {context.model}/{context.request.version}",
        )
        return
    changed = differing(
        context.packet, context.view, context.rights, evidence=context.evidence, at=context.at
    )
    if changed:
        message = (
            "what the release rests on changed since the packet was put together; approvals of it"
            " no longer hold"
        )
        yield _out_of_date(
            context,
            message,
            context.packet.subjects[0].sha256[:12],
            f"changed: {', '.join(changed)}",
        )


def approvals(context: ReleaseContext) -> Found:
    """Enough people in different roles approve exactly this packet. None of them is its author.
    Nobody rejects it.
    """
    required = context.tier.approvals if context.tier else 0
    votes, set_aside = packet_votes(context)
    for name, role, statement in votes:
        if statement.predicate.decision == "reject":
            yield finding(
                "REJECTED",
                f"model {context.model}",
                f"{name} rejects it as {role}: {statement.predicate.reason}",
                expected="no rejection",
                found=f"entry {statement.index}",
            )
    counted = distinct([vote for vote in votes if vote[2].predicate.decision == "approve"])
    if len(counted) < required:
        roles = context.tier.approvers if context.tier else []
        present = ", ".join(f"{name} as {role}" for name, role in counted) or "none"
        yield finding(
            "APPROVAL_MISSING",
            f"model {context.model}",
            f"tier {context.tier_name} wants {required} people in different roles",
            expected=f"{required} of: {', '.join(roles) or 'no role may approve'}",
            found="; ".join([present, *dict.fromkeys(ignored.text for ignored in set_aside)]),
            next=f"countersign approve {context.model}/{context.request.version}",
        )


def was_released(context: ReleaseContext) -> Found:
    """A rollback goes to a version that an earlier decision gave this alias."""
    given = (
        (move.predicate.model, move.predicate.alias, move.predicate.action)
        for move in _moves(context)
    )
    if (context.model, context.request.alias, "promote") not in given:
        yield finding(
            "NEVER_RELEASED",
            f"model {context.model}",
            f"version {context.request.version} never held {context.request.alias} by a decision",
            expected="a version approved before",
            found="none",
            next=f"countersign promote {context.model}/{context.request.version}",
        )


def retired(context: ReleaseContext) -> Found:
    """Retired bytes get no alias again, under whatever version number."""
    for statement in _moves(context):
        move = statement.predicate
        if (move.action, move.model) == ("retire", context.model):
            yield finding(
                "RETIRED",
                f"model {context.model}",
                f"these bytes were retired at {move.at}, as version {move.version}",
                expected="a version in service",
                found=f"entry {statement.index}",
            )


def rollback_people(context: ReleaseContext) -> Found:
    """Enough people signed a rollback. One person suffices only where policy permits
    break-glass.
    """
    rule, signed = _rule(context), context.signed
    if rule is None or signed is None or not isinstance(signed.predicate, PromotionRequest):
        return
    people = signers_of_request(context.rights, context.evidence, signed, context.at)
    if len(one_each(context.rights, people)) >= rule.rollback_people:
        return
    if signed.predicate.break_glass and signed.predicate.role in rule.break_glass:
        yield from _never_seconded(context)
        return
    yield finding(
        "APPROVAL_MISSING",
        f"rollback of {context.model}",
        f"policy wants {rule.rollback_people} people behind it, or one who may break the glass",
        expected=(
            f"{rule.rollback_people} people, or --break-glass as"
            f" {', '.join(rule.break_glass) or 'nobody'}"
        ),
        found=", ".join(sorted(people)),
        next=f"countersign approve promotion {signed.digest[:12]}, by somebody else",
    )


def _never_seconded(context: ReleaseContext) -> Found:
    """No second break-glass while the second signature of an earlier one is overdue."""
    for statement in context.timeline.overdue(context.at):
        move = statement.predicate
        if move.model == context.model:
            yield finding(
                "SECOND_SIGNATURE_OVERDUE",
                f"rollback of {context.model}",
                f"an earlier move made alone was to be signed by somebody else by"
                f" {move.second_signature_by}",
                expected="its second signature, before the glass is broken again",
                found=f"none; entry {statement.index}",
                next=f"countersign approve promotion {(move.request or '')[:12]}, by somebody else",
            )


def retire_people(context: ReleaseContext) -> Found:
    """A retirement needs the requester and others: as many people as the tier wants approvals, and
    at least two.
    """
    if context.signed is None or not isinstance(context.signed.predicate, PromotionRequest):
        return
    people = signers_of_request(context.rights, context.evidence, context.signed, context.at)
    required = context.policies.retire_people(context.model)
    if len(one_each(context.rights, people)) < required:
        yield finding(
            "APPROVAL_MISSING",
            f"retirement of {context.model}",
            "to let a version's bytes go takes several people",
            expected=f"{required} people",
            found=", ".join(sorted(people)),
            next=f"countersign approve promotion {context.signed.digest[:12]}, by somebody else",
        )


# -- Before training -------------------------------------------------------------------------------
def approved_before(context: GateContext) -> Found:
    """What the tier wants approved before training is approved, earlier in the log than the
    training.
    """
    required = context.tier.approved_before_training if context.tier else []
    request = context.request
    subjects: dict[str, dict[str, str | None]] = {
        "data": {f"dataset {request.data.dataset}": request.data.sha256},
        "objective": {f"objective of {request.stage}": request.objective},
        "rewards": {f"reward {name}": digest for name, digest in sorted(request.rewards.items())},
    }
    for category in required:
        for subject, digest in subjects[category].items():
            if digest is None or not _approved(context, digest, category.removesuffix("s")):
                yield finding(
                    "APPROVAL_MISSING",
                    subject,
                    f"tier {context.tier_name} wants it approved by people before training",
                    expected=(
                        f"an approval of {(digest or 'it')[:12]}, earlier in the log than the"
                        " training"
                    ),
                    found="none",
                    next=(
                        f"countersign approve {(digest or 'DIGEST')[:12]}, then countersign repro"
                        f" gate@{request.stage}"
                    ),
                )


def _approved(context: GateContext, digest: str, about: str) -> bool:
    """Whether people with the right to approve it did so before the training."""
    if context.authority is None or context.tier is None:
        return False
    approvals, training = context.evidence.by_subject(digest, Approval), context.before
    in_time = [vote for vote in approvals if training is None or vote.index < training.index]
    used = instant_of(training.predicate.run.started) if training else None
    return agreed(context.authority, in_time, about, context.tier.approvers, context.at, used)


def unseen(context: Context, waived: Iterable[Finding]) -> Found:
    """Every finding that is waived now stands in the packet, so its approvers saw it."""
    if (
        not isinstance(context, ReleaseContext)
        or context.request.action != "promote"
        or context.packet is None
    ):
        return
    shown = context.packet.predicate.waived
    hidden = sorted(
        {
            f"{excused.code} {excused.subject}"
            for excused in waived
            if not any(same_exception(excused, other) for other in shown)
        }
    )
    if hidden:
        message = "what is waived does not stand in the packet, so nobody who approved it saw it"
        yield _out_of_date(context, message, "every exception, in the packet", ", ".join(hidden))


# -- Shared ----------------------------------------------------------------------------------------
def _out_of_date(context: ReleaseContext, message: str, expected: str, found: str) -> Finding:
    name = f"{context.model}/{context.request.version}"
    again = f"countersign freeze {name}, and have it approved again"
    about = f"model {context.model}"
    return finding("PACKET_OUT_OF_DATE", about, message, expected=expected, found=found, next=again)


def _moves(context: ReleaseContext) -> list[Evidence[Promotion]]:
    """The moves of governed aliases that gave or took these bytes."""
    return context.timeline.governed_moves_of(context.request.released.sha256)


def _authorized(context: ReleaseContext, statement: Evidence) -> bool:
    """Whether a person's authorization, earlier in the log, covers the run."""
    requester = statement.predicate.run.requested_by
    if not requester.authenticated or requester.authorization is None:
        return False
    for authorization in context.evidence.all(Authorization):
        if (
            authorization.digest != requester.authorization
            or authorization.index >= statement.index
        ):
            continue
        person = context.rights.speaker(authorization)
        if person is not None:
            in_time = statement.predicate.run.started < authorization.predicate.expires
            return person.name == requester.name and bool(in_time)
    return False


def _entitled(context: ReleaseContext, signed: Evidence) -> Found:
    rules = _rules(context)
    roles = [
        role
        for role in (rules[0].requesters if rules else [])
        if all(role in rule.requesters for rule in rules)
    ]
    acts = context.rights.acts(signed, context.at)
    if context.requester is None or signed.predicate.role not in roles or not acts:
        yield finding(
            "REQUEST_NOT_ENTITLED",
            f"alias {context.request.alias}",
            "whoever signed the request may not ask for this move",
            expected=f"a person as {', '.join(roles) or 'nobody'}",
            found=(
                f"{signed.predicate.principal} as"
                f" {signed.predicate.role}{'' if acts else ', whose time has ended'}"
            ),
        )


def _asking(request: ReleaseRequest) -> str:
    if request.action == "rollback":
        return f"countersign rollback {request.model} --reason ..."
    return (
        f"countersign {request.action}"
        f" {request.model}/{request.version}{' --reason ...' * (request.action == 'retire')}"
    )


def _other_terms(
    context: ReleaseContext, signed_request: PromotionRequest
) -> tuple[str, str] | None:
    request = context.request
    terms = {
        "action": (request.action, signed_request.action),
        "model": (request.model, signed_request.model),
        "version": (request.version, signed_request.version),
        "alias": (request.alias, signed_request.alias),
        "digest": (request.released.sha256, signed_request.model_digest),
        "packet": (request.packet, signed_request.packet),
    }
    differing = {name: pair for name, pair in terms.items() if pair[0] != pair[1]}
    if not differing:
        return None
    expected = ", ".join(f"{name} {str(pair[0])[:20]}" for name, pair in differing.items())
    found = ", ".join(f"{name} {str(pair[1])[:20]}" for name, pair in differing.items())
    return expected, found


def _rule(context: ReleaseContext) -> AliasRule | None:
    """The rule of the requested alias. For a retirement: the rule with the shortest request
    time.
    """
    return min(_rules(context), key=lambda rule: rule.request_hours, default=None)


def _rules(context: ReleaseContext) -> list[AliasRule]:
    """The rules that apply to a move: those of its alias.

    A retirement takes every alias away, so the rules of every alias that the version ever had
    apply, whichever the request names; if it had none, the first rule.
    """
    rules = context.policies.rules.aliases
    if context.request.action != "retire":
        return [rules[context.request.alias]] if context.request.alias in rules else []
    moves = [statement.predicate for statement in _moves(context)]
    given = {
        move.alias
        for move in moves
        if (move.model, move.version) == (context.model, context.request.version)
    }
    return [rule for alias, rule in rules.items() if alias in given] or list(rules.values())[:1]
