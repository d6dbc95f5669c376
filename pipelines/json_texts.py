"""The texts inside a JSON value: finds each with its place, and writes others back.

1. Texts, numbers and keys are texts: each may be personal data. true, false and null are none.
2. A place never has text of a record. A member is named by its key if that is a word of the format
   (`NAMED`), else by its position: `arguments[0]`, and its key `arguments[0].key`.
3. Rewriting keeps the order of members, and all that no replacement names.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

MAX_DEPTH = 64
"""Levels of a value in a record."""

KEY = ".key"

NAMED = frozenset(
    {
        *("id", "name", "arguments", "type", "function", "description", "parameters", "strict"),
        *("properties", "required", "items", "enum", "default", "title", "format", "examples"),
        *("anyOf", "oneOf", "allOf", "additionalProperties", "minimum", "maximum", "$ref", "$defs"),
    }
)
"""Keys of calls of tools and of JSON Schema."""


def dumps(value: Any) -> str:
    """A JSON value as records hold it. Raises `ValueError` or `TypeError` for what JSON lacks, and
    `ValueError` for more than `MAX_DEPTH` levels.
    """
    if _depth(value, MAX_DEPTH) < 0:
        raise ValueError(f"more than {MAX_DEPTH} levels")
    return _ENCODER.encode(value)


def loads(text: str) -> Any:
    """The value of a text that `dumps` wrote."""
    return json.loads(text)


def leaves(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """(place, text) of every text, number and key; `place` is that of the value."""
    if isinstance(value, Mapping):
        for at, (key, member) in enumerate(value.items()):
            below = _below(place, key, at)
            if key not in NAMED:
                yield below + KEY, key
            yield from leaves(member, below)
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from leaves(item, f"{place}[{at}]")
    elif isinstance(value, str):
        yield place, value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield place, _ENCODER.encode(value)


def rewritten(value: Any, place: str, new: Mapping[str, str]) -> Any:
    """The value with other texts at the given places. A number becomes a text."""
    if isinstance(value, Mapping):
        made: dict[str, Any] = {}
        for at, (key, member) in enumerate(value.items()):
            below = _below(place, key, at)
            made[_free(new.get(below + KEY, key), made)] = rewritten(member, below, new)
        return made
    if isinstance(value, list):
        return [rewritten(item, f"{place}[{at}]", new) for at, item in enumerate(value)]
    return new.get(place, value)


def _below(place: str, key: str, at: int) -> str:
    return f"{place}.{key}" if key in NAMED else f"{place}[{at}]"


def _free(key: str, taken: Collection[str]) -> str:
    """The key, or the first of `key_2`, `key_3`... that is not taken: two keys may be redacted to
    the same text.
    """
    free, number = key, 1
    while free in taken:
        number += 1
        free = f"{key}_{number}"
    return free


def _depth(value: Any, left: int) -> int:
    """The levels that are left below a value; negative if it has too many."""
    if left < 0 or not isinstance(value, Mapping | list):
        return left
    items = value.values() if isinstance(value, Mapping) else value
    return min((_depth(item, left - 1) for item in items), default=left)


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
