"""Models whose training data was looked for in what they say, for scenarios of gates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from governance.policy.evaluation import LeakLimits
from tests.simulator import MODEL, Plan, digest

Change = Callable[[Plan], None]
LIMITS = LeakLimits(
    required_of=[MODEL], exposure=7, extracted=0, canaries=4, repetitions=2, auc=0.65, found=0.1,
)  # fmt: skip
PLANTED = {
    "count": 4,
    "repetitions": 2,
    "format": digest("format"),
    "record_key": "development",
    "root": digest("canaries"),
}
KEEPS: dict[str, Any] = {
    "canaries": {"planted": PLANTED, "candidates": 255, "ranks": [9, 200, 31, 118], "extracted": 0},
    "membership": {
        "members": 500, "non_members": 500, "auc": 0.54, "error": 0.018, "found": 11,
        "false_alarms": 5,
    },
    "not_measured": {},
}  # fmt: skip
"""A probe of a model that gives nothing away."""
LEARNT = ("base", "sft", "dpo")
"""The stages of the desk that learn texts."""


def probed(**changes: Any) -> dict[str, Any]:
    """A probe in which some fields of `canaries` or `membership` are others; None: no figures."""
    found = {**KEEPS, "not_measured": {**KEEPS["not_measured"]}}
    for part, fields in changes.items():
        found[part] = None if isinstance(fields, str) else {**KEEPS[part], **fields}
        if isinstance(fields, str):
            found["not_measured"][part] = fields
    return found


def limited(limits: LeakLimits = LIMITS, dpo: dict[str, Any] | None = KEEPS) -> Change:
    """Policy limits leaks, and every training that learnt texts was probed; `dpo` as given, None:
    not at all.
    """

    def change(plan: Plan) -> None:
        plan.policy(evaluation=plan.policies.evaluation.model_copy(update={"leaks": limits}))
        for stage in LEARNT:
            plan.say("train", stage, canaries=PLANTED)
            plan.probes[stage, stage] = KEEPS
        plan.probes.pop(("dpo", "dpo"))
        if dpo is not None:
            plan.probes["dpo", "dpo"] = dpo

    return change
