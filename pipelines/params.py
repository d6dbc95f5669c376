"""The contents of params.yaml: datasets, training stages, and what is registered.

Nothing here can let a refused model pass. Everything that could is in `policies/` (see
`governance.policy.policies`).
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from governance.base.errors import ConfigError, CountersignError, Problems, unknown
from governance.base.model import Model, Slug, empty
from governance.base.yaml import load_model, place, read_yaml
from governance.policy.evaluation import MetricName
from pipelines import paths

Kind = Literal["conversation", "preference", "unpaired", "prompt", "rated"]
"""The kinds of record; see `pipelines.kinds`."""

StopRule = Literal["kl_above", "reward_above"]
"""Which signal can end a training early; see `pipelines.training.stopping`."""


class RecordKey(Model):
    """The key that makes record ids. `development` is fixed, public and marked as such."""

    key: str = "development"
    """`development`, or the path of a file with 32 random bytes in hexadecimal. Keep it with the
    data and out of git.
    """
    key_id: str = "development"
    """The id that `countersign record-key` printed for that file. A changed key then rebuilds all
    that depends on it.
    """


class Sample(Model):
    """A seeded sample dataset written by `pipelines.samples` to `data/source/NAME.jsonl`."""

    part: str
    """Which part of the support desk: see `pipelines.samples.PARTS`."""
    n: int = Field(gt=0, le=1_000_000)
    seed: int = Field(ge=0)


class HubDataset(Model):
    """A Hugging Face dataset at a pinned revision, fetched to `data/source/NAME.parquet`."""

    path: str
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    config: str | None = None
    split: str = "train"


class Splits(Model):
    """Shares of the records. A record's split follows from its id alone."""

    train: float = Field(1.0, ge=0, le=1)
    validation: float = Field(0.0, ge=0, le=1)
    test: float = Field(0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(self.train + self.validation + self.test - 1.0) > 1e-9:
            raise ValueError("train + validation + test must be 1")
        return self


FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,62}$")]
ExtraName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]

TAKEN = frozenset(
    {
        *("prompt", "prompts", "completion", "completions", "completion_ids", "answer", "text"),
        *("image", "images", "tools", "environment", "environments", "chat_template_kwargs"),
        *("trainer_state", "log_extra", "log_metric", "turns", "extra", "countersign_position"),
    }
)
"""Names that TRL gives to reward functions, or reads from its columns."""

Label = Annotated[str, StringConstraints(min_length=1, max_length=60, strip_whitespace=True)]


class Dataset(Model):
    """One row of the data table: a source file or folder that becomes `data/ready/NAME`."""

    kind: Kind
    source: str
    """A file (JSONL, JSON, CSV, Parquet), or a folder of files that are mixed in the order of their
    names.
    """
    suite: Slug
    """The quality suite: `policies/quality/SUITE.yaml`."""
    held_out: Slug
    """The dataset into which no record of this one may leak. Its own name if it is held out itself
    or has none.
    """
    fields: dict[str, str] = {}
    """Target field to source field, for a shape that is not recognised, e.g. `prompt: question`."""
    splits: Splits = Splits(train=1.0, validation=0.0, test=0.0)
    encoding: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,40}$")] = "utf-8"
    guideline: str = Field("", exclude_if=empty)
    """A file with what raters were told. Its digest stands in ingest's statement."""
    raters: str = Field("", exclude_if=empty)
    """A file of raters and their groups (docs/raters.md)."""
    slices: dict[FieldName, Annotated[list[Label], Field(min_length=1, max_length=50)]] = Field(
        {}, exclude_if=empty
    )
    """Source field to the labels that evidence and reports may name, e.g. `language: [en, de]`.
    Evaluations are also shown by slice. Every other value of the field is `other`.
    """
    extra: dict[ExtraName, str] = Field({}, exclude_if=empty)
    """Of prompts: what reward functions get beside the answer, name to source field, e.g.
    `tests: test`. A record keeps its values as they are.
    """

    @model_validator(mode="after")
    def _extra_of_prompts(self) -> Self:
        if self.extra and self.kind != "prompt":
            raise ValueError(f"only datasets of kind prompt have extra columns, not {self.kind}")
        if taken := sorted(self.extra.keys() & TAKEN):
            raise ValueError(f"extra columns cannot have the name {', '.join(taken)}")
        return self


OWN_VERSION = re.compile(r"models:/[a-z][a-z0-9_-]{0,62}/[1-9][0-9]*")


class Base(Model):
    """A model that no stage here trains, imported to `models/NAME/model`."""

    source: str
    """`Qwen/Qwen3-0.6B@<40 hex digits>`, a local folder, a registered version of this project
    (`models:/support-desk/3`), or an architecture to train from scratch: a file (`*.json`) or
    `builtin:tiny`.
    """
    suite: Slug
    """The dataset it is evaluated on, to compare it with the models trained from it."""
    chat_template: str | None = Field(None, exclude_if=empty)
    """A file (Jinja, as transformers has it) for a model that has no chat template, or another one.
    Without it, a model with weights and no template gets `pipelines/training/chat.jinja`.
    """

    @property
    def is_own_version(self) -> bool:
        """Whether the source is a registered version of this project."""
        return OWN_VERSION.fullmatch(self.source) is not None


class Lora(Model):
    """LoRA (https://arxiv.org/abs/2106.09685) on all linear layers except the head, with PEFT's
    names.
    """

    r: int = Field(16, gt=0)
    lora_alpha: float = Field(32, gt=0)
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: str | list[str] = "all-linear"
    quantize: Literal["nf4"] | None = Field(None, exclude_if=empty)
    """Hold the parent's weights in this type of 4 bits while the adapter trains (QLoRA,
    `pipelines.training.quantization`).
    """
    double_quantize: bool = Field(False, exclude_if=empty)
    """Quantise the constants of the quantisation, too: 0.4 bits less per weight."""
    compute_dtype: Literal["bfloat16", "float16", "float32"] | None = Field(None, exclude_if=empty)
    """The type in which products are computed; bfloat16 if none is given."""

    @model_validator(mode="after")
    def _options_of_quantize(self) -> Self:
        if self.quantize is None and (self.double_quantize or self.compute_dtype):
            raise ValueError("double_quantize and compute_dtype are options of `quantize: nf4`")
        return self


class Reward(Model):
    """One reward function of an objective: `pipelines/rewards/NAME.py` of the package,
    `rewards/NAME.py` of the project, or `model` for the stage's scorer.
    """

    name: Slug
    weight: float = 1.0
    options: dict[str, Any] = {}


class StopSuite(Model):
    """Ends a training by a score on the `validation` split of its dataset, with the metrics and
    settings of the stage's suite (`pipelines.training.looks`).
    """

    metric: MetricName
    """One of the suite's metrics."""
    every: int = Field(gt=0)
    """Steps between two looks."""
    limit: int = Field(64, gt=0, le=1000)
    """At most this many records, the first by id."""
    below: float | None = None
    above: float | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.below is None and self.above is None:
            raise ValueError("give below or above")
        return self


class Tools(Model):
    """Tools that the model may call while it answers (`pipelines.training.tool_files`)."""

    names: list[Slug] = Field(min_length=1)
    """`rewards/tools/NAME.py` of the project."""
    rounds: int = Field(4, gt=0, le=100)
    """How often it may go on after results of calls."""


class Stop(Model):
    """Limits at which a training ends early, and its model is published as it is then."""

    kl_above: float | None = Field(None, gt=0)
    """Mean KL divergence from the reference, in nats per token of the answers."""
    reward_above: float | None = None
    """Mean reward of the answers: more training would only wear the reward out."""
    suite: StopSuite | None = Field(None, exclude_if=empty)
    """A score on held-back records."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.kl_above is None and self.reward_above is None and self.suite is None:
            raise ValueError("give kl_above, reward_above or suite")
        return self

    @property
    def limits(self) -> dict[StopRule, float]:
        """Rule to limit, of those that are given."""
        fields: dict[StopRule, float | None] = {
            "kl_above": self.kl_above,
            "reward_above": self.reward_above,
        }
        return {rule: limit for rule, limit in fields.items() if limit is not None}


class Select(Model):
    """Which step's model is published: the best one on the dataset's validation split."""

    metric: Annotated[str, StringConstraints(pattern=r"^eval_[A-Za-z0-9_/]{1,80}$")] = "eval_loss"
    """With TRL's name: `eval_loss`, `eval_accuracy`, `eval_rewards/margins`, `eval_reward`."""
    best: Literal["lowest", "highest"] = "lowest"
    every: int = Field(gt=0)
    """Steps between two looks."""


class CanarySettings(Model):
    """Made-up secrets that a training plants among its records (`pipelines.leaks.canaries`)."""

    count: int = Field(ge=2, le=1000)
    repetitions: int = Field(1, ge=1, le=1000)
    """How often each of them stands among the records."""


class Stage(Model):
    """One row of the training table. What `trainer` does not name has TRL's default, or the
    method's.
    """

    method: Slug
    data: Slug
    parent: Slug
    """The stage or base this one starts from."""
    scorer: Slug
    """The reward model of GRPO or RLOO; otherwise the parent's name."""
    suite: Slug
    """The dataset the result is evaluated on."""
    seed: int = Field(0, ge=0, lt=2**31)
    threads: int = Field(1, ge=1)
    """CPU threads. They are part of the result: another number gives other bits."""
    processes: int = Field(1, ge=1)
    """Processes that train together, on all nodes: each learns from batches of its own, so the
    batch of a step grows with them. The machine's launcher starts them (COUNTERSIGN_LAUNCH).
    """
    lora: Lora | None = None
    rewards: list[Reward] = []
    tools: Tools | None = Field(None, exclude_if=empty)
    """For GRPO. The stage's suite has the same."""
    trainer: dict[str, Any] = {}
    """TRL's own arguments, with TRL's names. They are checked against the method's config class."""
    stop: Stop | None = Field(None, exclude_if=empty)
    """For methods with rewards: when the training ends early."""
    select: Select | None = Field(None, exclude_if=empty)
    """Without it, the model of the last step is published."""
    canaries: CanarySettings | None = Field(None, exclude_if=empty)
    """Without it, none are planted."""


class Generation(Model):
    """How answers are generated in an evaluation."""

    max_new_tokens: int = Field(64, gt=0)
    samples: int = Field(0, ge=0)
    """Sampled answers per prompt, in addition to the greedy one."""
    temperature: float = Field(1.0, gt=0)
    batch_size: int = Field(64, gt=0)


class Suite(Model):
    """How models are evaluated on one dataset; keyed by that dataset's name."""

    metrics: list[MetricName] = Field(min_length=1)
    """From `pipelines.metrics`: a name of its table, `greedy:NAME` or `sampled:NAME` for a reward
    function NAME.
    """
    split: Literal["train", "validation", "test"] = "test"
    limit: int | None = Field(None, gt=0)
    """At most this many records, the first by id."""
    seed: int = Field(0, ge=0)
    generation: Generation = Generation()
    tools: Tools | None = Field(None, exclude_if=empty)
    """With them, the model answers as in a training with these tools, and its last message is
    scored.
    """


class Evaluation(Model):
    """One row of the table of further evaluations: a model on a suite beside its own."""

    model: Slug
    """The stage or base that is evaluated."""
    suite: Slug


class TaskEvaluation(Model):
    """One row of the table of evaluations on tasks of lm-evaluation-harness (`pipelines.tasks`)."""

    model: Slug
    """The stage or base that is evaluated."""
    task: Slug
    """The folder `tasks/TASK`. Policy, reports and findings call the suite so."""
    chat_template: bool = False
    """Whether the model's chat template is applied to the prompts."""
    batch_size: int = Field(16, gt=0)
    limit: int | None = Field(None, gt=0)
    """At most this many items, the first of the task's split."""


class Asking(Model):
    """How models are asked to write or to compare."""

    seed: int = Field(0, ge=0, lt=2**31)
    threads: int = Field(1, ge=1)
    """CPU threads. They are part of the result."""
    max_new_tokens: int = Field(256, gt=0, le=32_768)
    temperature: float = Field(1.0, gt=0, le=2)
    """Of answers. Judges decide at 0."""
    batch_size: int = Field(32, gt=0)


class JudgeFamily(Model):
    """Which answers of labelled pairs are by models of the judge's own family."""

    chosen: FieldName
    rejected: FieldName
    """Fields of the source that name who wrote each answer: `slices` of the dataset has them."""
    own: list[Label] = Field(min_length=1)
    """Names of models of the judge's family."""


class JudgeCheck(Asking):
    """A judge that is checked before its judgements count (docs/judges.md)."""

    judge: Slug
    """The stage or base whose model compares: a reward model or a language model."""
    endpoint: Slug | None = None
    """The endpoint of policies/policy.yaml that is asked in its place. DVC still needs a model's
    name: give any that is there already.
    """
    constitution: Slug
    """`policies/constitutions/CONSTITUTION.yaml`: by what it compares."""
    labelled: Slug
    """A dataset of kind `preference` or `rated` (two answers each) that people labelled."""
    split: Literal["train", "validation", "test"] = "test"
    limit: int = Field(400, gt=0)
    """At most this many labelled pairs, the first by id."""
    probes: int = Field(100, gt=0)
    """At most this many of them are also tried with longer answers, attacks and so on."""
    family: JudgeFamily | None = None


class JudgedEvaluation(Asking):
    """One row of the table of judged evaluations: a judge compares a model's answers to prompts
    with those of an opponent (docs/judged-evaluation.md).
    """

    model: Slug
    """The stage or base that is evaluated."""
    suite: Slug
    """What policy, reports and findings call the suite. No dataset, suite or task has the name."""
    prompts: Slug
    """A dataset of kind `prompt`."""
    opponent: Slug
    """The stage or base whose answers the judge compares with the model's."""
    judge: Slug
    """The row of `judges` that says who compares, by which constitution, and checks it."""
    split: Literal["train", "validation", "test"] = "test"
    limit: int | None = Field(None, gt=0)
    """At most this many prompts, the first by id."""


class LeakProbe(Model):
    """One row of the table of leak probes: what a model gives away of the records of one training
    of its chain. DVC needs its dataset and parent here.
    """

    model: Slug
    """The stage whose model is probed."""
    data: Slug
    """The dataset of the training whose records are looked for."""
    parent: Slug
    """What that training started from; its loss is the reference."""
    records: int = Field(1000, ge=2)
    """At most this many members, and as many held-out records, the first by id."""
    candidates: int = Field(511, ge=15, le=100_000)
    """Secrets that each canary is compared with."""


class Generate(Asking):
    """A dataset that models write to `data/source/NAME.jsonl`, by the principles of a constitution
    (docs/generated-data.md).
    """

    kind: Literal["revisions", "pairs"]
    """`revisions`: a draft, its critique, and a revision, which is the answer of a conversation.
    `pairs`: two drafts, of which a judge prefers one.
    """
    prompts: Slug
    """A dataset of kind `prompt`."""
    constitution: Slug
    """`policies/constitutions/CONSTITUTION.yaml`."""
    generator: Slug
    """The stage or base whose model writes drafts and revisions."""
    judge: Slug
    """The stage or base whose model criticises or compares. For pairs, it may be a reward model."""
    checked: Slug | None = None
    """The row of `judges` that checks this judge by this constitution. Without it, no decision
    allows the data.
    """
    endpoints: dict[Literal["generator", "judge"], Slug] = {}
    """Role to the endpoint of policies/policy.yaml that is asked in place of the model. DVC still
    needs a model's name for the role: give that of the other role.
    """
    split: Literal["train", "validation", "test"] = "train"
    limit: int | None = Field(None, gt=0)
    """At most this many prompts, the first by id."""
    principles: int = Field(1, ge=1, le=100)
    """How many principles each prompt is used with, drawn by the seed and the prompt's id."""


class Release(Model):
    """One row of the release table, keyed by the registered model's name."""

    stage: Slug
    """The stage whose model is registered; or the base, if a model that was trained elsewhere is
    released as it is (docs/imports.md).
    """


class Params(Model):
    """The whole of params.yaml."""

    project: Slug
    """Names the log and registry of this project on this machine."""
    records: RecordKey
    samples: dict[Slug, Sample]
    """`{}` if there are none: DVC needs the table, and so it does `hub`."""
    hub: dict[Slug, HubDataset]
    datasets: dict[Slug, Dataset]
    bases: dict[Slug, Base]
    stages: dict[Slug, Stage]
    suites: dict[Slug, Suite]
    evaluations: dict[Slug, Evaluation] = {}
    tasks: dict[Slug, TaskEvaluation] = {}
    """`{}` if there are none: a dvc.yaml with the stage `evaluate_task` needs the table."""
    leak_probes: dict[Slug, LeakProbe] = {}
    """`{}` if there are none: a dvc.yaml with the stage `probe_leaks` needs the table."""
    generate: dict[Slug, Generate] = {}
    """`{}` if nothing is generated: a dvc.yaml with this stage needs the table."""
    judges: dict[Slug, JudgeCheck] = {}
    """`{}` if there are none: a dvc.yaml with the stage `check_judge` needs the table."""
    judged: dict[Slug, JudgedEvaluation] = {}
    """`{}` if there are none: a dvc.yaml with the stage `evaluate_judged` needs the table."""
    releases: dict[Slug, Release] = Field(min_length=1)

    def evaluated(self, key: str) -> str:
        """The stage or base that is evaluated under this key: of a row of `evaluations`, `tasks` or
        `judged`, or itself.
        """
        rows = (self.evaluations.get(key), self.tasks.get(key), self.judged.get(key))
        return next((row.model for row in rows if row), key)

    def further(self, model: str) -> dict[str, str]:
        """Row of `evaluations`, `tasks` and `judged` to suite, of a stage or base."""
        return {name: suite for _, name, of, suite in _further(self) if of == model}

    def suite_of(self, model: str) -> str:
        """The suite of a base, a stage or a row of `evaluations` or `judged`; the task of a row of
        `tasks`.
        """
        if model in self.judged:
            return self.judged[model].suite
        if model in self.evaluations:
            return self.evaluations[model].suite
        if model in self.tasks:
            return self.tasks[model].task
        return self.bases[model].suite if model in self.bases else self.stages[model].suite

    def probed(self, key: str) -> str:
        """The stage whose training a row of `leak_probes` is about."""
        return next(iter(self.training_of(self.leak_probes[key])))

    def training_of(self, row: LeakProbe) -> list[str]:
        """The stages of the model's chain that train on the row's dataset from the row's parent.
        The model's own comes first.
        """
        others = sorted(self._chain(row.model) & self.stages.keys() - {row.model})
        chain, wanted = [row.model, *others], (row.data, row.parent)
        return [one for one in chain if (self.stages[one].data, self.stages[one].parent) == wanted]

    def judged_on(self, dataset: str, split: str) -> str | None:
        """A stage, base or row of `evaluations` or `judged` whose suite scores these records. What
        is chosen by them must not be judged by them.
        """
        for name, judged in self.judged.items():
            if (judged.prompts, judged.split) == (dataset, split):
                return name
        if dataset not in self.suites or self.suites[dataset].split != split:
            return None
        rows = [*self.stages, *self.bases, *self.evaluations]
        return next((name for name in rows if self.suite_of(name) == dataset), None)

    def released_from(self, stage: str) -> list[str]:
        """The registered models whose chain holds this stage. A stage that leads to none of them is
        held to the demands on all.
        """
        rows = self.releases.items()
        return [name for name, row in rows if stage in self._chain(row.stage)] or [*self.releases]

    def released_with(self, generated: str) -> list[str]:
        """The registered models that are trained on a generated dataset, or on what is generated
        from it; all, if none is.
        """
        rows, before = {generated}, 0
        while len(rows) > before:
            before = len(rows)
            derived = {
                name for name, row in self.generate.items() if self._written(row.prompts) in rows
            }
            rows |= derived
        data = {name for name in self.datasets if self.generated(name) in rows}
        stages = [name for name, row in self.stages.items() if row.data in data]
        found = {model for stage in stages for model in self.released_from(stage)}
        return [model for model in self.releases if model in found] or [*self.releases]

    def generated(self, dataset: str) -> str | None:
        """The row of `generate` that writes the source of a dataset."""
        source = Path(self.datasets[dataset].source)
        return next((name for name in self.generate if paths.sample(name) == source), None)

    def _chain(self, stage: str) -> set[str]:
        """A stage and all stages and bases that it builds on."""
        found: set[str] = set()
        queue = [stage]
        while queue:
            name = queue.pop()
            if name not in found and (row := self.stages.get(name)):
                queue += [row.parent, row.scorer, *self._makers(row.data)]
            found.add(name)
        return found

    def _makers(self, dataset: str) -> set[str]:
        """The stages and bases that write or judge a dataset, or the prompts that it is generated
        from.
        """
        found, rows = set[str](), set[str]()
        made = self._written(dataset)
        while made is not None and made not in rows:
            rows.add(made)
            found |= {self.generate[made].generator, self.generate[made].judge}
            made = self._written(self.generate[made].prompts)
        return found

    def _written(self, dataset: str) -> str | None:
        """As `generated`; None for a dataset without a row, too."""
        return self.generated(dataset) if dataset in self.datasets else None


def load_params(root: Path) -> Params:
    """The parameters of the project at `root`. Raises `ConfigError`, or `Problems` with every
    mistake.
    """
    path = root / "params.yaml"
    try:
        params = load_model(path, Params)
    except Problems as problems:
        raise _old_release(path) or _old_ignore(path) or problems from None
    if broken := broken_references(params, path):
        raise Problems(broken)
    return params


def _old_release(path: Path) -> ConfigError | None:
    """The error for `release: {model: NAME, stage: STAGE}`, which became a table."""
    content = read_yaml(path)
    row = content.get("release") if isinstance(content, dict) else None
    if row is None:
        return None
    names = row if isinstance(row, dict) else {}
    new = f"releases: {{{names.get('model', 'MODEL')}: {{stage: {names.get('stage', 'STAGE')}}}}}"
    return ConfigError(
        "`release` is now a table, because a project may release several models",
        where=place(path, "release"),
        expected=new,
        fix="write it so; dvc.yaml has `register@MODEL` and `report@MODEL` now: take the new one",
    )


def _old_ignore(path: Path) -> ConfigError | None:
    """The error for `ignore` in a dataset's row, which became policy."""
    content = read_yaml(path)
    datasets = content.get("datasets") if isinstance(content, dict) else None
    rows = datasets if isinstance(datasets, dict) else {}
    ignored = {
        name: row["ignore"]
        for name, row in rows.items()
        if isinstance(row, dict) and "ignore" in row
    }
    if not ignored:
        return None
    policy = json.dumps({"ignored_fields": ignored})
    return ConfigError(
        "`ignore` is now policy, because it says which data may be left out",
        where=place(path, "datasets", next(iter(ignored)), "ignore"),
        expected=f"in policies/policy.yaml, under `ingest`: {policy}",
        fix="write it there, and delete `ignore` here",
    )


def broken_references(params: Params, path: Path) -> list[CountersignError]:
    """References to rows that do not exist, and stages that build on each other in a circle."""
    wrong: list[CountersignError] = []

    def need(name: str, table: Iterable[str], what: str, *field: str) -> None:
        known = sorted(table)
        if name not in known:
            wrong.append(unknown(what, name, known, place(path, *field)))

    models = {*params.bases, *params.stages}
    for name in sorted(set(params.bases) & set(params.stages)):
        found, where = f"{name!r} is both a base and a stage", place(path, "stages", name)
        wrong.append(ConfigError(found, where=where, fix="delete one of the rows"))
    for name, dataset in params.datasets.items():
        need(dataset.held_out, params.datasets, "dataset", "datasets", name, "held_out")
    for name, base in params.bases.items():
        need(base.suite, params.suites, "suite", "bases", name, "suite")
    for name, stage in params.stages.items():
        need(stage.data, params.datasets, "dataset", "stages", name, "data")
        need(stage.parent, models - {name}, "other stage or base", "stages", name, "parent")
        need(stage.scorer, models - {name}, "other stage or base", "stages", name, "scorer")
        need(stage.suite, params.suites, "suite", "stages", name, "suite")
    for name in params.suites:
        need(name, params.datasets, "dataset", "suites", name)
    wrong += _generated_suites(params, path)
    wrong += [*_broken_evaluations(params, path), *_broken_probes(params, path)]
    for name, release in params.releases.items():
        need(release.stage, models, "stage or base", "releases", name, "stage")
    wrong += [*_broken_generate(params, path), *_broken_judges(params, path)]
    wrong += _broken_judged(params, path)
    return wrong or _circles(params, path)


def _further(params: Params) -> Iterator[tuple[str, str, str, str]]:
    """Table, name, model and suite of each row of `evaluations`, `tasks` and `judged`."""
    for name, row in params.evaluations.items():
        yield "evaluations", name, row.model, row.suite
    for name, task in params.tasks.items():
        yield "tasks", name, task.model, task.task
    for name, judged in params.judged.items():
        yield "judged", name, judged.model, judged.suite


def _broken_evaluations(params: Params, path: Path) -> Iterator[CountersignError]:
    """Rows of `evaluations`, `tasks` and `judged` of models or suites that do not exist, with a
    name that something else has, or for a suite that the model is evaluated on already.
    """
    named = {"tasks": "task", "judged": "judged suite"}
    taken = {
        "evaluations": set[str](),
        "tasks": {*params.evaluations},
        "judged": {*params.evaluations, *params.tasks},
    }
    models = sorted({*params.bases, *params.stages})
    seen = {(name, params.suite_of(name)) for name in models}
    for table, name, model, suite in _further(params):
        where, is_own = place(path, table, name), table in named
        if model not in models:
            yield unknown("stage or base", model, models, place(path, table, name, "model"))
        if not is_own and suite not in params.suites:
            known = sorted(params.suites)
            yield unknown("suite", suite, known, place(path, table, name, "suite"))
        if is_own and suite in params.suites:
            found = f"the {named[table]} {suite!r} has the name of a suite"
            fix = "give the task's folder another name" if table == "tasks" else "name it otherwise"
            yield ConfigError(found, where=where, fix=fix)
        if name in models or name in taken[table]:
            found = f"{name!r} is the name of a stage, base or row of evaluations, too"
            yield ConfigError(found, where=where, fix="give the row another name")
        if (model, suite) in seen:
            found = f"{model} is evaluated on {suite} already"
            yield ConfigError(found, where=where, fix="delete the row")
        seen.add((model, suite))


def _generated_suites(params: Params, path: Path) -> Iterator[CountersignError]:
    """Suites that models of the project write. All data is compared with every suite before a model
    is trained on it, so they would be there before the models that write them.
    """
    for name in sorted(params.suites.keys() & params.datasets.keys()):
        if (row := params.generated(name)) is not None:
            found = f"a model of this project writes the suite {name} (generate.{row})"
            expected = "a file that is there before anything is trained"
            fix = f"copy {paths.sample(row)} under a name of its own, and give that as the source"
            where = place(path, "datasets", name, "source")
            yield ConfigError(found, where=where, expected=expected, fix=fix)


def _broken_probes(params: Params, path: Path) -> Iterator[CountersignError]:
    """Rows of `leak_probes` that are about no training of the model's chain, or with a name that
    something else has.
    """
    taken = {
        *(*params.bases, *params.stages),
        *(*params.evaluations, *params.tasks, *params.judged),
    }
    for name, row in params.leak_probes.items():
        where = place(path, "leak_probes", name)
        if row.model not in params.stages:
            known = sorted(params.stages)
            yield unknown("stage", row.model, known, place(path, "leak_probes", name, "model"))
        elif not params.training_of(row):
            found = f"no stage that leads to {row.model} trains on {row.data} from {row.parent}"
            fix = "name the data and the parent of one"
            yield ConfigError(found, where=where, fix=fix)
        if name in taken:
            found = f"{name!r} is the name of a stage, base or row of evaluations, too"
            yield ConfigError(found, where=where, fix="give the row another name")


def _broken_generate(params: Params, path: Path) -> Iterator[CountersignError]:
    models = {*params.bases, *params.stages}
    for name, row in params.generate.items():
        wanted: tuple[tuple[str, Collection[str]], ...]
        wanted = (("prompts", params.datasets), ("generator", models), ("judge", models))
        for field, table in wanted:
            value = getattr(row, field)
            if value not in table:
                what = "dataset" if field == "prompts" else "stage or base"
                yield unknown(what, value, sorted(table), place(path, "generate", name, field))
        if name in params.samples:
            found, where = f"{name!r} is also a row of samples", place(path, "generate", name)
            yield ConfigError(found, where=where, fix="give it another name")


def _broken_judges(params: Params, path: Path) -> Iterator[CountersignError]:
    """Rows of `judges` that name nothing, and rows of `generate` that are checked by another judge,
    or by another constitution, than they ask.
    """
    models = sorted({*params.bases, *params.stages})
    for name, row in params.judges.items():
        if row.judge not in models:
            yield unknown("stage or base", row.judge, models, place(path, "judges", name, "judge"))
        where = place(path, "judges", name, "labelled")
        if row.labelled not in params.datasets:
            yield unknown("dataset", row.labelled, sorted(params.datasets), where)
        elif params.generated(row.labelled) is not None:
            found = f"a model writes {row.labelled}"
            yield ConfigError(found, where=where, expected="data that people labelled")
    for name, made in params.generate.items():
        where = place(path, "generate", name, "checked")
        checked = params.judges.get(made.checked or "")
        if checked is None:
            if made.checked is not None:
                yield unknown("judge", made.checked, sorted(params.judges), where)
            continue
        asked = (made.endpoints.get("judge") or made.judge, made.constitution)
        found_by = (checked.endpoint or checked.judge, checked.constitution)
        if asked != found_by:
            found = f"{made.checked} checks {found_by[0]} by {found_by[1]}"
            yield ConfigError(found, where=where, expected=f"{asked[0]} by {asked[1]}")


def _broken_judged(params: Params, path: Path) -> Iterator[CountersignError]:
    """Rows of `judged` whose prompts, opponent or judge do not exist or do not fit."""
    models = sorted({*params.bases, *params.stages})
    tasks = {row.task for row in params.tasks.values()}
    for name, row in params.judged.items():
        where = place(path, "judged", name)
        if row.prompts not in params.datasets:
            known = sorted(params.datasets)
            yield unknown("dataset", row.prompts, known, place(path, "judged", name, "prompts"))
        elif (kind := params.datasets[row.prompts].kind) != "prompt":
            found = f"{row.prompts} has records of kind {kind}"
            yield ConfigError(found, where=where, expected="a dataset of kind prompt")
        elif row.prompts not in params.suites or params.suites[row.prompts].split != row.split:
            found = f"no training data is compared with the split {row.split} of {row.prompts}"
            expected = f"a row suites.{row.prompts} with this split, which holds its prompts out"
            yield ConfigError(found, where=where, expected=expected)
        if row.opponent not in models:
            at = place(path, "judged", name, "opponent")
            yield unknown("stage or base", row.opponent, models, at)
        elif row.opponent == row.model:
            found = f"{row.model} is compared with itself"
            yield ConfigError(found, where=where, expected="another model as its opponent")
        if row.judge not in params.judges:
            at = place(path, "judged", name, "judge")
            yield unknown("judge", row.judge, sorted(params.judges), at)
        if row.suite in params.datasets or row.suite in tasks:
            found = f"the judged suite {row.suite!r} has the name of a dataset or task"
            yield ConfigError(found, where=where, fix="name it otherwise")


def _circles(params: Params, path: Path) -> list[CountersignError]:
    """Stages and generated datasets that build on themselves through others."""
    before = {name: _written(params, row.suite) for name, row in params.bases.items()}
    judged: dict[str, set[str]] = {}  # whatever reads a model's evaluations waits for these
    for name, compared in params.judged.items():
        judged.setdefault(compared.model, set()).add(f"evaluate_judged@{name}")
        asked = {compared.model, compared.opponent, f"check_judge@{compared.judge}"}
        before[f"evaluate_judged@{name}"] = asked | _written(params, compared.prompts)
    for name, stage in params.stages.items():
        data = _written(params, stage.data) | _written(params, stage.suite)
        before[name] = {stage.parent, stage.scorer} | data
        before[name] |= judged.get(stage.parent, set()) | judged.get(stage.scorer, set())
    for name, row in params.generate.items():
        checked = {f"check_judge@{row.checked}"} if row.checked else set()
        before[f"generate@{name}"] = {row.generator, row.judge} | _written(params, row.prompts)
        for model in (row.generator, row.judge):
            checked |= judged.get(model, set())
        before[f"generate@{name}"] |= checked
    for name, judge in params.judges.items():
        before[f"check_judge@{name}"] = {judge.judge} | _written(params, judge.labelled)
    try:
        tuple(TopologicalSorter(before).static_order())
    except CycleError as error:
        circle = list(dict.fromkeys(error.args[1]))
        found = f"{' and '.join(circle)} build on each other"
        fix = "give one of them another parent, scorer, generator, judge, opponent or prompts"
        family, _, row = circle[0].rpartition("@")
        table = {"evaluate_judged": "judged", "check_judge": "judges"}.get(family, family)
        where = place(path, table or ("bases" if row in params.bases else "stages"), row)
        return [ConfigError(found, where=where, fix=fix)]
    return []


def _written(params: Params, dataset: str) -> set[str]:
    """The stages that write the source of a dataset, or of the one that it is compared with."""
    made = (params.generated(name) for name in (dataset, params.datasets[dataset].held_out))
    return {f"generate@{name}" for name in made if name is not None}
