"""A training that publishes the best model on the validation split: which one, and what is said."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from governance.attest import digests
from governance.base.errors import ConfigError, TrainingError
from pipelines.params import Select
from pipelines.training import selection
from pipelines.training.callbacks import last_checkpoint
from pipelines.training.fit import fit
from pipelines.training.plan import Plan
from tests.pipelines import tiny
from tests.pipelines.tiny import KilledError, silent
from tests.pipelines.tiny import base as base  # the fixture

pytestmark = pytest.mark.filterwarnings("ignore")
FILES = {True: "adapter_model.safetensors", False: "model.safetensors"}


def plan(
    work: Path, base: Path, select: Select | None, steps: int = 8, *, lora: bool = True
) -> Plan:
    """A rate so high that more training of all weights makes the model worse again."""
    constant = {"lr_scheduler_type": "constant", "max_steps": steps, "learning_rate": 0.1}
    wanted = tiny.objective("sft", lora=lora, **constant).model_copy(update={"select": select})
    data = tiny.records(work / "data", "conversation", validation=6)
    return tiny.plan(work, wanted, base, data)


def weights(made: Plan) -> str:
    """sha256 of what was trained."""
    lora = made.objective.lora is not None
    return digests.sha256_file(made.work / "trained" / FILES[lora])


@pytest.mark.slow
@pytest.mark.parametrize(("lora", "best_is"), [(True, "highest"), (False, "lowest")])
def test_the_best_step_of_the_validation_split_is_published_also_after_a_kill(
    lora: bool, best_is: Any, base: Path, tmp_path: Path
) -> None:
    select = Select(every=2, best=best_is)
    whole = plan(tmp_path / "whole", base, select, lora=lora)
    fitted = fit(whole, silent)
    looks = {line["step"]: line["eval_loss"] for line in fitted.history if "eval_loss" in line}
    best = {"lowest": min, "highest": max}[best_is](looks, key=lambda step: looks[step])
    assert [*looks] == [2, 4, 6, 8] and best < 8  # or the last model would do
    chosen = fitted.selected
    assert chosen is not None and (chosen.step, chosen.looks) == (best, 4)
    assert chosen.value == looks[best] and fitted.steps == 8

    short = plan(tmp_path / "short", base, None, int(best), lora=lora)
    assert fit(short, silent).selected is None
    assert weights(short) == weights(whole)

    cut = plan(tmp_path / "cut", base, select, lora=lora)
    cut = cut.model_copy(update={"checkpoint_seconds": 0.0})

    def kill(step: int, steps: int, signals: Any) -> None:
        if step == 7:
            raise KilledError

    with pytest.raises(TrainingError, match="KilledError"):
        fit(cut, kill)
    assert last_checkpoint(cut.work / "checkpoints") is not None
    assert fit(cut, silent).selected == chosen
    assert weights(cut) == weights(whole)


def test_without_a_validation_record_there_is_nothing_to_select_on(
    base: Path, tmp_path: Path
) -> None:
    made = plan(tmp_path, base, Select(every=2))
    empty = tiny.records(tmp_path / "other", "conversation")
    with pytest.raises(TrainingError, match="nothing to select on"):
        fit(made.model_copy(update={"records": empty}), silent)


def test_an_unknown_metric_is_named(base: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="eval_elegance"):
        fit(plan(tmp_path, base, Select(every=2, metric="eval_elegance")), silent)


MISTAKES: list[tuple[dict[str, Any], float, str]] = [
    ({"eval_steps": 5}, 0.1, "eval_steps beside select"),
    ({"eval_strategy": "no"}, 0.1, "eval_strategy beside select"),
    ({}, 0.0, "nothing to select on"),
]


@pytest.mark.parametrize(("trainer", "validation", "found"), MISTAKES)
def test_a_row_that_contradicts_its_selection_is_a_mistake(
    trainer: dict[str, Any], validation: float, found: str
) -> None:
    (mistake,) = selection.mistakes(Select(every=2), trainer, validation, "stages.sft")
    assert found in mistake.found
    assert not [*selection.mistakes(Select(every=2), {}, 0.1, "stages.sft")]
    assert not [*selection.mistakes(None, trainer, validation, "stages.sft")]


def test_a_look_lies_where_a_checkpoint_may() -> None:
    selection.require_resumable(Select(every=8), 4, "stages.grpo")
    with pytest.raises(ConfigError, match="a multiple of 4"):
        selection.require_resumable(Select(every=6), 4, "stages.grpo")


def test_a_best_model_that_is_gone_is_not_replaced_by_the_last_one() -> None:
    state = SimpleNamespace(
        log_history=[{"step": 2, "eval_loss": 1.0}], best_model_checkpoint=None, best_metric=1.0
    )
    with pytest.raises(TrainingError, match="no model was kept in 1 looks at eval_loss"):
        selection.selected(Select(every=2), SimpleNamespace(state=state), "stages.sft")
