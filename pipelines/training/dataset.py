"""The records of a split as the dataset that a trainer gets.

Records of role and content alone are Arrow's own columns. Others hold each message as JSON, because
Arrow would give each call of a tool the arguments of all others.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines import json_texts
from pipelines.kinds import EXTRA, MESSAGES, PARTS, TOOLS, TURNS
from pipelines.training.chat import ANSWERS, CALLS, Form

BESIDE = (TOOLS, TURNS)
"""Columns of JSON that go to the trainer as they are."""


def parts_of(table: pa.Table) -> frozenset[str]:
    """What some records of a table have beside role and content: parts of messages, and columns."""
    names = [name for name in (TOOLS, TURNS, EXTRA) if name in table.column_names]
    found = {name for name in names if table[name].null_count < table.num_rows}
    for name in _message_columns(table):
        for chunk in table[name].chunks:
            messages = chunk.flatten()
            present = [part for part in PARTS if _is_in(messages.field(part))]
            found |= set(present)
            if CALLS in found and pc.any(pc.equal(messages.field("role"), "tool")).as_py():
                found.add(ANSWERS)
    return frozenset(found)


def extra_names(table: pa.Table) -> tuple[str, ...]:
    """The extra columns of the records."""
    if EXTRA not in table.column_names:
        return ()
    texts = table[EXTRA].drop_null().to_pylist()
    return tuple(sorted({name for text in texts for name in json_texts.loads(text)}))


def dataset(table: pa.Table, parts: frozenset[str], extra: Sequence[str], form: Form) -> Any:
    """The columns of a table as a dataset; `parts` and `extra` are those of all records."""
    from datasets import Dataset, DatasetInfo, Features
    from datasets.table import InMemoryTable

    messages = _message_columns(table)
    as_json = bool(parts & set(PARTS))
    columns: dict[str, pa.Array] = {}
    for name in table.column_names:
        if name in messages:
            columns[name] = _as_json(table[name], form) if as_json else _plain(table[name])
        elif name == EXTRA or (name in BESIDE and name not in parts):
            continue
        else:
            columns[name] = table[name].combine_chunks()
    columns |= _extra(table, extra)
    made = pa.table(columns)
    features = Features.from_arrow_schema(made.schema)
    exact = _exact_json()
    if as_json:
        features |= {name: _list_of(exact) for name in messages}
    features = Features({**features, **{name: exact() for name in extra}})
    cast = made.cast(features.arrow_schema).combine_chunks()
    return Dataset(InMemoryTable(cast), info=DatasetInfo(features=features))


def _message_columns(table: pa.Table) -> list[str]:
    return [field.name for field in table.schema if field.type == MESSAGES]


def _is_in(column: pa.Array) -> bool:
    return bool(column.null_count < len(column))


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """Messages of role and content."""
    lists = pa.concat_arrays(column.chunks)
    values = lists.flatten()
    plain = pa.StructArray.from_arrays(
        [values.field("role"), values.field("content")], ["role", "content"]
    )
    offsets = pc.subtract(lists.offsets, lists.offsets[0])
    return pa.ListArray.from_arrays(offsets, plain)


def _as_json(column: pa.ChunkedArray, form: Form) -> pa.Array:
    """Each message as the JSON text of what a chat template takes."""
    rows = [
        [json.dumps(message, ensure_ascii=False) for message in form.chat(messages)]
        for messages in column.to_pylist()
    ]
    return pa.array(rows, pa.list_(pa.string()))


def _extra(table: pa.Table, names: Sequence[str]) -> dict[str, pa.Array]:
    """Each extra column as the JSON texts of its values; null where a record has none."""
    if not names:
        return {}
    rows = [json_texts.loads(text or "{}") for text in table[EXTRA].to_pylist()]
    return {name: pa.array([_text(row.get(name)) for row in rows], pa.string()) for name in names}


def _text(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)


def _list_of(feature: Any) -> Any:
    from datasets import List

    return List(feature())


@cache
def _exact_json() -> Any:
    """Datasets' feature for JSON, read by Python: the library's own reader (ujson) cuts numbers to
    10 to 15 digits.
    """
    import warnings

    from datasets import Json
    from datasets.features.features import register_feature

    @dataclass
    class ExactJson(Json):  # type: ignore[misc]
        _type: str = field(default="ExactJson", init=False, repr=False)

        def encode_example(self, example_data: Any) -> str | None:
            return _text(example_data)

        def decode_example(self, example_data: Any, token_per_repo_id: Any = None) -> Any:
            return None if example_data is None else json.loads(example_data)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        register_feature(ExactJson, "ExactJson")
    return ExactJson
