"""Compares the recall of a PII scan with policies/pii.yaml. The recall is the share of planted
values that the scan found.
"""

from __future__ import annotations

from collections.abc import Iterator

from governance.attest.findings import finding
from governance.attest.predicates import Finding, Planted, Recall
from governance.base.statistics import Interval, share_interval
from governance.gates.assessment import describe
from governance.policy.data import PiiPolicy

CONFIDENCE = 0.95
"""Of the interval of each recall."""

NOT_RECORDED = "not recorded: scanned before recall was measured"


def interval(planted: Planted) -> Interval:
    """The share of planted values that the scan found, with its Wilson interval."""
    return share_interval(planted.found, planted.planted, CONFIDENCE)


def findings(dataset: str, measured: Recall | None, policy: PiiPolicy) -> Iterator[Finding]:
    """The kinds that policy demands and that were not measured; then the kinds whose recall is too
    low.
    """
    minimum = dict(sorted(policy.minimum_recall.items()))
    counts = measured.entities if measured else {}
    missing = [name for name in minimum if name not in counts]
    subject = f"dataset {dataset}"
    if missing:
        yield finding(
            "RECALL_NOT_MEASURED",
            subject,
            expected=", ".join(f"{name}: {minimum[name]:g}" for name in missing),
            found="nothing of it was planted" if measured else "scanned before recall was measured",
            figures=missing,
        )
    low = [
        name
        for name, least_share in minimum.items()
        if name in counts and interval(counts[name]).low < least_share
    ]
    if low:
        end = "(lower end of the 95% interval)"
        yield finding(
            "RECALL_TOO_LOW",
            subject,
            expected=", ".join(f"{name}: {minimum[name]:g} {end}" for name in low),
            found="; ".join(f"{name}: {describe(interval(counts[name]))}" for name in low),
            figures=[f"{name} {counts[name].found}/{counts[name].planted}" for name in low],
        )
