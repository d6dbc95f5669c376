"""The verdict: computed from records, never typed.

1. What does not verify overrides everything (`governance.report.build`).
2. A version that was retired, or that people rolled back from, is WITHDRAWN until it is given an
   alias again.
3. A version that people gave a governed alias is APPROVED as long as the decision comes out as
   logged and nothing stands against it when it is decided again; WITH CONDITIONS where a waiver
   carries it.
4. Any other is PENDING where only people's word is missing, and NOT APPROVED where anything else
   stands against it.
"""

from __future__ import annotations

from governance.attest.predicates import Finding
from governance.base.text import moment, timed, words
from governance.log.evidence import Evidence
from governance.report.facts import Facts, promoted
from governance.report.model import Verdict, VerdictWord
from governance.report.standing import Held, Standing


def verdict(facts: Facts) -> Verdict:
    """The one line a reader takes away."""
    if facts.standing is not None:
        return _governed(facts, facts.standing)
    if facts.standing_note != Facts.standing_note:
        return _verdict(
            "NOT APPROVED",
            f"{facts.standing_note[:1].upper()}{facts.standing_note[1:]}.",
            "none",
            None,
        )
    return _automatic(facts)


def conditions(standing: Standing) -> list[str]:
    """What carries an approval for a while: each waived finding with the last day of its waiver."""
    return [
        (
            f"{one.code} {one.subject}, waived until {moment(ends)}"
            if ends
            else f"{one.code} {one.subject}, waived"
        )
        for one in standing.today.waived
        for ends in [waived_until(standing, one)]
    ]


def waived_until(standing: Standing, finding: Finding) -> str:
    """When the last waiver in force of a finding ends; empty where there is none."""
    mine = [
        item.predicate.expires
        for item, why in standing.waivers
        if not why
        and (item.predicate.finding, item.predicate.about) == (finding.code, finding.subject)
    ]
    return max(mine, default="")


def because(findings: list[Finding]) -> str:
    """Codes of findings, each once."""
    return ", ".join(dict.fromkeys(one.code for one in findings)) or "no finding was recorded"


def decided_by(standing: Standing, item: Evidence) -> str:
    """A decision on a governed alias, and on whose word."""
    said = promoted(item)
    asked = standing.request_of(item)
    who = (
        f"asked for by {asked.predicate.principal} ({asked.predicate.role})"
        if asked
        else "asked for by nobody"
    )
    if asked is not None and standing.now.authority.speaker(asked) is None:
        who = f"asked for in the name of {asked.predicate.principal}, who did not sign that"
    done = {"promote": "given", "rollback": "given back", "retire": "retired"}[said.action]
    if said.action == "retire":
        return (
            f"retired {moment(said.at)}, {who}"
            if said.allowed
            else f"retirement refused {moment(said.at)}, {who}"
        )
    return f"{said.alias} {done if said.allowed else 'refused'} {moment(said.at)}, {who}"


def _governed(facts: Facts, standing: Standing) -> Verdict:
    last = standing.decisions[-1] if standing.decisions else None
    wrong = _contradicted(standing)
    if standing.retired is not None:
        why = f"Retired; {_reason(standing, standing.retired)}"
        return _verdict("WITHDRAWN", f"{why}. It holds no alias.", standing.alias, last, standing)
    back = _rolled_back(standing)
    if back is not None and back.ended is not None:
        to = promoted(back.ended).version
        why = f"Rolled back from {back.alias} to version {to}"
        return _verdict(
            "WITHDRAWN", f"{why} on {moment(promoted(back.ended).at)}.", back.alias, last, standing
        )
    if wrong:
        serves = f" {_serves(facts, standing)}." if standing.live else ""
        return _verdict("NOT APPROVED", wrong + serves, standing.alias, last, standing)
    if standing.released is not None:
        return _released(facts, standing, last)
    against = [one for one in standing.today.findings if one not in standing.waits_for]
    if against:
        reason = f"Decided again under the policies in force, it is denied: {because(against)}."
        return _verdict(
            "NOT APPROVED", _rejected(standing) + reason, standing.alias, last, standing
        )
    missing = _missing(standing)
    reason = (
        f"Nothing automatic stands against it; it waits for {missing}. Good for candidate only."
    )
    return _verdict("PENDING", reason, standing.alias, last, standing)


def _contradicted(standing: Standing) -> str:
    """A decision that allowed the version and does not come out so when made again."""
    wrong = [(item, why) for item, why in standing.unreproduced if promoted(item).allowed]
    return f"The decision of E{wrong[0][0].index} does not hold: {wrong[0][1]}." if wrong else ""


def _released(facts: Facts, standing: Standing, last: Evidence | None) -> Verdict:
    against, serves = standing.against, _serves(facts, standing)
    if against:
        why = "; ".join(_told(one) for one in against[:2]) + (
            f"; and {len(against) - 2} more" * (len(against) > 2)
        )
        reason = f"Approved before, and decided again it is denied: {why}. {serves}."
        return _verdict("NOT APPROVED", reason, standing.alias, last, standing)
    people = ", ".join(f"{name} ({role})" for name, role, _ in standing.approvers)
    reason = (
        f"Approved by {people or 'nobody: the tier wants no approval'}; decided again, it still is."
        f" {serves}."
    )
    found = conditions(standing)
    word: VerdictWord = "APPROVED WITH CONDITIONS" if found else "APPROVED"
    if found:
        carried = because(list(standing.today.waived))
        reason = (
            f"{reason} {len(found)} waived finding{'s' * (len(found) > 1)} carried it: {carried}."
        )
    return _verdict(word, reason, standing.alias, last, standing, found)


def _serves(facts: Facts, standing: Standing) -> str:
    live = words([one.alias for one in standing.live])
    serves = (
        f"It is {live}"
        if standing.live
        else "It holds no alias now; another version took its place"
    )
    return serves + (", as the log says; the registry says otherwise" if facts.registry else "")


def _told(one: Finding) -> str:
    return f"{one.code} ({one.message})"


def _rejected(standing: Standing) -> str:
    return "".join(
        f"Rejected by {name} as {role}: {item.predicate.reason.rstrip('.')}. "
        for name, role, item in standing.rejections
    )


def _missing(standing: Standing) -> str:
    """Whose word is missing."""
    codes = {one.code for one in standing.waits_for}
    tier = standing.policies.tier_of(standing.said.model)
    has = ", ".join(f"{name} as {role}" for name, role, _ in standing.approvers)
    found = []
    if "POLICY_NOT_SIGNED" in codes:
        found.append("the owners' signatures on the policies")
    if {"PACKET_MISSING", "PACKET_OUT_OF_DATE"} & codes:
        found.append(
            "a packet"
            if "PACKET_MISSING" in codes
            else "a packet of what there is now, and approvals of it"
        )
    if "APPROVAL_MISSING" in codes:
        found.append(
            f"approval by {tier.approvals if tier else 'more'} people in different roles (has:"
            f" {has or 'none'})"
        )
    if any(code.startswith("REQUEST_") for code in codes):
        found.append("a signed request")
    return " and ".join(found) or "nothing but the move itself"


def _rolled_back(standing: Standing) -> Held | None:
    """What was rolled back from, where nothing was given since."""
    if standing.live or not standing.held:
        return None
    last = max(standing.held, key=lambda one: one.ended.index if one.ended else 0)
    return last if last.rolled_back else None


def _reason(standing: Standing, item: Evidence) -> str:
    asked = standing.request_of(item)
    return (
        f"{asked.predicate.principal} asked: {asked.predicate.reason.rstrip('.')}"
        if asked
        else "no reason is recorded"
    )


def _verdict(
    word: VerdictWord,
    reason: str,
    alias: str,
    last: Evidence | None,
    standing: Standing | None = None,
    conditions: list[str] | None = None,
) -> Verdict:
    said = (
        decided_by(standing, last)
        if standing and last
        else "no decision on a governed alias is recorded"
    )
    refs = [last.index] if last else []
    return Verdict(
        word=word,
        reason=timed(reason),
        alias=alias,
        decided=said,
        conditions=conditions or [],
        evidence=refs,
    )


def _automatic(facts: Facts) -> Verdict:
    """Where policies govern no alias: PENDING at best, since people are not asked."""
    promotions = [
        item for item in facts.promotions if promoted(item).version == facts.registration.version
    ]
    last = promotions[-1] if promotions else None
    refs = [last.index] if last else []
    tier = facts.policies.tier_of(facts.registration.model) if facts.policies else None
    alias = promoted(last).alias if last else "none"

    def made(word: VerdictWord, reason: str) -> Verdict:
        said = _by_function(last) if last else "no decision about an alias is recorded"
        return Verdict(
            word=word, reason=timed(reason), alias=alias, decided=said, conditions=[], evidence=refs
        )

    if last is None or not promoted(last).allowed:
        why = because(promoted(last).findings) if last else "no alias was ever given to it"
        return made("NOT APPROVED", f"Refused: {why}.")
    if facts.again is not None and not facts.again.allowed:
        found = because(list(facts.again.findings))
        return made(
            "NOT APPROVED", f"Decided again under the policies in force, it is denied: {found}."
        )
    if tier is not None and not tier.promotable:
        return made(
            "NOT APPROVED",
            f"Tier {facts.registration.tier} is not promotable: good for {alias} only.",
        )
    again = (
        "and still does when decided again"
        if facts.again
        else "not decided again: policies are not at hand"
    )
    reason = (
        f"Every automatic gate allowed it, {again}; no person has approved it. Good for {alias}"
        " only."
    )
    return made("PENDING", reason)


def _by_function(item: Evidence) -> str:
    said = promoted(item)
    word = "given" if said.allowed else "refused"
    return f"{said.alias} {word} {moment(said.at)} by the decision function, no person"
