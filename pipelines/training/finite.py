"""Stops a training at the first figure that is not a finite number: loss, gradients, rewards,
logged figures. The weights are checked when they are saved (`pipelines.training.modelfolder`).

1. The loss of each batch and the norm of the gradients are checked before the optimizer uses them.
   So no checkpoint of a diverged model is written.
2. TRL replaces rewards that are not finite by 0 or leaves them out of its means. They are checked
   where they are computed. A function in TRL's signature may give None for a completion, which TRL
   leaves out; `pipelines.training.rewards` checks its numbers.
3. Every figure of a log line is checked, reported or not. A figure that the method reports and
   that TRL leaves empty, because none of its values was finite, stops the training too.
4. A batch carries the positions of its records, so that the terminal can name their rows. The
   trainer never sees them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipelines.failures import StoppedError, not_finite
from pipelines.training.rewards import MAY_SKIP

POSITION = "countersign_position"
"""Column of the training set: a record's position in the split, from 0."""

SKIPPED_STEPS = 25
"""With a gradient scaler (fp16), a step whose gradients overflow is skipped and the scale is
halved. After so many skipped steps in a row, the model has diverged.
"""

Places = Callable[[Sequence[int]], list[str]]
"""Positions of records to their places in the source, for the terminal."""


class Watch:
    """Watches one trainer. `signals` are the figures that its method reports."""

    def __init__(self, stage: str, signals: tuple[str, ...], places: Places) -> None:
        self.stage, self.signals, self.places = stage, signals, places
        self.step = 1
        self.batch: list[int] = []
        """Positions of the records of the last batch."""
        self.since_log: list[int] = []
        """Positions of the records since the last log line."""
        self.skipped = 0

    def attach(self, trainer: Any) -> None:
        """Checks everything that this trainer computes from now on."""
        self.trainer = trainer
        trainer.data_collator = self._collating(trainer.data_collator)
        trainer.training_step = self._stepping(trainer.training_step)
        trainer._get_grad_norm = self._norming(trainer._get_grad_norm)
        if hasattr(trainer, "_calculate_rewards"):
            trainer._calculate_rewards = self._rewarding(trainer._calculate_rewards)
        if trainer.args.remove_unused_columns:
            trainer._set_signature_columns_if_needed()
            trainer._signature_columns = [*trainer._signature_columns, POSITION]
        trainer.add_callback(_logged(self))

    def _collating(self, collate: Callable[..., Any]) -> Callable[..., Any]:
        def collated(examples: list[dict[str, Any]]) -> Any:
            import torch

            if not examples or POSITION not in examples[0]:
                return collate(examples)
            positions = [example[POSITION] for example in examples]
            batch = collate(
                [
                    {name: value for name, value in example.items() if name != POSITION}
                    for example in examples
                ]
            )
            if isinstance(batch, list):  # prompts, which the trainer completes itself
                pairs = zip(batch, positions, strict=True)
                return [{**example, POSITION: position} for example, position in pairs]
            batch[POSITION] = torch.tensor(positions)
            return batch

        return collated

    def _stepping(self, training_step: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
            self.step = self.trainer.state.global_step + 1
            self._take(inputs)
            loss = training_step(model, inputs, *rest, **named)
            value = float(loss.detach().float())
            if not math.isfinite(value):
                raise self._error("the loss", str(value), self.batch)
            return loss

        return stepped

    def _take(self, inputs: Any) -> None:
        """Notes the records of a batch and takes their positions out of it."""
        if isinstance(inputs, list):
            self.batch = [example.pop(POSITION) for example in inputs if POSITION in example]
        elif POSITION in inputs:
            self.batch = inputs.pop(POSITION).tolist()
        self.since_log += self.batch

    def _norming(self, grad_norm: Callable[..., Any]) -> Callable[..., Any]:
        def normed(*given: Any, **named: Any) -> Any:
            norm = grad_norm(*given, **named)
            value = 0.0 if norm is None else float(norm)
            self.skipped = 0 if math.isfinite(value) else self.skipped + 1
            if self.skipped > (SKIPPED_STEPS if self._scales() else 0):
                raise self._error("the norm of the gradients", str(value), self.batch)
            return norm

        return normed

    def _scales(self) -> bool:
        return getattr(self.trainer.accelerator, "scaler", None) is not None

    def _rewarding(self, rewards: Callable[..., Any]) -> Callable[..., Any]:
        def rewarded(inputs: Any, *rest: Any, **named: Any) -> Any:
            import torch

            scores = rewards(inputs, *rest, **named)  # (completion, function)
            skipped = torch.tensor(self._may_skip(), device=scores.device) & torch.isnan(scores)
            wrong = (~(torch.isfinite(scores) | skipped)).nonzero().tolist()
            if wrong:
                names = self.trainer.reward_func_names
                row, function = wrong[0]
                batch = self.batch if len(self.batch) == len(scores) else []
                at = [batch[row] for row, _ in wrong] if batch else []
                value = str(float(scores[row, function]))
                raise self._error(f"the reward {names[function]}", value, at)
            return scores

        return rewarded

    def _may_skip(self) -> list[bool]:
        """Whether each reward function may give None for a completion, which TRL writes as NaN."""
        return [getattr(each, MAY_SKIP, False) for each in self.trainer.reward_funcs]

    def _skips(self, name: str) -> bool:
        """Whether a figure is of a reward function that may have scored nothing since the last
        line.
        """
        functions = getattr(self.trainer, "reward_funcs", [])
        skipping = {each.__name__ for each in functions if getattr(each, MAY_SKIP, False)}
        parts = name.removeprefix("eval_").split("/")
        return parts[0] == "rewards" and len(parts) == 3 and parts[1] in skipping

    def check_log(self, step: int, logs: Mapping[str, Any]) -> None:
        """Raises `StoppedError` for a figure of a log line that is not finite."""
        self.step = step
        for name, value in sorted(logs.items()):
            missing = value is None and name.removeprefix("eval_") in self.signals
            infinite = isinstance(value, int | float) and not math.isfinite(value)
            skipped = name == "grad_norm" and self._scales()
            if missing or (infinite and not skipped and not self._skips(name)):
                said = "no finite value" if missing else str(float(value))
                rows = [] if name.startswith("eval_") else self.since_log
                raise self._error(f"the figure {name}", said, rows)
        if not any(name.startswith("eval_") for name in logs):
            self.since_log = []

    def _error(self, figure: str, value: str, positions: Sequence[int]) -> StoppedError:
        records = sorted(set(positions))
        counts = {"batch_records": len(records)} if records else {}
        places = self.places(records)
        return not_finite(self.stage, figure, value, step=self.step, counts=counts, rows=places)


def _logged(watch: Watch) -> Any:
    from transformers import TrainerCallback

    class Logged(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            watch.check_log(state.global_step, logs or {})

    return Logged()
