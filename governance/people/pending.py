"""Lists the open tasks of people, with the reason and the command. Tasks that block others come
first.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from governance.attest.predicates import PromotionRequest, Registration, Waiver
from governance.base.model import Model
from governance.base.time import exact_instant, instant_of
from governance.gates.checks.people import approvals as check_approvals
from governance.gates.checks.votes import packet_votes
from governance.history.persons import one_each, others
from governance.history.state import LogState
from governance.history.votes import signers_of_request
from governance.people import authorizing, keys, packets, policies, subjects, votes, waiving
from governance.policy.policies import Principal, Quorum

SOON = 14
"""Days before and after the end of a waiver in which it is listed."""


class Wait(Model):
    """An open task."""

    kind: str
    """policy, checkpoint key, second signature, rollback, retire, packet, promote, before training,
    waiver, ...
    """
    what: str
    why: str
    people: list[str]
    """The people who could do it. Any of them may."""
    due: str | None = None
    next: str
    """The command."""


def pending(now: LogState, at: datetime) -> list[Wait]:
    """All open tasks. A log without policy owners has only one: to begin a governed log."""
    if now.authority.policies.rules.owners is None:
        return list(_policies(now))
    waits = [
        *_incidents(now),
        *_second_signatures(now, at),
        *_policies(now),
        *_checkpoint_keys(now),
        *_moves(now, at),
    ]
    waits += [
        *_packets(now, at),
        *_before_training(now, at),
        *_waivers(now, at),
        *_authorizations(now, at),
    ]
    return waits


def of_person(waits: list[Wait], name: str) -> list[Wait]:
    """The tasks that this person could do."""
    return [wait for wait in waits if name in wait.people]


# -- Policies and keys -----------------------------------------------------------------------------
def _policies(now: LogState) -> Iterator[Wait]:
    status = policies.status(now, None)
    if now.authority.policies.rules.owners is None:
        yield Wait(
            kind="policy",
            what="a governed log",
            why="the policies in force name no owners, so nothing here can be approved",
            people=[],
            next="countersign init",
        )
        return
    if not status.signed:
        first = status.in_force
        yield Wait(
            kind="policy",
            what=f"the first policies {first.digest[:12]}",
            why=f"nothing governed moves before {first.wants}; so far {_names(first.signed_by)}",
            people=first.waits_for,
            next=f"countersign policy sign {first.digest[:12]}",
        )
    for proposal in status.proposals:
        yield Wait(
            kind="policy",
            what=f"proposed policies {proposal.digest[:12]}: {', '.join(proposal.changed)}",
            why=f"wants {proposal.wants}; so far {_names(proposal.signed_by)}",
            people=sorted(set(proposal.waits_for) | set(_recovering(now, proposal.signed_by))),
            next=f"countersign policy sign {proposal.digest[:12]}",
        )


def _recovering(now: LogState, signed: list[str]) -> list[str]:
    return [name for name in _in(now, now.authority.policies.rules.recovery) if name not in signed]


def _checkpoint_keys(now: LogState) -> Iterator[Wait]:
    owners = _in(now, now.authority.policies.rules.owners)
    for key in keys.successors(now):
        if not key.approved:
            yield Wait(
                kind="checkpoint key",
                what=f"checkpoint key {key.keyid[:12]}",
                why=f"its owners approve it before it signs; so far {_names(key.signed_by)}",
                people=[name for name in owners if name not in key.signed_by],
                next=f"countersign checkpoint-key approve {key.keyid[:12]}",
            )


# -- Incidents -------------------------------------------------------------------------------------
def _incidents(now: LogState) -> Iterator[Wait]:
    """Every open incident, for the people who may close it."""
    rules = now.authority.policies.rules.incidents
    for opened in now.timeline.all_open_incidents:
        incident = opened.predicate
        people = [
            person.name
            for person in _people(now)
            if rules.closed_by is None or set(person.roles) & set(rules.closed_by)
        ]
        name = f"{incident.model}/{incident.version}"
        yield Wait(
            kind="incident",
            what=f"open incident on {name} (entry {opened.index})",
            why=f"{incident.principal} opened it: {incident.reason}",
            people=people,
            next=f"countersign incident close {name} --reason ...",
        )


# -- Moves -----------------------------------------------------------------------------------------
def _second_signatures(now: LogState, at: datetime) -> Iterator[Wait]:
    """Moves that one person made alone and that lack a second signature."""
    overdue = {promotion.index for promotion in now.timeline.overdue(at)}
    for promotion in now.timeline.lacking_second_signature:
        move = promotion.predicate
        request = now.timeline.request_of(move)
        if request is None:
            continue
        late = promotion.index in overdue
        yield Wait(
            kind="second signature",
            what=(
                f"{move.action} of {move.model} to version {move.version}, entry {promotion.index}"
            ),
            why=f"{request.predicate.principal} did it alone: {request.predicate.reason}"
            + ("; OVERDUE" if late else ""),
            people=others(
                now.authority, now.authority.policies.rules.seconders, request.predicate.principal
            ),
            due=move.second_signature_by,
            next=f"countersign approve promotion {request.digest[:12]}",
        )


def _moves(now: LogState, at: datetime) -> Iterator[Wait]:
    """Open requests for a rollback or a retirement that need more people."""
    for signed_request in now.timeline.open_requests():
        request: PromotionRequest = signed_request.predicate
        if (
            request.action == "promote"
            or instant_of(request.expires) <= at
            or now.timeline.is_overtaken(request)
        ):
            continue
        signed = one_each(
            now.authority, signers_of_request(now.authority, now.evidence, signed_request, at)
        )
        needed = _people_needed(now, request)
        if len(signed) >= needed:
            continue
        yield Wait(
            kind=request.action,
            what=f"{request.action} of {request.model}/{request.version}",
            why=(
                f"{request.principal} asks: {request.reason}; {needed} people, so far"
                f" {_names(sorted(signed))}"
            ),
            people=others(now.authority, now.authority.policies.rules.seconders, *signed),
            due=request.expires,
            next=f"countersign approve promotion {signed_request.digest[:12]}",
        )


def _people_needed(now: LogState, request: PromotionRequest) -> int:
    policies = now.authority.policies
    if request.action == "retire":
        return policies.retire_people(request.model)
    rule = policies.rules.aliases.get(request.alias)
    return rule.rollback_people if rule and not request.break_glass else 1


# -- Packets ---------------------------------------------------------------------------------------
def _packets(now: LogState, at: datetime) -> Iterator[Wait]:
    """The last registered version of each model, and every requested version, if approvals are
    missing.
    """
    latest = {
        registration.predicate.model: registration for registration in now.view.all(Registration)
    }
    requested = {
        (request.predicate.model, request.predicate.version)
        for request in now.timeline.open_requests()
    }
    for model, registration in sorted(latest.items()):
        versions = {registration.predicate.version} | {
            number for name, number in requested if name == model
        }
        for version in sorted(versions):
            yield from _packet(now, model, version, at)


def _packet(now: LogState, model: str, version: str, at: datetime) -> Iterator[Wait]:
    tier = now.authority.policies.tier_of(model)
    if tier is None or not tier.promotable or not tier.approvals:
        return
    if any(
        held.version == version for alias in _aliases(now) if (held := now.holder(model, alias))
    ):
        return
    approvers = [person for person in _people(now) if set(person.roles) & set(tier.approvers)]
    name, (packet, changed) = f"{model}/{version}", packets.current(now, model, version, at)
    if packet is None or changed:
        why = (
            f"what it rests on changed: {', '.join(changed)}" if changed else "it has no packet yet"
        )
        names = [person.name for person in approvers]
        yield Wait(
            kind="packet", what=name, why=why, people=names, next=f"countersign freeze {name}"
        )
        return
    subject = subjects.of_version(now, model, version)
    context = packets.release_context(now, packet, at)
    missing = [
        finding for finding in check_approvals(context) if finding.code == "APPROVAL_MISSING"
    ]
    counted, _ = packet_votes(context)
    if missing:
        voted = {name for name, _, _ in counted}
        left = [
            person.name
            for person in approvers
            if person.name not in voted and not votes.barred(now, subject, person, at)
        ]
        against = (
            f"; {len(packet.predicate.findings)} findings stand against it"
            if packet.predicate.findings
            else ""
        )
        why = f"{missing[0].message}; has {missing[0].found}{against}"
        yield Wait(
            kind="packet", what=name, why=why, people=left, next=f"countersign review {name}"
        )
    elif not packet.predicate.findings:
        yield from _moves_to_request(now, model, version, subject.sha256, at)


def _moves_to_request(
    now: LogState, model: str, version: str, digest: str, at: datetime
) -> Iterator[Wait]:
    """Moves of an approved version that nobody has requested yet. An alias that this packet held
    before is left out: it is not given back.
    """
    open_requests = [
        request.predicate
        for request in now.timeline.open_requests(model)
        if instant_of(request.predicate.expires) > at
    ]
    for alias, rule in now.authority.policies.rules.aliases.items():
        held = now.holder(model, alias)
        request = (version, alias, digest, held.version if held else None)
        had = any(
            (promotion.predicate.alias, promotion.predicate.packet) == (alias, digest)
            for promotion in now.moves(model)
        )
        if not had and request not in [
            (other.version, other.alias, other.packet, other.from_version)
            for other in open_requests
        ]:
            yield Wait(
                kind="promote",
                what=f"{model}/{version} as {alias}",
                why="it is approved, and nobody has asked for the move",
                people=sorted(
                    person.name
                    for person in _people(now)
                    if set(person.roles) & set(rule.requesters)
                ),
                next=f"countersign promote {model}/{version} --to {alias}",
            )


def _before_training(now: LogState, at: datetime) -> Iterator[Wait]:
    """Approvals that a gate requires before its stage trains."""
    waiting = subjects.waiting_before_training(now)
    by_name: dict[tuple[str, str], subjects.Subject] = {
        (subject.about, subject.name): subject for subject in waiting
    }
    for stage, (gate, _) in sorted(subjects.requests_of_gates(now).items()):
        for finding in gate.predicate.findings:
            subject = (
                subjects.subject_of_finding(finding, stage, by_name)
                if finding.code == "APPROVAL_MISSING"
                else None
            )
            if subject is None or votes.approved(now, subject, at):
                continue
            yield Wait(
                kind="before training",
                what=f"{subject.about} {subject.name} of {subject.model}",
                why=f"gate@{stage} waits: {finding.message}",
                people=[
                    person.name
                    for person in _people(now)
                    if set(person.roles) & set(subject.fitting)
                ],
                next=f"countersign approve {subject.about} {subject.name}",
            )


# -- What ends -------------------------------------------------------------------------------------
def _waivers(now: LogState, at: datetime) -> Iterator[Wait]:
    """Waivers that end soon or ended lately, and that no later waiver replaces."""
    items = list(now.evidence.all("waiver"))
    for signed_waiver in items:
        waiver: Waiver = signed_waiver.predicate
        about = (waiver.model, waiver.finding, waiver.about)
        later = [
            other
            for other in items
            if (other.predicate.model, other.predicate.finding, other.predicate.about) == about
            and other.index > signed_waiver.index
        ]
        if later or not waiving.ends_soon(signed_waiver, at, SOON):
            continue
        accepting = now.authority.policies.rules.waivers.accepted_by
        ended = instant_of(waiver.expires) <= at
        yield Wait(
            kind="waiver",
            what=f"waiver of {waiver.finding} ({waiver.about}) of {waiver.model}",
            why=(
                f"{'it ended' if ended else 'it ends'}; {waiver.owner} answers for it, meanwhile:"
                f" {waiver.control}"
            ),
            people=sorted(
                {person.name for person in _people(now) if set(person.roles) & set(accepting)}
                | {waiver.principal}
            ),
            due=waiver.expires,
            next="mend what it is about, or waive it again: countersign waive",
        )


def _authorizations(now: LogState, at: datetime) -> Iterator[Wait]:
    """Authorizations that end within the hour or ended in the last day."""
    for person in _people(now):
        authorizations = [
            authorization
            for authorization in now.evidence.all("authorization")
            if (author := now.authority.speaker(authorization)) is not None
            and author.name == person.name
        ]
        last = max(
            (instant_of(authorization.predicate.expires) for authorization in authorizations),
            default=None,
        )
        if (
            last is None
            or authorizing.in_force(now, person.name, at + timedelta(hours=1)) is not None
        ):
            continue
        if last > at - timedelta(days=1):
            yield Wait(
                kind="authorization",
                what=f"runs in the name of {person.name}",
                why="the authorization ends" if last > at else "the authorization ended",
                people=[person.name],
                due=exact_instant(last),
                next="countersign authorize --hours 8",
            )


def _people(now: LogState) -> list[Principal]:
    return [
        principal
        for principal in now.authority.policies.rules.principals
        if principal.kind == "person"
    ]


def _in(now: LogState, quorum: Quorum | None) -> list[str]:
    roles = set(quorum.roles if quorum else ())
    return sorted(person.name for person in _people(now) if set(person.roles) & roles)


def _aliases(now: LogState) -> list[str]:
    return list(now.authority.policies.rules.aliases)


def _names(names: list[str]) -> str:
    return ", ".join(names) or "nobody"
