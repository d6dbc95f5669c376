"""A training that its objective ends early: at which step, with which model, and what is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from governance.attest import digests
from governance.attest.predicates import EarlyStop
from governance.base.errors import TrainingError
from pipelines.params import StopRule
from pipelines.training.callbacks import last_checkpoint
from pipelines.training.fit import fit
from pipelines.training.plan import Fitted, Plan
from pipelines.training.stopping import early_stop
from tests.pipelines import tiny
from tests.pipelines.ppo_ranks import ends_in_a
from tests.pipelines.tiny import KilledError, silent
from tests.pipelines.tiny import base as base  # the fixture

pytestmark = pytest.mark.filterwarnings("ignore")

KL, REWARD = {"kl_above": 0.5}, {"reward_above": 0.9}
CASES: list[tuple[dict[StopRule, float], dict[str, Any], int, StopRule | None]] = [
    # limits, what is logged, at which of 10 steps, which rule ends it
    (KL, {"kl": 0.6}, 3, "kl_above"),
    (KL, {"kl": 0.5}, 3, None),
    (KL, {"reward": 1.0}, 3, None),
    (KL, {"kl": None}, 3, None),
    (KL, {"eval_kl": 0.6}, 3, None),
    (KL, {"kl": 0.6}, 10, None),  # the last step is not early
    (REWARD, {"reward": 0.95, "kl": 9.0}, 9, "reward_above"),
    ({**KL, **REWARD}, {"reward": 0.95, "kl": 0.1}, 1, "reward_above"),
    ({**KL, **REWARD}, {"reward": 0.95, "kl": 0.7}, 1, "kl_above"),
    ({}, {"reward": 0.95, "kl": 0.7}, 1, None),
]


@pytest.mark.parametrize(("limits", "logs", "step", "rule"), CASES, ids=str)
def test_a_rule_holds_above_its_limit_and_before_the_last_step(
    limits: dict[StopRule, float], logs: dict[str, Any], step: int, rule: StopRule | None
) -> None:
    ended = early_stop(limits, logs, step, 10)
    assert (ended.rule if ended else None) == rule
    if ended:
        assert ended.limit == limits[ended.rule] and ended.planned == 10


def plan(
    work: Path, base: Path, method: str, reward: str = "no_secrets_asked", **stop: float
) -> Plan:
    """Six steps at a constant learning rate. The reward of random answers is 0."""
    constant = {"lr_scheduler_type": "constant", "max_steps": 6, "logging_steps": 1}
    wanted = tiny.objective(method, lora=True, rewards=(reward,), **constant)
    limits = wanted.model_copy(update={"stop": stop})
    return tiny.plan(work, limits, base, tiny.records(work / "prompts", "prompt"))


def weights(made: Plan) -> str:
    """sha256 of what was trained."""
    return digests.sha256_file(made.work / "trained" / "adapter_model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["grpo", "rloo", "ppo"])
def test_a_training_ends_at_its_limit_with_the_model_of_that_step(
    method: str, base: Path, tmp_path: Path
) -> None:
    ended = plan(tmp_path / "ended", base, method, reward_above=-0.5)
    fitted = fit(ended, silent)
    assert fitted.stopped == EarlyStop(rule="reward_above", limit=-0.5, found=0.0, planned=6)
    assert fitted.steps == len(fitted.history) == 1
    short = plan(tmp_path / "short", base, method)
    arguments = {**short.objective.trainer, "max_steps": 1}
    objective = short.objective.model_copy(update={"trainer": arguments})
    short = short.model_copy(update={"objective": objective})
    assert fit(short, silent).stopped is None
    assert weights(short) == weights(ended)


@pytest.mark.slow
def test_a_training_that_is_killed_at_its_limit_ends_there_again(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No checkpoint lies behind the limit, so a resumed training cannot go past it."""
    tiny.replace_reward(monkeypatch, "ends_in_a", ends_in_a)  # it moves the policy
    seen: list[float] = []
    free = plan(tmp_path / "free", base, "ppo", "ends_in_a")
    fit(free, lambda step, steps, signals: seen.append(signals["kl"]) if "kl" in signals else None)
    limit = next(kl for kl in seen if kl > 0) / 2
    whole, cut = (
        plan(tmp_path / name, base, "ppo", "ends_in_a", kl_above=limit) for name in ("whole", "cut")
    )
    first = fit(whole, silent)
    assert first.stopped is not None and 1 < first.steps < 6
    cut = cut.model_copy(update={"checkpoint_seconds": 0.0})

    def kill(step: int, steps: int, signals: Any) -> None:
        if step == first.steps and signals:
            raise KilledError

    with pytest.raises(TrainingError, match="KilledError"):
        fit(cut, kill)
    again: Fitted = fit(cut, silent)
    left = last_checkpoint(cut.work / "checkpoints")
    assert left is None or int(left.name.rpartition("-")[2]) < first.steps
    assert again == first and weights(cut) == weights(whole)
