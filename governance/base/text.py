"""Text for pages and terminals: safe to show, with short and exact figures."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that are not seen, or change how what follows is seen: control, format (bidi
marks, zero width), surrogates, private use, unassigned, line and paragraph separators.
"""
KEPT = "\n"


MARKS = re.compile(r"[^\x00-\u02ff]{4,}")
"""A cheap first test: only such a run can hold too many combining marks."""
MAX_MARKS = 3
"""The most combining marks that a letter needs in any language. More would cover other lines."""


def visible(text: str) -> str:
    """`text` with every character that could hide, reorder or paint over something shown as its
    code point.
    """
    if text.isascii() and text.isprintable():
        return text
    shown = (
        _code(char) if unicodedata.category(char) in HIDDEN and char not in KEPT else char
        for char in text
    )
    return MARKS.sub(lambda match: _spread(match[0]), "".join(shown))


def _spread(text: str) -> str:
    """Shows surplus combining marks as code points."""
    marks_in_row, shown = 0, []
    for char in text:
        marks_in_row = marks_in_row + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
        shown.append(char if marks_in_row <= MAX_MARKS else _code(char))
    return "".join(shown)


def _code(char: str) -> str:
    return f"⟨U+{ord(char):04X}⟩"


def brief(text: str, room: int) -> str:
    """`visible`, cut to `room` characters; a cut text says how many are missing."""
    shown = visible(text)
    return shown if len(shown) <= room else f"{shown[:room].rstrip()}… ({len(shown) - room:,} more)"


def one_line(text: str) -> str:
    """`visible`, on one line, so that quoted text cannot begin a line of its own."""
    return visible(text).replace("\n", "⟨U+000A⟩")


def number(value: Any) -> str:
    """A figure for reading: at most four significant digits, thousands apart. Text stays as it is;
    None becomes `none`.
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if value and (abs(value) < 0.001 or abs(value) >= 1e7):
            return f"{value:.3g}"
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def share(value: float | None) -> str:
    """A score with three decimals."""
    return "none" if value is None else f"{value:.3f}"


def signed(value: float | None) -> str:
    """A difference with its sign."""
    return "none" if value is None else f"{value:+.3f}".replace("-", "−")


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    if seconds < 6000:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def moment(instant: str) -> str:
    """An RFC 3339 instant in UTC, to the second; anything else as it is."""
    day, separator, clock = instant.partition("T")
    return f"{day} {clock[:8]} UTC" if separator and instant.endswith("Z") else instant


def timed(text: str) -> str:
    """A text in which every RFC 3339 instant reads as `moment` has it."""
    return _INSTANT.sub(lambda match: moment(match[0]), text)


_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?Z")


def size(count: int) -> str:
    """Bytes in the unit that reads best."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def short(digest: str) -> str:
    """The first twelve characters of a digest."""
    return digest[:12]


def plain(value: Any) -> str:
    """A parameter's value in one line."""
    if isinstance(value, dict):
        return (
            ", ".join(f"{name} {plain(member)}" for name, member in sorted(value.items())) or "none"
        )
    if isinstance(value, list):
        return ", ".join(plain(member) for member in value) or "none"
    return number(value) if not isinstance(value, str) else value or "empty"


def renewed(times: int) -> str:
    """How often a waiver was given anew, in words."""
    return {0: "never renewed", 1: "renewed once"}.get(times, f"renewed {times} times")


def words(items: list[str], none: str = "none") -> str:
    """A list in one line, or the word for an empty one."""
    return ", ".join(items) if items else none
