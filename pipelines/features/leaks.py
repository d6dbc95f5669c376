"""What features use beside the records: the prompts of a held-out dataset, which must not leak into
a record, and the suite's settings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import pyarrow as pa

from pipelines.features.turns import MESSAGE, ROLE, Column, Records, batches

LONG_PROMPT = 8
"""From this many words on, a held-out message is searched for anywhere in a record. A shorter one
is compared with prompts only.
"""

Marks = tuple[str, str, str]


class HeldOut:
    """The prompts of a held-out dataset, in normal form."""

    def __init__(self, tables: Iterable[pa.Table], kind: str) -> None:
        parts = chain.from_iterable(batches(table, kind) for table in tables)
        self.prompts = frozenset(chain.from_iterable(part.prompts for part in parts)) - {""}
        self._long: dict[Marks, list[str]] = defaultdict(list)
        for text in sorted({prompt.rsplit(ROLE, 1)[1] for prompt in self.prompts}):
            for marks in islice(_marks(text), 1):  # none where it is short
                self._long[marks].append(text)

    def leaks(self, records: Records) -> Column:
        """Whether each record has a held-out prompt (or begins with one), or quotes a long last
        message of one.
        """
        same = [
            prompt in self.prompts or prompt.split(MESSAGE, 1)[0] in self.prompts
            for prompt in records.prompts
        ]
        leaks = np.array(same, dtype=bool)
        if not self._long:
            return leaks
        for name, turns in records.parts.items():
            for at, text in enumerate(records.normal[name].to_pylist()):
                if self._quoted(text):
                    leaks[turns.record[at]] = True
        return leaks

    def _quoted(self, text: str) -> bool:
        if self._long.keys().isdisjoint(_marks(text)):  # nearly always, and quick
            return False
        return any(quote in text for marks in _marks(text) for quote in self._long.get(marks, ()))


def _marks(text: str) -> Iterator[Marks]:
    """The first, fourth and eighth of every eight words in a row, enough to exclude a quotation."""
    words = text.split(" ")
    return zip(words, islice(words, 3, None), islice(words, LONG_PROMPT - 1, None), strict=False)


@dataclass(frozen=True)
class Around:
    """What features may look at beside the records: the held-out dataset and the suite's
    settings.
    """

    held_out: HeldOut | None = None
    """None if the dataset is held out itself."""
    similarity: float = 0.85
    language: str | None = None
