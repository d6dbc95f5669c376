"""Approvals, rejections and waivers: built, checked by the rules that judge them, and only then
signed.

A statement that would not count is not signed. The check of the gates judges it as if it were in
the log. Its reason becomes the refusal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from governance.attest.codes import CODES
from governance.attest.predicates import (
    Accepted,
    Approval,
    Artifact,
    Finding,
    Waiver,
)
from governance.attest.requests import GateRequest, GenerationRequest
from governance.base.errors import ConfigError, InputError, RefusedError, did_you_mean
from governance.base.time import exact_instant
from governance.gates.checks.context import Context, ReleaseContext
from governance.gates.checks.votes import authors, packet_votes
from governance.gates.checks.waivers import waiver_problem
from governance.gates.decisions import decide_automatic
from governance.history import packet as packets
from governance.history.state import LogState
from governance.history.waivers import is_never_waived
from governance.log.evidence import Evidence
from governance.people.enrolment import person_named
from governance.people.speaking import Signing, Speaker, last_vote
from governance.people.subjects import Subject, requests_of_gates, requests_of_generations
from governance.release import promotion


@dataclass(frozen=True)
class Vote:
    """An approval or a rejection, before it is signed."""

    decision: Literal["approve", "reject"]
    reason: str
    page: str | None
    opened_at: str | None = None
    alias: str | None = None
    expires: datetime | None = None


def check(
    now: LogState, subject: Subject, vote: Vote, signing: Signing
) -> tuple[Speaker, Approval]:
    """The voter, and the statement that they would sign. Raises `RefusedError` if it would not
    count.
    """
    seconds = subject.about == "promotion"  # in any role that may second
    author = signing.speaker(now.authority, subject.fitting, first=seconds)
    approval = Approval(
        **author.signed(vote.reason),
        decision=vote.decision,
        about=subject.about,
        model=subject.model,
        alias=vote.alias or subject.alias,
        page=vote.page,
        expires=exact_instant(vote.expires) if vote.expires else None,
        opened_at=vote.opened_at,
    )
    if subject.packet is not None:
        _check_packet(now, subject, subject.packet, approval, author)
    if seconds and subject.statement.predicate.principal == author.name:
        found = f"{author.name} made this request, so somebody else has to sign it"
        raise RefusedError(found, where=f"request {subject.name}")
    return author, approval


def same_vote(now: LogState, subject: Subject, vote: Vote, author: Speaker) -> int | None:
    """The entry of the last vote of this person, if it equals this vote and still counts."""
    vote_before = last_vote(now, subject.sha256, subject.about, author)
    if vote_before is None:
        return None
    last, new = vote_before.predicate, (vote.decision, vote.page, vote.alias or subject.alias)
    same = (last.decision, last.page, last.alias) == new
    return vote_before.index if same and last.expires is None else None


def _check_packet(
    now: LogState, subject: Subject, packet: Evidence, approval: Approval, author: Speaker
) -> None:
    at, approves = author.at, approval.decision == "approve"
    changed = promotion.changed(now, packet, at) if approves else []
    if changed:
        found = f"{subject.name} changed since its evidence was frozen: {', '.join(changed)}"
        fix = f"countersign freeze {subject.name}, then countersign review {subject.name}"
        raise RefusedError(found, where=f"packet {subject.sha256[:12]}", fix=fix)
    own = author.unsigned(now, "approval", subject.artifact, approval)
    context = release_context(now, packet, at, [own], approval.alias)
    votes, aside = packet_votes(context)
    if any(vote is own for _, _, vote in votes):
        return
    problem = next(problem for problem in aside if problem.statement is own)
    fix = f"close the incident, or waive it and then: countersign freeze {subject.name}"
    if problem.reason != "incident_open":
        people = context.policies.rules.in_roles(context.tier.approvers if context.tier else ())
        able = [person.name for person in people if person.name not in authors(context)]
        fix = f"{' or '.join(able) or 'nobody that policy names'} can approve"
    found = f"{author.name}'s approval cannot count: {problem.why}"
    raise RefusedError(found, where=f"packet {subject.name}", fix=fix)


def current(
    now: LogState, model: str, version: str, at: datetime
) -> tuple[Evidence | None, list[str]]:
    """The latest packet of a version, and what changed since it was frozen."""
    latest = promotion.latest_packet(now, model, version)
    return latest, promotion.changed(now, latest, at) if latest else []


def release_context(
    now: LogState,
    recorded: Evidence,
    at: datetime,
    more: Sequence[Evidence] = (),
    alias: str | None = None,
) -> ReleaseContext:
    """The context of the decision to promote a packet, with further statements that are not in the
    log.
    """
    frozen = recorded.predicate
    to = alias or now.authority.policies.main_alias
    request = promotion.ask(now, "promote", frozen.model, frozen.version, to)
    request = request.model_copy(update={"packet": packets.digest_of(frozen)})
    return ReleaseContext.of(request, now.authority, now.evidence.assuming(more), at)


# -- Waivers ---------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Acceptance:
    """The terms of a waiver."""

    finding: str
    about: str | None
    """The subject of the finding. None if the code occurs once."""
    owner: str
    control: str
    days: int
    reason: str


@dataclass(frozen=True)
class WaiverTarget:
    """The target of a waiver: a registered version, or a stage or generation that was refused."""

    model: str
    artifact: Artifact
    findings: tuple[Finding, ...]
    """Its open findings."""


def waiver_target(
    now: LogState, name: str, at: datetime, released_as: str | None = None
) -> WaiverTarget:
    """The target named `MODEL/VERSION`, `gate@STAGE` or `generate@NAME`. `released_as`: for which
    of the models that are made from the stage or dataset. Raises `ConfigError`, `InputError`.
    """
    family, _, key = name.partition("@")
    if family == "gate":
        return _decided(name, key, requests_of_gates(now), released_as)
    if family == "generate":
        return _decided(name, key, requests_of_generations(now), released_as)
    if released_as is not None:
        found = "--model is for gate@STAGE and generate@NAME"
        raise ConfigError(found, fix="name the version alone: MODEL/VERSION")
    model, slash, version = name.partition("/")
    if not slash:
        raise ConfigError(
            f"{name!r} names nothing", expected="MODEL/VERSION, gate@STAGE or generate@NAME"
        )
    release = promotion.ask(now, "promote", model, version, now.authority.policies.main_alias)
    decision = decide_automatic(release, now.evidence, at, now.authority)
    artifact = Artifact(role="model", name=name, sha256=release.released.sha256)
    return WaiverTarget(model, artifact, decision.findings)


def _decided(
    name: str,
    key: str,
    decided: Mapping[str, tuple[Evidence, GateRequest | GenerationRequest]],
    released_as: str | None,
) -> WaiverTarget:
    """The target of a waiver before a training or generation: the data that it was decided on. A
    waiver that ends can be renewed, so what one excused counts as found.
    """
    if key not in decided:
        known = ", ".join(sorted(decided)) or "none yet"
        raise InputError(f"the log has no decision of {name!r}", expected=f"one of: {known}")
    entry, request = decided[key]
    artifact = Artifact(role="data", name=name, sha256=request.data.sha256)
    decision = entry.predicate
    model = _one_of(request, released_as, name)
    return WaiverTarget(model, artifact, (*decision.findings, *decision.waived))


def _one_of(request: GateRequest | GenerationRequest, named: str | None, gate: str) -> str:
    models = request.models
    if named is None and len(models) == 1:
        return request.model
    if named is not None and named in models:
        return named
    found = f"{gate} decides for {', '.join(models)}"
    raise ConfigError(found, expected="--model with one of them", fix="waive it for each")


def check_waiver(
    now: LogState, target: WaiverTarget, terms: Acceptance, signing: Signing
) -> tuple[Speaker, Waiver]:
    """Who accepts, and the waiver that they would sign. Raises `ConfigError`, `RefusedError` if it
    would not count.
    """
    authority, policies = now.authority, now.authority.policies
    rules = policies.rules.waivers
    if terms.finding not in CODES:
        fix = did_you_mean(terms.finding, CODES) or "docs/findings.md lists them"
        raise ConfigError(f"{terms.finding!r} is no finding code", fix=fix)
    if is_never_waived(terms.finding, rules):
        raise RefusedError(f"{terms.finding} is never waived")
    findings = _findings(target, terms)
    finding = findings[0]
    person_named(policies, terms.owner)
    author, at = signing.speaker(authority, rules.accepted_by), signing.at
    waiver = Waiver(
        **author.signed(terms.reason),
        model=target.model,
        finding=finding.code,
        about=finding.subject,
        owner=terms.owner,
        control=terms.control,
        expires=exact_instant(at + timedelta(days=terms.days)),
        accepts=[
            Accepted(measure=each.measure, figures=each.figures)
            for each in findings
            if each.measure or each.figures
        ],
    )
    context = Context(
        target.model, (), policies, now.evidence, at, authority=authority, governed=True
    )
    unsigned = author.unsigned(now, "waiver", target.artifact, waiver)
    problem = waiver_problem(context, authority, unsigned)
    if problem:
        where = f"waiver of {finding.code}"
        raise RefusedError(f"this would not count: {problem.text}", where=where)
    return author, waiver


def _findings(target: WaiverTarget, terms: Acceptance) -> list[Finding]:
    """The open findings that the terms name: of one code and subject, with what each found."""
    matching = [
        finding
        for finding in target.findings
        if finding.code == terms.finding and terms.about in (None, finding.subject)
    ]
    if len({finding.subject for finding in matching}) > 1:
        subjects = ", ".join(dict.fromkeys(finding.subject for finding in matching))
        raise ConfigError(
            f"{terms.finding} stands {len(matching)} times", expected=f"--about, one of: {subjects}"
        )
    if not matching:
        standing = ", ".join(f"{finding.code} ({finding.subject})" for finding in target.findings)
        about = f" about {terms.about}" if terms.about else ""
        raise RefusedError(
            f"no {terms.finding} stands against {target.artifact.name}{about}",
            expected=f"one of: {standing or 'none; what is accepted already does not stand'}",
        )
    return matching
