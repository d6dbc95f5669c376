"""Finds raters whose ratings should not count unseen, batches and coefficients that mislead. Pairs
who copy: `pipelines.agreement.copying`. Batches: `pipelines.agreement.drift`.

1. A rater is compared with the others on the same items. A finding says what was found; a person
   decides what it means.
2. Each check accuses nobody of a clean pool, where raters err alike and independently, in at least
   `1 - ERROR` of all pools: each test has the level `ERROR` / raters (Bonferroni).
3. An effect must also be large: the constants below.
4. A rater with fewer than `FEWEST` ratings to compare is not judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from governance.attest.findings import finding
from governance.attest.predicates import Finding
from governance.base.statistics import share_interval
from pipelines.agreement.bootstrap import Estimate
from pipelines.agreement.coefficients import Coefficients
from pipelines.agreement.copying import MOST_RATERS, OTHERS, copying
from pipelines.agreement.drift import Drifting, drift
from pipelines.agreement.panel import MISSING, Codes, Floats, Level, Ratings

ERROR = 0.01
"""In at most so many clean pools does a check accuse somebody."""
FEWEST = 20
LESS = 0.5
"""Who disagrees has less than this share of the alpha that the others have among themselves."""
SHIFT = 0.1
"""Who follows position chooses it so much more often than the others do."""
FAST = 1 / 3
"""Who is too fast takes less than this share of the others' median time, for most items."""
HIGH_AGREEMENT, LOW_ALPHA, GAP = 0.8, 0.667, 0.2
"""The prevalence paradox: agreement above, alpha below, and AC1 so much above alpha. Below 0.667
Krippendorff draws no conclusions.
"""


@dataclass(frozen=True)
class Suspicion:
    """A finding about raters."""

    raters: tuple[str, ...]
    finding: Finding


def suspicions(ratings: Ratings, level: Level) -> list[Suspicion]:
    """Findings about single raters, in the order of their columns, then about pairs."""
    of, names = Coefficients(ratings.panel, level), ratings.panel.raters
    checks = Checks(ratings, of)
    found = [
        Suspicion((name,), finding)
        for rater, name in enumerate(names)
        for finding in checks.about(rater)
    ]
    suspects = {names.index(each.raters[0]) for each in found}
    for copied in copying(of, suspects):
        found.append(Suspicion(tuple(names[at] for at in copied.pair), copied.finding(names)))
    return found


def not_searched(ratings: Ratings) -> Iterator[tuple[str, str]]:
    """The codes of findings that the ratings do not allow to look for; and why, in words."""
    raters = len(ratings.panel.raters)
    if ratings.first is None:
        yield "RATER_FOLLOWS_POSITION", "raters who follow position (--position)"
    if ratings.seconds is None:
        yield "RATER_TOO_FAST", "raters who are too fast (--seconds)"
    if ratings.batches is None:
        yield "GUIDELINE_DRIFTS", "a guideline that drifts (--batch)"
    if raters > MOST_RATERS:
        yield "RATERS_COPY", f"raters who copy: {raters} raters, at most {MOST_RATERS}"
    elif raters < 2 + OTHERS:
        needs = "this needs five raters of the same items"
        yield "RATERS_COPY", f"raters who copy in part: {needs}"


def drifts(ratings: Ratings, level: Level) -> list[Drifting]:
    """Findings about batches; none where the file names no batches."""
    if ratings.batches is None:
        return []
    return drift(Coefficients(ratings.panel, level), ratings.batches)


@dataclass(frozen=True)
class Checks:
    """The checks of one panel."""

    ratings: Ratings
    of: Coefficients

    def about(self, rater: int) -> Iterator[Finding]:
        """The findings about a rater."""
        yield from self._disagrees(rater)
        yield from self._same_answer(rater)
        if self.ratings.first is not None:
            yield from self._follows_position(rater, self.ratings.first)
        if self.ratings.seconds is not None:
            yield from self._too_fast(rater, self.ratings.seconds)

    @property
    def _z(self) -> float:
        return NormalDist().inv_cdf(1 - ERROR / len(self.ratings.panel.raters))

    def _subject(self, rater: int) -> str:
        return f"rater {self.ratings.panel.raters[rater]}"

    def _disagrees(self, rater: int) -> Iterator[Finding]:
        """Alpha of the pairs with the rater against alpha of the other pairs on the same items."""
        of = self.of
        given = of.patterns != MISSING
        size = given.sum(axis=1)
        here = given[:, rater] & (size > 2)
        count, others = of.counts[here], size[here] - 1
        chance = float(of.chance(of.counts[None, :])[0])
        if count.sum() < FEWEST or chance == 0:
            return
        own = of.apart[here, rater] / others
        rest = (of.apart[here].sum(axis=1) - 2 * of.apart[here, rater]) / (others * (others - 1))
        below = (1 - LESS) * chance - own + LESS * rest  # chance * (alpha - LESS * alpha of others)
        own_alpha, rest_alpha = (1 - _mean(apart, count) / chance for apart in (own, rest))
        if rest_alpha > 0 and _mean(below, count) + self._z * _error(below, count) < 0:
            yield finding(
                "RATER_DISAGREES",
                self._subject(rater),
                expected=f"at least half of the others' alpha {rest_alpha:.3f} on the same items",
                found=f"alpha {own_alpha:.3f} with the others, {count.sum():.0f} items",
            )

    def _same_answer(self, rater: int) -> Iterator[Finding]:
        """How probable one answer throughout is, given what others answered to the same items."""
        of, codes = self.of, self.of.patterns[:, rater]
        given = of.patterns != MISSING
        here = given[:, rater] & (given.sum(axis=1) > 1)
        count, others = of.counts[here], given[here].sum(axis=1) - 1
        if count.sum() < FEWEST or len(set(codes[here].tolist())) > 1:
            return
        agreeing = of.equal[here, rater]
        overall = (count @ agreeing) / (count @ others)
        shares = (agreeing + overall) / (others + 1)
        log_p = float(count @ np.log(np.maximum(shares, 1e-300)))
        if log_p < math.log(ERROR / len(self.ratings.panel.raters)):
            yield finding(
                "RATER_SAME_ANSWER",
                self._subject(rater),
                expected=f"other answers, too: the others give this one to {overall:.0%}",
                found=f"the same answer to all {count.sum():.0f} items",
            )

    def _follows_position(self, rater: int, first: Codes) -> Iterator[Finding]:
        """How often the answer that stood first is chosen, against the others' choices."""
        codes, shown = self.ratings.panel.codes, first[:, rater]
        places = np.unique(first[first != MISSING])
        decided = np.isin(codes, places)
        others = decided.copy()
        others[:, rater] = False
        here = decided[:, rater] & (shown != MISSING) & others.any(axis=1)
        if here.sum() < FEWEST:
            return
        same = codes[here] == shown[here, None]
        chosen = same[:, rater].astype(float)
        shift = chosen - (same & others[here]).sum(axis=1) / others[here].sum(axis=1)
        even = 1 / len(places)
        for place, sign in (("first", 1), ("last", -1)):
            if place == "last" and len(places) != 2:
                continue
            more = self._least(sign * shift) > SHIFT
            if more and self._least(sign * (chosen - even)) > 0:
                share = chosen.mean() if sign > 0 else 1 - chosen.mean()
                usual = share - sign * shift.mean()
                yield finding(
                    "RATER_FOLLOWS_POSITION",
                    self._subject(rater),
                    expected=f"as often as the others on the same items: {usual:.0%}",
                    found=f"the answer that stood {place} is chosen {share:.0%} of the time,"
                    f" {len(chosen)} items",
                )

    def _least(self, values: Floats) -> float:
        """The lower bound of a mean."""
        return float(values.mean() - self._z * values.std(ddof=1) / math.sqrt(len(values)))

    def _too_fast(self, rater: int, seconds: Floats) -> Iterator[Finding]:
        """How many items took less than a third of the others' median time on the same item."""
        timed = ~np.isnan(seconds)
        others = np.delete(seconds, rater, axis=1)
        here = timed[:, rater] & timed[:, np.arange(timed.shape[1]) != rater].any(axis=1)
        if here.sum() < FEWEST:
            return
        usual = np.nanmedian(others[here], axis=1)
        hits, of = int((seconds[here, rater] < FAST * usual).sum()), int(here.sum())
        confidence = 1 - 2 * ERROR / len(self.ratings.panel.raters)
        if share_interval(hits, of, confidence).low > 0.5:
            own, median = np.median(seconds[here, rater]), np.median(usual)
            yield finding(
                "RATER_TOO_FAST",
                self._subject(rater),
                expected=f"at least a third of the others' median, {median:.3g} s",
                found=f"median {own:.3g} s; {hits} of {of} items were faster than that third",
            )


def prevalence(ratings: Ratings, pool: dict[str, Estimate]) -> Iterator[Finding]:
    """The prevalence paradox (Feinstein and Cicchetti 1990): raters nearly always agree, and alpha
    is low because one rating is so common that chance alone would explain the agreement.
    """
    figures = [pool[name].value if name in pool else None for name in ("agreement", "alpha", "ac1")]
    agreement, alpha, ac1 = (math.nan if value is None else value for value in figures)
    if agreement >= HIGH_AGREEMENT and alpha < LOW_ALPHA and ac1 - alpha >= GAP:
        codes = ratings.panel.codes
        share = np.bincount(codes[codes != MISSING]).max() / ratings.panel.ratings
        yield finding(
            "PREVALENCE_PARADOX",
            "ratings",
            expected=f"alpha of {LOW_ALPHA} or more where {agreement:.0%} agree",
            found=f"alpha {alpha:.3f}, AC1 {ac1:.3f}: {share:.0%} of all ratings are the same one",
        )


def _mean(values: Floats, counts: Floats) -> float:
    return float(counts @ values / counts.sum())


def _error(values: Floats, counts: Floats) -> float:
    """The standard error of a mean over items."""
    total = counts.sum()
    variance = counts @ (values - _mean(values, counts)) ** 2 / (total - 1)
    return math.sqrt(variance / total)
