"""Waivers: find the finding, check the waiver by the rules that will judge it, sign it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from governance.attest.codes import CODES, NEVER_WAIVED
from governance.attest.keys import Signer
from governance.attest.predicates import Artifact, Finding, Waiver
from governance.base.errors import ConfigError, InputError, RefusedError, did_you_mean
from governance.base.time import exact_instant, instant_of
from governance.gates.checks.context import Context
from governance.gates.checks.waivers import waiver_problem
from governance.gates.decisions import decide_automatic
from governance.history.state import LogState
from governance.log.evidence import Evidence
from governance.log.port import Log
from governance.people.assumed import assumed
from governance.people.enrolment import person_named
from governance.people.speaking import Recorded, Speaker, record_statement, speaker
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

    name: str
    model: str
    sha256: str
    findings: tuple[Finding, ...] = field(default=())


def target(now: LogState, name: str, at: datetime) -> Target:
    """The target named `MODEL/VERSION` or `gate@STAGE`, with its open findings. Raises
    `ConfigError`, `InputError`.
    """
    if name.startswith("gate@"):
        stage = name.removeprefix("gate@")
        gates = requests_of_gates(now)
        if stage not in gates:
            raise InputError(
                f"the log has no gate of {stage!r}", expected=f"one of: {', '.join(sorted(gates))}"
            )
        gate, request = gates[stage]
        return Target(name, request.model, request.data.sha256, tuple(gate.predicate.findings))
    model, slash, version = name.partition("/")
    if not slash:
        raise ConfigError(
            f"{name!r} names nothing", expected="MODEL/VERSION, or gate@STAGE before it is trained"
        )
    alias = now.authority.policies.main_alias
    release = promotion.ask(now, "promote", model, version, alias)
    decision = decide_automatic(release, now.evidence, at, now.authority)
    return Target(name, model, release.released.sha256, decision.findings)


def waive(
    log: Log,
    now: LogState,
    target: Target,
    acceptance: Acceptance,
    signer: Signer,
    role: str | None,
    at: datetime,
    *,
    dry_run: bool,
) -> tuple[Recorded | None, Speaker, Waiver]:
    """Signs a waiver that will count. Signs nothing if `dry_run`. Raises `ConfigError`,
    `RefusedError`.
    """
    rules = now.authority.policies.rules.waivers
    _may_be_waived(acceptance.finding, rules.never)
    finding = _finding(target, acceptance)
    person_named(now.authority.policies, acceptance.owner)
    author = speaker(now.authority, signer, role, rules.accepted_by, at)
    waiver = Waiver(
        **author.signed(acceptance.reason, at),
        model=target.model,
        finding=finding.code,
        about=finding.subject,
        owner=acceptance.owner,
        control=acceptance.control,
        expires=exact_instant(at + timedelta(days=acceptance.days)),
    )
    subject = Artifact(
        role="model" if "/" in target.name else "data", name=target.name, sha256=target.sha256
    )
    context = Context(
        target.model,
        (),
        now.authority.policies,
        now.evidence,
        at,
        authority=now.authority,
        governed=True,
    )
    problem = waiver_problem(
        context, now.authority, assumed(now, signer, "waiver", subject, waiver)
    )
    if problem:
        raise RefusedError(
            f"this would not count: {problem.text}", where=f"waiver of {finding.code}"
        )
    return (
        None if dry_run else record_statement(log, signer, "waiver", [subject], waiver),
        author,
        waiver,
    )


def _may_be_waived(code: str, never: Sequence[str]) -> None:
    if code not in CODES:
        raise ConfigError(
            f"{code!r} is no finding code",
            fix=did_you_mean(code, CODES) or "docs/findings.md lists them",
        )
    if code in NEVER_WAIVED:
        raise RefusedError(
            f"{code} is never waived: without it nothing that is decided could be believed"
        )
    if code in never:
        raise RefusedError(
            f"policy never lets {code} be waived", where="policies/policy.yaml: waivers.never"
        )


def _finding(target: Target, acceptance: Acceptance) -> Finding:
    """The open finding that the terms name."""
    matching = [
        finding
        for finding in target.findings
        if finding.code == acceptance.finding and acceptance.about in (None, finding.subject)
    ]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise ConfigError(
            f"{acceptance.finding} stands {len(matching)} times",
            expected=f"--about, one of: {', '.join(finding.subject for finding in matching)}",
        )
    standing = ", ".join(f"{finding.code} ({finding.subject})" for finding in target.findings)
    raise RefusedError(
        f"no {acceptance.finding} stands against {target.name}"
        + (f" about {acceptance.about}" if acceptance.about else ""),
        expected=(
            f"one of: {standing}"
            if standing
            else "a finding that stands; what is accepted already does not"
        ),
    )


def ends_soon(waiver: Evidence, at: datetime, days: int) -> bool:
    """Whether a waiver ends within `days`, or ended at most `days` ago."""
    left = instant_of(waiver.predicate.expires) - at
    return timedelta(days=-days) <= left <= timedelta(days=days)
