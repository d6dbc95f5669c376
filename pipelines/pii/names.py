"""Finds names of people by a list of frequent names and by titles.

Low assurance, and labelled so in every report: a name is not found if it is not in `names.txt` and
has no title before it. `docs/pii.md` has the measured recall.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("names.txt")

TITLED, FULL, GIVEN = 0.8, 0.7, 0.45
"""Scores: after a title; a known given name with a known family name; a known given name alone."""

MAX_WORDS = 4
"""A name has at most this many words."""


@cache
def _lists() -> dict[str, frozenset[str]]:
    """Section of `names.txt` to its names."""
    sections: dict[str, set[str]] = {}
    current: set[str] = set()
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            current = sections.setdefault(line.strip("[]"), set())
        elif not line.startswith("#"):
            current.update(line.split())
    return {name: frozenset(names) for name, names in sections.items()}


def titles() -> frozenset[str]:
    """Words that a name follows, lower-cased."""
    return _lists()["titles"]


@cache
def _beginnings() -> frozenset[str]:
    """A text has a name only where one of these is a word or the beginning of one."""
    lists = _lists()
    titles = {title.split("-")[0] for title in lists["titles"]}
    return lists["given"] | lists["ambiguous"] | titles


@cache
def _word() -> Any:
    import regex

    return regex.compile(r"\p{Lu}[\p{L}\p{M}]*(?:['’-]\p{L}[\p{L}\p{M}]*)*")


def find(text: str) -> Iterator[tuple[int, int, float]]:
    """(start, end, score) of every name in `text`, without titles, in order, without overlaps."""
    lists = _lists()
    words = [
        (match.start(), match.end(), match.group().casefold()) for match in _word().finditer(text)
    ]
    if _beginnings().isdisjoint(word.split("-")[0] for _, _, word in words):
        return
    at = 0
    while at < len(words):
        titled = words[at][2] in lists["titles"]
        first = at + titled
        last = _extent(text, words, first, words[at][1] if titled else None)
        score = _score(words, first, last, lists, titled)
        if score:
            yield words[first][0], words[last - 1][1], score
        at = max(last, at + 1) if score else at + 1


def _extent(text: str, words: list[tuple[int, int, str]], first: int, after: int | None) -> int:
    """Index after the last of the consecutive capitalised words that begin at `first`."""
    last, previous, skipped = first, after, _lists()["not_names"]
    while last < len(words) and last - first < MAX_WORDS and words[last][2] not in skipped:
        start, end, _ = words[last]
        between = " " if previous is None else text[previous:start]
        if between == ". " and last > first and len(words[last - 1][2]) > 1:
            break  # the end of a sentence, unless an initial stands before it
        if between not in (" ", ". ", "\u00a0"):
            break
        previous = end
        last += 1
    return last


def _score(
    words: list[tuple[int, int, str]],
    first: int,
    last: int,
    lists: dict[str, frozenset[str]],
    titled: bool,
) -> float:
    if first == last:
        return 0.0
    if titled:
        return TITLED
    given = words[first][2].split("-")[0]
    family = any(
        name in lists["family"]
        for _, _, word in words[first + 1 : last]
        for name in word.split("-")
    )
    if given in lists["given"]:
        return FULL if family else GIVEN
    return FULL if given in lists["ambiguous"] and family else 0.0
