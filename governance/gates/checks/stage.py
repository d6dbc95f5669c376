"""Checks of the request itself: the model's name, the objective, the rewards."""

from __future__ import annotations

from governance.base.errors import did_you_mean
from governance.gates.checks.context import Context, Findings, GateContext


def model_known(context: Context) -> Findings:
    """Policy names the model, and with it its tier."""
    if context.model_policy is None:
        names = sorted(context.policies.rules.models)
        similar = did_you_mean(context.model, names)
        yield context.finding(
            "MODEL_UNKNOWN",
            expected=f"one of {', '.join(names)}",
            found=f"{context.model} ({similar})" if similar else context.model,
        )


def objective(context: GateContext) -> Findings:
    """The objective and every reward function have a digest."""
    request = context.request
    unknown = [name for name, digest in sorted(request.rewards.items()) if digest is None]
    unknown += ["the objective"] if request.objective is None else []
    if unknown:
        stage, found = f"stage {request.stage}", ", ".join(unknown)
        yield context.finding(
            "OBJECTIVE_UNKNOWN",
            stage,
            expected="a digest for each",
            found=found,
            figures=unknown,
        )


def rewards(context: GateContext) -> Findings:
    """Only reward functions that policy lists, where it lists any."""
    permitted = context.policies.rules.rewards
    refused = sorted(context.request.rewards.keys() - set(permitted or []))
    if permitted is not None and refused:
        yield context.finding(
            "REWARD_NOT_PERMITTED",
            f"stage {context.request.stage}",
            expected=", ".join(permitted) or "none",
            found=", ".join(refused),
            figures=refused,
        )
