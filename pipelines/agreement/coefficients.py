"""Coefficients of agreement, for a panel whose items have weights: as it is (each weight 1) or
resampled (`pipelines.agreement.bootstrap`).

Every figure is a function of sums over items, so that many samples are products of matrices.

1. `alpha`: Krippendorff's alpha, 1 - observed / expected disagreement, at the given level of
   measurement. Hayes and Krippendorff, Answering the Call for a Standard Reliability Measure for
   Coding Data (2007). Items with one rating do not count.
2. Ordinal distances are differences of midranks. The ranks are those of the whole panel; samples
   do not rank anew.
3. `agreement`: the mean over items of the share of pairs of raters with equal ratings.
4. `fleiss_kappa` and `ac1`: (agreement - chance) / (1 - chance). Chance is the sum of p² (Fleiss
   1971), or the sum of p(1 - p) / (values - 1) (Gwet 2008); p is the mean share of each value. As
   in Gwet, Handbook of Inter-Rater Reliability (2014), raters may differ in number.
5. `cohen_kappa`: the mean of Cohen's kappa (1960) over all pairs of raters (Light 1971), each over
   the items that both rated, where these are enough.
6. Of each rater: `agreement`, `cohen_kappa` and `alpha` of the pairs with the rater. Its alpha
   takes the expected disagreement of the whole panel.
7. 3 to 5 compare ratings for equality, whatever the level. They are left out where there are more
   than `MOST_COMPARED` distinct ratings.

A figure that is not defined, e.g. because all ratings are equal, is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from scipy import sparse

from governance.base.errors import InputError
from pipelines.agreement.panel import MISSING, Codes, Floats, Level, Panel

MOST_COMPARED = 200
MOST_RATIO_VALUES = 2_000
"""Distinct values at the ratio level, where every pair of values has a distance of its own."""
ROUNDING = 1e-12
"""An expected disagreement below it is none."""
FEWEST_SHARED = 20
"""Items that two raters must share for a kappa of theirs, or half of all items: the kappa of a
handful is undefined in many samples.
"""


@dataclass(frozen=True)
class Figures:
    """Figures of several samples of one panel."""

    pool: dict[str, Floats]
    """Name to a figure for each sample."""
    raters: dict[str, Floats]
    """Name to a figure for each sample (rows) and rater (columns)."""


class Coefficients:
    """The coefficients of one panel. Equal rows of the panel are one pattern with a count."""

    def __init__(self, panel: Panel, level: Level) -> None:
        self.panel, self.level = panel, level
        patterns, of_item, counts = np.unique(
            panel.codes, axis=0, return_inverse=True, return_counts=True
        )
        self.patterns: Codes = patterns
        self.of_item: Codes = of_item.reshape(-1)
        self.counts: Floats = counts.astype(float)
        self._given = patterns != MISSING
        self._size = self._given.sum(axis=1).astype(float)
        self._paired = self._size > 1
        self._others: Floats = np.where(self._given, self._size[:, None] - 1, 0)
        self._per_value = _per_value(patterns, len(panel.values))
        self.scale = self._scale_of_values()

    @property
    def paired_items(self) -> float:
        """Number of items with two ratings or more."""
        return float(self.counts @ self._paired)

    @property
    def paired_items_of_raters(self) -> Floats:
        """Number of those that each rater rated."""
        return np.asarray((self.counts * self._paired) @ self._given)

    @cached_property
    def equal(self) -> Floats:
        """Patterns × raters: how many others gave the rater's rating."""
        return pairwise(self.patterns, _equal)

    @cached_property
    def apart(self) -> Floats:
        """Patterns × raters: the sum of distances to the ratings of others."""
        return pairwise(self.patterns, self.distance)

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """The pairs of raters who share enough items."""
        given = self._given.astype(float)
        shared = (given.T * self.counts) @ given
        raters = range(len(self.panel.raters))
        enough = min(FEWEST_SHARED, max(2, len(self.panel) / 2))
        return [pair for pair in combinations(raters, 2) if shared[pair] >= enough]

    # --- distances --------------------------------------------------------------------------------

    def _scale_of_values(self) -> Floats:
        """The number of each value, by which distances are measured."""
        if self.level == "nominal":
            return np.arange(len(self.panel.values), dtype=float)
        if self.level == "ordinal":  # (2)
            counts = (self.counts * self._paired) @ self._per_value
            return np.asarray((np.cumsum(counts) - counts / 2) / max(counts.sum(), 1))
        numbers = np.array(self.panel.values, dtype=float)
        if self.level == "ratio":
            _check_ratio(numbers)
        numbers = numbers / (np.abs(numbers).max(initial=0) or 1)  # alpha has no unit
        return numbers if self.level == "ratio" else numbers - numbers.mean()

    def distance(self, first: Codes, second: Codes) -> Floats:
        """The squared difference of ratings, by their places in `values`."""
        if self.level == "nominal":
            return 1 - _equal(first, second)
        one, other = self.scale[first], self.scale[second]
        if self.level == "ratio":
            total = one + other
            relative: Floats = _or_zero(one - other, total) ** 2
            return relative
        squared: Floats = (one - other) ** 2
        return squared

    def _expected(self, weights: Floats) -> Floats:
        """The sum of distances over all ordered pairs of ratings of paired items."""
        paired = weights * self._paired
        if self.level in ("ordinal", "interval"):
            total, sums, squares = (
                paired @ (self._per_value @ self.scale**power) for power in (0, 1, 2)
            )
            expected: Floats = 2 * (total * squares - sums**2)
            return expected
        per_value: Floats = paired @ self._per_value
        if self.level == "nominal":
            return np.asarray(per_value.sum(axis=1) ** 2 - (per_value**2).sum(axis=1))
        places = np.arange(len(self.scale))
        apart = self.distance(places[:, None], places[None, :])
        return np.asarray(((per_value @ apart) * per_value).sum(axis=1))

    # --- figures ----------------------------------------------------------------------------------

    def figures(self, weights: Floats) -> Figures:
        """The figures of samples (rows) that have each pattern (columns) so often."""
        pool, raters = {"alpha": self.alpha(weights)}, {"alpha": self._alpha_of_raters(weights)}
        if len(self.panel.values) <= MOST_COMPARED:
            kappas = self._pair_kappas(weights)
            pool |= {**self._kappas(weights), "cohen_kappa": _mean(kappas)}
            raters |= self._equality_of_raters(weights, kappas)
        return Figures(pool, raters)

    def alpha(self, weights: Floats) -> Floats:
        """(1) Krippendorff's alpha of each sample."""
        total = weights @ (self._size * self._paired)
        observed = weights @ _or_zero(self.apart.sum(axis=1), self._size - 1)
        return _one_less(_divided(observed, total), self.chance(weights))

    def chance(self, weights: Floats) -> Floats:
        """The mean distance of two ratings of different items or raters, of each sample."""
        total = weights @ (self._size * self._paired)
        return _divided(self._expected(weights), total * (total - 1))

    def _kappas(self, weights: Floats) -> dict[str, Floats]:
        """(3), (4)"""
        agreeing = _or_zero(self.equal.sum(axis=1), self._size * (self._size - 1))
        agreement = _divided(weights @ agreeing, weights @ self._paired.astype(float))
        shares = self._per_value.multiply(_or_zero(np.ones_like(self._size), self._size)[:, None])
        rated = weights @ (self._size > 0).astype(float)
        share = _divided(weights @ sparse.csr_array(shares), rated[:, None])
        gwet = _divided(
            (share * (1 - share)).sum(axis=1), np.full(len(share), share.shape[1] - 1.0)
        )
        return {
            "agreement": agreement,
            "fleiss_kappa": _beyond(agreement, (share**2).sum(axis=1)),
            "ac1": _beyond(agreement, gwet),
        }

    def _pair_kappas(self, weights: Floats) -> Floats:
        """(5) Cohen's kappa of each sample (rows) and pair of raters (columns)."""
        kappas = np.full((len(weights), len(self.pairs)), np.nan)
        for at, (first, second) in enumerate(self.pairs):
            both = self._given[:, first] & self._given[:, second]
            kappas[:, at] = _cohen(
                weights[:, both],
                self.patterns[both, first],
                self.patterns[both, second],
                len(self.panel.values),
            )
        return kappas

    def _alpha_of_raters(self, weights: Floats) -> Floats:
        """(6)"""
        apart = _divided(_summed(weights, self.apart), _summed(weights, self._others))
        return _one_less(apart, self.chance(weights)[:, None])

    def _equality_of_raters(self, weights: Floats, kappas: Floats) -> dict[str, Floats]:
        """(6)"""
        raters = range(len(self.panel.raters))
        of_rater = [_mean(kappas[:, [rater in pair for pair in self.pairs]]) for rater in raters]
        return {
            "agreement": _divided(_summed(weights, self.equal), _summed(weights, self._others)),
            "cohen_kappa": np.column_stack(of_rater),
        }


def _equal(first: Codes, second: Codes) -> Floats:
    return np.asarray(first == second, dtype=float)


def pairwise(patterns: Codes, distance: Callable[[Codes, Codes], Floats]) -> Floats:
    """For each pattern and rater: the sum of distances to the other raters of the item."""
    sums = np.zeros(patterns.shape)
    given = patterns != MISSING
    for rater in range(patterns.shape[1]):
        here = given[:, rater]
        own, all_ = patterns[here, rater][:, None], patterns[here]
        apart = np.where(given[here], distance(own, all_), 0.0)
        apart[:, rater] = 0.0
        sums[here, rater] = apart.sum(axis=1)
    return sums


def _summed(weights: Floats, of_raters: Floats) -> Floats:
    """Weighted sums over patterns. In a large pool each rater has rated few of them."""
    return np.asarray(weights @ sparse.csr_array(of_raters))


def _check_ratio(numbers: Floats) -> None:
    """Raises `InputError` where the ratio level has no meaning, or too many values."""
    if (numbers < 0).any():
        found = f"a negative rating: {numbers.min():g}"
        raise InputError(found, expected="0 or more, at the ratio level", fix="--kind interval")
    if len(numbers) > MOST_RATIO_VALUES:
        found = f"{len(numbers):,} distinct ratings at the ratio level"
        raise InputError(found, expected=f"at most {MOST_RATIO_VALUES:,}", fix="round the ratings")


def _per_value(patterns: Codes, values: int) -> sparse.csr_array:
    """Patterns × values: how many raters gave the value."""
    rows, columns = np.nonzero(patterns != MISSING)
    entries = (np.ones(len(rows)), (rows, patterns[rows, columns]))
    return sparse.csr_array(entries, shape=(len(patterns), values))


def _cohen(weights: Floats, first: Codes, second: Codes, values: int) -> Floats:
    """Cohen's kappa of each sample, from the table of two raters' ratings."""
    cells, cell = np.unique(first * values + second, return_inverse=True)
    entries = (np.ones(len(cell)), (np.arange(len(cell)), cell))
    table = weights @ sparse.csr_array(entries, shape=(len(cell), len(cells)))
    total = table.sum(axis=1)
    one, other = (
        _divided(_margin(table, side, values), total[:, None])
        for side in (cells // values, cells % values)
    )
    agreement = _divided(table[:, cells // values == cells % values].sum(axis=1), total)
    return _beyond(agreement, (one * other).sum(axis=1))


def _margin(table: Floats, side: Codes, values: int) -> Floats:
    entries = (np.ones(len(side)), (np.arange(len(side)), side))
    return np.asarray(table @ sparse.csr_array(entries, shape=(len(side), values)))


def _beyond(agreement: Floats, chance: Floats) -> Floats:
    """(agreement - chance) / (1 - chance)."""
    return _one_less(1 - agreement, 1 - chance)


def _one_less(observed: Floats, expected: Floats) -> Floats:
    """1 - observed / expected; NaN where nothing but rounding is expected."""
    expected = np.where(expected > ROUNDING, expected, 0)
    return 1 - _divided(observed, expected)


def _divided(above: Floats, below: Floats) -> Floats:
    """The quotient; NaN where it has none."""
    return _quotient(above, below, np.nan)


def _or_zero(above: Floats, below: Floats) -> Floats:
    """The quotient; 0 where it has none."""
    return _quotient(above, below, 0.0)


def _quotient(above: Floats, below: Floats, otherwise: float) -> Floats:
    above, below = np.broadcast_arrays(above, below)
    out = np.full(above.shape, otherwise)
    quotient: Floats = np.divide(above, below, out=out, where=below > 0)
    return quotient


def _mean(columns: Floats) -> Floats:
    """The mean of each row over its defined figures."""
    defined = ~np.isnan(columns)
    return _divided(np.where(defined, columns, 0).sum(axis=1), defined.sum(axis=1).astype(float))
