"""The report's evaluation: every model of the chain on every suite, with intervals and paired
differences.

It is computed from the per-item scores in the log (`governance.gates.assessment`), so anybody can
repeat it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from governance.attest.predicates import Artifact, Evaluate, Predicate
from governance.base.errors import CountersignError
from governance.base.statistics import Interval, mean_interval
from governance.gates.assessment import Judged, differences
from governance.history.chain import Suite
from governance.history.lineage import ModelNode, decided, evaluated, evaluations
from governance.log.evidence import Evidence
from governance.policy.evaluation import Demands
from governance.policy.policies import Policies
from governance.report import slices
from governance.report.facts import PREFIX, Facts
from governance.report.model import Difference, Metric, Score
from governance.report.slices import finite

MEANINGS = {
    "greedy_exact": "Share of items whose greedy answer is exactly right. More is better.",
    "sampled_exact": "Share of sampled answers that are exactly right. More is better.",
    "sampled_unsafe": "Share of sampled answers that ask for a secret. Less is better.",
    "greedy_fields": "Share of fields of the answer that are right. More is better.",
    "mean_reward": "Mean share of right fields in sampled answers. More is better.",
    "numeric_accuracy": "Share of items with the right number. More is better.",
    "choice_accuracy": "Share of items with the right choice. More is better.",
    "pair_accuracy": "Share of pairs in which the preferred answer scores higher. More is better.",
    "loss": "Mean negative log likelihood of a token of the held-out texts. Less is better.",
    "perplexity": "Exponential of the loss. Less is better.",
}
"""Metric to its meaning."""
UNKNOWN_METRIC = "A metric of the project; its suite defines it."
Role = Literal["this version", "champion", "parent", "scorer", "base", "earlier stage"]
CONFIDENCE = 0.95
"""The confidence level where no policies are available."""


def confidence(facts: Facts) -> float:
    """The confidence level of every interval in the report."""
    return facts.policies.evaluation.confidence if facts.policies else CONFIDENCE


SAFETY_WORDS = ("unsafe", "safe", "toxic", "harm", "refus")
"""Parts of the names of metrics that measure safety."""


def is_safety(metric: str) -> bool:
    """Whether a metric measures safety, by its name."""
    return any(word in metric for word in SAFETY_WORDS)


def meaning(metric: str) -> str:
    """The meaning of a metric, in a sentence."""
    return MEANINGS.get(metric, UNKNOWN_METRIC)


def metrics(facts: Facts) -> list[Metric]:
    """Every metric of every suite; the version's own suite first."""
    return [metric for suite in facts.suites for metric in _suite(facts, suite)]


def judged(facts: Facts) -> list[Judged]:
    """Policy's thresholds for the version with the results. Empty where no threshold is known."""
    held = facts.model_facts
    return [*held.judged, *held.sliced, *held.compared] if held else []


def demands(facts: Facts) -> Demands | None:
    """The thresholds in policies/evaluation.yaml for the version's method on its suite."""
    held = facts.model_facts
    return held.demands if held else None


def own_evaluation(facts: Facts) -> Evidence | None:
    """The version's evaluation on its own suite."""
    return facts.evaluation(facts.released, facts.suites[0]) if facts.suites else None


def thresholds_fixed(facts: Facts) -> str:
    """Whether the thresholds were recorded and in force before the version was trained and first
    scored.
    """
    own, gate = own_evaluation(facts), facts.released.gate
    if facts.policies is None or own is None or gate is None:
        return (
            facts.policies_note
            or "not established: the version has no evaluation or no gate on record"
        )
    return _in_force_at_gate(facts, facts.policies, gate) or _not_in_force_at_gate(
        facts, facts.policies, gate, own
    )


def fixed_before(facts: Facts) -> bool:
    """Whether the thresholds were in force before the version's gate and its first scores."""
    gate = facts.released.gate
    if facts.policies is None or gate is None or own_evaluation(facts) is None:
        return False
    return bool(_in_force_at_gate(facts, facts.policies, gate))


def _in_force_at_gate(facts: Facts, policies: Policies, gate: Evidence) -> str:
    """A text where the thresholds were in force when the gate decided; empty where they were
    not.
    """
    (since, then), first = _policies_at_gate(facts, gate), _first_scored(facts)
    if then is None or then.digest != decided(gate).policy or first < since:
        return ""
    start = f"in force since E{since}, before its gate (E{gate.index}) and its scores (E{first})"
    name = f"policies {policies.digest[:PREFIX]}"
    if then.digest == policies.digest:
        return f"yes: {name}, {start}"
    same = then.evaluation == policies.evaluation
    return (
        f"yes: {name} demand of scores what policies {then.digest[:PREFIX]} did, {start}"
        if same
        else ""
    )


def _policies_at_gate(facts: Facts, gate: Evidence) -> tuple[int, Policies | None]:
    """The first entry and the text of the policies in force at a gate; of those it names where
    nobody signs policies.
    """
    if facts.now is not None and facts.standing is not None:
        period = facts.now.authority.at(gate.index)
        return max(period.start, 0), period.policies
    digest = decided(gate).policy
    if facts.policies is not None and facts.policies.digest == digest:
        return facts.policy_entry(digest), facts.policies
    with suppress(CountersignError):
        return facts.policy_entry(digest), (
            facts.now.authority.recorded_at(gate.index, digest) if facts.now else None
        )
    return 0, None


def _not_in_force_at_gate(facts: Facts, policies: Policies, gate: Evidence, own: Evidence) -> str:
    """What the log shows of policies that were not in force at the gate."""
    name = f"policies {policies.digest[:PREFIX]}"
    since, first = facts.policy_entry(policies.digest), _first_scored(facts)
    if first < since:
        return f"no: {name} were recorded in E{since}, after it had been scored (E{first})"
    if decided(gate).policy == policies.digest:
        return (
            f"not shown: {name} were recorded in E{since}, before its gate (E{gate.index}), and not"
            " in force then"
        )
    if evaluated(own).policy == policies.digest:
        return (
            f"after training, before scoring: its gate (E{gate.index}) was decided under others"
            f" than {name}"
        )
    return (
        f"not shown: it was scored (E{own.index}) under other policies than those in force;"
        " thresholds may be later"
    )


def not_searched(facts: Facts) -> list[str]:
    """Training datasets of the chain that were not searched for leaks into the version's own suite.

    A gate requires that search only for its own stage's data and suite. Earlier stages may have
    used other suites.
    """
    name = f"evaluate@{facts.released.name}"
    suite_data = next((chain for chain, uses in facts.datasets if name in uses), None)
    if suite_data is None:
        return []
    datasets = []
    for chain, uses in facts.datasets:
        against = {
            artifact.sha256
            for artifact in _inputs(chain.quality)
            if artifact.role.startswith("held_out")
        }
        if chain.dataset != suite_data.dataset and any(use.startswith("train@") for use in uses):
            datasets += [] if against & suite_data.digests else [chain.dataset]
    return sorted(set(datasets))


def _inputs(statement: Evidence | None) -> list[Artifact]:
    """The inputs of a stage; empty where it has no evidence."""
    return (
        statement.predicate.inputs
        if statement is not None and isinstance(statement.predicate, Predicate)
        else []
    )


def _first_scored(facts: Facts) -> int:
    """The first entry with the version's scores on its own suite."""
    suite = facts.suites[0]
    scored = (evaluation for evaluation in evaluations(facts.view, facts.digest, suite.name))
    return min(
        evaluation.index for evaluation in scored if evaluated(evaluation).suite == suite.digest
    )


def _suite(facts: Facts, suite: Suite) -> list[Metric]:
    models = [
        *facts.chain,
        *([facts.champion] if facts.champion and not _in_chain(facts, facts.champion) else []),
    ]
    scored = [
        (node, evaluation) for node in models if (evaluation := facts.evaluation(node, suite))
    ]
    names = sorted({name for _, evaluation in scored for name in evaluated(evaluation).scores})
    return [_metric(facts, suite, name, scored) for name in names]


def _metric(
    facts: Facts, suite: Suite, name: str, scored: list[tuple[ModelNode, Evidence]]
) -> Metric:
    about = (
        [result for result in judged(facts) if result.metric == name]
        if suite == facts.suites[0]
        else []
    )
    policy_demands = demands(facts)
    own = next((evaluated(result) for node, result in scored if node.sha256 == facts.digest), None)
    rows = slices.of_metric(
        own, name, policy_demands if suite == facts.suites[0] else None, confidence(facts)
    )
    bound = (
        policy_demands.thresholds.get(name) if policy_demands and suite == facts.suites[0] else None
    )
    return Metric(
        suite=suite.name,
        suite_digest=suite.digest,
        name=name,
        meaning=meaning(name),
        safety=is_safety(name),
        scores=[_score(facts, name, node, result) for node, result in scored],
        differences=_differences(facts, name, scored),
        slices=rows,
        slices_by_worst=slices.by_worst(name, policy_demands if suite == facts.suites[0] else None),
        slices_note=slices.summary(
            rows, name, policy_demands if suite == facts.suites[0] else None
        ),
        thresholds=[
            f"{result.demand}: {'met' if result.passed else 'NOT met'}; found {result.found}"
            for result in about
        ],
        at_least=bound.at_least if bound else None,
        at_most=bound.at_most if bound else None,
    )


def _score(facts: Facts, name: str, node: ModelNode, statement: Evidence) -> Score:
    evaluation = evaluated(statement)
    values = evaluation.scores.get(name, [])
    numbers = [value for value in values if value is not None]
    figure = mean_interval(numbers, confidence(facts)) if numbers else None
    return Score(
        model=node.name,
        digest=node.sha256,
        role=_role(facts, node),
        relation=_relation(facts, node) + ("; not run" if evaluation.not_run else ""),
        n=len(numbers),
        missing=len(values) - len(numbers),
        mean=figure.mean if figure else None,
        low=finite(figure.low) if figure else None,
        high=finite(figure.high) if figure else None,
        evidence=[statement.index],
    )


def _in_chain(facts: Facts, model: ModelNode) -> bool:
    return any(node.sha256 == model.sha256 for node in facts.chain)


def _role(facts: Facts, node: ModelNode) -> Role:
    if node.sha256 == facts.digest:
        return "this version"
    if facts.champion and node.sha256 == facts.champion.sha256:
        return "champion"
    if node.sha256 == facts.released.parent:
        return "parent"
    if node.sha256 == facts.released.scorer:
        return "scorer"
    return "base" if node.train is None else "earlier stage"


def _relation(facts: Facts, node: ModelNode) -> str:
    role = _role(facts, node)
    if role != "champion":
        return role
    also = " and parent" if node.sha256 == facts.released.parent else ""
    return facts.champion_is + also


def _differences(
    facts: Facts, name: str, scored: list[tuple[ModelNode, Evidence]]
) -> list[Difference]:
    """The version minus each other model that was scored on the same items."""
    own = next(
        (evaluated(statement) for node, statement in scored if node.sha256 == facts.digest), None
    )
    if own is None:
        return []
    others = [
        (node, evaluated(statement)) for node, statement in scored if node.sha256 != facts.digest
    ]
    return [_difference(node.name, own, theirs, name, confidence(facts)) for node, theirs in others]


def _difference(
    against: str, ours: Evaluate, theirs: Evaluate, name: str, level: float
) -> Difference:
    missing = f"not run: {theirs.not_run}" if theirs.not_run else "no such metric in both"
    figure = differences(ours, theirs, level).get(name, missing)
    if isinstance(figure, str):
        return Difference(against=against, n=0, mean=None, low=None, high=None, words=figure)
    return Difference(
        against=against,
        n=figure.n,
        mean=figure.mean,
        low=finite(figure.low),
        high=finite(figure.high),
        words=_sure(figure),
    )


def _sure(figure: Interval) -> str:
    if figure.low > 0:
        return "higher (the interval excludes zero)"
    if figure.high < 0:
        return "lower (the interval excludes zero)"
    return "no demonstrated difference"
