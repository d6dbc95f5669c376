"""Reads ratings from a file (JSONL, JSON, CSV, Parquet) into a panel.

1. Wide: a row is an item, and each rater has a column.
2. Long: a row is one rating, with a column for the item (or several that name it together), the
   rater and the value. Pairwise: two columns more, which name what was compared. The item is then
   compared in either order. Its value is the side, 1 or 2 by the order of the names; a value that
   names neither is kept, e.g. a tie.
3. Nothing is skipped: a row that cannot be read, or a rating that is neither text nor number, ends
   the reading with its place. An empty cell or null is no rating; so is NaN.
4. A number and its text are one value: 1, 1.0 and "1".
5. Messages name files, rows and columns, never what a row says.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from governance.base.errors import ConfigError, InputError, did_you_mean
from pipelines.agreement.panel import MISSING, MOST_SLICES, Level, Panel, Ratings, Rows
from pipelines.sources.plain_names import plain_name
from pipelines.sources.readers import read_rows, type_name

MOST_RATERS = 500
RATER = "{rater}"
"""Stands for the rater in the name of a column."""

NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?")
"""A text that is a number; 007 is a name."""
EXACT = 2.0**53
"""Beyond it, different integers are the same float."""

Value = float | str
Item = tuple[Value, ...]


@dataclass(frozen=True)
class Columns:
    """Which columns hold what. Wide where `item` is empty."""

    raters: tuple[str, ...] = ()
    """Wide: a column each. Long: the raters to be read; all of them if empty."""
    item: tuple[str, ...] = ()
    pair: tuple[str, ...] = ()
    """Pairwise: the two columns of what was compared, the one that stood first before the other."""
    rater: str = ""
    value: str = ""
    slices: tuple[str, ...] = ()
    position: str = ""
    """The value that stood first when the rating was given. Wide: its name may have `{rater}`."""
    seconds: str = ""
    """How long the rating took; likewise."""
    batch: str = ""
    """The batch in which an item was rated, e.g. a day or the version of the guideline. Long: an
    item may be rated in several.
    """


@dataclass
class _Cells:
    """What has been read so far: a cell is a place of item and rater."""

    values: dict[tuple[int, int], Value] = field(default_factory=dict)
    first: dict[tuple[int, int], Value] = field(default_factory=dict)
    seconds: dict[tuple[int, int], float] = field(default_factory=dict)
    slices: list[dict[str, str]] = field(default_factory=list)
    batches: list[str] = field(default_factory=list)
    """Of each row of the panel, its batch and its item, likewise."""
    items: list[int] = field(default_factory=list)


def read(
    path: Path, columns: Columns, level: Level, advance: Callable[[int], None] = lambda rows: None
) -> Ratings:
    """The ratings of a file. Raises `InputError` for a file or rating that is not as required, and
    `ConfigError` for a column that it does not have.
    """
    cells = _Cells()
    rows = _rows(path, columns, advance)
    raters = _long(rows, columns, cells) if columns.item else _wide(rows, columns, cells)
    if not cells.values:
        raise InputError("no ratings", where=str(path), expected="a value in a rater's column")
    if len(raters) < 2:
        found = f"ratings of one rater: {plain_name(raters[0])}"
        raise InputError(found, where=str(path), expected="two raters or more")
    if len(raters) > MOST_RATERS:
        found, fix = f"{len(raters):,} raters", "name some with --raters"
        raise InputError(found, where=str(path), expected=f"at most {MOST_RATERS}", fix=fix)
    return _ratings(path, cells, raters, columns, level)


# --- rows -----------------------------------------------------------------------------------------


def _rows(
    path: Path, columns: Columns, advance: Callable[[int], None]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, row) of each row, after a look at the columns. A column may be absent in a row, but
    not in all.
    """
    wanted, seen, count = _wanted(columns), set[str](), 0
    known: dict[str, None] = {}
    for row in read_rows(path):
        where = f"{path}:{row.row}"
        if row.problem:
            found = f"{row.problem.reason}: {row.problem.detail}"
            raise InputError(found, where=where, fix="correct the row")
        known |= dict.fromkeys(row.value)
        seen |= wanted & row.value.keys()
        count += 1
        advance(1)
        yield where, row.value
    if not count:
        raise InputError("no rows", where=str(path))
    for name in sorted(wanted - seen):
        raise _no_column(name, known, str(path))


def _no_column(name: str, known: Iterable[str], where: str) -> ConfigError:
    known = list(known)
    expected = f"one of: {', '.join(plain_name(each) for each in known[:20])}"
    fix = did_you_mean(name, known)
    return ConfigError(f"no column {name[:80]!r}", where=where, expected=expected, fix=fix)


def _wanted(columns: Columns) -> set[str]:
    named = {
        *columns.item,
        *columns.pair,
        columns.rater,
        columns.value,
        columns.batch,
        *columns.slices,
    }
    for column in (columns.position, columns.seconds):
        named |= {column} if columns.item else {_of(column, rater) for rater in columns.raters}
    if not columns.item:
        named |= set(columns.raters)
    return named - {""}


def _of(column: str, rater: str) -> str:
    return column.replace(RATER, rater)


def _wide(
    rows: Iterable[tuple[str, dict[str, Any]]], columns: Columns, cells: _Cells
) -> tuple[str, ...]:
    for item, (where, row) in enumerate(rows):
        cells.slices.append(_slices(row, columns, where))
        cells.batches.append(_batch(row, columns, where))
        cells.items.append(item)
        for at, rater in enumerate(columns.raters):
            position, seconds = _of(columns.position, rater), _of(columns.seconds, rater)
            _cell(cells, (item, at), row, where, (rater, position, seconds))
    return columns.raters


def _long(
    rows: Iterable[tuple[str, dict[str, Any]]], columns: Columns, cells: _Cells
) -> tuple[str, ...]:
    items: dict[Item, int] = {}
    units: dict[tuple[Item, str], int] = {}
    raters: dict[str, int] = {rater: at for at, rater in enumerate(columns.raters)}
    for where, row in rows:
        item = tuple(_required(row, name, where) for name in columns.item)
        name = _label(_required(row, columns.rater, where))
        if columns.raters and name not in raters:
            continue
        if columns.pair:
            row, sides = _sided(row, columns, where)
            item = (*item, *sides)
        batch = _batch(row, columns, where)
        unit = units.setdefault((item, batch), len(units))
        if unit == len(cells.items):
            cells.batches.append(batch)
            cells.items.append(items.setdefault(item, len(items)))
        cell = (unit, raters.setdefault(name, len(raters)))
        if cell in cells.values:
            fix = "leave one of the ratings out"
            raise InputError("this rater has rated this item before", where=where, fix=fix)
        position = FIRST if columns.pair else columns.position
        _cell(cells, cell, row, where, (columns.value, position, columns.seconds))
        _same_slices(cells, cell[0], _slices(row, columns, where), where)
    return tuple(raters)


def _required(row: dict[str, Any], column: str, where: str) -> Value:
    value = _value(row.get(column), column, where)
    if value is None:
        if column not in row:
            raise _no_column(column, row, where)
        raise InputError(f"column {plain_name(column)} is empty", where=where)
    return value


FIRST = "\0first"
"""Stands for the column with the side that stood first in a pairwise row."""


def _sided(
    row: dict[str, Any], columns: Columns, where: str
) -> tuple[dict[str, Any], tuple[str, str]]:
    """The row with its value as a side, and what was compared, in the order of the names."""
    first, second = columns.pair
    names = [_label(_required(row, column, where)) for column in columns.pair]
    one, other = sorted(names)
    if one == other:
        raise InputError("the row compares something with itself", where=where)
    value = _value(row.get(columns.value), columns.value, where)
    chosen = value if value is None else _label(value)
    chosen = {first: names[0], second: names[1]}.get(chosen or "", chosen)
    sides = {one: 1, other: 2}
    sided = {columns.value: sides.get(chosen or "", chosen), FIRST: sides[names[0]]}
    return {**row, **sided}, (one, other)


def _cell(
    cells: _Cells,
    cell: tuple[int, int],
    row: dict[str, Any],
    where: str,
    names: tuple[str, str, str],
) -> None:
    """Reads a rating, what stood first, and the seconds."""
    value, position, seconds = names
    given = _value(row.get(value), value, where)
    if given is None:
        return
    cells.values[cell] = given
    first = _value(row.get(position), position, where) if position else None
    if first is not None:
        cells.first[cell] = first
    took = _value(row.get(seconds), seconds, where) if seconds else None
    if took is not None:
        if isinstance(took, str) or took < 0:
            found = f"column {plain_name(seconds)} is no number of seconds"
            raise InputError(found, where=where, expected="a number, 0 or more")
        cells.seconds[cell] = took


def _slices(row: dict[str, Any], columns: Columns, where: str) -> dict[str, str]:
    found = {name: _value(row.get(name), name, where) for name in columns.slices}
    return {name: _label(value) for name, value in found.items() if value is not None}


def _batch(row: dict[str, Any], columns: Columns, where: str) -> str:
    value = _value(row.get(columns.batch), columns.batch, where) if columns.batch else None
    return "" if value is None else _label(value)


def _same_slices(cells: _Cells, item: int, slices: dict[str, str], where: str) -> None:
    if item == len(cells.slices):
        cells.slices.append(slices)
    elif cells.slices[item] != slices:
        found = "an earlier row of this item is in another slice"
        raise InputError(found, where=where, expected="one slice for each item")


def _value(value: object, column: str, where: str) -> Value | None:
    """(3), (4) A rating or name: a number, a text, or None where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _of_text(value.strip())
    if isinstance(value, int) and abs(value) > EXACT:
        return str(value)
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    what = "an infinite number" if isinstance(value, float) else type_name(value)
    found = f"column {plain_name(column)} holds {what}"
    raise InputError(found, where=where, expected="a text or a number")


def _of_text(text: str) -> Value | None:
    if text.lower() == "nan":
        return None
    if NUMBER.fullmatch(text) and abs(float(text)) <= EXACT:
        return float(text)
    return text or None


def _label(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:.17g}"


# --- the panel ------------------------------------------------------------------------------------


def _ratings(
    path: Path, cells: _Cells, raters: Sequence[str], columns: Columns, level: Level
) -> Ratings:
    values = _distinct(path, cells.values.values(), level)
    place = {value: at for at, value in enumerate(values)}
    shape = (len(cells.slices), len(raters))
    codes = np.full(shape, MISSING, dtype=np.int64)
    for cell, value in cells.values.items():
        codes[cell] = place[value]
    placed = columns.position or columns.pair
    first = np.full(shape, MISSING, dtype=np.int64) if placed else None
    if first is not None:
        for cell, value in cells.first.items():
            first[cell] = place.get(value, MISSING)
        if not (first != MISSING).any():
            found = f"column {(columns.position or columns.value)[:80]} names none of the ratings"
            raise InputError(found, where=str(path), expected="the rating that stood first")
    seconds = np.full(shape, np.nan) if columns.seconds else None
    if seconds is not None:
        for cell, took in cells.seconds.items():
            seconds[cell] = took
    slices = {name: tuple(item.get(name, "") for item in cells.slices) for name in columns.slices}
    _check_slices(path, slices)
    silent = [rater for at, rater in enumerate(raters) if not (codes[:, at] != MISSING).any()]
    if silent:
        found = f"no rating by {plain_name(silent[0])}"
        raise InputError(found, where=str(path), fix="leave the rater out of --raters")
    panel = Panel(codes, values, tuple(raters))
    return Ratings(panel, slices, first, seconds, _batches(path, cells, columns))


def _batches(path: Path, cells: _Cells, columns: Columns) -> Rows | None:
    if not columns.batch:
        return None
    _check_slices(path, {columns.batch: tuple(cells.batches)}, "batches")
    names, batch = np.unique(np.array(cells.batches, dtype=object), return_inverse=True)
    return Rows(batch.reshape(-1), np.array(cells.items), tuple(names.tolist()))


def _check_slices(path: Path, slices: dict[str, tuple[str, ...]], what: str = "slices") -> None:
    for name, found_slices in slices.items():
        if (count := len(set(found_slices))) > MOST_SLICES:
            found = f"column {plain_name(name)} has {count:,} values"
            raise InputError(found, where=str(path), expected=f"at most {MOST_SLICES} {what}")


def _distinct(path: Path, given: Iterable[Value], level: Level) -> tuple[Value, ...]:
    """The distinct ratings: numbers in their order, then texts. Raises `InputError` for a text
    where the level needs numbers.
    """
    distinct = set(given)
    numbers = sorted(value for value in distinct if not isinstance(value, str))
    texts = sorted(value for value in distinct if isinstance(value, str))
    if texts and level != "nominal":
        found = f"{len(texts)} of {len(distinct)} distinct ratings are no numbers"
        fix = "number the ratings in their order, or --kind nominal"
        raise InputError(found, where=str(path), expected=f"numbers ({level})", fix=fix)
    return (*numbers, *texts)
