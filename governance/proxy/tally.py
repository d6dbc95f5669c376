"""What requests add up to: counts and sums of one version over some time. Pure.

A request ends in one of four ways: it was answered, the server refused it as wrong, it failed, or
its caller left. What an answer says of itself is in `Said`, and what a search of it found is in
`Finds`; no text is kept.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from governance.attest.predicates.monitoring import (
    BOUNDS_MS,
    LENGTHS,
    Compared,
    Cost,
    Feedback,
    Searched,
    Usage,
)
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
    request_bytes: int = 0
    """The length of its body."""


@dataclass(frozen=True)
class Finds:
    """What the search of one answer found."""

    entities: Mapping[str, int]
    """Findings by type."""
    holds: bool
    """Whether one of them may not stay."""
    language: str


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
    request_bytes: list[int] = []
    answer_characters: list[int] = []
    compared: list[Compared] = []
    searched: Searched = Searched()


@dataclass
class Tally:
    """The sums, as they grow."""

    counts: dict[str, int] = field(default_factory=dict)
    latency: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))
    ratings: dict[str, int] = field(default_factory=dict)
    request_bytes: list[int] = field(default_factory=lambda: [0] * (len(LENGTHS) + 1))
    answer_characters: list[int] = field(default_factory=lambda: [0] * (len(LENGTHS) + 1))
    compared: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    """By version and digest of the other one."""
    searched: Counter[str] = field(default_factory=Counter)
    entities: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)

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
            return
        self.request_bytes[bisect_left(LENGTHS, seen.request_bytes)] += 1
        if seen.said is not None:
            self._add_said(seen.said)

    def rate(self, rating: Rating, other: tuple[str, str] | None = None) -> None:
        """Counts what a user said. `other`: version and digest with which it was compared."""
        self.ratings[rating] = self.ratings.get(rating, 0) + 1
        if other is not None:
            self.compared.setdefault(other, Counter())[rating] += 1

    def search(self, found: Finds | None) -> None:
        """Counts an answer of the sample; None: it was not searched."""
        if found is None:
            self.searched["left"] += 1
            return
        self.searched["answers"] += 1
        self.searched["holding"] += found.holds
        self.entities.update(found.entities)
        self.languages[found.language] += 1

    def _add_said(self, said: Said) -> None:
        self._count("read")
        self._count("characters", said.characters)
        self.answer_characters[bisect_left(LENGTHS, said.characters)] += 1
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
            {
                **self.counts,
                "latency": list(self.latency),
                "feedback": dict(self.ratings),
                "request_bytes": _counted(self.request_bytes),
                "answer_characters": _counted(self.answer_characters),
                "compared": [
                    {"version": version, "sha256": digest, **ratings}
                    for (version, digest), ratings in sorted(self.compared.items())
                ],
                "searched": {
                    **self.searched,
                    "entities": dict(sorted(self.entities.items())),
                    "languages": dict(sorted(self.languages.items())),
                },
            }
        )


def _counted(histogram: list[int]) -> list[int]:
    """A copy; empty where nothing was counted."""
    return list(histogram) if any(histogram) else []


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
