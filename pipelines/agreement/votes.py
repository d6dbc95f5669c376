"""The ratings of a source while it is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipelines.agreement.panel import (
    MISSING,
    MOST_SLICES,
    Codes,
    Floats,
    Level,
    Panel,
    Ratings,
    Rows,
)

Cell = tuple[int, str]
"""Item and rater."""


@dataclass
class Votes:
    """The ratings of a source, row by row."""

    items: int = 0
    values: dict[Cell, float] = field(default_factory=dict)
    first: dict[Cell, float] = field(default_factory=dict)
    """The answer that stood first, where the source says so: its value as a rating."""
    seconds: dict[Cell, float] = field(default_factory=dict)
    """How long the rating took, likewise."""
    batches: list[str] = field(default_factory=list)
    """The batch of each item; "" where it has none."""
    compared: int = 0
    """Ratings that compare answers."""

    def add(self, ratings: Iterable[Mapping[str, Any]], batch: str, *, compared: bool) -> None:
        """The ratings of one row: `rater` and `value`, perhaps `first` and `seconds`."""
        for rating in ratings:
            cell = (self.items, rating["rater"])
            self.values[cell] = rating["value"]
            self.compared += compared
            for name, of_cells in (("first", self.first), ("seconds", self.seconds)):
                if name in rating:
                    of_cells[cell] = rating[name]
        self.batches.append(batch)
        self.items += 1

    @property
    def raters(self) -> tuple[str, ...]:
        """All of them, sorted."""
        return tuple(sorted({rater for _, rater in self.values}))

    @property
    def level(self) -> Level:
        """Nominal where answers were compared, interval for scores; of both, the more frequent."""
        return "nominal" if 2 * self.compared >= len(self.values) else "interval"

    def ratings(self) -> Ratings:
        """The ratings as tables."""
        values = tuple(sorted(set(self.values.values())))
        place = {value: at for at, value in enumerate(values)}
        codes = self._table({cell: place[value] for cell, value in self.values.items()}, MISSING)
        first = {cell: place.get(value, MISSING) for cell, value in self.first.items()}
        return Ratings(
            Panel(codes.astype(np.int64), values, self.raters),
            {},
            self._table(first, MISSING).astype(np.int64) if first else None,
            self._table(self.seconds, np.nan) if self.seconds else None,
            self._batches(),
        )

    def _table(self, of_cells: Mapping[Cell, float], missing: float) -> Floats:
        """Items x raters."""
        column = {rater: at for at, rater in enumerate(self.raters)}
        table = np.full((self.items, len(column)), missing)
        for (item, rater), value in of_cells.items():
            table[item, column[rater]] = value
        return table

    def _batches(self) -> Rows | None:
        """None where the source names none, or too many to compare."""
        names = sorted(set(self.batches))
        if not 1 < len(names) <= MOST_SLICES:
            return None
        place = {name: at for at, name in enumerate(names)}
        batch: Codes = np.array([place[name] for name in self.batches])
        return Rows(batch, np.arange(self.items), tuple(names))
