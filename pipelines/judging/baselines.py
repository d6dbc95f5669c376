"""Reads AlpacaEval's file of instruction difficulties: `df_gamed.csv`, which also has verdicts on
the baseline's own verbose and concise answers, or a table of `index` and `instruction_difficulty`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from governance.base.errors import InputError
from pipelines.judging.length_control import Baseline
from pipelines.sources.plain_names import plain_name
from pipelines.sources.readers import read_rows

DIFFICULTY = "instruction_difficulty"
GAMED = ("preference", "std_delta_len", DIFFICULTY)


def read_baseline(path: Path) -> Baseline:
    """Difficulties and verdicts. Raises `InputError`."""
    difficulty: dict[int, float] = {}
    gamed: list[list[float]] = []
    for row in read_rows(path):
        where = f"{path}:{row.row}"
        if row.problem:
            found = f"{row.problem.reason}: {row.problem.detail}"
            raise InputError(found, where=where, fix="correct the row")
        place = _number(row.value, "index", where)
        if place < 0 or place != int(place):
            raise InputError("field index is no place", where=where, expected="0, 1, 2, ...")
        difficulty.setdefault(int(place), _number(row.value, DIFFICULTY, where))
        if "preference" in row.value:
            gamed.append([_number(row.value, name, where) for name in GAMED])
    if sorted(difficulty) != list(range(len(difficulty))) or not difficulty:
        expected = "each place from 0 on, without a gap"
        raise InputError("field index has gaps", where=str(path), expected=expected)
    return Baseline(
        difficulty=np.array([difficulty[at] for at in range(len(difficulty))]),
        gamed=np.array(gamed).reshape(-1, len(GAMED)),
    )


def _number(row: dict[str, Any], name: str, where: str) -> float:
    """Raises `InputError` unless a field holds a number."""
    try:
        value = float(row.get(name, ""))
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"field {plain_name(name)} holds no number", where=where)
    return value
