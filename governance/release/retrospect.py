"""What happened, from the log alone: who held an alias when, what was decided about a model, and
each decided again.

A decision is a pure function of what stood in the log before its entry, the policies that judged
it, and its reference time. So it can be performed again by anybody who has the log, and must come
out the same.
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
"""What is said of a decision that was made again without a difference."""
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
"""What a model's history is made of."""


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
    """Digest of the request that it consumed; empty where nobody signed one."""
    asked_by: str
    """Who signed the request; the account's name where nobody signed one."""
    incident: str | None
    """Why an incident is open on it now."""
    expired: list[str]
    """Waivers it was released with that have ended, and nothing took their place."""
    second_signature_overdue: str | None
    """Since when a second person should have signed a rollback that one made alone."""
    back_tried: str = drills.NO_DRILL
    """When the way back from it was last rehearsed, and what came of it."""
    back_failed: bool = False
    """Whether that rehearsal failed."""


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
    """A decision performed again."""

    entry: int
    about: str
    at: str
    """The reference time, then as now."""
    policy: str
    evidence: int
    """Entries that stood before it: all that it may look at."""
    allowed: bool
    """As logged."""
    findings: list[Finding]
    """As they come out now."""
    waived: list[Finding]
    same: bool
    differences: list[str]


def live(now: LogState, model: str, at: datetime, *, known_then: bool = False) -> list[Live]:
    """Who holds each alias of a model at a moment. `known_then`: with what was known then, and
    nothing later. Raises `InputError` for a model that the log does not know.
    """
    now.must_know(model)
    now = now.as_of(at) if known_then else now
    return [_live(now, tenure.given, at) for tenure in now.timeline.held(model, at)]


def history(now: LogState, model: str) -> list[Event]:
    """Everything the log has about a model's versions, in order. Raises `InputError` for one that
    it does not know.
    """
    now.must_know(model)
    packets = (item for item in now.evidence.all(Packet) if item.predicate.model == model)
    requests = now.timeline.requests.items()
    subjects = {item.subjects[0].sha256 for item in packets}
    subjects |= {digest for digest, item in requests if item.predicate.model == model}
    found = [
        _event(now, item)
        for kind in KINDS
        for item in now.evidence.all(kind)
        if _concerns(item, model, subjects)
    ]
    return sorted(found, key=lambda event: event.entry)


def decided_again(now: LogState, entry: int) -> Again:
    """One logged decision performed again. Raises `InputError` where the entry is none that can
    be.
    """
    return _again(now, _decision(now, entry), now.before(entry))


def _again(now: LogState, item: Evidence, before: LogState) -> Again:
    said = item.predicate
    if isinstance(said, GateDecision):
        decision, about = _gate_again(now, item, before), said.stage
    else:
        about = f"{said.model}/{said.version} as {said.alias} ({said.action})"
        decision = _promotion_again(now, item, before)
    differences = list(_differences(said, decision))
    entry = item.index
    return Again(
        entry=entry,
        about=about,
        at=said.at,
        policy=said.policy,
        evidence=entry,
        allowed=said.allowed,
        findings=list(decision.findings),
        waived=list(decision.waived),
        same=not differences,
        differences=differences,
    )


def made_again(now: LogState, item: Evidence[Promotion]) -> str:
    """What comes of making a decision about an alias again, in words.

    Raises `VerificationError` where a governed alias moved that should not have.
    """
    said = item.predicate
    governs, where = said.alias != CANDIDATE and said.allowed, f"entry {item.index}, promotion"
    if said.asked is None:
        if governs:
            raise VerificationError(
                "it does not hold what was asked",
                expected="the question, so that anybody can decide it again",
                where=where,
            )
        return "not made again: the statement does not hold what was asked"
    before = now.before(item.index)
    found = _again(now, item, before)
    if not governs:
        return SAME if found.same else f"another answer: {'; '.join(found.differences)}"
    if item.development:
        raise VerificationError(
            "a development key signed it, which is good for `candidate` only", where=where
        )
    if found.findings:
        codes = ", ".join(dict.fromkeys(one.code for one in found.findings))
        raise VerificationError(
            f"it allows what the rules in force did not allow: {codes}",
            expected=(
                "a decision that comes out the same when it is made again from what stood before it"
            ),
            where=where,
        )
    asked = ask(before, said.action, said.model, said.version, said.alias)
    fields = (said.model_digest, said.request, said.packet, said.from_version, said.policy)
    follows = (
        asked.released.sha256,
        asked.request,
        asked.packet,
        asked.from_version,
        before.authority.in_force.digest,
    )
    if asked.model_dump(mode="json") != said.asked or fields != follows:
        raise VerificationError(
            "it answers another question than the log asked at that entry", where=where
        )
    return SAME if found.same else f"allowed, too: {'; '.join(found.differences)}"


def forged(now: LogState) -> list[Finding]:
    """Every move of a governed alias that does not come out when it is decided again from what
    stood before it.
    """
    found = []
    for item in now.view.all(Promotion):
        said = item.predicate
        if said.alias == CANDIDATE or not said.allowed:
            continue
        try:
            made_again(now, item)
        except CountersignError as error:
            about = f"entry {item.index}, {said.model}@{said.alias}"
            why = error.expected or "a decision that comes out the same"
            found.append(
                finding(
                    "DECISION_NOT_REPRODUCED", about, error.found, expected=why, found=error.found
                )
            )
    return found


def last_decision(now: LogState, model: str, version: str) -> int:
    """The entry of the last decision about a version. Raises `InputError` where there is none."""
    found = [
        item.index
        for item in now.view.all(Promotion)
        if (item.predicate.model, item.predicate.version) == (model, version)
    ]
    if not found:
        raise InputError(
            f"nothing was decided about {model}/{version}", fix=f"countersign history {model}"
        )
    return found[-1]


def expired_waivers(now: LogState, move: Promotion, at: datetime) -> list[str]:
    """Findings that a version was released in spite of, whose waivers have all ended, in words."""
    found = []
    for waived in move.waived:
        ends = now.timeline.waived_until(move.model, waived, at)
        if ends is None or ends <= at:
            when = f"ended {ends:%Y-%m-%dT%H:%M:%SZ}" if ends else "is not in the log"
            found.append(f"the waiver of {waived.code} {waived.subject} {when}")
    return found


def _live(now: LogState, item: Evidence[Promotion], at: datetime) -> Live:
    move = item.predicate
    late = any(one.index == item.index for one in now.timeline.overdue(at))
    drill = drills.last(now, move.model, move.alias, at) if move.alias != CANDIDATE else None
    return Live(
        model=move.model,
        alias=move.alias,
        version=move.version,
        sha256=move.model_digest,
        since=move.at,
        entry=item.index,
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


def _concerns(item: Evidence, model: str, subjects: set[str]) -> bool:
    said = item.predicate
    if item.kind == "approval":
        return bool(subjects & {subject.sha256 for subject in item.subjects})
    return bool(said.model == model)


def _event(now: LogState, item: Evidence) -> Event:
    said: Any = item.predicate
    by = getattr(said, "principal", "")
    counts = not by or now.authority.speaker(item) is not None
    event = Event(
        entry=item.index,
        at=made_at(item),
        what=item.kind,
        version=getattr(said, "version", "") or "",
        by=by,
        result="" if counts else NOT_COUNTED,
        detail=getattr(said, "reason", ""),
    )
    told = _described(now, item)
    if not counts:
        told.pop("result", None)
    return event.model_copy(update=told)


def _described(now: LogState, item: Evidence) -> dict[str, str]:
    """The fields of an event that its kind has of its own."""
    said: Any = item.predicate
    match item.kind:
        case "promotion" | "request" | "refusal" | "call":
            return _described_move(now, item.kind, said)
        case "approval":
            what = f"{said.decision} {said.about} {item.subjects[0].sha256[:12]}"
            return {"what": what, "result": f"as {said.role}"}
        case "waiver":
            what = f"waiver of {said.finding} {said.about}"
            return {"what": what, "result": f"until {said.expires}"}
        case "incident":
            return {"what": f"incident {said.state}"}
        case _:
            return {"by": said.run.requested_by.name, **_by_service(item)}


def _described_move(now: LogState, kind: str, said: Any) -> dict[str, str]:
    """What was asked of an alias or of the registry, and what came of it."""
    before = f"from version {said.from_version or 'none'}" if kind in ("promotion", "call") else ""
    match kind:
        case "request":
            what = f"request to {said.action} {said.alias}"
            return {"what": what, "result": f"open until {said.expires}"}
        case "refusal":
            return {"what": said.operation, "by": said.caller, "result": "refused by rule"}
        case "call":
            told = {"what": _called(said), "by": said.caller, "result": "accepted by rule"}
            return {**told, "detail": before if said.alias else ""}
    codes = ", ".join(dict.fromkeys(one.code for one in said.findings))
    moved = said.allowed and said.action != "retire"
    return {
        "what": f"{said.action} {said.alias}",
        "by": now.timeline.requested_by(said),
        "result": "allowed" if said.allowed else "refused",
        "detail": before if moved else codes,
    }


def _called(said: Call) -> str:
    """An accepted call in words."""
    if said.alias is None:
        return said.operation
    return f"set {said.alias}" if said.version else f"take {said.alias} away"


def _by_service(item: Evidence) -> dict[str, str]:
    """What a service recorded: a packet, a drill, a signed report or a registration."""
    said: Any = item.predicate
    if item.kind == "packet":
        result, detail = f"{len(said.findings)} finding(s)", item.subjects[0].sha256[:12]
        return {"what": "packet", "result": result, "detail": f"packet {detail}"}
    if item.kind == "drill":
        result = "passed" if said.passed else "FAILED"
        what = f"drill of {said.alias}"
        return {"what": what, "result": result, "detail": drills.summary(item, None)}
    if item.kind == "report":
        detail = f"page {said.page[:12]}, of {said.entries} entries"
        return {"what": "report signed", "result": said.verdict, "detail": detail}
    detail = f"sha256 {said.model_digest[:12]}, stage {said.stage}"
    return {"what": "registration", "result": "", "detail": detail}


def _decision(now: LogState, entry: int) -> Evidence:
    if not 0 <= entry < now.size:
        raise InputError(f"the log has no entry {entry}", expected=f"0 to {now.size - 1}")
    found = [
        item for kind in ("promotion", "gate") for item in now.view.all(kind) if item.index == entry
    ]
    if not found:
        kind = now.log.entry(entry).kind
        raise InputError(
            f"entry {entry} is no decision that counts, it is filed as {kind}",
            fix="countersign history MODEL lists the decisions",
        )
    return found[0]


def _promotion_again(now: LogState, item: Evidence[Promotion], before: LogState) -> Decision:
    said = item.predicate
    if said.asked is None:
        raise InputError(
            f"entry {item.index} does not say what was asked, so it cannot be decided again",
            fix="decisions recorded before 0.2 are of this kind",
        )
    if said.alias != CANDIDATE:
        decision = decide_again(before, said)
        if decision is None:
            raise VerificationError("it does not hold its question", where=f"entry {item.index}")
        return decision
    policies = now.authority.recorded_at(item.index, said.policy)
    return decide_release(
        ReleaseRequest.model_validate(said.asked), policies, before.evidence, instant_of(said.at)
    )


def _gate_again(now: LogState, item: Evidence[GateDecision], before: LogState) -> Decision:
    said = item.predicate
    request = GateRequest.model_validate(said.parameters)
    policies = now.authority.recorded_at(item.index, said.policy)
    return decide_gate(
        request, policies, before.evidence, instant_of(said.at), authority=before.authority
    )


def _differences(said: Promotion | GateDecision, decision: Decision) -> Iterator[str]:
    if said.allowed != decision.allowed:
        yield f"logged as {_word(said.allowed)}, comes out {_word(decision.allowed)}"
    pairs = {
        "finding": (said.findings, decision.findings),
        "waived finding": (said.waived, decision.waived),
    }
    for name, (logged, found) in pairs.items():
        yield from (
            f"{name} logged only: {one.code} {one.subject}" for one in not_among(logged, found)
        )
        yield from (
            f"{name} found only now: {one.code} {one.subject}" for one in not_among(found, logged)
        )


def _word(allowed: bool) -> str:
    return "allowed" if allowed else "refused"


def waiting(now: LogState, at: datetime) -> list[dict[str, Json]]:
    """Requests that can still be carried out."""
    return [_request(item, item.predicate) for item in now.timeline.pending_requests(at)]


def _request(item: Evidence, said: PromotionRequest) -> dict[str, Json]:
    return {
        "entry": item.index, "request": item.digest, "action": said.action, "model": said.model,
        "version": said.version, "alias": said.alias, "by": said.principal, "expires": said.expires,
    }  # fmt: skip
