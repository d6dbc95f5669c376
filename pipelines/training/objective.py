"""The objective of a training stage: everything in params.yaml that determines its result, under
one digest.

Imports no torch, so that the gate can name the objective. `resolve` finds every mistake in a
stage's row that needs no data; all are reported together.
"""

from __future__ import annotations

import hashlib
from typing import Any

from governance.attest import canonical
from governance.base.errors import ConfigError, CountersignError, Problems
from governance.base.model import Json, Model, Sha256
from pipelines.params import Params, Stage
from pipelines.training import arguments, rewards
from pipelines.training.methods import Method, method


class ResolvedReward(Model):
    """One reward function, by its source."""

    name: str
    weight: float
    options: dict[str, Json]
    source: Sha256
    """sha256 of the function's source text (`pipelines.training.rewards.source_digest`)."""


class Objective(Model):
    """A stage's objective in the form that is digested, recorded and given to the trainer."""

    method: str
    seed: int
    threads: int
    lora: dict[str, Json] | None
    rewards: list[ResolvedReward]
    trainer: dict[str, Json]
    """The given TRL arguments over our defaults. All others have the pinned TRL's default."""

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON of all of it."""
        return digest(self)


def digest(objective: Objective) -> str:
    """sha256 of an objective's canonical JSON."""
    return hashlib.sha256(canonical.dumps(objective.model_dump(mode="json"))).hexdigest()


def texts(objective: Objective) -> dict[str, str]:
    """sha256 to text of the objective and its reward functions: what a person reads before they
    approve a digest.
    """
    found = {one.source: rewards.source_text(one.name) for one in objective.rewards}
    return {**found, objective.digest: canonical.dumps(objective.model_dump(mode="json")).decode()}


def resolve(params: Params, name: str) -> Objective:
    """The objective of stage `name`. Raises `ConfigError`, or `Problems` with every mistake of its
    row.
    """
    stage, where = params.stages[name], f"params.yaml: stages.{name}"
    chosen = method(stage.method, f"{where}.method")
    trainer, wrong = arguments.check(
        chosen, {**chosen.defaults, **stage.trainer}, f"{where}.trainer"
    )
    wrong += [*_of_rewards(params, stage, chosen, where), *_of_models(params, stage, chosen, where)]
    if wrong:
        raise wrong[0] if len(wrong) == 1 else Problems(wrong)
    return Objective(
        method=chosen.name,
        seed=stage.seed,
        threads=stage.threads,
        lora=stage.lora.model_dump() if stage.lora else None,
        rewards=[
            ResolvedReward(
                name=one.name,
                weight=one.weight,
                options=one.options,
                source=rewards.source_digest(one.name),
            )
            for one in stage.rewards
        ],
        trainer=dict(sorted(trainer.items())),
    )


def uses_scorer(stage: Stage) -> bool:
    """Whether the stage learns from its scorer."""
    return any(reward.name == rewards.SCORER for reward in stage.rewards)


def _of_rewards(params: Params, stage: Stage, chosen: Method, where: str) -> list[CountersignError]:
    wrong: list[CountersignError] = []
    for at, reward in enumerate(stage.rewards):
        try:
            if reward.name != rewards.SCORER:
                rewards.find(reward.name, f"{where}.rewards[{at}].name")
        except ConfigError as error:
            wrong.append(error)
    if chosen.rewards and not stage.rewards:
        known = ", ".join([*rewards.RULES, rewards.SCORER])
        wrong.append(
            ConfigError(
                "no reward functions", where=f"{where}.rewards", expected=f"at least one of {known}"
            )
        )
    if stage.rewards and not chosen.rewards:
        wrong.append(
            ConfigError(
                f"{chosen.name} uses no reward functions",
                where=f"{where}.rewards",
                fix="delete the field",
            )
        )
    if uses_scorer(stage):
        wrong += _of_scorer(params, stage, where)
    elif stage.scorer != stage.parent:
        fix = f"set scorer: {stage.parent}, or add the reward {{name: {rewards.SCORER}}}"
        wrong.append(ConfigError("the scorer is not used", where=f"{where}.scorer", fix=fix))
    return wrong


def _of_scorer(params: Params, stage: Stage, where: str) -> list[CountersignError]:
    scorer = params.stages.get(stage.scorer)
    if scorer is not None and method(scorer.method).model != "scorer":
        found = f"{stage.scorer} is trained by {scorer.method}, which is not a reward model method"
        return [ConfigError(found, where=f"{where}.scorer", expected="a stage of method reward")]
    return []


def _of_models(params: Params, stage: Stage, chosen: Method, where: str) -> list[CountersignError]:
    """Whether the method can start from that parent with that kind of data."""
    wrong: list[CountersignError] = []
    kind = params.datasets[stage.data].kind
    if kind != chosen.kind:
        expected = f"a dataset of kind {chosen.kind}"
        wrong.append(
            ConfigError(f"{stage.data} is of kind {kind}", where=f"{where}.data", expected=expected)
        )
    parent = params.stages.get(stage.parent)
    if parent is not None and method(parent.method).model != "language":
        found = f"{stage.parent} is a reward model"
        wrong.append(ConfigError(found, where=f"{where}.parent", expected="a language model"))
    bare = parent is None and params.bases[stage.parent].source.endswith(".json")
    if bare and not chosen.from_scratch:
        found = f"{stage.parent} is an untrained architecture"
        wrong.append(
            ConfigError(
                found, where=f"{where}.parent", fix="train it first with a stage of method pretrain"
            )
        )
    if chosen.from_scratch and not bare:
        found = f"{stage.parent} has weights already"
        wrong.append(
            ConfigError(
                found,
                where=f"{where}.parent",
                expected="a base whose source is an architecture (*.json)",
            )
        )
    if chosen.from_scratch and stage.lora:
        wrong.append(
            ConfigError(
                "LoRA needs weights to start from", where=f"{where}.lora", fix="delete the field"
            )
        )
    return wrong


def describe(objective: Objective) -> dict[str, Any]:
    """The objective as flat names and values, for people (MLflow's parameters)."""
    flat: dict[str, Any] = {
        "method": objective.method,
        "seed": objective.seed,
        "threads": objective.threads,
    }
    flat |= {f"lora.{key}": value for key, value in (objective.lora or {}).items()}
    flat |= {f"reward.{one.name}": one.weight for one in objective.rewards}
    return flat | {f"trainer.{key}": value for key, value in objective.trainer.items()}
