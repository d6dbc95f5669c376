"""Lists the open tasks of people, with the reason and the command. Tasks that block others come
first.

A task has a reason, which is a code with fields. `_TABLE` has the sentences.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, Literal

from governance.attest.predicates import (
    Approval,
    GateDecision,
    Incident,
    PromotionRequest,
    Registration,
)
from governance.base.model import Model, Sha256
from governance.base.text import timed
from governance.base.time import exact_instant, instant_of
from governance.history import erasures, monitoring
from governance.history.authorizations import of_person
from governance.history.clocks import Running
from governance.history.packet import digest_of
from governance.history.persons import others
from governance.history.rollouts import Rollout, percent
from governance.history.state import LogState
from governance.history.timeline import Tenure
from governance.history.votes import agreed
from governance.log.evidence import Evidence
from governance.people import moves, policies, subjects, votes
from governance.people.moves import Move
from governance.policy.speakers import data_roles
from governance.rollout import automation

SOON = timedelta(days=14)
"""Before and after the end of a waiver, in which it is listed."""
Reason = Literal[
    "no_owners", "first_policies_unsigned", "policies_proposed", "checkpoint_key_proposed",
    "incident_open", "clock", "registered_twice", "moved_alone", "move_requested", "no_packet",
    "packet_changed", "approvals_missing", "approved", "gate_waits", "waiver", "authorization",
    "erasure", "not_erased", "review", "rollout", "rollout_due", "monitoring",
]  # fmt: skip


_TABLE = """
no_owners: policy: a governed log
  the policies in force name no owners, so nothing here can be approved
  countersign init
first_policies_unsigned: policy: the first policies {digest:.12}
  nothing governed moves before {wants}; so far {signed}
  countersign policy sign {digest:.12}
policies_proposed: policy: proposed policies {digest:.12}: {changed}
  wants {wants}; so far {signed}
  countersign policy sign {digest:.12}
checkpoint_key_proposed: checkpoint key: checkpoint key {keyid:.12}
  its owners approve it before it signs; so far {signed}
  countersign checkpoint-key approve {keyid:.12}
incident_open: incident: open incident on {it.model}/{it.version} (entry {entry})
  {it.principal} opened it: {it.reason}
  countersign incident close {it.model}/{it.version} --effective "what was measured" --reason ...
clock: legal clock: {it.clock} for {it.model}/{it.version}, entry {it.opened}
  {it.rule}: {it.to}; {when}
  countersign incident update {it.model}/{it.version} --filed {it.clock} --reason ...
registered_twice: registration: {name} has registrations with different bytes
  entries {entries}; nothing moves to it before policy owners say which stands
  countersign approve registration {digest:.12}
moved_alone: second signature: {it.action} of {it.model} to version {it.version}, entry {entry}
  {it.principal} did it alone: {it.reason}{late}
  countersign approve promotion {digest:.12}
move_requested: {it.action}: {it.action} of {it.model}/{it.version}
  {it.principal} asks: {it.reason}; so far {signed}
  countersign approve promotion {digest:.12}
no_packet: packet: {name}
  it has no packet yet
  countersign freeze {name}
packet_changed: packet: {name}
  changed since it was frozen: {changed}
  countersign freeze {name}
approvals_missing: packet: {name}
  tier {tier} wants {count} more approvals; open findings: {findings}
  countersign review {name}
approved: promote: {name} as {alias}
  it is approved, and nobody has asked for the move
  countersign promote {name} --to {alias}
gate_waits: before training: {it.about} {it.name} of {it.model}
  {it.stage} waits: tier {tier} wants it approved before training
  countersign approve {it.about} {it.name}
erasure: retrain or retire: {it.model}/{it.version} as {it.alias}
  it has seen records that were erased in case {case}{late}
  countersign promote a version that was trained without them, or: countersign retire {it.model}
not_erased: erasure: bytes of case {case} (entry {entry})
  nobody has signed that they were deleted
  countersign erase --reference {case}, with the same records
review: review: review of {it.name}
  it is in use as {aliases}, last reviewed on {last}{because}; due on {it.due}{late}
  countersign periodic-review {it.name} --reason ...
rollout: rollout: rollout of {it.model}/{it.to_version} at {share}
  {it.principal} asks: {it.reason}; {lacking}
  countersign rollout widen {it.model}/{it.to_version} --reason ...
rollout_due: rollout: rollout of {it.model}/{it.to_version} at {share}
  the service that observes it has to {action}
  countersign rollout observe {it.model}/{it.to_version}
monitoring: monitoring: {it.code} {it.measure} of {it.subject}
  observed {it.found}; policy: {it.expected}
  countersign incident open {it.subject} --reason ..., where users are concerned; or another version
waiver: waiver: waiver of {it.finding} ({it.about}) of {it.model}
  it {ends}; {it.owner} answers for it, meanwhile: {it.control}
  fix the cause, or waive it again: countersign waive
authorization: authorization: runs in the name of {who}
  the authorization {ends}
  countersign authorize --hours 8
"""
"""Each reason: its kind of task, the task; the sentence; the command. `it` is the statement or
subject that the task is about.
"""


def _texts() -> Iterator[tuple[str, tuple[str, ...]]]:
    for block in re.split(r"\n(?! )", _TABLE.strip()):
        head, why, step = block.splitlines()
        reason, kind, what = head.split(": ", 2)
        yield reason, (kind, what, why.strip(), step.strip())


TEXTS = dict(_texts())


class About(Model):
    """What a task is about, without a name of a person or a text that a person wrote. It identifies
    the task as long as the task is open.
    """

    entry: int | None = None
    """Entry of the statement that waits, or that ends."""
    digest: Sha256 | None = None
    """Of what is to be signed."""
    model: str | None = None
    version: str | None = None
    alias: str | None = None
    code: str | None = None
    """A finding's code, or the name of a legal clock in policy."""


class Wait(Model):
    """An open task."""

    kind: str
    """policy, checkpoint key, second signature, packet, promote, ..."""
    reason: Reason
    what: str
    why: str
    """The reason, as a sentence."""
    people: list[str]
    """The people who could do it. Any of them may."""
    due: str | None
    next: str
    """The command."""
    about: About = About()


def _wait(
    reason: Reason,
    people: Iterable[str],
    due: str | None = None,
    about: About = About(),  # noqa: B008 - frozen
    /,
    **fields: object,
) -> Wait:
    values = {
        name: (", ".join(value) or "nobody") if isinstance(value, list) else value
        for name, value in fields.items()
    }
    kind, what, why, step = (part.format_map(values) for part in TEXTS[reason])
    people = list(people)
    return Wait(
        kind=kind, reason=reason, what=what, why=why, people=people, due=due, next=step, about=about
    )


def pending(now: LogState, at: datetime) -> list[Wait]:
    """All open tasks. A log without policy owners has only one: to begin a governed log."""
    if now.authority.policies.rules.owners is None:
        return [_wait("no_owners", [])]
    return [
        *_incidents(now),
        *_clocks(now, at),
        *_registered_twice(now),
        *_second_signatures(now, at),
        *_policies(now),
        *_checkpoint_keys(now),
        *_erasures(now, at),
        *_monitoring(now),
        *_moves(now, at),
        *_rollouts(now, at),
        *_packets(now, at),
        *_before_training(now, at),
        *_reviews(now, at),
        *_waivers(now, at),
        *_authorizations(now, at),
    ]


# -- Policies and keys -----------------------------------------------------------------------------
def _policies(now: LogState) -> Iterator[Wait]:
    status, recovery = policies.status(now, None), now.authority.policies.rules.recovery
    first = status.in_force
    if not status.signed:
        yield _wait(
            "first_policies_unsigned", first.waits_for, None,
            About(entry=first.entry, digest=first.digest),
            digest=first.digest, wants=first.wants, signed=first.signed_by,
        )  # fmt: skip
    recovering = _names(now, recovery.roles) if recovery else []
    for proposal in status.proposals:
        people = {*proposal.waits_for, *recovering} - {*proposal.signed_by}
        yield _wait(
            "policies_proposed", sorted(people), None,
            About(entry=proposal.entry, digest=proposal.digest),
            digest=proposal.digest, changed=proposal.changed,
            wants=proposal.wants, signed=proposal.signed_by,
        )  # fmt: skip


def _checkpoint_keys(now: LogState) -> Iterator[Wait]:
    owners = policies.owners(now.authority.policies.rules)
    for key in policies.successors(now):
        if not key.approved:
            people = sorted({owner.name for owner in owners} - {*key.signed_by})
            about = About(digest=key.keyid)
            yield _wait(
                "checkpoint_key_proposed", people, None, about,
                keyid=key.keyid, signed=key.signed_by,
            )  # fmt: skip


# -- Incidents and moves ---------------------------------------------------------------------------
def _incidents(now: LogState) -> Iterator[Wait]:
    """Every open incident, for the people who may close it."""
    people = _names(now, now.authority.policies.rules.incident_roles("closed"))
    for opened in now.timeline.all_open_incidents:
        about = _version(opened.predicate, entry=opened.index)
        yield _wait("incident_open", people, None, about, it=opened.predicate, entry=opened.index)


def _clocks(now: LogState, at: datetime) -> Iterator[Wait]:
    """Every legal clock that nobody has filed for."""
    people = _names(now, now.authority.policies.rules.incident_roles("open"))
    for clock in now.timeline.clocks(at):
        if clock.filed is not None:
            continue
        due, when = None, f"starts at the {clock.trigger}, which nobody has stated"
        if clock.due is not None:
            due = exact_instant(clock.due)
            when = f"{'LATE since' if clock.state == 'late' else 'due'} {timed(due)}"
        about = _version(clock, entry=clock.opened, code=clock.clock)
        yield _wait("clock", people, due, about, it=clock, when=when)


def _registered_twice(now: LogState) -> Iterator[Wait]:
    """Versions with several digests, for the policy owners. The command names the first."""
    people = sorted({owner.name for owner in policies.owners(now.authority.policies.rules)})
    for (model, version), registrations in now.timeline.registered_twice.items():
        entries = ", ".join(str(registration.index) for registration in registrations)
        yield _wait(
            "registered_twice", people, None, _about_registration(registrations[0]),
            name=f"{model}/{version}", entries=entries, digest=registrations[0].digest,
        )  # fmt: skip


def _second_signatures(now: LogState, at: datetime) -> Iterator[Wait]:
    """Moves that one person made alone and that lack a second signature."""
    overdue = {statement.index for statement in now.timeline.overdue(at)}
    seconders = now.authority.policies.rules.seconders
    for statement in now.timeline.lacking_second_signature:
        request = now.timeline.request_of(statement.predicate)
        if request is None:
            continue
        people = others(now.authority, seconders, request.predicate.principal)
        late = "; OVERDUE" if statement.index in overdue else ""
        yield _wait(
            "moved_alone", people, statement.predicate.second_signature_by,
            _about_move(request),
            it=request.predicate, entry=statement.index, digest=request.digest, late=late,
        )  # fmt: skip


def _moves(now: LogState, at: datetime) -> Iterator[Wait]:
    """Requests for a rollback or a retirement that need more people."""
    for statement in now.timeline.pending_requests(at):
        request = statement.predicate
        known = (request.model, request.version) in now.timeline.registrations
        if request.action == "promote" or not known:
            continue
        terms = (request.action, request.model, request.version, request.alias)
        plan = moves.plan(now, Move(*terms, request.reason, request.break_glass), at)
        if plan.request is None or plan.request.index != statement.index:
            continue  # another request replaces it
        for signature in plan.missing:
            if signature.kind == request.action:
                yield _wait(
                    "move_requested", signature.people, request.expires, _about_move(statement),
                    it=request, digest=statement.digest, signed=list(signature.signed),
                )  # fmt: skip


# -- Rollouts --------------------------------------------------------------------------------------
def _rollouts(now: LogState, at: datetime) -> Iterator[Wait]:
    """Rollouts that somebody could start or widen, and those on which a service has not reacted."""
    for rollout in now.timeline.rollouts.values():
        asked, share = rollout.asked, percent(rollout.weight(at))
        fields = {"it": asked, "share": share}
        last = rollout.steps[-1].index if rollout.steps else rollout.request.index
        about = About(entry=last, model=asked.model, version=asked.to_version, alias=asked.alias)
        if wanted := automation.due(rollout, at):
            people = _names(now, asked.widened_by)
            yield _wait("rollout_due", people, asked.expires, about, action=wanted[0], **fields)
        elif rollout.state(at) in ("requested", "open") and rollout.next_weight is not None:
            is_live = asked.mode == "live" and not rollout.steps
            people = _names(now, asked.widened_by)
            able = others(now.authority, people, asked.principal) if is_live else people
            lacking = [f"{count} of {metric} are lacking" for metric, count in _lacking(rollout)]
            lacking = lacking or ["enough is observed"]
            yield _wait("rollout", able, asked.expires, about, lacking=lacking, **fields)


def _lacking(rollout: Rollout) -> Iterable[tuple[str, int]]:
    """What the present share lacks; before the start, nothing."""
    return rollout.lacking.items() if rollout.steps else ()


# -- Erasures --------------------------------------------------------------------------------------
def _erasures(now: LogState, at: datetime) -> Iterator[Wait]:
    """Live versions that have seen erased records, and erasures that nobody finished."""
    rules = now.authority.policies.rules
    for one in erasures.open_decisions(now.timeline):
        case, deadline = one.erasure.predicate.reference, one.erasure.predicate.deadline
        late = "; OVERDUE" if one.is_overdue(at) else ""
        people = _names(now, rules.requester_roles)
        held = {"alias": one.tenure.alias, "digest": one.erasure.digest}
        about = _version(one.tenure, entry=one.erasure.index, **held)
        yield _wait("erasure", people, deadline, about, it=one.tenure, case=case, late=late)
    for erasure in erasures.counted(now.evidence, now.authority):
        if not erasures.done(now.timeline, erasure):
            asked, people = erasure.predicate, _names(now, sorted(data_roles(rules)))
            fields = {"case": asked.reference, "entry": erasure.index}
            about = About(entry=erasure.index, digest=erasure.digest)
            yield _wait("not_erased", people, asked.deadline, about, **fields)


def _monitoring(now: LogState) -> Iterator[Wait]:
    """Limits that a live version does not keep in service."""
    rules = now.authority.policies.rules
    people = _names(now, rules.incident_roles("open"))
    live = {
        (tenure.given.predicate.model, tenure.version): tenure.given.predicate.model_digest
        for tenure in now.timeline.holders.values()
    }
    for (model, version), digest in live.items():
        found = monitoring.windows(now.view, digest)
        terms = rules.monitoring
        for each in monitoring.findings(found, terms, model, version, blocking=False):
            about = About(digest=digest, model=model, version=version, code=each.code)
            yield _wait("monitoring", people, None, about, it=each)


# -- Packets ---------------------------------------------------------------------------------------
def _packets(now: LogState, at: datetime) -> Iterator[Wait]:
    """The last registered version of each model, and every requested version, if approvals or a
    request are missing.
    """
    last = dict(now.timeline.registrations.keys())
    requests = [request.predicate for request in now.timeline.open_requests()]
    versions = {(request.model, request.version) for request in requests} | set(last.items())
    for model, version in sorted(versions & now.timeline.registrations.keys()):
        tier = now.authority.policies.tier_of(model)
        governed = now.authority.policies.rules.aliases
        held = {tenure.alias for tenure in now.timeline.held_by(model, version)}
        if tier is not None and tier.promotable and tier.approvals and not held & governed.keys():
            yield from _packet(now, model, version, at)


def _packet(now: LogState, model: str, version: str, at: datetime) -> Iterator[Wait]:
    policies = now.authority.policies
    name, tier = f"{model}/{version}", policies.rules.models[model].tier
    packet, changed = votes.current(now, model, version, at)
    if packet is None or changed:
        approvers = _names(now, policies.rules.tiers[tier].approvers)
        reason: Reason = "packet_changed" if changed else "no_packet"
        frozen = packet or now.timeline.registrations[model, version]
        about = About(entry=frozen.index, digest=frozen.digest, model=model, version=version)
        yield _wait(reason, approvers, None, about, name=name, changed=changed)
        return
    sha256 = digest_of(packet.predicate)
    about = About(entry=packet.index, digest=sha256, model=model, version=version)
    for alias in policies.rules.aliases:
        plan = moves.plan(now, Move("promote", model, version, alias, ""), at)
        missing = {signature.kind: signature for signature in plan.missing}
        if "packet" in missing:
            signature = missing["packet"]
            findings = len(packet.predicate.findings)
            yield _wait(
                "approvals_missing", signature.people, None, about,
                name=name, tier=tier, count=signature.count, findings=findings,
            )  # fmt: skip
            return
        open_codes = {finding.code for finding in plan.decision.findings}
        given = [(move.predicate.alias, move.predicate.packet) for move in now.moves(model)]
        had = (alias, plan.release.packet) in given  # it is not given back
        if "request" in missing and open_codes <= moves.REQUEST_CODES and not had:
            people, to = (
                sorted(missing["request"].people),
                about.model_copy(update={"alias": alias}),
            )
            yield _wait("approved", people, None, to, name=name, alias=alias)


def _before_training(now: LogState, at: datetime) -> Iterator[Wait]:
    """Approvals that a gate requires before its stage trains."""
    for subject in subjects.waiting_before_training(now):
        tier = now.authority.policies.tier_of(subject.model)
        category = "rewards" if subject.about == "reward" else subject.about
        codes = {finding.code for finding in subject.statement.predicate.findings}
        if tier is None or category not in tier.approved_before_training:
            continue
        approvals = now.evidence.by_subject(subject.sha256, Approval)
        if "APPROVAL_MISSING" in codes and not agreed(
            now.authority, approvals, subject.about, tier.approvers, at
        ):
            named = now.authority.policies.rules.models[subject.model].tier
            wanted = {"digest": subject.sha256, "model": subject.model}
            yield _wait(
                "gate_waits", _names(now, tier.approvers), None,
                About(entry=subject.statement.index, **wanted),
                it=subject, tier=named,
            )  # fmt: skip


# -- Versions in use -------------------------------------------------------------------------------
def _reviews(now: LogState, at: datetime) -> Iterator[Wait]:
    """Versions in use whose periodic review is due soon or overdue, for the approvers."""
    for review in now.timeline.reviews(at):
        if review.late > at + SOON:
            continue
        tier = now.authority.policies.tier_of(review.model)
        approvers = _names(now, tier.approvers if tier else ())
        yield _wait(
            "review", approvers, exact_instant(review.late),
            About(
                entry=review.last.index,
                digest=review.digest,
                model=review.model,
                version=review.version,
            ),
            it=review,
            aliases=", ".join(review.aliases),
            last=review.last.predicate.at[:10],
            because=f"; {review.because}" if review.because else "",
            late=review.lateness,
        )  # fmt: skip


# -- What ends -------------------------------------------------------------------------------------
def _waivers(now: LogState, at: datetime) -> Iterator[Wait]:
    """Waivers that end soon or ended lately, and that no later waiver replaces."""
    accepting = _names(now, now.authority.policies.rules.waivers.accepted_by)
    for waivers in now.timeline.waivers.values():
        waiver = waivers[-1].predicate
        end = instant_of(waiver.expires)
        if at - SOON <= end <= at + SOON:
            people, ends = sorted({*accepting, waiver.principal}), "ended" if end <= at else "ends"
            about = About(entry=waivers[-1].index, model=waiver.model, code=waiver.finding)
            yield _wait("waiver", people, waiver.expires, about, it=waiver, ends=ends)


def _authorizations(now: LogState, at: datetime) -> Iterator[Wait]:
    """Authorizations that end within the hour or ended in the last day, of people in whose name
    runs were made. Others may sign any number, which nobody waits for.
    """
    asked = {gate.predicate.run.requested_by.name for gate in now.evidence.all(GateDecision)}
    for name in filter(asked.__contains__, _names(now, None)):
        authorizations = of_person(now.evidence, now.authority, name)
        ends_at = [instant_of(authorization.predicate.expires) for authorization in authorizations]
        end = max(ends_at, default=at + SOON)
        if at - timedelta(days=1) < end <= at + timedelta(hours=1):
            ends = "ended" if end <= at else "ends"
            last = authorizations[ends_at.index(end)]
            about, due = About(entry=last.index, digest=last.digest), exact_instant(end)
            yield _wait("authorization", [name], due, about, who=name, ends=ends)


def _version(it: Incident | Running | Tenure, **more: Any) -> About:
    return About(model=it.model, version=it.version, **more)


def _about_registration(it: Evidence[Registration]) -> About:
    said = it.predicate
    return About(entry=it.index, digest=it.digest, model=said.model, version=said.version)


def _about_move(request: Evidence[PromotionRequest]) -> About:
    asked = request.predicate
    what = {"model": asked.model, "version": asked.version, "alias": asked.alias}
    return About(entry=request.index, digest=request.digest, **what)


def _names(now: LogState, roles: list[str] | tuple[str, ...] | None) -> list[str]:
    return [person.name for person in now.authority.policies.rules.in_roles(roles)]
