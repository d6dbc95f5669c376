"""The verdict, computed from records.

1. Evidence that does not verify overrides everything (`governance.report.build`).
2. A version that was retired or rolled back is WITHDRAWN until it gets an alias again.
3. A released version is APPROVED while its decision can be reproduced and would be allowed again
   today. It is APPROVED WITH CONDITIONS where a waiver is needed for that.
4. Any other version is PENDING where only people's signatures are missing, and NOT APPROVED where
   any other finding is open.
5. From a bundle that may lack entries, COMPLETENESS NOT SHOWN stands in place of any good verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from governance.attest.predicates import Finding, Promotion
from governance.base.text import moment
from governance.base.time import instant
from governance.history.cases import cases
from governance.history.timeline import Tenure
from governance.log.evidence import Evidence
from governance.policy.serving import ServingRules
from governance.report.facts import Facts
from governance.report.model.front import Verdict, VerdictWord
from governance.report.model.parts import Reason
from governance.report.reasons import Say, named, reason, text_of
from governance.report.standing import Standing

APPROVED: frozenset[VerdictWord] = frozenset(["APPROVED", "APPROVED WITH CONDITIONS"])
NEVER = "no decision on a governed alias is recorded"


NEEDS = {
    "POLICY_NOT_SIGNED": Say.NEEDS_POLICY_SIGNATURES,
    "PACKET_MISSING": Say.NEEDS_PACKET,
    "PACKET_OUT_OF_DATE": Say.NEEDS_NEW_PACKET,
}
"""Finding code to what people have to sign."""


class Banner(NamedTuple):
    """The text and colour of a verdict."""

    tone: str
    """CSS class: `good`, `wait` or `bad`."""
    sign: str
    text: str


TONES: dict[VerdictWord, tuple[str, str]] = {
    "APPROVED": ("good", "✓"),
    "APPROVED WITH CONDITIONS": ("wait", "◐"),
    "PENDING": ("wait", "○"),
}
"""Verdict to tone and sign; any other one is bad."""


def banner(word: VerdictWord, faults: int) -> Banner:
    """The banner of a report and the state of an index row. Any fault changes it."""
    if faults:
        return Banner("bad", "✗", f"{word}, WITH {faults} {'FAULT' if faults == 1 else 'FAULTS'}")
    tone, sign = TONES.get(word, ("bad", "✗"))
    return Banner(tone, sign, word)


def verdict(facts: Facts) -> Verdict:
    """The verdict of a version."""
    judged = _judged(facts)
    if facts.complete or judged.word not in APPROVED | {"PENDING"}:
        return judged
    reasons = [reason(Say.COMPLETENESS_NOT_SHOWN)]
    word: VerdictWord = "COMPLETENESS NOT SHOWN"
    return _verdict(word, reasons, None, judged.decided)


def _judged(facts: Facts) -> Verdict:
    """The verdict by the entries that are here."""
    standing = facts.standing
    if facts.undecidable is not None:
        reasons = [reason(Say.CANNOT_BE_DECIDED, why=facts.undecidable)]
        return _verdict("NOT APPROVED", reasons, None, NEVER)
    if standing is None:
        return _automatic(facts)
    word = word_of(standing)
    last = standing.decisions[-1] if standing.decisions else None
    decided = decided_by(standing, last) if last else NEVER
    made = _verdict(word, list(_reasons(facts, standing, word)), last, decided)
    is_waived = word == "APPROVED WITH CONDITIONS"
    conditions = list(_conditions(standing)) if is_waived else []
    return made.model_copy(update={"alias": standing.alias, "conditions": conditions})


def word_of(standing: Standing) -> VerdictWord:
    """The verdict on a version whose aliases people govern, by the rules of the module in order."""
    if standing.retired is not None or _rolled_back(standing) is not None:
        return "WITHDRAWN"
    if _not_reproduced(standing):
        return "NOT APPROVED"
    if standing.released is None:
        return "NOT APPROVED" if _refusing(standing) else "PENDING"
    if standing.against:
        return "NOT APPROVED"
    return "APPROVED WITH CONDITIONS" if standing.today.waived else "APPROVED"


def decided_by(standing: Standing, decision: Evidence[Promotion]) -> str:
    """A decision on a governed alias and its requester, as text."""
    move, request = decision.predicate, standing.request_of(decision)
    asker = "asked for by nobody"
    if request and standing.now.authority.speaker(request) is None:
        asker = f"asked for in the name of {request.predicate.principal}, who did not sign that"
    elif request:
        asker = f"asked for by {request.predicate.principal} ({request.predicate.role})"
    if move.action == "retire":
        what = "retired" if move.allowed else "retirement refused"
    else:
        given = "given" if move.action == "promote" else "given back"
        what = f"{move.alias} {given if move.allowed else 'refused'}"
    return f"{what} {moment(move.at)}, {asker}"


def _conditions(standing: Standing) -> Iterator[str]:
    for finding in standing.today.waived:
        model, timeline = standing.registration.model, standing.now.timeline
        end = timeline.waived_until(model, finding, standing.at)
        until = moment(instant(end)) if end else "unknown"
        yield f"{finding.code} {finding.subject}, waived until {until}"


def _not_reproduced(standing: Standing) -> list[tuple[Evidence[Promotion], str]]:
    """The moves that were allowed and are not when they are decided again."""
    return [(move, why) for move, why in standing.unreproduced if move.predicate.allowed]


def _refusing(standing: Standing) -> list[Finding]:
    """The findings that no signature settles."""
    return [finding for finding in standing.today.findings if finding not in standing.waits_for]


def _rolled_back(standing: Standing) -> Tenure | None:
    """The last tenure, where people rolled back from the version and it got no alias since."""
    if standing.live or not standing.held:
        return None
    last = max(standing.held, key=lambda tenure: tenure.ended.index if tenure.ended else 0)
    return last if last.rolled_back else None


def _reasons(facts: Facts, standing: Standing, word: VerdictWord) -> Iterator[Reason]:
    """Why the verdict is what `word_of` says."""
    if word == "WITHDRAWN":
        yield _withdrawn(standing)
        return
    for move, why in _not_reproduced(standing)[:1]:
        yield reason(Say.NOT_REPRODUCED, entry=move.index, why=why)
        yield from _serving(facts, standing, _still(standing))
        return
    if standing.released is None:
        yield from _unreleased(standing, word)
    elif standing.against:
        findings = [f"{finding.message} ({finding.code})" for finding in standing.against[:2]]
        findings += [f"{len(standing.against) - 2} more"] if len(standing.against) > 2 else []
        yield reason(Say.WOULD_BE_REFUSED, findings="; ".join(findings))
        yield from _serving(facts, standing, _still(standing))
    else:
        people = [f"{name} ({role})" for name, role, _ in standing.approvers]
        yield reason(Say.APPROVED, people=people) if people else reason(Say.NO_APPROVAL_REQUIRED)
        yield from _serving(facts, standing, Say.LIVE)
        if standing.today.waived:
            yield reason(Say.WAIVED_FINDINGS, findings=_named(standing.today.waived))


def _withdrawn(standing: Standing) -> Reason:
    tenure, retirement = _rolled_back(standing), standing.retired
    if retirement is None and tenure is not None and tenure.ended is not None:
        move = tenure.ended.predicate
        return reason(Say.ROLLED_BACK, alias=tenure.alias, version=move.version, at=move.at)
    request = standing.request_of(retirement) if retirement else None
    if request is None:
        return reason(Say.RETIRED_UNASKED)
    why = request.predicate.reason.rstrip(".")
    return reason(Say.RETIRED, name=request.predicate.principal, reason=why)


def _serving(facts: Facts, standing: Standing, live: Say) -> Iterator[Reason]:
    """The live aliases of a version, if it was ever released."""
    if standing.live:
        yield reason(live, aliases=[tenure.alias for tenure in standing.live])
        if facts.registry:
            yield reason(Say.REGISTRY_SAYS_OTHERWISE)
    elif standing.released is not None:
        yield reason(Say.REPLACED)


def _still(standing: Standing) -> Say:
    """What is known of the service of a version that holds an alias and would be refused today.
    `countersign serve` and the verifying loader go on with most of what a move is refused for.
    """
    return Say.STILL_HELD if _is_refused_in_service(standing) else Say.STILL_SERVING


def _is_refused_in_service(standing: Standing) -> bool:
    """Whether those that follow the log refuse the version: its move is not reproduced, its review
    lapsed where policy then stops it, or an incident of a severity at which policy stops.
    """
    given = {tenure.given.index for tenure in standing.live}
    if given & {move.index for move, _ in _not_reproduced(standing)}:
        return True
    if any(finding.code == "REVIEW_STOPS_SERVING" for finding in standing.against):
        return True
    policies = standing.now.authority.in_force.policies
    rules = policies.rules.serving if policies is not None else ServingRules()
    opened = {(one.predicate.model, one.predicate.version) for one in standing.open_incidents}
    last = {(case.model, case.version): case for case in cases(standing.incidents)}
    return any(rules.stops_at(last[key].severity if key in last else None) for key in opened)


def _unreleased(standing: Standing, word: VerdictWord) -> Iterator[Reason]:
    if word == "PENDING":
        yield reason(Say.AUTOMATIC_CHECKS_OK)
        yield from list(_missing(standing)) or [reason(Say.NEEDS_MOVE)]
        yield reason(Say.TESTING_ONLY)
        return
    for name, role, vote in standing.rejections:
        why = vote.predicate.reason.rstrip(".")
        yield reason(Say.REJECTED, name=name, role=role, reason=why)
    yield reason(Say.REFUSED_NOW, findings=_named(_refusing(standing)))


def _missing(standing: Standing) -> Iterator[Reason]:
    """What people still have to sign."""
    codes = {finding.code for finding in standing.waits_for}
    yield from (reason(say) for code, say in NEEDS.items() if code in codes)
    if "APPROVAL_MISSING" in codes:
        has = [f"{name} as {role}" for name, role, _ in standing.approvers]
        tier = standing.policies.tier_of(standing.registration.model)
        yield reason(Say.NEEDS_APPROVALS, wanted=tier.approvals if tier else 1, has=has)
    if any(code.startswith("REQUEST_") for code in codes):
        yield reason(Say.NEEDS_REQUEST)


def _automatic(facts: Facts) -> Verdict:
    """The verdict where policies govern no alias. It is PENDING at best, because nobody
    approves.
    """
    version, again, tier = facts.registration.version, facts.again, facts.tier
    moves = [move for move in facts.promotions if move.predicate.version == version]
    if not moves:
        reasons = [reason(Say.NEVER_DECIDED)]
        return _verdict("NOT APPROVED", reasons, None, "no decision is recorded")
    move, testing = moves[-1].predicate, reason(Say.TESTING_ONLY)
    word: VerdictWord = "NOT APPROVED"
    if not move.allowed:
        reasons = [reason(Say.REFUSED_THEN, findings=_named(move.findings))]
    elif again is not None and not again.allowed:
        reasons = [reason(Say.REFUSED_NOW, findings=_named(again.findings))]
    elif tier is not None and not tier.promotable:
        reasons = [reason(Say.NOT_PROMOTABLE, tier=facts.registration.tier), testing]
    else:
        word = "PENDING"
        reasons = [reason(Say.PASSED_THEN_AND_NOW if again else Say.PASSED_THEN), testing]
    done = "given" if move.allowed else "refused"
    decided = f"{move.alias} {done} {moment(move.at)} by the automatic checks, no person"
    return _verdict(word, reasons, moves[-1], decided)


def _verdict(
    word: VerdictWord, reasons: list[Reason], move: Evidence[Promotion] | None, decided: str
) -> Verdict:
    return Verdict(
        word=word,
        reasons=reasons,
        reason=text_of(reasons),
        alias=move.predicate.alias if move else None,
        decided=decided,
        evidence=[move.index] if move else [],
    )


def _named(findings: Iterable[Finding]) -> list[str]:
    return named([finding.code for finding in findings]) or ["no finding was recorded"]
