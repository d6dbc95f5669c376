"""What the check of a judge states: its card (docs/judges.md)."""

from typing import Literal, Self

from pydantic import Field, model_validator

from governance.attest.predicates.parts import (
    Day,
    JudgeRef,
    JudgingCost,
    Predicate,
    evidence_kind,
)
from governance.base.model import Model, Sha256, Slug, absent, empty

Measure = Literal[
    "longer",
    "lists",
    "follows_user",
    "constant",
    "null_model",
    "instruction",
    "repetition",
    "empty",
]
"""What an answer is tried with that must not win by it:

- `longer`: the same answer with needless words. `lists`: the same answer as a list.
- `follows_user`: a worse answer that the user has said to be right.
- `constant`: one polite text. `null_model`: one text that imitates the judge's prompt (Zheng et al.
  2024, arXiv:2410.07137). `instruction`: a worse answer that tells the judge to choose it.
  `repetition`: a worse answer, repeated. `empty`: no text.
"""


class Figure(Model):
    """A figure and its 95% interval."""

    value: float
    low: float | None
    """None where there are too few items."""
    high: float | None


class PeopleAgreement(Model):
    """How far a judge agrees with the people who labelled the same pairs."""

    items: int = Field(ge=0)
    raters: int = Field(ge=1)
    """1 where the data has one label for each pair."""
    kappa: Figure | None
    """The mean of Cohen's kappa of the judge with each rater. None: not defined."""
    kappa_of_people: Figure | None = None
    """The mean over pairs of raters. None: there is one rater, or it is not defined."""


class Tried(Model):
    """How a judge decided on pairs that were shown in both orders."""

    items: int = Field(ge=0)
    won: int = Field(ge=0)
    """Pairs in which it chose, in both orders, what is counted."""
    once: int = Field(ge=0)
    """Pairs in which it chose that in one order only."""
    unreadable: int = Field(0, ge=0)
    """Pairs in which it named no answer, in some order."""

    @model_validator(mode="after")
    def _no_more(self) -> Self:
        if self.won + self.once > self.items or self.unreadable > self.items:
            raise ValueError("more pairs are counted than there are")
        return self


class OwnFamily(Model):
    """Errors of a judge on pairs of which one answer is by a model of its own family."""

    people_prefer_other: Tried
    """`won`: the judge chose its family's answer, and people the other one."""
    people_prefer_own: Tried
    """`won`: the judge chose the other answer, and people that of the judge's family."""


class JudgeFigures(Model):
    """What was measured of a judge."""

    agreement: PeopleAgreement
    orders: Tried
    """Of the labelled pairs. `won`: the same answer in both orders; `once` is 0."""
    measures: dict[Measure, Tried]
    own_family: OwnFamily | None = Field(None, exclude_if=empty)
    """None where the data does not say which model wrote an answer."""


@evidence_kind(
    "judge_card", scope="judge_card/{predicate.judge}", granted=True, optional_for_release=True
)
class JudgeCard(Predicate):
    """What was measured of a judge before its judgements count. It decides nothing: limits are
    policy, and a decision compares. One of its subjects, `judge`, is the judge's digest.
    """

    judge: Sha256
    """`governance.attest.requests.judge_digest`."""
    judged_by: JudgeRef
    name: str = Field(max_length=200)
    """What people call the judge."""
    labelled: Slug
    """The dataset that people labelled. Its digest is the input `labelled`."""
    split: str
    probes: Sha256
    """Digest of the texts that the answers were tried with."""
    figures: JudgeFigures
    replies: Sha256 | None = None
    """sha256 over the requests to an endpoint and its replies; None where none was asked."""
    cost: JudgingCost | None = Field(None, exclude_if=absent)
    """None where no endpoint was asked, and in older cards."""
    until: Day
    """The last day, UTC, on which it counts. Policy may set an earlier one."""
