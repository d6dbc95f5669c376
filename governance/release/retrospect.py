"""From the log alone: who held an alias when, the history of a model, and its decisions made again.

A decision is a pure function of the entries before it, the policies that it names and its reference
time. So anybody with the log can make it again and must get the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from typing import Any

from governance.attest.findings import finding, not_among
from governance.attest.predicates import (
    CANDIDATE,
    KINDS,
    Approval,
    Call,
    Drill,
    Erased,
    Erasure,
    Failure,
    Finding,
    GateDecision,
    Generation,
    Packet,
    Predicate,
    Promotion,
    Read,
    Refusal,
    Registration,
    RolloutReaction,
    RolloutStep,
    Signed,
)
from governance.attest.requests import (
    Decision,
    asked_of_gate,
    asked_of_generation,
    asked_of_move,
)
from governance.base.errors import CountersignError, InputError, VerificationError
from governance.base.model import Json, Model
from governance.base.time import instant_of
from governance.gates.decisions import decide_gate, decide_generation
from governance.history import erasures
from governance.history.chain import Chain
from governance.history.rollouts import percent
from governance.history.state import LogState
from governance.log.evidence import Evidence
from governance.log.rules import HOLDS_REQUEST, STATES_WAIVED
from governance.log.views import made_at
from governance.release import drills
from governance.release.promotion import ask, decide

NOT_COUNTED = "DOES NOT COUNT: its signer had no right to say this at that entry"
_EVENTS = {
    "registration": ("registration", "", "sha256 {it.model_digest:.12}, stage {it.stage}"),
    "packet": ("packet", "{findings} finding(s)", "packet {subject:.12}"),
    "approval": ("{it.decision} {it.about} {subject:.12}", "as {it.role}", "{it.reason}"),
    "waiver": ("waiver of {it.finding} {it.about}", "until {it.expires}", "{it.reason}"),
    "request": ("request to {it.action} {it.alias}", "open until {it.expires}", "{it.reason}"),
    "failure": ("{it.stage} stopped", "published nothing", "{it.findings[0].code}"),
    "promotion": ("{it.action} {it.alias}", "{result}", "{detail}"),
    "incident": ("incident {it.state}", "", "{it.reason}"),
    "intervention": ("{it.event} in operation", "", "{it.what}: {it.reason}"),
    "periodic_review": ("periodic review", "", "{it.reason}"),
    "rollout": ("{it.mode} rollout asked for", "from version {it.from_version}", "{it.reason}"),
    "rollout_step": ("rollout step {it.number}: {it.action}", "{share}", "{it.reason}"),
    "rollout_reaction": ("rollout step {it.number}: {it.action}", "{share}", ""),
    "erasure": ("erasure {it.reference}", "deadline {it.deadline}", "{it.reason}"),
    "erased": ("erased {it.reference}", "", "{it.reason}"),
    "refusal": ("{it.operation}", "refused by rule", "{it.reason}"),
    "read": ("read of {read}", "by {it.command}", "{it.purpose}"),
    "call": ("{called}", "accepted by rule", "{detail}"),
    "drill": ("drill of {it.alias}", "", "{detail}"),
    "report": ("report signed", "{it.verdict}", "page {it.page:.12}, of {it.entries} entries"),
}
"""The kinds of statements in a model's history: what happened, its result, and details."""


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
    """Who signed the request; where nobody did, the account that called, or the move's signer."""
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
    not_reproduced: str | None = None
    """Why a move that leads to this tenure is not what the log gave at its entry; None where each
    one is, or where a bundle does not have their evidence.
    """
    rejected: str | None = None
    """Why its bytes are not served: policy owners approved another registration of the version."""
    trained_elsewhere: bool = False
    """Whether it was imported as it is: how it was trained is declared, and self-attested."""
    against_scorers: list[str] = []
    """What stands now against the reward models that it was trained with and the models that made
    its data, and who withdrew a parent; in words.
    """
    erased: list[str] = []
    """Cases of erased records that it has seen, and by when it is retrained or retired; in words.
    """
    next_review: str | None = None
    """The last day on which its periodic review is in time; None where policy sets none."""
    review_overdue: str | None = None
    """What follows where the review is overdue, in words; None where it is not."""


class Event(Model):
    """One entry of a model's history."""

    entry: int
    at: str
    what: str
    version: str
    by: str
    result: str
    detail: str = ""
    counts: bool = True
    """Whether its signer had the right to say this at that entry. What does not count changes
    nothing.
    """


class Difference(Model):
    """A finding that only one of two decisions has."""

    finding: Finding
    waived: bool
    logged: bool
    """Whether the logged decision has it; otherwise the new one has it."""


class Repeat(StrEnum):
    """The result of making a decision again."""

    SAME = "same"
    DIFFERENT = "different"
    NO_REQUEST = "no request"


class Again(Model):
    """A decision made again."""

    entry: int
    about: str
    at: str
    """The reference time, then as now."""
    policy: str
    allowed: bool
    """As logged."""
    allowed_now: bool
    findings: list[Finding]
    """The findings now."""
    waived: list[Finding]
    same: bool
    differences: list[Difference]


def live(now: LogState, model: str, at: datetime, *, known_then: bool = False) -> list[Live]:
    """The versions that hold an alias of a model at a moment. `known_then`: only from entries known
    then. Raises `InputError` for a model that the log does not have.
    """
    now.must_know(model)
    now = now.as_of(at) if known_then else now
    return [_live(now, tenure.given, at) for tenure in now.timeline.held(model, at)]


def history(now: LogState, model: str) -> list[Event]:
    """What happened to a model's versions, in log order: the kinds of `_EVENTS`.

    Raises `InputError` for a model that the log does not have.
    """
    now.must_know(model)
    packets = (
        statement for statement in now.evidence.all(Packet) if statement.predicate.model == model
    )
    requests = now.timeline.requests.items()
    subjects = {statement.subjects[0].sha256 for statement in packets}
    subjects |= {digest for digest, statement in requests if statement.predicate.model == model}
    subjects |= _rests_on(now, model)
    subjects |= {
        each.digest for each in now.evidence.all(Erasure) if _concerns(each, model, subjects)
    }
    events = [
        _event(now, statement)
        for kind in _EVENTS
        for statement in now.evidence.all(kind)
        if _concerns(statement, model, subjects)
    ]
    return sorted(events, key=lambda event: event.entry)


def decided_again(now: LogState, entry: int) -> Again:
    """Makes one logged decision again. Raises `InputError` if the entry is no decision or does not
    hold its request.
    """
    if not 0 <= entry < now.size:
        raise InputError(f"the log has no entry {entry}", expected=f"0 to {now.size - 1}")
    kinds = (Promotion, GateDecision, Generation)
    decisions = [statement for kind in kinds for statement in now.view.all(kind)]
    decision = next((statement for statement in decisions if statement.index == entry), None)
    if decision is None:
        raise InputError(
            f"entry {entry} is no decision that counts, it is filed as {now.log.entry(entry).kind}",
            fix="countersign history MODEL lists the decisions",
        )
    return _again(now, decision, now.before(entry))


def made_again(now: LogState, statement: Evidence[Promotion]) -> Repeat:
    """Makes a decision on an alias again. Raises `VerificationError` if a governed alias moved and
    should not have, or a move does not hold what was asked.
    """
    promotion, where = statement.predicate, f"entry {statement.index}, promotion"
    moved = promotion.alias != CANDIDATE and promotion.allowed
    must_ask = promotion.allowed and now.authority.rules_at(statement.index) >= HOLDS_REQUEST
    if promotion.asked is None and not (moved or must_ask):
        return Repeat.NO_REQUEST
    if promotion.asked is None:
        raise VerificationError("it does not hold what was asked", where=where)
    before = now.before(statement.index)
    again = _again(now, statement, before)
    if moved:
        _check_move(before, statement, again, where)
    return Repeat.SAME if again.same else Repeat.DIFFERENT


def _check_move(before: LogState, statement: Evidence[Promotion], again: Again, where: str) -> None:
    """Raises `VerificationError` if the log did not allow this move of a governed alias."""
    promotion = statement.predicate
    if statement.development:
        found = "a development key signed it, which is good for `candidate` only"
        raise VerificationError(found, where=where)
    if again.findings:
        codes = ", ".join(dict.fromkeys(finding.code for finding in again.findings))
        found = f"it allows what the rules in force did not allow: {codes}"
        raise VerificationError(found, where=where)
    if not again.same and before.authority.rules >= STATES_WAIVED:
        codes = ", ".join(dict.fromkeys(each.finding.code for each in again.differences))
        found = f"it states other findings or waived findings than the log gave: {codes}"
        raise VerificationError(found, where=where)
    asked = ask(before, promotion.action, promotion.model, promotion.version, promotion.alias)
    recorded = (promotion.model_digest, promotion.request, promotion.packet, promotion.from_version)
    derived = (asked.released.sha256, asked.request, asked.packet, asked.from_version)
    same_policy = promotion.policy == before.authority.in_force.digest
    if promotion.asked != asked.model_dump(mode="json") or recorded != derived or not same_policy:
        raise VerificationError(
            "it answers another question than the log asked at that entry", where=where
        )


def forged(now: LogState) -> list[Finding]:
    """A finding for every allowed move of an alias that is not what the entries before it gave."""
    findings = []
    for statement in now.view.all(Promotion):
        promotion = statement.predicate
        error = fault(now, statement) if promotion.allowed else None
        if error is not None:
            about = f"entry {statement.index}, {promotion.model}@{promotion.alias}"
            expected = error.expected or "a decision that comes out the same"
            fields = {"expected": expected, "found": error.found}
            findings.append(finding("DECISION_NOT_REPRODUCED", about, error.found, **fields))
    return findings


def rejected(now: LogState) -> list[Finding]:
    """A finding for every alias that was given to bytes of which policy owners say by now that they
    are not the version's.
    """
    found = (_rejected(now, tenure.given) for tenure in now.timeline.holders.values())
    return [each for each in found if each is not None]


def _rejected(now: LogState, given: Evidence[Promotion]) -> Finding | None:
    move = given.predicate
    standing = now.timeline.settled_otherwise(move)
    if standing is None:
        return None
    about = f"{move.model}@{move.alias}"
    found = f"{about} was given to other bytes than policy owners approved for the version"
    fields = {
        "expected": f"sha256 {standing.predicate.model_digest} (entry {standing.index})",
        "found": f"sha256 {move.model_digest} (entry {given.index})",
        "next": f"countersign rollback {move.model}, or promote {move.version} again",
    }
    return finding("REGISTERED_TWICE", about, found, **fields)


def check_settled(now: LogState, given: Evidence[Promotion]) -> None:
    """Raises `VerificationError` where a move gave an alias to bytes that policy owners rejected
    since.
    """
    found = _rejected(now, given)
    if found is not None:
        raise VerificationError(
            f"REGISTERED_TWICE: {found.message}",
            where=found.found,
            expected=found.expected,
            fix=found.next,
        )


def fault(now: LogState, statement: Evidence[Promotion]) -> CountersignError | None:
    """Why an allowed move of an alias is not what the entries before it gave; None where it is."""
    try:
        if statement.predicate.alias == CANDIDATE:
            _check_candidate(now, statement)
        else:
            made_again(now, statement)
    except CountersignError as error:
        return error
    return None


def leading(now: LogState, move: Evidence[Promotion]) -> Iterator[Evidence[Promotion]]:
    """The moves by which a version holds an alias, latest first. A promotion was decided against
    the version that held the alias before. A rollback goes back to an earlier promotion. What a
    rollback undid is not among them.
    """
    ended = {
        (tenure.ended.index, tenure.alias): tenure.given
        for tenure in now.timeline.tenures
        if tenure.ended is not None
    }
    given: Evidence[Promotion] | None = move
    while given is not None:
        yield given
        predicate = given.predicate
        if predicate.action == "rollback":
            timeline = now.before(given.index).timeline
            earlier = timeline.released_before(predicate.model, predicate.alias, None)
            fitting = (each for each in earlier if each.predicate.version == predicate.version)
            given = next(fitting, None)
        else:
            given = ended.get((given.index, predicate.alias))


def check_moves(now: LogState, move: Evidence[Promotion]) -> None:
    """Repeats every decision that leads to a tenure. Raises `VerificationError` for the first that
    is not what the log gave. A bundle that lacks entries of the log cannot repeat them all: it is
    verified by `governance.bundle.check`.
    """
    if not getattr(now.log, "complete", True):
        return
    for statement in leading(now, move):
        error = fault(now, statement)
        if error is not None:
            promotion = statement.predicate
            where = f"entry {statement.index}, {promotion.action} {promotion.alias}"
            raise VerificationError(
                f"FORGED MOVE: {promotion.model}/{promotion.version} holds {promotion.alias} by a"
                f" decision that the log does not give: {error.found}",
                where=where,
                expected=error.expected,
                fix=f"do not use this version; countersign explain {statement.index}",
            )


def _check_candidate(now: LogState, statement: Evidence[Promotion]) -> None:
    """Raises `VerificationError` if the log did not allow this move of `candidate`. Decisions under
    the first rules do not hold enough to repeat them.
    """
    if now.authority.rules_at(statement.index) < HOLDS_REQUEST:
        return
    promotion, where = statement.predicate, f"entry {statement.index}, promotion"
    before = now.before(statement.index)
    registered = before.timeline.registrations.get((promotion.model, promotion.version))
    if registered is None or registered.predicate.model_digest != promotion.model_digest:
        found = f"no registration of {promotion.model}/{promotion.version} with these bytes"
        raise VerificationError(f"{found} is before it", where=where)
    if promotion.asked is None:
        raise VerificationError("it does not hold what was asked", where=where)
    request = asked_of_move(promotion)
    asked = (request.model, request.alias, request.released.sha256)
    if asked != (promotion.model, CANDIDATE, promotion.model_digest):
        raise VerificationError("it answers another question than it was asked", where=where)
    again = _again(now, statement, before)
    if not again.allowed_now:
        codes = ", ".join(dict.fromkeys(finding.code for finding in again.findings))
        found = f"it allows what the rules in force did not allow: {codes}"
        raise VerificationError(found, where=where)


def open_incident(now: LogState, digest: str) -> str | None:
    """The latest open incident on these bytes, in words; None without one."""
    incidents = [incident.predicate for incident in now.timeline.open_incidents(digest)]
    if not incidents:
        return None
    return f"{incidents[-1].reason} (since {incidents[-1].at}, by {incidents[-1].principal})"


def last_decision(now: LogState, model: str, version: str) -> int:
    """The entry of the last decision on a version. Raises `InputError` if there is none."""
    entries = {
        (decision.predicate.model, decision.predicate.version): decision.index
        for decision in now.view.all(Promotion)
    }
    if (model, version) not in entries:
        found = f"nothing was decided about {model}/{version}"
        raise InputError(found, fix=f"countersign history {model}")
    return entries[model, version]


def waiting(now: LogState, at: datetime) -> list[dict[str, Json]]:
    """The requests that can be carried out now."""
    terms = {"action", "model", "version", "alias", "expires"}
    return [
        {
            "entry": statement.index,
            "request": statement.digest,
            "by": statement.predicate.principal,
            **statement.predicate.model_dump(include=terms),
        }
        for statement in now.timeline.pending_requests(at)
    ]


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
        asked_by=now.timeline.requested_by(statement),
        incident=open_incident(now, move.model_digest),
        expired=list(_expired_waivers(now, move, at)),
        second_signature_overdue=move.second_signature_by if late else None,
        back_tried=_tried(now, move, drill),
        back_failed=drill is not None and not drill.predicate.passed,
        not_reproduced=_refused(lambda: check_moves(now, statement)),
        rejected=_refused(lambda: check_settled(now, statement)),
        trained_elsewhere=_is_imported(now, move),
        against_scorers=list(_against_scorers(now, move, at)),
        erased=list(_erased(now, statement, at)),
        **_review(now, move, at),
    )


def _review(now: LogState, move: Promotion, at: datetime) -> dict[str, str | None]:
    """By when the version is reviewed again, and whether that is over."""
    for review in now.timeline.reviews(at) if move.alias != CANDIDATE else ():
        if (review.model, review.version) == (move.model, move.version):
            late = f"due on {review.due}{review.lateness}" if review.lateness else None
            return {"next_review": str(review.due), "review_overdue": late}
    return {}


def _erased(now: LogState, statement: Evidence[Promotion], at: datetime) -> Iterator[str]:
    for one in erasures.open_decisions(now.timeline):
        if one.tenure.given.index == statement.index:
            asked, late = one.erasure.predicate, "; OVERDUE" if one.is_overdue(at) else ""
            yield f"it has seen records of case {asked.reference}, until {asked.deadline}{late}"


def _is_imported(now: LogState, move: Promotion) -> bool:
    registered = now.timeline.registrations.get((move.model, move.version))
    return registered is not None and registered.predicate.trained_elsewhere


def _against_scorers(now: LogState, move: Promotion, at: datetime) -> Iterator[str]:
    """The findings about each model that scored a stage of the chain or made its data, and that a
    parent was withdrawn, where the gate of the stage is decided again under the policies in force;
    where nobody signs policies, under the last recorded ones.
    """
    registered = now.timeline.registrations.get((move.model, move.version))
    policies = now.authority.in_force.policies
    is_governed = policies is not None and bool(policies.rules.aliases)
    with suppress(CountersignError):
        policies = policies if is_governed else now.authority.recorded_at(now.size)
    if registered is None or policies is None:
        return
    chain = Chain.registered(now.view, registered.predicate)
    makers = {maker.name for maker in chain.makers}
    for node in chain.trained:
        request = chain.requests.get(node.sha256)
        if request is None:
            continue
        decision = decide_gate(
            request.model_copy(update={"model": move.model, "also": []}),
            policies, now.evidence, at,
            authority=now.authority, governed=is_governed, before=node.train,
        )  # fmt: skip
        scorers = makers | ({request.scorer.name} if request.scorer else set())
        about = {f"model {name}" for name in scorers}
        for found in decision.findings:
            if found.subject in about or found.code == "PARENT_WITHDRAWN":
                yield f"{found.code} {found.subject}: {found.message}"


def _refused(check: Callable[[], None]) -> str | None:
    try:
        check()
    except VerificationError as error:
        return f"{error.found} ({error.where})"
    return None


def _expired_waivers(now: LogState, move: Promotion, at: datetime) -> Iterator[str]:
    """The waived findings of a release whose waivers have all expired, in words."""
    for waived in move.waived:
        ends = now.timeline.waived_until(move.model, waived, at)
        if ends is None or ends <= at:
            when = f"ended {ends:%Y-%m-%dT%H:%M:%SZ}" if ends else "is not in the log"
            yield f"the waiver of {waived.code} {waived.subject} {when}"


def _tried(now: LogState, move: Promotion, drill: Evidence[Drill] | None) -> str:
    if move.alias == CANDIDATE:
        return "not needed: candidate serves nobody"
    before = now.timeline.released_before(move.model, move.alias, move.version)
    return drills.summary(drill, before[0].predicate.version if before else None)


def _concerns(statement: Evidence, model: str, subjects: set[str]) -> bool:
    predicate = statement.predicate
    if isinstance(predicate, Failure):
        return predicate.stage in subjects
    if isinstance(predicate, Read):
        names = {f"{one.role} {one.name}" for one in statement.subjects}
        return bool(names & (subjects | {f"model {model}"}))
    if isinstance(predicate, Erasure):
        return any(each.name.startswith(f"{model}/") for each in statement.subjects)
    if isinstance(predicate, Approval | Erased):
        return bool(subjects & {subject.sha256 for subject in statement.subjects})
    return bool(predicate.model == model)


def _rests_on(now: LogState, model: str) -> set[str]:
    """The stages and the datasets (`dataset desk_sft`) that the model's versions rest on."""
    registered = {
        (one.predicate.model_digest, one.predicate.stage): one.predicate
        for one in now.view.all(Registration)
        if one.predicate.model == model
    }
    names = set()
    for registration in registered.values():
        chain = Chain.registered(now.view, registration)
        names |= {f"dataset {data.dataset}" for data, _ in chain.datasets}
        names |= {
            statement.predicate.stage
            for statement in chain.statements()
            if isinstance(statement.predicate, Predicate)
        }
    return names


def _event(now: LogState, statement: Evidence) -> Event:
    predicate: Any = statement.predicate
    subject = statement.subjects[0].sha256
    named = ", ".join(dict.fromkeys(f"{one.role} {one.name}" for one in statement.subjects))
    share = percent(getattr(predicate, "weight", 0))
    fields = {"it": predicate, "subject": subject, "read": named, "share": share}
    fields |= _derived(statement)
    what, result, detail = (text.format_map(fields) for text in _EVENTS[statement.kind])
    counts = _counts(now, statement)
    if not counts:
        result = NOT_COUNTED
    return Event(
        entry=statement.index,
        at=made_at(statement),
        what=what,
        version=getattr(predicate, "version", "") or getattr(predicate, "to_version", "") or "",
        by=_author(now, statement),
        result=result,
        detail=detail,
        counts=counts,
    )


def _counts(now: LogState, statement: Evidence) -> bool:
    """Whether an entry counts, as the readers of its kind judge it. What the server states of calls
    counts if its key may move aliases.
    """
    rights, predicate = now.authority, statement.predicate
    if isinstance(predicate, Call | Refusal):
        return rights.may_sign("promotion", statement.keyid, statement.development, statement.index)
    if isinstance(predicate, RolloutStep | RolloutReaction):
        counted = (step for rollout in now.timeline.rollouts.values() for step in rollout.steps)
        return any(step.index == statement.index for step in counted)
    if isinstance(predicate, Signed | Read) or KINDS[statement.kind].granted:
        return rights.counts(statement)
    return rights.admits(statement)


def _author(now: LogState, statement: Evidence) -> str:
    """Who signed it, as authenticated: a name within a statement is a claim. The server signs what
    an account called, and authenticated that account.
    """
    predicate = statement.predicate
    if isinstance(predicate, Promotion):
        return now.timeline.requested_by(statement)
    if isinstance(predicate, Call | Refusal):
        return f"account {predicate.caller}"
    if isinstance(predicate, Read) and predicate.account:
        return f"account {predicate.account}"
    return now.authority.signer(statement)


def _derived(statement: Evidence) -> dict[str, str]:
    """What the texts of some kinds need and no field has."""
    match statement.predicate:
        case Packet() as packet:
            return {"findings": str(len(packet.findings))}
        case Drill():
            return {"detail": drills.summary(statement, None)}
        case Call(alias=None) as call:
            return {"called": call.operation, "detail": ""}
        case Call() as call:
            moved = f"set {call.alias}" if call.version else f"take {call.alias} away"
            return {"called": moved, "detail": f"from version {call.from_version or 'none'}"}
        case Promotion() as move:
            detail = ", ".join(dict.fromkeys(finding.code for finding in move.findings))
            if move.allowed and move.action != "retire":
                detail = f"from version {move.from_version or 'none'}"
            return {"result": "allowed" if move.allowed else "refused", "detail": detail}
    return {}


def _again(now: LogState, statement: Evidence, before: LogState) -> Again:
    logged = statement.predicate
    if isinstance(logged, GateDecision | Generation):
        about = logged.stage
    else:
        about = f"{logged.model}/{logged.version} as {logged.alias} ({logged.action})"
    decision = _decide(now, statement, before)
    differences = [
        *_differences(logged.findings, list(decision.findings), waived=False),
        *_differences(logged.waived, list(decision.waived), waived=True),
    ]
    return Again(
        entry=statement.index,
        about=about,
        at=logged.at,
        policy=logged.policy,
        allowed=logged.allowed,
        allowed_now=decision.allowed,
        findings=list(decision.findings),
        waived=list(decision.waived),
        same=not differences and logged.allowed == decision.allowed,
        differences=differences,
    )


def _decide(now: LogState, statement: Evidence, before: LogState) -> Decision:
    """The decision from the entries before it. A gate, a generation and `candidate` are decided
    under the policies that they name.
    """
    logged, at = statement.predicate, instant_of(statement.predicate.at)
    if isinstance(logged, GateDecision):
        policies = now.authority.recorded_at(statement.index, logged.policy)
        gate_request = asked_of_gate(logged)
        return decide_gate(gate_request, policies, before.evidence, at, authority=before.authority)
    if isinstance(logged, Generation):
        policies = now.authority.recorded_at(statement.index, logged.policy)
        asked = asked_of_generation(logged)
        return decide_generation(asked, policies, before.evidence, at, authority=before.authority)
    if logged.asked is None:
        raise InputError(
            f"entry {statement.index} does not say what was asked, so it cannot be decided again",
            fix="decisions recorded before 0.2 are of this kind",
        )
    request = asked_of_move(logged)
    if logged.alias != CANDIDATE:
        return decide(before, request, at)
    policies = now.authority.recorded_at(statement.index, logged.policy)
    return decide(before, request, at, policies=policies)


def _differences(
    logged: list[Finding], findings: list[Finding], *, waived: bool
) -> Iterator[Difference]:
    for missing in not_among(logged, findings):
        yield Difference(finding=missing, waived=waived, logged=True)
    for added in not_among(findings, logged):
        yield Difference(finding=added, waived=waived, logged=False)
