"""The objective of a training stage: everything in params.yaml that determines its result, under
one digest.

Imports no torch, so that the gate can name the objective. `resolve` finds every mistake in a
stage's row that needs no data; all are reported together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from governance.attest import canonical
from governance.base.errors import ConfigError, CountersignError, Problems
from governance.base.model import Json, Model, Sha256, empty
from pipelines.architectures import is_architecture
from pipelines.params import CanarySettings, Params, Select, Stage, StopRule
from pipelines.training import arguments, looks, rewards, selection, stopping, tool_files, vllm
from pipelines.training.methods import Method, method


class ResolvedReward(Model):
    """One reward function, by its source."""

    name: str
    weight: float
    options: dict[str, Json]
    source: Sha256
    """sha256 of the function's source text (`pipelines.training.rewards.source_digest`)."""


class ResolvedTools(Model):
    """Tools that the model may call, by their source."""

    functions: dict[str, Sha256]
    rounds: int


def _single(processes: int) -> bool:
    """Digests of objectives from before the field stay."""
    return processes == 1


class Objective(Model):
    """A stage's objective in the form that is digested, recorded and given to the trainer."""

    method: str
    seed: int
    threads: int
    lora: dict[str, Json] | None
    rewards: list[ResolvedReward]
    tools: ResolvedTools | None = Field(None, exclude_if=empty)
    trainer: dict[str, Json]
    """The given TRL arguments over our defaults. All others have the pinned TRL's default."""
    processes: int = Field(1, exclude_if=_single)
    """How many train together: the batch of a step has their number times
    `per_device_train_batch_size` records.
    """
    stop: dict[StopRule, float] = Field({}, exclude_if=empty)
    """Rule to limit, of those that are given (`pipelines.training.stopping`)."""
    stop_suite: looks.SuiteRule | None = Field(None, exclude_if=empty)
    select: Select | None = Field(None, exclude_if=empty)
    canaries: CanarySettings | None = Field(None, exclude_if=empty)

    @property
    def digest(self) -> str:
        """sha256 of its text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def text(self) -> str:
        """The canonical JSON of all of it."""
        return canonical.dumps(self.model_dump(mode="json")).decode()


def functions(objective: Objective) -> dict[str, str]:
    """The code that the objective runs: reward function, or `tools/NAME`, to its digest."""
    tools = objective.tools.functions if objective.tools else {}
    named = {f"{tool_files.PREFIX}{name}": source for name, source in tools.items()}
    return {reward.name: reward.source for reward in objective.rewards} | named


def texts(objective: Objective) -> dict[str, str]:
    """sha256 to text of the objective, its reward functions and tools: what a person reads before
    they approve a digest.
    """
    texts = [objective.text, *(rewards.source_text(reward.name) for reward in objective.rewards)]
    texts += map(tool_files.source_text, objective.tools.functions if objective.tools else ())
    # by what each text is: a file that changed meanwhile must not stand under the older digest
    return {hashlib.sha256(text.encode()).hexdigest(): text for text in texts}


def resolve(params: Params, name: str) -> Objective:
    """The objective of stage `name`. Raises `ConfigError`, or `Problems` with every mistake of its
    row.
    """
    stage, where = params.stages[name], f"params.yaml: stages.{name}"
    chosen = method(stage.method, f"{where}.method")
    trainer, wrong = arguments.check(
        chosen, {**chosen.defaults, **stage.trainer}, f"{where}.trainer"
    )
    stop = stage.stop.limits if stage.stop else {}
    wrong += vllm.mistakes(trainer, f"{where}.trainer")
    wrong += stopping.mistakes(stage.stop, chosen, trainer, f"{where}.stop")
    wrong += looks.mistakes(params, stage, chosen, where)
    wrong += [*_of_tools(params, stage, chosen, where), *_of_canaries(stage, chosen, where)]
    validation = params.datasets[stage.data].splits.validation
    wrong += selection.mistakes(stage.select, stage.trainer, validation, where)
    if stage.select is not None:
        wrong += selection.judged(params, stage.data, f"{where}.select")
    wrong += [*_of_rewards(params, stage, chosen, where), *_of_models(params, stage, chosen, where)]
    if wrong:
        raise wrong[0] if len(wrong) == 1 else Problems(wrong)
    return Objective(
        method=chosen.name,
        seed=stage.seed,
        threads=stage.threads,
        processes=stage.processes,
        lora=stage.lora.model_dump() if stage.lora else None,
        rewards=[
            ResolvedReward(**dict(reward), source=rewards.source_digest(reward.name))
            for reward in stage.rewards
        ],
        tools=_tools(stage),
        trainer=dict(sorted(trainer.items())),
        stop=dict(sorted(stop.items())),
        stop_suite=looks.resolve(params, stage),
        select=stage.select,
        canaries=stage.canaries,
    )


def _tools(stage: Stage) -> ResolvedTools | None:
    if stage.tools is None:
        return None
    sources = {name: tool_files.source_digest(name) for name in stage.tools.names}
    return ResolvedTools(functions=sources, rounds=stage.tools.rounds)


def _of_tools(
    params: Params, stage: Stage, chosen: Method, where: str
) -> Iterator[CountersignError]:
    if stage.tools is None:
        return
    place = f"{where}.tools"
    if not chosen.calls_tools:
        found = f"the trainer of {chosen.name} calls no tools"
        yield ConfigError(found, where=place, expected="method grpo", fix="delete the field")
    for name in stage.tools.names:
        yield from tool_files.mistakes(name, f"{place}.names")
    if params.suites[stage.suite].tools != stage.tools:
        found = f"its suite {stage.suite} has other tools, so another behaviour would be scored"
        fix = f"set the same `tools` in suites.{stage.suite}"
        yield ConfigError(found, where=place, fix=fix)
    if "max_tool_calling_iterations" in stage.trainer:
        found = "max_tool_calling_iterations beside tools"
        where = f"{where}.trainer.max_tool_calling_iterations"
        yield ConfigError(found, where=where, fix="set tools.rounds, and delete it")


def _of_canaries(stage: Stage, chosen: Method, where: str) -> Iterator[CountersignError]:
    if stage.canaries is None:
        return
    if not chosen.learns_texts:
        found = f"{chosen.name} trains no model to write the texts of its records"
        fix = "delete the field: a leak probe can measure membership only, or nothing"
        yield ConfigError(found, where=f"{where}.canaries", fix=fix)


def uses_scorer(stage: Stage) -> bool:
    """Whether the stage learns from its scorer."""
    return any(reward.name == rewards.SCORER for reward in stage.rewards)


def _of_rewards(
    params: Params, stage: Stage, chosen: Method, where: str
) -> Iterator[CountersignError]:
    for at, reward in enumerate(stage.rewards):
        yield from rewards.mistakes(reward.name, f"{where}.rewards[{at}].name")
    if chosen.rewards and not stage.rewards:
        expected = f"at least one of {', '.join(rewards.names())}"
        yield ConfigError("no reward functions", where=f"{where}.rewards", expected=expected)
    if stage.rewards and not chosen.rewards:
        found = f"{chosen.name} uses no reward functions"
        yield ConfigError(found, where=f"{where}.rewards", fix="delete the field")
    scorer = params.stages.get(stage.scorer)
    if not uses_scorer(stage) and stage.scorer != stage.parent:
        fix = f"set scorer: {stage.parent}, or add the reward {{name: {rewards.SCORER}}}"
        yield ConfigError("the scorer is not used", where=f"{where}.scorer", fix=fix)
    elif uses_scorer(stage) and scorer and method(scorer.method).model != "scorer":
        found = f"{stage.scorer} is trained by {scorer.method}, which is not a reward model method"
        yield ConfigError(found, where=f"{where}.scorer", expected="a stage of method reward")


def _of_models(
    params: Params, stage: Stage, chosen: Method, where: str
) -> Iterator[CountersignError]:
    """Whether the method can start from that parent with that kind of data."""
    kind = params.datasets[stage.data].kind
    if kind != chosen.kind:
        found, expected = f"{stage.data} is of kind {kind}", f"a dataset of kind {chosen.kind}"
        yield ConfigError(found, where=f"{where}.data", expected=expected)
    place, parent = f"{where}.parent", params.stages.get(stage.parent)
    if parent is not None and method(parent.method).model != "language":
        found = f"{stage.parent} is a reward model"
        yield ConfigError(found, where=place, expected="a language model")
    bare = parent is None and is_architecture(params.bases[stage.parent].source)
    if bare and not chosen.from_scratch:
        found = f"{stage.parent} is an untrained architecture"
        fix = "train it first with a stage of method pretrain"
        yield ConfigError(found, where=place, fix=fix)
    if chosen.from_scratch and not bare:
        expected = "a base whose source is an architecture (builtin:tiny, *.json)"
        yield ConfigError(f"{stage.parent} has weights already", where=place, expected=expected)
    if chosen.from_scratch and stage.lora:
        found = "LoRA needs weights to start from"
        yield ConfigError(found, where=f"{where}.lora", fix="delete the field")


def describe(objective: Objective) -> dict[str, Any]:
    """The objective as flat names and values, for people (MLflow's parameters)."""
    flat: dict[str, Any] = {
        "method": objective.method,
        "seed": objective.seed,
        "threads": objective.threads,
    }
    flat |= {f"lora.{key}": value for key, value in (objective.lora or {}).items()}
    flat |= {f"reward.{reward.name}": reward.weight for reward in objective.rewards}
    if objective.tools is not None:
        flat |= {"tools": ", ".join(objective.tools.functions), "rounds": objective.tools.rounds}
    flat |= {f"stop.{rule}": limit for rule, limit in objective.stop.items()}
    if (rule := objective.stop_suite) is not None:
        bounds = {"every": rule.every, "below": rule.below, "above": rule.above}
        flat |= {f"stop.{rule.metric}.{name}": value for name, value in bounds.items()}
    if objective.select is not None:
        flat |= {f"select.{key}": value for key, value in objective.select.model_dump().items()}
    if objective.canaries is not None:
        flat |= {f"canaries.{key}": value for key, value in objective.canaries.model_dump().items()}
    return flat | {f"trainer.{key}": value for key, value in objective.trainer.items()}
