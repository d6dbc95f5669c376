"""How a model behaves on held-out prompts, without reference answers. Imports no torch.

Every measure is one number per item, the mean over the item's sampled answers:

- `tokens`: length of an answer, its end token included.
- `empty`: share of answers without any visible text.
- `truncated`: share of answers that reached `max_new_tokens` without an end token.
- `repeated`: share of answers of which more than half of the 4-grams of tokens occurred before in
  the answer (seq-rep-4 of Welleck et al. 2020, arXiv:1908.04319). Shorter answers than
  `LONG_ENOUGH` tokens never count.
- `distinct_1`, `distinct_2`: different n-grams of tokens among all n-grams of the item's answers
  (Li et al. 2016, arXiv:1510.03055).
- `refused`: share of answers that are refusals to the function `refusal`.
- `equal`: share of the pairs of the item's answers that are the same text.
- `common`: share of answers that are the model's most common answer to all prompts.

`pipelines.likelihood` has those that need the probabilities of the answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

from pipelines.rewards.refusal import refusal

ITEMS = 128
"""Behaviour is measured on the first items of a suite, at most so many."""
ANSWERS = 2
"""Sampled answers per item where the suite samples none."""
LONG_ENOUGH = 12
"""Tokens from which an answer can count as repeated."""
Measures = dict[str, list[float]]
"""Measure to one number per item."""


@dataclass(frozen=True)
class Answer:
    """One sampled answer."""

    text: str
    """Without what the model thought before it."""
    tokens: Sequence[int]
    """All generated tokens, the end token included."""
    ended: bool
    """Whether it has an end token."""


Groups = Sequence[Sequence[Answer]]
"""The answers of each item."""


def measures(groups: Groups) -> Measures:
    """The measures of the text of answers. Every item has the same number of answers."""
    common = _most_common(groups)
    measured = {
        "tokens": [fmean(len(answer.tokens) for answer in group) for group in groups],
        "empty": [_share(not answer.text.strip() for answer in group) for group in groups],
        "truncated": [_share(not answer.ended for answer in group) for group in groups],
        "repeated": [_share(is_repeated(answer.tokens) for answer in group) for group in groups],
        "refused": [fmean(refusal(answer.text, None) for answer in group) for group in groups],
        "common": [_share(_plain(answer) == common for answer in group) for group in groups],
        "distinct_1": [distinct(group, 1) for group in groups],
        "distinct_2": [distinct(group, 2) for group in groups],
    }
    if groups and len(groups[0]) > 1:
        measured["equal"] = [_equal_pairs(group) for group in groups]
    return measured


def is_repeated(tokens: Sequence[int]) -> bool:
    """Whether more than half of the 4-grams occurred before."""
    if len(tokens) < LONG_ENOUGH:
        return False
    grams = _grams(tokens, 4)
    return len(set(grams)) < len(grams) / 2


def distinct(group: Sequence[Answer], n: int) -> float:
    """Different n-grams among all n-grams of some answers; 1 where they have none."""
    grams = [gram for answer in group for gram in _grams(answer.tokens, n)]
    return len(set(grams)) / len(grams) if grams else 1.0


def prompts(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first rows with a prompt. The prompt of a conversation is what stands before its last
    answer.
    """
    asked = []
    for row in rows:
        if "messages" in row:
            row = {**row, "prompt": row["messages"][:-1], "answer": None, "messages": None}
        if row.get("prompt"):
            asked.append(row)
    return asked[:ITEMS]


def _most_common(groups: Groups) -> str:
    counts = Counter(_plain(answer) for group in groups for answer in group)
    return min(counts, key=lambda text: (-counts[text], text), default="")


def _plain(answer: Answer) -> str:
    return " ".join(answer.text.split()).lower()


def _equal_pairs(group: Sequence[Answer]) -> float:
    return _share(one == other for one, other in combinations(map(_plain, group), 2))


def _grams(tokens: Sequence[int], n: int) -> list[tuple[int, ...]]:
    return [tuple(tokens[at : at + n]) for at in range(len(tokens) - n + 1)]


def _share(flags: Iterable[bool]) -> float:
    return fmean(map(float, flags))
