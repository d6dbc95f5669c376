"""Page one, apart from its table of gates: verdict, use, exceptions, people, change, way back, open points.

The verdict is computed; nobody types it. People's approvals are not recorded by this version, so the best it
can say is PENDING.
"""

from __future__ import annotations

from governance.evidence import Evidence
from governance.policy import Datacard
from governance.predicates import Requester
from governance.report.facts import PREFIX, Facts, at, promoted, registered, run_of
from governance.report.model import Item, Person, Use, Verdict
from governance.report.text import moment

NOT_COVERED = (
    "Serving: request logs, output marking, access and actual use are recorded where the model is served, not here.",
    "Law: whether a lawful basis or licence holds is a judgement; this report shows what was declared.",
    "What a base model from outside was trained on; hidden backdoors and semantic poisoning are not shown absent.",
)


def verdict(facts: Facts) -> Verdict:
    """PENDING where everything automatic holds, NOT APPROVED where something does not."""
    promotions = facts.promotions
    last = promotions[-1] if promotions else None
    refs = [last.index] if last else []
    tier = facts.policies.tier_of(facts.registration.model) if facts.policies else None
    alias, decision = (
        (promoted(last).alias, _decision(last)) if last else ("none", "no decision about an alias is recorded")
    )
    if last is None or not promoted(last).allowed:
        why = _because([f.code for f in promoted(last).findings]) if last else "no alias was ever given to it"
        return Verdict(word="NOT APPROVED", reason=f"Refused: {why}.", alias=alias, decided=decision, evidence=refs)
    if facts.again is not None and not facts.again.allowed:
        why = _because([f.code for f in facts.again.findings])
        reason = f"Decided again under the policies in force, it is denied: {why}."
        return Verdict(word="NOT APPROVED", reason=reason, alias=alias, decided=decision, evidence=refs)
    if tier is not None and not tier.promotable:
        reason = f"Tier {facts.registration.tier} is not promotable: good for {alias} only."
        return Verdict(word="NOT APPROVED", reason=reason, alias=alias, decided=decision, evidence=refs)
    again = "and still does when decided again" if facts.again else "not decided again: policies are not at hand"
    reason = f"Every automatic gate allowed it, {again}; no person has approved it. Good for {alias} only."
    return Verdict(word="PENDING", reason=reason, alias=alias, decided=decision, evidence=refs)


def _decision(item: Evidence) -> str:
    promotion = promoted(item)
    word = "given" if promotion.allowed else "refused"
    return f"{promotion.alias} {word} {moment(promotion.at)} by the decision function, no person"


def _because(codes: list[str]) -> str:
    return ", ".join(dict.fromkeys(codes)) or "no finding was recorded"


def use(facts: Facts) -> Use:
    """What policy says the model is for."""
    known = facts.policies.rules.models.get(facts.registration.model) if facts.policies else None
    tier = facts.policies.tier_of(facts.registration.model) if facts.policies else None
    approved = (
        [f"purpose {known.purpose}, region {known.region}, as candidate: to be tried, not served"] if known else []
    )
    ends = sorted(str(card.retention.until) for card in _cards(facts) if card.retention.until)
    demands = [f"approvals by {tier.approvals} people in different roles"] if tier and tier.approvals else []
    demands += [] if tier is None or tier.promotable else ["not promotable"]
    demands += ["evaluation signed by a key other than the trainer's"] if tier and tier.separate_evaluator else []
    return Use(
        approved_for=approved or [facts.policies_note or "nothing: policy does not name this model"],
        not_approved_for=[
            "serving users (no approval)",
            "every other purpose",
            "decisions about people made by it alone",
        ],
        tier=facts.registration.tier,
        tier_demands=demands or ["none beyond the automatic gates"],
        review_by=f"not set; retention of its data ends {ends[0]} at the earliest" if ends else "not set",
    )


def _cards(facts: Facts) -> list[Datacard]:
    cards = facts.policies.datacards if facts.policies else {}
    return [cards[chain.dataset] for chain, _ in facts.datasets if chain.dataset in cards]


def people(facts: Facts) -> list[Person]:
    """Who did what, as far as signatures show it."""
    trains = [node.train for node in facts.trained if node.train]
    scored = [item for node in facts.trained for suite in facts.suites if (item := facts.evaluation(node, suite))]
    return [
        _signed("trained", trains, facts),
        _signed("evaluated", scored, facts),
        _nobody("validated", "not done: no independent validation is recorded"),
        _nobody("approved", f"not done; {needed(facts)}"),
        _nobody("deployed", "not deployed"),
    ]


def _signed(did: str, items: list[Evidence], facts: Facts) -> Person:
    if not items:
        return _nobody(did, "not recorded")
    asked: list[Requester] = [run.requested_by for item in items if (run := run_of(item))]
    names = sorted({f"{who.name}{'' if who.authenticated else ' (claimed)'}" for who in asked})
    keys = sorted({f"{item.keyid[:PREFIX]}{' (development)' if item.development else ''}" for item in items})
    return Person(
        did=did,
        who=", ".join(names),
        role="not recorded",
        at=moment(at(items[-1])),
        key=", ".join(keys),
        assurance="self-attested",
        evidence=[item.index for item in items][:6],
    )


def needed(facts: Facts) -> str:
    """Whose approval policy demands, in words."""
    tier = facts.policies.tier_of(facts.registration.model) if facts.policies else None
    if tier is None:
        return facts.policies_note or "needs: a tier in policies/policy.yaml"
    return f"needs: approval by {tier.approvals} people in different roles" if tier.approvals else "needs: nobody"


def _nobody(did: str, why: str) -> Person:
    return Person(did=did, who=why, role="none", at="none", key="none", assurance="none", evidence=[])


def separation(facts: Facts) -> str:
    """Whether different people trained, evaluated and approved."""
    keys = {
        did: set(person.key.split(", ")) for person in people(facts) if (did := person.did) in ("trained", "evaluated")
    }
    same = keys["trained"] & keys["evaluated"] - {"none"}
    shared = (
        f"the same key ({', '.join(sorted(same))}) trained and evaluated"
        if same
        else "different keys trained and evaluated"
    )
    return f"separation of duties: not shown ({shared}; nobody has approved)"


def way_back(facts: Facts) -> str:
    """The version to go back to."""
    if facts.previous is None:
        return "none: there is no earlier version; drill: not done"
    before = registered(facts.previous)
    return f"version {before.version} ({before.model_digest[:PREFIX]}), registered; drill: not done"


def open_items(facts: Facts) -> list[Item]:
    """What waits, and what stands in the way of more than `candidate`."""
    items = [
        Item(what=f"{f.code}: {f.subject}: {f.message}", next=f.next or "none", owner="not assigned", evidence=[])
        for f in (facts.again.findings if facts.again else ())
    ]
    only = facts.again.candidate_only if facts.again else ()
    items += [
        Item(what=f"candidate only: {why}", next="see docs/findings.md", owner="not assigned", evidence=[])
        for why in only
    ]
    return items
