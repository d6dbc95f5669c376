"""Checks of how a model behaves on held-out prompts, whatever its suite measures
(`governance.gates.behaviour`). Policy sets the limits: `behaviour` in policies/evaluation.yaml.
Where it sets none, the defaults judge evaluations that were made under version 3 of the rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from governance.attest.predicates import Evaluate
from governance.gates import behaviour, ranking
from governance.gates.behaviour import Reason
from governance.gates.checks.context import Context, Findings, ModelFacts
from governance.log.rules import LIMITS_BEHAVIOUR
from governance.policy.evaluation import BehaviourLimits

if TYPE_CHECKING:
    from governance.policy.authority import Authority

UNMEASURED = (NOT_MEASURED, NOT_BESIDE_PARENT) = ("behaviour", "behaviour, against parent")
"""What findings name as their measure where behaviour, or its comparison, cannot be judged."""

Judged = tuple[ModelFacts, Evaluate, BehaviourLimits]


def behaviour_measured(context: Context) -> Findings:
    """Every model that is judged was evaluated, with every measure that decides."""
    for facts, limits in _with_limits(context):
        if facts.evaluation is None:
            if not facts.has_demands:  # else another check says so
                yield facts.finding(
                    "EVIDENCE_MISSING",
                    f"no evaluation of these bytes on {facts.ref.suite} in the log at hand",
                    expected=f"a statement of kind evaluate about {facts.ref.sha256[:12]}",
                    found="none",
                    stages=facts.evaluate_stage,
                )
            continue
        absent = _absent(facts, limits)
        if absent:
            yield facts.finding(
                "EVALUATION_INCOMPLETE",
                "its behaviour was not measured",
                expected=", ".join(absent),
                found="no such measure in the evaluation",
                measure=NOT_MEASURED,
                next=f"countersign repro --force {facts.own_stage}",
            )


def degenerate_output(context: Context) -> Findings:
    """Answers have text, end, do not repeat themselves, and depend on what was asked."""
    confidence = context.policies.evaluation.confidence
    for facts, evaluation, limits in _measured(context):
        method = facts.node.method
        yield from _findings(facts, behaviour.degenerate(evaluation, method, limits, confidence))


def over_optimised(context: Context) -> Findings:
    """The model stays near its parent, and no metric fell while its rewards rose: neither against
    its parent nor along its training.
    """
    confidence = context.policies.evaluation.confidence
    for facts, limits in _with_limits(context):
        if (train := facts.node.train) is not None:
            yield from _findings(facts, behaviour.worn_out(train.predicate, limits, confidence))
    for facts, evaluation, limits in _measured(context):
        method = facts.node.method
        yield from _findings(facts, behaviour.too_far(evaluation, method, limits, confidence))
        parent = facts.parent_behaved
        if parent is not None and behaviour.rewards_rose(evaluation, confidence):
            fallen = behaviour.fallen(evaluation, parent, limits, confidence)
            yield from _findings(facts, fallen)


def reward_hacked(context: Context) -> Findings:
    """The answers of a model whose rewards rose did not collapse."""
    confidence = context.policies.evaluation.confidence
    for facts, evaluation, limits in _measured(context):
        if not behaviour.rewards_rose(evaluation, confidence):
            continue
        parent = facts.parent_behaved
        if parent is None or not _is_measured(parent, limits):
            yield facts.finding(
                "NOT_COMPARABLE",
                "its behaviour cannot be compared with that of parent",
                expected="an evaluation of the parent on the same suite, with its behaviour",
                found="none",
                measure=NOT_BESIDE_PARENT,
            )
        else:
            yield from _findings(facts, behaviour.hacked(evaluation, parent, confidence))


def reward_model(context: Context) -> Findings:
    """A reward model ranks pairs better than rules that read nothing, and not by length."""
    confidence = context.policies.evaluation.confidence
    for facts, limits in _with_limits(context):
        pairs = facts.behaved.predicate.pairs if facts.behaved else None
        if pairs is not None:
            yield from _findings(facts, ranking.not_better(pairs, confidence))
            yield from _findings(facts, ranking.length_bias(pairs, limits, confidence))


def learning_signal(context: Context) -> Findings:
    """Training had groups of answers with different rewards."""
    for facts, limits in _with_limits(context):
        train = facts.node.train
        if train is not None:
            share = train.predicate.equal_rewards
            yield from _findings(facts, behaviour.equal_rewards(share, limits))


def _with_limits(context: Context) -> Iterator[tuple[ModelFacts, BehaviourLimits]]:
    """The models whose behaviour is judged."""
    for facts in context.models:
        if not facts.node.known:
            continue  # another check says so
        limits = limits_of(facts, context.authority)
        judged = context.alias is not None or facts.node.method not in behaviour.NOT_JUDGED
        if limits is not None and judged:
            yield facts, limits


def limits_of(facts: ModelFacts, authority: Authority | None) -> BehaviourLimits | None:
    """The limits that judge a model's behaviour; None where nothing judges it.

    An evaluation under earlier rules is judged only where policy sets limits, and that of a reward
    model not at all: it states no pairs.
    """
    evaluation = facts.behaved
    suite = evaluation.predicate.suite_name if evaluation else facts.ref.suite
    limits = facts.limits_on(suite)
    if authority is None:
        return limits
    rules = authority.rules if evaluation is None else authority.rules_at(evaluation.index)
    if rules >= LIMITS_BEHAVIOUR:
        return limits or BehaviourLimits()
    return None if facts.node.method in behaviour.SCORERS else limits


def _measured(context: Context) -> Iterator[Judged]:
    """Those with all measures."""
    for facts, limits in _with_limits(context):
        evaluation = facts.behaved.predicate if facts.behaved else None
        if evaluation is None or behaviour.missing(evaluation, facts.node.method, limits):
            continue
        if evaluation.behaviour is not None and evaluation.behaviour.not_measured is None:
            yield facts, evaluation, limits


def _absent(facts: ModelFacts, limits: BehaviourLimits) -> list[str]:
    """The measures that are judged and that nothing says."""
    if facts.behaved is None:
        return [f"behaviour, from {facts.own_stage}"]
    evaluation = facts.behaved.predicate
    return behaviour.missing(evaluation, facts.node.method, limits, facts.behaved_beside)


def _is_measured(parent: Evaluate, limits: BehaviourLimits) -> bool:
    behaved = parent.behaviour
    is_complete = not behaviour.missing(parent, "base", limits) and not parent.not_run
    return is_complete and behaved is not None and behaved.not_measured is None


def _findings(facts: ModelFacts, reasons: Iterable[Reason]) -> Findings:
    for reason in reasons:
        yield facts.finding(
            reason.code,
            reason.message,
            expected=reason.expected,
            found=reason.found,
            figures=reason.figures,
            measure=reason.measure,
        )
