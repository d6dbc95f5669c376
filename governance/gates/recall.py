"""How much a scan finds of what was planted for it to find, held against policies/pii.yaml:
arithmetic on counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from governance.attest.findings import finding
from governance.attest.predicates import Finding, Planted, Recall
from governance.base.statistics import Interval, share_interval
from governance.gates.assessment import describe
from governance.policy.data import PiiPolicy

CONFIDENCE = 0.95
"""Of every interval of a recall."""

NOT_RECORDED = "not recorded: scanned before recall was measured"


def interval(one: Planted) -> Interval:
    """The share that was found, with its Wilson interval."""
    return share_interval(one.found, one.planted, CONFIDENCE)


def least(measured: Recall) -> str | None:
    """The kind of which the least share is found; None where nothing was planted."""
    return min(
        measured.entities,
        key=lambda name: (interval(measured.entities[name]).low, name),
        default=None,
    )


def summary(scans: Mapping[str, Recall | None]) -> str:
    """The recall of one or several datasets' scans in words; of each kind, and of all, the
    least.
    """
    known = {dataset: one for dataset, one in scans.items() if one is not None and one.entities}
    without = [dataset for dataset in scans if dataset not in known]
    if not known:
        return f"recall {NOT_RECORDED}" if scans else "recall not recorded: no scan is"
    weakest = {dataset: str(least(one)) for dataset, one in known.items()}
    where = min(known, key=lambda dataset: interval(known[dataset].entities[weakest[dataset]]).low)
    figure = describe(interval(known[where].entities[weakest[where]]))
    kinds = {name for one in known.values() for name in one.entities}
    partly = {
        name
        for one in known.values()
        for name, part in one.entities.items()
        if part.found < part.planted
    }
    also = f"; {NOT_RECORDED} for {', '.join(without)}" if without else ""
    return (
        f"recall on made-up values: {len(kinds - partly)} of {len(kinds)} kinds all found, "
        f"least {weakest[where]} {figure} ({where}){also}"
    )


def findings(dataset: str, measured: Recall | None, policy: PiiPolicy) -> Iterator[Finding]:
    """What policy demands and was not measured, then what is below it."""
    minimum = dict(sorted(policy.minimum_recall.items()))
    known = measured.entities if measured else {}
    missing = [name for name in minimum if name not in known]
    if missing:
        yield finding(
            "RECALL_NOT_MEASURED",
            f"dataset {dataset}",
            "how much of this the scan finds is not measured, and policy demands that it is",
            expected=", ".join(f"{name}: {minimum[name]:g}" for name in missing),
            found=(
                "scanned before recall was measured"
                if measured is None
                else "nothing of it was planted"
            ),
            next=(
                f"countersign repro scan_pii@{dataset} check_quality@{dataset}; or"
                " policies/pii.yaml: minimum_recall"
            ),
        )
    low = {
        name: least
        for name, least in minimum.items()
        if name in known and interval(known[name]).low < least
    }
    if low:
        yield finding(
            "RECALL_TOO_LOW",
            f"dataset {dataset}",
            "the scan finds too little of what was planted in the dataset's own texts",
            expected=", ".join(
                f"{name}: {least:g} (lower end of the 95% interval)" for name, least in low.items()
            ),
            found="; ".join(f"{name}: {describe(interval(known[name]))}" for name in low),
            next=(
                "policies/pii.yaml: ner, threshold, recognizers; what is demanded stands under"
                " minimum_recall"
            ),
        )
