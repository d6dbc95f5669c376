"""A move of an alias: the plan, the signed request, and the move itself.

1. A plan decides on the log as it is. If the person is known, it assumes the request that they
   would sign (`EvidenceView.assuming`). It writes nothing. The real decision gives the same result.
2. A request is signed and logged once. An open request for the same move is used again, so that
   others can sign it in between.
3. The move is carried out where the registry is: here, in one transaction with the log, or by a
   call of the server.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from governance.attest.codes import CODES
from governance.attest.predicates import CANDIDATE, Artifact, Finding, Promotion, PromotionRequest
from governance.attest.requests import Action, ReleaseDecision, ReleaseRequest
from governance.base.errors import ConfigError, RefusedError, StorageError, unknown
from governance.base.time import exact_instant
from governance.gates.checks.context import ReleaseContext
from governance.gates.checks.votes import authors, packet_votes
from governance.history.persons import one_each, others
from governance.history.state import LogState, state
from governance.history.votes import distinct, signers_of_request
from governance.log.evidence import Evidence
from governance.log.http_client import is_server
from governance.log.port import Log
from governance.machine.machine import Machine, read_log, signer
from governance.people.speaking import NOT_YET, Speaker, roles_of
from governance.policy.policies import Policies
from governance.registry.rest import RegistryServer
from governance.registry.rows import move_alias
from governance.release import cosigned, promotion
from governance.release.promotion import Promoter, ask

HOURS = 24
"""Hours that a request stays open, unless policy sets fewer."""
REQUEST_CODES = frozenset(code for code in CODES if code.startswith("REQUEST_"))
"""Findings that a new request resolves."""


@dataclass(frozen=True)
class Move:
    """A requested move."""

    action: Action
    model: str
    version: str
    """Empty for a rollback to the last version that may have the alias again."""
    alias: str
    reason: str
    break_glass: bool = False


@dataclass(frozen=True)
class Signature:
    """A signature that is missing."""

    kind: Literal["policies", "request", "packet", "rollback", "retire"]
    """What is signed: for a rollback or retirement, its request, by a further person."""
    count: int
    """How many of these people must sign."""
    fitting: tuple[tuple[str, str], ...]
    """Name and role of each person who could sign; role empty where any serves. Empty if policy
    names nobody.
    """
    next: str
    signed: tuple[str, ...] = ()
    """The people who signed the move so far."""

    @property
    def who(self) -> tuple[str, ...]:
        """NAME as ROLE of each person who could sign."""
        return tuple(f"{name} as {role}" if role else name for name, role in self.fitting)

    @property
    def people(self) -> list[str]:
        """Each person who could sign."""
        return list(dict.fromkeys(name for name, _ in self.fitting))


@dataclass(frozen=True)
class Plan:
    """The result that a move would have now."""

    move: Move
    release: ReleaseRequest
    decision: ReleaseDecision
    held: Promotion | None
    """The decision that gave the alias to its holder."""
    request: Evidence | None
    """The open request for this move."""
    signs: Speaker | None
    """The person who would sign the request, if known."""
    missing: tuple[Signature, ...]
    skipped: tuple[tuple[str, Finding], ...] = ()
    """Versions that a rollback skipped, each with its first open finding."""

    @property
    def done(self) -> Promotion | None:
        """The decision that already gave the alias to this version with this packet. A new request
        would change nothing.
        """
        held, release = self.held, self.release
        same = held is not None and (held.version, held.packet) == (release.version, release.packet)
        return held if same and self.move.action == "promote" and self.request is None else None


def plan(now: LogState, move: Move, at: datetime, signs: Speaker | None = None) -> Plan:
    """(1) Plans a move. Raises `InputError` if the log does not have the version, `RefusedError` if
    no version is left to go back to.
    """
    if not move.version:
        return _plan_rollback(now, move, at, signs)
    release, evidence = ask(now, move.action, move.model, move.version, move.alias), now.evidence
    promotes = move.action == "promote"
    recorded_then = cosigned.assumed(now, move.model, at) if promotes else []
    if recorded_then:
        evidence = evidence.assuming(recorded_then)
    decision = promotion.decide(now, release, at, evidence=evidence)
    request = now.timeline.requests.get(release.request or "")
    wrong = REQUEST_CODES & {finding.code for finding in decision.findings}
    if request is not None and (wrong or (move.break_glass and not request.predicate.break_glass)):
        request = None  # it does not serve this move
    if request is None and signs is not None:
        predicate = _request(now, release, move, signs, at)
        unsigned = signs.unsigned(now, "request", _subject(release), predicate)
        release = release.model_copy(update={"request": unsigned.digest})
        evidence = evidence.assuming([*recorded_then, unsigned])
        decision = promotion.decide(now, release, at, evidence=evidence)
    context = ReleaseContext.of(release, now.authority, evidence, at)
    held = now.holder(move.model, move.alias)
    missing = tuple(missing_signatures(context, decision))
    return Plan(move, release, decision, held, request, signs, missing)


def _plan_rollback(now: LogState, move: Move, at: datetime, signs: Speaker | None) -> Plan:
    """A rollback to the last version that held the alias and may have it again."""
    now.must_know(move.model)
    skipped: list[tuple[str, Finding]] = []
    held = now.holder(move.model, move.alias)
    stack = now.timeline.released_before(move.model, move.alias, held.version if held else None)
    for before in stack:
        version = before.predicate.version
        planned = plan(now, replace(move, version=version), at, signs)
        open_findings = [
            finding
            for finding in planned.decision.findings
            if finding.code not in REQUEST_CODES | {"APPROVAL_MISSING"}
        ]
        if not open_findings:
            return replace(planned, skipped=tuple(skipped))
        skipped.append((version, open_findings[0]))
    reasons = "; ".join(
        f"version {version}: {finding.code} {finding.message}" for version, finding in skipped
    )
    found = f"{move.model} has no version to go back to{f' ({reasons})' if reasons else ''}"
    raise RefusedError(found, fix=f"countersign history {move.model}")


def retired_alias(now: LogState, model: str, version: str) -> str:
    """The alias that a retirement names: one that the version holds, or the first governed one."""
    policies = now.authority.policies
    held = (tenure.alias for tenure in now.timeline.held_by(model, version))
    governed = (alias for alias in held if alias in policies.rules.aliases)
    return next(governed, policies.main_alias)


def request(log: Log, now: LogState, planned: Plan, author: Speaker, at: datetime) -> None:
    """(2) Signs the request of a plan."""
    predicate = _request(now, planned.release, planned.move, author, at)
    author.record(log, "request", _subject(planned.release), predicate)


def carry_out(machine: Machine, log: Log, move: Move, now: Callable[[], datetime]) -> Promotion:
    """(3) Carries out the move. Raises `RefusedError` with the findings and logs the refusal."""
    if is_server(machine.registry_uri):
        server = RegistryServer(machine.registry_uri, machine.environ)
        if move.action == "retire":
            held = state(log).holder(move.model, move.alias)
            if held is None or held.version != move.version:
                found = f"{move.model}/{move.version} holds no alias that the server could take"
                raise ConfigError(found, fix="retire it on the machine that keeps the log")
            server.delete_alias(move.model, move.alias)
        else:
            server.set_alias(move.model, move.alias, move.version)
        return _last_move(state(read_log(machine)), move)  # a copy of a server's log is read anew
    if machine.registry_uri.removeprefix("governed+") != machine.log_uri:
        found = "registry and log do not stand in one database, so nothing moves in both at once"
        fix = "set it to the address of COUNTERSIGN_LOG, or of a governed server"
        raise ConfigError(found, where="COUNTERSIGN_REGISTRY", fix=fix)
    promoter = Promoter(log, signer(machine), move_alias, machine.requester, now)
    caller = machine.requester.name
    return promoter.consume(move.model, move.version, move.alias, caller, move.action)


def requester_roles(policies: Policies, alias: str) -> list[str]:
    """The roles that may request a move of the alias. Raises `ConfigError` if policy does not
    govern the alias.
    """
    rule = policies.rules.aliases.get(alias)
    if rule is None and alias != CANDIDATE:
        raise unknown("governed alias", alias, [*policies.rules.aliases, CANDIDATE])
    return list(rule.requesters) if rule else roles_of(policies)


# -- Missing signatures ----------------------------------------------------------------------------
def missing_signatures(context: ReleaseContext, decision: ReleaseDecision) -> Iterator[Signature]:
    """The signatures that a move lacks: of the policies, the request, the packet or the move."""
    codes, move = {finding.code for finding in decision.findings}, context.request
    rules = context.policies.rules
    rule, name = rules.aliases.get(move.alias), f"{move.model}/{move.version}"
    if "POLICY_NOT_SIGNED" in codes:
        roles, count = (rules.owners.roles, rules.owners.people) if rules.owners else ([], 1)
        owners = _people(context, roles, context.rights.in_force.signers)
        yield Signature("policies", count, owners, "countersign policy sign")
    if REQUEST_CODES & codes:
        what = {
            "promote": f"{name} --to {move.alias}",
            "rollback": f"{move.model} --reason ...",
            "retire": f"{name} --reason ...",
        }[move.action]
        requesters = _people(context, rule.requesters if rule else [])
        step = f"countersign {move.action} {what}"
        yield Signature("request", 1, requesters, step)
    if "APPROVAL_MISSING" in codes:
        if move.action == "promote":
            yield from _approvals(context, name)
        else:
            yield _second_signers(context, move.action)


def _approvals(context: ReleaseContext, name: str) -> Iterator[Signature]:
    """Missing approvals of the packet: by further people, in roles without an approval."""
    votes, _ = packet_votes(context)
    counted = distinct(vote for vote in votes if vote[2].predicate.decision == "approve")
    tier = context.tier
    if tier is None or len(counted) >= tier.approvals:
        return
    taken = {person for person, _ in counted} | authors(context).keys()
    roles = [role for role in tier.approvers if role not in {role for _, role in counted}]
    step = f"countersign review {name}, then countersign approve {name}"
    people = _people(context, roles, taken)
    yield Signature("packet", tier.approvals - len(counted), people, step)


def _second_signers(context: ReleaseContext, action: Literal["rollback", "retire"]) -> Signature:
    """Missing signatures of a rollback or retirement, beside the requester's."""
    move, rights, policies = context.request, context.rights, context.policies
    signers: set[str] = set()
    if context.signed is not None:
        signers = signers_of_request(rights, context.evidence, context.signed, context.at)
    signed = one_each(rights, signers)
    needed = policies.retire_people(move.model)
    if action == "rollback":
        rule = policies.rules.aliases.get(move.alias)
        needed = rule.rollback_people if rule else 1
    able = others(rights, policies.rules.seconders, *signers)
    step = f"countersign approve promotion {(move.request or NOT_YET)[:12]}"
    count, fitting = max(1, needed - len(signed)), tuple((person, "") for person in able)
    return Signature(action, count, fitting, step, tuple(sorted(signed)))


def _people(
    context: ReleaseContext, roles: Collection[str], but: Collection[str] = ()
) -> tuple[tuple[str, str], ...]:
    return tuple(
        (person.name, role)
        for person in context.policies.rules.in_roles(roles)
        if person.name not in but and (person.until is None or context.at.date() <= person.until)
        for role in person.roles
        if role in roles
    )


def _request(
    now: LogState, release: ReleaseRequest, move: Move, signs: Speaker, at: datetime
) -> PromotionRequest:
    """The nonce contains the log's size and the requester's time: two requests differ."""
    rule = now.authority.policies.rules.aliases.get(move.alias)
    hours = min(HOURS, rule.request_hours) if rule else HOURS
    return PromotionRequest(
        **signs.signed(move.reason),
        action=move.action,
        model=move.model,
        version=move.version,
        alias=move.alias,
        model_digest=release.released.sha256,
        packet=release.packet,
        from_version=release.from_version,
        nonce=f"{now.size}-{exact_instant(at)}-{signs.signer.keyid[:16]}",
        expires=exact_instant(at + timedelta(hours=hours)),
        break_glass=move.break_glass,
    )


def _subject(release: ReleaseRequest) -> Artifact:
    return Artifact(role="model", name=release.model, sha256=release.released.sha256)


def _last_move(now: LogState, move: Move) -> Promotion:
    """What the server has just written. Raises `StorageError` where this log does not have it."""
    terms = (move.action, move.version, move.alias)
    moves = [statement.predicate for statement in now.moves(move.model)]
    written = [moved for moved in moves if (moved.action, moved.version, moved.alias) == terms]
    if not written:
        found = "the server carried it out, and this log does not have the entry"
        raise StorageError(found, where=now.log.where, fix="set COUNTERSIGN_LOG to the server's")
    return written[-1]
