"""Which names are one person: a new name for the same key makes nobody two people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from governance.policy.authority import Authority


def one_each(rights: Authority, names: Iterable[str]) -> set[str]:
    """Each person by one name, whatever names policies gave their keys over time."""
    return {min(rights.also_called.get(name, (name,))) for name in names}


def others(rights: Authority, names: Iterable[str], *than: str) -> list[str]:
    """The names of people who are none of `than`."""
    known = one_each(rights, than)
    return [name for name in names if not one_each(rights, {name}) & known]
