"""Page one's people: who trained, evaluated, validated, approved and deployed, and whether
different people did.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from governance.attest.predicates import Approval, Requester
from governance.base.text import moment
from governance.base.time import instant_of
from governance.history.votes import SetAside
from governance.log.evidence import Evidence
from governance.report import assurance
from governance.report.facts import PREFIX, Facts, at, promoted, run_of
from governance.report.model import Person, Reason, Separation
from governance.report.reasons import Say, reason, text_of
from governance.report.standing import Standing, approval

EVIDENCE_SHOWN = 6


def people(facts: Facts) -> list[Person]:
    """Who did what, as far as signatures show it."""
    evaluations = _evaluations(facts)
    rows = [
        _run_row("trained", _trainings(facts), facts, assurance.of_all(facts)),
        _run_row("evaluated", evaluations, facts, assurance.of_scores(facts, evaluations)),
        _row_without_person("validated", "not done: no independent validation is recorded"),
    ]
    standing = facts.standing
    votes = _vote_rows(standing) if standing else []
    rows += votes or [_row_without_person("approved", f"not done; {needed(facts)}")]
    return [
        *rows,
        _deployment_row(standing) if standing else _row_without_person("deployed", "not deployed"),
    ]


def needed(facts: Facts) -> str:
    """The approvals that policy requires, as text."""
    tier = facts.policies.tier_of(facts.registration.model) if facts.policies else None
    if tier is None:
        return facts.policies_note or "needs: a tier in policies/policy.yaml"
    if not tier.approvals:
        return "needs: nobody"
    return f"needs: approval by {tier.approvals} people in different roles"


def name_of(facts: Facts, statement: Evidence) -> str:
    """The name of the key's owner, by the policies in force at that entry."""
    principal = (
        facts.now.authority.principal(statement.keyid, statement.index) if facts.now else None
    )
    return (
        principal.name
        if principal
        else "development key"
        if statement.development
        else "a key policies name"
    )


def not_counted(standing: Standing) -> list[tuple[SetAside, str]]:
    """Votes on the packet that do not count, each with the reason. A revoked key is the first
    reason.
    """
    revoked = standing.now.authority.revoked
    votes = []
    for vote in standing.votes[1]:
        ended = revoked.get(vote.statement.keyid)
        before = ended is not None and ended < vote.statement.index
        votes.append((vote, f"the key was revoked before, in E{ended}" if before else vote.why))
    return votes


def separation(facts: Facts) -> Separation:
    """Separation of duties. It is broken where somebody approves their own work or request, even
    without effect.
    """
    if facts.standing is None:
        return _separation("not shown", [reason(Say.DUTIES_NOT_SHOWN), _shared_keys(facts)])
    standing = facts.standing
    authors = _authors(facts, standing)
    approving = {approval(vote).principal for vote in _votes(standing) if _approves(vote)}
    own = sorted(approving & authors.keys())
    if own:
        acts = [f"{name} {authors[name]} and approves it" for name in own]
        counted = {name for name, _, _ in standing.approvers}
        code = Say.DUTIES_BROKEN if set(own) & counted else Say.DUTIES_BROKEN_UNCOUNTED
        return _separation("broken", [reason(code, acts=acts)], own)
    if not standing.approvers:
        return _separation("not shown", [reason(Say.DUTIES_NOT_SHOWN)])
    return _separation("holds", [reason(Say.DUTIES_HOLD), *_shared_people(facts)])


def _separation(state: str, reasons: list[Reason], own: Sequence[str] = ()) -> Separation:
    text = text_of(reasons)
    return Separation.model_validate(
        {"state": state, "own": list(own), "reasons": reasons, "text": text}
    )


def _authors(facts: Facts, standing: Standing) -> dict[str, str]:
    """Name of each author to their work. Authors may not approve the version."""
    authors = dict.fromkeys(_requesters(_trainings(facts)), "trained it")
    for name in _requesters(_evaluations(facts)):
        authors.setdefault(name, "evaluated it")
    for request in _release_requests(standing):
        authors.setdefault(request.predicate.principal, "asked for the move")
    also_called = standing.now.authority.also_called
    for name, work in list(authors.items()):
        for other in also_called.get(name, ()):
            authors.setdefault(other, work)
    return authors


def _release_requests(standing: Standing) -> list[Evidence]:
    """The request of the release; every request for the version where it was not released."""
    if standing.released is None:
        return standing.requests
    carried_out = standing.request_of(standing.released)
    return [carried_out] if carried_out else []


def _shared_keys(facts: Facts) -> Reason:
    trained = {statement.keyid[:PREFIX] for statement in _trainings(facts)}
    evaluated = {statement.keyid[:PREFIX] for statement in _evaluations(facts)}
    same = sorted(trained & evaluated)
    return reason(Say.SAME_KEY, keys=same) if same else reason(Say.OTHER_KEYS)


def _shared_people(facts: Facts) -> list[Reason]:
    both = sorted(_requesters(_trainings(facts)) & _requesters(_evaluations(facts)))
    if not both:
        return []
    tier = facts.policies.tier_of(facts.registration.model) if facts.policies else None
    if tier and tier.separate_evaluator:
        return [reason(Say.DUTIES_SHARED, people=both)]
    return [reason(Say.DUTIES_SHARED_PERMITTED, people=both, tier=facts.registration.tier)]


def _trainings(facts: Facts) -> list[Evidence]:
    return [node.train for node in facts.trained if node.train]


def _evaluations(facts: Facts) -> list[Evidence]:
    pairs = ((node, suite) for node in facts.trained for suite in facts.suites)
    evaluations = (facts.evaluation(node, suite) for node, suite in pairs)
    return [evaluation for evaluation in evaluations if evaluation]


def _requesters(statements: Iterable[Evidence]) -> set[str]:
    return {run.requested_by.name for statement in statements if (run := run_of(statement))}


def _votes(standing: Standing) -> list[Evidence]:
    """Every vote on the packet."""
    approvals = standing.now.evidence.by_subject(standing.request.packet or "", Approval)
    return [vote for vote in approvals if approval(vote).about == "packet"]


def _approves(vote: Evidence) -> bool:
    return approval(vote).decision == "approve"


def _run_row(did: str, runs: Sequence[Evidence], facts: Facts, assured: str) -> Person:
    """The row of runs by services, with the people who requested them."""
    if not runs:
        return _row_without_person(did, "not recorded")
    requesters: list[Requester] = [
        run.requested_by for statement in runs if (run := run_of(statement))
    ]
    names = sorted(
        {
            f"{requester.name}{'' if requester.authenticated else ' (claimed)'}"
            for requester in requesters
        }
    )
    services = sorted({name_of(facts, statement) for statement in runs})
    return _person(
        did,
        "done",
        ", ".join(names),
        f"asked for the runs; signed by {', '.join(services)}",
        at(runs[-1]),
        ", ".join(sorted({statement.keyid[:PREFIX] for statement in runs})),
        assured,
        [statement.index for statement in runs][:EVIDENCE_SHOWN],
    )


def _vote_rows(standing: Standing) -> list[Person]:
    """One row for each vote, also for votes that do not count."""
    counted = {statement.index for _, _, statement in (*standing.approvers, *standing.rejections)}
    reasons = {vote.statement.index: text for vote, text in not_counted(standing)}
    return [
        _vote_row(statement, statement.index in counted, reasons.get(statement.index))
        for statement in _votes(standing)
    ]


def _vote_row(statement: Evidence, counts: bool, why: str | None) -> Person:
    vote = approval(statement)
    if counts:
        state, assured = "done", "signed the page shown"
    elif why:
        state, assured = "not counted", f"DOES NOT COUNT: {why}"
    else:
        state, assured = "superseded", "superseded by a later vote, or not needed"
    opened = getattr(vote, "opened_at", None)
    seconds = (instant_of(vote.at) - instant_of(opened)).total_seconds() if opened else None
    did = "approved" if vote.decision == "approve" else "rejected"
    row = _person(
        did,
        state,
        vote.principal,
        vote.role,
        vote.at,
        statement.keyid[:PREFIX],
        assured,
        [statement.index],
    )
    return row.model_copy(update={"opened_at": opened, "seconds": seconds})


def _deployment_row(standing: Standing) -> Person:
    holds = standing.live or standing.held
    if not holds:
        return _row_without_person("deployed", "not deployed")
    last = holds[-1].given
    move, request = promoted(last), standing.request_of(last)
    caller = move.caller or "not recorded"
    return _person(
        "deployed",
        "done" if standing.live else "ended",
        request.predicate.principal if request else "nobody asked",
        f"{request.predicate.role}; called by {caller}" if request else None,
        move.at,
        request.keyid[:PREFIX] if request else None,
        "signed request, checked against the log",
        [statement.index for statement in (last, request) if statement],
    )


def _row_without_person(did: str, why: str) -> Person:
    return _person(did, "not done", why, None, None, None, "none", [])


def _person(
    did: str,
    state: str,
    who: str,
    role: str | None,
    time: str | None,
    key: str | None,
    assured: str,
    evidence: list[int],
) -> Person:
    return Person.model_validate(
        {
            "did": did,
            "state": state,
            "who": who,
            "role": role,
            "at": moment(time) if time else None,
            "key": key,
            "assurance": assured,
            "opened_at": None,
            "seconds": None,
            "evidence": evidence,
        }
    )
