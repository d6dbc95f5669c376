"""Pairs of answers that people labelled, from a dataset of kind `preference` or `rated`.

1. A `preference` record has one label: people preferred `chosen`. Which answer stands first is
   drawn by the record's id, so that position tells nothing.
2. A `rated` record with two answers has a label by each rater: 1, 2, or 0 for a tie. `people` is
   the label that most raters gave, 0 where there is none.
3. Records with tools, calls or anything but one text as an answer are left out and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.generation.speakers import Messages, plain
from pipelines.judging.asking import FIRST, SECOND, TIE
from pipelines.kinds import TOOLS

ONE_LABEL = "people"
"""The rater of data that has one label for each pair."""


@dataclass(frozen=True)
class Pair:
    """Two answers to a conversation, and who labelled them how."""

    id: str
    messages: Messages
    first: str
    second: str
    labels: Mapping[str, int]
    """Rater to `TIE`, `FIRST` or `SECOND`."""
    is_chosen_first: bool = True
    """(1) Of a `preference` record."""

    @property
    def people(self) -> int:
        """(2) What most people said."""
        counts = Counter(self.labels.values()).most_common(2)
        is_tied = len(counts) > 1 and counts[0][1] == counts[1][1]
        return TIE if is_tied else counts[0][0]

    @property
    def better(self) -> str:
        """The answer that people preferred. There must be one."""
        return self.first if self.people == FIRST else self.second

    @property
    def worse(self) -> str:
        """The other one."""
        return self.second if self.people == FIRST else self.first


def pairs_of(rows: Iterable[Mapping[str, Any]], kind: str) -> list[Pair]:
    """The pairs among records of a kind, in their order."""
    read = _preferred if kind == "preference" else _rated
    return [pair for row in rows if not row.get(TOOLS) and (pair := read(row)) is not None]


def _preferred(row: Mapping[str, Any]) -> Pair | None:
    record, messages = str(row["id"]), plain(row["prompt"])
    chosen, rejected = _text(row["chosen"]), _text(row["rejected"])
    if messages is None or chosen is None or rejected is None or chosen == rejected:
        return None
    if int(record[-1], 16) % 2:
        return Pair(record, messages, chosen, rejected, {ONE_LABEL: FIRST})
    return Pair(record, messages, rejected, chosen, {ONE_LABEL: SECOND}, is_chosen_first=False)


def _rated(row: Mapping[str, Any]) -> Pair | None:
    messages, answers = plain(row["prompt"]), [_text(each) for each in row["completions"]]
    if messages is None or len(answers) != 2 or not row["ratings"]:
        return None
    first, second = answers
    if first is None or second is None or first == second:
        return None
    labels = {str(rating["rater"]): int(rating["value"]) for rating in row["ratings"]}
    return Pair(str(row["id"]), messages, first, second, labels)


def _text(answer: Sequence[Mapping[str, Any]]) -> str | None:
    """The text of an answer that is one message without calls."""
    messages = plain(answer)
    text = messages[0]["content"].strip() if messages and len(messages) == 1 else ""
    return text or None
