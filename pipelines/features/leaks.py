"""What features may look at beside the records: above all what a held-out dataset asks, lest a record give it away."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa

from pipelines.features.turns import MESSAGE, ROLE, Column, Records, batches

LONG_PROMPT = 8
"""A held-out message of so many words is looked for anywhere in a record; a shorter one only as its prompt."""


class HeldOut:
    """The prompts of a held-out dataset, in normal form."""

    def __init__(self, table: pa.Table, kind: str) -> None:
        self.prompts = frozenset(chain.from_iterable(records.prompts for records in batches(table, kind))) - {""}
        self._long: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for text in sorted({prompt.rsplit(ROLE, 1)[1] for prompt in self.prompts}):
            words = text.split(" ")
            if len(words) >= LONG_PROMPT:
                self._long[words[0]][" ".join(words[:LONG_PROMPT])].append(text)

    def leaks(self, records: Records) -> Column:
        """Whether each record asks (or begins by asking) the same, or quotes a long last message of a prompt."""
        asks = [bool({said, said.split(MESSAGE, 1)[0]} & self.prompts) for said in records.prompts]
        leaks = np.array(asks, dtype=bool)
        for name, turns in records.parts.items() if self._long else ():
            for at, text in enumerate(records.normal[name].to_pylist()):
                if self._quoted(text):
                    leaks[turns.record[at]] = True
        return leaks

    def _quoted(self, text: str) -> bool:
        words = text.split(" ")
        for at in [at for at, word in enumerate(words) if word in self._long]:
            candidates = self._long[words[at]].get(" ".join(words[at : at + LONG_PROMPT]), ())
            if any(candidate in text for candidate in candidates):
                return True
        return False


@dataclass(frozen=True)
class Around:
    """What features may look at beside the records: the held-out dataset and the suite's settings."""

    held_out: HeldOut | None = None
    """None where a dataset is its own."""
    similarity: float = 0.85
    language: str | None = None
