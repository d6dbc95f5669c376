"""Asks a judge about pairs of answers in both orders.

A judge may prefer whatever stands first. So each pair is shown twice, and only what is chosen in
both orders is a decision.
"""

from __future__ import annotations

from collections.abc import Sequence

from governance.policy.constitution import Constitution
from pipelines.generation.speakers import Comparison, Judge, Messages, Verdict

TIE, FIRST, SECOND = 0, 1, 2
"""A decision on a pair: neither answer, the first, the second."""

Both = tuple[Verdict, Verdict]
"""Whether the answer that is counted was chosen: where it stood first, and where it stood
second.
"""


def in_both_orders(judge: Judge, pairs: Sequence[Comparison], purpose: str) -> list[Both]:
    """The verdicts on the first answer of each pair."""
    swapped = [pair._replace(first=pair.second, second=pair.first) for pair in pairs]
    given = judge.compare(pairs, purpose)
    turned = judge.compare(swapped, f"swapped {purpose}")
    return [
        (one, other if isinstance(other, str) else not other)
        for one, other in zip(given, turned, strict=True)
    ]


def decision(both: Both) -> int:
    """The answer that was chosen in both orders; `TIE` where none was."""
    if both == (True, True):
        return FIRST
    return SECOND if both == (False, False) else TIE


def unreadable(both: Both) -> str | None:
    """Why one of the verdicts is not known; None where both are."""
    return next((verdict for verdict in both if isinstance(verdict, str)), None)


def comparison(
    constitution: Constitution, record: str, messages: Messages, first: str, second: str
) -> Comparison:
    """Two answers to the conversation of a record, by the principle that follows from its id."""
    principles = constitution.principles
    principle = principles[int(record[-8:], 16) % len(principles)]
    return Comparison(record, principle.text, messages, first, second)
