"""Page one: use, aliases held, way back, incidents and open points."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

from governance.attest.predicates import Promotion, PromotionRequest, Registration
from governance.base.text import timed, words
from governance.base.time import instant_of
from governance.history import erasures, monitoring
from governance.history.reviews import Review
from governance.history.state import LogState
from governance.history.timeline import Tenure
from governance.log.evidence import Evidence
from governance.policy.policies import Policies
from governance.release import drills
from governance.report import service
from governance.report.facts import PREFIX, Facts
from governance.report.model.front import Back, Hold, Item, Use, VerdictWord
from governance.report.standing import Standing
from governance.report.verdict import APPROVED, verdict

SOON = timedelta(days=30)
"""What ends within this period is listed as an open point."""


# -- Use -------------------------------------------------------------------------------------------
def use(facts: Facts) -> Use:
    """The purpose that policy sets, limited by the verdict."""
    word, tier = verdict(facts).word, facts.tier
    forbidden = [] if word in APPROVED else ["serving users: no approval is in force"]
    limits = facts.policies.limits_of(facts.registration.model) if facts.policies else []
    demands = []
    if tier and tier.approvals:
        demands.append(f"approval by {tier.approvals} people in different roles")
    if tier and not tier.promotable:
        demands.append("cannot be released")
    if tier and tier.separate_evaluator:
        demands.append("evaluation signed by a key other than the trainer's")
    if tier and tier.approved_before_training:
        demands.append(f"{', '.join(tier.approved_before_training)} approved before training")
    return Use(
        approved_for=[_approved_for(facts, word)],
        not_approved_for=[*forbidden, *(limits or ["limits not set by policy"])],
        tier=facts.registration.tier,
        tier_demands=demands or ["none beyond the automatic checks"],
        review_by=_review_by(facts),
        in_service=service.in_service(facts),
    )


def _approved_for(facts: Facts, word: VerdictWord) -> str:
    live = [tenure.alias for tenure in facts.standing.live] if facts.standing else []
    if word == "WITHDRAWN":
        return "nothing: it was withdrawn"
    if facts.rules is None:
        return facts.policies_note or "nothing: policy does not name this model"
    purpose = f"{facts.rules.purpose}, in {facts.rules.region}"
    if word in APPROVED:
        return purpose
    if word == "COMPLETENESS NOT SHOWN":
        return "nothing: entries may be missing"
    if live:
        return f"nothing: no approval is in force, although it is live as {words(live)}"
    return f"testing as candidate only, not serving ({purpose})"


def _review_by(facts: Facts) -> str:
    """The next review that policy sets, then the first end of data, a waiver or an approval."""
    months = facts.policies.review_every(facts.registration.model) if facts.policies else None
    due = next_review(facts)
    review = f"{months} months after approval"
    if due is not None:
        review = f"{due.due}{due.lateness}"
    ends = min(_ends(facts), default=None)
    first = f"{ends[1]}{ends[0]}" if ends else ""
    is_set = months is not None or due is not None
    return "; ".join(filter(None, [review if is_set else "no review date set", first]))


def next_review(facts: Facts) -> Review | None:
    """The next review of the version; None where it is not in use, or policy sets none."""
    found = facts.now.timeline.reviews(facts.time)
    return next((review for review in found if review.name == facts.name), None)


def _ends(facts: Facts) -> Iterator[tuple[date, str]]:
    """The days on which data must be erased, and on which waivers and approvals end."""
    for chain in facts.chains:
        card = facts.cards.get(chain.dataset)
        if card and card.retention.until:
            yield card.retention.until, f"data of {chain.dataset} must be erased by "
    if facts.standing is None:
        return
    for waiver, problem in facts.standing.waivers:
        if problem is None:
            yield instant_of(waiver.predicate.expires).date(), "a waiver ends on "
    for name, _, vote in facts.standing.approvers:
        if vote.predicate.expires:
            yield instant_of(vote.predicate.expires).date(), f"{name}'s approval ends on "


# -- Release ---------------------------------------------------------------------------------------
def holds(facts: Facts) -> list[Hold]:
    """Every governed alias that the version held, in order."""
    standing = facts.standing
    return [hold(standing, tenure) for tenure in standing.held] if standing else []


def hold(standing: Standing, tenure: Tenure) -> Hold:
    """One governed alias that a version held."""
    request = standing.request_of(tenure.given)
    asked_by = "nobody signed a request"
    if request:
        asked_by = f"{request.predicate.principal} as {request.predicate.role}"
    end = tenure.ended.predicate if tenure.ended else None
    how = f"{end.action} to version {end.version}" if end else None
    return Hold(
        alias=tenure.alias,
        since=tenure.given.predicate.at,
        until=end.at if end else None,
        ended="retired" if tenure.how_ended == "retired" else how,
        asked_by=asked_by,
        evidence=[move.index for move in (tenure.given, tenure.ended) if move],
    )


def way_back(facts: Facts) -> Back:
    """The version to return to, and the steps and people that this requires."""
    standing, model, previous = facts.standing, facts.registration.model, facts.previous
    target = "none: no other version ever held the alias"
    if previous is None:
        target = "none: there is no earlier version"
    if standing is None:
        if previous is not None:
            target = f"version {_short_name(previous.predicate)}, registered"
        steps, refs = "none: no governed alias exists", [previous.index] if previous else []
        return Back(target=target, steps=steps, drill=drills.NO_DRILL, evidence=refs)
    if standing.held and not standing.live:
        serves = standing.now.holder(model, standing.alias)
        state = f"version {serves.version} is {serves.alias}" if serves else "nothing is live"
        return Back(target=f"none needed: {state}", drill="not needed: it holds no alias")
    earlier, steps = next(iter(standing.below()), None), "none"
    if earlier is not None:
        target = f"version {_short_name(earlier.predicate)}, {earlier.predicate.alias} before"
        steps = f"countersign rollback {model} --reason ..."
    rule, people = standing.rule, "policy has no rule for the alias"
    if rule is not None:
        alone = f", or one {' or '.join(rule.break_glass)} in an emergency"
        people = f"{rule.rollback_people} people{alone if rule.break_glass else ''}"
    return Back(
        target=target,
        steps=steps,
        people=people,
        drill=drills.summary(facts.drill, earlier.predicate.version if earlier else None),
        evidence=[entry.index for entry in (earlier, facts.drill) if entry],
    )


def _short_name(version: Registration | Promotion) -> str:
    return f"{version.version} ({version.model_digest[:PREFIX]})"


# -- Open points -----------------------------------------------------------------------------------
def open_items(facts: Facts) -> list[Item]:
    """Open points: what waits, what ends soon and what prevents a release. Overdue points come
    first.
    """
    points = [*_of_findings(facts), *_of_policy(facts)]
    if facts.standing is not None:
        waits = waiting(facts.now, facts.time, facts.registration)
        points = [*waits, *_waivers_ending(facts.standing), *points]
    shown = [point.model_copy(update={"what": timed(point.what)}) for point in points]
    return sorted(shown, key=lambda point: not point.overdue)


def waiting(now: LogState, at: datetime, only: Registration | None = None) -> Iterator[Item]:
    """What waits for somebody: open incidents, second signatures and requests, of all versions or
    of one only.
    """
    timeline, policies = now.timeline, now.authority.in_force.policies
    opened = timeline.open_incidents(only.model_digest) if only else timeline.all_open_incidents
    for incident in opened:
        yield _waits(
            incident,
            code="INCIDENT",
            what=f"incident: {incident.predicate.reason}",
            next=f"countersign incident close {_name(incident)}",
            owner=incident.predicate.principal,
        )
    for one in erasures.open_decisions(timeline):
        if _concerns(one.tenure.given.predicate, only):
            yield _retrain_or_retire(one, policies, at)
    yield from _breached(now, only)
    overdue = {move.index for move in timeline.overdue(at)}
    for move in timeline.lacking_second_signature:
        if _concerns(move.predicate, only):
            yield _waits(
                move,
                code="SECOND_SIGNATURE",
                what="a second signature on an emergency rollback by one person",
                next=f"countersign approve promotion {(move.predicate.request or '')[:PREFIX]}",
                owner=_second_signers(policies, timeline.request_of(move.predicate)),
                due=move.predicate.second_signature_by,
                overdue=move.index in overdue,
            )
    for request in timeline.pending_requests(at):
        wish = request.predicate
        if _concerns(wish, only):
            rule = policies.rules.aliases.get(wish.alias) if policies else None
            yield _waits(
                request,
                code="REQUEST",
                what=f"{wish.principal} asks to {wish.action} it as {wish.alias}",
                next=f"countersign {wish.action} {_name(request)}",
                owner=words([f"somebody as {role}" for role in rule.requesters] if rule else []),
                due=wish.expires,
            )


def _breached(now: LogState, only: Registration | None) -> Iterator[Item]:
    """Limits that a live version does not keep in service."""
    policies = now.authority.in_force.policies
    rules = policies.rules.monitoring if policies else None
    roles = policies.rules.incident_roles("open") if policies else []
    live = {tenure.given.predicate.model_digest: tenure for tenure in now.timeline.holders.values()}
    for digest, tenure in live.items():
        if not _concerns(tenure.given.predicate, only):
            continue
        found = monitoring.windows(now.view, digest)
        model, version = tenure.model, tenure.version
        for each in monitoring.findings(found, rules, model, version, blocking=False):
            yield Item(
                code="MONITORING",
                about=each.subject,
                evidence=[found[-1].index],
                what=f"{each.code} {each.measure}: {each.found}; policy: {each.expected}",
                next=f"countersign incident open {each.subject}, where users are concerned",
                owner=words([f"somebody as {role}" for role in roles]),
            )


def _retrain_or_retire(one: erasures.OpenDecision, policies: Policies | None, at: datetime) -> Item:
    asked, tenure = one.erasure.predicate, one.tenure
    roles = policies.rules.requester_roles if policies else []
    late = " (OVERDUE)" if one.is_overdue(at) else ""
    return Item(
        code="ERASURE",
        about=f"{tenure.model}/{tenure.version}",
        evidence=[one.erasure.index],
        what=f"retrain or retire: it has seen records erased in case {asked.reference}{late}",
        next=f"countersign retire {tenure.model}/{tenure.version}, or promote one without them",
        owner=words([f"somebody as {role}" for role in roles]),
        due=asked.deadline,
        overdue=one.is_overdue(at),
    )


def _waits(statement: Evidence, **fields: Any) -> Item:
    return Item(about=_name(statement), evidence=[statement.index], **fields)


def _name(statement: Evidence) -> str:
    return f"{statement.predicate.model}/{statement.predicate.version}"


def _concerns(move: Promotion | PromotionRequest, only: Registration | None) -> bool:
    """Whether a move is about this version and its bytes, or any version is asked for."""
    version = (move.model, move.version, move.model_digest)
    return only is None or version == (only.model, only.version, only.model_digest)


def _second_signers(
    policies: Policies | None, request: Evidence[PromotionRequest] | None
) -> str | None:
    """Who may give the second signature on an emergency rollback."""
    if request is None:
        return None
    roles = policies.rules.second_roles if policies else None
    author = request.predicate.principal
    return f"somebody but {author}, as {' or '.join(roles)}" if roles else f"anybody but {author}"


def _waivers_ending(standing: Standing) -> Iterator[Item]:
    for statement, problem in standing.waivers:
        waiver = statement.predicate
        if problem is None and instant_of(waiver.expires) - standing.at <= SOON:
            yield Item(
                code="WAIVER_ENDS",
                what=f"waiver of {waiver.finding} {waiver.about} ends",
                next="correct the finding, or waive it again and have the packet approved",
                owner=waiver.owner,
                due=waiver.expires,
                evidence=[statement.index],
            )


def _of_findings(facts: Facts) -> Iterator[Item]:
    """Open findings, with this version and alias in the next step."""
    standing = facts.standing
    findings = list(facts.again.findings) if facts.again else []
    if standing is not None and standing.released is not None:
        findings = standing.against
    for finding in findings:
        if standing and standing.open_incidents and finding.code == "INCIDENT_OPEN":
            continue
        what, step = f"{finding.code}: {finding.subject}: {finding.message}", finding.next
        if standing is not None:
            step = step.replace("MODEL/VERSION --to ALIAS", f"{facts.name} --to {standing.alias}")
        yield Item(code=finding.code, what=what, next=step or None)
    for why in facts.again.candidate_only if facts.again and standing is None else ():
        what = f"for testing only: {why}"
        yield Item(code="CANDIDATE_ONLY", what=what, next="see docs/findings.md")


def _of_policy(facts: Facts) -> Iterator[Item]:
    """Settings that policy lacks for the model, and a review that is due."""
    policies, model = facts.policies, facts.registration.model
    if policies is None or facts.rules is None:
        return
    who = " or ".join(policies.rules.owners.roles) if policies.rules.owners else None
    settings = {
        "limits (what is it not for?)": policies.limits_of(model),
        "review date (review_every)": policies.review_every(model),
        "owner of this model": policies.owner_of(model),
    }
    for name, value in settings.items():
        if not value:
            where = f"policies/policy.yaml: models.{model}"
            yield Item(code="NOT_SET", what=f"policy sets no {name}", next=where, owner=who)
    review = next_review(facts)
    if review is not None and review.due - facts.time.date() <= SOON:
        because = f", because {review.because}" if review.because else ""
        yield Item(
            code="REVIEW",
            what=f"the review of this version{because}{review.lateness}",
            next=f"countersign periodic-review {facts.name}",
            owner=policies.owner_of(model) or who,
            due=review.due.isoformat(),
            overdue=review.state != "in time",
            evidence=[review.last.index],
        )
