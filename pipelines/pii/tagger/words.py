"""The words of a text, and what the tagger sees of each word by itself.

1. A word is letters (with inner hyphens and apostrophes), digits, or one other sign, with the white
   space before it. The words of a text joined again give the text.
2. The features of a word depend on the word, its white space and the lists alone. So the tagger
   computes them once per different word.
3. Only a candidate can be part of a name: a word with a capital, or one in lower case that the
   lists do not call common. Other words have two features; this makes the tagger fast.
"""

from __future__ import annotations

import re
import zlib

WORD = re.compile(r"\s*(?:[^\W\d_]+(?:[-'’](?!s\b)[^\W\d_]+)*|\d+|\S)|\s+$")

KINDS = ("", "PERSON", "LOCATION", "ORGANIZATION")
"""The tagger's labels, by number. The first: no name."""

BUCKETS = 1 << 15
"""Rows of weights. Different features may share one."""

COMMON = 1
"""Bit of the lists: a frequent word in lower case."""

LIST_BITS = 16
GRAMS = 12
"""At most this many groups of three letters per word are features."""


def words(text: str) -> list[str]:
    """The words of `text`."""
    return WORD.findall(text)


def key(word: str) -> int:
    """The number under which the lists have a word."""
    return zlib.crc32(_bytes(word.lstrip().lower()))


def is_candidate(word: str, known: int) -> bool:
    """Whether a word can be part of a name. `known`: what the lists say of it, in bits."""
    bare = word.lstrip()
    if not bare[:1].isalpha():
        return False
    if bare != bare.lower():
        return True
    return bare.islower() and len(bare) > 2 and not known & COMMON


def features(word: str, known: int) -> list[int]:
    """The features of a word, as rows of weights."""
    bare = word.lstrip()
    lower = bare.lower()
    names = [f"word {lower}", f"shape {_space(word, bare)} {_shape(bare)}"]
    if is_candidate(word, known):
        ends = f"^{lower}$"
        names.append(f"known {known}")
        names += [f"list {bit}" for bit in range(LIST_BITS) if known >> bit & 1]
        names += [f"begins {ends[:size]}" for size in (2, 3, 4)]
        names += [f"ends {ends[-size:]}" for size in (2, 3, 4)]
        names += [f"has {ends[at : at + 3]}" for at in range(len(ends) - 2)][:GRAMS]
        names += [f"part {part}" for part in re.split("[-'’]", lower)[:3]]
    return [zlib.crc32(_bytes(name)) % BUCKETS for name in names]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _space(word: str, bare: str) -> str:
    if len(word) == len(bare):
        return "none"
    return "line" if "\n" in word[: len(word) - len(bare)] else "space"


def _shape(bare: str) -> str:
    if bare.isdigit():
        return f"{min(len(bare), 5)} digits"
    if not bare[:1].isalpha():
        return bare
    if bare == bare.lower():
        return "x"
    if bare == bare.upper():
        return "X" if len(bare) == 1 else "XX" if len(bare) < 5 else "XXXXX"
    if bare[0] == bare[0].upper():
        return "Xx" if bare[1:] == bare[1:].lower() else "XxX"
    return "xX"
