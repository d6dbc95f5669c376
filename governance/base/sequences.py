"""Confidence sequences of bounded means: intervals that hold at every moment at once, so that
looking at them after each window of a rollout, and stopping then, changes no error rate.

1. What is bounded. X_1, X_2, ... lie within [0, 1] after scaling. `m_i` is any guess of X_i that
   was made before it. S = Σ w_i (X_i - E[X_i | past]) and V = Σ w_i² (X_i - m_i)², with weights w_i
   in [0, 1] that are known before X_i. For each λ in [0, 1), exp(λ S - ψ(λ) V) with
   ψ(λ) = -log(1 - λ) - λ is a nonnegative supermartingale that begins at 1: Howard, Ramdas,
   McAuliffe and Sekhon (2021, Annals of Statistics 49:1055), Theorem 4; Waudby-Smith and Ramdas
   (2024, JRSS B 86:1), Theorem 2.
2. A mixture over a fixed grid of λ is such a process, too. By Ville's inequality it ever reaches
   1/α with probability at most α. The bound of the mean is where it does.
3. The guarantee needs no independence and no constant mean: it is about the weighted average of the
   conditional means of what was observed. Observations may come in windows, and be looked at after
   each. Sums suffice where the guess changes between windows only: Σ (X - m)² =
   ΣX² - 2mΣX + nm².
4. The guess of the first window is whatever was expected; of a later one, the mean so far. A wrong
   guess costs width, never validity.
5. A difference of two arms has the interval from the bounds of each arm (union bound). So arms may
   depend on each other, as they do where both answer the same requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from math import exp, log, log1p, sqrt

LARGEST, RATIO, POINTS = 0.9, 0.7, 24
"""The grid of λ: from 0.9 down to 0.0002, which fits variances V from 1 to 10^8."""
GRID = tuple((LARGEST * RATIO**step, 1 / POINTS) for step in range(POINTS))
"""Each λ, and its share of the mixture."""
STEPS, CLOSE = 60, 1e-13
"""Newton's steps at most, and the relative step that ends them."""
DIGITS = 9
"""Of a bound: more could differ between machines."""


@dataclass(frozen=True)
class Sums:
    """Observations of one arm in one window: how many, their sum, and the sum of their squares."""

    count: int
    total: float
    squares: float
    weight: float = 1.0
    """The weight of each, in [0, 1]; known before the window begins."""


@dataclass(frozen=True)
class Arm:
    """What all windows of one arm give, on the scale [0, 1]."""

    count: int
    """Observations whose weight is not zero."""
    weight: float
    """The sum of all weights."""
    total: float
    """The weighted sum."""
    variance: float
    """V of (1)."""

    @property
    def mean(self) -> float:
        """The weighted mean. Only with a weight."""
        return self.total / self.weight


@dataclass(frozen=True)
class Bounds:
    """A difference of means and its bounds. Each holds at all times at once, with its own error."""

    estimate: float
    low: float
    high: float


def arm(windows: Iterable[Sums], low: float, high: float, expected: float | None = None) -> Arm:
    """(3), (4) The observations of one arm within [low, high], window after window."""
    span = high - low
    guess = 0.5 if expected is None else (expected - low) / span
    count, weight, total, variance, plain_count, plain_total = 0, 0.0, 0.0, 0.0, 0, 0.0
    for window in windows:
        if not window.count:
            continue
        n = window.count
        sum_ = (window.total - n * low) / span
        squares = (window.squares - 2 * low * window.total + n * low * low) / span**2
        spread = max(0.0, squares - 2 * guess * sum_ + n * guess * guess)
        if window.weight > 0:
            count += n
            weight += window.weight * n
            total += window.weight * sum_
            variance += window.weight**2 * spread
        plain_count += n
        plain_total += sum_
        guess = min(1.0, max(0.0, plain_total / plain_count))
    return Arm(count, weight, total, variance)


def difference(one: Arm, other: Arm, span: float, below: float, above: float) -> Bounds:
    """(5) The mean of `one` minus that of `other`, in units of the metric. The lower bound is ever
    wrong with probability at most `below`, the upper one with at most `above`.
    """
    if not (one.weight and other.weight):
        return Bounds(0.0, -span, span)
    estimate = one.mean - other.mean
    low = estimate - radius(one, below / 2) - radius(other, below / 2)
    high = estimate + radius(one, above / 2) + radius(other, above / 2)
    cut = [min(1.0, max(-1.0, value)) * span for value in (estimate, low, high)]
    return Bounds(*(round(value, DIGITS) for value in cut))


def radius(of: Arm, alpha: float) -> float:
    """How far a mean may lie from its observed value on one side, on the scale [0, 1]."""
    return boundary(of.variance, alpha) / of.weight if of.weight else 1.0


def boundary(variance: float, alpha: float) -> float:
    """(2) The S that the process of (1) reaches with probability at most alpha, given V.

    The logarithm of the mixture is convex and rises with S, so Newton's steps from above never fall
    below the root: what is returned is never too small.
    """
    target = -log(alpha)
    deviation = sqrt(2 * variance * target) + target
    while _mixture(deviation, variance, _grid())[0] < target:
        deviation *= 2
    for _ in range(STEPS):
        value, slope = _mixture(deviation, variance, _grid())
        step = (value - target) / slope
        deviation -= step
        if step <= deviation * CLOSE:
            break
    return deviation


def log_mixture(
    deviation: float, variance: float, grid: Sequence[tuple[float, float]] | None = None
) -> float:
    """The logarithm of the mixture (2) at S and V. `grid`: λ and its share; shares sum to 1."""
    return _mixture(deviation, variance, _prepared(grid) if grid else _grid())[0]


def _mixture(
    deviation: float, variance: float, grid: Sequence[tuple[float, float, float]]
) -> tuple[float, float]:
    """The logarithm of the mixture, and its slope in S."""
    exponents = [(share + rate * deviation - cost * variance, rate) for rate, share, cost in grid]
    largest = max(exponent for exponent, _ in exponents)
    parts = [(exp(exponent - largest), rate) for exponent, rate in exponents]
    total = sum(part for part, _ in parts)
    return largest + log(total), sum(part * rate for part, rate in parts) / total


def psi(rate: float) -> float:
    """ψ of (1)."""
    return -log1p(-rate) - rate


@cache
def _grid() -> list[tuple[float, float, float]]:
    return _prepared(GRID)


def _prepared(grid: Sequence[tuple[float, float]]) -> list[tuple[float, float, float]]:
    """Of each point: λ, the logarithm of its share, and ψ(λ)."""
    return [(rate, log(share), psi(rate)) for rate, share in grid]
