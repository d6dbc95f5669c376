"""Chance for fuzzing: cases, and changes of bytes, texts and JSON values.

Each case has its own `Random`, so that a failure is made again from the name that it prints.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Iterator
from random import Random, SystemRandom
from typing import Any

from tests.conftest import PROFILE

SECONDS = float(os.environ.get("TESTS_FUZZ_SECONDS", "600"))
"""How long `make nightly` fuzzes each target."""
CASE = os.environ.get("TESTS_FUZZ_CASE")
"""The name of one case, to run it alone."""
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 7, 2**31, 2**53 - 1, -(2**53), 2**53, 10**30, 0.5, -0.0, 1e308),
    *("", " ", "x", "a" * 64, "0" * 64, "F" * 64, "9" * 5000, "\x00", "\n", "../x", "ada", "１"),
    *("2026-11-20T09:00:00Z", "9999-12-31T23:59:59Z", "0000-00-00T00:00:00Z", "2026-11-20"),
    *("open", "closed", "approve", "reject", "candidate", "champion", "support-desk", "packet"),
    *([], {}, [None], [[]], {"": None}, {"x": {"x": {"x": []}}}, ["x"] * 40),
)
"""Values that a field may not expect."""


def cases(few: int) -> Iterator[Random]:
    """One source of chance for each case: `few` that are always the same; at night other ones, for
    `SECONDS`.
    """
    if CASE is not None:
        yield Random(CASE)
        return
    seed = SystemRandom().randrange(1 << 32) if PROFILE == "nightly" else 0
    until, number = time.monotonic() + SECONDS, 0
    while number < few if PROFILE != "nightly" else time.monotonic() < until:
        print(f"\nTESTS_FUZZ_CASE={seed}-{number}")  # the last one is shown where it fails
        yield Random(f"{seed}-{number}")
        number += 1
    print(f"{number} cases")


def other_bytes(data: bytes, chance: Random) -> bytes:
    """One change of bytes: flipped, replaced, inserted, removed, doubled or cut."""
    at = chance.randrange(len(data) + 1)
    end = min(len(data), at + chance.choice((1, 1, 2, 8, 64, 4096)))
    changes = (
        lambda: data[:at] + bytes(byte ^ 1 << chance.randrange(8) for byte in data[at:end][:1]),
        lambda: data[:at] + chance.randbytes(end - at) + data[end:],
        lambda: data[:at] + chance.choice((b"0", b'"', b"{", b"]", b"\\u0000", b"\xff")),
        lambda: data[:at] + data[end:],
        lambda: data[:end] + data[at:],
        lambda: data[:at],
    )
    how = chance.randrange(len(changes))
    changed = changes[how]()
    return changed + data[len(changed) :] if how in (0, 2) else changed


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value within a JSON value, but for the whole."""
    if not isinstance(value, dict | list):
        return []
    found = []
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        found += [(*path, key), *places(inner, (*path, key))]
    return found


def other_value(value: Any, chance: Random) -> Any:
    """A JSON value with one change somewhere within it: replaced, removed, doubled or exchanged."""
    value = copy.deepcopy(value)
    found = places(value)
    if not found:
        return chance.choice(ODD)
    path, donor = chance.choice(found), chance.choice(found)
    holder, given = within(value, path[:-1]), copy.deepcopy(within(value, donor))
    key, how = path[-1], chance.randrange(6)
    if how == 0:
        del holder[key]
    elif how == 1:
        holder[key] = given
    elif how == 2 and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif how == 3 and isinstance(holder, dict):
        holder[chance.choice(("x", "log", "principal", "run", f"{key}"))] = given
    elif how == 4 and isinstance(holder[key], str) and holder[key]:
        holder[key] = other_text(holder[key], chance)
    else:
        holder[key] = copy.deepcopy(chance.choice(ODD))
    return value


def other_text(text: str, chance: Random) -> str:
    """A text with a character changed, or a line removed or doubled."""
    lines = text.splitlines(keepends=True)
    if len(lines) > 1 and chance.random() < 0.5:
        at = chance.randrange(len(lines))
        return "".join([*lines[:at], *lines[at : at + 1] * chance.choice((0, 2)), *lines[at + 1 :]])
    at = chance.randrange(len(text))
    return text[:at] + chance.choice(("", "0", "a", "*", "!", "\n", "é", "&x ")) + text[at + 1 :]


def within(value: Any, path: tuple[Any, ...]) -> Any:
    """The value at a path."""
    for key in path:
        value = value[key]
    return value
