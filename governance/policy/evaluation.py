"""policies/evaluation.yaml as typed models: what an evaluation must show, by suite and method."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from governance.base.model import Model, Sha256, Slug, absent, empty
from governance.policy.judges import JudgeLimits

Reason = Annotated[str, StringConstraints(min_length=10, strip_whitespace=True)]
"""Long enough to say something."""

MetricName = Annotated[
    str, StringConstraints(pattern=r"^((greedy|sampled):)?[a-z][a-z0-9_-]{0,62}$")
]
"""A metric of a suite: a name of the table, or how answers are generated and the reward function
that scores them.
"""


class Threshold(Model):
    """A bound on one metric."""

    at_least: float | None = None
    at_most: float | None = None
    judge: Literal["interval", "mean"] = "interval"
    """What must satisfy the bound: the unfavourable end of the confidence interval, or the mean
    alone.
    """

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give either at_least or at_most")
        return self


class SliceThreshold(Threshold):
    """A bound on one metric that every slice of the suite's items must meet, the worst among
    them.
    """

    by: str
    """What the items are told apart by: a field that `slices` of the suite's dataset names in
    params.yaml.
    """
    metric: MetricName
    minimum_items: int = Field(20, ge=1)
    """Smaller slices are told and decide nothing."""
    labels: list[str] = Field([], exclude_if=empty)
    """Slices that must be there with so many items. Which labels there are stands in params.yaml,
    under nobody's approval: where policy names none, one that does badly can be told as `other`
    together with those that do well.
    """


class Comparison(Model):
    """How much worse than a reference a model may be, on the same items."""

    reference: Literal["parent", "base", "champion"]
    metric: MetricName
    may_fall: float | None = Field(None, ge=0)
    """For a metric where more is better."""
    may_rise: float | None = Field(None, ge=0)
    """For a metric where less is better."""
    judge: Literal["interval", "mean"] = "interval"
    """As for thresholds, of the paired difference."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.may_fall is None) == (self.may_rise is None):
            raise ValueError("give either may_fall or may_rise")
        return self


Share = Annotated[float, Field(ge=0, le=1)]


class BehaviourLimits(Model):
    """What the sampled answers of a model that generates may look like, whatever the suite measures
    (docs/reward-hacking.md). A mean beyond a limit is a finding.
    """

    empty: Share = 0.1
    """Share of answers without text."""
    truncated: Share = 0.5
    """Share of answers that were cut off at `max_new_tokens`."""
    repeated: Share = 0.2
    """Share of answers that repeat themselves."""
    common: Share = 0.9
    """Share of answers that are one and the same text whatever was asked."""
    refused: Share = 1.0
    """Share of answers that begin with a refusal. A suite of harmful requests wants refusals, so
    the default refuses none.
    """
    content: float = 0.1
    """Nats by which an answer is at least likelier after its own prompt than after another."""
    kl: float | None = Field(None, ge=0)
    """Nats per token of divergence from the parent, for the methods that this stands for."""
    kl_of_tuned: float = Field(1.0, ge=0)
    """The same where `kl` is absent, for methods that are tuned against a reference: not pretrain
    and sft.
    """
    ranked_by_length: Share = 0.9
    """Share of a reward model's pairs that a rule of length alone ranks rightly (the longer answer
    is the better one, or the shorter one).
    """
    fall: float = Field(0.05, ge=0)
    """How much a metric of the suite may fall while the rewards of the training rise."""
    equal_rewards: Share = 0.95
    """Share of groups in training whose answers all got the same reward; from this on, there was no
    signal to learn from.
    """

    def at_most(self, measure: str) -> float | None:
        """The upper limit of a share; None for other measures."""
        limits = {
            "empty": self.empty,
            "truncated": self.truncated,
            "repeated": self.repeated,
            "common": self.common,
            "refused": self.refused,
        }
        return limits.get(measure)


class Demands(Model):
    """What an evaluation must show for models of one method; or why nothing is demanded."""

    none: Reason | None = None
    thresholds: dict[MetricName, Threshold] = {}
    compare: list[Comparison] = []
    slices: list[SliceThreshold] = Field([], exclude_if=empty)
    behaviour: BehaviourLimits | None = Field(None, exclude_if=absent)
    """Limits for these models in place of those for all; also beside `none`."""

    @model_validator(mode="after")
    def _either(self) -> Self:
        if self.none is not None and (self.thresholds or self.compare or self.slices):
            raise ValueError("`none` stands alone")
        if self.none is None and not self.thresholds:
            raise ValueError("give thresholds, or `none: <reason>`")
        return self


class StageDemands(Demands):
    """What an evaluation must show for the model of one stage, in place of its method's demands.

    Which stage has the name stands in params.yaml, under nobody's approval. So a stage that is
    renamed could be given the demands of another: a release is judged by them only where they name
    the registered model, and by those of the method otherwise.
    """

    released_as: list[Slug] = Field([], exclude_if=empty)
    """The registered models whose releases from this stage are judged by these demands."""


Role = Literal[
    "task",
    "safety",
    "over-refusal",
    "verbosity",
    "sycophancy",
    "regression",
    "language modelling",
]
"""What a suite is for."""


class SuitePolicy(Model):
    """What is demanded on one evaluation suite."""

    role: Role | None = Field(None, exclude_if=absent)
    """What it is for. The report groups by it."""
    required_of: list[Slug] = Field([], exclude_if=empty)
    """Registered models that must have been evaluated on it, and so must every model that their
    stages build on. `methods` then says something of every method among them.
    """

    digest: Sha256 | None = None
    """Pins dataset, split, metrics and generation settings."""
    sources: dict[MetricName, Sha256] = Field({}, exclude_if=empty)
    """Metric to the sha256 of the function that scores it (data/suites/NAME.json)."""
    methods: dict[Slug, Demands]
    """By the method of the evaluated stage. `base`: a model from outside that a stage builds on;
    `imported`: one that is released.
    """
    stages: dict[Slug, StageDemands] = Field({}, exclude_if=empty)
    """Stage to its own demands, in place of those of its method. `methods` has that method, too."""


class LeakLimits(Model):
    """What a leak probe may find (docs/leak-probe.md). A limit that is absent is not judged."""

    required_of: list[Slug] = Field([], exclude_if=empty)
    """Registered models of which each training behind them must have been probed. The limits judge
    every other probe, too.
    """
    exposure: float | None = Field(None, gt=0)
    """Bits of exposure that each canary may have."""
    extracted: int | None = Field(None, ge=0)
    """Canaries that may be extracted from their prefix."""
    canaries: int = Field(8, ge=1)
    """How many must have been planted for these two limits."""
    repetitions: int = Field(1, ge=1)
    """How often each of them must have been planted."""
    auc: float | None = Field(None, gt=0.5, lt=1)
    """Area under the curve of membership inference; the upper end of its interval must meet it."""
    found: Share | None = None
    """Share of members that are found at 1 % false alarms; the upper end of its interval likewise.
    """
    records: int = Field(200, ge=2)
    """How many members, and how many held-out records, these two limits need."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        limits = (self.exposure, self.extracted, self.auc, self.found)
        if all(limit is None for limit in limits):
            raise ValueError("give exposure, extracted, auc or found")
        return self

    @property
    def of_canaries(self) -> bool:
        """Whether a limit needs canaries."""
        return self.exposure is not None or self.extracted is not None

    @property
    def of_membership(self) -> bool:
        """Whether a limit needs membership inference."""
        return self.auc is not None or self.found is not None


AnswerStorage = Literal["redacted", "whole", "none"]
"""How the answers that were scored are stored: cleaned as policies/pii.yaml says, as they are, or
not at all.
"""


class EvaluationPolicy(Model):
    """policies/evaluation.yaml."""

    confidence: float = Field(gt=0.5, lt=1)
    """Of two-sided intervals."""
    minimum_items: int = Field(ge=1)
    """Fewer scored items than this decide nothing."""
    suites: dict[Slug, SuitePolicy]
    behaviour: BehaviourLimits | None = Field(None, exclude_if=absent)
    """Limits for every model that generates. Where absent, the defaults hold for evaluations that
    were made under version 3 of the rules (`governance.log.rules`).
    """

    leaks: LeakLimits | None = Field(None, exclude_if=absent)
    """Limits for what models give away of their training data."""

    answers: AnswerStorage = Field("redacted", exclude_if=lambda value: value == "redacted")
    """How evaluations store the answers that they scored, for people and judges."""

    judges: JudgeLimits | None = Field(None, exclude_if=absent)
    """What the card of a judge must show. Where absent, the defaults hold for data that was
    generated under version 3 of the rules.
    """

    def limits(
        self, suite: str, method: str, stage: str = "", released_as: str | None = None
    ) -> BehaviourLimits | None:
        """The limits for the behaviour of a model on a suite; None where there are none."""
        demands = self.demands(suite, method, stage, released_as)
        own = demands.behaviour if demands else None
        return own or self.behaviour

    def required_of(self, model: str) -> list[str]:
        """The suites on which a registered model must have been evaluated."""
        return [name for name, suite in self.suites.items() if model in suite.required_of]

    def demands(
        self, suite: str, method: str, stage: str = "", released_as: str | None = None
    ) -> Demands | None:
        """What is demanded of a stage's model on a suite; None where nothing is said.
        `released_as`: the registered model as which it is released, None where a stage builds on
        it.
        """
        policy = self.suites.get(suite)
        if policy is None:
            return None
        own = policy.stages.get(stage)
        if own is not None and (released_as is None or released_as in own.released_as):
            return own
        return policy.methods.get(method)
