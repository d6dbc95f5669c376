"""Labels that can be verified: a worked solution against the reference answer beside it."""

from __future__ import annotations

import re

import numpy as np

from pipelines import json_texts
from pipelines.features.leaks import Around
from pipelines.features.preferences import named_result
from pipelines.features.turns import Column, Records
from pipelines.kinds import EXTRA
from pipelines.rewards.choice_answer import choice_answer
from pipelines.rewards.numeric_answer import numeric_answer

SOLUTION = "solution"
"""The extra column of a worked solution: `extra: {solution: FIELD}` in params.yaml."""
_NUMBER = re.compile(r"(?:.*####)?\W*\d[\d,]*(?:\.\d+)?\W*\w{0,12}\W*", re.DOTALL)
_CHOICE = re.compile(r"\W*[A-E]\W*")
_LETTER = re.compile(r"\b[A-E]\b")


def answer_differs_from_reference(records: Records, around: Around) -> Column:
    """1 where the extra column `solution` ends in another number or choice (A to E) than the
    reference answer, 0 where in the same. NaN where a side names none.
    """
    extras = records.table.column(EXTRA).to_pylist()
    solutions = [json_texts.loads(text or "{}").get(SOLUTION) for text in extras]
    pairs = zip(solutions, records.answer, strict=True)
    return np.array([_differs(solution, reference) for solution, reference in pairs], dtype=float)


def _differs(solution: object, reference: str) -> float:
    """As judged by the rewards `choice_answer` and `numeric_answer`."""
    if not isinstance(solution, str):
        return np.nan
    if _CHOICE.fullmatch(reference):
        return 1 - choice_answer(solution, reference) if _LETTER.search(solution) else np.nan
    result = named_result(solution)
    if result is None or not _NUMBER.fullmatch(reference):
        return np.nan
    return 1 - numeric_answer(f"#### {result!r}", reference)
