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
5. The p-value of a paired difference is that of the same normal approximation, two-sided: it is at
   most 1 - c exactly where the interval at confidence c, before it is cut to [-1, 1], does not hold
   zero inside.
6. Of several tests, Holm's step-down procedure (Holm 1979, Scand. J. Stat. 6:65) keeps the
   probability of one or more false rejections at most alpha, however the tests depend on each
   other: the i-th smallest of m p-values is multiplied by m - i + 1, and is never less than the one
   before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, fsum, inf, sqrt
from statistics import NormalDist

HUGE = 1e100
"""Beyond this, sums and squares overflow a float: the mean is reported without an interval."""

P_DIGITS = 6
"""Digits of a p-value: more could differ between machines."""


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


def share_interval(hits: float, of: int, confidence: float) -> Interval:
    """The share of `hits` among at least one; a hit may count half. Raises `ValueError` where there
    is none.
    """
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
    n, mean, z = len(differences), fsum(differences) / len(differences), _z(confidence)
    centre, error = _centre_and_error(differences)
    low, high = centre - z * error, centre + z * error
    if _within_one(differences):
        return Interval(n, mean, max(-1.0, low), min(1.0, high), "agresti-min")
    return Interval(n, mean, low, high, "normal")


def error_interval(n: int, mean: float, error: float, confidence: float) -> Interval:
    """A figure over `n` items with a known standard error: mean ± z·error."""
    z = _z(confidence)
    return Interval(n, mean, mean - z * error, mean + z * error, "normal")


def difference_p(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The two-sided p-value (5) of the mean of `ours - theirs`, to `P_DIGITS`. Raises `ValueError`
    as `difference_interval`.
    """
    difference_interval(ours, theirs, 0.95)  # raises
    centre, error = _centre_and_error([a - b for a, b in zip(ours, theirs, strict=True)])
    if error == 0:
        return 0.0 if centre else 1.0
    return round(erfc(abs(centre) / error / sqrt(2)), P_DIGITS)


def holm(values: Sequence[float]) -> list[float]:
    """The p-values, adjusted (6), in their order."""
    adjusted = [0.0] * len(values)
    largest = 0.0
    for rank, at in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[at]))
        adjusted[at] = largest
    return adjusted


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def _wilson(n: int, p: float, z: float) -> Interval:
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Interval(
        n, p, max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half)), "wilson"
    )


def _within_one(differences: Sequence[float]) -> bool:
    return all(-1 <= difference <= 1 for difference in differences)


def _centre_and_error(differences: Sequence[float]) -> tuple[float, float]:
    """(3), (4) The centre of the interval, and its standard error."""
    n, total = len(differences), fsum(differences)
    if not _within_one(differences):
        return total / n, _standard_error(differences, total / n)
    n += 2
    variance = (fsum(d * d for d in differences) + 1 - total * total / n) / (n * n)
    return total / n, sqrt(max(0.0, variance))


def _huge(values: Sequence[float]) -> bool:
    return any(abs(value) > HUGE for value in values)


def _normal(values: Sequence[float], mean: float, z: float) -> Interval:
    half = z * (inf if _huge(values) else _standard_error(values, mean))
    return Interval(len(values), mean, mean - half, mean + half, "normal")


def _standard_error(values: Sequence[float], mean: float) -> float:
    """s/√n; infinite for one value."""
    n = len(values)
    if n < 2:
        return inf
    return sqrt(fsum((value - mean) ** 2 for value in values) / (n - 1)) / sqrt(n)
