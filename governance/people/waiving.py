"""Waivers: find the finding, check the waiver by the rules that will judge it, sign it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from governance.attest.codes import CODES, NEVER_WAIVED
from governance.attest.predicates import Artifact, Finding, Waiver
from governance.base.errors import ConfigError, InputError, RefusedError, did_you_mean
from governance.base.time import exact_instant
from governance.gates.checks.context import Context
from governance.gates.checks.waivers import waiver_problem
from governance.gates.decisions import decide_automatic
from governance.history.state import LogState
from governance.people.enrolment import person_named
from governance.people.speaking import Signing, Speaker
from governance.people.subjects import requests_of_gates
from governance.release import promotion


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
class Target:
    """The target of a waiver: a registered version, or a stage that a gate refused."""

    model: str
    artifact: Artifact
    findings: tuple[Finding, ...]
    """Its open findings."""


def target(now: LogState, name: str, at: datetime) -> Target:
    """The target named `MODEL/VERSION` or `gate@STAGE`. Raises `ConfigError`, `InputError`."""
    if name.startswith("gate@"):
        stage = name.removeprefix("gate@")
        gates = requests_of_gates(now)
        if stage not in gates:
            raise InputError(
                f"the log has no gate of {stage!r}", expected=f"one of: {', '.join(sorted(gates))}"
            )
        gate, request = gates[stage]
        artifact = Artifact(role="data", name=name, sha256=request.data.sha256)
        return Target(request.model, artifact, tuple(gate.predicate.findings))
    model, slash, version = name.partition("/")
    if not slash:
        raise ConfigError(
            f"{name!r} names nothing", expected="MODEL/VERSION, or gate@STAGE before it is trained"
        )
    release = promotion.ask(now, "promote", model, version, now.authority.policies.main_alias)
    decision = decide_automatic(release, now.evidence, at, now.authority)
    artifact = Artifact(role="model", name=name, sha256=release.released.sha256)
    return Target(model, artifact, decision.findings)


def check(
    now: LogState, target: Target, terms: Acceptance, signing: Signing
) -> tuple[Speaker, Waiver]:
    """Who accepts, and the waiver that they would sign. Raises `ConfigError`, `RefusedError` if it
    would not count.
    """
    rules = now.authority.policies.rules.waivers
    if terms.finding not in CODES:
        fix = did_you_mean(terms.finding, CODES) or "docs/findings.md lists them"
        raise ConfigError(f"{terms.finding!r} is no finding code", fix=fix)
    if terms.finding in (*NEVER_WAIVED, *rules.never):
        raise RefusedError(f"{terms.finding} is never waived")
    finding = _finding(target, terms)
    person_named(now.authority.policies, terms.owner)
    author, at = signing.speaker(now.authority, rules.accepted_by), signing.at
    waiver = Waiver(
        **author.signed(terms.reason),
        model=target.model,
        finding=finding.code,
        about=finding.subject,
        owner=terms.owner,
        control=terms.control,
        expires=exact_instant(at + timedelta(days=terms.days)),
    )
    policies, authority = now.authority.policies, now.authority
    context = Context(
        target.model, (), policies, now.evidence, at, authority=authority, governed=True
    )
    unsigned = author.unsigned(now, "waiver", target.artifact, waiver)
    problem = waiver_problem(context, authority, unsigned)
    if problem:
        where = f"waiver of {finding.code}"
        raise RefusedError(f"this would not count: {problem.text}", where=where)
    return author, waiver


def _finding(target: Target, terms: Acceptance) -> Finding:
    """The open finding that the terms name."""
    matching = [
        finding
        for finding in target.findings
        if finding.code == terms.finding and terms.about in (None, finding.subject)
    ]
    if len(matching) > 1:
        subjects = ", ".join(finding.subject for finding in matching)
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
    return matching[0]
