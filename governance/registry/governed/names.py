"""Names that are governed, and names that only look like them.

A new model has an ASCII slug as its name. Names of older databases, and keys of tags, are compared
as below.

Names are compared as a hurried reader sees them. Case, Unicode compatibility forms, separators,
characters without width, look-alike letters and digits that look like letters make no difference.
No table of look-alikes is complete, so any other letter of another alphabet may stand for anything.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from governance.base.model import SLUG

PLAIN = re.compile(r"[a-z][a-z0-9_-]*")
"""What a governed model and its aliases may be called; always with `fullmatch`, since `$` lets a
newline through.
"""
MAX_LENGTH = 200
LONGEST = 256
"""Characters of any model's name in MLflow's tables. Longer names are not compared: it takes too
long.
"""
TRIAL_MODEL = "countersign-trial"
"""The server tests itself with this name before it listens. It is always governed, without any
policy.
"""
TRIAL_ALIAS = "governed"
LATEST = "latest"

_FOLDED = str.maketrans("01i5|!$@3", "ollsllsae")
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
        """The governed model that this other name looks like; None where there is none."""
        if self.is_governed(model):
            return None
        known = sorted({*self.models, TRIAL_MODEL})
        return next((name for name in known if looks_like(model, name)), None)


def is_plain(name: str) -> bool:
    """Whether a name is lower-case ASCII letters, digits, `_` and `-`, and nothing else at all."""
    return len(name) <= MAX_LENGTH and PLAIN.fullmatch(name) is not None


def is_slug(name: str) -> bool:
    """Whether a new model may have this name: no two such names look alike but for `0` and `o`,
    `_` and `-`, and the like, which `looks_like` compares.
    """
    return re.fullmatch(SLUG, name) is not None


def looks_like(name: str, known: str) -> bool:
    """Whether `name` could be taken for `known`."""
    skeleton, wanted = _skeleton(name), _skeleton(known)
    if _OTHER not in skeleton:
        return skeleton == wanted
    is_mostly_foreign = len(skeleton.replace(_OTHER, "")) * 2 < len(wanted)
    if is_mostly_foreign and len(skeleton) != len(wanted):
        return False
    # not a regular expression: the author of the name could make it take very long
    reached = {0}
    for char in skeleton:
        if char == _OTHER:
            ends = {at + letters for at in reached for letters in (0, 1, 2)}
            reached = {at for at in ends if at <= len(wanted)}
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
_SEPARATORS = frozenset("_-. /:")


def _skeleton(name: str) -> str:
    """The name as it is seen: without invisible characters, marks and separators, and with one
    letter for look-alikes.
    """
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
    text = "".join(_as_seen(char) for char in folded).translate(_FOLDED)
    for pair, letter in _PAIRS:
        text = text.replace(pair, letter)
    return text


def _as_seen(char: str) -> str:
    """The character itself, an ASCII letter that it looks like, or nothing if it is not noticed."""
    category = unicodedata.category(char)
    is_hidden = category in _UNSEEN or category.startswith(("M", "Z", "P"))
    if (is_hidden or char in _SEPARATORS) and ord(char) not in _FOLDED:
        return ""
    return char if char.isascii() else _CONFUSABLE.get(char, _OTHER)


_LOOK_ALIKES = """
аa вb сc ԁd еe ёe һh іi їi јj кk ӏl мm нh оo рp ԛq гr ѕs тt уy үy ѵv ԝw хx з3 пn иu
αa βb εe ηn ιi κk νv οo ρp σo τt υu χx ωw ϲc ϳj
ıi ɩi łl øo đd ħh ɑa ɡg ɪi ʟl ɴn ʀr ꜱs ᴛt ᴜu ᴏo ᴘp ᴅd ᴇe ᴋk ʏy ᴄc
օo ոn սu հh ցg զq ꭰd ꮪs ꮲp
"""
"""Cyrillic, Greek, Latin, Armenian, Cherokee and other letters, each with the ASCII letter it looks
like. These are the common ones. Any other foreign letter may stand for up to two letters.
"""
_CONFUSABLE = {pair[0]: pair[1] for pair in _LOOK_ALIKES.split()}
