"""The trainings and bases behind a version, and the rewards of its trainings."""

from __future__ import annotations

from pydantic import Field

from governance.attest.predicates import BaseImport, Train
from governance.base.model import Model, Sha256, empty
from governance.policy.declarations import Declaration
from governance.report.model.parts import Refs


class Curve(Model):
    """One training signal by step."""

    name: str
    points: list[tuple[float, float]]


class Along(Model):
    """Where a training with rewards was at one step."""

    step: int
    kl: float | None
    """Nats per token from the reference; None where it was not measured."""
    reward: float
    scores: dict[str, float] = {}
    """Metric to its mean over held-back records, where these were scored."""


class Training(Model):
    """One training stage this version rests on."""

    stage: str
    model_digest: Sha256
    train: Train
    """The signed record of the training."""
    parent: str
    scorer: str
    data: str
    other_trainings: Refs
    """Entries of other trainings of the same stage."""
    assurance: str
    """Whether the same came out again, in words."""
    compute: str = ""
    """Device hours, energy and cost, in words."""
    curves: list[Curve]
    curves_note: str
    along: list[Along] = []
    """Reward and held-back scores against divergence: at most some rows, with every look."""
    against_kl: list[Curve] = []
    """The same as curves, whose points are of divergence and value."""
    gate: str
    evidence: Refs


class Base(Model):
    """A model from outside that this version rests on."""

    name: str
    digest: Sha256
    imported: BaseImport | None
    """The signed record of its import; None where there is no evidence of its origin."""
    licence: str
    evidence: Refs
    declared: Declaration | None = Field(None, exclude_if=empty)
    """What is declared of a version that was trained elsewhere: self-attested."""


class CounterMetric(Model):
    """A metric that falls when a reward function is gamed."""

    name: str
    measured_on: list[str]
    """The suites on which the model of the stage, or the version, has scores of it; empty: not
    measured.
    """


class RewardFunction(Model):
    """A reward function of a training stage, as its source declares it."""

    stage: str
    name: str
    digest: Sha256 | None
    scorer: str | None = None
    """The reward model that stands in place of a function."""
    not_declared: str | None = None
    """Why there is no declaration; None where there is one, or a scorer."""
    purpose: str = ""
    range: str = ""
    blind_spots: list[str] = []
    counter_metrics: list[CounterMetric] = []
    evidence: Refs
    """The gate, whose statement has the source text."""
