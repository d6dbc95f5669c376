"""The decision record: every decision and every signed statement of a person about the version.

1. The order is that of the log, but a registration comes before the decisions it made possible.
2. Earlier rejections, refusals and failed gates of the same candidate are listed.
3. People's reasons are in fields of their own, separate from computed text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from governance.attest.predicates import (
    CANDIDATE,
    Approval,
    Call,
    Failure,
    Finding,
    GateDecision,
    Predicate,
    PromotionRequest,
)
from governance.history import reviews
from governance.log.evidence import Evidence
from governance.report.facts import PREFIX, Facts
from governance.report.model.record import Answer, Decision, SignedRow
from governance.report.people import name_of
from governance.report.standing import Standing
from governance.report.verdict import decided_by

FUNCTION = "the automatic checks"


def decisions(facts: Facts) -> list[Decision]:
    """Every decision about the version or a stage it rests on, in the order of the log."""
    rows = (*_gates(facts), *_failures(facts), *_moves(facts), *_statements(facts))
    by_entry = sorted({decision.evidence[0]: decision for decision in rows}.items())
    run, own_entry = facts.registration.run, facts.registration_statement.index
    registered = Decision(
        about=facts.name,
        what="Version",
        answer="registered",
        by=name_of(facts, facts.registration_statement),
        at=run.finished,
        evidence=[own_entry],
    )
    moved = (entry for entry, decision in by_entry if decision.about == registered.about)
    place = min([*moved, own_entry])
    before = [decision for entry, decision in by_entry if entry < place]
    return [*before, registered, *(decision for entry, decision in by_entry if entry >= place)]


def signed_reports(facts: Facts) -> list[SignedRow]:
    """The reports of this version that were signed before."""
    name = (facts.registration.model, facts.registration.version)
    return [
        SignedRow(
            report=statement.predicate, by=name_of(facts, statement), evidence=[statement.index]
        )
        for statement in facts.of("report")
        if (statement.predicate.model, statement.predicate.version) == name
    ]


def _gates(facts: Facts) -> Iterator[Decision]:
    relied_on = {node.gate.index for node in facts.trained if node.gate}
    stages = {f"gate@{node.name}" for node in facts.trained}
    for statement in facts.of("gate"):
        gate: GateDecision = statement.predicate
        if gate.stage not in stages:
            continue
        aside = "" if statement.index in relied_on else " (not the decision this version rests on)"
        yield Decision(
            about=f"{gate.stage}{aside}",
            what="May it train?",
            answer="allowed" if gate.allowed else "refused",
            at=gate.at,
            tier=gate.tier,
            findings=_findings(gate.findings, gate.waived),
            evidence=[statement.index],
        )


def _failures(facts: Facts) -> Iterator[Decision]:
    """Attempts of the stages that this version rests on which stopped, and published nothing."""
    stages = {statement.predicate.stage for statement in facts.rests_on() if _is_stage(statement)}
    for statement in facts.of("failure"):
        failure: Failure = statement.predicate
        if failure.stage not in stages or not facts.now.authority.counts(statement):
            continue
        yield Decision(
            about=failure.stage,
            what="An attempt stopped and published nothing"
            + (f", at step {failure.step}" if failure.step is not None else ""),
            answer="stopped",
            by=name_of(facts, statement),
            at=failure.run.finished,
            findings=_findings(failure.findings, []),
            evidence=[statement.index],
        )


def _is_stage(statement: Evidence) -> bool:
    return isinstance(statement.predicate, Predicate)


QUESTIONS = {"promote": "May it become {}?", "rollback": "May it be {} again?", "retire": "Retire?"}


def _moves(facts: Facts) -> Iterator[Decision]:
    standing = facts.standing
    for statement in facts.promotions:
        move = statement.predicate
        by = FUNCTION
        if standing is not None and move.alias != CANDIDATE:
            by = f"{FUNCTION}; {decided_by(standing, statement)}"
        yield Decision(
            about=f"{move.model}/{move.version}",
            what=QUESTIONS[move.action].format(move.alias),
            answer="allowed" if move.allowed else "refused",
            by=by,
            at=move.at,
            tier=facts.registration.tier,
            findings=_findings(move.findings, move.waived),
            evidence=[statement.index],
        )


def _statements(facts: Facts) -> Iterator[Decision]:
    """Packets, approvals, rejections, waivers, requests, incidents, periodic reviews,
    interventions, and calls that a rule allowed.
    Calls that a rule refused are in `countersign history` only: any account can cause them.
    """
    standing, model = facts.standing, facts.registration.model
    if standing is None:
        return
    for statement in standing.packets:
        frozen = statement.predicate
        yield Decision(
            about=f"packet {_digest(statement)}",
            what="Evidence frozen for approval",
            answer="frozen",
            at=frozen.run.finished,
            findings=_findings(frozen.findings, frozen.waived),
            evidence=[statement.index],
        )
    for vote in standing.approvals:
        yield _approval(standing, vote)
    for waiver, _ in standing.waivers:
        about = f"{waiver.predicate.finding} {waiver.predicate.about}"
        yield _statement(standing, waiver, about, "Accept this finding for a while?", "waived")
    for request in standing.now.evidence.by_subject(facts.digest, PromotionRequest):
        predicate = request.predicate
        about, what = (
            f"{predicate.model}/{predicate.version}",
            f"Request: {predicate.action} {predicate.alias}",
        )
        yield _statement(standing, request, about, what, "asked")
    for opening in standing.incidents:
        incident = opening.predicate
        word: Answer = "opened" if incident.state == "open" else "closed"
        about = f"{incident.model}/{incident.version}"
        yield _statement(standing, opening, about, "Incident", word)
    yield from _in_use(standing)
    for call in standing.now.evidence.all(Call):
        if call.predicate.model == model:
            yield _by_rule(call)


def _in_use(standing: Standing) -> Iterator[Decision]:
    """Periodic reviews, and what people overrode or excepted in operation."""
    timeline, digest = standing.now.timeline, standing.registration.model_digest
    for review in reviews.counted(timeline, digest):
        about = f"{review.predicate.model}/{review.predicate.version}"
        yield _statement(standing, review, about, "May it stay in use?", "reviewed")
    for each in timeline.interventions:
        if any(subject.sha256 == digest for subject in each.subjects):
            said = each.predicate
            about = f"{said.model}/{said.version}"
            yield _statement(standing, each, about, f"In operation: {said.event}", "logged")


def _by_rule(statement: Evidence[Call]) -> Decision:
    """A call on the model that a rule allowed."""
    call = statement.predicate
    alias = f" {call.alias}" if call.alias else ""
    return Decision(
        about=f"{call.model}/{call.version}" if call.version else call.model,
        what=f"{call.operation}{alias}, called by {call.caller}",
        answer="allowed",
        by="a rule; no decision is required",
        at=call.run.finished,
        findings=[],
        evidence=[statement.index],
    )


APPROVED = {
    "packet": "Approve this version?",
    "policy": "Approve these policies?",
    "data": "Approve this dataset?",
    "objective": "Approve this training objective?",
    "reward": "Approve this reward function?",
    "checkpoint_key": "Approve this checkpoint key?",
    "promotion": "Sign this request too?",
}


def _approval(standing: Standing, statement: Evidence[Approval]) -> Decision:
    vote = statement.predicate
    about = f"{vote.about} {_digest(statement)}"
    word: Answer = "approved" if vote.decision == "approve" else "rejected"
    counted = {set_aside.index for _, _, set_aside in standing.votes[0]}
    why = [
        set_aside.why
        for set_aside in standing.votes[1]
        if set_aside.statement.index == statement.index
    ]
    refused = [f"does not count: {why[0]}"] if why and statement.index not in counted else []
    what = APPROVED[vote.about]
    return _statement(standing, statement, about, what, word, vote.page, refused)


def _digest(statement: Evidence) -> str:
    return statement.subjects[0].sha256[:PREFIX]


def _statement(
    standing: Standing,
    statement: Evidence,
    about: str,
    what: str,
    answer: Answer,
    shown: str | None = None,
    refused: Sequence[str] = (),
) -> Decision:
    signed: Any = statement.predicate
    problems = list(refused)
    if standing.now.authority.speaker(statement) is None:
        problems.insert(0, "the key was not theirs at that entry, or the role")
    return Decision(
        about=about,
        what=what,
        answer="does not count" if problems else answer,
        by=f"{signed.principal} as {signed.role}",
        words=signed.reason or None,
        shown=shown,
        at=signed.at,
        findings=problems,
        evidence=[statement.index],
    )


def _findings(findings: list[Finding], waived: list[Finding]) -> list[str]:
    in_force = [f"{finding.code} {finding.subject}: {finding.message}" for finding in findings]
    return in_force + [f"waived: {finding.code} {finding.subject}" for finding in waived]
