"""Page one's people: who trained, evaluated, validated, approved and deployed, and whether
different people did.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from governance.attest.predicates import Approval, Evaluate
from governance.base.text import moment
from governance.base.time import instant_of
from governance.history.votes import SetAside
from governance.log.evidence import Evidence
from governance.report import assurance
from governance.report.facts import PREFIX, Facts, at, run_of
from governance.report.model.front import Person, Separation
from governance.report.model.parts import Reason
from governance.report.reasons import Say, reason, text_of
from governance.report.standing import Standing

EVIDENCE_SHOWN = 6


def people(facts: Facts) -> list[Person]:
    """Who did what, as far as signatures show it."""
    evaluations, standing = _evaluations(facts), facts.standing
    missing = Person(did="approved", state="not done", who=f"not done; {needed(facts)}")
    validation = "not done: no independent validation is recorded"
    return [
        _run_row(facts, "trained", facts.trainings, assurance.of_trainings(facts)),
        _run_row(facts, "evaluated", evaluations, assurance.of_scores(facts, evaluations)),
        Person(did="validated", state="not done", who=validation),
        *((_vote_rows(standing) if standing else []) or [missing]),
        _deployment_row(standing),
    ]


def needed(facts: Facts) -> str:
    """The approvals that policy requires, as text."""
    if facts.tier is None:
        return facts.policies_note or "needs: a tier in policies/policy.yaml"
    if not facts.tier.approvals:
        return "needs: nobody"
    return f"needs: approval by {facts.tier.approvals} people in different roles"


def name_of(facts: Facts, statement: Evidence) -> str:
    """The name of the key's owner, by the policies in force at that entry."""
    principal = facts.now.authority.principal(statement.keyid, statement.index)
    if principal:
        return principal.name
    return "development key" if statement.development else "a key policies name"


def not_counted(standing: Standing) -> list[tuple[SetAside, str]]:
    """Votes on the packet that do not count, each with the reason. A revoked key is the first
    reason.
    """
    votes = []
    for vote in standing.votes[1]:
        ended = standing.now.authority.revoked.get(vote.statement.keyid)
        before = ended is not None and ended < vote.statement.index
        votes.append((vote, f"the key was revoked before, in E{ended}" if before else vote.why))
    return votes


# -- Separation of duties --------------------------------------------------------------------------
def separation(facts: Facts) -> Separation:
    """Separation of duties. It is broken where somebody approves their own work or request, even
    without effect.
    """
    standing = facts.standing
    if standing is None:
        return _separation("not shown", reason(Say.DUTIES_NOT_SHOWN))
    authors, votes = _authors(facts, standing), [vote.predicate for vote in _votes(standing)]
    approving = {vote.principal for vote in votes if vote.decision == "approve"}
    own = sorted(approving & authors.keys())
    if own:
        acts = [f"{name} {authors[name]} and approves it" for name in own]
        counted = {name for name, _, _ in standing.approvers}
        code = Say.DUTIES_BROKEN if set(own) & counted else Say.DUTIES_BROKEN_UNCOUNTED
        return _separation("broken", reason(code, acts=acts), own=own)
    if not standing.approvers:
        return _separation("not shown", reason(Say.DUTIES_NOT_SHOWN))
    reasons = [reason(Say.DUTIES_HOLD)]
    both = sorted(_requesters(facts.trainings) & _requesters(_evaluations(facts)))
    if both and facts.tier and facts.tier.separate_evaluator:
        reasons.append(reason(Say.DUTIES_SHARED, people=both))
    elif both:
        tier = facts.registration.tier
        reasons.append(reason(Say.DUTIES_SHARED_PERMITTED, people=both, tier=tier))
    return _separation("holds", *reasons)


def _separation(
    state: Literal["holds", "broken", "not shown"], *reasons: Reason, own: Sequence[str] = ()
) -> Separation:
    listed = list(reasons)
    return Separation(state=state, own=list(own), reasons=listed, text=text_of(listed))


def _authors(facts: Facts, standing: Standing) -> dict[str, str]:
    """Name of each author to their work. Authors may not approve the version."""
    authors = dict.fromkeys(_requesters(facts.trainings), "trained it")
    for name in _requesters(_evaluations(facts)):
        authors.setdefault(name, "evaluated it")
    carried_out = standing.request_of(standing.released) if standing.released else None
    for request in [carried_out] if standing.released else standing.requests:
        if request is not None:
            authors.setdefault(request.predicate.principal, "asked for the move")
    for name, work in list(authors.items()):
        for other in standing.now.authority.also_called.get(name, ()):
            authors.setdefault(other, work)
    return authors


def _evaluations(facts: Facts) -> list[Evidence[Evaluate]]:
    pairs = ((node, suite) for node in facts.trained for suite in facts.suites)
    return list(filter(None, (facts.evaluation(node, suite) for node, suite in pairs)))


def _requesters(statements: Iterable[Evidence]) -> set[str]:
    return {run.requested_by.name for run in map(run_of, statements) if run}


def _votes(standing: Standing) -> list[Evidence[Approval]]:
    """Every vote on the packet."""
    votes = standing.now.evidence.by_subject(standing.request.packet or "", Approval)
    return [vote for vote in votes if vote.predicate.about == "packet"]


# -- Rows ------------------------------------------------------------------------------------------
def _run_row(
    facts: Facts, did: Literal["trained", "evaluated"], statements: Sequence[Evidence], assured: str
) -> Person:
    """The row of runs by services, with the people who requested them."""
    if not statements:
        return Person(did=did, state="not done", who="not recorded")
    requesters = [run.requested_by for run in map(run_of, statements) if run]
    names = {each.name + ("" if each.authenticated else " (claimed)") for each in requesters}
    services = sorted({name_of(facts, statement) for statement in statements})
    return Person(
        did=did,
        state="done",
        who=", ".join(sorted(names)),
        role=f"asked for the runs; signed by {', '.join(services)}",
        at=moment(at(statements[-1])),
        key=", ".join(sorted({statement.keyid[:PREFIX] for statement in statements})),
        assurance=assured,
        evidence=[statement.index for statement in statements][:EVIDENCE_SHOWN],
    )


def _vote_rows(standing: Standing) -> list[Person]:
    """One row for each vote, also for votes that do not count."""
    counted = {statement.index for _, _, statement in (*standing.approvers, *standing.rejections)}
    reasons = {vote.statement.index: text for vote, text in not_counted(standing)}
    rows = []
    for statement in _votes(standing):
        vote, opened = statement.predicate, statement.predicate.opened_at
        row = Person(
            did="approved" if vote.decision == "approve" else "rejected",
            state="superseded",
            who=vote.principal,
            role=vote.role,
            at=moment(vote.at),
            key=statement.keyid[:PREFIX],
            assurance="superseded by a later vote, or not needed",
            opened_at=opened or None,
            seconds=(instant_of(vote.at) - instant_of(opened)).total_seconds() if opened else None,
            evidence=[statement.index],
        )
        if statement.index in counted:
            row = row.model_copy(update={"state": "done", "assurance": "signed the page shown"})
        elif why := reasons.get(statement.index):
            why = f"DOES NOT COUNT: {why}"
            row = row.model_copy(update={"state": "not counted", "assurance": why})
        rows.append(row)
    return rows


def _deployment_row(standing: Standing | None) -> Person:
    holds = (standing.live or standing.held) if standing else []
    if standing is None or not holds:
        return Person(did="deployed", state="not done", who="not deployed")
    move, request = holds[-1].given, standing.request_of(holds[-1].given)
    signed, caller = request.predicate if request else None, move.predicate.caller or "not recorded"
    return Person(
        did="deployed",
        state="done" if standing.live else "ended",
        who=signed.principal if signed else "nobody asked",
        role=f"{signed.role}; called by {caller}" if signed else None,
        at=moment(move.predicate.at),
        key=request.keyid[:PREFIX] if request else None,
        assurance="signed request, checked against the log",
        evidence=[statement.index for statement in (move, request) if statement],
    )
