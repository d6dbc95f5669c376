"""The verdict, computed from records.

1. Evidence that does not verify overrides everything (`governance.report.build`).
2. A version that was retired or rolled back is WITHDRAWN until it gets an alias again.
3. A released version is APPROVED while its decision can be reproduced and would be allowed again
   today. It is APPROVED WITH CONDITIONS where a waiver is needed for that.
4. Any other version is PENDING where only people's signatures are missing, and NOT APPROVED where
   any other finding is open.
"""

from __future__ import annotations

from typing import NamedTuple

from governance.attest.predicates import Finding
from governance.base.text import moment
from governance.log.evidence import Evidence
from governance.report.facts import Facts, promoted
from governance.report.model import Reason, Verdict, VerdictWord
from governance.report.reasons import Say, named, reason, text_of
from governance.report.standing import Held, Standing

APPROVED: frozenset[VerdictWord] = frozenset(["APPROVED", "APPROVED WITH CONDITIONS"])


class Banner(NamedTuple):
    """The text and colour of a verdict."""

    tone: str
    """CSS class: `good`, `wait` or `bad`."""
    sign: str
    text: str


TONES: dict[VerdictWord, tuple[str, str]] = {
    "APPROVED": ("good", "✓"),
    "APPROVED WITH CONDITIONS": ("wait", "◐"),
    "NOT APPROVED": ("bad", "✗"),
    "PENDING": ("wait", "○"),
    "WITHDRAWN": ("bad", "✗"),
    "EVIDENCE DOES NOT VERIFY": ("bad", "✗"),
}


def banner(word: VerdictWord, faults: int) -> Banner:
    """The banner of a report and the state of an index row. Any fault changes it."""
    tone, sign = TONES[word]
    if not faults:
        return Banner(tone, sign, word)
    return Banner("bad", "✗", f"{word}, WITH {faults} {'FAULT' if faults == 1 else 'FAULTS'}")


def verdict(facts: Facts) -> Verdict:
    """The verdict of a version."""
    if facts.standing is not None:
        return _governed(facts, facts.standing)
    if facts.undecidable is not None:
        reasons = [reason(Say.CANNOT_BE_DECIDED, why=facts.undecidable)]
        return _verdict("NOT APPROVED", reasons, None, [], NEVER)
    return _automatic(facts)


NEVER = "no decision on a governed alias is recorded"


def waived_until(standing: Standing, finding: Finding) -> str | None:
    """When the last waiver in force of a finding ends."""
    about = (finding.code, finding.subject)
    ends = [
        str(waiver.predicate.expires)
        for waiver, problem in standing.waivers
        if not problem and (waiver.predicate.finding, waiver.predicate.about) == about
    ]
    return max(ends, default=None)


def decided_by(standing: Standing, decision: Evidence) -> str:
    """A decision on a governed alias and its requester, as text."""
    move, request = promoted(decision), standing.request_of(decision)
    if request is None:
        asker = "asked for by nobody"
    elif standing.now.authority.speaker(request) is None:
        asker = f"asked for in the name of {request.predicate.principal}, who did not sign that"
    else:
        asker = f"asked for by {request.predicate.principal} ({request.predicate.role})"
    outcome = {"promote": "given", "rollback": "given back", "retire": "retired"}[move.action]
    if move.action == "retire":
        what = "retired" if move.allowed else "retirement refused"
    else:
        what = f"{move.alias} {outcome if move.allowed else 'refused'}"
    return f"{what} {moment(move.at)}, {asker}"


def _governed(facts: Facts, standing: Standing) -> Verdict:
    reasons, conditions = _reasons(facts, standing)
    decisions = standing.decisions[-1:]
    decided = decided_by(standing, decisions[0]) if decisions else NEVER
    refs = [decision.index for decision in decisions]
    return _verdict(word_of(standing), reasons, standing.alias, refs, decided, conditions)


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


def _not_reproduced(standing: Standing) -> list[tuple[Evidence, str]]:
    """The moves that were allowed and are not when they are decided again."""
    return [
        (decision, why) for decision, why in standing.unreproduced if promoted(decision).allowed
    ]


def _refusing(standing: Standing) -> list[Finding]:
    """The findings that no signature settles."""
    return [finding for finding in standing.today.findings if finding not in standing.waits_for]


def _reasons(facts: Facts, standing: Standing) -> tuple[list[Reason], list[str]]:
    """Why the verdict is what `word_of` says, and its conditions."""
    if standing.retired is not None:
        return [_retired(standing, standing.retired)], []
    back = _rolled_back(standing)
    if back is not None:
        return [back], []
    wrong = _not_reproduced(standing)
    if wrong:
        broken = reason(Say.NOT_REPRODUCED, entry=wrong[0][0].index, why=wrong[0][1])
        return [broken, *_serving(facts, standing)], []
    if standing.released is not None:
        return _released(facts, standing)
    refusing = _refusing(standing)
    if refusing:
        refused = reason(Say.REFUSED_NOW, findings=_named(refusing))
        return [*_rejections(standing), refused], []
    return [reason(Say.AUTOMATIC_CHECKS_OK), *_missing(standing), reason(Say.TESTING_ONLY)], []


def _released(facts: Facts, standing: Standing) -> tuple[list[Reason], list[str]]:
    if standing.against:
        findings = [f"{finding.message} ({finding.code})" for finding in standing.against[:2]]
        findings += [f"{len(standing.against) - 2} more"] if len(standing.against) > 2 else []
        refused = reason(Say.WOULD_BE_REFUSED, findings="; ".join(findings))
        return [refused, *_serving(facts, standing)], []
    people = [f"{name} ({role})" for name, role, _ in standing.approvers]
    approved = reason(Say.APPROVED, people=people) if people else reason(Say.NO_APPROVAL_REQUIRED)
    reasons = [approved, *_live(facts, standing)]
    waived = list(standing.today.waived)
    if not waived:
        return reasons, []
    reasons.append(reason(Say.WAIVED_FINDINGS, findings=_named(waived)))
    conditions = [
        f"{finding.code} {finding.subject}, waived until {_waiver_end(standing, finding)}"
        for finding in waived
    ]
    return reasons, conditions


def _waiver_end(standing: Standing, finding: Finding) -> str:
    return moment(waived_until(standing, finding) or "unknown")


def _live(facts: Facts, standing: Standing) -> list[Reason]:
    if not standing.live:
        return [reason(Say.REPLACED)]
    live = reason(Say.LIVE, aliases=[tenure.alias for tenure in standing.live])
    return [live, *_registry(facts)]


def _serving(facts: Facts, standing: Standing) -> list[Reason]:
    """Reasons about the live aliases of a version that is not approved."""
    if not standing.live:
        return [reason(Say.REPLACED)] if standing.released is not None else []
    live = reason(Say.STILL_SERVING, aliases=[tenure.alias for tenure in standing.live])
    return [live, *_registry(facts)]


def _registry(facts: Facts) -> list[Reason]:
    return [reason(Say.REGISTRY_SAYS_OTHERWISE)] if facts.registry else []


def _rejections(standing: Standing) -> list[Reason]:
    return [
        reason(Say.REJECTED, name=name, role=role, reason=rejection.predicate.reason.rstrip("."))
        for name, role, rejection in standing.rejections
    ]


def _missing(standing: Standing) -> list[Reason]:
    """What people still have to sign."""
    codes = {finding.code for finding in standing.waits_for}
    tier = standing.policies.tier_of(standing.registration.model)
    missing = []
    if "POLICY_NOT_SIGNED" in codes:
        missing.append(reason(Say.NEEDS_POLICY_SIGNATURES))
    if "PACKET_MISSING" in codes:
        missing.append(reason(Say.NEEDS_PACKET))
    elif "PACKET_OUT_OF_DATE" in codes:
        missing.append(reason(Say.NEEDS_NEW_PACKET))
    if "APPROVAL_MISSING" in codes:
        has = [f"{name} as {role}" for name, role, _ in standing.approvers]
        required = tier.approvals if tier else 1
        missing.append(reason(Say.NEEDS_APPROVALS, wanted=required, has=has))
    if any(code.startswith("REQUEST_") for code in codes):
        missing.append(reason(Say.NEEDS_REQUEST))
    return missing or [reason(Say.NEEDS_MOVE)]


def _rolled_back(standing: Standing) -> Reason | None:
    """The reason where people rolled back from the version and it got no alias since."""
    if standing.live or not standing.held:
        return None
    last: Held = max(standing.held, key=lambda tenure: tenure.ended.index if tenure.ended else 0)
    if last.ended is None or not last.rolled_back:
        return None
    move = promoted(last.ended)
    return reason(Say.ROLLED_BACK, alias=last.alias, version=move.version, at=move.at)


def _retired(standing: Standing, retirement: Evidence) -> Reason:
    request = standing.request_of(retirement)
    if request is None:
        return reason(Say.RETIRED_UNASKED)
    why = request.predicate.reason.rstrip(".")
    return reason(Say.RETIRED, name=request.predicate.principal, reason=why)


def _automatic(facts: Facts) -> Verdict:
    """The verdict where policies govern no alias. It is PENDING at best, because nobody
    approves.
    """
    version = facts.registration.version
    moves = [promotion for promotion in facts.promotions if promoted(promotion).version == version]
    if not moves:
        reasons = [reason(Say.NEVER_DECIDED)]
        return _verdict("NOT APPROVED", reasons, None, [], "no decision is recorded")
    move = promoted(moves[-1])
    word, reasons = _automatically(facts, move.allowed, move.findings)
    done = "given" if move.allowed else "refused"
    decided = f"{move.alias} {done} {moment(move.at)} by the automatic checks, no person"
    return _verdict(word, reasons, move.alias, [moves[-1].index], decided)


def _automatically(
    facts: Facts, allowed: bool, findings: list[Finding]
) -> tuple[VerdictWord, list[Reason]]:
    tier = facts.policies.tier_of(facts.registration.model) if facts.policies else None
    testing = reason(Say.TESTING_ONLY)
    if not allowed:
        return "NOT APPROVED", [reason(Say.REFUSED_THEN, findings=_named(findings))]
    if facts.again is not None and not facts.again.allowed:
        now = _named(list(facts.again.findings))
        return "NOT APPROVED", [reason(Say.REFUSED_NOW, findings=now)]
    if tier is not None and not tier.promotable:
        tiered = reason(Say.NOT_PROMOTABLE, tier=facts.registration.tier)
        return "NOT APPROVED", [tiered, testing]
    return "PENDING", [
        reason(Say.PASSED_THEN_AND_NOW if facts.again else Say.PASSED_THEN),
        testing,
    ]


def _named(findings: list[Finding]) -> list[str]:
    return named([finding.code for finding in findings]) or ["no finding was recorded"]


def _verdict(
    word: VerdictWord,
    reasons: list[Reason],
    alias: str | None,
    evidence: list[int],
    decided: str,
    conditions: list[str] | None = None,
) -> Verdict:
    return Verdict(
        word=word,
        reasons=reasons,
        reason=text_of(reasons),
        alias=alias,
        decided=decided,
        conditions=conditions or [],
        evidence=evidence,
    )
