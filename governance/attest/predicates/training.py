"""What the model stages state: base, gate, train, evaluate, reproduction, seed_run, failure."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from governance.attest.predicates.monitoring import Cost
from governance.attest.predicates.parts import (
    Finding,
    Instant,
    JudgedBy,
    Predicate,
    evidence_kind,
)
from governance.base.model import Model, Sha256, absent, empty


@evidence_kind("base", granted=True)
class BaseImport(Predicate):
    """A model was imported from outside."""

    source: str
    files: int
    weights: bool
    """False for an architecture that is to be trained from scratch."""
    chat_template: str = Field("", exclude_if=empty)
    """The one that it was given: a file of the project, or `ours`. Empty if it keeps its own."""


@evidence_kind("gate", scope="gate/{predicate.stage}", granted=True)
class GateDecision(Predicate):
    """Whether a stage may train. Its subjects are the digests that were decided on."""

    allowed: bool
    method: str
    tier: str
    decided_on: dict[str, Sha256]
    """role (data, parent, scorer, objective, rewards) to digest."""
    findings: list[Finding]
    at: Instant
    """The reference time of the decision."""
    waived: list[Finding] = []
    """Findings that a waiver in force excuses."""


class RecordUse(Model):
    """What a training made of the records of one split: offered = used + dropped."""

    offered: int
    used: int
    dropped: dict[str, int]
    """Reason to records that were left out: EMPTY_ANSWER, NO_ROOM, TOO_LONG, OTHER."""
    truncated: int
    """Records that were used and cut to the method's `max_length`."""
    seen: int | None = Field(None, ge=1, exclude_if=empty)
    """Of the used records, how many the training reached before `max_steps` ended it; absent where
    it reached all. Estimated where records are packed.
    """


class EarlyStop(Model):
    """The limit of the objective at which a training ended before its last step."""

    rule: Literal["kl_above", "reward_above", "suite_below", "suite_above"]
    limit: float
    found: float
    """The mean of the signal since it was last logged (KL: in nats per token); of a suite, the mean
    score at the last look.
    """
    planned: int
    """How many steps the training would have had."""
    metric: str = Field("", exclude_if=empty)
    """Of a suite: which of its metrics."""


class Selected(Model):
    """The step whose model was published, because it was the best on the validation split."""

    metric: str
    value: float
    step: int = Field(ge=1)
    looks: int = Field(ge=1)
    """How often the split was evaluated. The value is the best of so many."""


class CurvePoint(Model):
    """Rewards and divergence between the point before and this one."""

    step: int = Field(ge=1)
    """The last step that it covers."""
    reward: float
    """Mean reward of the answers."""
    kl: float | None = Field(None, exclude_if=absent)
    """Mean divergence from the reference, in nats per token of the answers; absent where it was not
    measured.
    """


class LookScore(Model):
    """The mean of one metric at one look."""

    mean: float
    error: float = Field(ge=0)
    """Its standard error over the items."""


class Look(Model):
    """The scores of the validation split after one step."""

    step: int = Field(ge=1)
    scores: dict[str, LookScore]


class Looks(Model):
    """What a training saw of the validation split of its dataset, and could choose its end by."""

    suite: str
    """The suite whose metrics and settings scored it."""
    items: int = Field(ge=1)
    count: int = Field(ge=1)
    """How often was looked."""
    points: list[Look] = Field(min_length=1)
    """In the order of steps. Of many looks, some in even distances, and the last."""
    lower_is_better: list[str] = Field([], exclude_if=empty)


class ToolUse(Model):
    """Which tools a model had, and what became of its calls."""

    functions: dict[str, Sha256] = Field(min_length=1)
    """Tool to the digest of its source."""
    calls: float = Field(ge=0)
    """Calls per answer."""
    failed: float = Field(ge=0, le=1)
    """Share of the calls that raised, or named no such tool."""


class Canaries(Model):
    """Made-up secrets that were planted among the records of a training, to measure what its model
    gives away of them (docs/leak-probe.md).
    """

    count: int = Field(ge=1)
    repetitions: int = Field(ge=1)
    """How often each stood among the records."""
    format: Sha256
    """Digest of the wording and of the space that secrets are drawn from."""
    record_key: str
    """Id of the key that they follow from; `development` marks the fixed public key."""
    root: Sha256
    """RFC 6962 root over the sorted record ids of the canaries."""


class Compute(Model):
    """What a training used of its machine. Two runs with the same result differ in it, so it stands
    among the figures of the run (`run.detail`).
    """

    device_hours: float = Field(ge=0)
    devices: int | None = Field(None, ge=1)
    """Processes of the training, of which each has one device. Older trainings do not say it."""
    training_seconds: float | None = Field(None, ge=0)
    energy_joules: float | None = Field(None, ge=0)
    """By counters of the machine, whatever else ran there; None where nothing could be read."""
    energy_counters: list[str] = []
    energy_not_measured: str = ""
    """What of it was not measured, and why; of older trainings, nothing is said."""
    cost: Cost | None = None
    """Of the device hours, by the prices of policy; None without a price."""

    @classmethod
    def of(cls, detail: Mapping[str, Any]) -> Self | None:
        """What a run's figures say; None where they do not, or in another form."""
        try:
            return cls.model_validate(
                {name: detail[name] for name in cls.model_fields if name in detail}
            )
        except ValidationError:
            return None


@evidence_kind("train", granted=True)
class Train(Predicate):
    """A model was trained. Its subject `model` is what is released."""

    method: str
    objective: Sha256
    records: int
    steps: int
    final: dict[str, float | None]
    """Last value of each of the method's signals."""
    device: str
    threads: int
    adapter: Sha256 | None
    equal_rewards: float | None = Field(None, ge=0, le=1, exclude_if=absent)
    """Of methods that compare answers in groups: mean share of groups whose answers all got the
    same reward, over all logged steps.
    """
    use: dict[str, RecordUse] = Field({}, exclude_if=empty)
    """Split (train; validation where it was evaluated) to what became of its records. Older
    trainings have none.
    """
    stopped: EarlyStop | None = Field(None, exclude_if=empty)
    """Why it ended early; absent where it reached its last step."""
    selected: Selected | None = Field(None, exclude_if=empty)
    """Absent where the model of the last step was published."""
    curve: list[CurvePoint] = Field([], exclude_if=empty)
    """Of methods with rewards: reward against divergence along the training. Older trainings have
    none.
    """
    looks: Looks | None = Field(None, exclude_if=absent)
    """Absent where no suite was scored along the training."""
    tools: ToolUse | None = Field(None, exclude_if=absent)
    """Absent where the model had no tools. Means over the logged steps."""
    canaries: Canaries | None = Field(None, exclude_if=absent)
    """Absent where none were planted. `records` and `use` count them."""

    @property
    def compute(self) -> Compute | None:
        """What it used of its machine, where it says so."""
        return Compute.of(self.run.detail)


class Behaviour(Model):
    """How the model behaves on the suite's prompts, without reference answers."""

    not_measured: str | None = None
    """Why there are no measures, where there are none: the model, or the suite, has no answers."""
    measures: dict[str, list[float]] = {}
    """Measure to one number for each of the first items (docs/reward-hacking.md)."""
    parent: Sha256 | None = None
    """The model that `kl` and `parent_reward` compare with."""
    rewards: dict[str, Sha256] = {}
    """The reward functions of `reward` and `parent_reward`, by digest of their source; the reward
    model by that of its folder.
    """
    lower_is_better: list[str] = []
    """The metrics among the scores of which less is better."""


class Pairs(Model):
    """How a reward model ranks the pairs of its suite: one number each, in the suite's order."""

    margins: list[float] = Field(min_length=1)
    """The score of the chosen answer less that of the rejected one."""
    chosen_tokens: list[int]
    """The length of the chosen answer."""
    rejected_tokens: list[int]

    @model_validator(mode="after")
    def _of_the_same_pairs(self) -> Self:
        if not len(self.margins) == len(self.chosen_tokens) == len(self.rejected_tokens):
            raise ValueError("the lists differ in length")
        return self


class StoredAnswers(Model):
    """What became of the answers that were scored, in the file that is the subject `answers`."""

    stored: Literal["redacted", "whole", "none"]
    answers: int
    """How many were scored."""
    config: Sha256 | None = Field(None, exclude_if=absent)
    """Where they are redacted: digest of policies/pii.yaml, by which they were searched."""
    redacted: dict[str, int] = Field({}, exclude_if=empty)
    """Type of personal data to how often it was replaced."""
    withheld: dict[str, int] = Field({}, exclude_if=empty)
    """Reason (PII_DROPPED, PII_BLOCKED, PII_UNSCANNED, PII_REMAINING) to answers that are not
    stored.
    """


@evidence_kind("evaluate", granted=True)
class Evaluate(Predicate):
    """A model was scored. The predicate has every score, so that every comparison can be repeated
    from the log.
    """

    model: Sha256
    """Digest of the model folder that was scored."""
    suite: Sha256
    """Digest of dataset, split, metrics and generation settings."""
    suite_name: str
    not_run: str | None
    """Why there are no scores, where there are none."""
    scores: dict[str, list[float | None]]
    """Metric to one score per item, in the suite's order."""
    slices: dict[str, list[str]] = Field({}, exclude_if=empty)
    """Property of the items (language, topic) to one label per item, in the same order. Older
    evaluations have none.
    """
    functions: dict[str, Sha256] = Field({}, exclude_if=empty)
    """Metric to the digest of the reward function that scores its answers. Older evaluations have
    none.
    """
    behaviour: Behaviour | None = Field(None, exclude_if=absent)
    """Older evaluations have none."""
    pairs: Pairs | None = Field(None, exclude_if=absent)
    """Of a reward model. Older evaluations have none."""
    answers: StoredAnswers | None = Field(None, exclude_if=absent)
    """Of a model that generates. Older evaluations have none."""
    tools: ToolUse | None = Field(None, exclude_if=absent)
    """Absent where the suite has no tools. Of the answers that metrics scored."""
    judged_by: JudgedBy | None = Field(None, exclude_if=absent)
    """Absent where no judge compared answers."""

    @property
    def dataset(self) -> str:
        """The dataset of its items; of a task, the task's name."""
        return self.judged_by.prompts if self.judged_by else self.suite_name

    @property
    def not_shown(self) -> str:
        """The codes of the findings for which its scores do not count; empty where they do
        (`governance.gates.judging.as_shown`).
        """
        return ""

    @property
    def without_scores(self) -> str:
        """Why it has no scores that could be read, in words; empty where it has."""
        if self.not_shown:
            return f"not shown: {self.not_shown}"
        return f"not run: {self.not_run}" if self.not_run is not None else ""


@evidence_kind("reproduction", granted=True, optional_for_release=True)
class Reproduction(Predicate):
    """A training was repeated from the same inputs. The subject is the model that the first
    training made.
    """

    of: Sha256
    """Digest of the `train` statement that was repeated."""
    model: Sha256
    """Digest of the model that resulted now."""
    same_bytes: bool
    largest_difference: float | None
    """The largest absolute difference of any weight; 0 where the bytes are the same, None where
    shapes differ.
    """
    differing: int
    """Tensors that differ."""
    tensors: int
    final: dict[str, float | None]
    """Last value of each signal now, to compare with the first training."""
    device: str


@evidence_kind("seed_run", granted=True, optional_for_release=True)
class SeedRun(Predicate):
    """A training was repeated with another seed, and its model was scored on a suite. The subject
    is the model that the first training made. The new model was not kept.
    """

    of: Sha256
    """Digest of the `train` statement that was repeated. All but the seed is the same."""
    seed: int
    model: Sha256 | None
    """Digest of the model that resulted; None where the training stopped."""
    suite: Sha256
    """Digest of dataset, split, metrics and generation settings."""
    suite_name: str
    items: int
    means: dict[str, float | None]
    """Metric to its mean over the items; empty where the training stopped."""
    findings: list[Finding] = Field([], exclude_if=empty)
    """Why the training stopped, where it did."""


@evidence_kind("failure")
class Failure(Predicate):
    """A stage stopped: it published nothing, and its result counts for nothing.

    Its subject is the attempt: sha256 over the stage and its inputs. No decision reads it.
    """

    step: int | None
    """Training step at which it stopped; None where there is none."""
    findings: list[Finding] = Field(min_length=1)
    """Why. They name figures and counts, never records."""
    counts: dict[str, int]
    """What was counted until then, e.g. records and steps."""
