"""Whether calls of tools fit the tools that the record offers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines import json_texts
from pipelines.features.leaks import Around
from pipelines.features.turns import Column, Records
from pipelines.kinds import KINDS, TOOLS


def wrong_calls(records: Records, around: Around) -> Column:
    """Number of calls that name a tool the record does not offer, or whose arguments do not fit its
    JSON Schema.
    """
    wrong = np.zeros(len(records))
    offered = records.table.column(TOOLS).to_pylist()
    for name in KINDS[records.kind].message_columns:
        calls = _calls(records.table.column(name))
        for at, texts in enumerate(calls):
            if texts:
                wrong[at] += _wrong(texts, offered[at])
    return wrong


def _calls(column: pa.ChunkedArray) -> Iterator[list[str]]:
    """The JSON texts of the calls of each record."""
    messages = pa.concat_arrays(column.chunks)
    if messages.flatten().field("tool_calls").null_count == len(messages.flatten()):
        return
    for record in messages.to_pylist():
        yield [message["tool_calls"] for message in record if message["tool_calls"]]


def _wrong(texts: list[str], offered: str | None) -> int:
    schemas = _schemas(offered)
    calls = [call for text in texts for call in json_texts.loads(text)]
    return sum(not _fits(call, schemas) for call in calls)


def _schemas(offered: str | None) -> dict[str, Any]:
    tools = json_texts.loads(offered) if offered else []
    functions = [tool.get("function", tool) for tool in tools if isinstance(tool, Mapping)]
    return {
        function["name"]: function.get("parameters") or {}
        for function in functions
        if isinstance(function, Mapping) and isinstance(function.get("name"), str)
    }


def _fits(call: Mapping[str, Any], schemas: Mapping[str, Any]) -> bool:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    if call.get("name") not in schemas:
        return False
    registry: Registry[Any] = Registry()  # a schema of a record is not fetched from anywhere
    try:
        schema = _plain(schemas[call["name"]])
        Draft202012Validator.check_schema(schema)
        validator = Draft202012Validator(schema, registry=registry)
        return bool(validator.is_valid(call.get("arguments", {})))
    except (SchemaError, Unresolvable, RecursionError):
        return False  # a schema that says nothing is fitted by nothing


_COSTLY = frozenset({"pattern", "patternProperties", "format"})
"""Keywords that would run a record's own regular expressions."""


def _plain(schema: Any) -> Any:
    """A schema without `_COSTLY` keywords. Properties may have these names."""
    if isinstance(schema, list):
        return [_plain(value) for value in schema]
    if not isinstance(schema, Mapping):
        return schema
    kept = {key: value for key, value in schema.items() if key not in _COSTLY}
    return {key: _members(value) if key == "properties" else _plain(value)
        for key, value in kept.items()}  # fmt: skip


def _members(properties: Any) -> Any:
    if not isinstance(properties, Mapping):
        return properties
    return {name: _plain(schema) for name, schema in properties.items()}
