"""What happened, from the log alone: who held an alias when, what was decided about a model, and
each decided again.

A decision is a pure function of what stood in the log before its entry, the policies that judged
it, and its reference time. So it can be performed again by anybody who has the log, and must come
out the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from governance.attest.findings import finding, not_among
from governance.attest.predicates import (
    CANDIDATE,
    Call,
    Finding,
    GateDecision,
    Promotion,
    PromotionRequest,
)
from governance.attest.requests import Decision, GateRequest, ReleaseRequest
from governance.base.errors import CountersignError, InputError, VerificationError
from governance.base.model import Json, Model
from governance.base.time import instant_of
from governance.gates.decisions import decide_gate, decide_release
from governance.log.evidence import Evidence
from governance.release import drills
from governance.release.promotion import State, again, ask, below, open_requests, overdue, overtaken
from governance.release.serving import open_incident

SAME = "the same"
"""What is said of a decision that was made again without a difference."""
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


def live(now: State, model: str, at: datetime) -> list[Live]:
    """Who holds each alias of a model at a moment: the moves made until then, and what is known
    until now.

    Raises `InputError` for a model that the log does not know.
    """
    now.must_know(model)
    held: dict[str, Evidence] = {}
    for item in now.moves(model):
        move: Promotion = item.predicate
        if instant_of(move.at) > at:
            break
        if move.action == "retire":
            held = {
                alias: one
                for alias, one in held.items()
                if alias == CANDIDATE or one.predicate.version != move.version
            }
        else:
            held[move.alias] = item
    late = {item.predicate.request: item.predicate.second_signature_by for item in overdue(now, at)}
    asked = _askers(now)
    return [
        _live(now, item, at, asked, late.get(item.predicate.request))
        for _, item in sorted(held.items())
    ]


def models(now: State) -> list[str]:
    """Every model that the log has a version of."""
    return sorted({item.predicate.model for item in now.view.all("registration")})


def history(now: State, model: str) -> list[Event]:
    """Everything the log has about a model's versions, in order. Raises `InputError` for one that
    it does not know.
    """
    now.must_know(model)
    packets = {
        item.subjects[0].sha256
        for item in now.evidence.all("packet")
        if item.predicate.model == model
    }
    requests = {
        item.digest for item in now.evidence.all("request") if item.predicate.model == model
    }
    asked, subjects = _askers(now), packets | requests
    found = [
        event
        for kind in KINDS
        for item in now.evidence.all(kind)
        if _concerns(item, model, subjects)
        for event in _events(now, item, asked)
    ]
    return sorted(found, key=lambda event: event.entry)


def decided_again(now: State, entry: int) -> Again:
    """One logged decision performed again. Raises `InputError` where the entry is none that can
    be.
    """
    item = _decision(now, entry)
    return _again(now, item, now.before(entry))


def _again(now: State, item: Evidence, before: State) -> Again:
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


def made_again(now: State, item: Evidence) -> str:
    """What comes of making a decision about an alias again, in words.

    Raises `VerificationError` where a governed alias moved that should not have.
    """
    said: Promotion = item.predicate
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


def forged(now: State) -> list[Finding]:
    """Every move of a governed alias that does not come out when it is decided again from what
    stood before it.
    """
    found = []
    for item in now.view.all("promotion"):
        said: Promotion = item.predicate
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


def last_decision(now: State, model: str, version: str) -> int:
    """The entry of the last decision about a version. Raises `InputError` where there is none."""
    found = [
        item.index
        for item in now.view.all("promotion")
        if (item.predicate.model, item.predicate.version) == (model, version)
    ]
    if not found:
        raise InputError(
            f"nothing was decided about {model}/{version}", fix=f"countersign history {model}"
        )
    return found[-1]


def expired_waivers(now: State, move: Promotion, at: datetime) -> list[str]:
    """Findings that a version was released in spite of, whose waivers have all ended, in words."""
    found = []
    for waived in move.waived:
        mine = [
            item.predicate
            for item in now.evidence.all("waiver")
            if (item.predicate.model, item.predicate.finding, item.predicate.about)
            == (move.model, waived.code, waived.subject)
            and now.authority.speaker(item) is not None
            and instant_of(item.predicate.at)
            <= at  # what was accepted later carried nothing before
        ]
        ends = max((instant_of(one.expires) for one in mine), default=None)
        if ends is None or ends <= at:
            when = f"ended {ends:%Y-%m-%dT%H:%M:%SZ}" if ends else "is not in the log"
            found.append(f"the waiver of {waived.code} {waived.subject} {when}")
    return found


def _live(
    now: State, item: Evidence, at: datetime, asked: Mapping[str, str], overdue_since: str | None
) -> Live:
    move: Promotion = item.predicate
    return Live(
        model=move.model,
        alias=move.alias,
        version=move.version,
        sha256=move.model_digest,
        since=move.at,
        entry=item.index,
        action=move.action,
        request=move.request or "",
        asked_by=_asked_by(asked, move),
        incident=open_incident(now, move.model_digest),
        expired=expired_waivers(now, move, at),
        second_signature_overdue=overdue_since,
        back_tried=_tried(now, move, at),
    )


def _tried(now: State, move: Promotion, at: datetime) -> str:
    if move.alias == CANDIDATE:
        return "not needed: candidate serves nobody"
    found = drills.last(now, move.model, move.alias, at)
    before = below(now, move.model, move.alias, move.version)
    return drills.told(found, before[0].predicate.version if before else None)


def _askers(now: State) -> dict[str, str]:
    """Digest of each request to who signed it."""
    return {item.digest: item.predicate.principal for item in now.evidence.all("request")}


def _asked_by(asked: Mapping[str, str], move: Promotion) -> str:
    return asked.get(move.request or "", move.run.requested_by.name)


def _concerns(item: Evidence, model: str, subjects: set[str]) -> bool:
    said = item.predicate
    if item.kind == "approval":
        return bool(subjects & {subject.sha256 for subject in item.subjects})
    return bool(said.model == model)


def _events(now: State, item: Evidence, asked: Mapping[str, str]) -> Iterator[Event]:
    said: Any = item.predicate
    version, by = getattr(said, "version", "") or "", getattr(said, "principal", "")
    detail = getattr(said, "reason", "")
    counts = not by or now.authority.speaker(item) is not None
    result = "" if counts else "DOES NOT COUNT: the key was not theirs at that entry, or the role"
    what = item.kind
    match item.kind:
        case "promotion":
            what, by = f"{said.action} {said.alias}", _asked_by(asked, said)
            result = "allowed" if said.allowed else "refused"
            detail = ", ".join(dict.fromkeys(one.code for one in said.findings))
            if said.allowed and said.action != "retire":
                detail = f"from version {said.from_version or 'none'}"
        case "request":
            what, result = (
                f"request to {said.action} {said.alias}",
                result or f"open until {said.expires}",
            )
        case "approval":
            what, result = (
                f"{said.decision} {said.about} {item.subjects[0].sha256[:12]}",
                result or f"as {said.role}",
            )
        case "waiver":
            what, result = (
                f"waiver of {said.finding} {said.about}",
                result or f"until {said.expires}",
            )
        case "incident":
            what = f"incident {said.state}"
        case "registration" | "packet" | "drill" | "report":
            by, (what, result, detail) = said.run.requested_by.name, _by_service(item)
        case "refusal":
            what, by, result = said.operation, said.caller, "refused by rule"
        case "call":
            what, by, result = _called(said), said.caller, "accepted by rule"
            detail = f"from version {said.from_version or 'none'}" if said.alias else ""
    at = getattr(said, "at", "") or said.run.finished
    yield Event(
        entry=item.index, at=at, what=what, version=version, by=by, result=result, detail=detail
    )


def _called(said: Call) -> str:
    """An accepted call in words."""
    if said.alias is None:
        return said.operation
    return f"set {said.alias}" if said.version else f"take {said.alias} away"


def _by_service(item: Evidence) -> tuple[str, str, str]:
    """What, result and detail of what a service says."""
    said: Any = item.predicate
    if item.kind == "packet":
        return (
            "packet",
            f"{len(said.findings)} finding(s)",
            f"packet {item.subjects[0].sha256[:12]}",
        )
    if item.kind == "drill":
        return (
            f"drill of {said.alias}",
            "passed" if said.passed else "FAILED",
            drills.told(item, None),
        )
    if item.kind == "report":
        return "report signed", said.verdict, f"page {said.page[:12]}, of {said.entries} entries"
    return "registration", "", f"sha256 {said.model_digest[:12]}, stage {said.stage}"


def _decision(now: State, entry: int) -> Evidence:
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


def _promotion_again(now: State, item: Evidence, before: State) -> Decision:
    said: Promotion = item.predicate
    if said.asked is None:
        raise InputError(
            f"entry {item.index} does not say what was asked, so it cannot be decided again",
            fix="decisions recorded before 0.2 are of this kind",
        )
    if said.alias != CANDIDATE:
        decision = again(before, item)
        if decision is None:
            raise VerificationError("it does not hold its question", where=f"entry {item.index}")
        return decision
    policies = now.authority.recorded_at(item.index, said.policy)
    return decide_release(
        ReleaseRequest.model_validate(said.asked), policies, before.evidence, instant_of(said.at)
    )


def _gate_again(now: State, item: Evidence, before: State) -> Decision:
    said: GateDecision = item.predicate
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


def waiting(now: State, at: datetime) -> list[dict[str, Json]]:
    """Requests that are open: in time, by somebody who may speak, and neither carried out nor
    overtaken.
    """
    found = [(item, item.predicate) for item in open_requests(now)]
    fits = [one for one in found if _in_time(one[1], at) and not overtaken(now, one[1])]
    return [_request(item, said) for item, said in fits if now.authority.speaker(item)]


def _in_time(said: PromotionRequest, at: datetime) -> bool:
    return instant_of(said.at) <= at < instant_of(said.expires)


def _request(item: Evidence, said: PromotionRequest) -> dict[str, Json]:
    return {
        "entry": item.index, "request": item.digest, "action": said.action, "model": said.model,
        "version": said.version, "alias": said.alias, "by": said.principal, "expires": said.expires,
    }  # fmt: skip
