"""SLSA verification summary v1: the last decision about each alias of the version.

`verifiedLevels` are names of our own; they claim no SLSA build level. A decision that does not come
out the same when it is repeated gets no summary.
"""

from __future__ import annotations

from collections.abc import Iterator

from governance.attest.predicates import Promotion, PromotionRequest
from governance.exports.catalog import Document, Format, Made
from governance.exports.records import Records
from governance.exports.statements import logged, model_subjects, statement
from governance.log.evidence import Evidence

VSA = "https://slsa.dev/verification_summary/v1"
ALLOWED, FAILED = "COUNTERSIGN_RELEASE_DECISION_ALLOWED", "FAILED"
"""`verifiedLevels` of a passed and a failed summary."""


def summaries(records: Records) -> Made:
    """A summary of each alias's last decision, refusals included."""
    documents, missing = [], []
    standing = records.facts.standing
    unreproduced = standing.unreproduced if standing else ()
    differs = {decision.index: why for decision, why in unreproduced}
    for alias, decision in sorted(_last_decisions(records).items()):
        if decision.index in differs:
            why = differs[decision.index]
            missing.append(f"{alias}: repeating the decision of E{decision.index} fails: {why}")
        else:
            documents.append(_summary(records, decision))
    if not documents and not missing:
        missing.append("no decision about an alias of this version is recorded")
    return Made(documents, missing)


def _last_decisions(records: Records) -> dict[str, Evidence]:
    decisions: dict[str, Evidence] = {}
    for evidence in records.facts.promotions:
        promotion: Promotion = evidence.predicate
        of_version = promotion.version == records.facts.registration.version
        if of_version and promotion.action != "retire":
            decisions[promotion.alias] = evidence
    return decisions


def _summary(records: Records, decision: Evidence) -> Document:
    promotion: Promotion = decision.predicate
    facts = records.facts
    tier, alias, policy = facts.registration.tier, promotion.alias, promotion.policy
    levels = [ALLOWED, f"COUNTERSIGN_TIER_{tier.upper()}", f"COUNTERSIGN_ALIAS_{alias.upper()}"]
    read = {statement.index: statement for statement in _decided_on(records)}
    before = [logged(read[index]) for index in sorted(read) if index < decision.index]
    inputs = [{"uri": entry["uri"], "digest": entry["digest"]} for entry in before]
    version = f"{facts.project}:{promotion.model}:{promotion.version}:{promotion.alias}"
    predicate = {
        "verifier": {"id": records.log_id},
        "timeVerified": promotion.at,
        "resourceUri": f"urn:countersign:model:{version}",
        "policy": {"uri": f"urn:countersign:policies:{policy}", "digest": {"sha256": policy}},
        "inputAttestations": inputs,
        "verificationResult": "PASSED" if promotion.allowed else "FAILED",
        "verifiedLevels": levels if promotion.allowed else [FAILED],
        "slsaVersion": "1.1",
    }
    subjects = model_subjects(records, facts.released)
    return statement(f"vsa-{promotion.alias}", VSA, subjects, predicate)


def _decided_on(records: Records) -> Iterator[Evidence]:
    """What a decision about the version reads: its chain, its registration and people's word."""
    facts = records.facts
    yield from facts.statements()
    yield facts.registration_statement
    if facts.standing is None:
        return
    yield from facts.standing.approvals
    yield from facts.standing.packets
    yield from (waiver for waiver, _ in facts.standing.waivers)
    yield from facts.standing.incidents
    yield from facts.now.evidence.by_subject(facts.digest, PromotionRequest)


FORMAT = Format(
    "slsa-vsa", "SLSA verification summary v1, one per alias that was decided on", summaries
)
