"""Which regular expressions of a tokenizer cannot take exponential or cubic time.

A tokenizer matches its expressions with a backtracking engine, on texts that users write. This
module reads the small language that tokenizers use and refuses everything else:

1. A repetition without bound repeats one character or class, never a group.
2. One alternative has at most one such repetition, so that matching takes at most quadratic time.
   Well-known alternatives with two of them, whose texts exclude each other, are listed in `PAIRS`.
3. All other choices in one alternative, multiplied, are few.
4. There are no references to groups, no look-behind, no conditions and no recursion.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LENGTH = 2000
"""Characters of an expression. The longest of a known tokenizer has about 400."""
MAX_COUNT = 16
"""A bounded repetition of a wider range counts as one without bound."""
MAX_WAYS = 256
"""Choices in one alternative, multiplied: `a?a?a?` has 8."""
MAX_DEPTH = 8

_ENDING = r"(?:\(\?i:'s\|'t\|'re\|'ve\|'m\|'ll\|'d\)\?)?"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_WORD = r"[^\r\n\p{L}\p{N}]?"
PAIRS = re.compile(
    "|".join(
        (
            re.escape(r"\s*[\r\n]+"),
            re.escape(r"\s*[\r\n]"),
            *(
                re.escape(f" ?[^{text}]+[{end}]*")
                for text in (r"\s\p{L}\p{N}", r"\s\p{L}\p{M}\p{N}", r"\s\p{P}\p{L}\p{N}")
                for end in (r"\r\n", r"\r\n/")
            ),
            re.escape(r" ?[\p{P}\p{S}]+[\r\n]*"),
            re.escape(f"{_WORD}{_UPPER}*{_LOWER}+") + _ENDING,
            re.escape(f"{_WORD}{_UPPER}+{_LOWER}*") + _ENDING,
        )
    )
)
"""Alternatives of the expressions of GPT-4 (`cl100k`, `o200k`), Llama, Qwen and others."""

_ATOM = re.compile(
    r"\\[pP]\{\^?[A-Za-z_]{1,32}\}|\\[sSdDwWnrtf]|\\u[0-9A-Fa-f]{4}|\\[^A-Za-z0-9]"
    r"|\[\^?(?:[^\[\]\\]|\\[pP]\{\^?[A-Za-z_]{1,32}\}|\\[A-Za-z]|\\u[0-9A-Fa-f]{4}|\\[^A-Za-z0-9])+\]"
    r"|[^\\\[\](){}*+?|]"
)
"""One character or class."""
_COUNT = re.compile(r"[?*+]|\{(?P<least>\d{1,4})(?P<range>,(?P<most>\d{0,4}))?\}")
_MANNER = re.compile(r"[?+]")
"""Lazy or possessive."""
_OPENING = re.compile(r"\((?:\?(?:i?:|!|=))?")


class _UnreadableError(Exception):
    """Its text says what is not in the language of this module."""


def pattern_fault(pattern: str) -> str | None:
    """Why a tokenizer may not have this regular expression; None if it may."""
    if len(pattern) > MAX_LENGTH:
        return f"a regular expression of {len(pattern)} characters"
    try:
        _, end = _alternatives(pattern, 0, 0)
    except _UnreadableError as error:
        return f"a regular expression that could take very long ({error})"
    return None if end == len(pattern) else "a regular expression that does not end"


@dataclass(frozen=True)
class _Ways:
    """In how many ways a part of an expression can match at one place."""

    unbounded: int
    """Repetitions without bound, one after the other."""
    bounded: int
    """All other choices, multiplied."""


def _alternatives(pattern: str, start: int, depth: int) -> tuple[_Ways, int]:
    """Reads alternatives up to a closing bracket or the end. Their ways, and where they end."""
    unbounded, bounded, at = 0, 0, start
    if depth > MAX_DEPTH:
        raise _UnreadableError("groups within groups")
    while True:
        ways, end = _sequence(pattern, at, depth)
        if ways.unbounded > 1 and not PAIRS.fullmatch(pattern, at, end):
            raise _UnreadableError("two repetitions in one alternative")
        if ways.bounded > MAX_WAYS:
            raise _UnreadableError("too many choices in one alternative")
        unbounded, bounded = max(unbounded, min(ways.unbounded, 1)), bounded + ways.bounded
        if end == len(pattern) or pattern[end] == ")":
            return _Ways(unbounded, bounded), end
        at = end + 1


def _sequence(pattern: str, start: int, depth: int) -> tuple[_Ways, int]:
    """Reads one alternative. Its ways, and where it ends."""
    unbounded, bounded, at = 0, 1, start
    while at < len(pattern) and pattern[at] not in "|)":
        ways, at = _part(pattern, at, depth)
        unbounded, bounded = unbounded + ways.unbounded, bounded * ways.bounded
    return _Ways(unbounded, bounded), at


def _part(pattern: str, start: int, depth: int) -> tuple[_Ways, int]:
    """Reads a group, or a character or class, with its repetition."""
    opening = _OPENING.match(pattern, start)
    atom = _ATOM.match(pattern, start)
    if opening:
        ways, end = _alternatives(pattern, opening.end(), depth + 1)
        if end == len(pattern):
            raise _UnreadableError("a group without end")
        at = end + 1
    elif atom:
        ways, at = _Ways(0, 1), atom.end()
    else:
        raise _UnreadableError(f"at character {start}")
    count = _COUNT.match(pattern, at)
    if count is None:
        return ways, at
    manner = _MANNER.match(pattern, count.end())
    end = manner.end() if manner else count.end()
    if count[0] == "?":
        return _Ways(ways.unbounded, ways.bounded + 1), end
    if opening:
        raise _UnreadableError("a repeated group")
    least = int(count["least"] or 0)
    most = count["most"] if count["range"] else count["least"]
    if not most or int(most) - least > MAX_COUNT:
        return _Ways(1, 1), end
    return _Ways(0, max(1, int(most) - least + 1)), end
