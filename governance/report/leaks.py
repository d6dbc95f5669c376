"""What the version, and the models it was made from, give away of their training data: page one's
row "Privacy leakage" (`governance.gates.leaks` judges it).

The row passes if every training that learnt texts was probed and every limit of policy is met.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import log2

from governance.attest.predicates import LeakProbe
from governance.attest.predicates.leaks import CanaryFigures, Membership
from governance.base.statistics import Interval
from governance.base.text import share
from governance.gates import leaks
from governance.gates.leaks import Leak
from governance.history.lineage import ModelNode, leak_probes, probe_of
from governance.log.evidence import Evidence
from governance.policy.evaluation import LeakLimits
from governance.report import scores
from governance.report.facts import Facts
from governance.report.model.parts import Reason, Result
from governance.report.reasons import Say, reason


@dataclass(frozen=True)
class Leakage:
    """The row's content."""

    result: Result
    reasons: list[Reason]
    threshold: str | None = None
    evidence: list[Evidence] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    """What was not measured, in words."""


Probed = tuple[ModelNode, ModelNode, Evidence[LeakProbe] | None]
"""A model, the training of its chain that a probe is about, and the probe."""


def leakage(facts: Facts) -> Leakage:
    """The probes of the version and of the models it was made from."""
    probed = [*_own(facts), *_further(facts)]
    found = [statement for _, _, statement in probed if statement]
    if not found:
        return Leakage("not run", [reason(Say.LEAKAGE_NOT_TESTED)])
    limits = facts.policies.evaluation.leaks if facts.policies else None
    confidence = facts.policies.evaluation.confidence if facts.policies else scores.CONFIDENCE
    reasons = [one for each in probed for one in _figures(*each, confidence)]
    gaps = [gap for node, _, statement in _own(facts) for gap in _gaps(node, statement)]
    if gaps:
        reasons.append(reason(Say.LEAKS_NOT_MEASURED, parts="; ".join(gaps)))
    if limits is None:
        why = reason(Say.NO_THRESHOLD)
        return Leakage("no threshold", [*reasons, why], None, list(found), gaps)
    judged = _judged(probed, limits, confidence)
    demands = dict.fromkeys(leak.demand for leak in judged)
    result: Result = "not run" if any(leak.gap for leak in judged) else "pass"
    if any(not leak.passed and not leak.gap for leak in judged):
        result = "fail"
    return Leakage(result, reasons, "; ".join(demands), list(found), gaps)


def _own(facts: Facts) -> list[Probed]:
    """The trainings that learnt texts or were probed, each with the probe of its own model."""
    found = [
        (node, node, probe_of(leak_probes(facts.view, node.sha256), node)) for node in facts.trained
    ]
    return [one for one in found if one[2] or one[0].method not in leaks.NOT_TRAINED_ON_TEXT]


def _further(facts: Facts) -> Iterator[Probed]:
    """Probes of the version about the trainings of the models it was made from."""
    probes = leak_probes(facts.view, facts.released.sha256)
    for node in facts.trained:
        if node is not facts.released and (statement := probe_of(probes, node)):
            yield facts.released, node, statement


def _judged(probed: list[Probed], limits: LeakLimits, confidence: float) -> list[Leak]:
    """The results of every limit; gaps only of trainings that learnt texts."""
    return [
        leak
        for model, node, statement in probed
        if node.train
        for leak in leaks.judge(
            statement.predicate if statement else None, node.train.predicate, limits, confidence
        )
        if not leak.gap or (model is node and node.method not in leaks.NOT_TRAINED_ON_TEXT)
    ]


def _gaps(node: ModelNode, statement: Evidence[LeakProbe] | None) -> Iterator[str]:
    if statement is None:
        yield f"{node.name} (no leak probe)"
        return
    for part, why in sorted(statement.predicate.not_measured.items()):
        yield f"{part} of {node.name} ({leaks.WHY[why]})"


def _figures(
    model: ModelNode, node: ModelNode, statement: Evidence[LeakProbe] | None, confidence: float
) -> Iterator[Reason]:
    """One sentence for each part that was measured."""
    if statement is None:
        return
    names = {"model": model.name, "stage": node.name}
    probe = statement.predicate
    if probe.canaries:
        yield reason(Say.LEAKED_CANARIES, **names, **_of_canaries(probe.canaries, confidence))
    if probe.membership:
        figures = _of_membership(probe.membership, confidence)
        yield reason(Say.LEAKED_MEMBERS, **names, **figures)
    use = node.train.predicate.use.get("train") if node.train else None
    if use is not None and use.seen is not None:
        yield reason(Say.LEAKS_DILUTED, stage=node.name, seen=use.seen, used=use.used)


def _of_canaries(figures: CanaryFigures, confidence: float) -> dict[str, str | int]:
    extracted, mean = leaks.extracted(figures, confidence), leaks.mean_exposure(figures, confidence)
    return {
        "count": figures.planted.count,
        "times": figures.planted.repetitions,
        "extracted": figures.extracted,
        "interval": f"{confidence:.0%} interval {share(extracted.low)} to {share(extracted.high)}",
        "mean": f"{mean.mean:.1f} bits ({max(0.0, mean.low):.1f} to {mean.high:.1f})",
        "highest": f"{max(leaks.exposures(figures)):.1f}",
        "most": f"{log2(figures.candidates + 1):.1f}",
    }


def _of_membership(figures: Membership, confidence: float) -> dict[str, str]:
    area = leaks.auc(figures, confidence)
    found = leaks.members_found(figures, confidence)
    return {
        "records": f"{figures.members} and {figures.non_members} records",
        "auc": f"{area.mean:.3f} ({area.low:.3f} to {area.high:.3f})",
        "found": "too few are held out for a figure at 1% false alarms"
        if not found
        else _at(found),
    }


def _at(found: Interval) -> str:
    interval = f"{share(found.low)} to {share(found.high)}"
    return f"{share(found.mean)} of them ({interval}) are found at 1% false alarms"
