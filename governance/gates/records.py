"""Limits of policy on the records that a training leaves out or cuts: one rule, before a training
and at each later decision.
"""

from __future__ import annotations

from collections.abc import Mapping

from governance.attest.findings import finding
from governance.attest.predicates import Finding, RecordUse
from governance.policy.data import TrainingRules


def record_limits(
    subject: str, use: Mapping[str, RecordUse], rules: TrainingRules
) -> list[Finding]:
    """The findings about a training's records. `subject`: the stage or model."""
    train = use.get("train")
    if train is None:
        return [finding("RECORDS_NOT_COUNTED", subject, expected="counts", found="none")]
    shares = (
        ("left out", sum(train.dropped.values()), rules.max_dropped_share),
        ("cut", train.truncated, rules.max_truncated_share),
    )
    return [
        finding(
            "RECORDS_NOT_USED",
            subject,
            f"more records were {what} than policy permits",
            expected=f"at most {limit:.1%} (policies/policy.yaml: training)",
            found=f"{count} of {train.offered} records {what}{_reasons(train, what)}",
            figures=[str(count), str(train.offered)],
            measure=what,
        )
        for what, count, limit in shares
        if limit is not None and count / max(train.offered, 1) > limit
    ]


def _reasons(use: RecordUse, what: str) -> str:
    listed = ", ".join(f"{reason} {count}" for reason, count in sorted(use.dropped.items()))
    return f" ({listed})" if what == "left out" and listed else ""
