"""From the log alone: who held an alias when, the history of a model, and its decisions made again.

A decision is a pure function of the entries before it, the policies that it names and its reference
time. So anybody with the log can make it again and must get the same result.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from governance.attest.findings import finding, not_among
from governance.attest.predicates import (
    CANDIDATE,
    Call,
    Drill,
    Finding,
    GateDecision,
    Packet,
    Promotion,
    PromotionRequest,
)
from governance.attest.requests import Decision, GateRequest, ReleaseRequest
from governance.base.errors import CountersignError, InputError, VerificationError
from governance.base.model import Json, Model
from governance.base.time import instant_of
from governance.gates.decisions import decide_gate, decide_release
from governance.history.state import LogState
from governance.log.evidence import Evidence, made_at
from governance.release import drills
from governance.release.promotion import ask, decide_again
from governance.release.serving import open_incident

SAME = "the same"
"""The result of a decision that comes out the same when it is made again."""
NOT_COUNTED = "DOES NOT COUNT: the key was not theirs at that entry, or the role"
KINDS = (
    "registration",
    "packet",
    "approval",
    "waiver",
    "request",
    "promotion",
    "incident",
    "refusal",
    "call",
    "drill",
    "report",
)
"""The kinds of statements in a model's history."""


class Live(Model):
    """A version that holds an alias."""

    model: str
    alias: str
    version: str
    sha256: str
    since: str
    entry: int
    """Of the move."""
    action: str
    request: str
    """Digest of the signed request; empty where nobody signed one."""
    asked_by: str
    """Who signed the request; the account's name where nobody signed one."""
    incident: str | None
    """Why an incident is open on it now."""
    expired: list[str]
    """Waivers of the release that expired and that no other waiver replaced, in words."""
    second_signature_overdue: str | None
    """When the second signature of a rollback by one person was due, if it is missing."""
    back_tried: str = drills.NO_DRILL
    """The last rollback drill and its result, in words."""
    back_failed: bool = False
    """Whether that drill failed."""


class Event(Model):
    """One entry of a model's history."""

    entry: int
    at: str
    what: str
    version: str
    by: str
    result: str
    detail: str = ""


class Again(Model):
    """A decision made again."""

    entry: int
    about: str
    at: str
    """The reference time, then as now."""
    policy: str
    evidence: int
    """How many entries stand before it: all that it may read."""
    allowed: bool
    """As logged."""
    findings: list[Finding]
    """The findings now."""
    waived: list[Finding]
    same: bool
    differences: list[str]


def live(now: LogState, model: str, at: datetime, *, known_then: bool = False) -> list[Live]:
    """The versions that hold an alias of a model at a moment. `known_then`: only from entries known
    then. Raises `InputError` for a model that the log does not have.
    """
    now.must_know(model)
    now = now.as_of(at) if known_then else now
    return [_live(now, tenure.given, at) for tenure in now.timeline.held(model, at)]


def history(now: LogState, model: str) -> list[Event]:
    """Every entry about a model's versions, in log order. Raises `InputError` for a model that the
    log does not have.
    """
    now.must_know(model)
    packets = (
        statement for statement in now.evidence.all(Packet) if statement.predicate.model == model
    )
    requests = now.timeline.requests.items()
    subjects = {statement.subjects[0].sha256 for statement in packets}
    subjects |= {digest for digest, statement in requests if statement.predicate.model == model}
    events = [
        _event(now, statement)
        for kind in KINDS
        for statement in now.evidence.all(kind)
        if _concerns(statement, model, subjects)
    ]
    return sorted(events, key=lambda event: event.entry)


def decided_again(now: LogState, entry: int) -> Again:
    """Makes one logged decision again. Raises `InputError` if the entry is no decision or does not
    hold its request.
    """
    return _again(now, _decision(now, entry), now.before(entry))


def _again(now: LogState, statement: Evidence, before: LogState) -> Again:
    decided = statement.predicate
    if isinstance(decided, GateDecision):
        decision, about = _gate_again(now, statement, before), decided.stage
    else:
        about = f"{decided.model}/{decided.version} as {decided.alias} ({decided.action})"
        decision = _promotion_again(now, statement, before)
    differences = list(_differences(decided, decision))
    entry = statement.index
    return Again(
        entry=entry,
        about=about,
        at=decided.at,
        policy=decided.policy,
        evidence=entry,
        allowed=decided.allowed,
        findings=list(decision.findings),
        waived=list(decision.waived),
        same=not differences,
        differences=differences,
    )


def made_again(now: LogState, statement: Evidence[Promotion]) -> str:
    """Makes a decision on an alias again and gives the result in words.

    Raises `VerificationError` if a governed alias moved and should not have.
    """
    promotion = statement.predicate
    where = f"entry {statement.index}, promotion"
    governs = promotion.alias != CANDIDATE and promotion.allowed
    if promotion.asked is None:
        if governs:
            raise VerificationError(
                "it does not hold what was asked",
                expected="the question, so that anybody can decide it again",
                where=where,
            )
        return "not made again: the statement does not hold what was asked"
    before = now.before(statement.index)
    again = _again(now, statement, before)
    if not governs:
        return SAME if again.same else f"another answer: {'; '.join(again.differences)}"
    if statement.development:
        raise VerificationError(
            "a development key signed it, which is good for `candidate` only", where=where
        )
    if again.findings:
        codes = ", ".join(dict.fromkeys(finding.code for finding in again.findings))
        raise VerificationError(
            f"it allows what the rules in force did not allow: {codes}",
            expected=(
                "a decision that comes out the same when it is made again from what stood before it"
            ),
            where=where,
        )
    request = ask(before, promotion.action, promotion.model, promotion.version, promotion.alias)
    recorded = (
        promotion.model_digest,
        promotion.request,
        promotion.packet,
        promotion.from_version,
        promotion.policy,
    )
    derived = (
        request.released.sha256,
        request.request,
        request.packet,
        request.from_version,
        before.authority.in_force.digest,
    )
    if request.model_dump(mode="json") != promotion.asked or recorded != derived:
        raise VerificationError(
            "it answers another question than the log asked at that entry", where=where
        )
    return SAME if again.same else f"allowed, too: {'; '.join(again.differences)}"


def forged(now: LogState) -> list[Finding]:
    """A finding for every move of a governed alias that cannot be reproduced from the entries
    before it.
    """
    findings = []
    for statement in now.view.all(Promotion):
        promotion = statement.predicate
        if promotion.alias == CANDIDATE or not promotion.allowed:
            continue
        try:
            made_again(now, statement)
        except CountersignError as error:
            about = f"entry {statement.index}, {promotion.model}@{promotion.alias}"
            expected = error.expected or "a decision that comes out the same"
            findings.append(
                finding(
                    "DECISION_NOT_REPRODUCED",
                    about,
                    error.found,
                    expected=expected,
                    found=error.found,
                )
            )
    return findings


def last_decision(now: LogState, model: str, version: str) -> int:
    """The entry of the last decision on a version. Raises `InputError` if there is none."""
    entries = [
        decision.index
        for decision in now.view.all(Promotion)
        if (decision.predicate.model, decision.predicate.version) == (model, version)
    ]
    if not entries:
        raise InputError(
            f"nothing was decided about {model}/{version}", fix=f"countersign history {model}"
        )
    return entries[-1]


def expired_waivers(now: LogState, move: Promotion, at: datetime) -> list[str]:
    """The waived findings of a release whose waivers have all expired, in words."""
    expired = []
    for waived in move.waived:
        ends = now.timeline.waived_until(move.model, waived, at)
        if ends is None or ends <= at:
            when = f"ended {ends:%Y-%m-%dT%H:%M:%SZ}" if ends else "is not in the log"
            expired.append(f"the waiver of {waived.code} {waived.subject} {when}")
    return expired


def _live(now: LogState, statement: Evidence[Promotion], at: datetime) -> Live:
    move = statement.predicate
    late = any(overdue.index == statement.index for overdue in now.timeline.overdue(at))
    drill = drills.last(now, move.model, move.alias, at) if move.alias != CANDIDATE else None
    return Live(
        model=move.model,
        alias=move.alias,
        version=move.version,
        sha256=move.model_digest,
        since=move.at,
        entry=statement.index,
        action=move.action,
        request=move.request or "",
        asked_by=now.timeline.requested_by(move),
        incident=open_incident(now, move.model_digest),
        expired=expired_waivers(now, move, at),
        second_signature_overdue=move.second_signature_by if late else None,
        back_tried=_tried(now, move, drill),
        back_failed=drill is not None and not drill.predicate.passed,
    )


def _tried(now: LogState, move: Promotion, drill: Evidence[Drill] | None) -> str:
    if move.alias == CANDIDATE:
        return "not needed: candidate serves nobody"
    before = now.timeline.released_before(move.model, move.alias, move.version)
    return drills.summary(drill, before[0].predicate.version if before else None)


def _concerns(statement: Evidence, model: str, subjects: set[str]) -> bool:
    predicate = statement.predicate
    if statement.kind == "approval":
        return bool(subjects & {subject.sha256 for subject in statement.subjects})
    return bool(predicate.model == model)


def _event(now: LogState, statement: Evidence) -> Event:
    predicate: Any = statement.predicate
    by = getattr(predicate, "principal", "")
    counts = not by or now.authority.speaker(statement) is not None
    event = Event(
        entry=statement.index,
        at=made_at(statement),
        what=statement.kind,
        version=getattr(predicate, "version", "") or "",
        by=by,
        result="" if counts else NOT_COUNTED,
        detail=getattr(predicate, "reason", ""),
    )
    fields = _described(now, statement)
    if not counts:
        fields.pop("result", None)
    return event.model_copy(update=fields)


def _described(now: LogState, statement: Evidence) -> dict[str, str]:
    """The fields of an event that depend on the kind of statement."""
    predicate: Any = statement.predicate
    match statement.kind:
        case "promotion" | "request" | "refusal" | "call":
            return _described_move(now, statement.kind, predicate)
        case "approval":
            what = f"{predicate.decision} {predicate.about} {statement.subjects[0].sha256[:12]}"
            return {"what": what, "result": f"as {predicate.role}"}
        case "waiver":
            what = f"waiver of {predicate.finding} {predicate.about}"
            return {"what": what, "result": f"until {predicate.expires}"}
        case "incident":
            return {"what": f"incident {predicate.state}"}
        case _:
            return {"by": predicate.run.requested_by.name, **_by_service(statement)}


def _described_move(now: LogState, kind: str, move: Any) -> dict[str, str]:
    """The fields of a move, a request, a refused call or an accepted call."""
    before = f"from version {move.from_version or 'none'}" if kind in ("promotion", "call") else ""
    match kind:
        case "request":
            what = f"request to {move.action} {move.alias}"
            return {"what": what, "result": f"open until {move.expires}"}
        case "refusal":
            return {"what": move.operation, "by": move.caller, "result": "refused by rule"}
        case "call":
            fields = {"what": _called(move), "by": move.caller, "result": "accepted by rule"}
            return {**fields, "detail": before if move.alias else ""}
    codes = ", ".join(dict.fromkeys(finding.code for finding in move.findings))
    moved = move.allowed and move.action != "retire"
    return {
        "what": f"{move.action} {move.alias}",
        "by": now.timeline.requested_by(move),
        "result": "allowed" if move.allowed else "refused",
        "detail": before if moved else codes,
    }


def _called(call: Call) -> str:
    """An accepted call in words."""
    if call.alias is None:
        return call.operation
    return f"set {call.alias}" if call.version else f"take {call.alias} away"


def _by_service(statement: Evidence) -> dict[str, str]:
    """The fields of a statement by a service: packet, drill, signed report or registration."""
    predicate: Any = statement.predicate
    if statement.kind == "packet":
        result, detail = f"{len(predicate.findings)} finding(s)", statement.subjects[0].sha256[:12]
        return {"what": "packet", "result": result, "detail": f"packet {detail}"}
    if statement.kind == "drill":
        result = "passed" if predicate.passed else "FAILED"
        what = f"drill of {predicate.alias}"
        return {"what": what, "result": result, "detail": drills.summary(statement, None)}
    if statement.kind == "report":
        detail = f"page {predicate.page[:12]}, of {predicate.entries} entries"
        return {"what": "report signed", "result": predicate.verdict, "detail": detail}
    detail = f"sha256 {predicate.model_digest[:12]}, stage {predicate.stage}"
    return {"what": "registration", "result": "", "detail": detail}


def _decision(now: LogState, entry: int) -> Evidence:
    if not 0 <= entry < now.size:
        raise InputError(f"the log has no entry {entry}", expected=f"0 to {now.size - 1}")
    decisions = [
        decision
        for kind in ("promotion", "gate")
        for decision in now.view.all(kind)
        if decision.index == entry
    ]
    if not decisions:
        kind = now.log.entry(entry).kind
        raise InputError(
            f"entry {entry} is no decision that counts, it is filed as {kind}",
            fix="countersign history MODEL lists the decisions",
        )
    return decisions[0]


def _promotion_again(now: LogState, statement: Evidence[Promotion], before: LogState) -> Decision:
    promotion = statement.predicate
    if promotion.asked is None:
        raise InputError(
            f"entry {statement.index} does not say what was asked, so it cannot be decided again",
            fix="decisions recorded before 0.2 are of this kind",
        )
    if promotion.alias != CANDIDATE:
        decision = decide_again(before, promotion)
        if decision is None:
            raise VerificationError(
                "it does not hold its question", where=f"entry {statement.index}"
            )
        return decision
    policies = now.authority.recorded_at(statement.index, promotion.policy)
    return decide_release(
        ReleaseRequest.model_validate(promotion.asked),
        policies,
        before.evidence,
        instant_of(promotion.at),
    )


def _gate_again(now: LogState, statement: Evidence[GateDecision], before: LogState) -> Decision:
    gate = statement.predicate
    request = GateRequest.model_validate(gate.parameters)
    policies = now.authority.recorded_at(statement.index, gate.policy)
    return decide_gate(
        request, policies, before.evidence, instant_of(gate.at), authority=before.authority
    )


def _differences(logged_decision: Promotion | GateDecision, decision: Decision) -> Iterator[str]:
    if logged_decision.allowed != decision.allowed:
        yield f"logged as {_word(logged_decision.allowed)}, comes out {_word(decision.allowed)}"
    pairs = {
        "finding": (logged_decision.findings, decision.findings),
        "waived finding": (logged_decision.waived, decision.waived),
    }
    for name, (findings, again) in pairs.items():
        yield from (
            f"{name} logged only: {finding.code} {finding.subject}"
            for finding in not_among(findings, again)
        )
        yield from (
            f"{name} found only now: {finding.code} {finding.subject}"
            for finding in not_among(again, findings)
        )


def _word(allowed: bool) -> str:
    return "allowed" if allowed else "refused"


def waiting(now: LogState, at: datetime) -> list[dict[str, Json]]:
    """The requests that can be carried out now."""
    return [_request(request, request.predicate) for request in now.timeline.pending_requests(at)]


def _request(statement: Evidence, request: PromotionRequest) -> dict[str, Json]:
    return {
        "entry": statement.index, "request": statement.digest, "action": request.action,
        "model": request.model, "version": request.version, "alias": request.alias,
        "by": request.principal, "expires": request.expires,
    }  # fmt: skip
