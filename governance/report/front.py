"""Page one: use, aliases held, way back, incidents and open points."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from governance.attest.predicates import Finding
from governance.base.text import timed, words
from governance.base.time import instant_of
from governance.policy.rules import Datacard, Tier
from governance.release import drills
from governance.release.drills import NO_DRILL
from governance.report.facts import PREFIX, Facts, promoted, registered
from governance.report.model import Back, Hold, Item, Use, VerdictWord
from governance.report.standing import Held, Standing
from governance.report.verdict import APPROVED, verdict

NOT_COVERED = (
    "Serving: request logs, output marking and use are recorded where the model is served.",
    "Law: this report shows declarations; whether a legal basis or licence holds is a judgement.",
    "The training data of a base model from outside. This report cannot rule out hidden backdoors"
    " or poisoned data.",
)
NOT_NEEDED = "not needed: it holds no alias"
SOON = timedelta(days=30)
"""What ends within this period is listed as an open point."""


def use(facts: Facts) -> Use:
    """The purpose that policy sets, limited by the verdict."""
    tier = facts.policies.tier_of(facts.registration.model) if facts.policies else None
    word = verdict(facts).word
    served = word in APPROVED
    limits = facts.policies.limits_of(facts.registration.model) if facts.policies else []
    forbidden = [] if served else ["serving users: no approval is in force"]
    forbidden += limits or ["limits not set by policy"]
    return Use(
        approved_for=[_approved_for(facts, word)],
        not_approved_for=forbidden,
        tier=facts.registration.tier,
        tier_demands=_demands(tier),
        review_by=_review_by(facts),
    )


def _approved_for(facts: Facts, word: VerdictWord) -> str:
    model = facts.policies.rules.models.get(facts.registration.model) if facts.policies else None
    live = [tenure.alias for tenure in facts.standing.live] if facts.standing else []
    if word == "WITHDRAWN":
        return "nothing: it was withdrawn"
    if model is None:
        return facts.policies_note or "nothing: policy does not name this model"
    if word in APPROVED:
        return f"{model.purpose}, in {model.region}"
    if live:
        return f"nothing: no approval is in force, although it is live as {words(live)}"
    return f"testing as candidate only, not serving ({model.purpose}, in {model.region})"


def _demands(tier: Tier | None) -> list[str]:
    if tier is None:
        return ["none beyond the automatic checks"]
    demands = []
    if tier.approvals:
        demands.append(f"approval by {tier.approvals} people in different roles")
    if not tier.promotable:
        demands.append("cannot be released")
    if tier.separate_evaluator:
        demands.append("evaluation signed by a key other than the trainer's")
    if tier.approved_before_training:
        demands.append(f"{', '.join(tier.approved_before_training)} approved before training")
    return demands or ["none beyond the automatic checks"]


def _review_by(facts: Facts) -> str:
    """The next review that policy sets, then the first end of data, a waiver or an approval."""
    model = facts.registration.model
    months = facts.policies.review_every(model) if facts.policies else None
    due = review_due(facts)
    text = "no review date set"
    if months is not None:
        text = due.isoformat() if due else f"{months} months after approval"
    ends = _first_end(facts)
    return f"{text}; {ends}" if ends else text


def review_due(facts: Facts) -> date | None:
    """The day of the next review; None where policy sets none, or nobody approved the version."""
    released = facts.standing.released if facts.standing else None
    if facts.policies is None or released is None:
        return None
    approved = instant_of(promoted(released).at)
    return facts.policies.next_review(facts.registration.model, approved)


def _first_end(facts: Facts) -> str:
    """What ends first: retention of data, a waiver, or an approval. Empty where nothing ends."""
    ends = [
        (str(card.retention.until), f"data of {name} must be erased by")
        for name, card in _datacards(facts)
        if card.retention.until
    ]
    if facts.standing is not None:
        waivers = (statement for statement, why in facts.standing.waivers if not why)
        ends += [(statement.predicate.expires, "a waiver ends on") for statement in waivers]
        for name, _, statement in facts.standing.approvers:
            if statement.predicate.expires:
                ends.append((statement.predicate.expires, f"{name}'s approval ends on"))
    if not ends:
        return ""
    day, what = min(ends)
    return f"{what} {day[:10]}"


def _points_of_policy(facts: Facts) -> Iterator[Item]:
    """Settings that policy lacks for the model, and a review that is due."""
    policies, model = facts.policies, facts.registration.model
    if policies is None or model not in policies.rules.models:
        return
    owners = policies.rules.owners
    who = " or ".join(owners.roles) if owners else None
    where = f"policies/policy.yaml: models.{model}"
    if not policies.limits_of(model):
        yield _item("NOT_SET", "policy sets no limits (what is it not for?)", where, who)
    if policies.review_every(model) is None:
        yield _item("NOT_SET", "policy sets no review date (review_every)", where, who)
    if not policies.owner_of(model):
        yield _item("NOT_SET", "policy names no owner of this model", where, who)
    due, today = review_due(facts), facts.as_of_time.date()
    if due is not None and due - today <= SOON:
        then = f"countersign report {model}/{facts.registration.version}"
        owner = policies.owner_of(model) or who
        what, late = "the review of this version", today > due
        yield _item("REVIEW", what, then, owner, None, due.isoformat(), late)


def _datacards(facts: Facts) -> list[tuple[str, Datacard]]:
    cards = facts.policies.datacards if facts.policies else {}
    return [
        (chain.dataset, cards[chain.dataset])
        for chain, _ in facts.datasets
        if chain.dataset in cards
    ]


def holds(facts: Facts) -> list[Hold]:
    """Every governed alias that the version held, in order."""
    return (
        [hold(facts.standing, tenure) for tenure in facts.standing.held] if facts.standing else []
    )


def hold(standing: Standing, tenure: Held) -> Hold:
    """One governed alias that a version held."""
    request = standing.request_of(tenure.given)
    ended = promoted(tenure.ended) if tenure.ended else None
    reason = None
    if ended is not None:
        reason = (
            "retired" if ended.action == "retire" else f"{ended.action} to version {ended.version}"
        )
    return Hold(
        alias=tenure.alias,
        since=promoted(tenure.given).at,
        until=ended.at if ended else None,
        ended=reason,
        asked_by=(
            f"{request.predicate.principal} as {request.predicate.role}"
            if request
            else "nobody signed a request"
        ),
        evidence=[tenure.given.index, *([tenure.ended.index] if tenure.ended else [])],
    )


def way_back(facts: Facts) -> Back:
    """The version to return to, and the steps and people that this requires."""
    standing = facts.standing
    if standing is None:
        before = registered(facts.previous) if facts.previous else None
        target = (
            f"version {before.version} ({before.model_digest[:PREFIX]}), registered"
            if before
            else _NO_EARLIER
        )
        refs = [facts.previous.index] if facts.previous else []
        return Back(
            target=target,
            steps="none: no governed alias exists",
            people="none",
            drill=NO_DRILL,
            evidence=refs,
        )
    if standing.held and not standing.live:
        serves = standing.now.holder(facts.registration.model, standing.alias)
        target = (
            f"none needed: version {serves.version} is {serves.alias}"
            if serves
            else "none needed: nothing is live"
        )
        return Back(target=target, steps="none", people="none", drill=NOT_NEEDED, evidence=[])
    below, rule = standing.below(), standing.rule
    alone = (
        f", or one {' or '.join(rule.break_glass)} in an emergency"
        if rule and rule.break_glass
        else ""
    )
    earlier = [promoted(statement) for statement in below]
    target = "none: no other version ever held the alias" if facts.previous else _NO_EARLIER
    if earlier:
        target = (
            f"version {earlier[0].version} ({earlier[0].model_digest[:PREFIX]}), {earlier[0].alias}"
            " before"
        )
    drill = drills.last(standing.now, facts.registration.model, standing.alias)
    return Back(
        target=target,
        steps=f"countersign rollback {facts.registration.model} --reason ..." if below else "none",
        people=(
            f"{rule.rollback_people} people{alone}" if rule else "policy has no rule for the alias"
        ),
        drill=drills.summary(drill, earlier[0].version if earlier else None),
        evidence=[statement.index for statement in (*below[:1], *([drill] if drill else []))],
    )


_NO_EARLIER = "none: there is no earlier version"


def open_items(facts: Facts) -> list[Item]:
    """Open points: what waits, what ends soon and what prevents a release. Overdue points come
    first.
    """
    points = [*_points_of_people(facts), *_points_of_findings(facts), *_points_of_policy(facts)]
    return sorted(points, key=lambda point: not point.overdue)


def _points_of_findings(facts: Facts) -> Iterator[Item]:
    standing = facts.standing
    findings = list(facts.again.findings) if facts.again else []
    if standing is not None and standing.released is not None:
        findings = standing.against
    listed = {"INCIDENT_OPEN"} if standing and standing.open_incidents else set()
    for finding in findings:
        if finding.code not in listed:
            what = f"{finding.code}: {finding.subject}: {finding.message}"
            yield _item(finding.code, what, _next_step(finding, standing))
    for why in facts.again.candidate_only if facts.again and standing is None else ():
        yield _item("CANDIDATE_ONLY", f"for testing only: {why}", "see docs/findings.md")


def _next_step(finding: Finding, standing: Standing | None) -> str | None:
    """The next step of a finding, with this version and alias in its command."""
    if standing is None or not finding.code.startswith("REQUEST_"):
        return finding.next or None
    typed = f"{standing.name} --to {standing.alias}"
    return finding.next.replace("MODEL/VERSION --to ALIAS", typed) or None


def _points_of_people(facts: Facts) -> Iterator[Item]:
    """Incidents, second signatures, waivers that end, requests that wait."""
    standing = facts.standing
    if standing is None or facts.now is None:
        return
    for opening in standing.open_incidents:
        incident = opening.predicate
        then = f"countersign incident close {standing.name}"
        what = f"incident: {incident.reason}"
        yield _item("INCIDENT", what, then, incident.principal, opening.index)
    overdue = {opening.index for opening in standing.overdue}
    for move in standing.alone:
        due, rollback_request = move.predicate.second_signature_by, standing.request_of(move)
        who = (
            _second_signers(standing, rollback_request.predicate.principal)
            if rollback_request
            else None
        )
        what = "a second signature on an emergency rollback by one person"
        then = f"countersign approve promotion {(move.predicate.request or '')[:PREFIX]}"
        late = move.index in overdue
        yield _item("SECOND_SIGNATURE", what, then, who, move.index, due, late)
    for statement, problem in standing.waivers:
        waiver = statement.predicate
        if problem is None and instant_of(waiver.expires) - standing.at <= SOON:
            what = f"waiver of {waiver.finding} {waiver.about} ends"
            then = "correct the finding, or waive it again and have the packet approved"
            yield _item("WAIVER_ENDS", what, then, waiver.owner, statement.index, waiver.expires)
    for request in standing.now.timeline.pending_requests(standing.at):
        wish = request.predicate
        name = f"{wish.model}/{wish.version}"
        if (name, wish.model_digest) == (standing.name, facts.digest):
            what = f"{wish.principal} asks to {wish.action} it as {wish.alias}"
            then = f"countersign {wish.action} {standing.name}"
            who = words(_requesters(standing))
            yield _item("REQUEST", what, then, who, request.index, wish.expires)


def _second_signers(standing: Standing, author: str) -> str:
    """Who may give the second signature on an emergency rollback."""
    policies = standing.now.authority.in_force.policies
    named = policies.rules.seconded_by if policies else None
    return (
        f"anybody but {author}"
        if named is None
        else f"somebody but {author}, as {' or '.join(named)}"
    )


def _requesters(standing: Standing) -> list[str]:
    return [f"somebody as {role}" for role in (standing.rule.requesters if standing.rule else [])]


def _item(
    code: str,
    what: str,
    then: str | None,
    owner: str | None = None,
    entry: int | None = None,
    due: str | None = None,
    overdue: bool = False,
) -> Item:
    return Item(
        code=code,
        what=timed(what),
        next=then,
        owner=owner,
        due=due,
        overdue=overdue,
        evidence=[entry] if entry is not None else [],
    )
