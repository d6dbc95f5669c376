"""Checks of what models give away of their training data (`governance.gates.leaks`). Policy sets
the limits: `leaks` in policies/evaluation.yaml. Without them, nothing is checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from governance.attest.predicates import Finding
from governance.gates.checks.context import Context, Findings, ModelFacts
from governance.gates.checks.models import same_signer
from governance.gates.leaks import NOT_TRAINED_ON_TEXT, Leak, judge
from governance.history.lineage import leak_probes, probe_of

if TYPE_CHECKING:
    from governance.attest.predicates import LeakProbe, Train
    from governance.log.evidence import Evidence

Judged = tuple[ModelFacts, str, Leak]
"""A model, the stage of another training of its chain (empty for its own), and a figure."""


def leaks_measured(context: Context) -> Findings:
    """Each training that policy wants probed was probed, with every figure that decides."""
    for facts, stage, leak in _judged(context):
        if leak.gap:
            yield _finding("LEAKS_NOT_MEASURED", facts, stage, leak)


def training_data_leaks(context: Context) -> Findings:
    """No figure of a probe is beyond its limit."""
    for facts, stage, leak in _judged(context):
        if not leak.passed and not leak.gap:
            yield _finding("TRAINING_DATA_LEAKS", facts, stage, leak)


def _finding(code: str, facts: ModelFacts, stage: str, leak: Leak) -> Finding:
    return facts.finding(
        code,
        expected=leak.demand,
        found=leak.found,
        figures=[*leak.figures],
        measure=f"{leak.measure} of {stage}" if stage else leak.measure,
    )


def _judged(context: Context) -> Iterator[Judged]:
    """Every limit and what was found. Gaps count where policy wants the training of the model
    itself probed; of other trainings of its chain, what was measured counts.
    """
    limits = context.policies.evaluation.leaks
    if limits is None:
        return
    confidence = context.policies.evaluation.confidence
    is_required = context.model in limits.required_of
    for facts in context.models:
        probes = leak_probes(facts.view, facts.ref.sha256)
        for node in facts.chain:
            if node.train is None:
                continue
            is_own, probe = node is facts.node, probe_of(probes, node)
            must = is_required and is_own and node.method not in NOT_TRAINED_ON_TEXT
            problem = _signer_problem(context, probe, node.train)
            found = probe.predicate if probe and not problem else None
            for leak in judge(found, node.train.predicate, limits, confidence, problem):
                if must or not leak.gap:
                    yield facts, "" if is_own else node.name, leak


def _signer_problem(
    context: Context, probe: Evidence[LeakProbe] | None, train: Evidence[Train]
) -> str:
    """Why a probe does not count where the tier demands a separate evaluator; empty if it does."""
    is_demanded = context.tier is not None and context.tier.separate_evaluator
    if is_demanded and probe and same_signer(context, probe, train):
        return "a leak probe that the trainer's key signed"
    return ""
