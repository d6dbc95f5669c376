"""The support desk of the sample data: products, issues, tickets, answers and planted personal
data.

`desk.yaml` has the vocabulary. A line of pre-training text is about products or about issues, never
about both, so that no (product, issue) pair occurs in it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from governance.base.yaml import read_yaml

T = TypeVar("T")


@dataclass(frozen=True)
class Issue:
    """A problem, the team that solves it, and how."""

    name: str
    team: str
    fix: str
    wordings: tuple[str, ...]


_VOCABULARY: dict[str, Any] = read_yaml(Path(__file__).with_name("desk.yaml"))


def _sentences(name: str) -> tuple[str, ...]:
    return tuple(_VOCABULARY[name])


PRODUCTS = _sentences("products")
ISSUES = tuple(
    Issue(name, row["team"], row["fix"], tuple(row["wordings"]))
    for name, row in _VOCABULARY["issues"].items()
)
TIERS = _sentences("tiers")
URGENCY = tuple(tuple(sentences) for sentences in _VOCABULARY["urgency"])
PRIORITIES = _sentences("priorities")
"""By tier plus urgency, 0 to 4."""
GREETINGS = _sentences("greetings")
CLOSINGS = _sentences("closings")
TEMPLATES = _sentences("templates")
TIER_SENTENCES = _sentences("tier_sentences")
UNSAFE = _sentences("unsafe")
UNSAFE_WORDS = _sentences("unsafe_words")
PII = {entity: tuple(sentences) for entity, sentences in _VOCABULARY["pii"].items()}

HELD_OUT = frozenset(
    (product, issue.name)
    for at, product in enumerate(PRODUCTS)
    for number, issue in enumerate(ISSUES)
    if number in ((3 * at + 1) % 8, (5 * at + 4) % 8)
)
"""(product, issue) pairs that occur in the held-out parts only. Every product and every issue has
some.
"""

LEAKS = 3
"""Number of fixed held-out tickets: every `prompts_held_out` part begins with them, and other parts
may leak them.
"""


@dataclass(frozen=True)
class Case:
    """One ticket: everything that determines its text and its right answer."""

    product: str
    issue: Issue
    wording: int
    tier: int
    urgency: int
    urgency_wording: int
    template: int
    greeting: int
    closing: int
    loud: bool = False
    """Whether the ticket is written in capitals (a leak that is not byte-equal)."""

    @property
    def pair(self) -> tuple[str, str]:
        """The (product, issue) pair, which decides whether the ticket is held out."""
        return self.product, self.issue.name

    @property
    def ticket(self) -> str:
        """The customer's text."""
        text = TEMPLATES[self.template].format(
            greeting=GREETINGS[self.greeting],
            product=self.product,
            issue=self.issue.wordings[self.wording],
            tier=TIERS[self.tier],
            urgency=URGENCY[self.urgency][self.urgency_wording],
            closing=CLOSINGS[self.closing],
        )
        return text.strip().upper() if self.loud else text.strip()

    @property
    def answer(self) -> str:
        """The routing line: the only right answer."""
        priority = PRIORITIES[self.tier + self.urgency]
        return routing(self.issue.team, priority, self.issue.fix, self.product)

    def shouted(self) -> Case:
        """The same ticket in capitals."""
        return replace(self, loud=True)


def routing(team: str, priority: str, fix: str, product: str) -> str:
    """A routing line."""
    return f"team: {team}; priority: {priority}; fix: {fix}; product: {product}"


def pick(options: Sequence[T], rng: random.Random) -> T:
    """One of `options`; the same on every Python version."""
    return options[int(rng.random() * len(options))]


def shuffled(items: Iterable[T], rng: random.Random) -> list[T]:
    """`items` in a random order; the same on every Python version."""
    drawn = [(rng.random(), item) for item in items]
    return [item for _, item in sorted(drawn, key=lambda pair: pair[0])]


def pairs(*, held_out: bool) -> list[tuple[str, Issue]]:
    """The (product, issue) pairs of the held-out parts, or of all others."""
    every = [(product, issue) for product in PRODUCTS for issue in ISSUES]
    return [pair for pair in every if ((pair[0], pair[1].name) in HELD_OUT) == held_out]


def capacity(*, held_out: bool) -> int:
    """The largest number of rows of a part: half of the possible tickets."""
    variants = 4 * len(TIERS) * 9 * len(TEMPLATES) * len(GREETINGS) * len(CLOSINGS)
    return len(pairs(held_out=held_out)) * variants // 2


def case(rng: random.Random, *, held_out: bool) -> Case:
    """A random ticket."""
    product, issue = pick(pairs(held_out=held_out), rng)
    sizes = (4, len(TIERS), 3, 3, len(TEMPLATES), len(GREETINGS), len(CLOSINGS))
    drawn = [int(rng.random() * size) for size in sizes]
    wording, tier, urgency, urgency_wording, template, greeting, closing = drawn
    return Case(
        product, issue, wording, tier, urgency, urgency_wording, template, greeting, closing
    )


def cases(n: int, rng: random.Random, *, held_out: bool, first: Sequence[Case] = ()) -> list[Case]:
    """`n` different tickets in random order, including those of `first`."""
    tickets = dict.fromkeys(first)
    while len(tickets) < n:
        tickets[case(rng, held_out=held_out)] = None
    return shuffled(tickets, rng)


def leak(at: int) -> Case:
    """One of the fixed held-out tickets that other parts may leak."""
    product, issue = pairs(held_out=True)[5 * (at % LEAKS)]
    return Case(product, issue, at % LEAKS, 1, 2, 1, at % LEAKS, 0, 1)


# --- answers that are not right -------------------------------------------------------------------


def rambling(rng: random.Random) -> str:
    """A polite answer that does not help."""
    return " ".join(pick(options, rng) for options in _VOCABULARY["rambling"])


def unsafe(rng: random.Random) -> str:
    """An answer that asks the customer for a secret."""
    return pick(UNSAFE, rng)


def wrong(case: Case, rng: random.Random) -> str:
    """A routing line for another issue that occurs with the ticket's product."""
    same_part = pairs(held_out=case.pair in HELD_OUT)
    others = [other for product, other in same_part if product == case.product]
    issue = pick([other for other in others if other != case.issue], rng)
    return routing(issue.team, PRIORITIES[case.tier + case.urgency], issue.fix, case.product)


# --- pre-training text ----------------------------------------------------------------------------

_NEUTRAL = (
    *GREETINGS,
    *(closing for closing in CLOSINGS if closing),
    *(text for level in URGENCY for text in level),
    *(text for options in _VOCABULARY["rambling"] for text in options),
    *UNSAFE,
    *(sentence.format(tier) for tier in TIERS for sentence in TIER_SENTENCES),
)

_OF_PRODUCTS = tuple(
    (sentence.format(product), product)
    for product in PRODUCTS
    for sentence in _VOCABULARY["product_sentences"]
)

_OF_ISSUES = tuple((f"It {wording}.", issue) for issue in ISSUES for wording in issue.wordings)


def _product_line(sentence: str, product: str, rng: random.Random) -> str:
    """Two sentences about the product, then the end of a routing line or a whole one without an
    issue.
    """
    level, rest = _level(rng)
    own = [text for text, about in _OF_PRODUCTS if about == product]
    other = pick([text for text in own if text != sentence], rng)
    ends = (
        f"priority: {PRIORITIES[level]}; product: {product}",
        routing("desk", PRIORITIES[level], "none", product),
    )
    return _answered([sentence, other, *rest[:2]], pick(ends, rng), rng)


def _issue_line(sentence: str, issue: Issue, rng: random.Random) -> str:
    """A sentence about the issue, then the beginning of a routing line."""
    level, rest = _level(rng)
    answer = f"team: {issue.team}; priority: {PRIORITIES[level]}; fix: {issue.fix};"
    return _answered([sentence, *rest], answer, rng)


def _neutral_line(first: str, rng: random.Random) -> str:
    return " ".join([first, *(pick(_NEUTRAL, rng) for _ in range(3))])


def _answered(sentences: list[str], answer: str, rng: random.Random) -> str:
    """The sentences in any order, then the answer.

    One time in ten the answer comes first, as in a conversation: a word at the beginning of a text
    has tokens of its own, and LoRA cannot learn a token that never occurs.
    """
    before = rng.random() < 0.1
    mixed = shuffled(sentences, rng)
    return " ".join([answer, *mixed] if before else [*mixed, answer])


def _level(rng: random.Random) -> tuple[int, list[str]]:
    """A random tier plus urgency, and the sentences that express it; half of the time with a
    greeting.
    """
    tier, urgency = int(rng.random() * len(TIERS)), int(rng.random() * len(URGENCY))
    sentences = [pick(TIER_SENTENCES, rng).format(TIERS[tier]), pick(URGENCY[urgency], rng)]
    if rng.random() < 0.5:
        sentences.append(pick(GREETINGS, rng))
    return tier + urgency, sentences


def text_line(rng: random.Random) -> str:
    """A line about nothing, about a product, or about an issue.

    The line ends with the part of a routing line that follows from it; this teaches a model to look
    back.
    """
    draw = rng.random()
    if draw < 0.1:
        return _neutral_line(pick(_NEUTRAL, rng), rng)
    if draw < 0.5:
        return _product_line(*pick(_OF_PRODUCTS, rng), rng)
    return _issue_line(*pick(_OF_ISSUES, rng), rng)


def text_lines(n: int, rng: random.Random) -> list[str]:
    """`n` different lines. If `n` is large enough, every sentence occurs."""
    every = [
        *(_product_line(sentence, product, rng) for sentence, product in _OF_PRODUCTS),
        *(_issue_line(sentence, issue, rng) for sentence, issue in _OF_ISSUES),
        *(_neutral_line(sentence, rng) for sentence in _NEUTRAL),
    ]
    lines = dict.fromkeys(shuffled(every, rng)[: n // 2])
    while len(lines) < n:
        lines[text_line(rng)] = None
    return shuffled(lines, rng)
