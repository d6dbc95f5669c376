"""Checks of what people signed: requests, packets, approvals, rejections, waivers, incidents. They
concern governed aliases only.

`governance.policy.authority` tells who signed, at the position of each statement. People are
counted, never keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import cache, partial
from typing import TYPE_CHECKING

from governance.attest.findings import same_exception
from governance.attest.predicates import (
    Approval,
    Finding,
    Promotion,
    PromotionRequest,
)
from governance.base.time import instant_of
from governance.gates.checks.context import (
    Context,
    DataContext,
    Findings,
    GateContext,
    ReleaseContext,
)
from governance.gates.checks.votes import packet_votes, statements
from governance.history import rollout_rules, rollouts
from governance.history.authorizations import named
from governance.history.incidents import about, incomplete, not_closed, still_open, unchecked
from governance.history.packet import differing
from governance.history.persons import one_each
from governance.history.votes import agreed, distinct, signers_of_request
from governance.log.rules import INSTANTS

if TYPE_CHECKING:
    from governance.attest.predicates import Authorization, Incident, Predicate
    from governance.log.evidence import Evidence
    from governance.policy.rules import AliasRule

    Authorizations = Callable[[str], Sequence[tuple[str, Evidence[Authorization]]]]


# -- What must hold whatever people say ------------------------------------------------------------
def policy_signed(context: ReleaseContext) -> Findings:
    """The policies in force were signed by a quorum of their owners."""
    period = context.rights.in_force
    owners = period.policies.rules.owners if period.policies else None
    if period.signed_at is None:
        quorum = f"{owners.people} of {', '.join(owners.roles)}" if owners else ""
        yield context.finding(
            "POLICY_NOT_SIGNED",
            f"policies {period.digest[:12]}",
            expected=quorum or "owners, and their signatures",
            found="too few signatures" if owners else "no owners are named",
        )


def registered_once(context: ReleaseContext) -> Findings:
    """The version has one digest, or policy owners settled which of its registrations stands."""
    version = (context.model, context.request.version)
    for registration in context.timeline.registered_twice.get(version, ()):
        yield context.finding(
            "REGISTERED_TWICE",
            expected="one digest",
            found=f"{registration.predicate.model_digest[:12]} at entry {registration.index}",
            figures=[str(registration.index)],
        )


def incidents(context: ReleaseContext) -> Findings:
    """No incident on the model is open. The requester of the move cannot close an incident that
    others opened.
    """
    statements_about = about(context.evidence, context.rights, context.request.released.sha256)
    open_incidents = still_open(context.rights, statements_about, context.asks)
    for statement in open_incidents:
        incident = statement.predicate
        yield context.finding(
            "INCIDENT_OPEN",
            message=f"an incident is open since {incident.at}: {incident.reason}",
            expected="none",
            found=f"entry {statement.index}, by {incident.principal}",
            figures=[str(statement.index)],
            version=incident.version,
        )
    roles = ", ".join(context.policies.rules.incident_roles("closed")) or "whoever policy names"
    for statement in not_closed(context.rights, statements_about) if open_incidents else ():
        incident = statement.predicate
        yield context.finding(
            "INCIDENT_NOT_CLOSED",
            message=f"{incident.principal} may not close an incident as {incident.role}",
            expected=f"closed by a person as {roles}",
            found=f"entry {statement.index}",
            figures=[str(statement.index)],
            version=incident.version,
        )
    for statement in unchecked(context.rights, statements_about) if open_incidents else ():
        yield context.finding(
            "INCIDENT_NOT_CHECKED",
            expected=_check_wanted(context),
            found=f"entry {statement.index}",
            figures=[str(statement.index)],
            version=statement.predicate.version,
        )
    if open_incidents:
        yield from _record_incomplete(context, statements_about)


def _record_incomplete(context: ReleaseContext, about_it: list[Evidence[Incident]]) -> Findings:
    for closing, lacks in incomplete(context.rights, about_it):
        yield context.finding(
            "INCIDENT_INCOMPLETE",
            expected=f"stated before the closing: {', '.join(lacks)}",
            found=f"entry {closing.index}",
            figures=[str(closing.index)],
            version=closing.predicate.version,
        )


def _check_wanted(context: ReleaseContext) -> str:
    by_another = context.policies.rules.incidents.checked_by_another
    return f"a check{' by another person than who acted' if by_another else ''} after the actions"


def reviewed(context: ReleaseContext) -> Findings:
    """No version of the model that is in use waits for its periodic review, where policy says what
    follows then.
    """
    if context.tier is None or context.tier.overdue_review is None:
        return
    for review in context.timeline.reviews(context.at):
        if review.model != context.model or review.state == "in time":
            continue
        code = "REVIEW_OVERDUE"
        if review.blocks_moves:
            code = "REVIEW_STOPS_SERVING" if review.stops_serving else "REVIEW_LAPSED"
        yield context.finding(
            code,
            f"version {review.name}",
            expected=f"reviewed by {review.due}",
            found=f"last reviewed in entry {review.last.index}",
            figures=[str(review.due)],
            version=review.name,
        )


def _counts_as_canary(context: ReleaseContext, rollout: rollouts.Rollout) -> bool:
    """Whether a rollout can be for or against a canary. A shadow can always be against it."""
    rules = context.policies.rules.rollouts
    is_against = bool(rollout.harmful) or rollout.state(context.at) == "aborted"
    shadows_count = rules is not None and rules.shadow_suffices
    return rollout.asked.mode == "live" or shadows_count or is_against


def canary(context: ReleaseContext) -> Findings:
    """The last rollout to these bytes passed, from those that hold the alias now, where the tier
    demands a canary. The policies in force still permit its terms. Shadow rollouts count only where
    policy says so, and where they are against it.
    """
    if context.tier is None or not context.tier.canary:
        return
    digest = context.request.released.sha256
    of_log = list(context.timeline.rollouts.values())
    counts = [each for each in of_log if _counts_as_canary(context, each)]
    name = (context.model, context.request.alias, digest)
    rollout = rollouts.latest(counts, *name)
    if rollout is None and rollouts.latest(of_log, *name) is not None:
        shadow = "a shadow rollout, which policy does not count"
        yield context.finding("CANARY_MISSING", expected="a live rollout that passed", found=shadow)
        return
    if rollout is None:
        yield context.finding("CANARY_MISSING", expected="a canary", found="not recorded")
        return
    asked = rollout.asked
    problems = rollout_rules.request_problems(context.policies.rules, asked)
    state = rollout.state(context.at)
    found: str = state
    if problems:
        found = f"its terms are not permitted now: {problems[0].expected}"
    elif context.champion not in (asked.from_digest, digest):
        found = f"it went from version {asked.from_version}, which does not hold the alias"
    elif rollout.passed is not None:
        return
    yield context.finding(
        "CANARY_MISSING",
        message=f"the rollout of entry {rollout.request.index} is no passed canary",
        expected="a rollout from the holder of the alias that passed",
        found=found,
        figures=[str(rollout.request.index), state],
    )


def commits(context: ReleaseContext) -> Findings:
    """Only code of commits that policy permits, if policy names any."""
    permitted = context.policies.rules.commits
    if permitted is None:
        return
    used = {statement.predicate.code.commit or "none" for statement in statements(context)}
    refused = sorted(used - set(permitted))
    if refused:
        yield context.finding(
            "COMMIT_NOT_PERMITTED",
            expected=", ".join(commit[:12] for commit in permitted) or "none",
            found=", ".join(commit[:12] for commit in refused),
            figures=[commit[:12] for commit in refused],
        )


def builders(context: ReleaseContext) -> Findings:
    """Only trainings, imports and evaluations by services that policy permits, if it names any."""
    permitted = context.policies.rules.builders
    if permitted is None:
        return
    refused = sorted({_builder(context, made) for made in statements(context)} - set(permitted))
    if refused:
        yield context.finding(
            "BUILDER_NOT_PERMITTED",
            expected=", ".join(permitted) or "none",
            found=", ".join(refused),
            figures=refused,
        )


def _builder(context: ReleaseContext, statement: Evidence[Predicate]) -> str:
    """The service that held the statement's key; of an unknown key, its id."""
    principal = context.rights.principal(statement.keyid, statement.index)
    return principal.name if principal else f"key {statement.keyid[:16]}"


def requesters(context: ReleaseContext) -> Findings:
    """Every run has a signed authorization of a person, in force when the run began."""
    authorizations = cache(partial(named, context.evidence, context.rights))
    unauthorized = {
        statement.predicate.stage
        for statement in statements(context)
        if not _authorized(statement, authorizations, context.rights.rules_at(statement.index))
    }
    if unauthorized:
        yield context.finding(
            "REQUESTER_UNKNOWN",
            expected="runs made with a person's authorization (countersign authorize)",
            found=", ".join(sorted(unauthorized)),
            figures=sorted(unauthorized),
        )


def _authorized(statement: Evidence[Predicate], authorizations: Authorizations, rules: int) -> bool:
    """Whether a person's authorization, earlier in the log, covers the run."""
    run = statement.predicate.run
    digest = run.requested_by.authorization
    if not run.requested_by.authenticated or digest is None:
        return False
    return any(
        person == run.requested_by.name
        and authorization.index < statement.index
        and _is_before(run.started, authorization.predicate.expires, rules)
        for person, authorization in authorizations(digest)
    )


def _is_before(time: str, end: str, rules: int) -> bool:
    return time < end if rules < INSTANTS else instant_of(time) < instant_of(end)


# -- The move of an alias --------------------------------------------------------------------------
def alias_rule(context: ReleaseContext) -> Findings:
    """Policy has a rule for this alias."""
    alias = context.request.alias
    if _rule(context) is None:
        names = ", ".join(sorted(context.policies.rules.aliases)) or "none"
        yield context.finding(
            "ALIAS_UNKNOWN", f"alias {alias}", expected=f"one of {names}", found=alias
        )


def request(context: ReleaseContext) -> Findings:
    """There is an open request for exactly this move, by a person with the right to ask for it."""
    wanted, signed = context.request, context.signed
    subject = f"alias {wanted.alias}"
    if signed is None:
        to = "" if wanted.action == "rollback" else f"/{wanted.version}"
        reason = "" if wanted.action == "promote" else " --reason ..."
        yield context.finding(
            "REQUEST_MISSING",
            subject,
            expected=f"a signed request for {context.model}/{wanted.version} as {wanted.alias}",
            found="none open",
            asking=f"{wanted.action} {context.model}{to}{reason}",
        )
        return
    terms = signed.predicate
    yield from _entitled(context, signed)
    expected_terms, found_terms = _differing_terms(context, terms)
    if expected_terms:
        yield context.finding(
            "REQUEST_MISMATCH", subject, expected=expected_terms, found=found_terms
        )
    if terms.from_version != wanted.from_version:
        yield context.finding(
            "REQUEST_CONFLICT",
            subject,
            expected=f"held by version {terms.from_version or 'none'}",
            found=f"held by version {wanted.from_version or 'none'}",
        )
    rule = _rule(context)
    hours = rule.request_hours if rule else 0
    begins, ends = instant_of(terms.at), instant_of(terms.expires)
    if not begins <= context.at < min(ends, begins + timedelta(hours=hours)):
        yield context.finding(
            "REQUEST_EXPIRED",
            subject,
            expected=f"from {terms.at} until {terms.expires}, at most {hours} hours",
            found=f"{context.at:%Y-%m-%dT%H:%M:%SZ}",
        )
    if signed.digest in context.timeline.consumed_requests:
        yield context.finding("REQUEST_SPENT", subject)


def packet(context: ReleaseContext) -> Findings:
    """The log has a packet of this model, and nothing in it changed since, policies included."""
    if context.packet is None:
        yield context.finding("PACKET_MISSING")
        return
    changed = differing(
        context.packet, context.view, context.rights, evidence=context.evidence, at=context.at
    )
    if changed:
        yield context.finding(
            "PACKET_OUT_OF_DATE",
            expected=context.packet.subjects[0].sha256[:12],
            found=f"changed: {', '.join(changed)}",
        )


def approvals(context: ReleaseContext) -> Findings:
    """Enough people in different roles approve exactly this packet. None of them is its author.
    Nobody rejects it.
    """
    required, roles = 0, list[str]()
    if context.tier is not None:
        required, roles = context.tier.approvals, context.tier.approvers
    votes, set_aside = packet_votes(context)
    for name, role, statement in votes:
        if statement.predicate.decision == "reject":
            yield context.finding(
                "REJECTED",
                message=f"{name} rejects it as {role}: {statement.predicate.reason}",
                expected="no rejection",
                found=f"entry {statement.index}",
            )
    counted = distinct([vote for vote in votes if vote[2].predicate.decision == "approve"])
    if len(counted) < required:
        present = ", ".join(f"{name} as {role}" for name, role in counted) or "none"
        yield context.finding(
            "APPROVAL_MISSING",
            message=f"tier {context.tier_name} wants {required} people in different roles",
            expected=f"{required} of: {', '.join(roles) or 'no role may approve'}",
            found="; ".join([present, *dict.fromkeys(ignored.text for ignored in set_aside)]),
            next=f"countersign approve {context.model}/{context.request.version}",
        )


def was_released(context: ReleaseContext) -> Findings:
    """A rollback goes to a version that an earlier decision gave this alias."""
    given = {
        (move.predicate.model, move.predicate.alias, move.predicate.action)
        for move in _moves(context)
    }
    if (context.model, context.request.alias, "promote") not in given:
        yield context.finding("NEVER_RELEASED", expected="a version approved before", found="none")


def retired(context: ReleaseContext) -> Findings:
    """Retired bytes get no alias again, under whatever version number."""
    for statement in _moves(context):
        move = statement.predicate
        if (move.action, move.model) == ("retire", context.model):
            yield context.finding(
                "RETIRED",
                message=f"these bytes were retired at {move.at}, as version {move.version}",
                expected="a version in service",
                found=f"entry {statement.index}",
            )


def rollback_people(context: ReleaseContext) -> Findings:
    """Enough people signed a rollback. One person suffices only where policy permits
    break-glass.
    """
    rule, signed = _rule(context), context.signed
    if rule is None or signed is None:
        return
    if not (signed.predicate.break_glass and signed.predicate.role in rule.break_glass):
        alone = f"--break-glass as {', '.join(rule.break_glass) or 'nobody'}"
        yield from _too_few_people(
            context, signed, rule.rollback_people, "rollback", f"people, or {alone}"
        )
    elif len(one_each(context.rights, _people(context, signed))) < rule.rollback_people:
        yield from _never_seconded(context)


def retire_people(context: ReleaseContext) -> Findings:
    """A retirement needs the requester and others: as many people as the tier wants approvals, and
    at least two.
    """
    required = context.policies.retire_people(context.model)
    if context.signed is not None:
        yield from _too_few_people(context, context.signed, required, "retirement", "people")


def _people(context: ReleaseContext, signed: Evidence[PromotionRequest]) -> set[str]:
    """The names of those behind a request."""
    return signers_of_request(context.rights, context.evidence, signed, context.at)


def _too_few_people(
    context: ReleaseContext,
    signed: Evidence[PromotionRequest],
    required: int,
    move: str,
    expected: str,
) -> Findings:
    people = _people(context, signed)
    if len(one_each(context.rights, people)) < required:
        yield context.finding(
            "APPROVAL_MISSING",
            f"{move} of {context.model}",
            f"policy wants {required} people behind it",
            expected=f"{required} {expected}",
            found=", ".join(sorted(people)),
            next=f"countersign approve promotion {signed.digest[:12]}, by somebody else",
        )


def _never_seconded(context: ReleaseContext) -> Findings:
    """No second break-glass while the second signature of an earlier one is overdue."""
    for statement in context.timeline.overdue(context.at):
        move = statement.predicate
        if move.model == context.model:
            yield context.finding(
                "SECOND_SIGNATURE_OVERDUE",
                f"rollback of {context.model}",
                expected=f"its second signature, by {move.second_signature_by}",
                found=f"none; entry {statement.index}",
                figures=[str(statement.index)],
                request=(move.request or "")[:12],
            )


# -- Before training -------------------------------------------------------------------------------
def approved_before(context: GateContext) -> Findings:
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
            if digest is None or not approved(context, digest, category.removesuffix("s")):
                yield not_approved(context, subject, digest, f"gate@{request.stage}")


def not_approved(context: DataContext, subject: str, digest: str | None, stage: str) -> Finding:
    """The finding that people have not approved an input of a stage. `stage`: where it is decided
    again.
    """
    name = digest[:12] if digest else "DIGEST"
    return context.finding(
        "APPROVAL_MISSING",
        subject,
        f"tier {context.tier_name} wants it approved by people before training",
        expected=f"an approval of {name}, earlier in the log than the training",
        found="none",
        next=f"countersign approve {name}, then countersign repro {stage}",
    )


def approved(context: DataContext, digest: str, about: str) -> bool:
    """Whether people with the right to approve it did so before the run that uses it."""
    if context.authority is None or context.tier is None:
        return False
    approvals, run = context.evidence.by_subject(digest, Approval), context.before
    in_time = [vote for vote in approvals if run is None or vote.index < run.index]
    used = instant_of(run.predicate.run.started) if run else None
    return agreed(context.authority, in_time, about, context.tier.approvers, context.at, used)


def unseen(context: Context, waived: Iterable[Finding]) -> Findings:
    """Every finding that is waived now stands in the packet, so its approvers saw it."""
    if (
        not isinstance(context, ReleaseContext)
        or context.request.action != "promote"
        or context.packet is None
    ):
        return
    shown = context.packet.predicate.waived
    hidden = {
        f"{excused.code} {excused.subject}"
        for excused in waived
        if not any(same_exception(excused, other) for other in shown)
    }
    if hidden:
        yield context.finding(
            "PACKET_OUT_OF_DATE",
            message="the packet lacks what is waived now, so nobody who approved it saw it",
            expected="every exception, in the packet",
            found=", ".join(sorted(hidden)),
        )


# -- Shared ----------------------------------------------------------------------------------------
def _moves(context: ReleaseContext) -> list[Evidence[Promotion]]:
    """The moves of governed aliases that gave or took these bytes."""
    return context.timeline.governed_moves_of(context.request.released.sha256)


def _entitled(context: ReleaseContext, signed: Evidence[PromotionRequest]) -> Findings:
    """Whoever signed the request has a role that may ask for this move, and still acts."""
    permitted = [set(rule.requesters) for rule in _rules(context)]
    roles = set.intersection(*permitted) if permitted else set()
    acts = context.rights.may_still_act(signed, context.at)
    terms = signed.predicate
    if context.requester is None or terms.role not in roles or not acts:
        ended = "" if acts else ", whose time has ended"
        yield context.finding(
            "REQUEST_NOT_ENTITLED",
            f"alias {context.request.alias}",
            expected=f"a person as {', '.join(sorted(roles)) or 'nobody'}",
            found=f"{terms.principal} as {terms.role}{ended}",
        )


def _differing_terms(context: ReleaseContext, signed: PromotionRequest) -> tuple[str, str]:
    """The terms of the move that the request has otherwise: as wanted, and as signed."""
    request = context.request
    terms = {
        "action": (request.action, signed.action),
        "model": (request.model, signed.model),
        "version": (request.version, signed.version),
        "alias": (request.alias, signed.alias),
        "digest": (request.released.sha256, signed.model_digest),
        "packet": (request.packet, signed.packet),
    }
    differing = {name: pair for name, pair in terms.items() if pair[0] != pair[1]}
    expected = ", ".join(f"{name} {str(wanted)[:20]}" for name, (wanted, _) in differing.items())
    found = ", ".join(f"{name} {str(has)[:20]}" for name, (_, has) in differing.items())
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
