"""The report's figures of behaviour: how the version answers on held-out prompts, and how the
reward models of its chain rank pairs.

`governance.gates.behaviour` and `governance.gates.ranking` judge the same figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean
from typing import Literal

from governance.attest.predicates import Evaluate, Pairs
from governance.base.statistics import mean_interval
from governance.gates import behaviour, ranking
from governance.gates.assessment import differences
from governance.gates.checks.behaviour import limits_of
from governance.history.chain import Suite
from governance.history.lineage import ModelNode
from governance.log.evidence import Evidence
from governance.policy.evaluation import BehaviourLimits
from governance.report.facts import Facts
from governance.report.model.behaviour import (
    Baseline,
    Behaviour,
    MarginPart,
    Measure,
    QualityGain,
    RewardModel,
    StageGain,
)
from governance.report.scores import confidence, estimate, model_role, slices_of

RULES = {
    "constant": "every answer gets the same score",
    "longer": "the longer answer is the better one",
    "shorter": "the shorter answer is the better one",
}


# -- Answers ---------------------------------------------------------------------------------------
def of_version(facts: Facts) -> Behaviour:
    """What the version's own evaluation measured, beside its parent and the limits."""
    own, train, limits = facts.own_evaluation, facts.released.train, _limits(facts)
    shown = Behaviour(
        not_measured="the version was not evaluated",
        limits=_whose_limits(facts),
        equal_rewards=train.predicate.equal_rewards if train else None,
        equal_rewards_below=limits.equal_rewards if limits else None,
        findings=_findings(facts),
    )
    if own is None:
        return shown
    gain = behaviour.reward_gain(own.predicate, confidence(facts))
    measured = {
        "suite": own.predicate.suite_name,
        "tools": own.predicate.tools,
        "not_measured": _not_measured(own.predicate),
        "measures": list(_measures(facts, own.predicate)),
        "reward_gain": estimate(gain) if gain else None,
        "evidence": [own.index],
    }
    return shown.model_copy(update=measured)


def _findings(facts: Facts) -> list[str]:
    """What stands against the behaviour of the version or a model of its chain."""
    again = facts.again
    if again is None:
        return []
    named = [(finding, "") for finding in again.findings]
    named += [(finding, "waived: ") for finding in again.waived]
    return [
        f"{state}{finding.code} {finding.subject}: {finding.message}; found {finding.found},"
        f" expected {finding.expected}"
        for finding, state in named
        if finding.code in behaviour.CODES
    ]


def _not_measured(evaluation: Evaluate) -> str | None:
    if evaluation.not_run is not None:
        return f"not run: {evaluation.not_run}"
    if evaluation.pairs is not None:
        return "it ranks answers and gives none"
    if evaluation.behaviour is None:
        return "the evaluation was made by a Countersign that did not measure behaviour"
    return evaluation.behaviour.not_measured


def _limits(facts: Facts) -> BehaviourLimits | None:
    held = facts.model_facts
    return limits_of(held, facts.now.authority) if held else None


def _whose_limits(facts: Facts) -> str:
    held = facts.model_facts
    if held is None:
        return "none: it is not established which policies judge the version"
    if _limits(facts) is None:
        return "none: the evaluation was made under earlier rules of the log"
    if held.limits_on(held.ref.suite) is None:
        return "the default ones, because policies/evaluation.yaml sets none"
    return "those of policies/evaluation.yaml"


def _measures(facts: Facts, own: Evaluate) -> Iterator[Measure]:
    parent = facts.model_facts.references.get("parent") if facts.model_facts else None
    level, limits = confidence(facts), _limits(facts)
    figures = behaviour.figures(own, level)
    theirs = behaviour.figures(parent, level) if parent else {}
    theirs.pop("kl", None)  # it is the parent's divergence from another model
    if "parent_reward" in figures:
        theirs["reward"] = figures.pop("parent_reward")  # the rewards of this version's training
    for name in behaviour.MEANINGS:
        if name in figures:
            method = facts.released.method
            demand = behaviour.bound(name, limits, method) if limits else None
            yield Measure(
                name=name,
                meaning=behaviour.MEANINGS[name],
                parent=theirs[name].mean if name in theirs else None,
                limit=demand.text if demand else None,
                met=demand.holds(figures[name].mean) if demand else None,
                **estimate(figures[name]).model_dump(),
            )


# -- Stages ----------------------------------------------------------------------------------------
def stage_gains(facts: Facts) -> list[StageGain]:
    """The gains of each stage of the chain whose model answers, against its own parent."""
    nodes = {node.sha256: node for node in facts.chain}
    gains = []
    for node in facts.trained:
        request = facts.requests.get(node.sha256)
        if request is None:
            continue
        suite = Suite(request.suite.name, request.suite.digest)
        own, parent = facts.evaluation(node, suite), nodes.get(node.parent or "")
        if own is not None and own.predicate.behaviour and own.predicate.behaviour.measures:
            theirs = facts.evaluation(parent, suite) if parent else None
            gains.append(_stage_gain(facts, node, own, theirs))
    return gains


def _stage_gain(
    facts: Facts, node: ModelNode, own: Evidence[Evaluate], theirs: Evidence[Evaluate] | None
) -> StageGain:
    evaluation, level = own.predicate, confidence(facts)
    kl = behaviour.figures(evaluation, level).get("kl")
    reward = behaviour.reward_gain(evaluation, level)
    return StageGain(
        stage=node.name,
        method=node.method,
        suite=evaluation.suite_name,
        kl=estimate(kl) if kl else None,
        reward=estimate(reward) if reward else None,
        quality=list(_quality(evaluation, theirs.predicate, level)) if theirs else [],
        evidence=[made.index for made in (own, theirs) if made],
    )


def _quality(ours: Evaluate, theirs: Evaluate, level: float) -> Iterator[QualityGain]:
    lower = ours.behaviour.lower_is_better if ours.behaviour else []
    for metric, figure in differences(ours, theirs, level).items():
        if isinstance(figure, str):
            continue
        result: Literal["better", "worse", "no demonstrated difference"]
        result = "no demonstrated difference"
        if figure.low > 0 or figure.high < 0:
            result = "better" if (figure.low > 0) != (metric in lower) else "worse"
        yield QualityGain(metric=metric, result=result, **estimate(figure).model_dump())


# -- Reward models ---------------------------------------------------------------------------------
def reward_models(facts: Facts) -> list[RewardModel]:
    """The card of each reward model of the chain, on each suite whose pairs it ranked."""
    return [
        _card(facts, node, suite, statement, statement.predicate.pairs)
        for suite in facts.suites
        for node in facts.chain
        if (statement := facts.evaluation(node, suite)) and statement.predicate.pairs
    ]


def _card(
    facts: Facts, node: ModelNode, suite: Suite, statement: Evidence[Evaluate], pairs: Pairs
) -> RewardModel:
    level, against = confidence(facts), ranking.against_length(pairs)
    return RewardModel(
        model=node.name,
        digest=node.sha256,
        role=model_role(facts, node),
        suite=suite.name,
        accuracy=estimate(mean_interval(ranking.right(pairs), level)),
        baselines=list(_baselines(pairs, level)),
        against_length=estimate(mean_interval(against, level)) if against else None,
        by_margin=[_margin_part(part, level) for part in ranking.by_margin(pairs)],
        calibration_error=ranking.calibration_error(pairs),
        slices=slices_of(statement.predicate, "pair_accuracy", None, level),
        evidence=[statement.index],
    )


def _margin_part(part: list[tuple[float, float]], level: float) -> MarginPart:
    accuracy = estimate(mean_interval([right for _, right in part], level))
    return MarginPart(smallest=part[0][0], largest=part[-1][0], **accuracy.model_dump())


def _baselines(pairs: Pairs, level: float) -> Iterator[Baseline]:
    rule, by_length = ranking.right_by_length(pairs)
    rules = {"constant": ("constant", ranking.CHANCE), "length": (rule, fmean(by_length))}
    for name, gain in ranking.gains(pairs, level).items():
        which, accuracy = rules[name]
        yield Baseline(
            rule=RULES[which], accuracy=accuracy, gain=estimate(gain), better=gain.low > 0
        )
