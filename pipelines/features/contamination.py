"""Held-out questions and answers that a record has in another form: one word or number changed, a
part quoted, the reference answer in a training answer.

What is the same text, or a whole quotation, `leaks` finds.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property

import numpy as np

from pipelines.features.leaks import LONG_PROMPT, Around, HeldOut
from pipelines.features.turns import Column, Records, normal_texts

GRAM = 5
"""Words in a row that are compared. Brown et al. 2020 (arXiv:2005.14165, appendix C) take 8 to 13
for web pages; questions are shorter.
"""
FEW_WORDS = 5
"""A question of fewer words is not compared but for a word: too many differ in one."""

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


class HeldOutForms:
    """The questions and reference answers of a held-out dataset, in the forms that are compared."""

    def __init__(self, held_out: HeldOut) -> None:
        self._questions = held_out.questions
        self._answers = [answer for answer in held_out.answers if _long(answer)]

    @cached_property
    def changed(self) -> frozenset[int]:
        """Every question with its numbers, or any one word, left open."""
        return frozenset(form for question in self._questions for form in _forms(question))

    @cached_property
    def grams(self) -> dict[int, list[int]]:
        """Run of words to the positions of the long questions that have it."""
        found: dict[int, list[int]] = defaultdict(list)
        for at, question in enumerate(self._questions):
            if _long(question):
                for gram in _grams(question):
                    found[gram].append(at)
        return found

    @cached_property
    def sizes(self) -> Counter[int]:
        """Position of a long question to the number of its runs."""
        return Counter(at for places in self.grams.values() for at in places)

    @cached_property
    def answers(self) -> dict[str, list[str]]:
        """First words of each long answer to the answers."""
        found: dict[str, list[str]] = defaultdict(list)
        for answer in self._answers:
            found[_begin(answer)].append(answer)
        return found


def near_held_out(records: Records, around: Around) -> Column:
    """Whether the question is a held-out one but for its numbers, or but for one word."""
    forms = _of(around)
    if forms is None:
        return np.full(len(records), False)
    questions = normal_texts(records.question)
    return _flags(not forms.changed.isdisjoint(_forms(question)) for question in questions)


def held_out_overlap(records: Records, around: Around) -> Column:
    """The largest share of one long held-out question's runs of five words that the record has."""
    forms = _of(around)
    if forms is None:
        return np.zeros(len(records))
    shares = np.zeros(len(records))
    for name, turns in records.parts.items():
        for at, text in enumerate(records.normal[name].to_pylist()):
            record = turns.record[at]
            shares[record] = max(shares[record], _share(text, forms))
    return shares


def quotes_held_out_answer(records: Records, around: Around) -> Column:
    """Whether the answer quotes a held-out reference answer of eight words or more."""
    forms = _of(around)
    if forms is None:
        return np.full(len(records), False)
    return _flags(_quotes(answer, forms.answers) for answer in normal_texts(records.answer))


def _of(around: Around) -> HeldOutForms | None:
    return None if around.held_out is None else around.held_out.derived(HeldOutForms)


def _long(text: str) -> bool:
    return text.count(" ") >= LONG_PROMPT - 1


def _share(text: str, forms: HeldOutForms) -> float:
    grams = set(_grams(text)) & forms.grams.keys()
    shared = Counter(at for gram in grams for at in forms.grams[gram])
    return max((count / forms.sizes[at] for at, count in shared.items()), default=0.0)


def _grams(text: str) -> Iterator[int]:
    words = text.split(" ")
    return (hash_of(words[at : at + GRAM]) for at in range(len(words) - GRAM + 1))


def _forms(question: str) -> Iterator[int]:
    """The question with `0` for each number, if it has one; and without each of its words."""
    masked, numbers = _NUMBER.subn("0", question)
    if numbers:
        yield hash_of(["number", masked])
    words = question.split(" ")
    if len(words) >= FEW_WORDS:
        for at in range(len(words)):
            yield hash_of([str(at), *words[:at], *words[at + 1 :]])


def _begin(text: str) -> str:
    return " ".join(text.split(" ", 3)[:3])


def _quotes(answer: str, known: dict[str, list[str]]) -> bool:
    words = answer.split(" ")
    starts = {" ".join(words[at : at + 3]) for at in range(len(words) - LONG_PROMPT + 1)}
    return any(quote in answer for start in starts & known.keys() for quote in known[start])


def hash_of(words: Iterable[str]) -> int:
    """64 bits of the BLAKE2b digest of words in a row. The same in every process."""
    text = "\0".join(words).encode("utf-8")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def _flags(values: Iterable[bool]) -> Column:
    return np.fromiter(values, dtype=bool)
