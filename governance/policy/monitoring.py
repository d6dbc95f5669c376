"""What `countersign serve` observes, and which values of it are a finding: the part `monitoring` of
policies/policy.yaml (docs/monitoring.md). Without this part, nothing is recorded.

1. A threshold is judged on all windows of a version that ended within `hours` before the end of its
   last one, together. No single window decides.
2. It is judged from `minimum` observations on: requests, answers or ratings, as the metric counts.
3. The last windows stay the last: silence mends nothing.
"""

from __future__ import annotations

from datetime import date
from typing import Literal, Self

from pydantic import Field, model_validator

from governance.attest.predicates.parts import Currency
from governance.base.model import Model, Slug, absent, empty

Metric = Literal[
    "error_rate",
    "latency_p50_ms",
    "latency_p95_ms",
    "latency_p99_ms",
    "refusal_rate",
    "characters_mean",
    "output_tokens_mean",
    "cost_mean",
    "personal_data_rate",
    "down_rate",
    "preferred_rate",
]
"""`governance.history.monitoring` says what each one is."""

DriftMetric = Literal[
    "request_bytes",
    "answer_characters",
    "refused",
    "language",
    "personal_data",
    "disliked",
    "preferred",
]
"""`governance.history.drift` says what each one is."""


class Price(Model):
    """What a million tokens cost."""

    input: float = Field(ge=0, le=1e6)
    output: float = Field(ge=0, le=1e6)


class Threshold(Model):
    """A value that a version keeps to in service."""

    name: Slug
    metric: Metric
    limit: float = Field(ge=0, le=1e12)
    direction: Literal["at_most", "at_least"]
    minimum: int = Field(ge=1, strict=True)
    """Observations below which nothing is judged."""
    hours: int = Field(default=24, ge=1, le=24 * 90, strict=True)
    model: Slug | None = None
    """The model it is for; every model where absent."""
    blocks: bool = False
    """Whether a breach stops the version's next promotion."""
    relative: bool = Field(False, exclude_if=empty)
    """Whether the limit is a multiple of what the version had at its beginning: in its first
    windows that together last `hours` and have `minimum` observations.
    """


class DriftLimit(Model):
    """How far what is observed may change from a version's beginning."""

    name: Slug
    metric: DriftMetric
    limit: float = Field(ge=0, lt=1)
    """The largest distance that is accepted (`governance.history.drift`)."""
    minimum: int = Field(ge=1, strict=True)
    """Observations of the beginning, and of late, below which nothing is judged."""
    hours: int = Field(default=24, ge=1, le=24 * 90, strict=True)
    """How long the beginning lasts at least, and what counts as late."""
    false_alarm: float = Field(default=0.01, gt=0, lt=0.5)
    """The largest probability that a version ever has this finding, however long it is observed,
    although it never changes by more than `limit`.
    """
    model: Slug | None = None
    """The model it is for; every model where absent."""
    blocks: bool = False
    """Whether it stops the version's next promotion."""


class Objective(Model):
    """The share of requests that succeed over a period: a service level objective."""

    success: float = Field(gt=0, lt=1)
    days: int = Field(default=28, ge=1, le=90, strict=True)
    minimum: int = Field(default=1000, ge=1, strict=True)
    """Requests below which nothing is judged."""
    blocks: bool = False
    """Whether a spent error budget stops the version's next promotion."""


class SearchRules(Model):
    """The search of answers for personal data, and their language."""

    share: float = Field(gt=0, le=1)
    """Of the answers: each is in the sample with this probability."""


class MonitoringRules(Model):
    """policy.yaml: monitoring."""

    window_minutes: int = Field(default=60, ge=1, le=24 * 60, strict=True)
    currency: Currency | None = None
    """Of the prices."""
    prices: dict[Slug, Price] = {}
    """By model; without a price, no cost is stated."""
    thresholds: list[Threshold] = []
    objective: Objective | None = None
    drift: list[DriftLimit] = Field([], exclude_if=empty)
    beginning: date | None = Field(None, exclude_if=absent)
    """The first day of windows that drift and relative limits take for the beginning of a version:
    a later day accepts what has changed before it. Any window where absent.
    """
    search: SearchRules | None = Field(None, exclude_if=absent)
    """No answer is searched where absent."""

    def thresholds_of(self, model: str) -> list[Threshold]:
        """Those that a model is judged by."""
        return [each for each in self.thresholds if each.model in (None, model)]

    @property
    def limits(self) -> list[Threshold | DriftLimit]:
        """Every limit of a value or of its change."""
        return [*self.thresholds, *self.drift]

    def drift_of(self, model: str) -> list[DriftLimit]:
        """Those that a model is judged by."""
        return [each for each in self.drift if each.model in (None, model)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [each.name for each in self.limits]
        if len(set(names)) < len(names):
            raise ValueError("two limits have one name")
        if self.prices and self.currency is None:
            raise ValueError("prices have a currency, e.g. currency: EUR")
        if any(each.metric == "cost_mean" for each in self.thresholds) and not self.prices:
            raise ValueError("a threshold of cost_mean needs prices")
        searched = {"personal_data_rate", "personal_data", "language"}
        wanted = {each.metric for each in self.limits} & searched
        if wanted and self.search is None:
            named = ", ".join(sorted(wanted))
            raise ValueError(f"a limit of {named} needs search, e.g. search: {{share: 0.05}}")
        return self
