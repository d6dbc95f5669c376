"""What the charts of a report show, and where: `charts.svg.j2` draws them as inline SVG.

Each chart is beside the table of its figures. Shapes or words repeat what colours show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from governance.base.text import share
from governance.report.model.record import Node
from governance.report.model.scores import Metric

SLICES = 16
"""The most slices in a chart: the worst ones."""
LANE, ROW = 240, 62
"""Pixels between two lanes and two rows of the lineage."""


@dataclass(frozen=True)
class Scale:
    """A linear map from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        part = (value - self.low) / (self.high - self.low or 1.0)
        return round(self.start + part * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[float]:
        """Five values from low to high."""
        return [self.low + (self.high - self.low) * tick / 4 for tick in range(5)]


@dataclass(frozen=True)
class Bar:
    """A mean and its confidence interval."""

    label: str
    mean: float
    low: float | None
    high: float | None
    note: str
    ours: bool = False


def models(metric: Metric) -> list[Bar]:
    """One bar per model that was scored."""
    return [
        Bar(row.model, row.mean, row.low, row.high, share(row.mean), row.role == "this version")
        for row in metric.scores
        if row.mean is not None
    ]


def slices(metric: Metric) -> list[Bar]:
    """One bar per slice, the worst first; none where there is nothing to compare."""
    bars = [
        Bar(f"{row.by}={row.label}", row.mean, row.low, row.high, f"{share(row.mean)}, n={row.n}")
        for row in metric.slices[:SLICES]
        if row.low is not None
    ]
    return bars if len(bars) > 1 else []


def bounds(metric: Metric) -> list[tuple[str, float]]:
    """The thresholds of policy."""
    named = (("at least", metric.at_least), ("at most", metric.at_most))
    return [(f"{word} {bound:g}", bound) for word, bound in named if bound is not None]


def own_mean(metric: Metric) -> list[tuple[str, float]]:
    """This version's mean over all items."""
    return [("", bar.mean) for bar in models(metric) if bar.ours]


def scale_of(values: Sequence[float | None], start: float, end: float, unit: bool = False) -> Scale:
    """The scale on which all values lie: 0 to 1 where `unit` allows it, else with a margin."""
    known = [value for value in values if value is not None]
    low, high = min(known), max(known)
    if unit and low >= 0 and high <= 1:
        return Scale(0.0, 1.0, start, end)
    margin = (high - low or abs(high) or 1.0) * 0.06
    return Scale(low - margin, high + margin, start, end)


def places(nodes: Sequence[Node]) -> dict[str, tuple[int, int]]:
    """Upper left corner of each box: sources left, datasets, then models from top to bottom."""
    lanes = {"source": 0, "dataset": 1}
    return {node.id: (6 + LANE * lanes.get(node.kind, 2), 6 + ROW * node.row) for node in nodes}
