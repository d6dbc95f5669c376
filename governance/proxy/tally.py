"""What requests add up to: counts and sums of one version over some time. Pure.

A request ends in one of four ways: it was answered, the server refused it as wrong, it failed, or
its caller left. What an answer says of itself is in `Said`; no text is kept.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Literal

from governance.attest.predicates.monitoring import BOUNDS_MS, Cost, Feedback, Usage
from governance.base.model import Model
from governance.policy.monitoring import Price

End = Literal["answered", "rejected", "failed", "left"]
Rating = Literal["up", "down", "preferred", "not_preferred", "ties"]


@dataclass(frozen=True)
class Said:
    """What could be read of one answer."""

    characters: int = 0
    refused: bool = False
    input: int | None = None
    """Tokens; None where the answer does not state both numbers."""
    output: int | None = None


@dataclass(frozen=True)
class Observed:
    """One request, from its arrival to its end."""

    end: End
    milliseconds: int
    said: Said | None = None
    """None where nothing could be read."""


class Counts(Model):
    """The sums, as they are stored."""

    requests: int = 0
    errors: int = 0
    rejected: int = 0
    left: int = 0
    latency: list[int] = [0] * (len(BOUNDS_MS) + 1)
    latency_sum_ms: int = 0
    stated: int = 0
    input: int = 0
    output: int = 0
    refusals: int = 0
    read: int = 0
    characters: int = 0
    feedback: Feedback = Feedback()


@dataclass
class Tally:
    """The sums, as they grow."""

    counts: dict[str, int] = field(default_factory=dict)
    latency: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))
    ratings: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, counts: Counts) -> Tally:
        """One that goes on from stored sums."""
        plain = counts.model_dump(exclude={"latency", "feedback"})
        return cls(plain, list(counts.latency), counts.feedback.model_dump())

    @property
    def empty(self) -> bool:
        """Whether nothing was counted."""
        return not any(self.counts.values()) and not any(self.ratings.values())

    def add(self, seen: Observed) -> None:
        """Counts a request."""
        self._count("requests")
        if seen.end == "failed":
            self._count("errors")
            return
        if seen.end == "left":
            self._count("left")
            return
        self.latency[bisect_left(BOUNDS_MS, seen.milliseconds)] += 1
        self._count("latency_sum_ms", seen.milliseconds)
        if seen.end == "rejected":
            self._count("rejected")
        elif seen.said is not None:
            self._add_said(seen.said)

    def rate(self, rating: Rating) -> None:
        """Counts what a user said."""
        self.ratings[rating] = self.ratings.get(rating, 0) + 1

    def _add_said(self, said: Said) -> None:
        self._count("read")
        self._count("characters", said.characters)
        self._count("refusals", int(said.refused))
        if said.input is not None and said.output is not None:
            self._count("stated")
            self._count("input", said.input)
            self._count("output", said.output)

    def _count(self, name: str, by: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + by

    def frozen(self) -> Counts:
        """The sums of this moment."""
        return Counts.model_validate(
            {**self.counts, "latency": list(self.latency), "feedback": dict(self.ratings)}
        )


def usage(counts: Counts) -> Usage:
    """The tokens of these sums."""
    return Usage(answers=counts.stated, input=counts.input, output=counts.output)


def cost(tokens: Usage, price: Price | None, currency: str | None) -> Cost | None:
    """What tokens cost; None without a price. A price for a million tokens is one of a token in
    millionths.
    """
    if price is None or currency is None:
        return None
    millionths = round(tokens.input * price.input + tokens.output * price.output)
    return Cost(currency=currency, millionths=millionths)
