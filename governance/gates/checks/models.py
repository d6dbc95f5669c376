"""Checks of the models a stage is built upon, and of the model a release is about: lineage, files,
evaluation.

Where a model has no evidence, `model_evidence` says so and the checks that would read it are
silent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from governance.attest.findings import finding
from governance.attest.predicates import CANDIDATE, Finding, Predicate
from governance.gates.assessment import Judged
from governance.gates.checks.context import Context, ModelFacts
from governance.gates.checks.data import rejoin
from governance.history.lineage import ModelNode, decided, inputs, trained
from governance.models.files import unsafe_files

if TYPE_CHECKING:
    from governance.log.evidence import Evidence

Found = Iterable[Finding]


def model_evidence(context: Context) -> Found:
    """Every model of the chain was imported, or trained behind a gate that allowed that
    training.
    """
    for node in _nodes(context):
        if not node.known:
            stage = f"{'import_base' if _is_base(context, node) else 'train'}@{node.name}"
            kind = "base" if _is_base(context, node) else "train"
            keys = context.view.set_aside(node.sha256, kind)
            yield finding(
                "EVIDENCE_MISSING",
                f"model {node.name}",
                f"no {kind} evidence about these bytes in the log at hand",
                expected=f"a {kind} statement whose subject is {node.sha256[:12]}",
                found=(
                    f"only by a key that policy does not let sign it: {keys[0][:16]}"
                    if keys
                    else "none"
                ),
                next=rejoin(stage if kind == "base" else f"gate@{node.name} {stage}"),
            )
        elif node.train is not None and node.gate is None:
            yield finding(
                "GATE_MISSING",
                f"model {node.name}",
                "no decision allowing its training stands before it in the log",
                expected=f"an allowed decision of gate@{node.name}",
                found="none",
                next=f"countersign repro --force gate@{node.name} train@{node.name}",
            )
        elif node.train is not None and node.gate is not None:
            yield from _agreement(node, node.train, node.gate)


def _agreement(node: ModelNode, train: Evidence, gate: Evidence) -> Found:
    """The gate decided on the digests that the training used."""
    used = {**inputs(train), "objective": trained(train).objective}
    decided_on_digests = {
        role: digest
        for role, digest in decided(gate).decided_on.items()
        if not role.startswith("reward/")
    }
    differing = sorted(
        role for role, digest in decided_on_digests.items() if used.get(role) != digest
    )
    missing = sorted({"data", "parent", "objective"} - decided_on_digests.keys())
    if differing or missing:
        yield finding(
            "EVIDENCE_INCONSISTENT",
            f"model {node.name}",
            "it was trained from other digests than its gate decided on",
            expected="the digests decided on",
            found=f"differs in {', '.join(differing + missing)}",
            next=f"countersign repro --force gate@{node.name} train@{node.name}",
        )


def bases(context: Context) -> Found:
    """Policy allows every imported base model, by digest."""
    allowed = context.policies.bases
    for node in _outside(context):
        if any(base.digest == node.sha256 for base in allowed.values()):
            continue
        base_in_policy = allowed.get(node.name)
        yield finding(
            "BASE_CHANGED" if base_in_policy else "BASE_NOT_ALLOWED",
            f"base {node.name}",
            (
                "policy allows this base with other bytes"
                if base_in_policy
                else "policy does not allow this base model"
            ),
            expected=base_in_policy.digest[:12]
            if base_in_policy
            else "an entry in policies/bases.yaml",
            found=node.sha256[:12],
            next=f"review it, then: countersign allow-base {node.name} --licence SPDX-ID",
        )


def base_licences(context: Context) -> Found:
    """Policy permits the licence of every base model."""
    permitted = context.policies.rules.licences.bases
    for node in _outside(context):
        base = next(
            (base for base in context.policies.bases.values() if base.digest == node.sha256), None
        )
        if base is not None and base.licence not in permitted:
            yield finding(
                "LICENCE_NOT_PERMITTED",
                f"base {node.name}",
                "policy does not permit its licence",
                expected=", ".join(permitted),
                found=base.licence,
                next="use another base, or policies/policy.yaml: licences.bases",
            )


def model_files(context: Context) -> Found:
    """The model folders hold only safetensors, JSON and text."""
    for facts in context.models:
        unsafe = unsafe_files(facts.ref.files)
        if unsafe:
            yield finding(
                "UNSAFE_FILES",
                f"model {facts.ref.name}",
                "its folder holds files that can run code, or that nobody knows",
                expected="safetensors, JSON, text",
                found=", ".join(unsafe[:5]),
            )


def thresholds_set(context: Context) -> Found:
    """Policy has thresholds for this method on this suite, or says why it has none."""
    for facts in context.models:
        if facts.node.known and facts.demands is None:
            place = f"suites.{facts.ref.suite}.methods.{facts.node.method}"
            yield finding(
                "THRESHOLDS_MISSING",
                f"model {facts.ref.name}",
                f"policy demands nothing of {facts.node.method} on {facts.ref.suite}, and does not"
                " say why",
                expected="thresholds, or `none: <reason>`",
                found="nothing",
                next=f"policies/evaluation.yaml: {place}",
            )


def evaluation_evidence(context: Context) -> Found:
    """Where policy has demands, the model was evaluated and every demanded figure exists."""
    for facts in _judgeable(context):
        stage = _evaluate_stage(facts)
        if facts.evaluation is None:
            yield finding(
                "EVIDENCE_MISSING",
                f"model {facts.ref.name}",
                f"no evaluation of these bytes on {facts.ref.suite} in the log at hand",
                expected=f"an evaluate statement about {facts.ref.sha256[:12]}",
                found="none",
                next=rejoin(stage),
            )
        for judged in (*facts.judged, *facts.sliced):
            if judged.gap:
                yield finding(
                    "EVALUATION_INCOMPLETE",
                    f"model {facts.ref.name}",
                    f"{judged.metric}: no figure that could decide",
                    expected=f"{judged.metric} {judged.demand}",
                    found=judged.gap,
                    next=(
                        f"params.yaml: suites.{facts.ref.suite} (metrics, limit), then: countersign"
                        f" repro {stage}"
                    ),
                )


def evaluation_suite(context: Context) -> Found:
    """The evaluation used the suite as it is defined now and as policy pins it."""
    for facts in _judgeable(context):
        used = facts.evaluation.predicate.suite if facts.evaluation else None
        pinned = context.policies.evaluation.suites[facts.ref.suite].digest
        if used is not None and (used != facts.ref.suite_digest or pinned not in (None, used)):
            yield finding(
                "EVALUATION_OUT_OF_DATE",
                f"model {facts.ref.name}",
                f"evaluated on {facts.ref.suite} as it is no longer, or not as pinned",
                expected=(pinned or facts.ref.suite_digest)[:12],
                found=used[:12],
                next=f"countersign repro --force {_evaluate_stage(facts)}",
            )


def suite_pinned(context: Context) -> Found:
    """Policy pins the suites by digest, where the tier demands that."""
    if context.tier is None or not context.tier.pinned_suites:
        return
    for facts in _judgeable(context):
        if context.policies.evaluation.suites[facts.ref.suite].digest is None:
            yield finding(
                "SUITE_UNPINNED",
                f"suite {facts.ref.suite}",
                f"tier {context.tier_name} demands that policy pins it by digest",
                expected="digest",
                found="nothing pinned",
                next=(
                    f"policies/evaluation.yaml: suites.{facts.ref.suite}.digest:"
                    f" {facts.ref.suite_digest}"
                ),
            )


def thresholds(context: Context) -> Found:
    """Every threshold is met."""
    for facts in _judgeable(context):
        for judged in facts.judged:
            if not judged.passed and not judged.gap:
                yield _missed(
                    "THRESHOLD_NOT_MET", facts, judged, f"{judged.metric} is beyond its threshold"
                )


def slices(context: Context) -> Found:
    """The worst slice meets every threshold on slices."""
    for facts in _judgeable(context):
        for judged in facts.sliced:
            if not judged.passed and not judged.gap:
                yield _missed(
                    "SLICE_NOT_MET",
                    facts,
                    judged,
                    f"{judged.metric} of {judged.slice} is beyond its threshold",
                )


def comparisons(context: Context) -> Found:
    """The model is not worse than parent, base or champion by more than policy permits."""
    for facts in _judgeable(context):
        for judged in facts.compared:
            if judged.gap and facts.evaluation is not None:
                yield _missed(
                    "NOT_COMPARABLE",
                    facts,
                    judged,
                    f"{judged.metric} cannot be compared with {judged.reference}",
                )
            elif not judged.passed:
                yield _missed(
                    "WORSE_THAN_REFERENCE",
                    facts,
                    judged,
                    f"{judged.metric} is worse than that of {judged.reference}",
                )


def separate_evaluator(context: Context) -> Found:
    """Training and evaluation have different signers, where the tier demands that."""
    if context.tier is None or not context.tier.separate_evaluator:
        return
    for facts in _judgeable(context):
        train, evaluation = facts.node.train, facts.evaluation
        if (
            train is not None
            and evaluation is not None
            and _same_signer(context, train, evaluation)
        ):
            yield finding(
                "SEPARATE_EVALUATOR",
                f"model {facts.ref.name}",
                f"tier {context.tier_name} demands an evaluation by another than the trainer",
                expected="two keys",
                found=f"both signed by {train.keyid[:16]}",
                next=(
                    "with another COUNTERSIGN_SIGNER: countersign repro --force"
                    f" {_evaluate_stage(facts)}"
                ),
            )


def alias(context: Context) -> Found:
    """The evidence suffices for a governed alias. `candidate` needs none of this."""
    if context.alias in (None, CANDIDATE):
        return
    reasons = _unfit(context)
    if context.authority is None:
        reasons.append("the log gives no rights to people")
    if reasons:
        yield finding(
            "ALIAS_NOT_PERMITTED",
            f"model {context.model}",
            f"it cannot be {context.alias}",
            expected="keys of named principals, committed code, a promotable tier",
            found="; ".join(reasons),
        )


def candidate_only(context: Context) -> tuple[str, ...]:
    """Why the evidence suffices for `candidate` only, in words. Approvals are not evidence."""
    reasons = _unfit(context)
    requesters = (statement.predicate.run.requested_by for statement in _stage_evidence(context))
    if any(not requester.authenticated for requester in requesters):
        reasons.append("nobody authenticated asked for the runs")
    return tuple(reasons)


def _unfit(context: Context) -> list[str]:
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
    if context.tier is None or not context.tier.promotable:
        reasons.append(f"tier {context.tier_name} is not promotable")
    return reasons


def _stage_evidence(context: Context) -> Iterator[Evidence]:
    for facts in context.models:
        statements = [
            statement for node in facts.chain for statement in (node.train, node.gate, node.base)
        ]
        yield from (
            statement
            for statement in [*statements, facts.evaluation]
            if statement and isinstance(statement.predicate, Predicate)
        )


def _same_signer(context: Context, statement: Evidence, other: Evidence) -> bool:
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


def _is_base(context: Context, node: ModelNode) -> bool:
    """Whether a model without evidence is probably a base. Only the proposed next step depends on
    it.
    """
    return node.name in context.policies.bases or any(
        ref.outside and ref.sha256 == node.sha256 for ref in context.refs
    )


def _judgeable(context: Context) -> Iterator[ModelFacts]:
    return (facts for facts in context.models if facts.judgeable)


def _evaluate_stage(facts: ModelFacts) -> str:
    return f"{'evaluate' if facts.node.train else 'evaluate_base'}@{facts.ref.name}"


def _missed(code: str, facts: ModelFacts, judged: Judged, message: str) -> Finding:
    return finding(
        code,
        f"model {facts.ref.name}",
        message,
        expected=f"{judged.metric} {judged.demand}",
        found=judged.found,
        next=(
            f"improve {facts.ref.name} or its data; the demand stands in policies/evaluation.yaml: "
            f"suites.{facts.ref.suite}.methods.{facts.node.method}"
        ),
        figures=judged.figures,
    )
