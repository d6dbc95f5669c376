"""Simulated rollouts: what automation and a patient person would do with random traffic. They are
judged by the code that judges real ones; only signatures and log are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from governance.attest.predicates import (
    Arms,
    Figures,
    Guardrail,
    RolloutReaction,
    RolloutRequest,
    RolloutStep,
    RolloutWindow,
)
from governance.base.time import exact_instant
from governance.history.rollout_rules import after
from governance.history.rollouts import Rollout
from governance.log.evidence import Evidence
from governance.rollout.automation import due

START = datetime(2026, 11, 20, tzinfo=UTC)
Rate = Callable[[int, float], float]
"""The rate of errors of a version in a window: its number, and how hard the traffic is, in [0, 1]."""


@dataclass(frozen=True)
class Plan:
    """What is the same in all rollouts of a simulation."""

    old: Rate
    new: Rate
    margin: float = 0.02
    alpha: float = 0.05
    weights: tuple[int, ...] = (1_000, 2_500, 5_000)
    requests: int = 2_000
    """In each window."""
    windows: int = 12
    widen_every: int = 3
    """Windows after which somebody widens, where nothing forbids it."""
    guardrails: int = 1


@dataclass(frozen=True)
class Ended:
    """How one simulated rollout ended."""

    state: str
    windows: int
    exposed: int
    """Requests that the new version answered."""
    narrowed: int


def simulate(plan: Plan, random: Any) -> Ended:
    """One rollout."""
    rollout = _started(plan)
    for number in range(1, plan.windows + 1):
        rollout = after(rollout, _window(plan, rollout, number, random))
        wanted = due(rollout, START)
        while wanted is not None:
            rollout = after(rollout, _reaction(rollout, *wanted))
            wanted = due(rollout, START)
        if rollout.state(START) != "open":
            break
        if number % plan.widen_every == 0 and _may_widen(rollout):
            rollout = after(rollout, _step(rollout, "widen", rollout.next_weight or 0))
    return Ended(
        rollout.state(START),
        len(rollout.windows),
        sum(one.predicate.metrics["m0"].new.count for one in rollout.windows),
        sum(one.predicate.action == "narrow" for one in rollout.steps),
    )


def _may_widen(rollout: Rollout) -> bool:
    return rollout.next_weight is not None and not rollout.harmful and not rollout.lacking


def _started(plan: Plan) -> Rollout:
    asked = RolloutRequest.model_validate(
        {
            **{"principal": "cleo", "role": "release-manager", "reason": "x"},
            **{"at": exact_instant(START), "model": "desk", "alias": "champion"},
            **{"from_version": "1", "from_digest": "1" * 64},
            **{"to_version": "2", "to_digest": "2" * 64, "mode": "live"},
            "weights": list(plan.weights),
            "guardrails": [
                Guardrail(
                    metric=f"m{index}", worse="higher", low=0, high=1, margin=plan.margin,
                    expected=plan.old(0, 0.5),
                )
                for index in range(plan.guardrails)
            ],
            **{"minimum_sample": 100, "expires": exact_instant(START + timedelta(days=9))},
            **{"widened_by": ["risk"], "alpha": plan.alpha},
        }
    )  # fmt: skip
    rollout = Rollout(_said(0, "rollout", asked))
    return after(rollout, _step(rollout, "start", plan.weights[0]))


def _window(plan: Plan, rollout: Rollout, number: int, random: Any) -> Evidence[RolloutWindow]:
    share, hard = rollout.recorded_weight / 10_000, float(random.random())
    new = int(random.binomial(plan.requests, share))
    metrics = {
        f"m{index}": Arms.model_construct(
            old=_figures(random, plan.requests - new, plan.old(number, hard)),
            new=_figures(random, new, plan.new(number, hard)),
        )
        for index in range(plan.guardrails)
    }
    weight = rollout.recorded_weight
    window = RolloutWindow.model_construct(number=number, weight=weight, metrics=metrics)
    return _said(_next(rollout), "rollout_window", window)


def _figures(random: Any, count: int, rate: float) -> Figures:
    ones = float(random.binomial(count, rate))
    return Figures.model_construct(count=count, total=ones, squares=ones)


def _step(rollout: Rollout, action: str, weight: int) -> Evidence[RolloutStep]:
    number = rollout.next_number
    step = RolloutStep.model_construct(number=number, action=action, weight=weight)
    return _said(_next(rollout), "rollout_step", step)


def _reaction(
    rollout: Rollout, action: str, weight: int, metrics: list[str]
) -> Evidence[RolloutReaction]:
    number = rollout.next_number
    reaction = RolloutReaction.model_construct(
        number=number, action=action, weight=weight, metrics=metrics
    )
    return _said(_next(rollout), "rollout_reaction", reaction)


def _next(rollout: Rollout) -> int:
    return 1 + len(rollout.windows) + len(rollout.steps)


def _said(index: int, kind: str, predicate: Any) -> Evidence:
    return Evidence(index, kind, (), predicate, "key", False, f"{index:064d}")


def many(plan: Plan, count: int, seed: int = 1) -> list[Ended]:
    """So many rollouts of one plan."""
    random = np.random.default_rng(seed)
    return [simulate(plan, random) for _ in range(count)]


# -- Traffic ---------------------------------------------------------------------------------------
def constant(rate: float) -> Rate:
    """The same rate in every window."""
    return lambda number, hard: rate


def with_traffic(rate: float, swing: float) -> Rate:
    """A rate that follows how hard the traffic is."""
    return lambda number, hard: rate + swing * (hard - 0.5)


def rising(rate: float, by: float) -> Rate:
    """Traffic that becomes harder from window to window, for both versions."""
    return lambda number, hard: rate + by * number
