"""Which step's model a training publishes (`select` of a stage): the best one on the dataset's
validation split.

1. Every `every` steps the trainer evaluates the split. The model of the best value is kept as a
   checkpoint, and published at the end. A tie keeps the earlier step.
2. The statement says the step, the value, and how often was looked: the best of many looks is
   better on that split than on others. A row whose validation split is also a suite that judges a
   model is refused.
3. A resumed training selects the same model: `every` is a multiple of the steps between which a
   checkpoint may lie.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from governance.attest.predicates import Selected
from governance.base.errors import ConfigError, CountersignError, TrainingError
from pipelines.params import Params, Select

HELD_BACK = "validation"
"""The split of a stage's dataset by which its end or its step may be chosen."""
OURS = ("eval_strategy", "eval_steps", "eval_delay", "eval_on_start")
"""Arguments that a stage with `select` leaves to it."""


def mistakes(
    select: Select | None, trainer: Mapping[str, Any], validation: float, where: str
) -> Iterator[CountersignError]:
    """What speaks against a row's selection. `trainer`: what the row gives. `validation`: the share
    of the dataset's records that are in that split.
    """
    if select is None:
        return
    for name in OURS:
        if name in trainer:
            fix = "delete it: `select` says when the split is evaluated"
            yield ConfigError(f"{name} beside select", where=f"{where}.trainer.{name}", fix=fix)
    if not validation:
        expected, fix = "a dataset with a validation split", "set `splits` of the dataset"
        found = "there is nothing to select on"
        yield ConfigError(found, where=f"{where}.select", expected=expected, fix=fix)


def judged(params: Params, dataset: str, where: str) -> Iterator[CountersignError]:
    """Whether the records by which is chosen judge a model, too: its score would be a selected one.
    A row that does not choose passes nothing here.
    """
    if (name := params.judged_on(dataset, HELD_BACK)) is not None:
        found = f"the split {HELD_BACK} of {dataset} is also the suite of {name}"
        expected = "records that judge no model: the best of many looks at them is no evidence"
        fix = f"set another split in suites.{dataset}"
        yield ConfigError(found, where=where, expected=expected, fix=fix)


def arguments(select: Select) -> dict[str, Any]:
    """TRL's arguments for it."""
    return {
        "eval_strategy": "steps",
        "eval_steps": select.every,
        "save_strategy": "best",
        "load_best_model_at_end": True,
        "metric_for_best_model": select.metric,
        "greater_is_better": select.best == "highest",
    }


def require_resumable(select: Select, grain: int, where: str) -> None:
    """(3) Raises `ConfigError`. `grain`: steps between two points where a resumed run is equal."""
    if select.every % grain:
        found, expected = f"every {select.every} steps", f"a multiple of {grain}"
        raise ConfigError(found, where=f"{where}.select.every", expected=expected)


def selected(select: Select, trainer: Any, where: str) -> Selected:
    """(2) What a trainer that has ended has loaded. Raises `TrainingError` where that is not the
    best model.
    """
    state = trainer.state
    looks = sum(select.metric in line for line in state.log_history)
    if state.best_model_checkpoint is None or not math.isfinite(state.best_metric):
        found = f"no model was kept in {looks} looks at {select.metric}"
        fix = f"lower every (now {select.every}), or run the stage again with --force"
        raise TrainingError(found, where=f"{where}.select", fix=fix)
    return Selected(
        metric=select.metric, value=state.best_metric, step=state.best_global_step, looks=looks
    )
