"""The ratings of a source while it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from pipelines.agreement.panel import MISSING, Level, Panel


@dataclass
class Votes:
    """The ratings of a source, row by row."""

    items: int = 0
    cells: list[tuple[int, str, float]] = field(default_factory=list)
    """Item, rater and rating."""
    compared: int = 0
    """Ratings that compare answers."""

    def add(self, ratings: Mapping[str, float], *, compared: bool) -> None:
        """The ratings of one row."""
        self.cells += [(self.items, rater, value) for rater, value in ratings.items()]
        self.compared += len(ratings) if compared else 0
        self.items += 1

    @property
    def level(self) -> Level:
        """Nominal where answers were compared, interval for scores; of both, the more frequent."""
        return "nominal" if 2 * self.compared >= len(self.cells) else "interval"

    def panel(self) -> Panel:
        """The ratings as a table."""
        raters = sorted({rater for _, rater, _ in self.cells})
        column = {rater: at for at, rater in enumerate(raters)}
        values, code = np.unique([value for _, _, value in self.cells], return_inverse=True)
        codes = np.full((self.items, len(raters)), MISSING, dtype=np.int64)
        rows, columns = (
            [item for item, _, _ in self.cells],
            [column[rater] for _, rater, _ in self.cells],
        )
        codes[rows, columns] = code
        return Panel(codes, tuple(values.tolist()), tuple(raters))
