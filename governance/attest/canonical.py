"""JSON that is hashed and signed: written by RFC 8785, read strictly.

What is written here can be read here, and gives the same value. Read strictly means: UTF-8, no
duplicate keys, no NaN or infinity, no number that two readers could take for different ones
(integers beyond 2**53), no lone surrogates, at most `MAX_DEPTH` levels and `MAX_BYTES` bytes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

import orjson
import rfc8785

from governance.base.errors import VerificationError
from governance.base.model import Json

MAX_BYTES = 64 << 20
MAX_DEPTH = 64
MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 7493)."""
_PLAIN_FROM = 1e21
"""From here on ECMAScript writes numbers with an exponent; below, as an integer."""
_NUMBER = re.compile(rb"[:\[,]-?\d(?:\d{15}|\d*(?:[eE]|\.\d*(?:[eE]|0[,\]}])))")
_ASTRAL = tuple(bytes([lead]) for lead in range(0xF0, 0xF5))
"""Where orjson may differ from RFC 8785: numbers of 16 digits or more, exponents, a fraction that
ends in 0, and characters beyond the basic plane, which order keys otherwise. May be found in text
by chance: that costs time only.
"""


def dumps(value: Json) -> bytes:
    """The RFC 8785 form of a value. Raises `VerificationError` where it has none that reads back
    the same.
    """
    try:
        _check(value)
        data = rfc8785.dumps(value)
    except (ValueError, RecursionError) as error:
        raise VerificationError(
            f"a value cannot be written as canonical JSON: {_reason(error)}",
            expected="finite numbers within 2**53, UTF-8 text",
            where=_culprit(value, "value"),
        ) from None
    if len(data) > MAX_BYTES:
        raise VerificationError(
            f"JSON of {len(data)} bytes is too large", expected=f"at most {MAX_BYTES} bytes"
        )
    return data


def loads(data: bytes, *, where: str = "") -> Json:
    """The value of JSON bytes, read strictly. `where` names them in errors. Raises
    `VerificationError`.
    """
    if len(data) > MAX_BYTES:
        raise VerificationError(
            f"{len(data)} bytes are too large", expected=f"at most {MAX_BYTES} bytes", where=where
        )
    value = _quick(data)
    if value is not None:
        return value
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_pairs,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
        )
        _check(value, text=b"\\u" in data)
    except json.JSONDecodeError as error:
        raise VerificationError(
            f"not valid JSON at line {error.lineno}, column {error.colno}", where=where
        ) from None
    except RecursionError:
        raise VerificationError(f"nested deeper than {MAX_DEPTH} levels", where=where) from None
    except ValueError as error:
        raise VerificationError(
            _reason(error), expected="JSON that has one reading only", where=where
        ) from None
    return value


def loads_canonical(data: bytes, *, where: str = "") -> Json:
    """As `loads`, of bytes that have to be in canonical form already."""
    value = _quick(data)
    if value is None:
        value = loads(data, where=where)
        if dumps(value) != data:
            raise VerificationError("not in canonical form", expected="RFC 8785", where=where)
    return value


def loads_known(data: bytes, *, where: str = "", numbers: bool = True) -> tuple[Json, bool]:
    """As `loads`, and whether the bytes are certainly canonical. `numbers=False` skips the check of
    numbers, for callers that refuse all numbers.
    """
    value = _quick(data, numbers=numbers)
    return (loads(data, where=where), False) if value is None else (value, True)


def dumps_read(value: Json, *, known: bool = False) -> bytes:
    """As `dumps`, of a value from `loads` or of parts of it. `known`: the second result of
    `loads_known`.
    """
    data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return data if known or _sure(data) else dumps(value)


def figure(value: float | int | None) -> float | int | None:
    """A measured number for evidence; None for NaN, infinity, and numbers beyond 2**53."""
    if (
        value is None
        or isinstance(value, bool)
        or not math.isfinite(value)
        or abs(value) > MAX_INTEGER
    ):
        return None
    return value


def _quick(data: bytes, *, numbers: bool = True) -> dict[str, Any] | list[Any] | None:
    """The value of bytes that are certainly canonical; None where the strict reader must decide.

    The value is written again. Where that gives the same bytes, no key stands twice and every value
    has its canonical form.
    """
    if not _sure(data, numbers=numbers):
        return None
    try:
        value = orjson.loads(data)
    except ValueError:  # the strict reader says what is wrong
        return None
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        return None
    return value if orjson.dumps(value, option=orjson.OPT_SORT_KEYS) == data else None


def _sure(data: bytes, *, numbers: bool = True) -> bool:
    """Whether orjson and RFC 8785 cannot differ on these bytes."""
    return (
        data[:1] in (b"{", b"[")
        and not (numbers and _NUMBER.search(data))
        and (data.isascii() or not any(lead in data for lead in _ASTRAL))
    )


def _depth(value: dict[str, Any] | list[Any]) -> int:
    """How many objects and arrays stand inside each other at most."""
    depth, level = 0, [value]
    while level:
        depth += 1
        members = (each.values() if isinstance(each, dict) else each for each in level)
        level = [one for each in members for one in each if isinstance(one, (dict, list))]
    return depth


def _check(value: Json, *, text: bool = True) -> None:
    """Depth, numbers and, if `text`, the characters of every string."""
    levels: list[Iterator[Any]] = [iter((value,))]
    while levels:
        for member in levels[-1]:
            if isinstance(member, str):
                if text:
                    member.encode("utf-8")
            elif isinstance(member, float):
                if MAX_INTEGER < abs(member) < _PLAIN_FROM:
                    raise ValueError(f"number {member!r} is beyond 2**53")
            elif isinstance(member, (dict, list, tuple)):
                levels.append(_members(member))
                if len(levels) > MAX_DEPTH + 1:
                    raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
                break
        else:
            levels.pop()


def _members(container: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> Iterator[Any]:
    if isinstance(container, dict):
        for key, value in container.items():
            yield key
            yield value
    else:
        yield from container


def _culprit(value: Json, path: str) -> str:
    """The path of the first member that cannot be written; the path of the value itself where each
    member alone can be.
    """
    if path.count(".") > MAX_DEPTH:
        return path
    members: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, (list, tuple)):
        members = enumerate(value)
    for name, member in members:
        try:
            _check(member)
            rfc8785.dumps(member)
        except (ValueError, RecursionError):
            shown = ascii(name)[1:-1] if isinstance(name, str) else name
            return _culprit(member, f"{path}.{shown}")
    return path


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return value


def _integer(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) > MAX_INTEGER:
        raise ValueError("an integer is beyond 2**53")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number is beyond the range of a double")
    return value


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _reason(error: Exception) -> str:
    """What is wrong, without the text it is wrong in."""
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    if isinstance(error, UnicodeEncodeError):
        return "text has a lone surrogate"
    return "nested too deep" if isinstance(error, RecursionError) else str(error)
