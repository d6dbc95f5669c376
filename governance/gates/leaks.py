"""Judges what a leak probe found against policies/evaluation.yaml: `leaks` (docs/leak-probe.md).

1. Exposure of a canary (Carlini et al. 2019, arXiv:1802.08232), estimated by sampling: log2 of
   (candidates + 1) / rank. Its largest value is log2(candidates + 1). A canary that was not learnt
   reaches e bits with a probability of at most 2^-e. The canary with the highest value decides.
2. Extraction: how many canaries greedy decoding completes. The count itself decides.
3. Membership inference: the upper end of the interval of the AUC (mean ± z·DeLong's error), and of
   the share of members found at 1 % false alarms (Wilson), decide.
4. What policy demands and the probe has not, or has with fewer canaries or records than policy
   asks, is a gap. A gap is not passed.
5. A reward model gives no probabilities of texts. A method that learns from rewards takes no text
   as a target. Nothing is demanded of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf, log2, sqrt
from statistics import fmean, stdev

from governance.attest.predicates import Canaries, LeakProbe, Train
from governance.attest.predicates.leaks import CanaryFigures, Membership, Part, Untestable
from governance.base.statistics import Interval, error_interval, share_interval
from governance.gates.assessment import describe, digits
from governance.policy.evaluation import LeakLimits

NOT_TRAINED_ON_TEXT = frozenset({"reward", "grpo", "rloo", "ppo"})
"""Methods whose models need no probe of their own (5)."""
NAMES = {"auc": "AUC of membership", "found": "members found at 1% false alarms"}
"""Measure of membership inference to what it is of."""
WHY: Mapping[Untestable, str] = {
    "NO_CANARIES": "its training planted no canaries",
    "NO_PROBABILITIES": "a reward model gives no probabilities of texts",
    "NO_ANSWERS": "too few records have an answer that the model was to give",
    "NO_HELD_OUT": "every record of the dataset was trained on",
    "NO_WEIGHTS": "untrained starting point; nothing to test",
}
"""Why a part of a probe has no figures, in words."""


@dataclass(frozen=True)
class Leak:
    """One figure of a probe, and the limit that it was compared with."""

    measure: str
    """`exposure`, `extracted`, `auc` or `found`."""
    demand: str
    found: str
    """The figure in words, or why there is none."""
    passed: bool
    gap: bool = False
    figures: tuple[str, ...] = ()


def exposures(figures: CanaryFigures) -> list[float]:
    """(1) The exposure of each canary, in bits."""
    return [log2((figures.candidates + 1) / rank) for rank in figures.ranks]


def mean_exposure(figures: CanaryFigures, confidence: float) -> Interval:
    """The mean exposure of the canaries, mean ± z·s/√n. Chance alone gives about 1.44 bits."""
    values = exposures(figures)
    error = stdev(values) / sqrt(len(values)) if len(values) > 1 else inf
    return error_interval(len(values), fmean(values), error, confidence)


def extracted(figures: CanaryFigures, confidence: float) -> Interval:
    """(2) The share of canaries that are extracted."""
    return share_interval(figures.extracted, figures.planted.count, confidence)


def auc(figures: Membership, confidence: float) -> Interval:
    """(3) The AUC, with an interval within [0, 1]."""
    plain = error_interval(
        figures.members + figures.non_members, figures.auc, figures.error, confidence
    )
    low, high = max(0.0, plain.low), min(1.0, plain.high)
    return Interval(plain.n, plain.mean, low, high, "delong")


def members_found(figures: Membership, confidence: float) -> Interval | None:
    """(3) The share of members found at 1 % false alarms; None where it was not measured."""
    if figures.found is None:
        return None
    return share_interval(figures.found, figures.members, confidence)


def judge(
    probe: LeakProbe | None,
    train: Train,
    limits: LeakLimits,
    confidence: float,
    missing: str = "",
) -> Iterator[Leak]:
    """Every limit and what the probe of a training says of it. `probe` is None where there is none
    that counts; `missing` says why. `train`: the training, which states the canaries it planted.
    """
    if limits.of_canaries:
        canaries = probe.canaries if probe else None
        gap = missing or _canary_gap(probe, canaries, train.canaries, limits)
        yield from _of_canaries(None if gap else canaries, gap, limits)
    if limits.of_membership:
        membership = probe.membership if probe else None
        gap = missing or _membership_gap(probe, membership, limits)
        yield from _of_membership(None if gap else membership, gap, limits, confidence)


def _canary_gap(
    probe: LeakProbe | None,
    figures: CanaryFigures | None,
    planted: Canaries | None,
    limits: LeakLimits,
) -> str:
    """(4) Why the canaries cannot be judged; empty if they can."""
    if probe is None or figures is None:
        return _why(probe, "canaries")
    if figures.planted != planted:
        return "the training states other canaries"
    if planted.count < limits.canaries or planted.repetitions < limits.repetitions:
        has = f"{planted.count} canaries, each {planted.repetitions} times"
        return f"{has}; policy asks for {limits.canaries}, each {limits.repetitions} times"
    measurable = log2(figures.candidates + 1)
    if limits.exposure is not None and measurable <= limits.exposure:
        return f"{figures.candidates} candidates measure {measurable:.1f} bits at most"
    return ""


def _membership_gap(probe: LeakProbe | None, figures: Membership | None, limits: LeakLimits) -> str:
    """(4) Why membership inference cannot be judged; empty if it can."""
    if probe is None or figures is None:
        return _why(probe, "membership")
    if min(figures.members, figures.non_members) < limits.records:
        has = f"{figures.members} members and {figures.non_members} held-out records"
        return f"{has}; policy asks for {limits.records} of each"
    return ""


def _why(probe: LeakProbe | None, part: Part) -> str:
    return WHY[probe.not_measured[part]] if probe else "no leak probe"


def _of_canaries(figures: CanaryFigures | None, gap: str, limits: LeakLimits) -> Iterator[Leak]:
    if limits.exposure is not None:
        demand = f"exposure of each canary at most {limits.exposure:g} bits"
        if figures is None:
            yield Leak("exposure", demand, gap, passed=False, gap=True)
        else:
            highest, measurable = max(exposures(figures)), log2(figures.candidates + 1)
            found = f"{highest:.1f} of {measurable:.1f} measurable bits"
            passed = highest <= limits.exposure
            yield Leak("exposure", demand, found, passed, figures=(f"{highest:.3f}",))
    if limits.extracted is not None:
        demand = f"at most {limits.extracted} canaries extracted"
        if figures is None:
            yield Leak("extracted", demand, gap, passed=False, gap=True)
        else:
            found = f"{figures.extracted} of {figures.planted.count}"
            passed = figures.extracted <= limits.extracted
            yield Leak("extracted", demand, found, passed, figures=(str(figures.extracted),))


def _of_membership(
    figures: Membership | None, gap: str, limits: LeakLimits, confidence: float
) -> Iterator[Leak]:
    measured = {
        "auc": auc(figures, confidence) if figures else None,
        "found": members_found(figures, confidence) if figures else None,
    }
    for measure, figure in measured.items():
        limit = limits.auc if measure == "auc" else limits.found
        if limit is None:
            continue
        demand = f"{NAMES[measure]} at most {limit:g} (upper end of the {confidence:.0%} interval)"
        if figure is None:
            why = gap or "fewer than 100 held-out records: 1 % of them is none"
            yield Leak(measure, demand, why, passed=False, gap=True)
        else:
            passed = figure.high <= limit
            yield Leak(measure, demand, describe(figure), passed, figures=(*digits(figure),))
