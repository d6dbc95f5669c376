"""Which names are one person. A new name for the same key is the same person."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from governance.policy.authority import Authority


def one_each(rights: Authority, names: Iterable[str]) -> set[str]:
    """One name for each person, whatever names policies gave their keys over time."""
    return {min(rights.also_called.get(name, (name,))) for name in names}


def others(rights: Authority, names: Iterable[str], *besides: str) -> list[str]:
    """The names of people other than `besides`."""
    excluded = one_each(rights, besides)
    return [name for name in names if not one_each(rights, {name}) & excluded]
