"""What a version has of each kind of evidence, and what is missing.

To add a kind: describe it in `governance.report.frameworks.EVIDENCE`, and say in `LOOKUPS` how it
is found. `NOT_RECORDED` explains the kinds that Countersign does not record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from governance.attest.predicates import Evaluate
from governance.history import monitoring
from governance.history.lineage import inputs, reproductions
from governance.history.verify import LogReport
from governance.log.evidence import Evidence
from governance.release import drills
from governance.report import assurance, canary, compute, scores, service
from governance.report.facts import Facts, run_of
from governance.report.frameworks import EVIDENCE
from governance.report.leaks import leakage
from governance.report.model.controls import Link, Presence
from governance.report.people import separation
from governance.report.reasons import text_of

LOG = "audit_log_verification"
NOT_RECORDED: Mapping[str, str] = {
    "bias_profile": "coverage by groups is not profiled",
    "annexiv_file": "no file in the order of Annex IV is made",
    "risk_register": "risks are kept elsewhere; nothing refers to them here",
    "impact_ref": "impact assessments are kept elsewhere; nothing refers to them here",
    "legal_ref": "contracts and opinions are kept elsewhere; nothing refers to them here",
}
"""Kinds of evidence that Countersign does not record, each with the reason."""


class Found(NamedTuple):
    """A version's evidence of one kind."""

    statements: Iterable[Evidence | None]
    """The statements that show it. Without any, the evidence is missing."""
    says: str
    """What they show."""
    lacks: Iterable[str] = ()
    """What complete evidence has, and this evidence has not."""


def link(key: str, facts: Facts, verified: LogReport) -> Link:
    """What a version has of one kind of evidence."""
    is_recorded = key in LOOKUPS
    found = LOOKUPS[key](facts) if is_recorded else Found([], NOT_RECORDED[key])
    statements = {statement.index: statement for statement in found.statements if statement}
    says, lacks = found.says.rstrip("."), list(found.lacks) if statements else []
    if key == LOG:
        lacks += [] if verified.origin else ["an established origin"]
        lacks += [] if verified.witnessed else ["an anchor outside this machine, with its time"]
        seen = [f"{one.witness} cosigned {one.size} entries" for one in verified.witnessed]
        says = "; ".join([says, *seen])
    state: Presence = "missing" if is_recorded else "not recorded"
    if statements:
        kinds = Counter(statement.kind for statement in statements.values())
        says += f"; statements: {', '.join(f'{kind} {n}' for kind, n in sorted(kinds.items()))}"
        state = "partial" if lacks else "present"
    refs = sorted(statements)
    return Link(key=key, asks=EVIDENCE[key], state=state, says=says, lacks=lacks, evidence=refs)


# -- Data ------------------------------------------------------------------------------------------
def _sources(facts: Facts) -> Found:
    lacks = [] if facts.policies else [facts.policies_note]
    for chain in facts.chains:
        card = facts.cards.get(chain.dataset)
        blanks = card.blanks() if card else ["the datacard"]
        if blanks:
            lacks.append(f"{chain.dataset}: {', '.join(blanks)}")
        if chain.ingest is None:
            lacks.append(f"{chain.dataset}: evidence of its ingestion")
    return Found(facts.ingests, "each dataset and its datacard", lacks)


def _scans(facts: Facts) -> Found:
    scans = [statement.predicate for statement in facts.scans]
    found = sum(sum(scan.found.values()) for scan in scans)
    left = sum(sum(scan.remaining.values()) for scan in scans)
    lacks = []
    for chain in facts.chains:
        if chain.scan is None:
            lacks.append(f"{chain.dataset}: a scan")
        elif chain.scan.predicate.recall is None:
            lacks.append(f"{chain.dataset}: recall on a seeded set")
    lacks.append("a person's sample of what remains")
    return Found(facts.scans, f"{found:,} items found, {left:,} left", lacks)


def _quality(facts: Facts) -> Found:
    lacks = []
    for chain in facts.chains:
        if chain.quality is None:
            lacks.append(f"{chain.dataset}: a quality result")
        elif not chain.quality.predicate.passed:
            lacks.append(f"{chain.dataset}: it did not pass")
    return Found(
        facts.qualities, "quality checks of each dataset; section Data has each check", lacks
    )


def _agreement(facts: Facts) -> Found:
    rated = [
        quality
        for quality in facts.qualities
        if any(check.column.startswith("rater_") for check in quality.predicate.expectations)
    ]
    lacks = ("adjudication", "the pool of annotators", "agreement per label")
    return Found(rated, "agreement between raters, as tested", lacks)


def _declared(facts: Facts, field: str) -> list[Evidence]:
    """The ingestions of the datasets whose datacard has this field."""
    cards = [(ingest, facts.cards.get(ingest.predicate.dataset)) for ingest in facts.ingests]
    return [ingest for ingest, card in cards if card and field not in card.blanks()]


# -- Training and evaluation -----------------------------------------------------------------------
def _training(facts: Facts) -> Found:
    lacks = [f"{node.name}: an allowed gate before it" for node in facts.trained if not node.gate]
    trainings = [statement.predicate for statement in facts.trainings]
    for training in trainings:
        if training.code.commit is None:
            lacks.append(f"{training.stage}: a commit")
        if training.code.dirty:
            lacks.append(f"{training.stage}: committed code")
    units = {"device_hours", "gpu_hours", "flops"}
    if not all(units & training.run.detail.keys() for training in trainings):
        lacks.append("an estimate of compute")
    says = "training stages, each with parameters, code and environment"
    if not all(map(compute.is_measured, trainings)):
        lacks.append("an estimate of energy")
    return Found(facts.trainings, says, lacks)


def _components(facts: Facts) -> Found:
    lacks = []
    for node in facts.chain:
        if not node.known:
            lacks.append(f"{node.name}: where it comes from")
        environment = node.train.predicate.environment if node.train else None
        if environment and set(environment.versions) - set(environment.libraries):
            lacks.append(f"{node.name}: hashes and licences of its libraries")
    statements = [node.train or node.base for node in facts.chain]
    return Found(statements, f"countersign export {facts.name} cyclonedx", lacks)


def _evaluation(facts: Facts) -> Found:
    own = facts.own_evaluation
    if own is None or own.predicate.not_run is not None:
        return Found([], "the version was not evaluated on its suite")
    fixed = scores.thresholds_fixed(facts)
    judged, result = scores.judged(facts), own.predicate
    lacks = [] if fixed.before else [f"thresholds fixed before the run: {fixed.text}"]
    lacks += [f"{each.name}: {each.gap}" for each in judged if each.gap]
    if not judged:
        lacks.append("thresholds: policy demands nothing, or is not at hand")
    if facts.standing is not None and facts.champion is None:
        lacks.append("comparison with a champion: there is none")
    if not result.slices:
        lacks.append("slices and the worst of them")
    for dataset, suite in scores.not_searched(facts):
        lacks.append(f"a search of {dataset} for leaks into {suite}")
    statements = facts.own_evaluations
    scored = (statement.predicate for statement in statements)
    says = "; ".join(f"{', '.join(sorted(each.scores))} on {each.suite_name}" for each in scored)
    return Found(statements, f"{says}; thresholds fixed before: {fixed.text}", lacks)


def _safety(facts: Facts) -> Found:
    """The evaluations with safety metrics, of the version and of the models before it."""
    shared = [
        entry
        for suite in facts.own_suites
        if _safety_metrics(facts, facts.evaluation(facts.released, suite))
        for entry in (facts.evaluation(node, suite) for node in facts.chain)
        if entry and _safety_metrics(facts, entry)
    ]
    lacks = ["red-team and jailbreak tests"]
    if len(shared) == 1:
        lacks.insert(0, "the same before tuning")
    return Found(shared, "metrics about safety, for models of the chain", lacks)


def _safety_metrics(facts: Facts, statement: Evidence[Evaluate] | None) -> list[str]:
    if statement is None:
        return []
    suite, found = statement.predicate.suite_name, statement.predicate.scores
    return [name for name in found if scores.about_safety(facts, suite, name)]


def _leaks(facts: Facts) -> Found:
    found = leakage(facts)
    return Found(found.evidence, text_of(found.reasons), found.gaps)


def _repeats(facts: Facts) -> Found:
    """Evaluations of the version under other keys, and repeats of its trainings."""
    own, statements, trainings = facts.own_evaluation, list[Evidence](), []
    says, lacks = "nobody scored it again under another key", ["scored again under another key"]
    others = assurance.scored_again(facts, own) if own else []
    if own and others:
        statements += [own, *others]
        is_same = assurance.same_scores(own, others)
        says = f"scored again under another key: {'the same' if is_same else 'other'} scores"
        lacks = [] if is_same else ["the same scores"]
    for node in facts.trained:
        repeats, by_others = reproductions(facts.view, node), assurance.by_other_keys(facts, node)
        statements += repeats
        if repeats:
            trainings.append(f"{node.name} {assurance.words(facts, node)}")
        if not by_others:
            lacks.append(f"{node.name}: trained again under another key")
        if not all(map(assurance.came_again, by_others)):
            lacks.append(f"{node.name}: the same result every time")
    return Found(statements, f"{says}; {'; '.join(trainings) or 'no training was repeated'}", lacks)


# -- People and rules ------------------------------------------------------------------------------
def _approvals(facts: Facts) -> Found:
    approvers = facts.standing.approvers if facts.standing else []
    roles = ", ".join(sorted({role for _, role, _ in approvers}))
    approvals, lacks = [vote for _, _, vote in approvers], []
    if facts.tier is None or len(approvals) < facts.tier.approvals:
        lacks.append("as many approvals as the tier asks")
    if not all(approval.predicate.page for approval in approvals):
        lacks.append("the page that was shown")
    return Found(
        approvals, f"approvals in the roles {roles}" if roles else "no approval counts", lacks
    )


def _duties(facts: Facts) -> Found:
    duties = separation(facts)
    lacks = [] if duties.state == "holds" else ["separation of duties"]
    runs = [run_of(entry) for entry in (facts.own_evaluation, facts.released.train) if entry]
    if len(runs) < 2 or len({run.requested_by.name for run in runs if run}) < 2:
        lacks.append("an evaluation that somebody else asked for than the training")
    return Found(_approvals(facts).statements, duties.text, lacks)


def _waivers(facts: Facts) -> Found:
    nobody = [facts.registration_statement]
    if facts.standing is None:
        return Found(nobody, "policies in force let nobody accept anything")
    waivers = facts.standing.waivers
    in_force = [waiver.predicate for waiver, problem in waivers if problem is None]
    ends = [f"{waiver.finding} until {waiver.expires[:10]}" for waiver in in_force]
    none = "none in force; a finding that no entry waives stops a release"
    return Found([waiver for waiver, _ in waivers] or nobody, "; ".join(ends) or none)


def _policies(facts: Facts) -> Found:
    digest = facts.policies.digest if facts.policies else None
    recorded = facts.of("origin", "policy")
    first = [entry for entry in recorded if entry.subjects[0].sha256 == digest][:1]
    lacks = [] if all(entry.predicate.files for entry in first) else ["their text in the log"]
    if facts.standing is None or facts.now.authority.in_force.signed_at is None:
        lacks.append("signatures of policy owners")
    return Found(first, "the policies that judge this version", lacks)


def _signatures(facts: Facts) -> Found:
    statements = facts.rests_on()
    count = sum(statement.development for statement in statements)
    lack = f"named keys: {count} statements are signed by development keys"
    return Found(statements, "each signature valid", [lack] if count else [])


def _rights(facts: Facts) -> Found:
    """The policies, revoked keys, and the authorizations behind the runs of this version."""
    says = "people and services with roles and keys, revoked keys, authorizations behind the runs"
    if facts.policies is None or not facts.policies.rules.principals:
        return Found([], says)
    runs = filter(None, map(run_of, facts.statements()))
    authorizations = {run.requested_by.authorization for run in runs}
    revoked = facts.now.authority.revoked
    statements = [
        *_policies(facts).statements,
        *(entry for entry in facts.of("revocation") if entry.subjects[0].sha256 in revoked),
        *(entry for entry in facts.of("authorization") if entry.digest in authorizations),
    ]
    lacks = ("the last review of these rights", "who can read data where it is stored")
    return Found(statements, says, lacks)


# -- The registry ----------------------------------------------------------------------------------
def _inventory(facts: Facts) -> Found:
    standing, policies, model = facts.standing, facts.policies, facts.registration.model
    statements: list[Evidence | None] = [facts.registration_statement]
    aliases = []
    if standing is not None:
        statements += [*(tenure.given for tenure in standing.held), standing.retired]
        aliases = [tenure.alias for tenure in standing.live]
    lacks = _purpose_missing(facts)
    if policies is None or not policies.owner_of(model):
        lacks.append("an owner")
    if policies is None or policies.review_every(model) is None:
        lacks.append("the next review")
    state = f"{', '.join(aliases)} now" if aliases else "holds no governed alias"
    says = f"{facts.name}, tier {facts.registration.tier}, {state}"
    return Found(statements, says, [*lacks, "where it is deployed"])


def _purpose_missing(facts: Facts) -> list[str]:
    return [] if facts.rules else ["its purpose: policies name no such model"]


def _moves(facts: Facts, *kinds: str) -> list[Evidence]:
    """Entries of these kinds about this model."""
    model = facts.registration.model
    return [entry for entry in facts.of(*kinds) if entry.predicate.model == model]


def _rollbacks(facts: Facts) -> Found:
    moves = (entry for entry in _moves(facts, "promotion") if entry.predicate.allowed)
    rollbacks = [move for move in moves if move.predicate.action == "rollback"]
    drill, below = facts.drill, facts.standing.below() if facts.standing else []
    lacks = []
    if drill is None:
        lacks.append("a timed rehearsal")
    elif not drill.predicate.passed:
        lacks.append("a rehearsal that came off")
    target = below[0].predicate.version if below else None
    if drill is not None and target not in (None, drill.predicate.version):
        lacks.append(f"a rehearsal of going back to version {target}, which is next below now")
    return Found([drill, *rollbacks], drills.summary(drill, None), lacks)


def _canary(facts: Facts) -> Found:
    rollout = facts.rollout
    if rollout is None:
        return Found([], canary.NO_ROLLOUT)
    lacks = [] if rollout.passed else [f"a pass: {canary.summary(rollout, facts.time)}"]
    lacks += [f"{between} that nobody observed: {why}" for _, between, why in rollout.gaps]
    statements = [rollout.request, *rollout.windows, *rollout.steps]
    return Found(statements, canary.summary(rollout, facts.time), lacks)


def _monitoring_plan(facts: Facts) -> Found:
    terms = service.rules(facts)
    if terms is None:
        return Found([], "policy names nothing that is observed in service")
    lacks = [] if terms.thresholds else ["limits"]
    lacks += [] if terms.objective else ["a service level objective"]
    names = ", ".join(each.name for each in terms.limits) or "none"
    says = f"policy.yaml, monitoring: windows of {terms.window_minutes} minutes; limits: {names}"
    lacks += [] if terms.drift else ["drift of inputs and outputs"]
    lacks += [] if terms.search else ["personal data in answers"]
    return Found(_policies(facts).statements, says, lacks)


def _monitoring_results(facts: Facts) -> Found:
    found = service.observed(facts)
    terms, model = service.rules(facts), facts.registration.model
    drifts = monitoring.drifts(found, terms, model) if terms else []
    lacks = [] if any(each.judged for each in drifts) else ["drift of inputs and outputs"]
    if not any(each.predicate.searched for each in found):
        lacks.append("personal data in answers")
    if any(each.predicate.gap_ms for each in found):
        lacks.insert(0, "the time that the gaps state")
    says = "; ".join(service.in_service(facts))
    return Found(found, says or "no window of this version in service is recorded", lacks)


LOOKUPS: Mapping[str, Callable[[Facts], Found]] = {
    "source_register": _sources,
    "dataset_lineage": lambda facts: Found(
        [*facts.ingests, *facts.scans, *facts.qualities],
        "datasets followed from source to the records that were used, by digest",
        [
            f"{each.dataset}: evidence of {each.broken_at}"
            for each in facts.chains
            if each.broken_at
        ],
    ),
    "pii_scan": _scans,
    "dq_results": _quality,
    "label_guidelines": lambda facts: Found(
        _declared(facts, "labelling"),
        "datacards that say who labelled and how",
        [
            f"{each.predicate.dataset}: the guideline's version and digest"
            for each in _declared(facts, "labelling")
            if "guideline" not in inputs(each)
        ],
    ),
    "label_agreement": _agreement,
    "training_record": _training,
    "ai_bom": _components,
    "training_summary": lambda facts: Found(
        [chain.ingest for chain in facts.trained_on],
        f"countersign export {facts.name} training-summary",
        ["the lines that the export marks OPEN", "the digest of what was published, and when"],
    ),
    "eval_results": _evaluation,
    "safety_eval": _safety,
    "leak_probe": _leaks,
    "repro_check": _repeats,
    "approval_record": _approvals,
    "sod_check": _duties,
    "waiver_register": _waivers,
    "policy_snapshot": _policies,
    LOG: lambda facts: Found([facts.registration_statement], "every entry of the log verified"),
    "signature_verification": _signatures,
    "access_control": _rights,
    "inventory_record": _inventory,
    "registry_history": lambda facts: Found(
        _moves(facts, "promotion", "call"),
        "decisions about aliases of this model, and calls by rule",
    ),
    "change_record": lambda facts: Found(
        [facts.registration_statement, facts.previous],
        "section Change compares it with the version before",
    ),
    "model_card": lambda facts: Found(
        [facts.registration_statement],
        f"countersign export {facts.name} model-card",
        [*_purpose_missing(facts), "groups of people it was tested on", "what oversight it needs"],
    ),
    "retention_erasure": lambda facts: Found(
        _declared(facts, "retention.until"),
        "datacards that say until when data is kept; erasures are entries of the log",
        ["proofs of deletion outside this project"],
    ),
    "rollback_drill": _rollbacks,
    "canary_result": _canary,
    "monitoring_plan": _monitoring_plan,
    "monitoring_results": _monitoring_results,
    "incident_log": lambda facts: Found(
        facts.standing.incidents if facts.standing else [],
        "incidents; that none is recorded does not show that there were none",
        ["classification", "deadlines and notifications", "cause and fix"],
    ),
}
"""Kind of evidence to how it is found."""
