"""Ratings as a table of items and raters, for agreement statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Level = Literal["nominal", "ordinal", "interval", "ratio"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""Levels of measurement (Stevens 1946)."""

MISSING = -1
MOST_SLICES = 50
"""Slices, or batches, that are compared."""


@dataclass(frozen=True)
class Panel:
    """Who gave which item which rating."""

    codes: Codes
    """Items × raters: the place of the rating in `values`, or `MISSING`."""
    values: tuple[float | str, ...]
    """The distinct ratings, sorted."""
    raters: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def ratings(self) -> int:
        """Number of ratings."""
        return int(np.sum(self.codes != MISSING))

    def of_items(self, items: NDArray[np.bool_] | Codes) -> Panel:
        """The same raters on fewer items."""
        return Panel(self.codes[items], self.values, self.raters)

    def without(self, raters: Sequence[str]) -> Panel:
        """The same items without these raters."""
        kept = [at for at, rater in enumerate(self.raters) if rater not in raters]
        return Panel(self.codes[:, kept], self.values, tuple(self.raters[at] for at in kept))


@dataclass(frozen=True)
class Rows:
    """Of each row of a panel, its batch and its item, which may have a row in every batch."""

    batch: Codes
    item: Codes
    names: tuple[str, ...]
    """Of the batches."""


@dataclass(frozen=True)
class Ratings:
    """What a file holds."""

    panel: Panel
    slices: dict[str, tuple[str, ...]]
    """Column to the slice of each item; "" where the item has none."""
    first: Codes | None = None
    """Items × raters: the place in `panel.values` of the value that stood first."""
    seconds: Floats | None = None
    """Items × raters."""
    batches: Rows | None = None
    """The batch of each row; its name is "" where it has none."""


def panel_of_units(unit: NDArray[np.generic], value: NDArray[np.generic]) -> Panel:
    """Ratings of which nobody knows the rater: `value[i]` was given to item `unit[i]`. The columns
    are the first, second, ... rating of each item.
    """
    values, code = np.unique(value, return_inverse=True)
    _, item, sizes = np.unique(unit, return_inverse=True, return_counts=True)
    order = np.argsort(item, kind="stable")
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    codes = np.full((len(sizes), int(sizes.max(initial=0))), MISSING, dtype=np.int64)
    codes[item[order], np.arange(len(item)) - first] = code[order]
    names = tuple(str(at + 1) for at in range(codes.shape[1]))
    return Panel(codes, tuple(values.tolist()), names)
