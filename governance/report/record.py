"""The decision record: every decision and every word of a person about the version, in the order of
the log.

Earlier rejections, refusals and failed gates of the same candidate are listed, not hidden. What a
person says in their own words stands apart from what was computed.
"""

from __future__ import annotations

from collections.abc import Iterator
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

FUNCTION = "the decision function"


def decisions(facts: Facts) -> list[Decision]:
    """Every decision about the version or a stage it rests on, and what people said, in the order
    of the log.
    """
    found = {one.evidence[0]: one for one in (*_gates(facts), *_moves(facts), *_said(facts))}
    return [one for _, one in sorted(found.items())]


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
        role=said.role or "none",
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
            what="may it train?",
            answer="allowed" if gate.allowed else "refused",
            at=gate.at,
            tier=gate.tier,
            findings=_told(gate.findings, gate.waived),
        )


def _moves(facts: Facts) -> Iterator[Decision]:
    tier = facts.registration.tier
    for item in facts.promotions:
        said = promoted(item)
        what = {
            "promote": "may it be called",
            "rollback": "may it be given back",
            "retire": "may it be retired from",
        }
        on_word = facts.standing is not None and said.alias != CANDIDATE
        yield _decision(
            item,
            about=f"{said.model}/{said.version}",
            what=f"{what[said.action]} {said.alias}?",
            answer="allowed" if said.allowed else "refused",
            by=(
                f"{FUNCTION}; {decided_by(facts.standing, item)}"
                if on_word and facts.standing
                else FUNCTION
            ),
            at=said.at,
            tier=tier,
            findings=_told(said.findings, said.waived),
        )


def _said(facts: Facts) -> Iterator[Decision]:
    """What people said: approvals, rejections, waivers, requests, incidents; what rules refused or
    let through.
    """
    standing, model = facts.standing, facts.registration.model
    if standing is None:
        return
    for item in standing.packets:
        about = f"packet {item.subjects[0].sha256[:PREFIX]}"
        found = _told(item.predicate.findings, item.predicate.waived)
        yield _decision(
            item,
            about,
            "what is there to approve?",
            "frozen",
            item.predicate.run.finished,
            "none",
            found,
        )
    for vote in said_of(standing.now, standing):
        yield _approval(standing, vote)
    for waiver, _ in standing.waivers:
        about = f"{waiver.predicate.finding} {waiver.predicate.about}"
        yield _statement(standing, waiver, about, "may this be accepted for a while?", "waived")
    for request in standing.now.evidence.by_subject(facts.digest, PromotionRequest):
        wish = request.predicate
        about, what = f"{wish.model}/{wish.version}", f"{wish.action} {wish.alias}, please"
        yield _statement(standing, request, about, what, "asked")
    for incident in standing.incidents:
        said = incident.predicate
        word: Answer = "opened" if said.state == "open" else "closed"
        yield _statement(standing, incident, f"{said.model}/{said.version}", "incident", word)
    for kind in ("refusal", "call"):
        yield from (
            _by_rule(one) for one in standing.now.evidence.all(kind) if one.predicate.model == model
        )


def _by_rule(item: Evidence) -> Decision:
    """A call on the model that a rule refused or let through."""
    said: Refusal | Call = item.predicate
    alias = f" {said.alias}" if isinstance(said, Call) and said.alias else ""
    what, at = f"{said.operation}{alias}, called by {said.caller}", said.run.finished
    if isinstance(said, Refusal):
        return _decision(
            item,
            said.model,
            what,
            "refused",
            at,
            "none",
            [said.reason],
            by="a rule, before any decision",
        )
    about = f"{said.model}/{said.version}" if said.version else said.model
    return _decision(
        item, about, what, "allowed", at, "none", [], by="a rule, no decision being wanted"
    )


def _approval(standing: Standing, item: Evidence) -> Decision:
    said = approval(item)
    about = f"{said.about} {item.subjects[0].sha256[:PREFIX]}"
    word: Answer = "approved" if said.decision == "approve" else "rejected"
    why = {one.person: one.why for one in standing.votes[1]}.get(said.principal)
    counted = {one.index for _, _, one in standing.votes[0]}
    of_packet = said.about == "packet" and item.subjects[0].sha256 == standing.asked.packet
    refused = [f"does not count: {why}"] if why and of_packet and item.index not in counted else []
    return _statement(standing, item, about, "shall it be so?", word, said.page or "none", refused)


def _statement(
    standing: Standing, item: Evidence, about: str, what: str, answer: Answer, shown: str = "none",
    findings: list[str] | None = None,
) -> Decision:  # fmt: skip
    said: Any = item.predicate
    speaks = standing.now.authority.speaker(item) is not None
    wrong = [] if speaks else ["the key was not theirs at that entry, or the role"]
    return _decision(
        item,
        about,
        what,
        "does not count" if wrong or findings else answer,
        said.at,
        "none",
        [*wrong, *(findings or [])],
        by=f"{said.principal} as {said.role}",
        words=said.reason,
        shown=shown,
    )


def _decision(
    item: Evidence, about: str, what: str, answer: Answer, at: str, tier: str, findings: list[str],
    by: str = FUNCTION, words: str = "none", shown: str = "none",
) -> Decision:  # fmt: skip
    return Decision(
        about=about,
        what=what,
        answer=answer,
        by=by,
        words=words or "none",
        shown=shown,
        at=at,
        tier=tier,
        findings=findings,
        evidence=[item.index],
    )


def _told(findings: list[Finding], waived: list[Finding]) -> list[str]:
    standing = [f"{one.code} {one.subject}: {one.message}" for one in findings]
    return standing + [f"waived: {one.code} {one.subject}" for one in waived]
