"""The evidence of a version by kind, and what is missing of each kind.

To add a kind: describe it in `governance.report.frameworks.EVIDENCE`, and add a line to
`LOOKUPS`. `NOT_RECORDED` explains the kinds that Countersign does not record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from governance.history.lineage import reproductions
from governance.history.verify import LogReport
from governance.log.evidence import Evidence
from governance.release import drills
from governance.report import assurance, scores
from governance.report.facts import Facts, run_of
from governance.report.frameworks import EVIDENCE
from governance.report.model import Link
from governance.report.people import separation


def _nothing(_: Facts) -> Iterable[str]:
    return ()


class Lookup(NamedTuple):
    """How a version's evidence of one kind is found."""

    statements: Callable[[Facts], Iterable[Evidence | None]]
    """The statements that show it. Without any, the evidence is missing."""
    says: str | Callable[[Facts], str]
    """What they show."""
    never: tuple[str, ...] = ()
    """What complete evidence has and Countersign does not record."""
    lacks: Callable[[Facts], Iterable[str]] = _nothing
    """What this version lacks."""


def link(key: str, facts: Facts, verified: LogReport) -> Link:
    """What a version has of one kind of evidence."""
    if key in NOT_RECORDED:
        return _link(key, "not recorded", NOT_RECORDED[key])
    lookup = LOOKUPS[key]
    statements = {statement.index: statement for statement in lookup.statements(facts) if statement}
    says = lookup.says if isinstance(lookup.says, str) else lookup.says(facts)
    says = says.rstrip(".")
    if not statements:
        return _link(key, "missing", f"not recorded: {says}" if says == lookup.says else says)
    lacks = [*lookup.lacks(facts), *lookup.never]
    if key == LOG and not verified.origin:
        lacks.append("an established origin")
    kinds = Counter(statement.kind for statement in statements.values())
    says = f"{says}; statements: {', '.join(f'{kind} {n}' for kind, n in sorted(kinds.items()))}"
    return _link(key, "partial" if lacks else "present", says, lacks, sorted(statements))


def _link(
    key: str, state: str, says: str, lacks: Iterable[str] = (), entries: Iterable[int] = ()
) -> Link:
    fields = {"says": says, "lacks": list(lacks), "evidence": list(entries)}
    return Link.model_validate({"key": key, "asks": EVIDENCE[key], "state": state, **fields})


def _registration(facts: Facts) -> list[Evidence]:
    return [facts.registration_statement]


# -- Data ------------------------------------------------------------------------------------------
def _declared(facts: Facts) -> Iterator[str]:
    """What datacards leave blank, and datasets without evidence of ingestion."""
    if facts.policies is None:
        yield facts.policies_note
    for chain in facts.chains:
        card = facts.cards.get(chain.dataset)
        blanks = card.blanks() if card else ["the datacard"]
        if blanks:
            yield f"{chain.dataset}: {', '.join(blanks)}"
        if chain.ingest is None:
            yield f"{chain.dataset}: evidence of its ingestion"


def _broken(facts: Facts) -> Iterator[str]:
    for chain in facts.chains:
        if chain.broken_at:
            yield f"{chain.dataset}: evidence of {chain.broken_at}"


def _occurrences(facts: Facts) -> str:
    scans = [statement.predicate for statement in facts.scans]
    found = sum(sum(scan.found.values()) for scan in scans)
    left = sum(sum(scan.remaining.values()) for scan in scans)
    return f"{found:,} items found, {left:,} left"


def _unscanned(facts: Facts) -> Iterator[str]:
    for chain in facts.chains:
        if chain.scan is None:
            yield f"{chain.dataset}: a scan"
        elif chain.scan.predicate.recall is None:
            yield f"{chain.dataset}: recall on a seeded set"


def _unchecked(facts: Facts) -> Iterator[str]:
    for chain in facts.chains:
        if chain.quality is None:
            yield f"{chain.dataset}: a quality result"
        elif not chain.quality.predicate.passed:
            yield f"{chain.dataset}: it did not pass"


def _rated(facts: Facts) -> Iterator[Evidence]:
    """The quality results with checks of agreement between raters."""
    for quality in facts.qualities:
        if any(check.column.startswith("rater_") for check in quality.predicate.expectations):
            yield quality


def _labelled(facts: Facts) -> Iterator[Evidence]:
    for ingest in facts.ingests:
        card = facts.cards.get(ingest.predicate.dataset)
        if card and card.labelling.strip():
            yield ingest


def _retained(facts: Facts) -> Iterator[Evidence]:
    for ingest in facts.ingests:
        card = facts.cards.get(ingest.predicate.dataset)
        if card and card.retention.until:
            yield ingest


# -- Training and evaluation -----------------------------------------------------------------------
def _training_gaps(facts: Facts) -> Iterator[str]:
    for node in facts.trained:
        if node.gate is None:
            yield f"{node.name}: an allowed gate before it"
    trainings = [statement.predicate for statement in facts.trainings]
    for training in trainings:
        if training.code.commit is None:
            yield f"{training.stage}: a commit"
        if training.code.dirty:
            yield f"{training.stage}: committed code"
    units = {"device_hours", "gpu_hours", "flops"}
    if not all(units & training.run.detail.keys() for training in trainings):
        yield "an estimate of compute"


def _components(facts: Facts) -> Iterator[str]:
    for node in facts.chain:
        if not node.known:
            yield f"{node.name}: where it comes from"
        environment = node.train.predicate.environment if node.train else None
        if environment and set(environment.versions) - set(environment.libraries):
            yield f"{node.name}: hashes and licences of its libraries"


def _own_scores(facts: Facts) -> list[Evidence]:
    own = facts.own_evaluation
    return [own] if own and own.predicate.not_run is None else []


def _scored(facts: Facts) -> str:
    own = facts.own_evaluation
    if own is None:
        return "the version was not evaluated on its suite"
    metrics = ", ".join(sorted(own.predicate.scores))
    fixed = scores.thresholds_fixed(facts)
    return f"{metrics} on {own.predicate.suite_name}; thresholds fixed before: {fixed}"


def _evaluation_gaps(facts: Facts) -> Iterator[str]:
    if not scores.fixed_before(facts):
        yield f"thresholds fixed before the run: {scores.thresholds_fixed(facts)}"
    judged = scores.judged(facts)
    yield from (f"{result.metric}: {result.gap}" for result in judged if result.gap)
    if not judged:
        yield "thresholds: policy demands nothing, or is not at hand"
    if facts.standing is not None and facts.champion is None:
        yield "comparison with a champion: there is none"
    for own in _own_scores(facts):
        if not own.predicate.slices:
            yield "slices and the worst of them"
        for dataset in scores.not_searched(facts):
            yield f"a search of {dataset} for leaks into {own.predicate.suite_name}"


def _safety(facts: Facts) -> list[Evidence]:
    """The evaluations with safety metrics, of the version and of the models before it."""
    own = facts.own_evaluation
    metrics = {name for name in own.predicate.scores if scores.is_safety(name)} if own else set()
    found = (facts.evaluation(node, facts.suites[0]) for node in facts.chain if metrics)
    evaluations = [evaluation for evaluation in found if evaluation]
    shared = [entry for entry in evaluations if metrics & entry.predicate.scores.keys()]
    return shared if own in shared else []


def _reproduced(facts: Facts) -> Iterator[Evidence]:
    """Evaluations of the version under other keys, and repeats of its trainings."""
    own = facts.own_evaluation
    others = assurance.scored_again(facts, own) if own else []
    if own and others:
        yield own
    yield from others
    for node in facts.trained:
        yield from reproductions(facts.view, node)


def _repeats(facts: Facts) -> str:
    own = facts.own_evaluation
    others = assurance.scored_again(facts, own) if own else []
    scored = "nobody scored it again under another key"
    if own and others:
        which = "the same" if assurance.same_scores(own, others) else "other"
        scored = f"scored again under another key: {which} scores"
    repeated = [node for node in facts.trained if reproductions(facts.view, node)]
    trainings = [f"{node.name} {assurance.words(facts, node)}" for node in repeated]
    return f"{scored}; {'; '.join(trainings) or 'no training was repeated'}"


def _not_repeated(facts: Facts) -> Iterator[str]:
    own = facts.own_evaluation
    others = assurance.scored_again(facts, own) if own else []
    if not others:
        yield "scored again under another key"
    elif own and not assurance.same_scores(own, others):
        yield "the same scores"
    for node in facts.trained:
        repeats = assurance.by_other_keys(facts, node)
        if not repeats:
            yield f"{node.name}: trained again under another key"
        if not all(map(assurance.came_again, repeats)):
            yield f"{node.name}: the same result every time"


# -- People and rules ------------------------------------------------------------------------------
def _approvals(facts: Facts) -> list[Evidence]:
    return [vote for _, _, vote in facts.standing.approvers] if facts.standing else []


def _roles(facts: Facts) -> str:
    approvers = facts.standing.approvers if facts.standing else []
    roles = sorted({role for _, role, _ in approvers})
    return f"approvals in the roles {', '.join(roles)}" if roles else "no approval counts"


def _approval_gaps(facts: Facts) -> Iterator[str]:
    approvals = _approvals(facts)
    if facts.tier is None or len(approvals) < facts.tier.approvals:
        yield "as many approvals as the tier asks"
    if not all(approval.predicate.page for approval in approvals):
        yield "the page that was shown"


def _duty_gaps(facts: Facts) -> Iterator[str]:
    if separation(facts).state != "holds":
        yield "separation of duties"
    runs = [run_of(entry) for entry in (facts.own_evaluation, facts.released.train) if entry]
    if len(runs) < 2 or len({run.requested_by.name for run in runs if run}) < 2:
        yield "an evaluation that somebody else asked for than the training"


def _waivers(facts: Facts) -> list[Evidence]:
    waivers = [waiver for waiver, _ in facts.standing.waivers] if facts.standing else []
    return [*waivers] or [facts.registration_statement]


def _waived(facts: Facts) -> str:
    standing = facts.standing
    if standing is None:
        return "policies in force let nobody accept anything"
    waivers = [waiver.predicate for waiver, problem in standing.waivers if problem is None]
    ends = [f"{waiver.finding} until {waiver.expires[:10]}" for waiver in waivers]
    return "; ".join(ends) or "none in force; a finding that no entry waives stops a release"


def _policy(facts: Facts) -> list[Evidence]:
    digest = facts.policies.digest if facts.policies else None
    recorded = facts.of("origin", "policy")
    return [entry for entry in recorded if entry.subjects[0].sha256 == digest][:1]


def _policy_gaps(facts: Facts) -> Iterator[str]:
    if not all(entry.predicate.files for entry in _policy(facts)):
        yield "their text in the log"
    if facts.standing is None or facts.now.authority.in_force.signed_at is None:
        yield "signatures of policy owners"


def _development_keys(facts: Facts) -> Iterator[str]:
    count = sum(statement.development for statement in facts.rests_on())
    if count:
        yield f"named keys: {count} statements are signed by development keys"


def _rights(facts: Facts) -> list[Evidence]:
    """The policies, revoked keys, and the authorizations behind the runs of this version."""
    if facts.policies is None or not facts.policies.rules.principals:
        return []
    runs = filter(None, map(run_of, facts.statements()))
    authorizations = {run.requested_by.authorization for run in runs}
    revoked = facts.now.authority.revoked
    return [
        *_policy(facts),
        *(entry for entry in facts.of("revocation") if entry.subjects[0].sha256 in revoked),
        *(entry for entry in facts.of("authorization") if entry.digest in authorizations),
    ]


# -- The registry ----------------------------------------------------------------------------------
def _inventory(facts: Facts) -> list[Evidence | None]:
    standing = facts.standing
    moves = [tenure.given for tenure in standing.held] if standing else []
    return [facts.registration_statement, *moves, standing.retired if standing else None]


def _state(facts: Facts) -> str:
    standing = facts.standing
    held = [tenure.alias for tenure in standing.live] if standing else []
    state = f"{', '.join(held)} now" if held else "holds no governed alias"
    return f"{facts.name}, tier {facts.registration.tier}, {state}"


def _unnamed(facts: Facts) -> Iterator[str]:
    if facts.rules is None:
        yield "its purpose: policies name no such model"


def _inventory_gaps(facts: Facts) -> Iterator[str]:
    yield from _unnamed(facts)
    policies, model = facts.policies, facts.registration.model
    if policies is None or not policies.owner_of(model):
        yield "an owner"
    if policies is None or policies.review_every(model) is None:
        yield "the next review"


def _moves(facts: Facts) -> list[Evidence]:
    """Decisions about aliases of this model, and calls that a rule decided."""
    entries = facts.of("promotion", "refusal", "call")
    return [entry for entry in entries if entry.predicate.model == facts.registration.model]


def _rollbacks(facts: Facts) -> list[Evidence | None]:
    moves = (move for move in _moves(facts) if move.kind == "promotion")
    rollbacks = (move for move in moves if move.predicate.action == "rollback")
    return [facts.drill, *(move for move in rollbacks if move.predicate.allowed)]


def _drill_gaps(facts: Facts) -> Iterator[str]:
    drill, below = facts.drill, facts.standing.below() if facts.standing else []
    if drill is None:
        yield "a timed rehearsal"
        return
    if not drill.predicate.passed:
        yield "a rehearsal that came off"
    if below and below[0].predicate.version != drill.predicate.version:
        target = below[0].predicate.version
        yield f"a rehearsal of going back to version {target}, which is next below now"


def _incidents(facts: Facts) -> Sequence[Evidence]:
    return facts.standing.incidents if facts.standing else []


LOG = "audit_log_verification"
LOOKUPS: Mapping[str, Lookup] = {
    "source_register": Lookup(
        lambda facts: facts.ingests, "each dataset and its datacard", lacks=_declared
    ),
    "dataset_lineage": Lookup(
        lambda facts: (*facts.ingests, *facts.scans, *facts.qualities),
        "datasets followed from source to the records that were used, by digest",
        lacks=_broken,
    ),
    "pii_scan": Lookup(
        lambda facts: facts.scans,
        _occurrences,
        ("a person's sample of what remains",),
        _unscanned,
    ),
    "dq_results": Lookup(
        lambda facts: facts.qualities,
        "quality checks of each dataset; section Data has each check",
        lacks=_unchecked,
    ),
    "label_guidelines": Lookup(
        _labelled,
        "datacards that say who labelled and how",
        ("the guidelines themselves: version and digest",),
    ),
    "label_agreement": Lookup(
        _rated,
        "agreement between raters, as tested",
        ("adjudication", "the pool of annotators", "agreement per label"),
    ),
    "training_record": Lookup(
        lambda facts: facts.trainings,
        "training stages, each with parameters, code and environment",
        ("an estimate of energy",),
        _training_gaps,
    ),
    "ai_bom": Lookup(
        lambda facts: [node.train or node.base for node in facts.chain],
        lambda facts: f"countersign export {facts.name} cyclonedx",
        lacks=_components,
    ),
    "training_summary": Lookup(
        lambda facts: [chain.ingest for chain in facts.trained_on],
        lambda facts: f"countersign export {facts.name} training-summary",
        ("the lines that the export marks OPEN", "the digest of what was published, and when"),
    ),
    "eval_results": Lookup(_own_scores, _scored, lacks=_evaluation_gaps),
    "safety_eval": Lookup(
        _safety,
        "metrics about safety, for models of the chain",
        ("red-team and jailbreak tests",),
        lambda facts: ["the same before tuning"] if len(_safety(facts)) == 1 else [],
    ),
    "repro_check": Lookup(_reproduced, _repeats, lacks=_not_repeated),
    "approval_record": Lookup(_approvals, _roles, lacks=_approval_gaps),
    "sod_check": Lookup(_approvals, lambda facts: separation(facts).text, lacks=_duty_gaps),
    "waiver_register": Lookup(_waivers, _waived),
    "policy_snapshot": Lookup(_policy, "the policies that judge this version", lacks=_policy_gaps),
    LOG: Lookup(
        _registration,
        "every entry of the log verified",
        ("an anchor outside this machine, with its time",),
    ),
    "signature_verification": Lookup(
        lambda facts: facts.rests_on(), "each signature valid", lacks=_development_keys
    ),
    "access_control": Lookup(
        _rights,
        "people and services with roles and keys, revoked keys, authorizations behind the runs",
        ("the last review of these rights", "who can read data where it is stored"),
    ),
    "inventory_record": Lookup(_inventory, _state, ("where it is deployed",), _inventory_gaps),
    "registry_history": Lookup(_moves, "decisions about aliases of this model, and calls by rule"),
    "change_record": Lookup(
        lambda facts: [facts.registration_statement, facts.previous],
        "section Change compares it with the version before",
    ),
    "model_card": Lookup(
        _registration,
        lambda facts: f"countersign export {facts.name} model-card",
        ("groups of people it was tested on", "what oversight it needs"),
        _unnamed,
    ),
    "retention_erasure": Lookup(
        _retained,
        "datacards that say until when data is kept",
        ("proofs of deletion", "a ledger of erasures and the versions they reached"),
    ),
    "rollback_drill": Lookup(
        _rollbacks, lambda facts: drills.summary(facts.drill, None), lacks=_drill_gaps
    ),
    "incident_log": Lookup(
        _incidents,
        "incidents; that none is recorded does not show that there were none",
        ("classification", "deadlines and notifications", "cause and fix"),
    ),
}
"""Kind of evidence to how it is found."""
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
