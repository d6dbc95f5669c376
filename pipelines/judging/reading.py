"""Reads judged comparisons from files (JSONL, JSON, CSV, Parquet) in these shapes, told apart by
their fields:

    AlpacaEval       generator_1, generator_2, preference     annotations.json
    MT-Bench         model_1, model_2, g1_winner, g2_winner   model_judgment/*_pair.jsonl
    MT-Bench         model, score                             model_judgment/*_single.jsonl
    Arena            model_a, model_b, winner                 battles; human votes of MT-Bench
    Arena, one-hot   model_a, model_b, winner_model_a, winner_model_b, winner_tie

1. Nothing is skipped: a row that cannot be read, has another shape than the first, or says again
   what an earlier row says, ends the reading with its place.
2. What a file itself marks as no verdict (null, NaN, `error`, a score of -1) is counted as such.
3. Messages name files, rows and fields, never what a row says.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from governance.base.errors import InputError
from pipelines.judging.battles import (
    LOSS,
    TIE,
    WIN,
    Answer,
    Battle,
    Judged,
    Score,
    Style,
    answer_of,
    both_orders,
)
from pipelines.sources.plain_names import plain_name
from pipelines.sources.readers import read_rows, type_name

SHAPES = {
    "AlpacaEval": ("generator_1", "generator_2", "preference"),
    "MT-Bench, pairs": ("model_1", "model_2", "g1_winner", "g2_winner"),
    "Arena": ("model_a", "model_b", "winner"),
    "Arena, one-hot": ("model_a", "model_b", "winner_model_a", "winner_model_b", "winner_tie"),
    "MT-Bench, single": ("model", "score"),
}
NO_SCORE = -1
"""MT-Bench's score where the judge's reply has none."""
LONGEST_NAME = 200


class _Row:
    """One row, and errors that name its place."""

    def __init__(self, value: dict[str, Any], where: str, position: int) -> None:
        self.value, self.where, self.position = value, where, position

    def wrong(self, field: str, found: str, expected: str) -> InputError:
        """The error about a field."""
        what = f"field {plain_name(field)} {found}"
        return InputError(what, where=self.where, expected=expected, fix="correct the row")

    def name(self, field: str) -> str:
        """The name of a model."""
        value = self.value.get(field)
        if not isinstance(value, str) or not 0 < len(value.strip()) <= LONGEST_NAME:
            found = "is empty or too long" if isinstance(value, str) else f"is {_type(value)}"
            raise self.wrong(field, found, f"a name of up to {LONGEST_NAME} characters")
        if not value.strip().isprintable():
            raise self.wrong(field, "holds control characters", "a name that can be printed")
        return value.strip()

    def models(self, first: str, second: str) -> tuple[str, str]:
        """The names of two models."""
        names = self.name(first), self.name(second)
        if names[0] == names[1]:
            raise self.wrong(second, f"names the same model as {first}", "two models")
        return names

    def number(self, field: str, low: float, high: float) -> float | None:
        """(2) A number; None where there is none."""
        value = self.value.get(field)
        if isinstance(value, str):
            try:
                value = float(value) if value.strip() else None
            except ValueError:
                raise self.wrong(field, "is text", f"a number from {low:g} to {high:g}") from None
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(field, f"is {_type(value)}", f"a number from {low:g} to {high:g}")
        if not low <= value <= high:
            raise self.wrong(field, "is out of range", f"a number from {low:g} to {high:g}")
        return float(value)

    def one_of(self, field: str, known: dict[str, float | None]) -> float | None:
        """The outcome that a word stands for."""
        value = self.value.get(field)
        word = value.strip().lower() if isinstance(value, str) else value
        if not isinstance(word, str) or word not in known:
            found = "holds another word" if isinstance(word, str) else f"is {_type(value)}"
            raise self.wrong(field, found, f"one of: {', '.join(known)}")
        return known[word]

    def judge(self, *fields: str) -> str:
        """Who judged: a name, or a list of name and template."""
        value = next((self.value[field] for field in fields if self.value.get(field)), "")
        parts = value if isinstance(value, list) else [value]
        return " ".join(str(part) for part in parts)[:LONGEST_NAME]

    def item(self, *fields: str) -> str:
        """What question it is about; its place where the row does not say."""
        for field in fields:
            value = self.value.get(field)
            if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
                return str(value)
        return f"row {self.position}"

    def turn(self) -> int:
        """The turn of the conversation that was judged."""
        turn = self.number("turn", 0, 1000)
        return 1 if turn is None else int(turn)


def read(path: Path, advance: Callable[[int], None] = lambda rows: None) -> Judged:
    """What a file holds. Raises `InputError`."""
    rows = _rows(path, advance)
    first = next(rows, None)
    if first is None:
        raise InputError("no rows", where=str(path), expected="judged comparisons or scores")
    shape = _shape(first, path)
    seen: dict[tuple[Any, ...], int] = {}
    battles: list[Battle] = []
    scores: list[Score] = []
    for row in _chained(first, rows):
        missing = [name for name in SHAPES[shape] if name not in row.value]
        if missing and not _may_lack(shape, missing):
            raise row.wrong(missing[0], "is missing", f"as in the first row ({shape})")
        if shape == "MT-Bench, single":
            scores.append(_single(row))
            key: tuple[Any, ...] = (*scores[-1][:3], scores[-1].judge)
        else:
            battle = _READERS[shape](row)
            battles.append(battle)
            key = (battle.item, battle.first, battle.second, battle.judge, row.turn())
        _require_new(seen, key, row)
    return Judged(tuple(battles), tuple(scores), has_baseline=shape == "AlpacaEval")


def read_all(paths: Sequence[Path], advance: Callable[[int], None] = lambda rows: None) -> Judged:
    """What several files hold together. Raises `InputError` where they hold different things."""
    parts = [read(path, advance) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        if bool(part.scores) != bool(parts[0].scores):
            found = "comparisons in one file, scores of single answers in another"
            raise InputError(found, where=str(path), expected="files of one kind")
    return Judged(
        tuple(battle for part in parts for battle in part.battles),
        tuple(score for part in parts for score in part.scores),
        has_baseline=all(part.has_baseline for part in parts)
        and len({battle.second for part in parts for battle in part.battles}) == 1,
    )


def _rows(path: Path, advance: Callable[[int], None]) -> Iterator[_Row]:
    for position, row in enumerate(read_rows(path)):
        where = f"{path}:{row.row}"
        if row.problem:
            found = f"{row.problem.reason}: {row.problem.detail}"
            raise InputError(found, where=where, fix="correct the row")
        advance(1)
        yield _Row(row.value, where, position)


def _chained(first: _Row, rest: Iterator[_Row]) -> Iterator[_Row]:
    yield first
    yield from rest


def _shape(row: _Row, path: Path) -> str:
    for shape, fields in SHAPES.items():
        if all(field in row.value for field in fields):
            return shape
    known = "; ".join(f"{shape}: {', '.join(fields)}" for shape, fields in SHAPES.items())
    found = (
        f"fields of no known shape: {', '.join(plain_name(name) for name in list(row.value)[:20])}"
    )
    raise InputError(found, where=str(path), expected=known, fix="docs/judging.md shows the shapes")


def _may_lack(shape: str, missing: list[str]) -> bool:
    """JSON leaves out what is null, and so do some writers."""
    return shape == "AlpacaEval" and missing == ["preference"]


def _require_new(seen: dict[tuple[Any, ...], int], key: tuple[Any, ...], row: _Row) -> None:
    """(1)"""
    if key in seen:
        found = f"it judges again what row {seen[key] + 1} of the file judges"
        fix = "leave one of them out, or give the items, turns or judges their names"
        raise InputError(found, where=row.where, expected="each comparison once", fix=fix)
    seen[key] = row.position


def _type(value: Any) -> str:
    return type_name(value)


# --- shapes ---------------------------------------------------------------------------------------


def _alpaca(row: _Row) -> Battle:
    """`preference`: 1 for the baseline's answer (the first), 2 for the model's, 0 or 1.5 for a tie,
    and whatever lies between 1 and 2.
    """
    model, baseline = row.models("generator_2", "generator_1")
    preference = row.number("preference", 0, 2)
    if preference is not None and 0 < preference < 1:
        raise row.wrong("preference", "lies between 0 and 1", "0, or a number from 1 to 2")
    texts = [row.value.get(field) for field in ("output_2", "output_1")]
    return Battle(
        item=row.item("instruction", "index"),
        position=row.position,
        first=model,
        second=baseline,
        win=None if preference is None else (preference or 1.5) - 1,
        judge=row.judge("annotator"),
        answers=_answers(*texts),
        price=row.number("price_per_example", 0, 1e6),
    )


_SIDE = {"model_1": WIN, "model_2": LOSS, "tie": TIE, "error": None}


def _pair(row: _Row) -> Battle:
    """Both orders: in the first game model_1's answer is shown first, in the second model_2's."""
    first, second = row.models("model_1", "model_2")
    given, swapped = row.one_of("g1_winner", _SIDE), row.one_of("g2_winner", _SIDE)
    known = given is not None and swapped is not None
    return Battle(
        item=row.item("question_id"),
        position=row.position,
        first=first,
        second=second,
        win=both_orders(given, swapped) if known else None,  # type: ignore[arg-type]
        orders=(given, swapped) if known else None,  # type: ignore[arg-type]
        judge=row.judge("judge"),
    )


_WINNER = {
    "model_a": WIN,
    "model_b": LOSS,
    "tie": TIE,
    "tie (bothbad)": TIE,
    "both_bad": TIE,
    "tie (inconsistent)": TIE,
}


def _arena(row: _Row) -> Battle:
    return _of_arena(row, row.one_of("winner", dict(_WINNER)))


def _one_hot(row: _Row) -> Battle:
    fields = {"winner_model_a": WIN, "winner_model_b": LOSS, "winner_tie": TIE}
    outcomes = [win for field, win in fields.items() if row.number(field, 0, 1) == 1]
    if len(outcomes) != 1:
        raise row.wrong("winner_tie", f"is one of {len(outcomes)} outcomes", "one outcome of three")
    return _of_arena(row, outcomes[0])


def _of_arena(row: _Row, win: float | None) -> Battle:
    first, second = row.models("model_a", "model_b")
    texts = [
        row.value.get(f"conversation_{side}", row.value.get(f"response_{side}")) for side in "ab"
    ]
    return Battle(
        item=row.item("question_id", "id"),
        position=row.position,
        first=first,
        second=second,
        win=win,
        judge=row.judge("judge", "judge_hash"),
        answers=_counted(row) or _answers(*texts),
    )


def _single(row: _Row) -> Score:
    score = row.number("score", NO_SCORE, 1e6)
    return Score(
        item=row.item("question_id"),
        model=row.name("model"),
        turn=row.turn(),
        score=None if score == NO_SCORE else score,
        judge=row.judge("judge"),
    )


_READERS: dict[str, Callable[[_Row], Battle]] = {
    "AlpacaEval": _alpaca,
    "MT-Bench, pairs": _pair,
    "Arena": _arena,
    "Arena, one-hot": _one_hot,
}


# --- answers --------------------------------------------------------------------------------------


def _answers(first: Any, second: Any) -> tuple[Answer, Answer] | None:
    texts = _text(first), _text(second)
    if texts[0] is None or texts[1] is None:
        return None
    return answer_of(texts[0]), answer_of(texts[1])


def _text(value: Any) -> str | None:
    """An answer, or the assistant's part of a conversation; in a CSV file, as JSON. None where
    there is none.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return str(value)
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return None
    parts = [
        part.get("content") if part.get("role") == "assistant" else ""
        for part in value
        if isinstance(part, dict)
    ] or value
    return "\n".join(part for part in parts if isinstance(part, str) and part)


def _counted(row: _Row) -> tuple[Answer, Answer] | None:
    """The style that Arena's `conv_metadata` counts; None where there is none."""
    counts = row.value.get("conv_metadata")
    if not isinstance(counts, dict):
        return None
    sides = [
        [
            _total(counts.get(name.format(side)))
            for name in (
                "sum_assistant_{}_tokens", "header_count_{}", "list_count_{}", "bold_count_{}",
            )
        ]
        for side in "ab"
    ]  # fmt: skip
    if any(value is None for side in sides for value in side):
        return None
    first, second = (Answer(Style(*[value or 0.0 for value in side]), b"") for side in sides)
    return first, second


def _total(value: Any) -> float | None:
    """A count, or the sum of counts by kind."""
    if isinstance(value, dict):
        parts = [_total(part) for part in value.values() if part is not None]
        return None if any(part is None for part in parts) else sum(part or 0.0 for part in parts)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < math.inf else None
