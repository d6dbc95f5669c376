"""Page one, apart from verdict, gates, exceptions and people: use, way back, open points."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from governance.attest.predicates import Finding
from governance.base.text import timed, words
from governance.base.time import instant_of
from governance.policy.policies import Datacard, Tier
from governance.release import drills
from governance.release.drills import NO_DRILL
from governance.report.facts import PREFIX, Facts, promoted, registered
from governance.report.model import Back, Hold, Incident, Item, Use
from governance.report.standing import Held, Standing
from governance.report.verdict import verdict

NOT_COVERED = (
    (
        "Serving: request logs, output marking, access and actual use are recorded where the model"
        " is served, not here."
    ),
    (
        "Law: whether a lawful basis or licence holds is a judgement; this report shows what was"
        " declared."
    ),
    (
        "What a base model from outside was trained on; hidden backdoors and semantic poisoning are"
        " not shown absent."
    ),
)
NOT_NEEDED = "not needed: it holds no alias"
SOON = timedelta(days=30)
"""What ends within this is told among the open points."""


def use(facts: Facts) -> Use:
    """What policy says the model is for, as far as the verdict lets it."""
    known = facts.policies.rules.models.get(facts.registration.model) if facts.policies else None
    tier = facts.policies.tier_of(facts.registration.model) if facts.policies else None
    word = verdict(facts).word
    served = word.startswith("APPROVED")
    how = "as approved" if served else "as candidate: to be tried, not served"
    approved = [f"purpose {known.purpose}, region {known.region}, {how}"] if known else []
    approved = ["nothing any more: it was withdrawn"] if word == "WITHDRAWN" else approved
    return Use(
        approved_for=approved
        or [facts.policies_note or "nothing: policy does not name this model"],
        not_approved_for=_not_for(facts, served),
        tier=facts.registration.tier,
        tier_demands=_demands(tier),
        review_by=_review_by(facts),
    )


def _not_for(facts: Facts, served: bool) -> list[str]:
    """The limits that policy sets, and serving users where no approval holds."""
    limits = facts.policies.limits_of(facts.registration.model) if facts.policies else []
    serving = [] if served else ["serving users (not approved)"]
    return [*serving, *(limits or ["limits not set by policy"])]


def _demands(tier: Tier | None) -> list[str]:
    demands = (
        [f"approvals by {tier.approvals} people in different roles"]
        if tier and tier.approvals
        else []
    )
    demands += [] if tier is None or tier.promotable else ["not promotable"]
    demands += (
        ["evaluation signed by a key other than the trainer's"]
        if tier and tier.separate_evaluator
        else []
    )
    before = tier.approved_before_training if tier else []
    demands += [f"{', '.join(before)} approved before training"] if before else []
    return demands or ["none beyond the automatic gates"]


def _review_by(facts: Facts) -> str:
    """The next review that policy sets; then the first day on which something of it ends."""
    model = facts.registration.model
    months = facts.policies.review_every(model) if facts.policies else None
    due = review_due(facts)
    text = "not set by policy"
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
    """What the version rests on and ends first: data, a waiver, or an approval."""
    found = [
        (str(card.retention.until), f"data of {name} must be erased by")
        for name, card in _cards(facts)
        if card.retention.until
    ]
    if facts.standing is not None:
        waivers = (item for item, why in facts.standing.waivers if not why)
        found += [(item.predicate.expires, "a waiver ends on") for item in waivers]
        for name, _, item in facts.standing.approvers:
            if item.predicate.expires:
                found.append((item.predicate.expires, f"{name}'s approval ends on"))
    if not found:
        return ""
    day, what = min(found)
    return f"{what} {day[:10]}"


def _unset(facts: Facts) -> Iterator[Item]:
    """What policy should say of the model and does not, and a review that is due."""
    policies, model = facts.policies, facts.registration.model
    if policies is None or model not in policies.rules.models:
        return
    owners = policies.rules.owners
    who = " or ".join(owners.roles) if owners else "not assigned"
    where = f"policies/policy.yaml: models.{model}"
    if not policies.limits_of(model):
        yield _item("policy sets no limits: what must this model not be used for?", where, who)
    if policies.review_every(model) is None:
        yield _item("policy sets no review date (review_every)", where, who)
    if not policies.owner_of(model):
        yield _item("policy names no owner of this model", where, who)
    due = review_due(facts)
    if due is not None:
        day = due.isoformat()
        owner = policies.owner_of(model) or who
        late = facts.as_of_time.date() > due
        if late or due - facts.as_of_time.date() <= SOON:
            yield _item(
                "the review of this version",
                f"countersign report {model}/{facts.registration.version}",
                owner,
                None,
                day,
                late,
            )


def _cards(facts: Facts) -> list[tuple[str, Datacard]]:
    cards = facts.policies.datacards if facts.policies else {}
    return [
        (chain.dataset, cards[chain.dataset])
        for chain, _ in facts.datasets
        if chain.dataset in cards
    ]


def holds(facts: Facts) -> list[Hold]:
    """Every governed alias that the version held, in order."""
    return [_hold(facts.standing, one) for one in facts.standing.held] if facts.standing else []


def _hold(standing: Standing, one: Held) -> Hold:
    signed = standing.request_of(one.given)
    ended = promoted(one.ended) if one.ended else None
    how = "none: it still holds it"
    if ended is not None:
        how = (
            "retired" if ended.action == "retire" else f"{ended.action} to version {ended.version}"
        )
    return Hold(
        alias=one.alias,
        since=promoted(one.given).at,
        until=ended.at if ended else "now",
        ended=how,
        asked_by=(
            f"{signed.predicate.principal} as {signed.predicate.role}"
            if signed
            else "nobody signed a request"
        ),
        evidence=[one.given.index, *([one.ended.index] if one.ended else [])],
    )


def way_back(facts: Facts) -> Back:
    """The version to go back to, and what that takes."""
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
        f"; or one as {', '.join(rule.break_glass)} who breaks the glass"
        if rule and rule.break_glass
        else ""
    )
    earlier = [promoted(one) for one in below]
    target = "none: no other version ever held the alias" if facts.previous else _NO_EARLIER
    if earlier:
        target = (
            f"version {earlier[0].version} ({earlier[0].model_digest[:PREFIX]}), {earlier[0].alias}"
            " before"
        )
    tried = drills.last(standing.now, facts.registration.model, standing.alias)
    return Back(
        target=target,
        steps=f"countersign rollback {facts.registration.model} --reason ..." if below else "none",
        people=(
            f"{rule.rollback_people} people{alone}" if rule else "policy has no rule for the alias"
        ),
        drill=drills.summary(tried, earlier[0].version if earlier else None),
        evidence=[one.index for one in (*below[:1], *([tried] if tried else []))],
    )


_NO_EARLIER = "none: there is no earlier version"


def incidents(facts: Facts) -> list[Incident]:
    """Everything said to be wrong with these bytes, in order."""
    found = facts.standing.incidents if facts.standing else []
    return [
        Incident(
            state=item.predicate.state,
            by=item.predicate.principal,
            role=item.predicate.role,
            words=item.predicate.reason,
            at=item.predicate.at,
            evidence=[item.index],
        )
        for item in found
    ]


def open_items(facts: Facts) -> list[Item]:
    """What waits, what ends soon, and what stands in the way of more than `candidate`; the overdue
    first.
    """
    found = [*_of_people(facts), *_findings(facts), *_unset(facts)]
    return sorted(found, key=lambda item: not item.overdue)


def _findings(facts: Facts) -> Iterator[Item]:
    standing = facts.standing
    findings = list(facts.again.findings) if facts.again else []
    if standing is not None and standing.released is not None:
        findings = standing.against
    told = {"INCIDENT_OPEN"} if standing and standing.open_incidents else set()
    for one in (one for one in findings if one.code not in told):
        yield _item(f"{one.code}: {one.subject}: {one.message}", _next(one, standing))
    for why in facts.again.candidate_only if facts.again and standing is None else ():
        yield _item(f"candidate only: {why}", "see docs/findings.md")


def _next(one: Finding, standing: Standing | None) -> str:
    """What a finding says to do, as it is typed for this version."""
    if standing is None or not one.code.startswith("REQUEST_"):
        return one.next or "none"
    return (
        one.next.replace("MODEL/VERSION --to ALIAS", f"{standing.name} --to {standing.alias}")
        or "none"
    )


def _of_people(facts: Facts) -> Iterator[Item]:
    """Incidents, second signatures, waivers that end, requests that wait."""
    standing = facts.standing
    if standing is None or facts.now is None:
        return
    for one in standing.open_incidents:
        said = one.predicate
        yield _item(
            f"incident: {said.reason}",
            f"countersign incident close {standing.name}",
            said.principal,
            one.index,
        )
    overdue = {one.index for one in standing.overdue}
    for move in standing.alone:
        due, asked = move.predicate.second_signature_by or "none", standing.request_of(move)
        who = _seconds(standing, asked.predicate.principal) if asked else "not assigned"
        what = "a second signature on a rollback that one person made alone"
        then = f"countersign approve promotion {(move.predicate.request or '')[:PREFIX]}"
        yield _item(what, then, who, move.index, due, move.index in overdue)
    for waiver, why in standing.waivers:
        accepted = waiver.predicate
        left = instant_of(accepted.expires) - standing.at
        if not why and left <= SOON:
            what = f"waiver of {accepted.finding} {accepted.about} ends"
            yield _item(
                what,
                "mend the finding, or waive it anew and have the packet approved",
                accepted.owner,
                waiver.index,
                accepted.expires,
            )
    for request in standing.now.timeline.pending_requests(standing.at):
        wish = request.predicate
        mine = (wish.model, wish.version) == (facts.registration.model, facts.registration.version)
        if mine and wish.model_digest == facts.digest:
            what = f"{wish.principal} asks to {wish.action} it as {wish.alias}"
            yield _item(
                what,
                f"countersign {wish.action} {standing.name}",
                words(_requesters(standing)),
                request.index,
                wish.expires,
            )


def _seconds(standing: Standing, author: str) -> str:
    """Who may sign a rollback that somebody made alone."""
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
    what: str,
    then: str,
    owner: str = "not assigned",
    entry: int | None = None,
    due: str = "none",
    overdue: bool = False,
) -> Item:
    refs = [entry] if entry is not None else []
    return Item(what=timed(what), next=then, owner=owner, due=due, overdue=overdue, evidence=refs)
