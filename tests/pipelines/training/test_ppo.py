"""PPO: its formulas against an independent implementation (torchrl), and what its trainer learns
and keeps.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from governance.attest import digests
from governance.base.errors import TrainingError
from pipelines.training.callbacks import last_checkpoint
from pipelines.training.fit import _trainer, fit
from pipelines.training.methods import METHODS
from pipelines.training.plan import Fitted, Plan
from pipelines.training.ppo import (
    CRITIC,
    PPOTrainer,
    _head,
    _mask,
    _tokens,
    advantages_of,
    token_rewards,
    value_losses,
)
from tests.conftest import ROOT
from tests.pipelines import tiny
from tests.pipelines.ppo_ranks import ends_in_a, fixed_answers
from tests.pipelines.tiny import KilledError, silent
from tests.pipelines.tiny import base as base  # the fixture

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tensordict import TensorDict
    from tensordict.nn import (
        ProbabilisticTensorDictModule,
        ProbabilisticTensorDictSequential,
        TensorDictModule,
    )
    from torchrl.objectives import ClipPPOLoss
    from torchrl.objectives.value.functional import generalized_advantage_estimate

FIGURES = st.floats(-3, 3, width=32)


@pytest.fixture(autouse=True)
def _own_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.replace_reward(monkeypatch, "ends_in_a", ends_in_a)


def plan(work: Path, base: Path, *, lora: bool = True, processes: int = 1, **trainer: Any) -> Plan:
    wanted = tiny.objective("ppo", lora=lora, rewards=("ends_in_a",), **trainer)
    wanted = wanted.model_copy(update={"processes": processes})
    return tiny.plan(work, wanted, base, tiny.records(work / "prompts", "prompt"))


# --- formulas -------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(FIGURES, FIGURES), min_size=1, max_size=9),
    st.floats(0.5, 1.0),
    st.floats(0.0, 1.0),
)
def test_advantages_are_those_of_torchrl(
    steps: list[tuple[float, float]], gamma: float, lam: float
) -> None:
    rewards_, values = (torch.tensor(column).unsqueeze(0) for column in zip(*steps, strict=True))
    done = torch.zeros(1, len(steps), 1, dtype=torch.bool)
    done[0, -1] = True
    following = torch.cat([values[:, 1:], torch.zeros(1, 1)], dim=1)
    expected, targets = generalized_advantage_estimate(
        gamma, lam, values.unsqueeze(-1), following.unsqueeze(-1), rewards_.unsqueeze(-1), done
    )
    ours = advantages_of(rewards_, values, torch.ones_like(values), gamma, lam)
    torch.testing.assert_close(ours, expected.squeeze(-1))
    torch.testing.assert_close(ours + values, targets.squeeze(-1))


@given(st.lists(st.tuples(FIGURES, FIGURES, st.booleans()), min_size=1, max_size=9))
def test_tokens_that_the_policy_did_not_choose_are_skipped(
    steps: list[tuple[float, float, bool]],
) -> None:
    rows = torch.tensor([[reward, value, own] for reward, value, own in steps]).T
    mask, own = rows[2].unsqueeze(0), rows[2].bool()
    whole = advantages_of(rows[:1], rows[1:2], mask, 0.9, 0.8)
    alone = advantages_of(rows[:1, own], rows[1:2, own], mask[:, own], 0.9, 0.8)
    torch.testing.assert_close(whole[:, own], alone)
    assert not whole[:, ~own].any()


def test_the_last_token_of_the_policy_gets_the_score() -> None:
    mask = torch.tensor([[1, 1, 0], [1, 0, 1], [0, 0, 0]])
    ratios = torch.tensor([[0.5, -1.0, 9.0], [0.0, 9.0, 2.0], [9.0, 9.0, 9.0]])
    found = token_rewards(torch.tensor([1.0, 2.0, 4.0]), ratios, mask, beta=0.1)
    torch.testing.assert_close(
        found, torch.tensor([[-0.05, 1.1, 0.0], [0.0, 0.0, 1.8], [0.0, 0.0, 0.0]])
    )


def test_the_loss_is_that_of_torchrl(base: Path, tmp_path: Path) -> None:
    """On answers that were generated before the last step, so that ratios and values moved."""
    trainer = _built(plan(tmp_path, base, lora=False, num_iterations=2, whiten_advantages=False))
    batch = _batch(trainer)
    with torch.no_grad():
        for weight in [*trainer.model.parameters(), *trainer.critic.parameters()]:
            weight += 0.05 * torch.randn_like(weight)
    trainer.model.eval()
    ours = trainer._compute_loss(trainer.model, batch)
    expected = _by_torchrl(trainer, batch)
    assert ours.item() == pytest.approx(expected.item(), rel=1e-4)
    clipped = value_losses(*(torch.tensor(at) for at in (2.0, 0.0, 2.0)), clip=0.5)
    assert clipped.item() == 0.5 * 1.5**2


def _built(made: Plan) -> Any:
    torch.manual_seed(5)
    return _trainer(made, METHODS["ppo"], silent)[0]


def _batch(trainer: Any) -> dict[str, Any]:
    trainer.model.eval()
    rows = [trainer.train_dataset[at] for at in (0, 0, 1, 1)]
    batch: dict[str, Any] = trainer._generate_and_score_completions(rows)
    return batch


def _by_torchrl(trainer: Any, batch: dict[str, Any]) -> Tensor:
    ids, attention, count = _tokens(batch)
    own = _mask(batch).bool()
    logits = trainer.model(input_ids=ids, attention_mask=attention).logits
    logits = logits[:, -count - 1 : -1][own] / trainer.temperature
    tokens = TensorDict(
        {
            "logits": logits,
            "seen": trainer._values(batch)[own].unsqueeze(-1),
            "action": batch["completion_ids"][own],
            "action_log_prob": batch["old_per_token_logps"][own],
            "advantage": batch["advantages"][own].unsqueeze(-1),
            "value_target": batch["returns"][own].unsqueeze(-1),
            "state_value": batch["old_values"][own].unsqueeze(-1),
        },
        batch_size=[int(own.sum())],
    )
    policy = ProbabilisticTensorDictModule(
        ["logits"], ["action"], distribution_class=torch.distributions.Categorical,
        return_log_prob=True,
    )  # fmt: skip
    same = TensorDictModule(torch.nn.Identity(), ["logits"], ["logits"])
    critic = TensorDictModule(torch.nn.Identity(), ["seen"], ["state_value"])
    loss = ClipPPOLoss(
        ProbabilisticTensorDictSequential(same, policy), critic, entropy_bonus=False,
        clip_epsilon=trainer.args.epsilon, clip_value=trainer.args.cliprange_value,
        critic_coeff=trainer.args.vf_coef / 2, loss_critic_type="l2",
    )(tokens)  # fmt: skip
    total: Tensor = loss["loss_objective"] + loss["loss_critic"]
    return total


# --- trainer --------------------------------------------------------------------------------------


def test_it_begins_with_values_of_zero_and_reports_the_critic(base: Path, tmp_path: Path) -> None:
    trainer = _built(plan(tmp_path / "a", base))
    assert not _batch(trainer)["old_values"].any()
    fitted = fit(plan(tmp_path / "b", base), silent)
    first = fitted.history[0]
    assert first["kl"] == 0.0 and first["value_loss"] > 0 and first["reward"] > 0
    assert {"explained_variance", "entropy", "loss"} <= first.keys()


def test_the_policys_reward_is_less_where_it_left_its_reference(base: Path, tmp_path: Path) -> None:
    trainer = _built(plan(tmp_path, base, lora=False, beta=0.5, whiten_advantages=False))
    trainer._scores = torch.zeros(4)
    batch = _batch(trainer)
    mask = _mask(batch)
    moved = {**batch, "ref_per_token_logps": batch["old_per_token_logps"] - 1.0}
    trainer._scores = torch.zeros(4)
    estimates = trainer._estimates(moved)
    first_rewards = estimates["returns"][:, 0]
    torch.testing.assert_close(first_rewards, _discounted(-0.5 * mask, trainer.args.lam))


def _discounted(rewards_: Tensor, lam: float) -> Tensor:
    """The first advantage where all values are 0 and gamma is 1."""
    powers = lam ** torch.arange(rewards_.size(1))
    return (rewards_ * powers).sum(dim=1)


def test_advantages_are_white_over_all_tokens(base: Path, tmp_path: Path) -> None:
    batch = _batch(_built(plan(tmp_path, base)))
    chosen = batch["advantages"][_mask(batch).bool()]
    assert abs(chosen.mean().item()) < 1e-5
    assert chosen.var(correction=0).item() == pytest.approx(1, abs=1e-3)


def test_the_critic_learns_and_is_no_part_of_the_model(base: Path, tmp_path: Path) -> None:
    trainer = _built(plan(tmp_path, base))
    before = {name: value.clone() for name, value in trainer.critic.state_dict().items()}
    trainer.train()
    moved = [
        name for name, value in trainer.critic.state_dict().items() if (value != before[name]).any()
    ]
    assert any(name.startswith(_head(trainer.critic)) for name in moved) and len(moved) > 2
    assert not [name for name, _ in trainer.model.named_parameters() if "critic" in name]


@pytest.mark.parametrize("lora", [True, False])
def test_a_killed_training_goes_on_with_its_critic(base: Path, tmp_path: Path, lora: bool) -> None:
    steps = {"num_iterations": 2, "max_steps": 8}
    whole = plan(tmp_path / "whole", base, lora=lora, **steps)
    fit(whole, silent)
    cut = plan(tmp_path / "cut", base, lora=lora, **steps)
    cut = cut.model_copy(update={"checkpoint_seconds": 0.0})

    def kill(step: int, steps: int, signals: Any) -> None:
        if step == 6:
            raise KilledError

    with pytest.raises(TrainingError, match="KilledError"):
        fit(cut, kill)
    kept = last_checkpoint(cut.work / "checkpoints")
    assert kept is not None and kept.name == "checkpoint-4" and load_file(kept / CRITIC)
    fit(cut, silent)
    weights = "adapter_model.safetensors" if lora else "model.safetensors"
    one, other = (digests.sha256_file(each.work / "trained" / weights) for each in (whole, cut))
    assert one == other


# --- two processes --------------------------------------------------------------------------------

SAME = ("loss", "value_loss", "explained_variance", "reward", "kl", "grad_norm")
"""Signals that do not depend on the number of processes."""


def in_two_processes(made: Plan, last: int, *how: str) -> int:
    """The exit code of torchrun with two processes on a plan."""
    (made.work / "plan.json").write_text(made.model_dump_json(), encoding="utf-8")
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "-m"]
    command = [sys.executable, *torchrun, "tests.pipelines.ppo_ranks"]
    settled = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "0"}
    environ = {**os.environ, **settled, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, str(made.work / "plan.json"), str(last), *how],
        cwd=ROOT, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode


def fitted(made: Plan) -> Fitted:
    """What a training left."""
    return Fitted.model_validate_json((made.work / "fitted.json").read_text(encoding="utf-8"))


@pytest.mark.nightly
def test_two_processes_have_the_losses_of_one_on_the_same_answers(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And after each step the same weights of policy and critic, or the next losses would differ."""
    steps = {"num_iterations": 2, "max_steps": 4, "learning_rate": 1e-3}
    two = plan(tmp_path / "two", base, processes=2, per_device_train_batch_size=2, **steps)
    assert in_two_processes(two, 0, "fixed") == 0
    monkeypatch.setattr(PPOTrainer, "_generate_single_turn", fixed_answers)
    one = plan(tmp_path / "one", base, per_device_train_batch_size=4, **steps)
    alone, together = fit(one, silent), fitted(two)
    assert (alone.processes, together.processes) == (1, 2)
    assert len(alone.history) == len(together.history) == 4
    for first, second in zip(alone.history, together.history, strict=True):
        names = [name for name in SAME if name in first]  # some are of generated answers only
        assert {"loss", "value_loss"} <= {*names}
        assert [second.get(name) for name in names] == pytest.approx(
            [first[name] for name in names], rel=1e-3, abs=1e-5
        )
    weights = [
        load_file(each.work / "trained" / "adapter_model.safetensors") for each in (one, two)
    ]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=1e-3, atol=1e-5)


@pytest.mark.nightly
def test_two_killed_processes_go_on_with_their_critic(base: Path, tmp_path: Path) -> None:
    steps = {"num_iterations": 2, "max_steps": 6, "per_device_train_batch_size": 2}
    whole, cut = (plan(tmp_path / name, base, processes=2, **steps) for name in ("whole", "cut"))
    cut = cut.model_copy(update={"checkpoint_seconds": 0.0})
    assert in_two_processes(whole, 0) == 0
    assert in_two_processes(cut, 5) != 0 and not (cut.work / "trained").exists()
    kept = last_checkpoint(cut.work / "checkpoints")
    assert kept is not None and kept.name == "checkpoint-4" and load_file(kept / CRITIC)
    assert in_two_processes(cut, 0) == 0
    assert fitted(cut) == fitted(whole)
    weights = "adapter_model.safetensors"
    one, other = (digests.sha256_file(each.work / "trained" / weights) for each in (whole, cut))
    assert one == other


@pytest.fixture
def _two_layers() -> Iterator[torch.nn.Module]:
    yield torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Linear(1, 1))


def test_a_model_without_one_head_is_refused(_two_layers: torch.nn.Module) -> None:
    with pytest.raises(TrainingError, match="rloo"):
        _head(_two_layers)
