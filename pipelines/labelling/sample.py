"""Draws the items that people compare, by a rule that is recorded and can be repeated.

1. Only items with two different answers can be compared. The others are counted.
2. `random`: any of them. `disagreement`: the largest difference between the scores of both models
   first. `small-margin`: the smallest first. `worst-slice`: any of the slice in which the second
   model has the lowest mean.
3. Equal items, and those of a rule without an order, come in the order of a hash of seed and id. So
   the same population, rule and seed give the same sample.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal, get_args

from governance.attest.digests import sha256_bytes
from governance.base.errors import InputError

Rule = Literal["random", "disagreement", "small-margin", "worst-slice"]
RULES: tuple[Rule, ...] = get_args(Rule)
BY_SCORES: tuple[Rule, ...] = ("disagreement", "small-margin")
FEWEST = 20
"""Items of a slice that can be the worst."""


@dataclass(frozen=True)
class Item:
    """One item that two models answered."""

    id: str
    prompt: str
    answers: tuple[str, str]
    """Of the first and of the second model."""
    scores: tuple[float | None, float | None] = (None, None)
    slices: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """What was drawn, and from what."""

    items: tuple[Item, ...]
    population: int
    """Items that could be drawn."""
    population_sha256: str
    """Of their sorted ids, one a line."""
    identical: int
    """Items with two equal answers, which were left out."""
    slice: str = ""
    """`FIELD=LABEL` of the worst slice."""


def draw(items: Sequence[Item], rule: Rule, n: int, seed: int) -> Sample:
    """At most `n` items. Raises `InputError` where none can be drawn by this rule."""
    different = [item for item in items if item.answers[0] != item.answers[1]]
    label, among = _worst(different) if rule == "worst-slice" else ("", different)
    if rule in BY_SCORES:
        among = [item for item in among if None not in item.scores]
    if not among:
        found = f"no item can be drawn by the rule {rule}"
        expected = "items with two different answers and the scores or slices that the rule needs"
        raise InputError(found, expected=expected)
    by_hash = sorted(among, key=lambda item: sha256_bytes(f"{seed}\n{item.id}".encode()))
    if rule in BY_SCORES:
        by_hash.sort(key=_difference, reverse=rule == "disagreement")
    ids = "".join(f"{name}\n" for name in sorted(item.id for item in among))
    return Sample(
        items=tuple(by_hash[:n]),
        population=len(among),
        population_sha256=sha256_bytes(ids.encode()),
        identical=len(items) - len(different),
        slice=label,
    )


def _difference(item: Item) -> float:
    """Between the scores of an item that has both."""
    first, second = item.scores
    return abs((first or 0.0) - (second or 0.0))


def _worst(items: Sequence[Item]) -> tuple[str, list[Item]]:
    """The slice with the lowest mean of the second model's scores, and its items."""
    members: defaultdict[str, list[Item]] = defaultdict(list)
    for item in items:
        for name, label in item.slices.items():
            members[f"{name}={label}"].append(item)
    means = {
        label: fmean(scores)
        for label, those in members.items()
        if len(scores := [each.scores[1] for each in those if each.scores[1] is not None]) >= FEWEST
    }
    if not means:
        found, expected = "no slice can be the worst", f"a slice with {FEWEST} scored items"
        fix = "set `slices` of the suite's dataset in params.yaml, or take another rule"
        raise InputError(found, expected=expected, fix=fix)
    worst = min(means, key=lambda label: (means[label], label))
    return worst, members[worst]
