"""A finding accepted for a while: which one is meant; held against the rules that will judge it,
and then signed.
"""

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
from governance.people.enrolment import known_person
from governance.people.speaking import Said, Speaker, say, speaker
from governance.people.subjects import requests_of_gates
from governance.release import promotion


@dataclass(frozen=True)
class Acceptance:
    """What somebody accepts for a while."""

    finding: str
    about: str | None
    """The finding's subject; None where only one such finding stands."""
    owner: str
    control: str
    days: int
    reason: str


@dataclass(frozen=True)
class Target:
    """What a waiver is about: a registered version, or a stage that a gate refused."""

    name: str
    model: str
    sha256: str
    findings: tuple[Finding, ...] = field(default=())


def target(now: LogState, name: str, at: datetime) -> Target:
    """`MODEL/VERSION` or `gate@STAGE`, with the findings that stand there now. Raises
    `InputError`.
    """
    if name.startswith("gate@"):
        stage = name.removeprefix("gate@")
        known = requests_of_gates(now)
        if stage not in known:
            raise InputError(
                f"the log has no gate of {stage!r}", expected=f"one of: {', '.join(sorted(known))}"
            )
        item, request = known[stage]
        return Target(name, request.model, request.data.sha256, tuple(item.predicate.findings))
    model, slash, version = name.partition("/")
    if not slash:
        raise ConfigError(
            f"{name!r} names nothing", expected="MODEL/VERSION, or gate@STAGE before it is trained"
        )
    alias = now.authority.policies.main_alias
    asked = promotion.ask(now, "promote", model, version, alias)
    decision = decide_automatic(asked, now.evidence, at, now.authority)
    return Target(name, model, asked.released.sha256, decision.findings)


def waive(
    log: Log,
    now: LogState,
    what: Target,
    how: Acceptance,
    signer: Signer,
    role: str | None,
    at: datetime,
    *,
    dry_run: bool,
) -> tuple[Said | None, Speaker, Waiver]:
    """Signs a waiver, if it will count. Raises `RefusedError`."""
    rules = now.authority.policies.rules.waivers
    _may_be_waived(how.finding, rules.never)
    finding = _finding(what, how)
    known_person(now.authority.policies, how.owner)
    who = speaker(now.authority, signer, role, rules.accepted_by, at)
    said = Waiver(
        **who.signed(how.reason, at),
        model=what.model,
        finding=finding.code,
        about=finding.subject,
        owner=how.owner,
        control=how.control,
        expires=exact_instant(at + timedelta(days=how.days)),
    )
    subject = Artifact(
        role="model" if "/" in what.name else "data", name=what.name, sha256=what.sha256
    )
    context = Context(
        what.model,
        (),
        now.authority.policies,
        now.evidence,
        at,
        authority=now.authority,
        governed=True,
    )
    problem = waiver_problem(context, now.authority, assumed(now, signer, "waiver", subject, said))
    if problem:
        raise RefusedError(
            f"this would not count: {problem.text}", where=f"waiver of {finding.code}"
        )
    return None if dry_run else say(log, signer, "waiver", [subject], said), who, said


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


def _finding(what: Target, how: Acceptance) -> Finding:
    """The finding that is meant, of those that stand."""
    mine = [
        one for one in what.findings if one.code == how.finding and how.about in (None, one.subject)
    ]
    if len(mine) == 1:
        return mine[0]
    if mine:
        raise ConfigError(
            f"{how.finding} stands {len(mine)} times",
            expected=f"--about, one of: {', '.join(one.subject for one in mine)}",
        )
    standing = ", ".join(f"{one.code} ({one.subject})" for one in what.findings)
    raise RefusedError(
        f"no {how.finding} stands against {what.name}"
        + (f" about {how.about}" if how.about else ""),
        expected=(
            f"one of: {standing}"
            if standing
            else "a finding that stands; what is accepted already does not"
        ),
    )


def ends_soon(item: Evidence, at: datetime, days: int) -> bool:
    """Whether a waiver ends within so many days, or has ended as long ago at most."""
    left = instant_of(item.predicate.expires) - at
    return timedelta(days=-days) <= left <= timedelta(days=days)
