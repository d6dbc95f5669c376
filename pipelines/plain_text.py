"""The forms in which texts and values are compared with each other.

1. A text is a whole text of a record: a message, an answer, an argument of a tool. Case, width of
   characters (NFKC) and white space do not matter.
2. A subject is a value such as an address, a name or a number. Case, width and what separates its
   words do not matter; in a value without letters, only its digits do.
"""

from __future__ import annotations

import re
import unicodedata

WORD = re.compile(r"[^\W_]+")


def folded(text: str) -> str:
    """Without differences of case and width."""
    return unicodedata.normalize("NFKC", text).casefold()


def plain_text(text: str) -> str:
    """(1)"""
    return " ".join(folded(text).split())


def plain_subject(value: str) -> str:
    """(2) Empty for a value without letters and digits."""
    words = WORD.findall(folded(value))
    return (" " if any(map(has_letter, words)) else "").join(words)


def has_letter(word: str) -> bool:
    """Whether a word is more than a number."""
    return any(character.isalpha() for character in word)
