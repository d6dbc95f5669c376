"""The divergence along a training: also where `beta` is 0, and the same as TRL's own figure."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from governance.attest import digests
from governance.base.errors import ConfigError
from pipelines.training import divergence
from pipelines.training.fit import fit
from pipelines.training.plan import Fitted
from tests.pipelines import tiny
from tests.pipelines.ppo_ranks import ends_in_a

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model that every case trains on."""
    home = tmp_path_factory.mktemp("base")
    text = tiny.records(home / "text", "conversation")
    bare = tiny.architecture(home / "bare")
    return tiny.train(home / "base", tiny.objective("pretrain"), bare, text)[0] / "model"


def trained(work: Path, base: Path, method: str, beta: float, *, lora: bool) -> tuple[Fitted, str]:
    """What came out, and sha256 of the weights."""
    wanted = tiny.objective(method, lora=lora, rewards=("ends_in_a",), beta=beta, max_steps=5)
    made = tiny.plan(work, wanted, base, tiny.records(work / "prompts", "prompt"))
    fitted = fit(made, lambda step, steps, signals: None)
    (weights,) = (made.work / "trained").glob("*.safetensors")
    return fitted, digests.sha256_file(weights)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "lora"), [("grpo", True), ("grpo", False), ("rloo", True), ("ppo", True)]
)
def test_it_is_measured_where_beta_is_0_and_changes_nothing(
    method: str, lora: bool, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.replace_reward(monkeypatch, "ends_in_a", ends_in_a)
    measured, weights = trained(tmp_path / "measured", base, method, 0.0, lora=lora)
    points = divergence.curve(measured.history)
    assert [point.step for point in points][-1] == 5
    assert points[0].kl == 0.0 and max(point.kl or 0.0 for point in points) > 1e-6

    monkeypatch.setattr(divergence, "attach", lambda *_, **__: None)
    bare, same = trained(tmp_path / "bare", base, method, 0.0, lora=lora)
    assert same == weights
    assert [point.kl for point in divergence.curve(bare.history)] == [None] * len(points)
    assert [point.reward for point in divergence.curve(bare.history)] == [
        point.reward for point in points
    ]
    if method == "grpo":  # whose own figure is the same estimate
        own, _ = trained(tmp_path / "own", base, method, 1e-12, lora=lora)
        theirs = [point.kl for point in divergence.curve(own.history)]
        assert theirs == pytest.approx([point.kl for point in points], abs=2e-6)


def test_a_curve_has_few_points_and_the_means_between_them() -> None:
    history = [{"step": at, "reward": at, "kl": 0.1} for at in range(1, 201)]
    points = divergence.curve([{"step": 1, "eval_loss": 1.0}, *history])
    assert len(points) <= divergence.POINTS
    assert (points[0].step, points[0].reward, points[0].kl) == (4, 2.5, 0.1)
    assert points[-1].step == 200
    assert divergence.curve([{"step": 1, "loss": 1.0}]) == []


@pytest.mark.parametrize("needed", [True, False])
def test_sharded_weights_are_not_measured(needed: bool) -> None:
    trainer: Any = SimpleNamespace(
        args=SimpleNamespace(beta=0.0), is_fsdp_enabled=True, is_deepspeed_enabled=False
    )
    if needed:
        with pytest.raises(ConfigError, match="no KL is measured"):
            divergence.attach(trainer, "stages.s", needed=True)
    else:
        divergence.attach(trainer, "stages.s", needed=False)
        assert not hasattr(trainer, "_generate_and_score_completions")
