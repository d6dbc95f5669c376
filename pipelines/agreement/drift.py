"""Finds batches whose ratings mean something else than those of the batches before: a guideline
that is read in another way, or another version of it.

1. Batches are taken in their order (v2 before v10, dates as they come). Each is compared with all
   batches before it that were not found, so that one odd batch is named, and of a lasting change
   every batch from the first on.
2. Compared are the share of each rating (at the nominal level; otherwise the mean rating), and how
   often raters agree. Each rater's own mean is taken off first: who rated which batch makes no
   difference.
3. Items that were rated in both are compared with themselves. Where these are too few, the items of
   a batch are compared with other items. That shows a drift only if items were dealt to the batches
   by chance; the finding says on which of the two it rests.
4. A file without drift has a finding in at most `ERROR` of all cases: each test, by Student's t
   over items, has the level `ERROR` / tests (Bonferroni), halved since shares are not normal. An
   effect must also be large: `SHIFT`, `SHIFT_OF_MEAN`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit  # scipy.stats takes a second to import

from governance.attest.findings import finding
from governance.attest.predicates import Finding
from pipelines.agreement.coefficients import Coefficients
from pipelines.agreement.panel import MISSING, Codes, Floats, Rows

ERROR = 0.01
"""In at most so many files without drift is a batch named."""
FEWEST = 20
"""Items of a batch."""
SHIFT = 0.1
"""A share of ratings must differ by so much, and so must agreement."""
SHIFT_OF_MEAN = 0.3
"""The mean rating must differ by so many standard deviations of all ratings."""
MOST_VALUES = 20
"""Of nominal ratings the most frequent are compared."""
RARE = 10
"""Fewer items with a rating say nothing of its share."""

Bools = NDArray[np.bool_]
_PARTS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class Figure:
    """What is compared: for each item × rater, a number; NaN where there is no rating."""

    name: str
    cells: Floats
    least: float
    """A smaller difference is none."""
    unit: str = "share"


@dataclass(frozen=True)
class Drifting:
    """A batch that was found."""

    place: int
    """Of the batch in the order of their names, from 1."""
    finding: Finding


def drift(of: Coefficients, rows: Rows) -> list[Drifting]:
    """The batches found, in their order."""
    order = sorted(range(len(rows.names)), key=lambda at: _natural(rows.names[at]))
    figures = list(_figures(of))
    level = ERROR / 2 / max(1, (len(order) - 1) * len(figures))
    found, before = [], order[:1]
    for place, at in enumerate(order[1:], 2):
        parts = (rows.batch == at, np.isin(rows.batch, before))
        changes = [
            change
            for figure in figures
            if (change := _change(figure, rows.item, *parts, level)) is not None
        ]
        if changes:
            _, expected, what = max(changes)
            found.append(Drifting(place, _finding(rows.names[at], expected, what)))
        else:
            before.append(at)
    return found


def _finding(batch: str, expected: str, found: str) -> Finding:
    return finding(
        "GUIDELINE_DRIFTS", f"batch {batch[:80] or '(none)'}", expected=expected, found=found
    )


def _natural(name: str) -> list[tuple[int, int, str]]:
    """v2 before v10."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part)
        for part in _PARTS.split(name)
        if part
    ]


def _figures(of: Coefficients) -> Iterator[Figure]:
    """(2)"""
    codes, values = of.panel.codes, of.panel.values
    given = codes != MISSING
    if of.level == "nominal":
        counts = np.bincount(codes[given], minlength=len(values))
        common = np.argsort(-counts, kind="stable")[:MOST_VALUES]
        for value in common[counts[common] >= RARE].tolist():
            cells = np.where(given, codes == value, np.nan)
            yield Figure(f"the rating {_shown(values[value])}", cells, SHIFT)
    else:
        cells = np.where(given, of.scale[codes], np.nan)
        spread = float(np.nanstd(cells))
        if spread > 0:
            yield Figure("the mean rating", cells / spread, SHIFT_OF_MEAN, "deviations")
    size = given.sum(axis=1)[:, None]
    paired = given & (size > 1)
    equal = of.equal[of.of_item]
    shares = np.divide(equal, size - 1, out=np.full(equal.shape, np.nan), where=paired)
    yield Figure("agreement", shares, SHIFT)


def _shown(value: float | str) -> str:
    return value[:40] if isinstance(value, str) else f"{value:g}"


def _change(
    figure: Figure, item: Codes, here: Bools, before: Bools, level: float
) -> tuple[float, str, str] | None:
    """By how many standard errors a figure differs, what was expected and found."""
    cells = figure.cells - _means_of_raters(figure.cells)
    now, then = (_means_of_items(cells[rows], item[rows], len(item)) for rows in (here, before))
    both = ~np.isnan(now) & ~np.isnan(then)
    if both.sum() >= FEWEST:
        differences, on = now[both] - then[both], f"{both.sum():,} items rated in both"
        change, error = float(differences.mean()), _error(differences)
        freedom = len(differences) - 1
    else:
        now, then = now[~np.isnan(now)], then[~np.isnan(then)]
        if min(len(now), len(then)) < FEWEST:
            return None
        change, error = float(now.mean() - then.mean()), _pooled(now, then)
        freedom, on = len(now) + len(then) - 2, f"{len(now):,} items against {len(then):,} others"
    if abs(change) < figure.least or abs(change) <= error * stdtrit(freedom, 1 - level / 2):
        return None
    certainty = abs(change) / error if error else math.inf
    return certainty, *_said(figure, float(np.nanmean(figure.cells[before])), change, on)


def _said(figure: Figure, usual: float, change: float, on: str) -> tuple[str, str]:
    if figure.unit == "share":
        was, changed = f"{usual:.0%}", f"{change * 100:+.0f} points"
    else:
        was, changed = "as it was", f"{change:+.2f} standard deviations"
    return f"{figure.name} as in the batches before: {was}", f"{changed}, {on}"


def _means_of_raters(cells: Floats) -> Floats:
    """0 for a rater without a rating."""
    given = ~np.isnan(cells)
    sums = np.where(given, cells, 0).sum(axis=0)
    return np.asarray(sums / np.maximum(given.sum(axis=0), 1))


def _means_of_items(cells: Floats, item: Codes, items: int) -> Floats:
    """NaN for an item without a rating."""
    given = ~np.isnan(cells)
    count = np.bincount(item, weights=given.sum(axis=1), minlength=items)
    sums = np.bincount(item, weights=np.where(given, cells, 0).sum(axis=1), minlength=items)
    return np.asarray(np.divide(sums, count, out=np.full(items, np.nan), where=count > 0))


def _error(values: Floats) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values))


def _pooled(one: Floats, other: Floats) -> float:
    """The standard error of a difference of means, with one variance for both."""
    squares = ((one - one.mean()) ** 2).sum() + ((other - other.mean()) ** 2).sum()
    variance = float(squares) / (len(one) + len(other) - 2)
    return math.sqrt(variance * (1 / len(one) + 1 / len(other)))
