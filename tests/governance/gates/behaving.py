"""Models whose behaviour on held-out prompts was measured, for scenarios of gates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from governance.policy.evaluation import BehaviourLimits
from tests.simulator import SCORES, Plan, digest, model

Change = Callable[[Plan], None]
HEALTHY: dict[str, list[float]] = {
    **dict.fromkeys(("empty", "truncated", "repeated", "refused", "common"), [0.0] * 100),
    "tokens": [17.0, 19.0] * 50,
    "content": [8.0, 9.0] * 50,
    "kl": [0.1, 0.0] * 50,
}
"""Measures of a model that behaves well."""
READS = {"margins": [1.5] * 90 + [-0.5] * 10}
"""Of a reward model that reads what it ranks, where length says nothing."""
BALANCED = {"chosen_tokens": [9, 7] * 50, "rejected_tokens": [7, 9] * 50}
BETTER = "REWARD_MODEL_NOT_BETTER"
ROSE = {"reward": [0.8, 1.0] * 50, "parent_reward": [0.2, 0.1] * 50}


def longer_in(right: int, wrong: int, same: int = 0) -> dict[str, list[int]]:
    """Lengths of pairs: the chosen answer is as long at first, then longer, then shorter."""
    return {
        "chosen_tokens": [8] * same + [9] * right + [7] * wrong,
        "rejected_tokens": [8] * same + [7] * right + [9] * wrong,
    }


def ranks(**changes: Any) -> dict[str, Any]:
    """What an evaluation of a reward model states beside scores."""
    pairs = {**READS, **BALANCED, **changes}
    return {"behaviour": {"not_measured": "it gives no answers"}, "pairs": pairs}


def ranks_so(**changes: Any) -> Change:
    """All models behave well, and the reward model ranks pairs otherwise."""

    def change(plan: Plan) -> None:
        behaves()(plan)
        plan.say("evaluate", "reward", **ranks(**changes))

    return change


def behaves(scores: dict[str, list[float]] | None = None, **measures: list[float]) -> Change:
    """Policy limits behaviour, and all models behave well; `measures` are those of `dpo`."""

    def change(plan: Plan) -> None:
        limited = {"behaviour": BehaviourLimits()}
        plan.policy(evaluation=plan.policies.evaluation.model_copy(update=limited))
        plan.say("evaluate", "sft", behaviour={"measures": HEALTHY, "parent": model("base")})
        plan.say("evaluate", "reward", **ranks())
        own = {"measures": {**HEALTHY, **measures}, "parent": model("sft")}
        own |= {"rewards": {"brevity": digest("brevity")}} if "reward" in measures else {}
        plan.say("evaluate", "dpo", behaviour={**own, "lower_is_better": ["unsafe"]})
        if scores:
            plan.say("evaluate", "dpo", scores={**SCORES["dpo"], **scores})

    return change
