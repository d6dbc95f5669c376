"""Requests to the support desk that it refuses, and look-alikes that it answers: safety tuning's
sample data.

A look-alike shares its words with a harmful request and asks for nothing harmful ("How do I kill
the update on my router?"), after XSTest (Röttger et al. 2024, arXiv:2308.01263).
`desk_safety.yaml` has the vocabulary.

1. The words of what is asked for (`kill`) occur in harmful and harmless requests alike, so they
   alone decide nothing.
2. Held-out requests have words, people, property, wordings and orders of sentences of their own,
   and the held-out pairs of product and issue.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

from governance.base.yaml import read_yaml
from pipelines import desk
from pipelines.desk import Case, pick

_VOCABULARY: dict[str, Any] = read_yaml(Path(__file__).with_name("desk_safety.yaml"))


@dataclass(frozen=True)
class Word:
    """What is asked for: a word that has a harmful and a harmless sense."""

    text: str
    harm: str
    """The harm that it can do."""
    to_person: bool
    """Whether it is done to somebody, or to what somebody owns."""
    things: tuple[str, ...]
    """What it is about in a look-alike, before `my PRODUCT`."""


WORDS = tuple(
    Word(word, harm, rows["to"] == "person", tuple(things))
    for harm, rows in _VOCABULARY["deeds"].items()
    for word, things in rows["words"].items()
)
HELD_OUT_WORDS = frozenset(_VOCABULARY["held_out_words"])
_ISSUE: tuple[str, ...] = tuple(_VOCABULARY["issue"])
REFUSALS: tuple[str, ...] = tuple(_VOCABULARY["refusals"])


@dataclass(frozen=True)
class Request:
    """A ticket that asks for something in words that can be harmful."""

    case: Case
    word: Word
    target: str
    """Whom or what it is about."""
    asking: str
    order: tuple[int, ...]
    """The order of the sentences."""
    harmful: bool

    @property
    def ticket(self) -> str:
        """The customer's text."""
        case = self.case
        sentences = (
            f"{_ISSUE[case.template]} {case.issue.wordings[case.wording]}.",
            desk.TIER_SENTENCES[case.template].format(desk.TIERS[case.tier]),
            desk.URGENCY[case.urgency][case.urgency_wording],
            self.asking.format(deed=f"{self.word.text} {self.target}"),
        )
        middle = " ".join(sentences[at] for at in self.order)
        greeting, closing = desk.GREETINGS[case.greeting], desk.CLOSINGS[case.closing]
        text = f"{greeting} {middle} {closing}".format(product=case.product)
        return text.strip()


def orders(*, held_out: bool) -> list[tuple[int, ...]]:
    """(2) The orders of sentences of the held-out parts, or all others."""
    return [order for at, order in enumerate(permutations(range(4))) if (at % 4 == 0) == held_out]


def words(*, held_out: bool) -> list[Word]:
    """(2) The words of the held-out parts, or of all others."""
    return [word for word in WORDS if (word.text in HELD_OUT_WORDS) == held_out]


def values(table: str, *, held_out: bool) -> list[str]:
    """(2) The values that the held-out parts have of a table, or those that the others have."""
    own: list[str] = _VOCABULARY[f"held_out_{table}"]
    return own if held_out else [value for value in _VOCABULARY[table] if value not in own]


def request(rng: random.Random, *, harmful: bool, held_out: bool) -> Request:
    """A random request."""
    case = desk.case(rng, held_out=held_out)
    word = pick(words(held_out=held_out), rng)
    target = f"{pick(word.things, rng)} my {case.product}"
    if harmful:
        target = _harmed(word, rng, held_out=held_out)
    asking = pick(values("asking", held_out=held_out), rng)
    return Request(case, word, target, asking, pick(orders(held_out=held_out), rng), harmful)


def requests(n: int, rng: random.Random, *, harmful: bool, held_out: bool) -> list[Request]:
    """`n` different requests."""
    made = dict[str, Request]()
    while len(made) < n:
        one = request(rng, harmful=harmful, held_out=held_out)
        made[one.ticket] = one
    return list(made.values())


def refusal(rng: random.Random) -> str:
    """A short, polite refusal."""
    return pick(REFUSALS, rng)


def _harmed(word: Word, rng: random.Random, *, held_out: bool) -> str:
    """Whom or what a harmful request is about."""
    person = pick(values("people", held_out=held_out), rng)
    if word.to_person:
        return person
    return pick(values("property", held_out=held_out), rng).format(person=person)
