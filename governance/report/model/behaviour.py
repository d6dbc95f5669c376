"""How a version behaves, what its stages gained, and how reward models rank."""

from __future__ import annotations

from typing import Literal

from governance.attest.predicates.training import ToolUse
from governance.base.model import Model, Sha256
from governance.report.model.parts import NOT_USED, Estimate, Refs, ScoreRole
from governance.report.model.scores import Slice


class Measure(Estimate):
    """A mean over the version's answers to held-out prompts."""

    name: str
    meaning: str
    parent: float | None
    """The mean of the parent's answers to the same prompts; None of `kl`, which is a difference."""
    limit: str | None
    """What is demanded of the mean; None where nothing is."""
    met: bool | None


class Behaviour(Model):
    """How the version answers on held-out prompts, without reference answers."""

    suite: str | None = None
    not_measured: str | None = NOT_USED
    """Why there are no measures; None where there are."""
    limits: str = NOT_USED
    """Whose limits judge the version."""
    measures: list[Measure] = []
    reward_gain: Estimate | None = None
    """The rise of the training's own rewards against the parent's answers."""
    equal_rewards: float | None = None
    """Share of groups in training whose answers all got the same reward."""
    equal_rewards_below: float | None = None
    """The share from which on there was nothing to learn from; None where nothing is demanded."""
    tools: ToolUse | None = None
    """Which tools the version could call on its suite, and what became of calls."""
    findings: list[str] = []
    """What the decision made again has against the behaviour of the models of the chain."""
    evidence: Refs = []


class QualityGain(Estimate):
    """A metric of a stage's model less that of its parent, on the same items."""

    metric: str
    result: Literal["better", "worse", "no demonstrated difference"]


class StageGain(Model):
    """What a stage gained: in its own rewards, in held-out quality, and at which divergence."""

    stage: str
    method: str
    suite: str
    kl: Estimate | None
    """Nats per token of divergence from the parent."""
    reward: Estimate | None
    """The rise of the training's own rewards against the parent's answers."""
    quality: list[QualityGain]
    evidence: Refs


class Baseline(Model):
    """A rule that reads nothing, and how much more often a reward model is right."""

    rule: str
    accuracy: float
    gain: Estimate
    better: bool
    """Whether the whole interval of the gain lies above zero."""


class MarginPart(Estimate):
    """A reward model's accuracy on a quarter of the pairs, by the size of its margin."""

    smallest: float
    largest: float


class RewardModel(Model):
    """The card of a reward model that ranked the pairs of its suite: the version, or a scorer of
    its chain.
    """

    model: str
    digest: Sha256
    role: ScoreRole
    suite: str
    accuracy: Estimate
    baselines: list[Baseline]
    against_length: Estimate | None
    """Accuracy on the pairs in which the rule of length is wrong; None where it is never wrong."""
    by_margin: list[MarginPart]
    """Quarters of the pairs, the smallest margins first."""
    calibration_error: float
    """Expected calibration error of the probability that it gives to its own ranking."""
    slices: list[Slice]
    """The accuracy by slice, the lowest first."""
    evidence: Refs
