"""Compares the answers of two models to the same prompts, item by item.

1. The judge sees each pair in both orders. A win needs both; a decision that changes with the order
   is a tie, and is counted.
2. Two answers of the same text are a tie, of which nobody is asked.
3. Where the judge names no answer in some order, or may not read one, the item has no score: a tie
   would favour the weaker model.
4. Lengths are in characters, of the answers as they were written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from governance.policy.constitution import Constitution
from pipelines.generation.speakers import Judge, Messages
from pipelines.judging.asking import FIRST, TIE, comparison, decision, in_both_orders, unreadable
from pipelines.judging.battles import LOSS, WIN
from pipelines.judging.battles import TIE as HALF
from pipelines.judging.length_control import at_equal_length

PURPOSE = "contest"
DIGITS = 6
"""Kept of a score at equal length: more could differ between machines."""


class Pair(NamedTuple):
    """The answers to one prompt, as the judge may read them; None where it may not."""

    id: str
    messages: Messages
    own: str | None
    opponent: str | None


@dataclass(frozen=True)
class Contest:
    """What became of each pair, in their order."""

    scores: list[float | None]
    """1 for a win of the model, 0.5 for a tie, 0 for a loss; None: (3)."""
    consistent: int
    inconsistent: int
    equal: int
    no_verdict: int


def compare(judge: Judge, constitution: Constitution, pairs: Sequence[Pair]) -> Contest:
    """Asks the judge about each pair."""
    asked = [
        comparison(constitution, pair.id, pair.messages, pair.own, pair.opponent)
        for pair in pairs
        if pair.own is not None and pair.opponent is not None and pair.own != pair.opponent
    ]
    verdicts = dict(
        zip([each.key for each in asked], in_both_orders(judge, asked, PURPOSE), strict=True)
    )
    read = [both for both in verdicts.values() if unreadable(both) is None]
    decided = [decision(both) for both in read]
    equal = sum(pair.own == pair.opponent and pair.own is not None for pair in pairs)
    scores: list[float | None] = []
    for pair in pairs:
        both = verdicts.get(pair.id)
        if both is not None:
            scores.append(None if unreadable(both) else _score(decision(both)))
        else:
            scores.append(HALF if pair.own is not None and pair.own == pair.opponent else None)
    return Contest(
        scores=scores,
        consistent=sum(each != TIE for each in decided),
        inconsistent=sum(each == TIE for each in decided),
        equal=equal,
        no_verdict=len(pairs) - len(read) - equal,
    )


def _score(chosen: int) -> float:
    if chosen == TIE:
        return HALF
    return WIN if chosen == FIRST else LOSS


def scores_at_equal_length(
    scores: Sequence[float | None], own: Sequence[int], opponent: Sequence[int]
) -> list[float | None]:
    """The scores less what a regression explains by the difference in length
    (`pipelines.judging.length_control`); None for all where nothing can be estimated.
    """
    wins = np.array([math.nan if score is None else score for score in scores])
    longer = np.array(own, dtype=float) - np.array(opponent, dtype=float)
    adjusted = at_equal_length(wins, longer)
    if adjusted is None:
        return [None] * len(scores)
    return [
        None if math.isnan(value) else round(value, DIGITS) + 0.0 for value in adjusted.tolist()
    ]
