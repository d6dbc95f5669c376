"""Decisions: pure functions of a request, policies, evidence and one reference time.

1. Every check runs and every finding is reported. The first finding does not stop the others.
2. A check that crashes denies (CHECK_CRASHED). A request that cannot be read denies, too.
3. Allowed means no finding at all. A logged gate decision only shows that a decision was made. It
   is never a reason to allow: a release decides every gate of the chain again under the policy in
   force.
4. Nothing here reads a clock, a file, the environment or the network; the same arguments give the
   same answer.

To add a check: a function from context to findings in `governance.gates.checks`, and one line in a
table below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Required, TypedDict, TypeVar, Unpack

from governance.attest.findings import finding
from governance.attest.predicates import CANDIDATE, Finding
from governance.attest.requests import (
    Decision,
    GateRequest,
    GenerationRequest,
    ReleaseDecision,
    ReleaseRequest,
    asked_of_gate,
    asked_of_generation,
)
from governance.base.errors import CountersignError, VerificationError
from governance.gates.checks import behaviour as of_behaviour
from governance.gates.checks import copies as of_copies
from governance.gates.checks import data as of_data
from governance.gates.checks import erasures as of_erasures
from governance.gates.checks import generation as of_generation
from governance.gates.checks import imports as of_imports
from governance.gates.checks import leaks as of_leaks
from governance.gates.checks import models as of_models
from governance.gates.checks import monitoring as of_monitoring
from governance.gates.checks import people as of_people
from governance.gates.checks import scorers as of_scorers
from governance.gates.checks import stage as of_stage
from governance.gates.checks import suites as of_suites
from governance.gates.checks import witnesses as of_witnesses
from governance.gates.checks.context import (
    Context,
    DataContext,
    GateContext,
    GenerationContext,
    ReleaseContext,
)
from governance.gates.checks.waivers import waive
from governance.history.chain import step_key
from governance.history.lineage import MAKERS, ModelNode, inputs
from governance.log.rules import CANDIDATE_HAS_RIGHTS, LAST_EARLIER
from governance.log.views import EvidenceView, Nothing

if TYPE_CHECKING:
    from governance.attest.predicates import GateDecision, Train
    from governance.log.evidence import Evidence
    from governance.policy.authority import Authority
    from governance.policy.policies import Policies

C = TypeVar("C", bound=Context)
D = TypeVar("D", bound=DataContext)

MODEL_CHECKS: dict[str, Callable[[Context], Iterable[Finding]]] = {
    "model_known": of_stage.model_known,
    "model_evidence": of_models.model_evidence,
    "bases": of_models.bases,
    "base_licences": of_models.base_licences,
    "model_files": of_models.model_files,
    "records_used": of_models.records_used,
    "thresholds_set": of_models.thresholds_set,
    "evaluation_evidence": of_models.evaluation_evidence,
    "evaluation_suite": of_models.evaluation_suite,
    "metric_sources": of_models.metric_sources,
    "suite_pinned": of_models.suite_pinned,
    "thresholds": of_models.thresholds,
    "slices": of_models.slices,
    "comparisons": of_models.comparisons,
    "judges_checked": of_models.judges_checked,
    "separate_evaluator": of_models.separate_evaluator,
    "behaviour_measured": of_behaviour.behaviour_measured,
    "degenerate_output": of_behaviour.degenerate_output,
    "over_optimised": of_behaviour.over_optimised,
    "reward_hacked": of_behaviour.reward_hacked,
    "reward_model": of_behaviour.reward_model,
    "learning_signal": of_behaviour.learning_signal,
    "leaks_measured": of_leaks.leaks_measured,
    "training_data_leaks": of_leaks.training_data_leaks,
}
"""The checks of every model that a stage builds upon or that is released."""

DATA_CHECKS: dict[str, Callable[[DataContext], Iterable[Finding]]] = {
    "data_evidence": of_data.data_evidence,
    "ignored_fields": of_data.ignored_fields,
    "data_kind": of_data.data_kind,
    "scan_passed": of_data.scan_passed,
    "scan_policy": of_data.scan_policy,
    "pii_remaining": of_data.pii_remaining,
    "allowances": of_data.allowances,
    "ner": of_data.ner,
    "pii_recall": of_data.pii_recall,
    "quality_passed": of_data.quality_passed,
    "quality_suite": of_data.quality_suite,
    "erased_data": of_erasures.erased_data,
}
"""The checks of a dataset's evidence."""

CARD_CHECKS: dict[str, Callable[[DataContext], Iterable[Finding]]] = {
    "datacard": of_data.datacard,
    "retention": of_data.retention,
    "purpose": of_data.purpose,
    "region": of_data.region,
    "classification": of_data.classification,
    "data_licence": of_data.data_licence,
    "lawful_basis": of_data.lawful_basis,
    "source": of_data.source,
    "guideline": of_data.guideline,
    "excluded_raters": of_data.excluded_raters,
    "raters_agree": of_data.raters_agree,
    "generated_declared": of_generation.declared,
}
"""The checks of a dataset's datacard and origin."""

Found = tuple[Sequence[Finding], Sequence[Finding]]
"""What stands against a decision, and what is waived."""
EARLIER: dict[str, Callable[[DataContext], Found]] = {
    "generated": lambda context: generated(context)
}
"""The earlier decisions that the use of a dataset rests on, made again. What they waive is waived
here, too.
"""

CHECKS: dict[str, Callable[[GateContext], Iterable[Finding]]] = {
    **MODEL_CHECKS,
    **DATA_CHECKS,
    "held_out": of_data.held_out,
    "suites_compared": of_suites.suites_compared,
    "tasks_scanned": of_suites.tasks_scanned,
    "erased_suite": of_erasures.erased_suite,
    "trained_twice": of_copies.trained_twice,
    "suite_trained_on": of_copies.suite_trained_on,
    **CARD_CHECKS,
    "objective": of_stage.objective,
    "rewards": of_stage.rewards,
    "scorer_in_service": of_scorers.scorer_in_service,
    "parent_in_service": of_scorers.parent_in_service,
    "approvals": of_people.approved_before,
}
"""The checks before a stage trains."""

GENERATION_CHECKS: dict[str, Callable[[GenerationContext], Iterable[Finding]]] = {
    **MODEL_CHECKS,
    **DATA_CHECKS,
    **CARD_CHECKS,
    "constitution": of_generation.constitution,
    "endpoints": of_generation.endpoints,
    "judge_checked": of_generation.judge_checked,
    "makers_in_service": of_scorers.makers_in_service,
    "approvals": of_generation.approved_before,
}
"""The checks before a dataset is generated."""

RELEASE_CHECKS: dict[str, Callable[[Context], Iterable[Finding]]] = {
    **MODEL_CHECKS,
    "import_allowed": of_imports.import_allowed,
    "import_declared": of_imports.import_declared,
    "import_thresholds": of_imports.import_thresholds,
    "import_approvals": of_imports.import_approvals,
    "import_parent": of_imports.import_parent,
    "import_data": of_imports.import_data,
    "suite_trained_on": of_copies.released_suite_trained_on,
    "suites_compared": of_suites.released_suites_compared,
    "tasks_scanned": of_suites.released_tasks_scanned,
    "alias": of_models.alias,
}
"""The checks of a release. Every gate of its chain is decided again as well."""


AUTOMATIC_CHECKS: dict[str, Callable[[ReleaseContext], Iterable[Finding]]] = {
    **RELEASE_CHECKS,
    "policy_signed": of_people.policy_signed,
    "requesters": of_people.requesters,
    "commits": of_people.commits,
    "builders": of_people.builders,
    "incidents": of_people.incidents,
    "registered_once": of_people.registered_once,
    "other_names": of_scorers.other_names_in_service,
    "erasure_overdue": of_erasures.erasure_overdue,
    "reviewed": of_people.reviewed,
    "canary": of_people.canary,
    "limits_kept": of_monitoring.limits_kept,
}
"""The checks of a governed alias that need no person. Their findings stand in the packet."""

GOVERNED_CHECKS: dict[str, dict[str, Callable[[ReleaseContext], Iterable[Finding]]]] = {
    "promote": {
        **AUTOMATIC_CHECKS,
        "alias_rule": of_people.alias_rule,
        "request": of_people.request,
        "retired": of_people.retired,
        "packet": of_people.packet,
        "approvals": of_people.approvals,
        "witnessed": of_witnesses.witnessed,
    },
    # The original approvals still count. What may have changed since is checked again: lineage,
    # bases, files, incidents.
    "rollback": {
        "model_evidence": of_models.model_evidence,
        "bases": of_models.bases,
        "base_licences": of_models.base_licences,
        "model_files": of_models.model_files,
        "import_allowed": of_imports.import_allowed,
        "import_declared": of_imports.import_declared,
        "alias": of_models.alias,
        "policy_signed": of_people.policy_signed,
        "incidents": of_people.incidents,
        "alias_rule": of_people.alias_rule,
        "request": of_people.request,
        "registered_once": of_people.registered_once,
        "was_released": of_people.was_released,
        "rollback_target": lambda context: rollback_target(context),
        "retired": of_people.retired,
        "erasure_overdue": of_erasures.erasure_overdue,
        "people": of_people.rollback_people,
    },
    "retire": {
        "policy_signed": of_people.policy_signed,
        "request": of_people.request,
        "people": of_people.retire_people,
    },
}
"""The checks of each action on a governed alias."""
STANDING = (
    "model_evidence",
    "bases",
    "base_licences",
    "model_files",
    "import_allowed",
    "import_declared",
    "alias",
    "incidents",
    "registered_once",
    "retired",
    "erasure_overdue",
)
"""The checks of a rollback that are about the version alone: what can be open against it."""

DECLARED = (
    *("model_known", "objective", "rewards"),
    *("datacard", "retention", "purpose", "region"),
    *("classification", "data_licence", "lawful_basis"),
)
"""The checks of a gate that read no evidence: what is declared decides them."""

DECLARED_OF_GENERATION = (
    *(name for name in DECLARED if name in GENERATION_CHECKS),
    *("constitution", "endpoints"),
)
"""The same before a dataset is generated."""


def declared(request: GateRequest, policies: Policies, at: datetime) -> tuple[Finding, ...]:
    """What a gate would find in what is declared, before its inputs exist. The digests in `request`
    are not read.
    """
    checks = {name: CHECKS[name] for name in DECLARED}
    found: list[Finding] = []
    for model in request.models:
        context = GateContext(
            model, (request.parent,), policies, EvidenceView(Nothing()), at, request=request
        )
        found += _not_among(found, _run(checks, context))
    return tuple(found)


def declared_generation(
    request: GenerationRequest, policies: Policies, at: datetime
) -> tuple[Finding, ...]:
    """The same before a dataset is generated."""
    checks = {name: GENERATION_CHECKS[name] for name in DECLARED_OF_GENERATION}
    found: list[Finding] = []
    for model in request.models:
        context = GenerationContext(
            model, (), policies, EvidenceView(Nothing()), at, request=request
        )
        found += _not_among(found, _run(checks, context))
    return tuple(found)


class Rights(TypedDict, total=False):
    """Whose statements count in a decision, and what it is made after."""

    authority: Required[Authority | None]
    """None: nobody's waiver or approval counts."""
    governed: bool
    before: Evidence | None
    """The training or generation that is decided on, if it has happened already."""


def decide_gate(
    request: GateRequest,
    policies: Policies,
    evidence: EvidenceView,
    at: datetime,
    **rights: Unpack[Rights],
) -> Decision:
    """Whether a stage may train on these digests. A stage of several released models must be
    allowed for each; a waiver for one of them excuses nothing for another.
    """
    built_on = (request.parent, *((request.scorer,) if request.scorer else ()))
    contexts = [
        GateContext(model, built_on, policies, evidence, at, request=request, **rights)
        for model in request.models
    ]
    return _for_each(contexts, CHECKS)


def decide_generation(
    request: GenerationRequest,
    policies: Policies,
    evidence: EvidenceView,
    at: datetime,
    **rights: Unpack[Rights],
) -> Decision:
    """Whether a dataset may be generated by these digests; as `decide_gate`."""
    contexts = [
        GenerationContext(model, request.asked, policies, evidence, at, request=request, **rights)
        for model in request.models
    ]
    return _for_each(contexts, GENERATION_CHECKS)


def generated(context: DataContext) -> Found:
    """A dataset that was generated here was allowed to be, before; decided again, it still is. What
    stands against that, and what is waived.
    """
    made = context.chain.generation
    if made is None:
        return (), ()
    try:
        request = asked_of_generation(made.predicate)
    except VerificationError:
        request = None
    used = inputs(made)
    decided_on = made.predicate.decided_on
    read = ["prompts", *(role for role in MAKERS if role in used)]
    if (
        request is None
        or request.decided_on != decided_on
        or any(used.get(role) != decided_on.get(role) for role in read)
        or not {model.sha256 for model in request.asked} <= {*used.values()}
    ):
        stages = made.predicate.stage
        message = "the statement of the generation does not hold the request it decided on"
        inconsistent = context.data_finding(
            "EVIDENCE_INCONSISTENT",
            message,
            expected=", ".join(f"{role} {digest[:12]}" for role, digest in decided_on.items()),
            found=", ".join(f"{role} {used.get(role, '')[:12]}" for role in read),
            stages=stages,
        )
        return (inconsistent,), ()
    decision = decide_generation(
        request.model_copy(update={"model": context.model, "also": []}),
        context.policies, context.evidence, context.at,
        authority=context.authority, governed=context.governed, before=made,
    )  # fmt: skip
    return decision.findings, decision.waived


def _for_each(
    contexts: Sequence[D], checks: Mapping[str, Callable[[D], Iterable[Finding]]]
) -> Decision:
    """The decision for every released model; a waiver for one excuses nothing for another."""
    standing: list[Finding] = []
    excused: list[Finding] = []
    tiers: list[str] = []
    decided_on = contexts[0].request.decided_on
    for context in contexts:
        found = list(_run(checks, context))
        for name, decide_again in EARLIER.items():
            against, earlier = _guarded(name, partial(decide_again, context), found) or ((), ())
            found += _not_among(found, against)
            excused += _not_among(excused, earlier)
        findings, waived = waive(context, decided_on.values(), found)
        standing += _not_among(standing, findings)
        excused += _not_among(excused, waived)
        tiers.append(context.tier_name)
    return Decision(
        allowed=not standing,
        tier=", ".join(dict.fromkeys(tiers)),
        decided_on=decided_on,
        findings=tuple(standing),
        at=contexts[0].at,
        waived=tuple(_not_among(standing, excused)),
    )


def decide_release(
    request: ReleaseRequest,
    policies: Policies,
    evidence: EvidenceView,
    at: datetime,
    *,
    authority: Authority | None,
) -> ReleaseDecision:
    """Whether a model may get an alias. Every gate of its chain is decided again.

    For `candidate`, `policies` say who may sign which evidence, as at a gate. For a governed alias,
    `policies` must be the policies in force of `authority`. Without `authority`, nobody's waiver or
    approval counts; nor did they for `candidate` before version 2 of the rules.
    """
    if request.alias == CANDIDATE or authority is None:
        counts = authority is not None and authority.rules >= CANDIDATE_HAS_RIGHTS
        context = Context(
            request.model,
            (request.released,),
            policies,
            evidence,
            at,
            request.champion,
            request.alias,
            authority=authority if counts else None,
        )
        return _decided(request, context, RELEASE_CHECKS, gates=True)
    governed = ReleaseContext.of(request, authority, evidence, at)
    return _decided(
        request, governed, GOVERNED_CHECKS[request.action], gates=request.action == "promote"
    )


def decide_automatic(
    request: ReleaseRequest, evidence: EvidenceView, at: datetime, authority: Authority
) -> ReleaseDecision:
    """The decision without the people: its findings are those that the packet shows."""
    return _decided(
        request, ReleaseContext.of(request, authority, evidence, at), AUTOMATIC_CHECKS, gates=True
    )


def rollback_target(context: ReleaseContext) -> Iterable[Finding]:
    """A rollback goes to the last earlier version against which nothing is open. A move forward is
    a promotion.
    """
    if context.rights.rules < LAST_EARLIER:
        return
    request = context.request
    earlier = context.timeline.released_before(context.model, request.alias, request.from_version)
    for given in earlier:
        version = given.predicate.version
        if version == request.version:
            return
        if _nothing_open(context, version, given.predicate.model_digest):
            break
    else:
        version = "none"
    yield context.finding("ROLLBACK_TARGET", expected=version, found=request.version)


def _nothing_open(context: ReleaseContext, version: str, digest: str) -> bool:
    registration = context.timeline.registrations.get((context.model, version))
    if registration is None or registration.predicate.model_digest != digest:
        return False
    other = context.of_version(registration.predicate)
    checks = {name: GOVERNED_CHECKS["rollback"][name] for name in STANDING}
    standing, _ = waive(other, [digest], _run(checks, other))
    return not standing


def _decided(
    request: ReleaseRequest,
    context: C,
    checks: Mapping[str, Callable[[C], Iterable[Finding]]],
    *,
    gates: bool,
) -> ReleaseDecision:
    findings = list(_run(checks, context))
    gate_decisions: dict[str, Decision] = {}
    for node, train, gate in _chain(context, findings) if gates else ():
        decision = _decide_again(node.name, train, gate, context, findings)
        if decision is not None:
            gate_decisions[step_key(context.view, node)] = decision
            findings += _not_among(findings, decision.findings)
    candidate_only_reasons = (
        _guarded("alias", lambda: of_models.candidate_only(context), findings) or ()
    )
    standing, waived = waive(context, [request.released.sha256], findings)
    for decision in gate_decisions.values():
        waived = (*waived, *decision.waived)
    if "packet" in checks:
        standing = (*standing, *of_people.unseen(context, waived))
    return ReleaseDecision(
        allowed=not standing,
        tier=context.tier_name,
        decided_on={"model": request.released.sha256},
        findings=standing,
        at=context.at,
        waived=waived,
        gates=gate_decisions,
        candidate_only=candidate_only_reasons,
    )


def _run(checks: Mapping[str, Callable[[C], Iterable[Finding]]], context: C) -> tuple[Finding, ...]:
    """The findings of all checks, in the order of the table, without repetitions."""
    findings: list[Finding] = []
    for name, check in checks.items():
        produced = _guarded(name, lambda check=check: list(check(context)), findings)  # type: ignore[misc]
        findings += _not_among(findings, produced or [])
    return tuple(findings)


def _not_among(findings: Iterable[Finding], produced: Iterable[Finding]) -> list[Finding]:
    return [new for new in produced if new not in findings]


T = TypeVar("T")


def _guarded(name: str, work: Callable[[], T], findings: list[Finding]) -> T | None:
    """The result of `work`. Where it raises, the error becomes a finding and the result is None.

    The finding names only the type of a foreign error: its text may quote data.
    """
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - whatever a check does, it must end in a denial
        reason = str(error) if isinstance(error, CountersignError) else type(error).__name__
        crashed = finding("CHECK_CRASHED", f"check {name}", found=reason)
        if crashed not in findings:
            findings.append(crashed)
        return None


def _chain(
    context: Context, findings: list[Finding]
) -> list[tuple[ModelNode, Evidence[Train], Evidence[GateDecision]]]:
    """The models of the chain that were trained behind a gate, with both statements."""
    nodes = _guarded("model_evidence", lambda: context.models[0].chain, findings) or []
    return [
        (node, node.train, node.gate)
        for node in nodes
        if node.train is not None and node.gate is not None
    ]


def _decide_again(
    name: str,
    train: Evidence[Train],
    gate: Evidence[GateDecision],
    context: Context,
    findings: list[Finding],
) -> Decision | None:
    """Decides the gate of a trained model again, from the request in its logged decision."""
    try:
        request = asked_of_gate(gate.predicate)
    except VerificationError:
        request = None
    expected = (name, train.predicate.method, gate.predicate.decided_on)
    if request is None or (request.stage, request.method, request.decided_on) != expected:
        findings.append(
            finding(
                "EVIDENCE_INCONSISTENT",
                f"stage {name}",
                "the gate's statement does not hold the request it decided on, so it cannot be"
                " decided again",
                stages=f"gate@{name} train@{name}",
            )
        )
        return None
    renamed = request.model_copy(update={"model": context.model, "also": []})
    return decide_gate(
        renamed, context.policies, context.evidence, context.at,
        authority=context.authority, governed=context.governed, before=train,
    )  # fmt: skip
