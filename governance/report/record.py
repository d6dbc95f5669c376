"""The decision record: every decision and every signed statement of a person about the version.

1. Order is that of the log, but a registration comes before the decisions it made possible.
2. Earlier rejections, refusals and failed gates of the same candidate are listed.
3. A person's own words are kept apart from what was computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from governance.attest.predicates import (
    CANDIDATE,
    Call,
    Finding,
    PromotionRequest,
    Refusal,
    SignedReport,
)
from governance.base.text import moment
from governance.history.lineage import decided, evaluated, trained
from governance.log.evidence import Evidence
from governance.report.facts import PREFIX, Facts, promoted
from governance.report.front import way_back
from governance.report.model import Answer, Decision, Record, SignedRow
from governance.report.people import name_of, needed
from governance.report.scores import own_evaluation
from governance.report.standing import Standing, approval, said_of
from governance.report.verdict import decided_by

FUNCTION = "the automatic checks"


def decisions(facts: Facts) -> list[Decision]:
    """Every decision about the version or a stage it rests on, in the order of the log."""
    rows = (*_gates(facts), *_moves(facts), *_statements(facts))
    found = sorted({one.evidence[0]: one for one in rows}.items())
    registered = _registered(facts)
    moved = (entry for entry, one in found if one.about == registered.about)
    place = min([*moved, facts.item.index])
    before = [one for entry, one in found if entry < place]
    return [*before, registered, *(one for entry, one in found if entry >= place)]


def _registered(facts: Facts) -> Decision:
    name = f"{facts.registration.model}/{facts.registration.version}"
    run = facts.registration.run
    who = run.requested_by.name
    return _decision(facts.item, name, "Version", "registered", run.finished, None, [], who)


def records(facts: Facts) -> list[Record]:
    """The records every version must have, read from the log; those that do not exist yet say
    so.
    """
    own, released = own_evaluation(facts), facts.released.train
    data = [
        chain for chain, uses in facts.datasets if any(use.startswith("train@") for use in uses)
    ]
    named = ", ".join(f"{chain.dataset} {chain.sha256[:PREFIX]}" for chain in data)
    version = (
        f"{facts.registration.model}/{facts.registration.version}, sha256 {facts.digest[:PREFIX]}"
    )
    objective = (
        f"objective {trained(released).objective[:PREFIX]}, in full below"
        if released
        else "not recorded"
    )
    scored = f"on {evaluated(own).suite_name}, in full below" if own else "not run"
    back = way_back(facts)
    rows: list[tuple[str, str, list[int]]] = [
        (
            "Dataset versions",
            named or "not recorded",
            [chain.quality.index for chain in data if chain.quality],
        ),
        ("Model version", version, [facts.item.index]),
        ("Hyperparameters", objective, [released.index] if released else []),
        ("Evaluation", scored, [own.index] if own else []),
        ("Approval owner", *_owner(facts)),
        ("Deployment date", *_deployment(facts)),
        ("Rollback path", f"{back.target}; drill: {back.drill}", back.evidence),
        ("Incidents", *_incidents(facts)),
    ]
    return [Record(name=name, value=value, evidence=refs) for name, value, refs in rows]


def signed_reports(facts: Facts) -> list[SignedRow]:
    """Reports of this version that were signed before this one was computed."""
    name = (facts.registration.model, facts.registration.version)
    found = [
        item
        for item in facts.of("report")
        if (item.predicate.model, item.predicate.version) == name
    ]
    return [_signed(facts, item) for item in found]


def _signed(facts: Facts, item: Evidence) -> SignedRow:
    said: SignedReport = item.predicate
    return SignedRow(
        page=said.page,
        twin=said.twin,
        verdict=said.verdict,
        as_of=said.as_of,
        entries=said.entries,
        generator=said.generator,
        by=name_of(facts, item),
        role=said.role,
        words=said.reason,
        at=said.run.finished,
        evidence=[item.index],
    )


def _owner(facts: Facts) -> tuple[str, list[int]]:
    votes = facts.standing.approvers if facts.standing else []
    told = ", ".join(f"{name} as {role}" for name, role, _ in votes)
    return told or needed(facts), [item.index for _, _, item in votes]


def _deployment(facts: Facts) -> tuple[str, list[int]]:
    held = facts.standing.held if facts.standing else []
    if not held:
        return "not deployed", []
    told = [
        f"{one.alias} since {moment(promoted(one.given).at)}"
        + (f", until {moment(promoted(one.ended).at)}" if one.ended else "")
        for one in held
    ]
    return "; ".join(told), [one.given.index for one in held]


def _incidents(facts: Facts) -> tuple[str, list[int]]:
    found = facts.standing.incidents if facts.standing else []
    still = len(facts.standing.open_incidents) if facts.standing else 0
    opened = sum(item.predicate.state == "open" for item in found)
    return (f"{opened} recorded, {still} open" if found else "none recorded"), [
        item.index for item in found
    ]


def _gates(facts: Facts) -> Iterator[Decision]:
    mine = {node.gate.index for node in facts.trained if node.gate}
    stages = {f"gate@{node.name}" for node in facts.trained}
    for item in facts.of("gate"):
        if decided(item).stage not in stages:
            continue
        gate = decided(item)
        aside = "" if item.index in mine else " (not the decision this version rests on)"
        yield _decision(
            item,
            about=f"{gate.stage}{aside}",
            what="May it train?",
            answer="allowed" if gate.allowed else "refused",
            at=gate.at,
            tier=gate.tier,
            findings=_findings(gate.findings, gate.waived),
        )


QUESTIONS = {"promote": "May it become {}?", "rollback": "May it be {} again?", "retire": "Retire?"}


def _moves(facts: Facts) -> Iterator[Decision]:
    standing = facts.standing
    for item in facts.promotions:
        move = promoted(item)
        by = FUNCTION
        if standing is not None and move.alias != CANDIDATE:
            by = f"{FUNCTION}; {decided_by(standing, item)}"
        yield _decision(
            item,
            f"{move.model}/{move.version}",
            QUESTIONS[move.action].format(move.alias),
            "allowed" if move.allowed else "refused",
            move.at,
            facts.registration.tier,
            _findings(move.findings, move.waived),
            by,
        )


def _statements(facts: Facts) -> Iterator[Decision]:
    """Packets, approvals, rejections, waivers, requests, incidents; calls that a rule decided."""
    standing, model = facts.standing, facts.registration.model
    if standing is None:
        return
    for item in standing.packets:
        frozen = item.predicate
        about, findings = f"packet {_digest(item)}", _findings(frozen.findings, frozen.waived)
        at = frozen.run.finished
        yield _decision(item, about, "Evidence frozen for approval", "frozen", at, None, findings)
    for vote in said_of(standing.now, standing):
        yield _approval(standing, vote)
    for waiver, _ in standing.waivers:
        about = f"{waiver.predicate.finding} {waiver.predicate.about}"
        yield _statement(standing, waiver, about, "Accept this finding for a while?", "waived")
    for request in standing.now.evidence.by_subject(facts.digest, PromotionRequest):
        asked = request.predicate
        about, what = f"{asked.model}/{asked.version}", f"Request: {asked.action} {asked.alias}"
        yield _statement(standing, request, about, what, "asked")
    for one in standing.incidents:
        incident = one.predicate
        word: Answer = "opened" if incident.state == "open" else "closed"
        about = f"{incident.model}/{incident.version}"
        yield _statement(standing, one, about, "Incident", word)
    for kind in ("refusal", "call"):
        for item in standing.now.evidence.all(kind):
            if item.predicate.model == model:
                yield _by_rule(item)


def _by_rule(item: Evidence) -> Decision:
    """A call on the model that a rule refused or let through."""
    call: Refusal | Call = item.predicate
    alias = f" {call.alias}" if isinstance(call, Call) and call.alias else ""
    what, at = f"{call.operation}{alias}, called by {call.caller}", call.run.finished
    if isinstance(call, Refusal):
        by = "a rule, before any decision"
        return _decision(item, call.model, what, "refused", at, None, [call.reason], by)
    about = f"{call.model}/{call.version}" if call.version else call.model
    by = "a rule; no decision is required"
    return _decision(item, about, what, "allowed", at, None, [], by)


APPROVED = {
    "packet": "Approve this version?",
    "policy": "Approve these policies?",
    "data": "Approve this dataset?",
    "objective": "Approve this training objective?",
    "reward": "Approve this reward function?",
    "checkpoint_key": "Approve this checkpoint key?",
    "promotion": "Sign this request too?",
}


def _approval(standing: Standing, item: Evidence) -> Decision:
    vote = approval(item)
    about = f"{vote.about} {_digest(item)}"
    word: Answer = "approved" if vote.decision == "approve" else "rejected"
    counted = {one.index for _, _, one in standing.votes[0]}
    why = [one.why for one in standing.votes[1] if one.item.index == item.index]
    refused = [f"does not count: {why[0]}"] if why and item.index not in counted else []
    what = APPROVED[vote.about]
    return _statement(standing, item, about, what, word, vote.page, refused)


def _digest(item: Evidence) -> str:
    return item.subjects[0].sha256[:PREFIX]


def _statement(
    standing: Standing,
    item: Evidence,
    about: str,
    what: str,
    answer: Answer,
    shown: str | None = None,
    refused: Sequence[str] = (),
) -> Decision:
    signed: Any = item.predicate
    wrong = list(refused)
    if standing.now.authority.speaker(item) is None:
        wrong.insert(0, "the key was not theirs at that entry, or the role")
    by = f"{signed.principal} as {signed.role}"
    made = _decision(
        item, about, what, "does not count" if wrong else answer, signed.at, None, wrong, by
    )
    return made.model_copy(update={"words": signed.reason or None, "shown": shown})


def _decision(
    item: Evidence,
    about: str,
    what: str,
    answer: Answer,
    at: str,
    tier: str | None,
    findings: list[str],
    by: str = FUNCTION,
) -> Decision:
    return Decision(
        about=about,
        what=what,
        answer=answer,
        by=by,
        words=None,
        shown=None,
        at=at,
        tier=tier,
        findings=findings,
        evidence=[item.index],
    )


def _findings(findings: list[Finding], waived: list[Finding]) -> list[str]:
    still = [f"{one.code} {one.subject}: {one.message}" for one in findings]
    return still + [f"waived: {one.code} {one.subject}" for one in waived]
