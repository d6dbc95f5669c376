"""What waits for a person, and why: in the order in which others wait for it."""

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
"""Days before a waiver ends in which it is told."""


class Wait(Model):
    """One thing that waits."""

    kind: str
    """policy, checkpoint key, second signature, rollback, retire, packet, promote, before training,
    waiver, ...
    """
    what: str
    why: str
    people: list[str]
    """Who could do it; any of them."""
    due: str | None = None
    next: str
    """The command."""


def pending(now: LogState, at: datetime) -> list[Wait]:
    """Everything that waits for anybody. Without owners nothing governed can be said, and that is
    all.
    """
    if now.authority.policies.rules.owners is None:
        return list(_policies(now))
    found = [
        *_incidents(now),
        *_second_signatures(now, at),
        *_policies(now),
        *_checkpoint_keys(now),
        *_moves(now, at),
    ]
    found += [
        *_packets(now, at),
        *_before_training(now, at),
        *_waivers(now, at),
        *_authorizations(now, at),
    ]
    return found


def of_person(waits: list[Wait], name: str) -> list[Wait]:
    """What of it waits for one person."""
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
        one = status.in_force
        yield Wait(
            kind="policy",
            what=f"the first policies {one.digest[:12]}",
            why=f"nothing governed moves before {one.wants}; so far {_names(one.signed_by)}",
            people=one.waits_for,
            next=f"countersign policy sign {one.digest[:12]}",
        )
    for one in status.proposals:
        yield Wait(
            kind="policy",
            what=f"proposed policies {one.digest[:12]}: {', '.join(one.changed)}",
            why=f"wants {one.wants}; so far {_names(one.signed_by)}",
            people=sorted(set(one.waits_for) | set(_recovering(now, one.signed_by))),
            next=f"countersign policy sign {one.digest[:12]}",
        )


def _recovering(now: LogState, signed: list[str]) -> list[str]:
    return [name for name in _in(now, now.authority.policies.rules.recovery) if name not in signed]


def _checkpoint_keys(now: LogState) -> Iterator[Wait]:
    owners = _in(now, now.authority.policies.rules.owners)
    for one in keys.successors(now):
        if not one.approved:
            yield Wait(
                kind="checkpoint key",
                what=f"checkpoint key {one.keyid[:12]}",
                why=f"its owners approve it before it signs; so far {_names(one.signed_by)}",
                people=[name for name in owners if name not in one.signed_by],
                next=f"countersign checkpoint-key approve {one.keyid[:12]}",
            )


# -- Incidents -------------------------------------------------------------------------------------
def _incidents(now: LogState) -> Iterator[Wait]:
    """Every open incident, for the people who may close it."""
    rules = now.authority.policies.rules.incidents
    for item in now.timeline.all_open_incidents:
        incident = item.predicate
        people = [
            one.name
            for one in _people(now)
            if rules.closed_by is None or set(one.roles) & set(rules.closed_by)
        ]
        name = f"{incident.model}/{incident.version}"
        yield Wait(
            kind="incident",
            what=f"open incident on {name} (entry {item.index})",
            why=f"{incident.principal} opened it: {incident.reason}",
            people=people,
            next=f"countersign incident close {name} --reason ...",
        )


# -- Moves -----------------------------------------------------------------------------------------
def _second_signatures(now: LogState, at: datetime) -> Iterator[Wait]:
    """What one person did alone."""
    overdue = {item.index for item in now.timeline.overdue(at)}
    for item in now.timeline.lacking_second_signature:
        move = item.predicate
        asked = now.timeline.request_of(move)
        if asked is None:
            continue
        late = item.index in overdue
        yield Wait(
            kind="second signature",
            what=f"{move.action} of {move.model} to version {move.version}, entry {item.index}",
            why=f"{asked.predicate.principal} did it alone: {asked.predicate.reason}"
            + ("; OVERDUE" if late else ""),
            people=others(
                now.authority, now.authority.policies.rules.seconders, asked.predicate.principal
            ),
            due=move.second_signature_by,
            next=f"countersign approve promotion {asked.digest[:12]}",
        )


def _moves(now: LogState, at: datetime) -> Iterator[Wait]:
    """Open requests for a rollback or a retirement that want further people."""
    for item in now.timeline.open_requests():
        said: PromotionRequest = item.predicate
        if (
            said.action == "promote"
            or instant_of(said.expires) <= at
            or now.timeline.is_overtaken(said)
        ):
            continue
        signed = one_each(now.authority, signers_of_request(now.authority, now.evidence, item, at))
        if len(signed) >= _wanted(now, said):
            continue
        yield Wait(
            kind=said.action,
            what=f"{said.action} of {said.model}/{said.version}",
            why=(
                f"{said.principal} asks: {said.reason}; {_wanted(now, said)} people, so far"
                f" {_names(sorted(signed))}"
            ),
            people=others(now.authority, now.authority.policies.rules.seconders, *signed),
            due=said.expires,
            next=f"countersign approve promotion {item.digest[:12]}",
        )


def _wanted(now: LogState, said: PromotionRequest) -> int:
    policies = now.authority.policies
    if said.action == "retire":
        return policies.retire_people(said.model)
    rule = policies.rules.aliases.get(said.alias)
    return rule.rollback_people if rule and not said.break_glass else 1


# -- Packets ---------------------------------------------------------------------------------------
def _packets(now: LogState, at: datetime) -> Iterator[Wait]:
    """The version registered last of each model that can be released, where approvals are
    missing.
    """
    latest = {item.predicate.model: item for item in now.view.all(Registration)}
    asked = {(one.predicate.model, one.predicate.version) for one in now.timeline.open_requests()}
    for model, item in sorted(latest.items()):
        versions = {item.predicate.version} | {number for name, number in asked if name == model}
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
    approvers = [one for one in _people(now) if set(one.roles) & set(tier.approvers)]
    name, (item, changed) = f"{model}/{version}", packets.current(now, model, version, at)
    if item is None or changed:
        why = (
            f"what it rests on changed: {', '.join(changed)}" if changed else "it has no packet yet"
        )
        names = [one.name for one in approvers]
        yield Wait(
            kind="packet", what=name, why=why, people=names, next=f"countersign freeze {name}"
        )
        return
    what = subjects.of_version(now, model, version)
    context = packets.release_context(now, item, at)
    missing = [one for one in check_approvals(context) if one.code == "APPROVAL_MISSING"]
    said, _ = packet_votes(context)
    if missing:
        voted = {who for who, _, _ in said}
        left = [
            one.name
            for one in approvers
            if one.name not in voted and not votes.barred(now, what, one, at)
        ]
        against = (
            f"; {len(item.predicate.findings)} findings stand against it"
            if item.predicate.findings
            else ""
        )
        why = f"{missing[0].message}; has {missing[0].found}{against}"
        yield Wait(
            kind="packet", what=name, why=why, people=left, next=f"countersign review {name}"
        )
    elif not item.predicate.findings:
        yield from _to_ask_for(now, model, version, what.sha256, at)


def _to_ask_for(
    now: LogState, model: str, version: str, digest: str, at: datetime
) -> Iterator[Wait]:
    """An approved version for which nobody has asked yet, by this packet and of the alias as it is.
    Where it was given the alias by this packet once, and holds it no more, nobody is asked to give
    it back.
    """
    said = [
        one.predicate
        for one in now.timeline.open_requests(model)
        if instant_of(one.predicate.expires) > at
    ]
    for alias, rule in now.authority.policies.rules.aliases.items():
        held = now.holder(model, alias)
        wanted = (version, alias, digest, held.version if held else None)
        had = any(
            (one.predicate.alias, one.predicate.packet) == (alias, digest)
            for one in now.moves(model)
        )
        if not had and wanted not in [
            (one.version, one.alias, one.packet, one.from_version) for one in said
        ]:
            yield Wait(
                kind="promote",
                what=f"{model}/{version} as {alias}",
                why="it is approved, and nobody has asked for the move",
                people=sorted(
                    one.name for one in _people(now) if set(one.roles) & set(rule.requesters)
                ),
                next=f"countersign promote {model}/{version} --to {alias}",
            )


def _before_training(now: LogState, at: datetime) -> Iterator[Wait]:
    """What a gate wants approved before its stage trains, where it said no for that."""
    found = subjects.waiting_before_training(now)
    known: dict[tuple[str, str], subjects.Subject] = {(one.about, one.name): one for one in found}
    for stage, (item, _) in sorted(subjects.requests_of_gates(now).items()):
        for finding in item.predicate.findings:
            what = (
                subjects.wanted_by(finding, stage, known)
                if finding.code == "APPROVAL_MISSING"
                else None
            )
            if what is None or votes.approved(now, what, at):
                continue
            yield Wait(
                kind="before training",
                what=f"{what.about} {what.name} of {what.model}",
                why=f"gate@{stage} waits: {finding.message}",
                people=[one.name for one in _people(now) if set(one.roles) & set(what.fitting)],
                next=f"countersign approve {what.about} {what.name}",
            )


# -- What ends -------------------------------------------------------------------------------------
def _waivers(now: LogState, at: datetime) -> Iterator[Wait]:
    """Waivers about to end, or just ended, that nothing has taken the place of."""
    items = list(now.evidence.all("waiver"))
    for item in items:
        said: Waiver = item.predicate
        about = (said.model, said.finding, said.about)
        later = [
            one
            for one in items
            if (one.predicate.model, one.predicate.finding, one.predicate.about) == about
            and one.index > item.index
        ]
        if later or not waiving.ends_soon(item, at, SOON):
            continue
        accepting = now.authority.policies.rules.waivers.accepted_by
        ended = instant_of(said.expires) <= at
        yield Wait(
            kind="waiver",
            what=f"waiver of {said.finding} ({said.about}) of {said.model}",
            why=(
                f"{'it ended' if ended else 'it ends'}; {said.owner} answers for it, meanwhile:"
                f" {said.control}"
            ),
            people=sorted(
                {one.name for one in _people(now) if set(one.roles) & set(accepting)}
                | {said.principal}
            ),
            due=said.expires,
            next="mend what it is about, or waive it again: countersign waive",
        )


def _authorizations(now: LogState, at: datetime) -> Iterator[Wait]:
    """People whose services stop running in their name within the hour, or did so today."""
    for one in _people(now):
        mine = [
            item
            for item in now.evidence.all("authorization")
            if (who := now.authority.speaker(item)) is not None and who.name == one.name
        ]
        last = max((instant_of(item.predicate.expires) for item in mine), default=None)
        if last is None or authorizing.in_force(now, one.name, at + timedelta(hours=1)) is not None:
            continue
        if last > at - timedelta(days=1):
            yield Wait(
                kind="authorization",
                what=f"runs in the name of {one.name}",
                why="the authorization ends" if last > at else "the authorization ended",
                people=[one.name],
                due=exact_instant(last),
                next="countersign authorize --hours 8",
            )


def _people(now: LogState) -> list[Principal]:
    return [one for one in now.authority.policies.rules.principals if one.kind == "person"]


def _in(now: LogState, quorum: Quorum | None) -> list[str]:
    roles = set(quorum.roles if quorum else ())
    return sorted(one.name for one in _people(now) if set(one.roles) & roles)


def _aliases(now: LogState) -> list[str]:
    return list(now.authority.policies.rules.aliases)


def _names(names: list[str]) -> str:
    return ", ".join(names) or "nobody"
