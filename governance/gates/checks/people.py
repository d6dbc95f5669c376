"""Checks of what people said: requests, packets, approvals, rejections, waivers, incidents. Of
governed aliases only.

Who spoke is judged by `governance.policy.authority` at the position of each statement; people are
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
    """No open incident on the model. Whoever asks for the move does not close what others opened
    against it.
    """
    about = context.evidence.by_subject(context.asked.released.sha256, Incident)
    found = still_open(context.rights, about, context.asks)
    for item in found:
        yield finding(
            "INCIDENT_OPEN",
            f"model {context.model}",
            f"an incident is open since {item.predicate.at}: {item.predicate.reason}",
            expected="none",
            found=f"entry {item.index}, by {item.predicate.principal}",
            figures=[str(item.index)],
            next=(
                f"countersign incident close {context.model}/{item.predicate.version}, not by who"
                " asks"
            ),
        )
    for item in not_closed(context.rights, about) if found else ():
        roles = context.policies.rules.incidents.closed_by or []
        yield finding(
            "INCIDENT_NOT_CLOSED",
            f"model {context.model}",
            f"{item.predicate.principal} says as {item.predicate.role} that it is over, and may not"
            " close it",
            expected=f"the word of a person as {', '.join(roles) or 'whoever policy names'}",
            found=f"entry {item.index}",
            next=(
                f"countersign incident close {context.model}/{item.predicate.version}, by somebody"
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
    """Only code of the commits that policy permits, where it names any."""
    permitted = context.policies.rules.commits
    if permitted is None:
        return
    used = {item.predicate.code.commit or "none" for item in statements(context)}
    refused = sorted(used - set(permitted))
    if refused:
        yield finding(
            "COMMIT_NOT_PERMITTED",
            f"model {context.model}",
            "policy does not name the commit of the code that made or evaluated it",
            expected=", ".join(one[:12] for one in permitted) or "none",
            found=", ".join(one[:12] for one in refused),
        )


def requesters(context: ReleaseContext) -> Found:
    """A person authenticated themselves for every run: by a signed authorization in force when it
    began.
    """
    unknown = sorted(
        {item.predicate.stage for item in statements(context) if not _authorized(context, item)}
    )
    if unknown:
        yield finding(
            "REQUESTER_UNKNOWN",
            f"model {context.model}",
            "no authenticated person asked for these runs",
            expected="runs made with a person's authorization (countersign authorize)",
            found=", ".join(unknown),
        )


# -- The move of an alias --------------------------------------------------------------------------
def alias_rule(context: ReleaseContext) -> Found:
    """Policy governs this alias."""
    if _rule(context) is None:
        known = ", ".join(sorted(context.policies.rules.aliases)) or "none"
        yield finding(
            "ALIAS_UNKNOWN",
            f"alias {context.asked.alias}",
            "policy has no rule for it, so nobody may be asked",
            expected=f"one of {known}",
            found=context.asked.alias,
            next=f"policies/policy.yaml: aliases.{context.asked.alias}",
        )


def request(context: ReleaseContext) -> Found:
    """One open request for exactly this move, signed by somebody who may ask for it."""
    subject, signed = f"alias {context.asked.alias}", context.signed
    if signed is None or not isinstance(signed.predicate, PromotionRequest):
        yield finding(
            "REQUEST_MISSING",
            subject,
            "nobody has asked for this move, or what they asked for is another",
            expected=(
                f"a signed request for {context.model}/{context.asked.version} as"
                f" {context.asked.alias}"
            ),
            found="none open",
            next=_asking(context.asked),
        )
        return
    said = signed.predicate
    yield from _entitled(context, signed)
    wrong = _other_terms(context, said)
    if wrong:
        yield finding(
            "REQUEST_MISMATCH",
            subject,
            "the request is for something else",
            expected=wrong[0],
            found=wrong[1],
        )
    if said.from_version != context.asked.from_version:
        yield finding(
            "REQUEST_CONFLICT",
            subject,
            "the alias has moved since it was asked for",
            expected=f"held by version {said.from_version or 'none'}",
            found=f"held by version {context.asked.from_version or 'none'}",
        )
    rule = _rule(context)
    longest = (
        instant_of(said.at) + timedelta(hours=rule.request_hours) if rule else instant_of(said.at)
    )
    if not instant_of(said.at) <= context.at < min(instant_of(said.expires), longest):
        yield finding(
            "REQUEST_EXPIRED",
            subject,
            "the request is not open at this time",
            expected=(
                f"from {said.at} until {said.expires}, at most {rule.request_hours if rule else 0}"
                " hours"
            ),
            found=f"{context.at:%Y-%m-%dT%H:%M:%SZ}",
        )
    if signed.digest in context.timeline.consumed_requests:
        yield finding(
            "REQUEST_SPENT", subject, "this request was carried out already; each is good for once"
        )


def packet(context: ReleaseContext) -> Found:
    """The packet is there, about this model, put together under the policies in force, and nothing
    new bears on it.
    """
    subject = f"model {context.model}"
    if context.packet is None:
        yield finding(
            "PACKET_MISSING",
            subject,
            "no packet of it stands in the log, so nobody can have approved it",
            next=f"countersign freeze {context.model}/{context.asked.version}",
        )
        return
    changed = differing(
        context.packet, context.view, context.rights, evidence=context.evidence, at=context.at
    )
    if changed:
        said = (
            "what the release rests on changed since the packet was put together; approvals of it"
            " no longer hold"
        )
        yield _out_of_date(
            context, said, context.packet.subjects[0].sha256[:12], f"changed: {', '.join(changed)}"
        )


def approvals(context: ReleaseContext) -> Found:
    """Enough people, in different roles, approved exactly this packet, none of them its author;
    nobody rejects it.
    """
    wanted = context.tier.approvals if context.tier else 0
    votes, set_aside = packet_votes(context)
    for name, role, item in votes:
        if item.predicate.decision == "reject":
            yield finding(
                "REJECTED",
                f"model {context.model}",
                f"{name} rejects it as {role}: {item.predicate.reason}",
                expected="no rejection",
                found=f"entry {item.index}",
            )
    counted = distinct([vote for vote in votes if vote[2].predicate.decision == "approve"])
    if len(counted) < wanted:
        roles = context.tier.approvers if context.tier else []
        has = ", ".join(f"{name} as {role}" for name, role in counted) or "none"
        yield finding(
            "APPROVAL_MISSING",
            f"model {context.model}",
            f"tier {context.tier_name} wants {wanted} people in different roles",
            expected=f"{wanted} of: {', '.join(roles) or 'no role may approve'}",
            found="; ".join([has, *dict.fromkeys(one.text for one in set_aside)]),
            next=f"countersign approve {context.model}/{context.asked.version}",
        )


def was_released(context: ReleaseContext) -> Found:
    """A rollback goes to a version that held this alias by a decision before, with approvals that
    still stand.
    """
    held = (
        (one.predicate.model, one.predicate.alias, one.predicate.action) for one in _moves(context)
    )
    if (context.model, context.asked.alias, "promote") not in held:
        yield finding(
            "NEVER_RELEASED",
            f"model {context.model}",
            f"version {context.asked.version} never held {context.asked.alias} by a decision",
            expected="a version approved before",
            found="none",
            next=f"countersign promote {context.model}/{context.asked.version}",
        )


def retired(context: ReleaseContext) -> Found:
    """Bytes that were retired are not given an alias again, under whatever number: somebody meant
    it.
    """
    for item in _moves(context):
        said = item.predicate
        if (said.action, said.model) == ("retire", context.model):
            yield finding(
                "RETIRED",
                f"model {context.model}",
                f"these bytes were retired at {said.at}, as version {said.version}",
                expected="a version in service",
                found=f"entry {item.index}",
            )


def rollback_people(context: ReleaseContext) -> Found:
    """Enough people behind a rollback; one alone only where policy lets them break the glass."""
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
    """Nobody breaks the glass again over an earlier time that nobody else has signed when it was
    due.
    """
    for item in context.timeline.overdue(context.at):
        move = item.predicate
        if move.model == context.model:
            yield finding(
                "SECOND_SIGNATURE_OVERDUE",
                f"rollback of {context.model}",
                f"an earlier move made alone was to be signed by somebody else by"
                f" {move.second_signature_by}",
                expected="its second signature, before the glass is broken again",
                found=f"none; entry {item.index}",
                next=f"countersign approve promotion {(move.request or '')[:12]}, by somebody else",
            )


def retire_people(context: ReleaseContext) -> Found:
    """Two people at least let bytes go: who asks, and as many others as the tier wants approvals,
    less one.
    """
    if context.signed is None or not isinstance(context.signed.predicate, PromotionRequest):
        return
    people = signers_of_request(context.rights, context.evidence, context.signed, context.at)
    wanted = context.policies.retire_people(context.model)
    if len(one_each(context.rights, people)) < wanted:
        yield finding(
            "APPROVAL_MISSING",
            f"retirement of {context.model}",
            "to let a version's bytes go takes several people",
            expected=f"{wanted} people",
            found=", ".join(sorted(people)),
            next=f"countersign approve promotion {context.signed.digest[:12]}, by somebody else",
        )


# -- Before training -------------------------------------------------------------------------------
def approved_before(context: GateContext) -> Found:
    """What the tier wants approved before it is used: by a person whose role may, earlier in the
    log than the use.
    """
    wanted = context.tier.approved_before_training if context.tier else []
    asked = context.request
    subjects: dict[str, dict[str, str | None]] = {
        "data": {f"dataset {asked.data.dataset}": asked.data.sha256},
        "objective": {f"objective of {asked.stage}": asked.objective},
        "rewards": {f"reward {name}": digest for name, digest in sorted(asked.rewards.items())},
    }
    for what in wanted:
        for subject, digest in subjects[what].items():
            if digest is None or not _approved(context, digest, what.removesuffix("s")):
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
                        f" gate@{asked.stage}"
                    ),
                )


def _approved(context: GateContext, digest: str, about: str) -> bool:
    """Whether those who may approve it did so before the training."""
    if context.authority is None or context.tier is None:
        return False
    said, training = context.evidence.by_subject(digest, Approval), context.before
    in_time = [item for item in said if training is None or item.index < training.index]
    used = instant_of(training.predicate.run.started) if training else None
    return agreed(context.authority, in_time, about, context.tier.approvers, context.at, used)


def unseen(context: Context, waived: Iterable[Finding]) -> Found:
    """Whoever approved the packet saw every exception that the release is allowed in spite of, and
    how far it went.
    """
    if (
        not isinstance(context, ReleaseContext)
        or context.asked.action != "promote"
        or context.packet is None
    ):
        return
    shown = context.packet.predicate.waived
    hidden = sorted(
        {
            f"{one.code} {one.subject}"
            for one in waived
            if not any(same_exception(one, other) for other in shown)
        }
    )
    if hidden:
        said = "what is waived does not stand in the packet, so nobody who approved it saw it"
        yield _out_of_date(context, said, "every exception, in the packet", ", ".join(hidden))


# -- Shared ----------------------------------------------------------------------------------------
def _out_of_date(context: ReleaseContext, message: str, expected: str, found: str) -> Finding:
    name = f"{context.model}/{context.asked.version}"
    again = f"countersign freeze {name}, and have it approved again"
    about = f"model {context.model}"
    return finding("PACKET_OUT_OF_DATE", about, message, expected=expected, found=found, next=again)


def _moves(context: ReleaseContext) -> list[Evidence[Promotion]]:
    """The moves of governed aliases that gave or took these bytes."""
    return context.timeline.governed_moves_of(context.asked.released.sha256)


def _authorized(context: ReleaseContext, item: Evidence) -> bool:
    """Whether a person's authorization, earlier in the log, covers the run."""
    asked = item.predicate.run.requested_by
    if not asked.authenticated or asked.authorization is None:
        return False
    for one in context.evidence.all(Authorization):
        person = context.rights.speaker(one)
        if one.digest == asked.authorization and one.index < item.index and person is not None:
            return bool(
                person.name == asked.name and item.predicate.run.started < one.predicate.expires
            )
    return False


def _entitled(context: ReleaseContext, signed: Evidence) -> Found:
    rules = _rules(context)
    roles = [
        role
        for role in (rules[0].requesters if rules else [])
        if all(role in one.requesters for one in rules)
    ]
    acts = context.rights.acts(signed, context.at)
    if context.requester is None or signed.predicate.role not in roles or not acts:
        yield finding(
            "REQUEST_NOT_ENTITLED",
            f"alias {context.asked.alias}",
            "whoever signed the request may not ask for this move",
            expected=f"a person as {', '.join(roles) or 'nobody'}",
            found=(
                f"{signed.predicate.principal} as"
                f" {signed.predicate.role}{'' if acts else ', whose time has ended'}"
            ),
        )


def _asking(asked: ReleaseRequest) -> str:
    if asked.action == "rollback":
        return f"countersign rollback {asked.model} --reason ..."
    return (
        f"countersign {asked.action}"
        f" {asked.model}/{asked.version}{' --reason ...' * (asked.action == 'retire')}"
    )


def _other_terms(context: ReleaseContext, said: PromotionRequest) -> tuple[str, str] | None:
    asked = context.asked
    terms = {
        "action": (asked.action, said.action),
        "model": (asked.model, said.model),
        "version": (asked.version, said.version),
        "alias": (asked.alias, said.alias),
        "digest": (asked.released.sha256, said.model_digest),
        "packet": (asked.packet, said.packet),
    }
    other = [(name, pair) for name, pair in terms.items() if pair[0] != pair[1]]
    if not other:
        return None
    return ", ".join(f"{n} {str(p[0])[:20]}" for n, p in other), ", ".join(
        f"{n} {str(p[1])[:20]}" for n, p in other
    )


def _rule(context: ReleaseContext) -> AliasRule | None:
    """The rule of the alias asked for; of a retirement, that which closes a request soonest."""
    return min(_rules(context), key=lambda rule: rule.request_hours, default=None)


def _rules(context: ReleaseContext) -> list[AliasRule]:
    """The rules that a move must keep: its alias's; of a retirement, which takes them all away,
    those of every alias that the version was ever given, whichever the request names, and the first
    where it had none.
    """
    rules = context.policies.rules.aliases
    if context.asked.action != "retire":
        return [rules[context.asked.alias]] if context.asked.alias in rules else []
    moves = [item.predicate for item in _moves(context)]
    given = {
        one.alias
        for one in moves
        if (one.model, one.version) == (context.model, context.asked.version)
    }
    return [rule for alias, rule in rules.items() if alias in given] or list(rules.values())[:1]
