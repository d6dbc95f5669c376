"""Asks a judge about labelled pairs and probes, each in both orders, and counts.

1. A decision on a pair is the answer that the judge chose in both orders; else there is none.
2. Probes are made of the first pairs on which people agree. `follows_user`, `instruction` and
   `repetition` ask whether something changes a right decision, so they are made of pairs that the
   judge decides as people did.
3. `own_family` compares errors: how often the judge chose the answer of its own family where people
   preferred the other one, and the reverse.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from governance.attest.predicates import JudgeFigures, OwnFamily, Tried
from governance.attest.predicates.judging import Measure
from governance.gates.judging import OF_RIGHT_ONES
from governance.policy.constitution import Constitution
from pipelines.generation.speakers import Judge, Messages
from pipelines.judge_check.agreement import agreement
from pipelines.judge_check.labelled import Pair
from pipelines.judge_check.probes import PROBES
from pipelines.judging.asking import (
    FIRST,
    TIE,
    Both,
    comparison,
    decision,
    in_both_orders,
    unreadable,
)


@dataclass(frozen=True)
class Measured:
    """What was measured of a judge."""

    figures: JudgeFigures
    decisions: dict[str, int]
    """Record id to the decision on the pair."""


@dataclass(frozen=True)
class Check:
    """A judge, and what it compares by."""

    judge: Judge
    constitution: Constitution
    probes: int
    """At most so many pairs are tried with each probe."""

    def run(self, pairs: Sequence[Pair], own_first: Sequence[bool | None]) -> Measured:
        """`own_first`: for each pair whether the first answer alone is by the judge's own family;
        False if the second one alone is, None if neither or both are.
        """
        shown = [(pair.id, pair.messages, pair.first, pair.second) for pair in pairs]
        verdicts = self._both(shown, "labelled")
        decisions = [decision(both) for both in verdicts]
        orders = Tried(
            items=len(pairs),
            won=sum(chosen != TIE for chosen in decisions),
            once=0,
            unreadable=_unreadable(verdicts),
        )
        figures = JudgeFigures(
            agreement=agreement(pairs, decisions),
            orders=orders,
            measures=self._measures(pairs, decisions),
            own_family=_own_family(pairs, decisions, own_first),
        )
        return Measured(
            figures,
            {pair.id: chosen for pair, chosen in zip(pairs, decisions, strict=True)},
        )

    def _measures(self, pairs: Sequence[Pair], decisions: Sequence[int]) -> dict[Measure, Tried]:
        """(2)"""
        agreed = [
            (pair, chosen == pair.people)
            for pair, chosen in zip(pairs, decisions, strict=True)
            if pair.people != TIE
        ]
        measures: dict[Measure, Tried] = {}
        for name, probe in PROBES.items():
            fit = [pair for pair, is_right in agreed if is_right or name not in OF_RIGHT_ONES]
            made = [(pair.id, *probe(pair)) for pair in fit[: self.probes]]
            measures[name] = _tried(self._both(made, name))
        return measures

    def _both(self, shown: Sequence[tuple[str, Messages, str, str]], purpose: str) -> list[Both]:
        """The verdicts on the first of two answers, in both orders."""
        pairs = [comparison(self.constitution, *each) for each in shown]
        return in_both_orders(self.judge, pairs, purpose)


def questions(pairs: int, probes: int) -> int:
    """At most how many comparisons a check asks for."""
    return 2 * (pairs + len(PROBES) * min(pairs, probes))


def _tried(verdicts: Iterable[Both]) -> Tried:
    verdicts = [*verdicts]
    chosen = [sum(verdict is True for verdict in both) for both in verdicts]
    return Tried(
        items=len(verdicts),
        won=chosen.count(2),
        once=chosen.count(1),
        unreadable=_unreadable(verdicts),
    )


def _unreadable(verdicts: Iterable[Both]) -> int:
    return sum(unreadable(both) is not None for both in verdicts)


def _own_family(
    pairs: Sequence[Pair], decisions: Sequence[int], own_first: Sequence[bool | None]
) -> OwnFamily | None:
    """(3)"""
    errors: dict[bool, list[bool]] = {True: [], False: []}
    for pair, chosen, own in zip(pairs, decisions, own_first, strict=True):
        if own is not None and pair.people != TIE:
            is_own_preferred = (pair.people == FIRST) == own
            errors[is_own_preferred].append(chosen not in (TIE, pair.people))
    if not (errors[True] or errors[False]):
        return None
    sides = {
        side: Tried(items=len(found), won=sum(found), once=0) for side, found in errors.items()
    }
    return OwnFamily(people_prefer_other=sides[False], people_prefer_own=sides[True])
