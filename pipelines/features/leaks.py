"""What features use beside the records: the prompts of held-out datasets and tasks, which must not
leak into a record, and the suite's settings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import TypeVar, cast

import numpy as np
import pyarrow as pa

from pipelines.features.turns import MESSAGE, ROLE, USER, Column, Records, batches, normal_texts

LONG_PROMPT = 8
"""From this many words on, a held-out message is searched for anywhere in a record. A shorter one
is compared with prompts only.
"""

Marks = tuple[str, str, str]
T = TypeVar("T")


@dataclass(frozen=True)
class HeldOutTexts:
    """The prompts and answers of one suite or task, in normal form."""

    prompts: frozenset[str]
    answers: frozenset[str]

    @classmethod
    def of_records(cls, tables: Iterable[pa.Table], kind: str) -> HeldOutTexts:
        """Those of a dataset."""
        prompts: set[str] = set()
        answers: set[str] = set()
        for part in chain.from_iterable(batches(table, kind) for table in tables):
            prompts.update(part.prompts)
            answers.update(normal_texts(part.answer))
        return cls(frozenset(prompts), frozenset(answers))

    @classmethod
    def of_texts(cls, questions: Iterable[str], answers: Iterable[str]) -> HeldOutTexts:
        """Those of items that are no records: each question as what a user says first."""
        said = (f"{USER}{ROLE}{text}" for text in normal_texts([*questions]) if text)
        return cls(frozenset(said), frozenset(normal_texts([*answers])))


class HeldOut:
    """The prompts of held-out datasets and tasks, in normal form."""

    def __init__(
        self,
        tables: Iterable[pa.Table] = (),
        kind: str = "prompt",
        further: Iterable[HeldOutTexts] = (),
    ) -> None:
        every = [HeldOutTexts.of_records(tables, kind), *further]
        prompts = frozenset[str]().union(*(texts.prompts for texts in every))
        answers = frozenset[str]().union(*(texts.answers for texts in every))
        self.prompts = prompts - {""}
        self.questions = sorted({prompt.rsplit(ROLE, 1)[1] for prompt in self.prompts})
        """The last message of each prompt."""
        self.answers = sorted(answers - {""})
        """The answers: references, or those of demonstrations."""
        self._derived: dict[object, object] = {}
        self._long: dict[Marks, list[str]] = defaultdict(list)
        for text in self.questions:
            for marks in islice(_marks(text), 1):  # none where it is short
                self._long[marks].append(text)

    def derived(self, make: Callable[[HeldOut], T]) -> T:
        """What `make` makes of this dataset; it is made once."""
        if make not in self._derived:
            self._derived[make] = make(self)
        return cast(T, self._derived[make])

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
    """None if the dataset is held out itself, and there is no other suite."""
    similarity: float = 0.85
    language: str | None = None
