"""The version's scores by slice of the suite, computed from the log."""

from __future__ import annotations

import math

from governance.attest.predicates import Evaluate
from governance.base.statistics import Interval
from governance.base.text import share
from governance.gates import assessment
from governance.history.lineage import evaluated
from governance.policy.evaluation import Demands
from governance.report.facts import Facts
from governance.report.model import Slice

NOT_RECORDED = f"not recorded: {assessment.NO_SLICES}"


def of_metric(
    evaluation: Evaluate | None, metric: str, demands: Demands | None, confidence: float
) -> list[Slice]:
    """The slices of every field, the worst first; empty where there are none."""
    if evaluation is None:
        return []
    bad = _high_is_bad(metric, demands)
    rows = [
        Slice(
            by=by,
            label=label,
            n=interval.n,
            mean=interval.mean,
            low=finite(interval.low),
            high=finite(interval.high),
        )
        for by in sorted(evaluation.slices)
        for label, interval in _found(evaluation, by, metric, confidence).items()
    ]
    return sorted(rows, key=lambda row: (row.mean * (-1 if bad else 1), row.n, row.by, row.label))


def summary(rows: list[Slice], metric: str, demands: Demands | None) -> str:
    """The worst slice as text, with n and interval; or why there is none."""
    if not rows:
        return NOT_RECORDED
    of = f"of {len(rows)} slices by {' and '.join(sorted({row.by for row in rows}))}"
    if _high_is_bad(metric, demands) is None:
        return f"lowest {of}: {_figure(rows[0])}; highest: {_figure(rows[-1])}"
    return f"worst {of}: {_figure(rows[0])}"


def _figure(row: Slice) -> str:
    return (
        f"{row.by}={row.label} {share(row.mean)} [{share(row.low)}, {share(row.high)}], n={row.n}"
    )


def by_worst(metric: str, demands: Demands | None) -> bool:
    """Whether policy sets which end of the metric is bad."""
    return _high_is_bad(metric, demands) is not None


def line(facts: Facts, metric: str, confidence: float) -> str | None:
    """The worst slice of one metric on the version's own suite, as text for page one."""
    own = facts.evaluation(facts.released, facts.suites[0]) if facts.suites else None
    held = facts.model_facts
    demands = held.demands if held else None
    rows = of_metric(evaluated(own) if own else None, metric, demands, confidence)
    return f"{metric}, {summary(rows, metric, demands)}" if rows else None


def finite(value: float) -> float | None:
    """A bound of an interval for JSON; None where it is infinite."""
    return value if math.isfinite(value) else None


def _found(evaluation: Evaluate, by: str, metric: str, confidence: float) -> dict[str, Interval]:
    intervals = assessment.slices(evaluation, by, metric, confidence)
    return {} if isinstance(intervals, str) else intervals


def _high_is_bad(metric: str, demands: Demands | None) -> bool | None:
    """Whether a high value is bad by policy's thresholds; None where policy sets none."""
    if demands is None:
        return None
    bounds = [demands.thresholds[metric]] if metric in demands.thresholds else []
    bounds += [bound for bound in demands.slices if bound.metric == metric]
    high_is_bad = [bound.at_most is not None for bound in bounds]
    high_is_bad += [
        bound.may_rise is not None for bound in demands.compare if bound.metric == metric
    ]
    return high_is_bad[0] if high_is_bad else None
