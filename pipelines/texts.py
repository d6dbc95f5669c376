"""Every text of a record: finds each with its place, and writes others back.

A text is what somebody wrote: the content of a message, what the assistant thought, a reference
answer, and each text, number and key of calls of tools, tool schemas, further turns and extra
columns (`pipelines.json_texts`). Most records have contents alone: they take the fast path.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyarrow as pa

from pipelines import json_texts
from pipelines.kinds import EXTRA, KINDS, PARTS, Kind
from pipelines.shards import ROW_GROUP

CALLS = "tool_calls"
"""The part of a message that is JSON."""


@dataclass(frozen=True)
class Text:
    """One text of a record, and its place."""

    row: int
    """0-based row of the table or batch."""
    field: str
    """`chosen[1].content`, `messages[2].tool_calls[0].arguments[0]`, `answer`. It never has text of
    the record.
    """
    text: str


def texts(batch: pa.RecordBatch | pa.Table, kind: str) -> Iterator[Text]:
    """Every text of every record: the whole first column of a batch, then the next. Null texts are
    skipped.
    """
    start = 0
    for part in _batches(batch):
        for column in _text_columns(KINDS[kind]):
            for row, field, text in _column_texts(part.column(column), column):
                if text is not None:
                    yield Text(start + row, field, text)
        for column in KINDS[kind].json_columns:
            for row, field, text in _json_texts(part.column(column), column):
                yield Text(start + row, field, text)
        start += part.num_rows


def replace_texts(
    table: pa.Table, kind: str, replacements: Mapping[tuple[int, str], str]
) -> pa.Table:
    """`table` with other texts at the given (row, field) places."""
    pending: dict[str, dict[int, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for (row, field), text in replacements.items():
        pending[field.partition("[")[0].partition(".")[0]][row][field] = text
    batches, start = [], 0
    for part in _batches(table):
        arrays = [
            _replaced(part.column(name), name, pending.get(name, {}), start, KINDS[kind])
            for name in part.schema.names
        ]
        batches.append(pa.RecordBatch.from_arrays(arrays, schema=part.schema))
        start += part.num_rows
    return pa.Table.from_batches(batches, schema=table.schema)


def _batches(table: pa.RecordBatch | pa.Table) -> list[pa.RecordBatch]:
    if isinstance(table, pa.RecordBatch):
        return [table]
    return list(table.to_batches(max_chunksize=ROW_GROUP))


# --- finding --------------------------------------------------------------------------------------


def _text_columns(kind: Kind) -> tuple[str, ...]:
    return (*kind.message_columns, *kind.completion_columns, *kind.text_columns)


def _column_texts(array: pa.Array, column: str) -> Iterator[tuple[int, str, str | None]]:
    """(row, field, text) of one column of one batch."""
    if pa.types.is_string(array.type):
        for row, text in enumerate(array.to_pylist()):
            yield row, column, text
        return
    if pa.types.is_list(array.type.value_type):
        for row, at, answer in _elements(array):
            one = array.values.slice(answer, 1)
            for _, turn, content in _contents(one):
                yield row, f"{column}[{at}][{turn}].content", content
            for _, turn, member, text in _parts(one):
                yield row, f"{column}[{at}][{turn}].{member}", text
        return
    for row, at, content in _contents(array):
        yield row, f"{column}[{at}].content", content
    for row, at, member, text in _parts(array):
        yield row, f"{column}[{at}].{member}", text


def _elements(array: pa.ListArray) -> Iterator[tuple[int, int, int]]:
    """(row, position in the row's list, position in `array.values`) of every element."""
    bounds = array.offsets.to_pylist()
    for row, (low, high) in enumerate(pairwise(bounds)):
        for index in range(low, high):
            yield row, index - low, index


def _contents(array: pa.ListArray) -> Iterator[tuple[int, int, str]]:
    """(row, turn, content) of every message of lists of messages."""
    bounds = array.offsets.to_pylist()
    base = bounds[0]
    contents = array.values.slice(base, bounds[-1] - base).field("content").to_pylist()
    for row, (low, high) in enumerate(pairwise(bounds)):
        for index in range(low, high):
            yield row, index - low, contents[index - base]


def _parts(array: pa.ListArray) -> Iterator[tuple[int, int, str, str]]:
    """(row, turn, place in the message, text) of every text beside the contents."""
    low, high = array.offsets[0].as_py(), array.offsets[-1].as_py()
    messages = array.values.slice(low, high - low)
    for part in PARTS:
        column = messages.field(part)
        if column.null_count == len(column):
            continue
        values = column.to_pylist()
        for row, turn, index in _elements(array):
            for place, text in _part_texts(part, values[index - low]):
                yield row, turn, place, text


def _part_texts(part: str, value: str | None) -> Iterator[tuple[str, str]]:
    """(place in the message, text) of every text of one part."""
    if value is None:
        return
    if part == CALLS:
        yield from json_texts.leaves(json_texts.loads(value), part)
    else:
        yield part, value


def _json_texts(array: pa.Array, column: str) -> Iterator[tuple[int, str, str]]:
    """(row, field, text) of one column of JSON texts."""
    if array.null_count == len(array):
        return
    for row, value in enumerate(array.to_pylist()):
        for name, member in _roots(column, value):
            for place, text in json_texts.leaves(member, name):
                yield row, place, text


def _roots(column: str, value: str | None) -> Iterator[tuple[str, Any]]:
    """(place, value) of the JSON value of a column; of an extra column for each name, which is
    params.yaml's.
    """
    if value is None:
        return
    decoded = json_texts.loads(value)
    if column != EXTRA:
        yield column, decoded
        return
    for name, member in decoded.items():
        yield f"{column}.{name}", member


# --- replacing ------------------------------------------------------------------------------------


def _replaced(
    array: pa.Array, column: str, rows: Mapping[int, Mapping[str, str]], start: int, kind: Kind
) -> pa.Array:
    """One column of one batch with its replacements; its first row is row `start` of the table."""
    touched = {
        row - start: fields for row, fields in rows.items() if start <= row < start + len(array)
    }
    if not touched:
        return array
    order = list(range(len(array)))
    values = array.take(pa.array(sorted(touched))).to_pylist()
    for index, row in enumerate(sorted(touched)):
        order[row] = len(array) + index
        if column in kind.json_columns:
            values[index] = _json_with(values[index], column, touched[row])
        else:
            values[index] = _with(values[index], column, touched[row])
    return pa.concat_arrays([array, pa.array(values, type=array.type)]).take(pa.array(order))


def _with(value: Any, place: str, new: Mapping[str, str]) -> Any:
    """A text, a message, or a list of them, with its replacements."""
    if isinstance(value, list):
        return [_with(item, f"{place}[{at}]", new) for at, item in enumerate(value)]
    if isinstance(value, dict):
        return {
            name: _part_with(name, part, f"{place}.{name}", new) for name, part in value.items()
        }
    return new.get(place, value)


def _part_with(name: str, part: str | None, place: str, new: Mapping[str, str]) -> str | None:
    if name != CALLS or part is None:
        return new.get(place, part)
    if not any(field.startswith(place) for field in new):
        return part
    return json_texts.dumps(json_texts.rewritten(json_texts.loads(part), place, new))


def _json_with(value: str, column: str, new: Mapping[str, str]) -> str:
    made = {
        place: json_texts.rewritten(member, place, new) for place, member in _roots(column, value)
    }
    if column != EXTRA:
        return json_texts.dumps(made[column])
    return json_texts.dumps({place.partition(".")[2]: member for place, member in made.items()})
