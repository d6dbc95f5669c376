"""Rules by which an objective ends its training early (`stop` of a stage).

1. A rule is looked at whenever the trainer logs its signals, and sees what is logged: the mean
   since the last time. With rules, every step is logged unless `logging_steps` says otherwise.
2. The model of that step is what is published. The statement says which rule ended the training.
3. A resumed training ends at the same step: no checkpoint is written where a rule holds, and every
   checkpoint lies on a step that is logged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from governance.attest.predicates import EarlyStop
from governance.base.errors import ConfigError, CountersignError
from pipelines.params import Stop, StopRule
from pipelines.training.methods import Method

SIGNALS: dict[str, str] = {"kl_above": "kl", "reward_above": "reward"}
"""Rule to the signal that it bounds, with TRL's names. Both are means: `kl` over the tokens of the
answers, in nats per token; `reward` over the answers.
"""


def mistakes(
    stop: Stop | None, method: Method, trainer: Mapping[str, Any], where: str
) -> Iterator[CountersignError]:
    """What speaks against these rules. `trainer`: the stage's arguments over our defaults."""
    rules = stop.limits if stop else {}
    if stop and not method.rewards:
        found = f"{method.name} generates no answers, so it has neither KL nor reward to stop at"
        fix = "delete the field; `select` chooses a step by the validation split"
        yield ConfigError(found, where=where, fix=fix)
    every = trainer.get("logging_steps", 1)
    if rules and isinstance(every, float) and not every.is_integer():
        found, expected = f"logging_steps {every:g}", "with stop rules, a whole number of steps"
        yield ConfigError(found, where=f"{where}", expected=expected)


def early_stop(
    rules: Mapping[StopRule, float], logs: Mapping[str, Any], step: int, planned: int
) -> EarlyStop | None:
    """The first rule that holds at a step before the last one."""
    for rule, limit in rules.items():
        value = logs.get(SIGNALS[rule])
        if value is not None and value > limit and step < planned:
            return EarlyStop(rule=rule, limit=limit, found=value, planned=planned)
    return None


def stopping(rules: Mapping[StopRule, float]) -> Any:
    """A callback that ends the training when a rule holds; `found` says which.

    With several processes the first one decides for all.
    """
    from accelerate.utils import broadcast_object_list
    from transformers import TrainerCallback

    class Stopping(TrainerCallback):  # type: ignore[misc]
        found: EarlyStop | None = None

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> Any:
            if self.found is None:
                ended = [early_stop(rules, logs or {}, state.global_step, state.max_steps)]
                if args.world_size > 1:
                    ended = broadcast_object_list(ended)
                self.found = ended[0]
            if self.found is not None:
                control.should_training_stop = True
                control.should_save = False  # (3)
            return control

    return Stopping()
