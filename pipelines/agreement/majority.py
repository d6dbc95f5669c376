"""What raters disagree on, and which groups of raters are overruled.

1. The majority of an item is the rating that more than half of its raters gave.
2. A rating is overruled where its item has three raters or more, a majority, and another rating.
3. Groups with fewer raters than `smallest` are shown together; where they are still fewer, with the
   smallest other group. So nobody's ratings can be told from counts and their differences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from governance.base.errors import InputError
from pipelines.agreement.panel import MISSING, Codes, Panel
from pipelines.sources.plain_names import plain_name
from pipelines.sources.readers import read_rows

RATER = "rater"
"""The column of a raters file that names the rater; all others are attributes."""
SMALLEST = 5
"""Raters of a group that is shown by itself."""
FEW = "(small groups)"
UNDECLARED = "(not declared)"
MOST_ATTRIBUTES = 20


@dataclass(frozen=True)
class Disputes:
    """Items with two ratings or more, by how far their raters agree."""

    unanimous: int
    majority: int
    """Not all gave the rating that more than half gave."""
    split: int
    """No rating has more than half."""


@dataclass(frozen=True)
class Overruled:
    """A group's ratings of items that have a majority of three raters or more."""

    raters: int
    ratings: int
    overruled: int


def shares(panel: Panel) -> tuple[Codes, Codes, Codes]:
    """Of each item: its most frequent rating, how many gave it, and the number of ratings."""
    given = panel.codes != MISSING
    ordered = np.sort(panel.codes, axis=1)
    size = given.sum(axis=1)
    best, most = np.full(len(panel), MISSING), np.zeros(len(panel), dtype=np.int64)
    run = np.zeros(len(panel), dtype=np.int64)
    for at in range(ordered.shape[1]):
        same = ordered[:, at] == ordered[:, at - 1] if at else np.zeros(len(panel), dtype=bool)
        run = np.where(same, run + 1, 1)
        longer = (run > most) & (ordered[:, at] != MISSING)
        best, most = np.where(longer, ordered[:, at], best), np.where(longer, run, most)
    return best, most, size


def disputes(panel: Panel) -> Disputes:
    """How many items are unanimous, have a majority, or are split."""
    _, most, size = shares(panel)
    paired = size > 1
    unanimous, majority = paired & (most == size), paired & (2 * most > size)
    counts = (unanimous, majority & ~unanimous, paired & ~majority)
    return Disputes(*(int(each.sum()) for each in counts))


Groups = Mapping[str, Mapping[str, str]]
"""Attribute to the group of each rater."""


def read_groups(path: Path, raters: tuple[str, ...]) -> Groups:
    """The groups of a raters file: a row for each rater, with the columns `rater` and attributes.
    Raises `InputError` where it has none of `raters`, or names one twice.
    """
    groups: dict[str, dict[str, str]] = {}
    seen: set[str] = set()
    for row in read_rows(path):
        where = f"{path}:{row.row}"
        if row.problem or RATER not in row.value:
            found = f"{row.problem.reason}" if row.problem else f"no column {RATER!r}"
            raise InputError(found, where=where, expected="rater, and a column for each attribute")
        name = str(row.value[RATER]).strip()
        if name in seen:
            raise InputError(f"rater {plain_name(name)} is named twice", where=where)
        seen.add(name)
        if name not in raters:
            continue
        for attribute, value in row.value.items():
            if attribute != RATER and value not in (None, ""):
                groups.setdefault(attribute, {})[name] = plain_name(str(value))
    if seen.isdisjoint(raters):
        raise InputError("none of the raters of the ratings", where=str(path))
    if not groups or len(groups) > MOST_ATTRIBUTES:
        found, expected = f"{len(groups)} attributes", f"1 to {MOST_ATTRIBUTES}"
        raise InputError(found, where=str(path), expected=expected)
    return groups


def overruled(
    panel: Panel, groups: Groups, smallest: int = SMALLEST
) -> dict[str, dict[str, Overruled]]:
    """Attribute to group to counts. Empty for an attribute of fewer raters than `smallest`."""
    best, most, size = shares(panel)
    decided = (size >= 3) & (2 * most > size)
    given = (panel.codes != MISSING) & decided[:, None]
    against = given & (panel.codes != best[:, None])
    rated, lost = given.sum(axis=0).tolist(), against.sum(axis=0).tolist()
    tables = {}
    for attribute, of_rater in groups.items():
        table: dict[str, Overruled] = {}
        for at, rater in enumerate(panel.raters):
            counts = Overruled(1, rated[at], lost[at])
            group = of_rater.get(rater, UNDECLARED)
            table[group] = _sum(table[group], counts) if group in table else counts
        tables[attribute] = _shown(table, smallest)
    return tables


def _sum(one: Overruled, other: Overruled) -> Overruled:
    return Overruled(
        one.raters + other.raters, one.ratings + other.ratings, one.overruled + other.overruled
    )


def _shown(table: dict[str, Overruled], smallest: int) -> dict[str, Overruled]:
    """(3)"""
    by_size = sorted(table.items(), key=lambda group: (-group[1].raters, group[0]))
    large = [group for group in by_size if group[1].raters >= smallest]
    small = [counts for _, counts in by_size[len(large) :]]
    while small and large and sum(counts.raters for counts in small) < smallest:
        small.append(large.pop()[1])
    shown = dict(large)
    if sum(counts.raters for counts in small) >= smallest:
        total = small[0]
        for counts in small[1:]:
            total = _sum(total, counts)
        shown[FEW] = total
    return shown
