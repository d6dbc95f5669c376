"""Reads tool schemas, calls of tools, and whether each answer of a tool has its call.

Calls become the JSON text of a list of `{"id"?, "name", "arguments": {...}}`, schemas that of a
list of OpenAI's function schemas. Nothing is repaired: a call whose arguments are no object is a
`RowProblem`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines import json_texts
from pipelines.sources.readers import RowProblem, type_name

MALFORMED = "TOOL_CALL_MALFORMED"
UNMATCHED = "TOOL_CALL_UNMATCHED"
NO_SCHEMA = "TOOL_SCHEMA_MALFORMED"

_CALL = frozenset({"id", "type", "function", "name", "arguments"})
_FUNCTION = frozenset({"name", "arguments"})


def calls(value: Any, place: str) -> str:
    """The calls of one message: a list, one call, or the JSON text of either."""
    decoded = _decoded(value, place, MALFORMED)
    items = decoded if isinstance(decoded, list) else [decoded]
    if not items:
        raise RowProblem(MALFORMED, place, "no call of a tool")
    made = [_call(item, f"{place}[{at}]") for at, item in enumerate(items)]
    return dumps(made, place, MALFORMED)


def schemas(value: Any, place: str) -> str | None:
    """The tools of a record: a list of schemas, or its JSON text; None where there are none."""
    decoded = _decoded(value, place, NO_SCHEMA) if value not in (None, "") else []
    if not isinstance(decoded, list):
        raise RowProblem(NO_SCHEMA, place, f"found {type_name(decoded)}, expected a list")
    made = [_schema(item, f"{place}[{at}]") for at, item in enumerate(decoded)]
    return dumps(made, place, NO_SCHEMA) if made else None


def lost(value: Any, name: str) -> Iterator[str]:
    """Members of calls that no record keeps: `messages.tool_calls.index`."""
    try:
        decoded = _decoded(value, name, MALFORMED)
    except RowProblem:
        return
    for item in decoded if isinstance(decoded, list) else [decoded]:
        call = item if isinstance(item, dict) else {}
        yield from (f"{name}.{key}" for key in call.keys() - _CALL if call[key] is not None)
        inner = call.get("function")
        function = inner if isinstance(inner, dict) else {}
        for key in function.keys() - _FUNCTION:
            if function[key] is not None:
                yield f"{name}.function.{key}"


def dumps(value: Any, place: str, code: str) -> str:
    """A value as JSON text. Raises `RowProblem`."""
    try:
        return json_texts.dumps(value)
    except (TypeError, ValueError, RecursionError):  # Parquet holds dates and bytes
        detail = f"values that JSON does not have, or more than {json_texts.MAX_DEPTH} levels"
        raise RowProblem(code, place, detail) from None


def require_answered(column: str, *sequences: Sequence[Mapping[str, str]]) -> None:
    """Raises `RowProblem` for an answer of a tool without a call before it, and for two open calls
    with one id. The last sequence is of `column`; those before it come before it.
    """
    waiting: list[str | None] = []
    for sequence in sequences:
        if not any("tool_calls" in message or message["role"] == "tool" for message in sequence):
            waiting = [] if any(message["role"] == "user" for message in sequence) else waiting
            continue
        for at, message in enumerate(sequence):
            place = f"{column}[{at}]"
            if message["role"] == "user":
                waiting = []
            elif message["role"] == "tool":
                _answered(waiting, message.get("tool_call_id"), place)
            for call in json_texts.loads(message.get("tool_calls", "[]")):
                _opened(waiting, call.get("id"), place)


def _opened(waiting: list[str | None], identity: str | None, place: str) -> None:
    if identity is not None and identity in waiting:
        raise RowProblem(UNMATCHED, place, "two calls of tools have the same id")
    waiting.append(identity)


def _answered(waiting: list[str | None], identity: str | None, place: str) -> None:
    """Removes the call that an answer is for: the one of its id, or the first one."""
    if not waiting:
        raise RowProblem(UNMATCHED, place, "an answer of a tool without a call before it")
    if identity is None or all(call is None for call in waiting):
        waiting.pop(0)
    elif identity in waiting:
        waiting.remove(identity)
    else:
        raise RowProblem(UNMATCHED, place, "no call before it has its tool_call_id")


def _call(value: Any, place: str) -> dict[str, Any]:
    """One call. Its function stands within it, as OpenAI writes it, or is the call itself."""
    if not isinstance(value, dict):
        raise RowProblem(MALFORMED, place, f"found {type_name(value)}, expected an object")
    function = value if value.get("function") is None else value["function"]
    if not isinstance(function, dict) or value.get("type") not in (None, "function"):
        raise RowProblem(MALFORMED, place, "a call that is not of type function")
    name, identity = function.get("name"), value.get("id")
    if not isinstance(name, str) or not name:
        raise RowProblem(MALFORMED, f"{place}.name", "expected the name of a tool")
    if identity is not None and not isinstance(identity, str):
        raise RowProblem(MALFORMED, f"{place}.id", f"found {type_name(identity)}, expected text")
    given = _arguments(function.get("arguments"), f"{place}.arguments")
    return {**({"id": identity} if identity else {}), "name": name, "arguments": given}


def _arguments(value: Any, place: str) -> dict[str, Any]:
    """The arguments of a call: an object, or its JSON text. A call without arguments has {}."""
    decoded = {} if value in (None, "") else _decoded(value, place, MALFORMED)
    if not isinstance(decoded, dict):
        raise RowProblem(MALFORMED, place, f"found {type_name(decoded)}, expected an object")
    return decoded


def _schema(value: Any, place: str) -> dict[str, Any]:
    """One tool in OpenAI's form; a function alone is put into it."""
    schema = _decoded(value, place, NO_SCHEMA)
    if not isinstance(schema, dict):
        raise RowProblem(NO_SCHEMA, place, f"found {type_name(schema)}, expected an object")
    function = schema.get("function", schema)
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RowProblem(NO_SCHEMA, place, "a tool without a function that has a name")
    return schema if "function" in schema else {"type": "function", "function": schema}


def _decoded(value: Any, place: str, code: str) -> Any:
    """The value, or that of its JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, object_pairs_hook=_members, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise RowProblem(code, place, "text that is not JSON, or has a key twice") from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key twice")
    return members


def _no_number(text: str) -> None:
    raise ValueError(text)
