"""Compares the scores of an evaluation with policies/evaluation.yaml. The log holds the scores.

1. Scores come from `evaluate` statements only; intervals are those of `governance.base.statistics`.
2. Unless policy says `judge: mean`, the unfavourable end of the interval must satisfy the bound.
3. Comparisons are paired, item by item, and need the same suite by digest.
4. A slice has the items that carry its label. The worst slice decides. Of many slices, some are low
   by chance alone.
5. An absent metric, an item without a score, too few items, and a judge that does not count are
   gaps. A gap has a reason and does not pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from governance.attest.predicates import Evaluate
from governance.base.statistics import HUGE, Interval, difference_interval, mean_interval
from governance.policy.evaluation import (
    Comparison,
    Demands,
    EvaluationPolicy,
    SliceThreshold,
    Threshold,
)

NO_SLICES = "the suite's items name no slice"


@dataclass(frozen=True)
class Judged:
    """One demand of policy and the figure that it was compared with."""

    metric: str
    reference: str | None
    """What it is compared with: parent, base or champion; None for a threshold."""
    demand: str
    """In words, e.g. `at least 0.95 (lower end of the 95% interval)`."""
    figure: Interval | None
    passed: bool
    gap: str = ""
    """Why there is no figure."""
    slice: str = ""
    """The worst slice, e.g. `language=de`, whose figure this is; empty for a figure of all
    items.
    """
    suite: str = ""
    """The suite, where it is not the model's own."""

    @property
    def name(self) -> str:
        """The metric, and its suite where that is not the model's own."""
        return f"{self.metric} on {self.suite}" if self.suite else self.metric

    @property
    def measure(self) -> str:
        """What the figure is of, e.g. `greedy_exact, language=de, against base`."""
        against = f"against {self.reference}" if self.reference else ""
        return ", ".join(part for part in (self.metric, self.slice, against) if part)

    @property
    def figures(self) -> list[str]:
        """The figure as data, to the digits that are shown."""
        return digits(self.figure) if self.figure else []

    @property
    def found(self) -> str:
        """The figure in words, or why there is none."""
        where = f"{self.slice} " if self.slice else ""
        return where + describe(self.figure) if self.figure else self.gap


def digits(figure: Interval) -> list[str]:
    """Mean, ends and number of items, to the digits that are shown."""
    shown = (figure.mean, figure.low, figure.high)
    return [*(f"{value:.3f}" for value in shown), str(figure.n)]


def describe(figure: Interval) -> str:
    """An interval in words: `0.870 [0.827, 0.903], n=300`."""
    return f"{figure.mean:.3f} [{figure.low:.3f}, {figure.high:.3f}], n={figure.n}"


def judge(evaluation: Evaluate, demands: Demands, policy: EvaluationPolicy) -> list[Judged]:
    """The result of every threshold, by metric."""
    results = []
    for metric, bound in sorted(demands.thresholds.items()):
        demand = f"{_limit(bound)} ({_end(bound, policy, bound.at_most is not None)})"
        figure = _figure(evaluation, metric, policy.confidence, policy.minimum_items)
        passed = isinstance(figure, Interval) and _meets(bound, figure)
        results.append(_judged(metric, demand, figure, passed))
    return results


def judge_slices(evaluation: Evaluate, demands: Demands, policy: EvaluationPolicy) -> list[Judged]:
    """The result of every bound on slices, for the worst slice of each."""
    return [_worst(evaluation, bound, policy) for bound in demands.slices]


def slices(
    evaluation: Evaluate, by: str, metric: str, confidence: float
) -> dict[str, Interval] | str:
    """Maps each slice to its mean and interval. Returns the reason where there are none."""
    labels, scores = evaluation.slices.get(by), _scores(evaluation, metric)
    if evaluation.not_shown:
        return evaluation.without_scores
    if labels is None:
        return f"its items name no slice by {by}" if evaluation.slices else NO_SLICES
    if isinstance(scores, str):
        return scores
    if len(labels) != len(scores):
        return f"{len(labels)} items have a slice by {by}, and {len(scores)} a score"
    scores_of: dict[str, list[float]] = {}
    for label, score in zip(labels, scores, strict=True):
        scores_of.setdefault(label, []).append(score)
    return {label: mean_interval(values, confidence) for label, values in sorted(scores_of.items())}


def worst(figures_by_slice: Mapping[str, Interval], *, high_is_bad: bool = False) -> str:
    """The slice with the worst mean; on a tie, the one with fewest items."""
    sign = -1 if high_is_bad else 1
    return min(
        figures_by_slice,
        key=lambda label: (sign * figures_by_slice[label].mean, figures_by_slice[label].n, label),
    )


def compare(
    evaluation: Evaluate,
    demands: Demands,
    policy: EvaluationPolicy,
    references: Mapping[str, Evaluate | None],
) -> list[Judged]:
    """The result of every comparison that policy demands with one of `references`. A reference
    without an evaluation is None there.
    """
    demanded = [comparison for comparison in demands.compare if comparison.reference in references]
    return [
        _comparison(evaluation, comparison, policy, references[comparison.reference])
        for comparison in demanded
    ]


def differences(
    evaluation: Evaluate, reference: Evaluate, confidence: float
) -> dict[str, Interval | str]:
    """Maps each shared metric to the paired difference (ours less theirs), or to why there is
    none.
    """
    shared = [metric for metric in evaluation.scores if metric in reference.scores]
    return {metric: _paired(evaluation, reference, metric, confidence) for metric in sorted(shared)}


def figures(evaluation: Evaluate, confidence: float) -> dict[str, Interval | str]:
    """Maps each metric to its mean and interval, or to why there is none."""
    return {
        metric: _figure(evaluation, metric, confidence, 1) for metric in sorted(evaluation.scores)
    }


def _worst(evaluation: Evaluate, bound: SliceThreshold, policy: EvaluationPolicy) -> Judged:
    figures_by_slice = slices(evaluation, bound.by, bound.metric, policy.confidence)
    high_is_bad = bound.at_most is not None
    demand = (
        f"{_limit(bound)} in every slice by {bound.by} of {bound.minimum_items} items or more"
        f" ({_end(bound, policy, high_is_bad)})"
    )
    if isinstance(figures_by_slice, str):
        return Judged(bound.metric, None, demand, None, False, figures_by_slice)
    enough = {
        label: figure
        for label, figure in figures_by_slice.items()
        if figure.n >= bound.minimum_items
    }
    missing = [label for label in bound.labels if label not in enough]
    if missing or not enough:
        gap = f"no slice {bound.by}={missing[0]} of so many items" if enough else ""
        gap = gap or f"no slice by {bound.by} has so many items"
        return Judged(bound.metric, None, demand, None, False, gap)
    beyond = {label: figure for label, figure in enough.items() if not _meets(bound, figure)}
    label = worst(beyond or enough, high_is_bad=high_is_bad)
    where = f"{bound.by}={label}"
    return Judged(bound.metric, None, demand, enough[label], not beyond, slice=where)


def _judged(
    metric: str, demand: str, figure: Interval | str, passed: bool, reference: str | None = None
) -> Judged:
    """The result of one demand; `figure` is why there is none, where it is a text."""
    if isinstance(figure, str):
        return Judged(metric, reference, demand, None, False, figure)
    return Judged(metric, reference, demand, figure, passed)


def _limit(bound: Threshold) -> str:
    if bound.at_least is not None:
        return f"at least {bound.at_least:g}"
    return f"at most {bound.at_most:g}"


def _meets(bound: Threshold, figure: Interval) -> bool:
    low, high = _ends(bound, figure)
    return low >= bound.at_least if bound.at_least is not None else high <= (bound.at_most or 0.0)


def _ends(demand: Threshold | Comparison, figure: Interval) -> tuple[float, float]:
    """The lower and the upper figure that a demand is about."""
    is_mean = demand.judge == "mean"
    return (figure.mean, figure.mean) if is_mean else (figure.low, figure.high)


def _comparison(
    evaluation: Evaluate,
    comparison: Comparison,
    policy: EvaluationPolicy,
    reference: Evaluate | None,
) -> Judged:
    name, rises = comparison.reference, comparison.may_fall is None
    margin = comparison.may_rise if rises else comparison.may_fall
    demand = (
        f"not {'higher' if rises else 'lower'} than {name} by more than {margin:g}"
        f" ({_end(comparison, policy, rises)})"
    )
    figure: Interval | str = f"{name} has no evaluation on this suite"
    if reference is not None:
        figure = _paired(evaluation, reference, comparison.metric, policy.confidence)
    passed = False
    if isinstance(figure, Interval):
        low, high = _ends(comparison, figure)
        passed = high <= (margin or 0.0) if rises else low >= -(margin or 0.0)
    return _judged(comparison.metric, demand, figure, passed, name)


def _end(demand: Threshold | Comparison, policy: EvaluationPolicy, upper: bool) -> str:
    """The end of the interval that a demand is about, in words."""
    if demand.judge == "mean":
        return "mean"
    return f"{'upper' if upper else 'lower'} end of the {policy.confidence:.0%} interval"


def _figure(evaluation: Evaluate, metric: str, confidence: float, minimum: int) -> Interval | str:
    scores = _scores(evaluation, metric)
    if isinstance(scores, str):
        return scores
    if len(scores) < minimum:
        return f"{len(scores)} item(s), and policy wants at least {minimum}"
    return mean_interval(scores, confidence)


def _paired(ours: Evaluate, theirs: Evaluate, metric: str, confidence: float) -> Interval | str:
    if ours.suite != theirs.suite:
        return "evaluated on another suite"
    our_scores, their_scores = _scores(ours, metric), _scores(theirs, metric)
    if isinstance(our_scores, str):
        return our_scores
    if isinstance(their_scores, str):
        return f"the reference: {their_scores}"
    if len(our_scores) != len(their_scores):
        return f"{len(our_scores)} items against {len(their_scores)}"
    if any(abs(score) > HUGE for score in (*our_scores, *their_scores)):
        return f"scores beyond {HUGE:g} are not subtracted"
    return difference_interval(our_scores, their_scores, confidence)


def _scores(evaluation: Evaluate, metric: str) -> list[float] | str:
    """The scores of every item, or why they cannot be used."""
    if evaluation.without_scores:
        return evaluation.without_scores
    scores = evaluation.scores.get(metric)
    if not scores:
        return "no such metric in the evaluation"
    present = [score for score in scores if score is not None]
    if len(present) < len(scores):
        return f"{len(scores) - len(present)} of {len(scores)} items have no score"
    return present
