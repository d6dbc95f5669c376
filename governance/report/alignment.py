"""The alignment tax: what the training that made the version cost elsewhere. The version against
its base, its parent and the champion, on each suite that decides on it.

1. A suite has one row: its first threshold's metric, else its first metric by name.
2. Every figure is a paired difference on the same items, with the interval of
   `governance.base.statistics`, which is of that comparison alone.
3. `better` and `worse` are claims of the table as a whole: two-sided tests of all comparisons in
   it, adjusted by Holm's procedure, so that one or more of them are wrong with a probability of at
   most 1 - confidence. Whatever is not claimed is `not distinguishable`, which is no proof of
   equality.
4. Decisions read none of this. A release must meet every threshold, an intersection-union test
   (Berger 1982, Technometrics 24:295), whose error needs no adjustment.
"""

from __future__ import annotations

from dataclasses import dataclass

from governance.attest.predicates import Evaluate
from governance.base.statistics import difference_p, holm
from governance.gates.assessment import differences, figures
from governance.history.chain import Suite
from governance.history.lineage import ModelNode
from governance.report import scores
from governance.report.facts import Facts
from governance.report.model.scores import AlignmentTax, TaxComparison, TaxRow

LESS_IS_BETTER = frozenset({"loss", "perplexity", "sampled_unsafe"})
"""Metrics of the package of which less is better. Newer evaluations state theirs themselves."""


@dataclass(frozen=True)
class _Comparison:
    """One comparison of the table, before it is adjusted."""

    shown: TaxComparison
    p: float | None
    less_is_better: bool


def alignment_tax(facts: Facts) -> AlignmentTax:
    """The table of a version; without rows if it was not scored."""
    found = [(suite, facts.evaluation(facts.released, suite)) for suite in facts.own_suites]
    rows = [
        (_row(facts, suite, ours.predicate), _comparisons(facts, suite, ours.predicate))
        for suite, ours in found
        if ours and ours.predicate.scores
    ]
    values = [each.p for _, cells in rows for each in cells if each.p is not None]
    adjusted, level = iter(holm(values)), 1 - scores.confidence(facts)
    claimed = [
        [each.shown if each.p is None else _claim(each, next(adjusted), level) for each in cells]
        for _, cells in rows
    ]
    return AlignmentTax(
        rows=[
            row.model_copy(update={"against": against})
            for (row, _), against in zip(rows, claimed, strict=True)
        ],
        comparisons=len(values),
    )


def _claim(compared: _Comparison, adjusted: float, level: float) -> TaxComparison:
    """(3) What the table claims of one comparison."""
    result, mean = "not distinguishable", compared.shown.mean or 0.0
    if adjusted <= level:
        result = "worse" if (mean > 0) == compared.less_is_better else "better"
    return compared.shown.model_copy(update={"p_adjusted": adjusted, "result": result})


def _row(facts: Facts, suite: Suite, ours: Evaluate) -> TaxRow:
    metric = main_metric(facts, suite, ours)
    figure = figures(ours, scores.confidence(facts))[metric]
    n = 0 if isinstance(figure, str) else figure.n
    return TaxRow(
        suite=suite.name,
        suite_digest=suite.digest,
        role=scores.suite_role(facts, suite.name) or scores.NO_ROLE,
        metric=metric,
        less_is_better=_less_is_better(facts, suite, ours, metric),
        n=n,
        **scores.interval(None if isinstance(figure, str) else figure),
        against=[],
    )


def main_metric(facts: Facts, suite: Suite, ours: Evaluate) -> str:
    """(1)"""
    held = scores.held_on(facts, suite)
    thresholds = held.demands.thresholds if held and held.demands else {}
    return next((name for name in thresholds if name in ours.scores), min(ours.scores))


def _less_is_better(facts: Facts, suite: Suite, ours: Evaluate, metric: str) -> bool:
    stated = ours.behaviour.lower_is_better if ours.behaviour else []
    held = scores.held_on(facts, suite)
    by_policy = scores.high_is_bad(metric, held.demands if held else None)
    return metric in LESS_IS_BETTER or metric in stated or bool(by_policy)


def _comparisons(facts: Facts, suite: Suite, ours: Evaluate) -> list[_Comparison]:
    """With each reference once, whatever it is besides."""
    found: dict[str, tuple[list[str], ModelNode]] = {}
    for name, node in _references(facts):
        found.setdefault(node.sha256, ([], node))[0].append(name)
    return [
        _compared(facts, suite, ours, " and ".join(names), node) for names, node in found.values()
    ]


def _references(facts: Facts) -> list[tuple[str, ModelNode]]:
    nodes = {node.sha256: node for node in facts.chain}
    base = next((node for node in facts.chain if node.train is None), None)
    references = [("base", base), ("parent", nodes.get(facts.released.parent or ""))]
    references.append(("champion", facts.champion))
    return [(name, node) for name, node in references if node and node.sha256 != facts.digest]


def _compared(
    facts: Facts, suite: Suite, ours: Evaluate, relation: str, node: ModelNode
) -> _Comparison:
    metric, statement = main_metric(facts, suite, ours), facts.evaluation(node, suite)
    less = _less_is_better(facts, suite, ours, metric)
    shown = TaxComparison(
        relation=relation, model=node.name, n=0, mean=None, low=None, high=None, p_adjusted=None,
        result="not comparable", why="not evaluated on this suite", evidence=[],
    )  # fmt: skip
    if ours.not_shown:
        return _Comparison(shown.model_copy(update={"why": ours.without_scores}), None, less)
    if statement is None:
        return _Comparison(shown, None, less)
    theirs = statement.predicate
    reason = theirs.without_scores or "no such metric in both"
    figure = differences(ours, theirs, scores.confidence(facts)).get(metric, reason)
    shown = shown.model_copy(update={"evidence": [statement.index]})
    if isinstance(figure, str):
        return _Comparison(shown.model_copy(update={"why": figure}), None, less)
    fields = {"n": figure.n, "why": None, **scores.interval(figure)}
    return _Comparison(shown.model_copy(update=fields), _p(ours, theirs, metric), less)


def _p(ours: Evaluate, theirs: Evaluate, metric: str) -> float:
    """Of two evaluations that `differences` could subtract: every item has a score."""
    pairs = zip(ours.scores[metric], theirs.scores[metric], strict=True)
    both = [(a, b) for a, b in pairs if a is not None and b is not None]
    return difference_p([a for a, _ in both], [b for _, b in both])
