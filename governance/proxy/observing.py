"""What the proxy observes of each version: sums since its start, windows, and what users say.

1. Sums and windows are made from the same requests. Windows are there only where policy has the
   part `monitoring`.
2. A user rates an answer by its id, once, or a version. Ids are kept in memory, `MOST_ANSWERS` of
   them, until they are rated. No text is accepted.
3. A sample of the answers is searched elsewhere (`searching`). Only counts come back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, Self

from pydantic import Field, model_validator

from governance.base.model import Model
from governance.proxy.permission import Canary, Held
from governance.proxy.rolling import RolloutWindows
from governance.proxy.tally import Finds, Observed, Rating, Tally
from governance.proxy.windows import Windows

MOST_ANSWERS = 20_000
Name = str
"""Of an answer or a version."""


class Feedback(Model):
    """What a user says: a rating of one answer or version, or a comparison of two."""

    response: Name | None = Field(None, min_length=1, max_length=200)
    version: Name | None = Field(None, min_length=1, max_length=200)
    rating: Literal["up", "down"] | None = None
    preferred: Name | None = Field(None, min_length=1, max_length=200)
    over: Name | None = Field(None, min_length=1, max_length=200)
    tie: tuple[Name, Name] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        rated = (self.response is None) != (self.version is None) and self.rating is not None
        compared = self.preferred is not None and self.over is not None
        given = {name for name in self.model_fields_set if getattr(self, name) is not None}
        forms = ({"response", "rating"}, {"version", "rating"}, {"preferred", "over"}, {"tie"})
        if given not in forms or not (rated or compared or self.tie is not None):
            raise ValueError("neither a rating nor a comparison")
        return self


class Sample(Protocol):
    """The sample of the answers that is searched."""

    @property
    def most(self) -> int:
        """Characters of the longest answer that is searched."""
        ...

    def takes(self) -> bool:
        """Whether the answer that begins is in the sample."""
        ...

    def offer(self, held: Held, text: str) -> bool:
        """An answer of the sample; whether it will be searched. Does not wait."""
        ...


class UnknownError(Exception):
    """No answer or version of this name is known, or it was rated already."""


@dataclass
class Observer:
    """See the module's docstring."""

    clock: Callable[[], datetime]
    windows: Windows | None = None
    rolling: RolloutWindows | None = None
    """Where this proxy records what it observes of rollouts."""
    search: Sample | None = None
    """Where policy has a sample of the answers searched."""
    sums: dict[str, tuple[Held, Tally]] = field(default_factory=dict)
    """By digest, since the start."""
    refused: dict[str, int] = field(default_factory=dict)
    """Requests that no version answered, by code."""
    copies: dict[str, int] = field(default_factory=lambda: {"sent": 0, "dropped": 0})
    """Requests of shadow rollouts, since the start: copied, or not copied for want of room."""
    _answers: OrderedDict[str, Held] = field(default_factory=OrderedDict)

    def finished(
        self, held: Held, seen: Observed, answer: str = "", split: tuple[Canary, str] | None = None
    ) -> None:
        """(1) A request ended. `answer`: its id. `split`: the rollout under which it began, and the
        hash of its caller.
        """
        self._sum(held).add(seen)
        if self.windows is not None:
            self.windows.add(held, seen, self.clock())
        if self.rolling is not None and split is not None:
            canary, caller = split
            self.rolling.add(canary, held, caller, seen)
        if answer and seen.end == "answered":
            self._answers[answer] = held
            if len(self._answers) > MOST_ANSWERS:
                self._answers.popitem(last=False)

    def refuse(self, code: str) -> None:
        """A request that no version answered."""
        self.refused[code] = self.refused.get(code, 0) + 1

    def rate(self, body: bytes, versions: Iterable[Held]) -> list[Held]:
        """(2) Counts what a user says; what it was about. Raises pydantic's
        `ValidationError`, and `UnknownError`.
        """
        said = Feedback.model_validate_json(body)
        helds = [*(held for held, _ in self.sums.values()), *versions]
        known = {name: held for held in helds for name in (held.version, held.name)}
        ratings: list[tuple[str, Rating]]
        if said.rating is not None:
            ratings = [(said.response or said.version or "", said.rating)]
        elif said.tie is not None:
            ratings = [(name, "ties") for name in said.tie]
        else:
            ratings = [(said.preferred or "", "preferred"), (said.over or "", "not_preferred")]
        rated = [(self._named(name, known, said), rating) for name, rating in ratings]
        if len({held.digest for held, _ in rated}) < len(rated):
            raise UnknownError  # a comparison of a version with itself
        for name, _ in ratings:
            self._answers.pop(name, None)
        sides = [held for held, _ in rated]
        others = reversed(sides) if len(sides) > 1 else [None]
        for (held, rating), other in zip(rated, others, strict=True):
            self._sum(held).rate(rating)
            if self.windows is not None:
                self.windows.rate(held, rating, other, self.clock())
        return sides

    def held_text(self) -> int:
        """How many characters of the text of the answer that begins are held; 0: none."""
        return self.search.most if self.search is not None and self.search.takes() else 0

    def offer(self, held: Held, text: str | None) -> None:
        """(3) An answer of the sample; None: it was too long to be held."""
        if self.search is None or text is None or not self.search.offer(held, text):
            self.searched(held, None)

    def searched(self, held: Held, found: Finds | None) -> None:
        """The search of an answer ended; None: it was not searched."""
        self._sum(held).search(found)
        if self.windows is not None:
            self.windows.search(held, found, self.clock())

    def _named(self, name: str, known: dict[str, Held], said: Feedback) -> Held:
        found = self._answers.get(name) if said.version is None else None
        if found is None and said.response is None:
            found = known.get(name)
        if found is None:
            raise UnknownError
        return found

    def _sum(self, held: Held) -> Tally:
        return self.sums.setdefault(held.digest, (held, Tally()))[1]
