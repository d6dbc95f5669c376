"""Finds pairs of raters who agree more than their agreement with the others explains, as they do
when one copies from the other.

1. `S[i, j]` is the agreement of a pair beyond chance: the covariance of their ratings (of the
   indicators of each rating, at the nominal level). It is the numerator of Cohen's kappa.
2. Where each rater knows the answer with some probability and guesses otherwise, `S[i, j]` is a
   product `a[i] * a[j]`, however hard items are and however each rater guesses (Klauer and
   Batchelder 1996). So `S[i, j] * S[k, l] = S[i, k] * S[j, l]`: the vanishing tetrads of Spearman
   (1904).
3. The others k, l therefore say how far a pair should agree. The excess, as a share of what the
   pair could agree beyond that, is the share of items that look copied: above `COPIED`.
4. Each pair is tested with the level `ERROR` / pairs, with the standard error of the delta method.
   The most certain pair is named first and left out of what is expected of the rest.
5. With fewer than three others no pair can be told from another. There a pair is found that never
   differs, where a pair that differs `RARELY` times as often as these raters differ from anybody
   else would have. Raters who stand out by themselves are not compared with.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

import numpy as np

from governance.attest.findings import finding
from governance.attest.predicates import Finding
from pipelines.agreement.coefficients import Coefficients
from pipelines.agreement.panel import MISSING, Codes, Floats

ERROR = 0.01
"""In at most so many clean pools is a pair named."""
FEWEST = 20
"""Items that a pair must share."""
COPIED = 0.2
"""Raters whose items look copied in no more than this share are not named."""
RARELY = 1 / 6
OTHERS = 3
MOST_RATERS = 40
"""Larger pools are not searched: the work grows with the sixth power."""
BLOCK = 4_096
"""Patterns that are held at once."""

Pair = tuple[int, int]


@dataclass(frozen=True)
class Copying:
    """A pair that was found."""

    pair: Pair
    items: int
    agreement: float
    """Share of their items with equal ratings."""
    expected: float | None
    """The same, as the others explain it; None where the pair never differs (5)."""

    def finding(self, raters: tuple[str, ...]) -> Finding:
        """The finding, with names."""
        first, second = (raters[rater] for rater in self.pair)
        explained = "some ratings that differ: each differs from all the others"
        if self.expected is not None:
            explained = f"about {self.expected:.0%}, by their agreement with the others"
        return finding(
            "RATERS_COPY",
            f"raters {first}, {second}",
            expected=explained,
            found=f"the same rating to {self.agreement:.0%} of {self.items} items",
        )


def copying(of: Coefficients, suspects: Collection[int] = ()) -> list[Copying]:
    """The pairs found, the most certain first. `suspects` stand out by themselves."""
    raters = len(of.panel.raters)
    if raters > MOST_RATERS:
        return []
    pairs = _Pairs(of)
    if raters < 2 + OTHERS:
        return list(pairs.identical(suspects))
    return list(pairs.beyond_explanation())


class _Pairs:
    """The pairs of raters who share enough items. Matrices are raters × raters."""

    def __init__(self, of: Coefficients) -> None:
        self.of = of
        given = (of.patterns != MISSING).astype(float)
        self.shared: Floats = (given.T * of.counts) @ given
        raters = range(len(of.panel.raters))
        self.all = [pair for pair in combinations(raters, 2) if self.shared[pair] >= FEWEST]
        self.at = {pair: at for at, pair in enumerate(self.all)}
        self.shares = [self._shares(rater) for rater in raters]
        self.spread = self._spread()
        means, self.covariance = self._moments()
        self.beyond = self._matrix(means)

    @property
    def _z(self) -> float:
        return NormalDist().inv_cdf(1 - ERROR / max(len(self.all), 1))

    def _matrix(self, of_pairs: Floats) -> Floats:
        """NaN for pairs that share too few items, and on the diagonal."""
        matrix = np.full(self.shared.shape, np.nan)
        for pair, value in zip(self.all, of_pairs.tolist(), strict=True):
            matrix[pair] = matrix[pair[::-1]] = value
        return matrix

    # --- agreement beyond chance ------------------------------------------------------------------

    def _shares(self, rater: int) -> Floats:
        """The share of each value among a rater's ratings."""
        codes = self.of.patterns[:, rater]
        here = codes != MISSING
        counts = np.bincount(
            codes[here], weights=self.of.counts[here], minlength=len(self.of.panel.values)
        )
        return np.asarray(counts / max(counts.sum(), 1))

    def _spread(self) -> Floats:
        """The variance of each rater's ratings."""
        of, spread = self.of, []
        for shares in self.shares:
            if of.level == "nominal":
                spread.append(1 - shares @ shares)
            else:
                spread.append(shares @ of.scale**2 - (shares @ of.scale) ** 2)
        return np.array(spread)

    def _moments(self) -> tuple[Floats, Floats]:
        """(1) The agreement of each pair beyond chance, and the covariance of their sampling
        errors.
        """
        count, counts = len(self.all), self.of.counts
        sums, squares, mixed, both = (np.zeros(shape) for shape in [count, *[(count, count)] * 3])
        for start in range(0, len(counts), BLOCK):
            weight = counts[start : start + BLOCK, None]
            products, given = self._products(self.of.patterns[start : start + BLOCK])
            sums += (weight * products).sum(axis=0)
            squares += products.T @ (weight * products)
            mixed += products.T @ (weight * given)
            both += given.T @ (weight * given)
        items = np.array([self.shared[pair] for pair in self.all])
        means = sums / items
        covariance = squares - mixed * means - (mixed * means).T + both * np.outer(means, means)
        return means, covariance / np.outer(items, items)

    def _products(self, patterns: Codes) -> tuple[Floats, Floats]:
        """Patterns x pairs: the product of both ratings' distances from the raters' means, and
        whether both gave one.
        """
        level, scale = self.of.level, self.of.scale
        products = np.zeros((len(patterns), len(self.all)))
        given = np.zeros(products.shape)
        for at, (first, second) in enumerate(self.all):
            one, other = patterns[:, first], patterns[:, second]
            own, others = self.shares[first], self.shares[second]
            if level == "nominal":
                product = _equal(one, other) - others[one] - own[other] + own @ others
            else:
                product = (scale[one] - own @ scale) * (scale[other] - others @ scale)
            given[:, at] = (one != MISSING) & (other != MISSING)
            products[:, at] = np.where(given[:, at] > 0, product, 0.0)
        return products, given

    # --- tests ------------------------------------------------------------------------------------

    def beyond_explanation(self) -> Iterator[Copying]:
        """(3), (4)"""
        used = self.beyond.copy()
        left = [pair for pair in self.all if self._agreement(pair) > 0]
        while left:
            tests = {pair: self._test(pair, used) for pair in left}
            pair = max(left, key=lambda each: tests[each][0])
            certainty, expected = tests[pair]
            if certainty <= self._z:
                return
            yield Copying(pair, round(self.shared[pair]), self._agreement(pair), expected)
            left.remove(pair)
            used[pair] = used[pair[::-1]] = np.nan

    def _test(self, pair: Pair, used: Floats) -> tuple[float, float]:
        """By how many standard errors a pair agrees too much, and the agreement that the others
        explain.
        """
        first, second = pair
        usable = ~np.isnan(used)
        others = np.flatnonzero(usable[first] & usable[second])
        if len(others) < OTHERS:
            return -math.inf, 0.0
        rest = used[np.ix_(others, others)]
        known = ~np.isnan(rest)
        one, other = used[first, others], used[second, others]
        among = float(rest[known].sum())
        crossed = float((np.outer(one, other) * known).sum())
        room = (self.spread[first] + self.spread[second]) / 2
        own = float(self.beyond[pair])
        gap = among * (own - COPIED * room) - (1 - COPIED) * crossed
        slope = np.zeros(len(self.all))  # of the gap, by the agreement of each pair
        slope[self.at[pair]] = among
        for here, rater in enumerate(others.tolist()):
            slope[self._place(first, rater)] -= (1 - COPIED) * float(known[here] @ other)
            slope[self._place(second, rater)] -= (1 - COPIED) * float(known[here] @ one)
            for there in np.flatnonzero(known[here]).tolist():
                slope[self._place(rater, int(others[there]))] += own - COPIED * room
        error = math.sqrt(max(float(slope @ self.covariance @ slope), 0.0))
        if among <= 0 or error == 0:
            return -math.inf, 0.0
        excess = own - crossed / among
        return gap / error, self._agreement(pair) - max(excess, 0.0)

    def _place(self, first: int, second: int) -> int:
        return self.at[min(first, second), max(first, second)]

    def _agreement(self, pair: Pair) -> float:
        """The share of their items with equal ratings."""
        one, other = (self.of.patterns[:, rater] for rater in pair)
        equal = (one == other) & (one != MISSING)
        return float(self.of.counts @ equal / self.shared[pair])

    def identical(self, suspects: Collection[int]) -> Iterator[Copying]:
        """(5)"""
        apart = self._matrix(np.array([1 - self._agreement(pair) for pair in self.all]))
        apart[:, list(suspects)] = np.nan
        for pair in self.all:
            others = np.delete(apart[list(pair)], pair, axis=1)
            if apart[pair] != 0 or np.isnan(others).all():
                continue
            rarely = RARELY * float(np.nanmin(others))
            items = self.shared[pair]
            if items * math.log1p(-rarely) < math.log(ERROR / len(self.all)):
                yield Copying(pair, round(items), 1.0, None)


def _equal(first: Codes, second: Codes) -> Floats:
    return np.asarray(first == second, dtype=float)
