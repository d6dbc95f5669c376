"""Means and differences with confidence intervals, from stored per-item scores. No randomness, no
dependencies.

1. Scores within [0, 1]: the Wilson score interval (Wilson 1927, JASA 22:209). For 0/1 scores that
   is the usual interval of a proportion; for scores between, it is wider than needed, never
   narrower, since the variance of a variable on [0, 1] with mean p is at most p(1 - p) (Bhatia &
   Davis 2000). It has width even when every score is the same.
2. Other scores: mean ± z·s/√n, the central limit theorem's.
3. Paired differences within [-1, 1]: Agresti & Min (2005, Stat. Med. 24:729), which adds half an
   observation to each cell of the 2x2 table: mean Σd/(n+2), variance (Σd²+1 - (Σd)²/(n+2))/(n+2)².
   It has width even when no item differs. The mean reported is the plain one.
4. Other paired differences: mean ± z·s/√n of the differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from statistics import NormalDist

HUGE = 1e100
"""Beyond this, sums and squares overflow a float: the mean is reported without an interval."""


@dataclass(frozen=True)
class Interval:
    """A mean over `n` items, and a two-sided confidence interval of it."""

    n: int
    mean: float
    low: float
    high: float
    method: str
    """`wilson`, `agresti-min` or `normal`."""


def mean_interval(scores: Sequence[float], confidence: float) -> Interval:
    """The mean of at least one score. Raises `ValueError` where there is none."""
    n, z = len(scores), _z(confidence)
    if n == 0:
        raise ValueError("no scores")
    mean = fsum(score / n for score in scores) if _huge(scores) else fsum(scores) / n
    if all(0 <= score <= 1 for score in scores):
        return _wilson(n, mean, z)
    return _normal(scores, mean, z)


def share_interval(hits: int, of: int, confidence: float) -> Interval:
    """The share of `hits` among at least one. Raises `ValueError` where there is none."""
    if of == 0:
        raise ValueError("a share of nothing")
    return _wilson(of, hits / of, _z(confidence))


def difference_interval(
    ours: Sequence[float], theirs: Sequence[float], confidence: float
) -> Interval:
    """The mean of `ours - theirs`, item by item. Raises `ValueError` where the items do not pair
    up, or are huge.
    """
    if len(ours) != len(theirs) or not ours:
        raise ValueError("the items do not pair up")
    if _huge(ours) or _huge(theirs):
        raise ValueError(f"scores beyond {HUGE:g} are not subtracted")
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    mean, z = fsum(differences) / len(differences), _z(confidence)
    if all(-1 <= difference <= 1 for difference in differences):
        return _agresti_min(differences, mean, z)
    return _normal(differences, mean, z)


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def _wilson(n: int, p: float, z: float) -> Interval:
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Interval(
        n, p, max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half)), "wilson"
    )


def _agresti_min(differences: Sequence[float], mean: float, z: float) -> Interval:
    n = len(differences) + 2
    total = fsum(differences)
    variance = (fsum(d * d for d in differences) + 1 - total * total / n) / (n * n)
    centre, half = total / n, z * sqrt(max(0.0, variance))
    return Interval(
        len(differences), mean, max(-1.0, centre - half), min(1.0, centre + half), "agresti-min"
    )


def _huge(values: Sequence[float]) -> bool:
    return any(abs(value) > HUGE for value in values)


def _normal(values: Sequence[float], mean: float, z: float) -> Interval:
    n = len(values)
    if n < 2 or _huge(values):
        return Interval(n, mean, float("-inf"), float("inf"), "normal")
    deviation = sqrt(fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = z * deviation / sqrt(n)
    return Interval(n, mean, mean - half, mean + half, "normal")
