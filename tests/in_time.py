"""CI ends in time, whatever is added to the tests and however slow its machine is.

1. From the moment `TESTS_END` (seconds since 1970; none if absent) on, no test marked `slow` begins.
   It is skipped, and the run says how many were. `make nightly` has no end.
2. Modules run in turns: with each `TESTS_TURN` (the day), others come last, and after a week the
   same ones again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

LEFT_OUT = "no time is left for slow tests in this run"
TURNS = 7

Item = TypeVar("Item")


@dataclass(frozen=True)
class Schedule:
    """What a run may still begin, and what it begins with."""

    end: float = float("inf")
    turn: int = 0

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        end, turn = environ.get("TESTS_END", "inf"), environ.get("TESTS_TURN", "0")
        return cls(float(end), int(turn))

    def leaves_out(self, *, slow: bool, now: float) -> bool:
        """(1)"""
        return slow and now >= self.end

    def order(self, modules: Sequence[Item]) -> list[Item]:
        """(2)"""
        start = self.turn % TURNS * len(modules) // TURNS
        return [*modules[start:], *modules[:start]]
