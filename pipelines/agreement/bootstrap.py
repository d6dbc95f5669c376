"""Percentile intervals of agreement (Efron and Tibshirani 1993): items are drawn again with
replacement, with all their ratings. The same seed gives the same interval.

Fewer than `FEWEST` items with two ratings have no interval: samples of a few items that agree all
agree, and would show a certainty that is not there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pipelines.agreement.coefficients import Coefficients
from pipelines.agreement.panel import Floats, Level, Panel

SAMPLES = 2_000
FEWEST = 20
SEED = 1
CONFIDENCE = 0.95
CELLS = 1 << 23
"""Weights that are held at once."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval; None where there is none."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Estimates:
    """All figures of a panel."""

    items: int
    """Items with a rating."""
    ratings: int
    pool: dict[str, Estimate]
    raters: dict[str, dict[str, Estimate]]
    """Rater to figures of the pairs with the rater."""


def estimates(
    panel: Panel,
    level: Level,
    samples: int = SAMPLES,
    seed: int = SEED,
    advance: Callable[[int], None] = lambda done: None,
) -> Estimates:
    """Every figure of a panel with its interval. `advance` is told how many samples are done."""
    of = Coefficients(panel, level)
    exact = of.figures(of.counts[None, :])
    pool: dict[str, list[Floats]] = {name: [] for name in exact.pool}
    raters: dict[str, list[Floats]] = {name: [] for name in exact.raters}
    for weights in resampled(of, samples, seed):
        drawn = of.figures(weights)
        for name, figures in drawn.pool.items():
            pool[name].append(figures)
        for name, figures in drawn.raters.items():
            raters[name].append(figures)
        advance(len(weights))
    paired = np.array([of.paired_items])
    of_raters = {
        name: _columns(exact.raters[name][0], np.concatenate(parts), of.paired_items_of_raters)
        for name, parts in raters.items()
    }
    return Estimates(
        items=int((panel.codes >= 0).any(axis=1).sum()),
        ratings=panel.ratings,
        pool={
            name: _columns(exact.pool[name], np.concatenate(parts)[:, None], paired)[0]
            for name, parts in pool.items()
        },
        raters={
            rater: {name: columns[at] for name, columns in of_raters.items()}
            for at, rater in enumerate(panel.raters)
        },
    )


def alpha(panel: Panel, level: Level) -> float:
    """Krippendorff's alpha; NaN where it is not defined."""
    of = Coefficients(panel, level)
    return float(of.alpha(of.counts[None, :])[0])


def alpha_low(panel: Panel, level: Level) -> float:
    """The lower end of alpha's interval; NaN where there is none."""
    return alpha_interval(panel, level)[0]


def alpha_interval(panel: Panel, level: Level) -> tuple[float, float]:
    """Alpha's interval; NaN where there is none."""
    of = Coefficients(panel, level)
    if of.paired_items < FEWEST or np.isnan(alpha(panel, level)):
        return math.nan, math.nan
    drawn = np.concatenate([of.alpha(weights) for weights in resampled(of, SAMPLES, SEED)])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail]).tolist()
    return low, high


def resampled(of: Coefficients, samples: int, seed: int) -> Iterator[Floats]:
    """How often each pattern is drawn: samples (rows) × patterns (columns), in parts."""
    rng = np.random.default_rng(seed)
    items, patterns = len(of.panel), len(of.counts)
    part = max(1, min(samples, CELLS // max(items, 1)))
    for start in range(0, samples, part):
        rows = min(part, samples - start)
        if patterns * 8 < items:
            yield rng.multinomial(items, of.counts / items, size=rows).astype(float)
        else:  # a multinomial draw takes longer than its items where most patterns are rare
            drawn = of.of_item[rng.integers(items, size=(rows, items))]
            drawn += np.arange(rows)[:, None] * patterns
            counts = np.bincount(drawn.ravel(), minlength=rows * patterns)
            yield counts.reshape(rows, patterns).astype(float)


def _columns(exact: Floats, drawn: Floats, items: Floats) -> list[Estimate]:
    """The estimate of each column, from its samples and its number of items. A sample without the
    figure does not count.
    """
    tail = (1 - CONFIDENCE) / 2
    found = []
    for value, sample, count in zip(exact.tolist(), drawn.T, items.tolist(), strict=True):
        sample = sample[~np.isnan(sample)]
        if np.isnan(value) or count < FEWEST:
            found.append(Estimate(None if np.isnan(value) else value, None, None))
        else:
            low, high = np.quantile(sample, [tail, 1 - tail]).tolist()
            found.append(Estimate(value, low, high))
    return found
