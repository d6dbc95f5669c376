"""Scores held-back records every few steps of a training, and ends it by the score (`stop: {suite:
...}` of a stage).

1. The records are the `validation` split of the stage's dataset, the first by id. The metrics and
   settings are those of the stage's suite. Records that judge a model are refused
   (`pipelines.training.selection.judged`).
2. A look changes nothing: it draws its random numbers from seeds of its own, and the trainer's are
   restored. So a training with looks has the bits of one without, up to where it ends.
3. A look lies on a step and is kept in the trainer's history, which checkpoints hold. No checkpoint
   is written where the rule holds. So a resumed training has the same looks and ends at the same
   step.
4. With several processes, each scores all records and the first one's scores count for all.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isfinite, sqrt
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from governance.attest.predicates.training import EarlyStop, Look, Looks, LookScore
from governance.base.errors import ConfigError, CountersignError, TrainingError
from governance.base.model import Model, Sha256
from governance.base.progress import Bar
from pipelines.failures import not_finite
from pipelines.metrics import Metric, functions_of, metrics_of, rows_of
from pipelines.params import Params, Stage, Suite
from pipelines.training import selection
from pipelines.training.callbacks import Listener
from pipelines.training.methods import Method

if TYPE_CHECKING:
    from pipelines.training.plan import Plan

PREFIX, ERROR = "suite/", "suite_error/"
"""Names in the trainer's history: a metric's mean at a look, and its standard error."""
POINTS = 32
"""The most looks in a statement."""
DIGITS = 6


class SuiteRule(Model):
    """`stop: {suite: ...}` with everything that its scores depend on."""

    metric: str
    every: int
    below: float | None
    above: float | None
    name: str
    """The suite whose metrics and settings these are."""
    suite: Suite
    """With the split and the number of records that are scored here."""
    functions: dict[str, Sha256]
    """Reward functions that score answers, and tools, by their source."""


def mistakes(
    params: Params, stage: Stage, method: Method, where: str
) -> Iterator[CountersignError]:
    """What speaks against the rule of a row."""
    if (rule := stage.stop.suite if stage.stop else None) is None or not method.rewards:
        return  # `stopping.mistakes` refuses every rule of a method without rewards
    place = f"{where}.stop.suite"
    known = metrics_of(params.suites[stage.suite], f"params.yaml: suites.{stage.suite}")
    if rule.metric not in [metric.name for metric in known]:
        found = f"{rule.metric} is no metric of {stage.suite}, the suite of the stage"
        expected = f"one of {', '.join(metric.name for metric in known)}"
        yield ConfigError(found, where=f"{place}.metric", expected=expected)
    kind = params.datasets[stage.data].kind
    if known[0].kind != kind:
        found = f"{stage.suite} scores records of kind {known[0].kind}, {stage.data} has {kind}"
        yield ConfigError(
            found, where=place, fix="delete the field, or give the stage another suite"
        )
    if not params.datasets[stage.data].splits.validation:
        expected, fix = "a dataset with a validation split", "set `splits` of the dataset"
        yield ConfigError("there is nothing to score", where=place, expected=expected, fix=fix)
    yield from selection.judged(params, stage.data, place)


def resolve(params: Params, stage: Stage) -> SuiteRule | None:
    """The rule of a row without mistakes."""
    if (rule := stage.stop.suite if stage.stop else None) is None:
        return None
    suite = params.suites[stage.suite].model_copy(
        update={"split": selection.HELD_BACK, "limit": rule.limit}
    )
    return SuiteRule(
        metric=rule.metric,
        every=rule.every,
        below=rule.below,
        above=rule.above,
        name=stage.suite,
        suite=suite,
        functions=functions_of(suite, metrics_of(suite, "")),
    )


def early_stop(rule: SuiteRule, mean: float, step: int, planned: int) -> EarlyStop | None:
    """Whether the rule holds at a step before the last one."""
    if step >= planned:
        return None
    made = {"found": mean, "planned": planned, "metric": rule.metric}
    if rule.below is not None and mean < rule.below:
        return EarlyStop(rule="suite_below", limit=rule.below, **made)
    if rule.above is not None and mean > rule.above:
        return EarlyStop(rule="suite_above", limit=rule.above, **made)
    return None


def looks(rule: SuiteRule, history: Sequence[Mapping[str, Any]], items: int) -> Looks | None:
    """What a trainer's history has of looks."""
    points = [
        Look(step=int(line["step"]), scores=scores)
        for line in history
        if (scores := _scores_of(line))
    ]
    if not points:
        return None
    apart = -(-len(points) // POINTS)
    kept = points[::-1][::apart][::-1]  # with the last
    known = metrics_of(rule.suite, "")
    lower = [metric.name for metric in known if metric.lower_is_better]
    return Looks(
        suite=rule.name, items=items, count=len(points), points=kept, lower_is_better=lower
    )


def _scores_of(line: Mapping[str, Any]) -> dict[str, LookScore]:
    return {
        name.removeprefix(PREFIX): LookScore(mean=mean, error=line[_error(name)])
        for name, mean in line.items()
        if name.startswith(PREFIX)
    }


def _error(name: str) -> str:
    return ERROR + name.removeprefix(PREFIX)


def looking(plan: Plan, rule: SuiteRule, trainer: Any, listener: Listener) -> Any:
    """A callback that looks, and ends the training when the rule holds; `found` says so, `items`
    how many records it scores.
    """
    from accelerate.utils import broadcast_object_list
    from transformers import TrainerCallback

    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        found, fix = "stop.suite with FSDP or DeepSpeed", "use DDP (`torchrun`), or delete the rule"
        raise TrainingError(found, where=f"params.yaml: stages.{plan.stage}.stop.suite", fix=fix)
    known = metrics_of(rule.suite, "")
    rows = rows_of(plan.records, rule.suite, known, f"params.yaml: stages.{plan.stage}.stop.suite")

    class Looking(TrainerCallback):  # type: ignore[misc]
        found: EarlyStop | None = None
        items = len(rows)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            if state.global_step % rule.every and state.global_step < state.max_steps:
                return control
            line = [_look(plan, rule, trainer, rows, known)]
            if args.world_size > 1:
                line = broadcast_object_list(line)
            state.log_history.append({"step": state.global_step, **line[0]})
            listener(state.global_step, state.max_steps, line[0])
            mean = line[0].get(PREFIX + rule.metric)
            if mean is None:
                found = f"no record of the split has a score {rule.metric}"
                raise TrainingError(found, where=f"params.yaml: stages.{plan.stage}.stop.suite")
            self.found = early_stop(rule, mean, state.global_step, state.max_steps)
            if self.found is not None:
                control.should_training_stop = True
                control.should_save = False  # (3)
            return control

    return Looking()


def _look(
    plan: Plan, rule: SuiteRule, trainer: Any, rows: list[dict[str, Any]], known: list[Metric]
) -> dict[str, float]:
    """The mean of each metric and its standard error, by their names in the history."""
    from pipelines import scoring

    if functions_of(rule.suite, known) != rule.functions:
        fix = "nothing was published; run `countersign repro` to decide on the changed file"
        raise TrainingError("a reward function changed during the run", where=plan.stage, fix=fix)
    model = trainer.accelerator.unwrap_model(trainer.model)
    was_training = model.training
    try:
        with _randomness_kept():
            tokenizer = copy.deepcopy(trainer.processing_class)
            scorer = scoring.Scorer(model, tokenizer, rule.suite, Bar(None, 0, ""))
            scores = scoring.score(scorer, rows, known, inference=False)
    except scoring.DivergedError as error:
        raise not_finite(f"train@{plan.stage}", error.figure, error.value) from None
    finally:
        model.train(was_training)
    line: dict[str, float] = {}
    for name, values in scores.items():
        present = [value for value in values if value is not None]
        if not all(map(isfinite, present)):
            raise not_finite(f"train@{plan.stage}", f"the score {name}", "of held-back records")
        if present:
            line[PREFIX + name] = round(fmean(present), DIGITS)
            spread = stdev(present) / sqrt(len(present)) if len(present) > 1 else 0.0
            line[ERROR + name] = round(spread, DIGITS)
    return line


@contextmanager
def _randomness_kept() -> Iterator[None]:
    """(2)"""
    import numpy
    import torch

    python, array = random.getstate(), numpy.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            numpy.random.set_state(array)
