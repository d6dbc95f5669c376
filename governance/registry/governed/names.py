"""Names that are governed, and names that only look like it.

A name is compared as it would be read: Unicode compatibility forms, case, letters of other
alphabets, digits that stand for letters, separators and characters without width make no difference
to a hurried reader, so they make none here. A letter of another alphabet may stand for anything: no
table of look-alikes is complete.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

PLAIN = re.compile(r"[a-z][a-z0-9_-]*")
"""What a governed model and its aliases may be called; always with `fullmatch`, since `$` lets a
newline through.
"""
MAX_LENGTH = 200
LONGEST = 256
"""Characters of any model's name, as MLflow's tables have it; comparing longer ones takes
everybody's time.
"""
TRIAL_MODEL = "countersign-trial"
"""The model with which a server tries itself before it serves: governed always, and by nobody's
policy.
"""
TRIAL_ALIAS = "governed"
LATEST = "latest"

_FOLDED = str.maketrans(
    {"0": "o", "1": "l", "i": "l", "5": "s", "|": "l", "!": "l", "$": "s", "@": "a", "3": "e"}
)
_PAIRS = (("rn", "m"), ("vv", "w"), ("cl", "d"))
_OTHER = "\x00"
"""Stands for a character of another alphabet."""


@dataclass(frozen=True)
class Names:
    """The governed models and aliases, at one moment."""

    models: frozenset[str]
    """By policy in force, or because the log has a version of them."""
    aliases: frozenset[str]
    """The aliases that serve users; `candidate` is not among them."""

    def is_governed(self, model: str) -> bool:
        """Whether the rules hold for this model."""
        return model in self.models or model == TRIAL_MODEL

    def resembles(self, model: str) -> str | None:
        """The governed model that this name is not, and could be taken for."""
        if self.is_governed(model):
            return None
        for governed in sorted({*self.models, TRIAL_MODEL}):
            if looks_like(model, governed):
                return governed
        return None


def is_plain(name: str) -> bool:
    """Whether a name is lower-case ASCII letters, digits, `_` and `-`, and nothing else at all."""
    return len(name) <= MAX_LENGTH and PLAIN.fullmatch(name) is not None


def has_hidden(name: str) -> bool:
    """Whether a name holds what nobody sees: controls, characters without width, space around
    it.
    """
    return name != name.strip() or any(unicodedata.category(char) in _UNSEEN for char in name)


def looks_like(name: str, known: str) -> bool:
    """Whether `name` could be taken for `known`."""
    skeleton, wanted = _skeleton(name), _skeleton(known)
    if _OTHER not in skeleton:
        return skeleton == wanted
    if len(skeleton.replace(_OTHER, "")) * 2 < len(wanted) and not _is_foreign(name, known):
        return False
    reached = {0}
    for char in (
        skeleton
    ):  # no regular expression: whoever chooses the name chooses how long one would take
        if char == _OTHER:
            reached = {
                at + letters
                for at in reached
                for letters in (0, 1, 2)
                if at + letters <= len(wanted)
            }
        else:
            reached = {at + 1 for at in reached if wanted[at : at + 1] == char}
    return len(wanted) in reached


def begins_with(key: str, prefixes: Iterable[str]) -> bool:
    """Whether a tag's key begins, as it is read, with one of these prefixes."""
    start = unicodedata.normalize("NFKC", key[: 4 * LONGEST])  # MLflow takes none as long as this
    seen = "".join(char for char in start if unicodedata.category(char) not in _UNSEEN)
    plain = seen.casefold().strip()
    return any(looks_like(plain[: len(prefix)], prefix) for prefix in prefixes)


_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MARKS = frozenset({"Mn", "Me", "Mc"})
_SEPARATORS = frozenset("_-. /:")


def _skeleton(name: str) -> str:
    """The name as it is read: unseen characters, marks and separators gone, look-alike letters made
    one.
    """
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
    kept = "".join(_visible(char) for char in folded if not _is_gone(char))
    text = kept.translate(_FOLDED)
    for pair, letter in _PAIRS:
        text = text.replace(pair, letter)
    return text


def _is_gone(char: str) -> bool:
    category = unicodedata.category(char)
    if ord(char) in _FOLDED:
        return False
    return (
        char in _SEPARATORS
        or category in _UNSEEN
        or category in _MARKS
        or category.startswith(("Z", "P"))
    )


def _visible(char: str) -> str:
    return char if char.isascii() else _CONFUSABLE.get(char, _OTHER)


def _is_foreign(name: str, known: str) -> bool:
    """Whether a name mostly of another alphabet has the length of the known one: then it is taken
    for a likeness.
    """
    return len(_skeleton(name)) == len(_skeleton(known))


_CONFUSABLE = {
    # Cyrillic
    "а": "a",
    "в": "b",
    "с": "c",
    "ԁ": "d",
    "е": "e",
    "ё": "e",
    "һ": "h",
    "і": "i",
    "ї": "i",
    "ј": "j",
    "к": "k",
    "ӏ": "l",
    "м": "m",
    "н": "h",
    "о": "o",
    "р": "p",
    "ԛ": "q",
    "г": "r",
    "ѕ": "s",
    "т": "t",
    "у": "y",
    "ү": "y",
    "ѵ": "v",
    "ԝ": "w",
    "х": "x",
    "з": "3",
    "п": "n",
    "и": "u",
    # Greek
    "α": "a",
    "β": "b",
    "ε": "e",
    "η": "n",
    "ι": "i",
    "κ": "k",
    "ν": "v",
    "ο": "o",
    "ρ": "p",
    "σ": "o",
    "τ": "t",
    "υ": "u",
    "χ": "x",
    "ω": "w",
    "ϲ": "c",
    "ϳ": "j",
    # Latin beyond ASCII, which no normalization takes apart
    "ı": "i",
    "ɩ": "i",
    "ł": "l",
    "ø": "o",
    "đ": "d",
    "ħ": "h",
    "ɑ": "a",
    "ɡ": "g",
    "ɪ": "i",
    "ʟ": "l",
    "ɴ": "n",
    "ʀ": "r",
    "ꜱ": "s",
    "ᴛ": "t",
    "ᴜ": "u",
    "ᴏ": "o",
    "ᴘ": "p",
    "ᴅ": "d",
    "ᴇ": "e",
    "ᴋ": "k",
    "ʏ": "y",
    "ᴄ": "c",
    # Armenian, Cherokee and signs
    "օ": "o",
    "ո": "n",
    "ս": "u",
    "հ": "h",
    "ց": "g",
    "զ": "q",
    "ꭰ": "d",
    "ꮪ": "s",
    "ꮲ": "p",
}
"""Letters that look like ASCII ones, the common ones: any other foreign letter may stand for up to
two letters.
"""
