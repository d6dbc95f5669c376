"""Percentile intervals by bootstrap (Efron and Tibshirani 1993): questions are drawn again with
replacement, with all their comparisons. Figures from the same draws are paired. The same seed gives
the same interval.

Fewer than `FEWEST` questions have no interval.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SAMPLES = 1_000
SEED = 1
FEWEST = 20
CONFIDENCE = 0.95
CELLS = 1 << 22
"""Weights that are held at once."""


@dataclass(frozen=True)
class Sampling:
    """How intervals are made."""

    samples: int = SAMPLES
    seed: int = SEED


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval; None where there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None


def draws(items: int, sampling: Sampling) -> Iterator[Floats]:
    """How often each item is drawn: samples (rows) × items (columns), in parts."""
    rng = np.random.default_rng(sampling.seed)
    part = max(1, CELLS // max(items, 1))
    for start in range(0, sampling.samples, part):
        rows = min(part, sampling.samples - start)
        drawn = rng.integers(items, size=(rows, items)) + np.arange(rows)[:, None] * items
        counts = np.bincount(drawn.ravel(), minlength=rows * items)
        yield counts.reshape(rows, items).astype(float)


def estimate(value: float, drawn: Floats, items: int) -> Estimate:
    """A figure with the interval of its samples. A sample without the figure (NaN) does not count;
    where more than one in a hundred has none, there is no interval.
    """
    if np.isnan(value):
        return Estimate(None)
    defined = drawn[~np.isnan(drawn)]
    if items < FEWEST or len(defined) < 0.99 * len(drawn) or not len(drawn):
        return Estimate(float(value))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail]).tolist()
    return Estimate(float(value), low, high)


def codes(names: list[str]) -> tuple[list[str], Ints]:
    """Distinct names in the order of their first use, and the place of each name among them."""
    places: dict[str, int] = {}
    found = [places.setdefault(name, len(places)) for name in names]
    return list(places), np.array(found, dtype=np.int64)
