"""Checks of the request itself: the model's name, the objective, the rewards."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from governance.attest.findings import finding
from governance.attest.predicates import Finding
from governance.gates.checks.context import Context, GateContext

Found = Iterable[Finding]


def model_known(context: Context) -> Found:
    """Policy names the model, and with it its tier."""
    if context.model_policy is None:
        names = sorted(context.policies.rules.models)
        similar = difflib.get_close_matches(context.model, names, n=1)
        yield finding(
            "MODEL_UNKNOWN",
            f"model {context.model}",
            "policy gives it no tier, so nobody has said what must hold for it",
            expected=f"one of {', '.join(names)}",
            found=f"{context.model} (did you mean {similar[0]}?)" if similar else context.model,
            next=f"policies/policy.yaml: models.{context.model}: tier, purpose, region",
        )


def objective(context: GateContext) -> Found:
    """The objective and every reward function have a digest."""
    request = context.request
    unknown = [name for name, digest in sorted(request.rewards.items()) if digest is None]
    unknown += ["the objective"] if request.objective is None else []
    if unknown:
        yield finding(
            "OBJECTIVE_UNKNOWN",
            f"stage {request.stage}",
            "not known by digest, so nobody can say what it will learn",
            expected="a digest for each",
            found=", ".join(unknown),
            next=f"params.yaml: stages.{request.stage}",
        )


def rewards(context: GateContext) -> Found:
    """Only reward functions that policy lists, where it lists any."""
    permitted = context.policies.rules.rewards
    used = sorted(context.request.rewards)
    refused = [name for name in used if permitted is not None and name not in permitted]
    if refused:
        yield finding(
            "REWARD_NOT_PERMITTED",
            f"stage {context.request.stage}",
            "policy does not list these reward functions",
            expected=", ".join(permitted or []) or "none",
            found=", ".join(refused),
            next="policies/policy.yaml: rewards",
        )
