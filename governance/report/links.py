"""The evidence of a version by kind, and what is missing of each kind.

To add a kind: describe it in `governance.report.frameworks.EVIDENCE`, and add a function below with
its line in `LOOKUPS`. `NOT_RECORDED` explains the kinds that Countersign does not record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from governance.attest.predicates import Quality, Scan
from governance.base.model import Model
from governance.history.lineage import evaluated, reproductions, trained
from governance.history.verify import LogReport
from governance.log.evidence import Evidence
from governance.release import drills
from governance.report import assurance, scores
from governance.report.facts import PREFIX, Facts, registered, run_of
from governance.report.frameworks import EVIDENCE
from governance.report.people import separation
from governance.report.scores import is_safety

Presence = Literal["present", "partial", "missing", "not recorded"]
"""Complete; partly there; missing; or Countersign keeps no record of the kind."""


class Link(Model):
    """One kind of evidence, and what this version has of it."""

    key: str
    asks: str
    """What complete evidence contains."""
    state: Presence
    says: str
    lacks: list[str]
    evidence: list[int]
    """Entries of the log."""


@dataclass(frozen=True)
class Holding:
    """What a version has of one kind of evidence."""

    says: str
    lacks: Sequence[str]
    """What is missing for complete evidence."""
    evidence: Sequence[Evidence | None]
    """The statements that show it. Without any, the evidence is missing."""


def link(key: str, facts: Facts, verified: LogReport) -> Link:
    """What a version has of one kind of evidence."""
    if key in NOT_RECORDED:
        return _link(key, "not recorded", Holding(NOT_RECORDED[key], [], []))
    holding = _log(facts, verified) if key == LOG else LOOKUPS[key](facts)
    if not any(holding.evidence):
        return _link(key, "missing", Holding(holding.says, [], []))
    return _link(key, "partial" if holding.lacks else "present", holding)


def _link(key: str, state: Presence, holding: Holding) -> Link:
    return Link(
        key=key,
        asks=EVIDENCE[key],
        state=state,
        says=holding.says,
        lacks=list(holding.lacks),
        evidence=sorted({statement.index for statement in holding.evidence if statement}),
    )


def _sources(facts: Facts) -> Holding:
    cards = facts.policies.datacards if facts.policies else {}
    lacks = [facts.policies_note] if facts.policies is None else []
    for chain, _ in facts.datasets:
        card = cards.get(chain.dataset)
        blanks = card.blanks() if card else ["the datacard"]
        lacks += [f"{chain.dataset}: {', '.join(blanks)}"] if blanks else []
        lacks += [] if chain.ingest else [f"{chain.dataset}: evidence of its ingestion"]
    ingests = [chain.ingest for chain, _ in facts.datasets]
    return Holding(
        f"{len(ingests)} datasets, each declared on a datacard of the policies", lacks, ingests
    )


def _lineage(facts: Facts) -> Holding:
    chains = [chain for chain, _ in facts.datasets]
    lacks = [
        f"{chain.dataset}: evidence of {chain.broken_at}" for chain in chains if chain.broken_at
    ]
    statements = [
        statement for chain in chains for statement in (chain.ingest, chain.scan, chain.quality)
    ]
    return Holding(
        f"{len(chains)} datasets followed from source to the records that were used, by digest",
        lacks,
        statements,
    )


def _scans(facts: Facts) -> Holding:
    chains = [chain for chain, _ in facts.datasets]
    scans = [
        chain.scan.predicate
        for chain in chains
        if chain.scan and isinstance(chain.scan.predicate, Scan)
    ]
    total, left = (
        sum(sum(scan.found.values()) for scan in scans),
        sum(sum(scan.remaining.values()) for scan in scans),
    )
    lacks = [f"{chain.dataset}: a scan" for chain in chains if chain.scan is None]
    lacks += [f"{scan.dataset}: recall on a seeded set" for scan in scans if scan.recall is None]
    lacks += ["a person's sample of what remains"]
    return Holding(
        f"{total:,} occurrences found, {left:,} remain", lacks, [chain.scan for chain in chains]
    )


def _quality(facts: Facts) -> Holding:
    chains = [chain for chain, _ in facts.datasets]
    statements = [chain.quality.predicate for chain in chains if chain.quality]
    results = [result for result in statements if isinstance(result, Quality)]
    lacks = [f"{chain.dataset}: a quality result" for chain in chains if chain.quality is None]
    lacks += [f"{result.dataset}: it did not pass" for result in results if not result.passed]
    count = sum(len(result.expectations) for result in results)
    return Holding(
        f"{count} expectations on {len(results)} datasets",
        lacks,
        [chain.quality for chain in chains],
    )


def _labels(facts: Facts) -> Holding:
    cards = facts.policies.datacards if facts.policies else {}
    declared = [
        chain
        for chain, _ in facts.datasets
        if chain.dataset in cards and cards[chain.dataset].labelling.strip()
    ]
    lacks = ["the guidelines themselves: version and digest"]
    return Holding(
        f"{len(declared)} datacards say who labelled and how",
        lacks,
        [chain.ingest for chain in declared],
    )


def _agreement(facts: Facts) -> Holding:
    statements = [
        chain.quality
        for chain, _ in facts.datasets
        if chain.quality
        and any(check.column.startswith("rater_") for check in chain.quality.predicate.expectations)
    ]
    lacks = ["adjudication", "the pool of annotators", "agreement per label"]
    return Holding(
        f"agreement between raters was tested on {len(statements)} datasets", lacks, statements
    )


def _trainings(facts: Facts) -> Holding:
    nodes = facts.trained
    lacks = [f"{node.name}: an allowed gate before it" for node in nodes if node.gate is None]
    trainings = [trained(node.train) for node in nodes if node.train]
    lacks += [
        f"{training.stage}: a commit" for training in trainings if training.code.commit is None
    ]
    lacks += [f"{training.stage}: committed code" for training in trainings if training.code.dirty]
    timed = all(
        {"device_hours", "gpu_hours", "flops"} & training.run.detail.keys()
        for training in trainings
    )
    lacks += [] if timed else ["an estimate of compute"]
    lacks.append("an estimate of energy")
    return Holding(
        f"{len(nodes)} training stages, each with parameters, code and environment",
        lacks,
        [n.train for n in nodes],
    )


def _bom(facts: Facts) -> Holding:
    lacks = [f"{node.name}: where it comes from" for node in facts.chain if not node.known]
    for node in facts.trained:
        environment = trained(node.train).environment if node.train else None
        if environment and set(environment.versions) - set(environment.libraries):
            lacks.append(f"{node.name}: hashes and licences of its libraries")
    says = f"countersign export {_name(facts)} cyclonedx: {len(facts.chain)} models and their data"
    return Holding(says, lacks, [node.train or node.base for node in facts.chain])


def _training_summary(facts: Facts) -> Holding:
    lacks = ["the lines that the export marks OPEN", "the digest of what was published, and when"]
    trained_on = [
        chain.ingest
        for chain, uses in facts.datasets
        if any(use.startswith("train@") for use in uses)
    ]
    says = f"countersign export {_name(facts)} training-summary: {len(trained_on)} datasets"
    return Holding(says, lacks, trained_on)


def _evaluations(facts: Facts) -> Holding:
    own = scores.own_evaluation(facts)
    if own is None or evaluated(own).not_run is not None:
        return Holding("the version was not evaluated on its suite", [], [])
    fixed = scores.thresholds_fixed(facts)
    before = scores.fixed_before(facts)
    lacks = [] if before else [f"thresholds fixed before the run: {fixed}"]
    lacks += [f"{result.metric}: {result.gap}" for result in scores.judged(facts) if result.gap]
    if not scores.judged(facts):
        lacks.append("thresholds: policy demands nothing, or is not at hand")
    lacks += (
        []
        if facts.champion or facts.standing is None
        else ["comparison with a champion: there is none"]
    )
    lacks += [] if evaluated(own).slices else ["slices and the worst of them"]
    lacks += [
        f"a search of {result} for leaks into {evaluated(own).suite_name}"
        for result in scores.not_searched(facts)
    ]
    named = ", ".join(sorted(evaluated(own).scores))
    return Holding(
        f"{named} on {evaluated(own).suite_name}, n and intervals; thresholds fixed before:"
        f" {fixed}",
        lacks,
        [own],
    )


def _safety(facts: Facts) -> Holding:
    own = scores.own_evaluation(facts)
    named = sorted(name for name in evaluated(own).scores if is_safety(name)) if own else []
    before = [
        evaluation
        for node in facts.chain
        if node.sha256 != facts.digest and facts.suites
        for evaluation in [facts.evaluation(node, facts.suites[0])]
        if evaluation is not None and set(named) & set(evaluated(evaluation).scores)
    ]
    if own is None or not named:
        return Holding("no metric of its suite says anything about safety", [], [])
    lacks = ["red-team and jailbreak tests", *([] if before else ["the same before tuning"])]
    return Holding(
        f"{', '.join(named)}, on {len(before) + 1} models of the chain", lacks, [own, *before]
    )


def _reproduced(facts: Facts) -> Holding:
    """Reproductions: evaluations of the version under other keys, and repeats of its trainings."""
    scored = _scored_again(facts)
    lacks, evidence, trainings = list(scored.lacks), list(scored.evidence), []
    for node in facts.trained:
        repeats = reproductions(facts.view, node)
        trainings += [f"{node.name} {assurance.words(facts, node)}"] if repeats else []
        by_other_key = [
            repeat for repeat in repeats if node.train and repeat.keyid != node.train.keyid
        ]
        lacks += [] if by_other_key else [f"{node.name}: trained again under another key"]
        if not all(map(assurance.came_again, by_other_key)):
            lacks.append(f"{node.name}: the same result every time")
        evidence += repeats
    trained_again = "; ".join(trainings) or "no training was repeated"
    return Holding(f"{scored.says}; {trained_again}", lacks, evidence)


def _scored_again(facts: Facts) -> Holding:
    """Of the version itself."""
    own = scores.own_evaluation(facts)
    if own is None:
        return Holding("the version was not evaluated on its suite", ["an evaluation"], [])
    other = assurance.scored_again(facts, own)
    if not other:
        return Holding(
            "nobody scored it again under another key", ["scored again under another key"], []
        )
    equal = assurance.same_scores(own, other)
    lacks = [] if equal else ["the same scores"]
    return Holding(
        f"scored again under another key: {'the same scores' if equal else 'other scores'}",
        lacks,
        [own, *other],
    )


def _approvals(facts: Facts) -> Holding:
    standing = facts.standing
    if standing is None:
        return Holding(facts.standing_note, [], [])
    approvals = [approval for _, _, approval in standing.approvers]
    roles = ", ".join(sorted({role for _, role, _ in standing.approvers}))
    tier = facts.policies.tier_of(facts.registration.model) if facts.policies else None
    lacks = (
        [] if tier and len(approvals) >= tier.approvals else ["as many approvals as the tier asks"]
    )
    lacks += (
        []
        if all(approval.predicate.page for approval in approvals)
        else ["the page that was shown"]
    )
    return Holding(
        f"{len(approvals)} approvals count, in the roles {roles or 'none'}", lacks, approvals
    )


def _duties(facts: Facts) -> Holding:
    standing, duties = facts.standing, separation(facts)
    if standing is None or not standing.approvers:
        return Holding(duties.text, [], [])
    lacks = [] if duties.state == "holds" else ["separation of duties"]
    if _same_requester(facts):
        lacks.append("an evaluation that somebody else asked for than the training")
    return Holding(duties.text, lacks, [approval for _, _, approval in standing.approvers])


def _same_requester(facts: Facts) -> bool:
    """Whether one person requested training and evaluation. True where either is not recorded."""
    own, train = scores.own_evaluation(facts), facts.released.train
    if own is None or train is None:
        return True
    names = [trained(train).run.requested_by.name, evaluated(own).run.requested_by.name]
    return names[0] == names[1]


def _waivers(facts: Facts) -> Holding:
    standing = facts.standing
    if standing is None:
        return Holding(
            "policies in force let nobody accept anything", [], [facts.registration_statement]
        )
    waivers = [waiver for waiver, _ in standing.waivers]
    ends = [
        f"{waiver.predicate.finding} until {waiver.predicate.expires[:10]}"
        for waiver, why in standing.waivers
        if not why
    ]
    in_force = "; ".join(ends) or "none in force; a finding that no entry waives stops a release"
    return Holding(
        f"{len(waivers)} recorded: {in_force}", [], waivers or [facts.registration_statement]
    )


def _policy(facts: Facts) -> Holding:
    if facts.policies is None:
        return Holding(facts.policies_note, [], [])
    recorded = [
        statement
        for statement in facts.of("origin", "policy")
        if statement.subjects[0].sha256 == facts.policies.digest
    ]
    lacks = [] if recorded and recorded[0].predicate.files else ["their text in the log"]
    signed = facts.now.authority.in_force.signed_at if facts.now and facts.standing else None
    lacks += [] if signed is not None else ["signatures of policy owners"]
    return Holding(f"policies {facts.policies.digest[:PREFIX]}", lacks, recorded[:1])


def _log(facts: Facts, verified: LogReport) -> Holding:
    lacks = ["an anchor outside this machine, with its time"]
    lacks += [] if verified.origin else ["an established origin"]
    says = f"{verified.entries} entries verified, root {verified.root[:PREFIX]}"
    return Holding(says, lacks, [facts.registration_statement])


def _signatures(facts: Facts) -> Holding:
    statements = list(
        {
            statement.index: statement
            for statement in (*facts.statements(), facts.registration_statement)
        }.values()
    )
    development = sum(statement.development for statement in statements)
    lacks = (
        [f"named keys: {development} statements are signed by development keys"]
        if development
        else []
    )
    return Holding(f"{len(statements)} statements, each signature valid", lacks, statements)


def _access(facts: Facts) -> Holding:
    principals = facts.policies.rules.principals if facts.policies else []
    if not principals:
        return Holding(facts.policies_note or "policies name nobody", [], [])
    people = sum(principal.kind == "person" for principal in principals)
    lacks = ["the last review of these rights", "who can read data where it is stored"]
    entry = _policy(facts).evidence
    revocations = [
        statement
        for statement in facts.of("revocation")
        if statement.subjects[0].sha256 in _revoked(facts)
    ]
    authorizations = [
        statement
        for statement in facts.of("authorization")
        if statement.digest in _authorizations(facts)
    ]
    summary = (
        f"{people} people and {len(principals) - people} services, with roles and keys;"
        f" {len(revocations)} keys revoked; "
    )
    summary += f"{len(authorizations)} authorizations behind the runs"
    return Holding(summary, lacks, [*entry, *revocations, *authorizations])


def _revoked(facts: Facts) -> Mapping[str, int]:
    return facts.now.authority.revoked if facts.now else {}


def _authorizations(facts: Facts) -> set[str | None]:
    """Authorizations behind the runs of this version: people let services run in their name."""
    return {
        run.requested_by.authorization
        for statement in facts.statements()
        if (run := run_of(statement))
    } - {None}


def _inventory(facts: Facts) -> Holding:
    model = facts.policies.rules.models.get(facts.registration.model) if facts.policies else None
    lacks = [] if model else ["purpose and tier in policy"]
    lacks += ["an owner", "where it is deployed", "the next review"]
    standing = facts.standing
    held = (
        [
            f"{tenure.alias} {'until it was taken' if tenure.ended else 'now'}"
            for tenure in standing.held
        ]
        if standing
        else []
    )
    state = (
        "retired"
        if standing and standing.retired
        else ", ".join(held) or "never given a governed alias"
    )
    moves = [tenure.given for tenure in standing.held] if standing else []
    retirement = [standing.retired] if standing and standing.retired else []
    return Holding(
        f"{_name(facts)}, tier {facts.registration.tier}, {state}",
        lacks,
        [facts.registration_statement, *moves, *retirement],
    )


def _moves(facts: Facts) -> Holding:
    decisions = [
        decision
        for decision in facts.of("promotion")
        if decision.predicate.model == facts.registration.model
    ]
    calls = [
        decision
        for decision in facts.of("refusal", "call")
        if decision.predicate.model == facts.registration.model
    ]
    refused = sum(decision.kind == "refusal" for decision in calls)
    summary = (
        f"{len(decisions)} decisions about aliases of this model, refusals included;"
        f" {refused} calls refused by rule"
    )
    return Holding(summary, [], [*decisions, *calls] if decisions else [])


def _changes(facts: Facts) -> Holding:
    if facts.previous is None:
        return Holding(
            "the first version under this name: nothing before it to differ from",
            [],
            [facts.registration_statement],
        )
    before = registered(facts.previous)
    return Holding(
        f"compared with version {before.version} in the report",
        [],
        [facts.registration_statement, facts.previous],
    )


def _card(facts: Facts) -> Holding:
    model = facts.policies.rules.models.get(facts.registration.model) if facts.policies else None
    lacks = [] if model else ["intended use: policies name no such model"]
    lacks += ["groups of people it was tested on", "what oversight it needs"]
    return Holding(
        f"countersign export {_name(facts)} model-card", lacks, [facts.registration_statement]
    )


def _retention(facts: Facts) -> Holding:
    cards = facts.policies.datacards if facts.policies else {}
    declared = [
        chain
        for chain, _ in facts.datasets
        if chain.dataset in cards and cards[chain.dataset].retention.until
    ]
    lacks = ["proofs of deletion", "a ledger of erasures and the versions they reached"]
    return Holding(
        f"{len(declared)} datacards say until when data is kept",
        lacks,
        [chain.ingest for chain in declared],
    )


def _drills(facts: Facts) -> Holding:
    rollbacks = [
        rollback for rollback in facts.of("promotion") if rollback.predicate.action == "rollback"
    ]
    of_model = [
        rollback
        for rollback in rollbacks
        if rollback.predicate.model == facts.registration.model and rollback.predicate.allowed
    ]
    happened = f"{len(of_model)} rollbacks of this model happened"
    standing = facts.standing
    drill = (
        drills.last(standing.now, facts.registration.model, standing.alias) if standing else None
    )
    if drill is None:
        return Holding(f"{happened}; no rehearsal is recorded", ["a timed rehearsal"], of_model)
    ahead = standing.below() if standing else []
    target = ahead[0].predicate.version if ahead else None
    lacks = [] if drill.predicate.passed else ["a rehearsal that came off"]
    stale = target not in (None, drill.predicate.version)
    lacks += (
        [f"a rehearsal of going back to version {target}, which is next below now"] if stale else []
    )
    return Holding(
        f"last rehearsal {drills.summary(drill, None)}; {happened}", lacks, [drill, *of_model]
    )


def _incidents(facts: Facts) -> Holding:
    standing = facts.standing
    statements = standing.incidents if standing else []
    if not statements:
        return Holding("none recorded, which does not show that there were none", [], [])
    lacks = ["classification", "deadlines and notifications", "cause and fix"]
    return Holding(f"{len(statements)} statements about incidents", lacks, statements)


def _name(facts: Facts) -> str:
    return f"{facts.registration.model}/{facts.registration.version}"


LOG = "audit_log_verification"
LOOKUPS: Mapping[str, Callable[[Facts], Holding]] = {
    "source_register": _sources,
    "dataset_lineage": _lineage,
    "pii_scan": _scans,
    "dq_results": _quality,
    "label_guidelines": _labels,
    "label_agreement": _agreement,
    "training_record": _trainings,
    "ai_bom": _bom,
    "eval_results": _evaluations,
    "safety_eval": _safety,
    "repro_check": _reproduced,
    "approval_record": _approvals,
    "sod_check": _duties,
    "waiver_register": _waivers,
    "policy_snapshot": _policy,
    "signature_verification": _signatures,
    "access_control": _access,
    "inventory_record": _inventory,
    "registry_history": _moves,
    "change_record": _changes,
    "model_card": _card,
    "training_summary": _training_summary,
    "retention_erasure": _retention,
    "rollback_drill": _drills,
    "incident_log": _incidents,
}
"""Kind of evidence to the function that looks for it."""
NOT_RECORDED: Mapping[str, str] = {
    "bias_profile": "coverage by groups is not profiled",
    "leak_probe": "whether the model repeats its training data is not tested",
    "annexiv_file": "no file in the order of Annex IV is made",
    "risk_register": "risks are kept elsewhere; nothing refers to them here",
    "impact_ref": "impact assessments are kept elsewhere; nothing refers to them here",
    "legal_ref": "contracts and opinions are kept elsewhere; nothing refers to them here",
    "canary_result": "no staged rollout is recorded",
    "monitoring_plan": "monitoring is planned elsewhere; nothing refers to it here",
    "monitoring_results": (
        "monitoring is done where the model serves; nothing of it comes back here"
    ),
}
"""Kinds of evidence that Countersign does not record, each with the reason."""
