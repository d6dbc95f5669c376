"""What `countersign serve` observes, and which values of it are a finding: the part `monitoring` of
policies/policy.yaml (docs/monitoring.md). Without this part, nothing is recorded.

1. A threshold is judged on all windows of a version that ended within `hours` before the end of its
   last one, together. No single window decides.
2. It is judged from `minimum` observations on: requests, answers or ratings, as the metric counts.
3. The last windows stay the last: silence mends nothing.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from governance.attest.predicates.monitoring import Currency
from governance.base.model import Model, Slug, absent

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
    search: SearchRules | None = Field(None, exclude_if=absent)
    """No answer is searched where absent."""

    def thresholds_of(self, model: str) -> list[Threshold]:
        """Those that a model is judged by."""
        return [each for each in self.thresholds if each.model in (None, model)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [each.name for each in self.thresholds]
        if len(set(names)) < len(names):
            raise ValueError("two thresholds have one name")
        if self.prices and self.currency is None:
            raise ValueError("prices have a currency, e.g. currency: EUR")
        if any(each.metric == "cost_mean" for each in self.thresholds) and not self.prices:
            raise ValueError("a threshold of cost_mean needs prices")
        if any(each.metric == "personal_data_rate" for each in self.thresholds) and not self.search:
            raise ValueError("a threshold of personal_data_rate needs search, e.g. {share: 0.05}")
        return self
