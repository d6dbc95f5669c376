"""Proximal policy optimisation (PPO) with a critic, on TRL's GRPO trainer.

TRL has no PPO trainer any more. Its GRPO trainer generates the answers, asks the reward functions
and has the clipped policy loss, which takes an advantage per token. Added here:

1. A critic estimates the value of each token's state. Its head begins at zero. Its body is the
   stage's reward model where one scores (Ouyang et al. 2022, appendix C.4), else the parent.
2. The reward of a token is the KL penalty of the policy against its reference; the last token also
   gets the score of the answer (Ouyang et al. 2022, equation 2; `beta` is its coefficient).
3. Advantages are estimated by GAE (Schulman et al. 2016, equation 16; Schulman et al. 2017,
   equations 11 and 12) and whitened over all tokens of the batch, of all processes.
4. The loss is the clipped policy loss (Schulman et al. 2017, equation 7) plus `vf_coef` times the
   clipped value loss (Schulman et al. 2017, equation 9; clipping as in their implementation).

The critic is trained by the trainer's own optimiser and kept in its checkpoints. It is not part of
the trained model.

Schulman et al. 2016: arXiv:1506.02438. Schulman et al. 2017: arXiv:1707.06347.
Ouyang et al. 2022: arXiv:2203.02155.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForTokenClassification, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from governance.base.errors import TrainingError

CRITIC = "critic.safetensors"
"""File of a checkpoint with the critic's weights."""


@dataclass
class PPOConfig(GRPOConfig):  # type: ignore[misc]
    """GRPO's arguments, and those of the critic. `beta` is the coefficient of the KL penalty."""

    num_generations: int = field(
        default=2, metadata={"help": "Answers per prompt. They are not compared with each other."}
    )
    num_iterations: int = field(
        default=4, metadata={"help": "How often each batch of answers is learned from."}
    )
    vf_coef: float = field(default=0.1, metadata={"help": "Weight of the value loss."})
    cliprange_value: float = field(
        default=0.2, metadata={"help": "How far a value may move from its old one, in the loss."}
    )
    gamma: float = field(default=1.0, metadata={"help": "Discount factor."})
    lam: float = field(default=0.95, metadata={"help": "Lambda of GAE."})
    whiten_advantages: bool = field(
        default=True, metadata={"help": "Whether advantages get mean 0 and variance 1."}
    )
    value_learning_rate: float | None = field(
        default=None, metadata={"help": "The critic's learning rate; null: `learning_rate`."}
    )


# --- formulas -------------------------------------------------------------------------------------


def token_rewards(scores: Tensor, log_ratios: Tensor, mask: Tensor, beta: float) -> Tensor:
    """(2) The reward of each token. `scores`: one per answer (B). `log_ratios`: log probability
    under the policy less that under the reference (B, T). `mask`: 1 for tokens of the policy, 0
    for padding and for what a tool wrote (B, T).
    """
    rewards = -beta * log_ratios * mask
    positions = torch.arange(mask.size(1), device=mask.device)
    last = (mask * positions).argmax(dim=1, keepdim=True)
    has_tokens = mask.sum(dim=1, keepdim=True) > 0
    return rewards.scatter_add(1, last, scores.unsqueeze(1) * has_tokens)


def advantages_of(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float
) -> Tensor:
    """(3) GAE's advantage of each token, all arguments (B, T). A token that is masked is skipped:
    the state after a token is that before the policy's next one. After its last one the value is 0.
    """
    advantages = torch.zeros_like(values)
    carried = following = values.new_zeros(values.size(0))
    for at in reversed(range(values.size(1))):
        own = mask[:, at].bool()
        error = rewards[:, at] + gamma * following - values[:, at]
        carried = torch.where(own, error + gamma * lam * carried, carried)
        following = torch.where(own, values[:, at], following)
        advantages[:, at] = torch.where(own, carried, 0.0)
    return advantages


def value_losses(values: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """(4) The value loss of each token: half the larger square of the two errors, without and with
    clipping the value to at most `clip` from the old one. All tensors (B, T).
    """
    clipped = old + (values - old).clamp(-clip, clip)
    return 0.5 * torch.max((values - returns) ** 2, (clipped - returns) ** 2)


# --- trainer --------------------------------------------------------------------------------------


class PPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """GRPO's trainer with a critic, whose body is that of the model in the folder `critic`."""

    beta: float

    def __init__(self, *args: Any, critic: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.is_deepspeed_enabled or self.is_fsdp_enabled:
            found = "PPO with DeepSpeed or FSDP"
            raise TrainingError(found, fix="use DDP (`torchrun`), or the method rloo")
        self.critic = self.accelerator.prepare_model(_critic(critic, self.model.dtype))
        self.critic.eval()  # without dropout; it learns all the same
        self.add_callback(_Gradients(self))
        self._scores: Tensor = torch.empty(0)

    def _calculate_rewards(self, inputs: Any, *rest: Any) -> Tensor:
        by_function = super()._calculate_rewards(inputs, *rest)
        weights = self.reward_weights.to(by_function.device)
        scores = (by_function * weights).nansum(dim=1)
        begin = self.accelerator.process_index * len(inputs)
        self._scores = scores[begin : begin + len(inputs)]
        return by_function

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        batch = super()._generate_and_score_completions(inputs)
        with torch.no_grad():
            return {**batch, **self._estimates(batch)}

    def _estimates(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Old log probabilities, old values, advantages and returns of a batch of answers."""
        mask = _mask(batch)
        old = batch.get("old_per_token_logps")
        if old is None:
            old, _, _ = self._get_per_token_logps_and_entropies(
                self.model, *_tokens(batch), batch_size=self.args.per_device_train_batch_size
            )
        values = self._values(batch)
        reference = batch.get("ref_per_token_logps")
        log_ratios = torch.zeros_like(old) if reference is None else old - reference
        rewards = token_rewards(self._scores, log_ratios, mask, self.beta)
        advantages = advantages_of(rewards, values, mask, self.args.gamma, self.args.lam)
        returns = advantages + values
        self._report(log_ratios, values, returns, mask)
        if self.args.whiten_advantages:
            advantages = self._whitened(advantages, mask)
        return {
            "old_per_token_logps": old,
            "old_values": values,
            "advantages": advantages,
            "returns": returns,
        }

    def _values(self, batch: dict[str, Any]) -> Tensor:
        """The critic's value of the state before each token of the answers (B, T)."""
        ids, attention, count = _tokens(batch)
        with self.accelerator.autocast():
            logits = self.critic(input_ids=ids, attention_mask=attention).logits
        return logits[:, -count - 1 : -1, 0].float()

    def _whitened(self, advantages: Tensor, mask: Tensor) -> Tensor:
        """With mean 0 and variance 1 over the tokens of all processes."""
        mean = self._mean(advantages, mask)
        variance = self._mean((advantages - mean) ** 2, mask)
        return (advantages - mean) * torch.rsqrt(variance + 1e-8) * mask

    def _mean(self, figures: Tensor, mask: Tensor) -> Tensor:
        """The mean over the tokens of all processes."""
        sums = torch.stack([(figures * mask).sum(), mask.sum().to(figures.dtype)])
        total, count = self.accelerator.reduce(sums, reduction="sum")
        return total / count.clamp(min=1.0)

    def _report(self, log_ratios: Tensor, values: Tensor, returns: Tensor, mask: Tensor) -> None:
        """Logs the KL divergence as GRPO estimates it, and how much of the returns' variance the
        critic explains.
        """
        kl = torch.exp(-log_ratios) + log_ratios - 1
        mean = self._mean(returns, mask)
        variance = self._mean((returns - mean) ** 2, mask)
        missed = self._mean((returns - values) ** 2, mask)
        metrics = self._metrics["train" if self.model.training else "eval"]
        if self.beta:  # else there is no reference here
            metrics["kl"].append(self._mean(kl, mask).item())
        metrics["explained_variance"].append((1 - missed / variance.clamp(min=1e-8)).item())

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        beta, self.beta = self.beta, 0.0  # the penalty is in the rewards, not in the loss
        try:
            policy: Tensor = super()._compute_loss(model, inputs)
        finally:
            self.beta = beta
        return policy + self.args.vf_coef * self._value_loss(inputs)

    def _value_loss(self, inputs: dict[str, Any]) -> Tensor:
        """The mean over the tokens of the whole step, as TRL's `dapo` takes it."""
        mask = _mask(inputs)
        losses = value_losses(
            self._values(inputs),
            inputs["old_values"],
            inputs["returns"],
            self.args.cliprange_value,
        )
        mode = "train" if self.model.training else "eval"
        self._metrics[mode]["value_loss"].append(self._mean(losses.detach(), mask).item())
        tokens = inputs["num_items_in_batch"].clamp(min=1.0) / self.accelerator.num_processes
        if mode == "train":
            tokens *= self.current_gradient_accumulation_steps / self.args.steps_per_generation
        return (losses * mask).sum() / tokens

    # --- the critic in optimiser and checkpoints --------------------------------------------------

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """The trainer's optimiser, with the critic's weights as a group of their own."""
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(*args, **kwargs)
        if is_new:
            rate = self.args.value_learning_rate or self.args.learning_rate
            group = {"params": list(self.critic.parameters()), "lr": rate, "weight_decay": 0.0}
            optimizer.add_param_group(group)
        return optimizer

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self._get_output_dir(trial=trial), f"checkpoint-{self.state.global_step}")
        if self.args.should_save:
            folder.mkdir(parents=True, exist_ok=True)
            bare = self.accelerator.unwrap_model(self.critic)
            weights = {name: tensor.contiguous() for name, tensor in bare.state_dict().items()}
            save_file(weights, folder / CRITIC)
        super()._save_checkpoint(model, trial)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        weights = load_file(Path(resume_from_checkpoint) / CRITIC)
        self.accelerator.unwrap_model(self.critic).load_state_dict(weights)


class _Gradients(TrainerCallback):  # type: ignore[misc]
    """Clips and resets the critic's gradients, as the trainer does it with those of its model."""

    def __init__(self, trainer: PPOTrainer) -> None:
        self._trainer = trainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Before each step of the optimiser."""
        if args.max_grad_norm:
            weights = self._trainer.critic.parameters()
            torch.nn.utils.clip_grad_norm_(weights, args.max_grad_norm)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """After each step of the optimiser."""
        self._trainer.critic.zero_grad()


def _critic(folder: str, dtype: torch.dtype) -> Any:
    """(1) A model with one figure per token, which is 0 for every token at first."""
    critic = AutoModelForTokenClassification.from_pretrained(
        folder, num_labels=1, dtype=dtype, trust_remote_code=False, use_safetensors=True
    )
    for module in critic.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    head = critic.get_submodule(_head(critic))
    for weight in head.parameters():
        torch.nn.init.zeros_(weight)
    return critic


def _head(critic: Any) -> str:
    """The name of the layer that makes one figure of a token's state."""
    named = [
        name
        for name, module in critic.named_modules()
        if isinstance(module, torch.nn.Linear) and module.out_features == 1
    ]
    if len(named) != 1:
        found = f"a critic for {type(critic).__name__}: {len(named)} layers with one output"
        raise TrainingError(found, expected="one", fix="use the method rloo, which needs no critic")
    return str(named[0])


def _tokens(batch: dict[str, Any]) -> tuple[Tensor, Tensor, int]:
    """Token ids and attention mask of prompts with answers, and the length of the answers."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    return ids, attention, batch["completion_ids"].size(1)


def _mask(batch: dict[str, Any]) -> Tensor:
    """1 for tokens that the policy chose (B, T)."""
    chosen: Tensor = batch["completion_mask"]
    return chosen * batch["tool_mask"] if "tool_mask" in batch else chosen
