"""Names of fields and files that may stand in reports, records and signed statements: others may
hold personal data, and so may their digests.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.pii.tagger.model import Tagger

PLAIN = re.compile(r"[\w .:/\[\]-]{1,64}")
MANY_DIGITS = 9
"""A name with this many digits may be a number of a person: a card, an account, a telephone."""

ODD = "(odd name)"


def plain_name(name: object) -> str:
    """A field name that is safe in a report."""
    if not isinstance(name, str) or not PLAIN.fullmatch(name):
        return ODD
    many = sum(map(str.isdigit, name)) >= MANY_DIGITS
    return ODD if many or _names_a_person(name) else name


def plain_file(name: str, number: int) -> str:
    """The name of a source's file for its records: its number in the source where the name may hold
    an address, a number or the name of a person.
    """
    ending = re.search(r"\.\w{1,10}$", name)
    stem = name[: ending.start()] if ending else name
    many = re.search(rf"(?:\d[ .+-]*){{{MANY_DIGITS}}}", stem)
    if "@" in stem or many or _names_a_person(stem):
        return f"file {number}{ending.group() if ending else ''}"
    return name


@cache
def _names_a_person(name: str) -> bool:
    """By the list of frequent names; the tagger reads what has capitals."""
    from pipelines.pii import names

    words = [word.capitalize() for word in re.split(r"[\W\d_]+", name) if word]
    if len(words) > 1 and any(True for _ in names.find(" ".join(words))):
        return True
    return bool(re.search(r"[A-Z][a-z]+[\W_]+[A-Z]", name)) and _is_tagged(name)


def _is_tagged(name: str) -> bool:
    spaced = re.sub(r"[\W_]+", " ", name)
    return any(entity == "PERSON" for _, _, entity, _ in _tagger().find(spaced))


@cache
def _tagger() -> Tagger:
    from pipelines.pii.tagger.model import Tagger

    return Tagger()
