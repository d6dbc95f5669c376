"""The divergence from the reference along a training with rewards, also where `beta` is 0 and TRL
has no reference; and the curve of reward against it.

1. The estimate is TRL's of GRPO: the mean over the tokens of the answers of r - log r - 1, where r
   is the probability under the reference by that under the policy (Schulman 2020, "Approximating
   KL divergence", k3). It is measured on each batch of answers, without dropout.
2. The reference is the parent: the model without its adapter, or a copy.
3. It draws no random numbers and takes no gradient, so the training has the same bits.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from statistics import fmean
from typing import Any

from governance.attest.predicates.training import CurvePoint
from governance.base.errors import ConfigError

POINTS = 64
"""The most points of a curve in a statement."""
DIGITS = 6


def attach(trainer: Any, where: str, *, needed: bool) -> None:
    """Logs `kl` of each batch of answers from now on, unless the trainer does it itself or its
    weights are sharded. Raises `ConfigError` where that is `needed`.
    """
    if trainer.args.beta:
        return
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        if needed:
            found = "with beta 0 and sharded weights no KL is measured"
            raise ConfigError(found, where=where, fix="set beta, or delete kl_above")
        return
    has_adapter = hasattr(trainer.accelerator.unwrap_model(trainer.model), "disable_adapter")
    reference = None if has_adapter else _copy(trainer)
    generate = trainer._generate_and_score_completions

    def measured(inputs: Any) -> dict[str, Any]:
        batch: dict[str, Any] = generate(inputs)
        if trainer.model.training:
            trainer._metrics["train"]["kl"].append(_divergence(trainer, reference, batch))
        return batch

    trainer._generate_and_score_completions = measured


def _copy(trainer: Any) -> Any:
    """The model before the first step. A resumed training loads its weights only later."""
    model = copy.deepcopy(trainer.accelerator.unwrap_model(trainer.model))
    return trainer.accelerator.prepare_model(model, evaluation_mode=True).eval()


def _divergence(trainer: Any, reference: Any, batch: dict[str, Any]) -> float:
    """(1), over all processes."""
    import torch

    model = trainer.model
    bare = trainer.accelerator.unwrap_model(model)
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    count, size = batch["completion_ids"].size(1), trainer.args.per_device_train_batch_size
    mask = batch["completion_mask"] * batch.get("tool_mask", 1)

    def logarithms(of: Any) -> Any:
        return trainer._get_per_token_logps_and_entropies(of, ids, attention, count, size)[0]

    model.eval()
    try:
        with torch.no_grad():
            ours = logarithms(model)
            with nullcontext() if reference is not None else bare.disable_adapter():
                theirs = logarithms(model if reference is None else reference)
    finally:
        model.train()
    ratio = (theirs - ours) * mask
    sums = torch.stack([((ratio.exp() - ratio - 1) * mask).sum(), mask.sum().to(ratio.dtype)])
    total, tokens = trainer.accelerator.reduce(sums, reduction="sum")
    return float(total / tokens.clamp(min=1))


def curve(history: Sequence[Mapping[str, float]]) -> list[CurvePoint]:
    """Reward and divergence in at most `POINTS` parts of a trainer's history."""
    lines = [line for line in history if "reward" in line]
    size = -(-len(lines) // POINTS) or 1
    return [_point(lines[at : at + size]) for at in range(0, len(lines), size)]


def _point(lines: Sequence[Mapping[str, float]]) -> CurvePoint:
    kl = [line["kl"] for line in lines if "kl" in line]
    return CurvePoint(
        step=int(lines[-1]["step"]),
        reward=round(fmean(line["reward"] for line in lines), DIGITS),
        kl=round(fmean(kl), DIGITS) if kl else None,
    )
