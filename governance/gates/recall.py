"""Compares the recall of a PII scan with policies/pii.yaml. The recall is the share of planted
values that the scan found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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


def least(measured: Recall) -> str | None:
    """The kind of value with the lowest recall; None where no value was planted."""
    return min(
        measured.entities,
        key=lambda name: (interval(measured.entities[name]).low, name),
        default=None,
    )


def summary(scans: Mapping[str, Recall | None]) -> str:
    """The lowest recall in the scans of one or several datasets, in words."""
    recalls = {name: recall for name, recall in scans.items() if recall and recall.entities}
    without = [dataset for dataset in scans if dataset not in recalls]
    if not recalls:
        return f"recall {NOT_RECORDED}" if scans else "recall not recorded: no scan is"
    weakest = {dataset: str(least(recall)) for dataset, recall in recalls.items()}
    lowest = {
        dataset: interval(recall.entities[weakest[dataset]]) for dataset, recall in recalls.items()
    }
    where = min(lowest, key=lambda dataset: lowest[dataset].low)
    planted = [
        kind_and_counts
        for recall in recalls.values()
        for kind_and_counts in recall.entities.items()
    ]
    kinds = {kind for kind, _ in planted}
    partly = {kind for kind, counts in planted if counts.found < counts.planted}
    also = f"; {NOT_RECORDED} for {', '.join(without)}" if without else ""
    return (
        f"recall on made-up values: {len(kinds - partly)} of {len(kinds)} kinds all found, "
        f"least {weakest[where]} {describe(lowest[where])} ({where}){also}"
    )


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
        )
