"""Canary rollouts: what a person asks for, what was observed, and every step of the traffic."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from governance.attest.predicates.parts import Instant, Logged, Run, evidence_kind
from governance.attest.predicates.people import Signed
from governance.base.model import Model, Sha256, Slug, empty

WHOLE = 10_000
"""All traffic, in hundredths of a percent."""
Weight = Annotated[int, Field(ge=1, le=WHOLE, strict=True)]
"""A share of the callers, in hundredths of a percent."""
Count = Annotated[int, Field(ge=0, le=2**53, strict=True)]
Number = Annotated[int, Field(ge=1, le=2**31, strict=True)]
MOST_WEIGHTS = 20
MOST_GUARDRAILS = 20


class Guardrail(Model):
    """A bounded metric that must not become worse by more than a margin."""

    metric: Slug
    worse: Literal["higher", "lower"]
    """In which direction it gets worse."""
    low: float
    """The smallest value that one observation can have."""
    high: float
    margin: float = Field(gt=0)
    """How much worse the new version may be, in units of the metric."""
    expected: float | None = None
    """The mean that is expected of it, from earlier observations. A wrong one makes the intervals
    wider, never wrong.
    """

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if not self.low < self.high:
            raise ValueError("the range of a guardrail has a low end below its high end")
        if self.margin > self.high - self.low:
            raise ValueError("the margin of a guardrail lies within its range")
        if self.expected is not None and not self.low <= self.expected <= self.high:
            raise ValueError("the expected mean of a guardrail lies within its range")
        return self


@evidence_kind("rollout", not_copied=True)
class RolloutRequest(Signed):
    """A person asks for a canary rollout: from the holder of an alias to another version, in steps
    that are agreed beforehand. The subject is the model of the new version.
    """

    model: Slug
    alias: Slug
    from_version: str
    from_digest: Sha256
    to_version: str
    to_digest: Sha256
    mode: Literal["live", "shadow"]
    """live: the new version answers its share of the callers. shadow: it gets a copy of their
    requests, and nobody sees its answers.
    """
    weights: list[Weight] = Field(min_length=1, max_length=MOST_WEIGHTS)
    """The shares, in hundredths of a percent, in ascending order."""
    guardrails: list[Guardrail] = Field(min_length=1, max_length=MOST_GUARDRAILS)
    minimum_sample: int = Field(ge=1, le=2**53, strict=True)
    """Observations of the new version that each weight needs, for each guardrail."""
    expires: Instant
    """From this time on, every caller gets the old version."""
    widened_by: list[Slug] = Field(min_length=1)
    """Roles in which a person may start and widen it."""
    alpha: float = Field(gt=0, lt=0.5)
    """The probability that a version within all margins is ever found harmful is at most this; so
    is the probability that one outside a margin is ever found safe.
    """

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.weights != sorted(set(self.weights)):
            raise ValueError("the weights of a rollout ascend")
        metrics = [guardrail.metric for guardrail in self.guardrails]
        if len(set(metrics)) < len(metrics):
            raise ValueError("a metric has one guardrail")
        if self.from_digest == self.to_digest:
            raise ValueError("a rollout goes from one model to another")
        return self


@evidence_kind("rollout_step", not_copied=True)
class RolloutStep(Signed):
    """A person starts, widens, narrows or aborts a rollout. Subjects: the model of the new version,
    and the statement of the request.
    """

    rollout: Sha256
    """The statement of the request."""
    model: Slug
    to_version: str
    number: Number
    """Which step it is: the first is 1. A step counts once, and after the one before it."""
    action: Literal["start", "widen", "narrow", "abort"]
    weight: int = Field(ge=0, le=WHOLE, strict=True)
    """The share from this step on; 0 for an abort."""


class Figures(Model):
    """The observations of one arm."""

    count: Count
    total: float
    squares: float = Field(ge=0)
    """The sum of the squares."""


class Arms(Model):
    """The observations of one metric."""

    old: Figures
    new: Figures


@evidence_kind("rollout_window", granted=True, optional_for_release=True, not_copied=True)
class RolloutWindow(Logged):
    """What a service observed during one window of a rollout. Subjects as of a step."""

    rollout: Sha256
    model: Slug
    to_version: str
    number: Number
    """Which window it is: the first is 1. A window counts once, also where a service that was
    stopped sends it again.
    """
    weight: Weight
    """The share of the new version during all of it."""
    started: Instant
    finished: Instant
    metrics: dict[Slug, Arms] = Field(min_length=1, max_length=MOST_GUARDRAILS)
    gap: str = Field("", max_length=300, exclude_if=empty)
    """Why nothing was observed since the window before it; empty where nothing lies between."""
    run: Run

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if not self.started < self.finished:
            raise ValueError("a window ends after it begins")
        return self


@evidence_kind("rollout_reaction", granted=True, optional_for_release=True, not_copied=True)
class RolloutReaction(Logged):
    """A service narrows or aborts a rollout, or finds that it passed. It never widens one. Subjects
    as of a step.
    """

    rollout: Sha256
    model: Slug
    to_version: str
    number: Number
    """As of a step; people and services count together."""
    action: Literal["narrow", "abort", "pass"]
    weight: int = Field(ge=0, le=WHOLE, strict=True)
    """The share from this step on. A pass leaves it as it is."""
    windows: Count
    """How many windows it is based on."""
    metrics: list[Slug] = []
    """The guardrails that were not met; empty for a pass."""
    at: Instant
    run: Run
