"""Checks of the models a stage is built upon, and of the model a release is about: lineage, files,
evaluation.

Where a model has no evidence, `model_evidence` says so and the checks that would read it are
silent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from governance.attest.predicates import CANDIDATE, Finding, Predicate
from governance.gates.assessment import Judged
from governance.gates.checks.context import (
    UNKNOWN,
    Context,
    Findings,
    ModelFacts,
    signed_by,
)
from governance.gates.records import record_limits
from governance.history.chain import Chain
from governance.history.lineage import ModelNode, inputs
from governance.log.rules import STATES_FILES, WHOLE_CHAIN
from governance.models.files import unsafe_files

if TYPE_CHECKING:
    from governance.attest.predicates import GateDecision, Train
    from governance.log.evidence import Evidence


def model_evidence(context: Context) -> Findings:
    """Every model of the chain was imported, or trained behind a gate that allowed that
    training.
    """
    for node in _nodes(context):
        if not node.known:
            yield _unknown(context, node)
        elif node.train is not None and node.gate is None:
            yield context.finding(
                "GATE_MISSING",
                f"model {node.name}",
                expected=f"an allowed decision of gate@{node.name}",
                found="none",
            )
        elif node.train is not None and node.gate is not None:
            yield from _agreement(context, node, node.train, node.gate)


def _unknown(context: Context, node: ModelNode) -> Finding:
    """No evidence of a model's origin. Only the proposed next step depends on whether it is
    probably a base.
    """
    is_base = node.name in context.policies.bases or any(
        ref.outside and ref.sha256 == node.sha256 for ref in context.refs
    )
    kind = "base" if is_base else "train"
    return context.finding(
        "EVIDENCE_MISSING",
        f"model {node.name}",
        f"no {kind} evidence about these bytes in the log at hand",
        expected=f"a statement of kind {kind} about {node.sha256[:12]}",
        found=signed_by(context.view.set_aside(node.sha256, kind)),
        stages=f"import_base@{node.name}" if is_base else _gate_and_train(node),
    )


def _gate_and_train(node: ModelNode) -> str:
    return f"gate@{node.name} train@{node.name}"


def _agreement(
    context: Context, node: ModelNode, train: Evidence[Train], gate: Evidence[GateDecision]
) -> Findings:
    """The gate decided on the digests that the training used."""
    used = {**inputs(train), "objective": train.predicate.objective}
    decided_on = {
        role: digest
        for role, digest in gate.predicate.decided_on.items()
        if not role.startswith("reward/")
    }
    differing = sorted(role for role, digest in decided_on.items() if used.get(role) != digest)
    differing += sorted({"data", "parent", "objective"} - decided_on.keys())
    if differing:
        yield context.finding(
            "EVIDENCE_INCONSISTENT",
            f"model {node.name}",
            "it was trained from other digests than its gate decided on",
            expected="the digests decided on",
            found=f"differs in {', '.join(differing)}",
            stages=_gate_and_train(node),
        )


def bases(context: Context) -> Findings:
    """Policy allows every imported base model, by digest."""
    allowed = context.policies.bases
    digests = {base.digest for base in allowed.values()}
    for node in _outside(context):
        if node.sha256 in digests:
            continue
        found = {"subject": f"base {node.name}", "found": node.sha256[:12]}
        figures = [node.sha256]
        if node.name in allowed:
            expected = allowed[node.name].digest[:12]
            yield context.finding("BASE_CHANGED", expected=expected, figures=figures, **found)
        else:
            expected = "an entry in policies/bases.yaml"
            yield context.finding("BASE_NOT_ALLOWED", expected=expected, figures=figures, **found)


def base_licences(context: Context) -> Findings:
    """Policy permits the licence of every base model."""
    permitted = context.policies.rules.licences.bases
    for node in _outside(context):
        same = (base for base in context.policies.bases.values() if base.digest == node.sha256)
        base = next(same, None)
        if base is not None and base.licence not in permitted:
            yield context.finding(
                "LICENCE_NOT_PERMITTED",
                f"base {node.name}",
                expected=", ".join(permitted),
                found=base.licence,
                figures=[base.licence],
            )


def model_files(context: Context) -> Findings:
    """The model folders hold only safetensors, JSON and text."""
    for ref in context.refs:
        if unsafe := unsafe_files(ref.files):
            yield context.finding(
                "UNSAFE_FILES",
                f"model {ref.name}",
                expected="safetensors, JSON, text",
                found=", ".join(unsafe[:5]),
            )


def records_used(context: Context) -> Findings:
    """No training left out or cut more of its records than policy permits."""
    rules = context.policies.rules.training
    if rules is None:
        return
    for node in _nodes(context):
        if node.train is not None:
            yield from record_limits(f"model {node.name}", node.train.predicate.use, rules)


def thresholds_set(context: Context) -> Findings:
    """Policy has thresholds for this method on this suite, or says why it has none."""
    for facts in context.evaluated:
        if facts.required and facts.node.known and facts.demands is None:
            expected = "thresholds, or `none: <reason>`"
            yield facts.finding("THRESHOLDS_MISSING", expected=expected, found="nothing")


def evaluation_evidence(context: Context) -> Findings:
    """Where policy has demands, the model was evaluated and every demanded figure exists."""
    for facts in _with_demands(context):
        if facts.evaluation is None:
            message = f"no evaluation of these bytes on {facts.ref.suite} in the log at hand"
            expected = f"a statement of kind evaluate about {facts.ref.sha256[:12]}"
            stages = facts.evaluate_stage
            step = missing_row(facts.ref.name, facts.ref.suite) if facts.row == "" else ""
            yield facts.finding(
                "EVIDENCE_MISSING",
                message,
                expected=expected,
                found="none",
                stages=stages,
                next=step,
            )
        for judged in (*facts.judged, *facts.sliced):
            if judged.gap and not facts.not_shown:
                yield facts.finding(
                    "EVALUATION_INCOMPLETE",
                    f"{judged.metric}: no figure that could decide",
                    expected=f"{judged.metric} {judged.demand}",
                    found=judged.gap,
                    measure=judged.measure,
                    next=_more_prompts(facts),
                )


def _more_prompts(facts: ModelFacts) -> str:
    """The next step where a judge left too few items; else that of the table."""
    if not facts.is_judged:
        return ""
    stage = facts.evaluate_stage
    return f"params.yaml: judged.{facts.row} (limit, judge); then: countersign repro {stage}"


def missing_row(model: str, suite: str) -> str:
    """The next step where no row of params.yaml evaluates a model on a suite beside its own."""
    row = f"a row with model {model} and suite {suite}"
    return f"params.yaml: evaluations: {row}; then: countersign repro"


def evaluation_suite(context: Context) -> Findings:
    """The evaluation used the suite as it is defined now and as policy pins it."""
    for facts in _with_demands(context):
        used = facts.evaluation.predicate.suite if facts.evaluation else None
        pinned, defined = facts.suite_policy.digest, facts.ref.suite_digest
        if used is not None and (used != defined or pinned not in (None, used)):
            expected = (pinned or defined)[:12]
            yield facts.finding(
                "EVALUATION_OUT_OF_DATE", expected=expected, found=used[:12], figures=[used]
            )


def metric_sources(context: Context) -> Findings:
    """The functions that scored the metrics are those that policy names."""
    for facts in _with_demands(context):
        if facts.evaluation is None:
            continue  # another check says so
        functions = facts.evaluation.predicate.functions
        for metric, digest in facts.suite_policy.sources.items():
            found = functions.get(metric, "")
            if found != digest:
                yield facts.finding(
                    "METRIC_CHANGED",
                    f"{metric} was scored by another function than policy names",
                    expected=digest[:12],
                    found=found[:12] or "no function of that name",
                    figures=[found],
                    measure=metric,
                )


def suite_pinned(context: Context) -> Findings:
    """Policy pins the suites by digest, where the tier demands that."""
    if context.tier is None or not context.tier.pinned_suites:
        return
    for facts in _with_demands(context):
        if facts.suite_policy.digest is None and facts.ref.suite_digest != UNKNOWN:
            yield context.finding(
                "SUITE_UNPINNED",
                f"suite {facts.ref.suite}",
                expected="digest",
                found="nothing pinned",
                figures=[facts.ref.suite_digest],
                digest=facts.ref.suite_digest,
            )


def thresholds(context: Context) -> Findings:
    """Every threshold is met."""
    for facts in _with_demands(context):
        for judged in facts.judged:
            if not judged.passed and not judged.gap:
                message = f"{judged.metric} misses its threshold"
                yield _missed("THRESHOLD_NOT_MET", facts, judged, message)


def slices(context: Context) -> Findings:
    """The worst slice meets every threshold on slices."""
    for facts in _with_demands(context):
        for judged in facts.sliced:
            if not judged.passed and not judged.gap:
                message = f"{judged.metric} of {judged.slice} misses its threshold"
                yield _missed("SLICE_NOT_MET", facts, judged, message)


def comparisons(context: Context) -> Findings:
    """The model is not worse than parent, base or champion by more than policy permits."""
    for facts in _with_demands(context):
        for judged in facts.compared if not facts.not_shown else ():
            if judged.gap and facts.evaluation is not None:
                message = f"{judged.metric} cannot be compared with {judged.reference}"
                yield _missed("NOT_COMPARABLE", facts, judged, message)
            elif not judged.passed:
                message = f"{judged.metric} is worse than that of {judged.reference}"
                yield _missed("WORSE_THAN_REFERENCE", facts, judged, message)


def _missed(code: str, facts: ModelFacts, judged: Judged, message: str) -> Finding:
    return facts.finding(
        code,
        message,
        expected=f"{judged.metric} {judged.demand}",
        found=judged.found,
        figures=judged.figures,
        measure=judged.measure,
    )


def judges_checked(context: Context) -> Findings:
    """Where a judge compared a model's answers, the judge counted on the day of the evaluation. No
    figure of the suite decides anything otherwise, and the checks that would read one are silent.
    """
    for facts in _with_demands(context):
        by = facts.evaluation.predicate.judged_by if facts.evaluation else None
        for reason in facts.not_shown:
            yield facts.finding(
                reason.code,
                f"judge {by.name}: {reason.message}" if by else reason.message,
                expected=reason.expected,
                found=reason.found,
                figures=[reason.found],
                measure=reason.measure,
                row=by.row if by else "ROW",
                judged=facts.row or "ROW",
            )


def separate_evaluator(context: Context) -> Findings:
    """Training and evaluation have different signers, where the tier demands that."""
    if context.tier is None or not context.tier.separate_evaluator:
        return
    for facts in _with_demands(context):
        train, evaluation = facts.node.train, facts.evaluation
        if train and evaluation and same_signer(context, train, evaluation):
            found = f"both signed by {train.keyid[:16]}"
            yield facts.finding(
                "SEPARATE_EVALUATOR",
                expected="two keys",
                found=found,
                figures=[train.keyid, evaluation.keyid],
            )


def alias(context: Context) -> Findings:
    """The evidence suffices for a governed alias. `candidate` needs none of this."""
    if context.alias in (None, CANDIDATE):
        return
    reasons = _why_candidate_only(context)
    if context.authority is None:
        reasons.append("the log gives no rights to people")
    if reasons:
        yield context.finding(
            "ALIAS_NOT_PERMITTED",
            message=f"it cannot be {context.alias}",
            expected="keys of named principals, committed code, a promotable tier",
            found="; ".join(reasons),
        )


def candidate_only(context: Context) -> tuple[str, ...]:
    """Why the evidence suffices for `candidate` only, in words. Approvals are not evidence."""
    reasons = _why_candidate_only(context)
    requesters = (statement.predicate.run.requested_by for statement in _stage_evidence(context))
    if any(not requester.authenticated for requester in requesters):
        reasons.append("nobody authenticated asked for the runs")
    return tuple(reasons)


def _why_candidate_only(context: Context) -> list[str]:
    statements = list(_stage_evidence(context))
    dirty = {
        statement.predicate.stage for statement in statements if statement.predicate.code.dirty
    }
    reasons = (
        ["signed by development keys"]
        if any(statement.development for statement in statements)
        else []
    )
    if dirty:
        reasons.append(f"uncommitted code, parameters or policies in {', '.join(sorted(dirty))}")
    altered = {
        statement.predicate.stage
        for statement in statements
        if statement.predicate.environment.altered
    }
    if altered:
        reasons.append(f"altered package files in {', '.join(sorted(altered))}")
    unknown = {
        statement.predicate.stage for statement in statements if _lacks_files(context, statement)
    }
    if unknown:
        reasons.append(f"no digest of the files that ran in {', '.join(sorted(unknown))}")
    if context.tier is None or not context.tier.promotable:
        reasons.append(f"tier {context.tier_name} is not promotable")
    return reasons


def _lacks_files(context: Context, statement: Evidence) -> bool:
    """Whether a statement does not say which files ran. Under rules 1, none had to."""
    if context.authority is None or context.authority.rules_at(statement.index) < STATES_FILES:
        return False
    code, environment = statement.predicate.code, statement.predicate.environment
    return code.sources is None or environment.files is None


def _stage_evidence(context: Context) -> Iterator[Evidence]:
    """Everything behind the models. Before version 2 of the rules: only trainings, gates, bases and
    each model's own evaluations.
    """
    statements: list[Evidence[Any] | None] = [facts.evaluation for facts in context.evaluated]
    for facts in context.models:
        if context.authority is not None and context.authority.rules >= WHOLE_CHAIN:
            ref = facts.ref
            chain = Chain(context.view, ref.sha256, ref.name, further=tuple(ref.further))
            statements += chain.statements()
        else:
            nodes = facts.chain
            statements += [each for node in nodes for each in (node.train, node.gate, node.base)]
    for statement in statements:
        if statement and isinstance(statement.predicate, Predicate):
            yield statement


def same_signer(context: Context, statement: Evidence, other: Evidence) -> bool:
    """Whether one key, or one principal with two keys, signed both."""
    if statement.keyid == other.keyid:
        return True
    names, other_names = _signer(context, statement), _signer(context, other)
    return names is not None and other_names is not None and bool(names & other_names)


def _signer(context: Context, statement: Evidence) -> frozenset[str] | None:
    """All names of the principal who held the key at that entry; None for a development key."""
    rights = context.authority if context.governed else None
    principal = (
        rights.principal(statement.keyid, statement.index)
        if rights
        else context.policies.principals.get(statement.keyid)
    )
    if principal is None:
        return None
    return rights.also_called.get(principal.name) if rights else frozenset([principal.name])


def _nodes(context: Context) -> Iterator[ModelNode]:
    """Every model of every chain, each once."""
    seen: set[str] = set()
    for facts in context.models:
        for node in facts.chain:
            if node.sha256 not in seen:
                seen.add(node.sha256)
                yield node


def _outside(context: Context) -> Iterator[ModelNode]:
    return (node for node in _nodes(context) if node.base is not None)


def _with_demands(context: Context) -> Iterator[ModelFacts]:
    return (facts for facts in context.evaluated if facts.has_demands)
