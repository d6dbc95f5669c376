"""What versions did in service: the windows that count, what they add up to, and which limits of
policy they do not keep. Reports, open tasks and the decision on the next move read it here.

1. A window counts if a key with the right `monitoring` signed it, and it is about a version that is
   registered with these bytes. Of several with one source and number, the first one counts.
2. A threshold is judged on all windows of the bytes that ended within its hours before the last
   one's end, together (`governance.policy.monitoring`).
3. A percentile is the upper bound of the bucket in which it lies. Beyond the last bound it is
   infinite, which breaches every limit from above.
4. The error budget of a period is the number of requests that may fail. It is spent when more do.
5. A relative threshold is judged on the multiple of what the version had at its beginning
   (`governance.history.periods`), in the windows after it.
6. A breach began on the first of the days (UTC) after whose last window a limit was not kept,
   without a day in between after which it was kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from governance.attest.findings import finding
from governance.attest.predicates import Finding, Monitoring, Registration
from governance.attest.predicates.monitoring import BOUNDS_MS, Searched
from governance.history import drift
from governance.history.drift import Drift
from governance.history.periods import Windows, begun, end_of, lately

if TYPE_CHECKING:
    from governance.log.evidence import Evidence
    from governance.log.views import EvidenceView
    from governance.policy.monitoring import Metric, MonitoringRules, Objective, Threshold

BREACHED, SPENT, DRIFTED = "MONITORING_BREACHED", "ERROR_BUDGET_SPENT", "DRIFT_FOUND"


@dataclass(frozen=True)
class Total:
    """What windows add up to."""

    windows: int
    begins: str
    ends: str
    gap_ms: int
    requests: int
    errors: int
    rejected: int
    left: int
    latency: tuple[int, ...]
    read: int
    refusals: int
    characters: int
    stated: int
    input: int
    output: int
    costs: Mapping[str, int] = field(default_factory=dict)
    """Millionths, by currency."""
    ratings: Mapping[str, int] = field(default_factory=dict)
    searched: Searched = field(default_factory=Searched)
    """Of the sample of the answers that was searched."""

    @property
    def answered(self) -> int:
        """Answers that a caller got, refusals as wrong included."""
        return self.requests - self.errors - self.left

    def percentile(self, share: float) -> float | None:
        """(3) In milliseconds; infinity beyond the last bound. None without an answer."""
        total, seen = sum(self.latency), 0
        if not total:
            return None
        for bound, count in zip((*BOUNDS_MS, math.inf), self.latency, strict=True):
            seen += count
            if seen >= share * total:
                return float(bound)
        return math.inf


@dataclass(frozen=True)
class Budget:
    """(4) The error budget of a period."""

    allowed: float
    """Requests that may fail."""
    failed: int
    requests: int
    judged: bool
    """Whether there were enough requests."""


@dataclass(frozen=True)
class Judged:
    """A limit of policy, beside what was observed."""

    threshold: Threshold
    value: float | None
    """None where nothing was observed, or too little."""
    sample: int

    @property
    def kept(self) -> bool | None:
        """None where nothing is judged."""
        if self.value is None:
            return None
        if self.threshold.direction == "at_most":
            return self.value <= self.threshold.limit
        return self.value >= self.threshold.limit


@dataclass(frozen=True)
class Breach:
    """(6) A limit that a version does not keep."""

    finding: Finding
    since: datetime
    """The end of the last window of the day on which the breach began."""


def windows(view: EvidenceView, digest: str) -> list[Evidence[Monitoring]]:
    """(1) The windows of these bytes that count, in log order. `view`: statements that count."""
    registered = {
        (each.predicate.model, each.predicate.version)
        for each in view.by_subject(digest, Registration)
        if each.predicate.model_digest == digest
    }
    first: dict[tuple[str, int], Evidence[Monitoring]] = {}
    for statement in view.by_subject(digest, Monitoring):
        said = statement.predicate
        one_subject = {subject.sha256 for subject in statement.subjects} == {digest}
        if one_subject and (said.model, said.version) in registered:
            first.setdefault((said.source, said.window), statement)
    return list(first.values())


def total(found: Windows) -> Total | None:
    """What they add up to; None without any."""
    said = [each.predicate for each in found]
    if not said:
        return None
    costs: dict[str, int] = {}
    for each in said:
        if each.cost is not None:
            costs[each.cost.currency] = costs.get(each.cost.currency, 0) + each.cost.millionths
    ratings = [each.feedback.model_dump() for each in said]
    return Total(
        windows=len(said),
        begins=min(each.begins for each in said),
        ends=max(each.ends for each in said),
        gap_ms=sum(each.gap_ms for each in said),
        requests=sum(each.requests for each in said),
        errors=sum(each.errors for each in said),
        rejected=sum(each.rejected for each in said),
        left=sum(each.left for each in said),
        latency=tuple(map(sum, zip(*(each.latency for each in said), strict=True))),
        read=sum(each.read for each in said),
        refusals=sum(each.refusals for each in said),
        characters=sum(each.characters for each in said),
        stated=sum(each.tokens.answers for each in said),
        input=sum(each.tokens.input for each in said),
        output=sum(each.tokens.output for each in said),
        costs=costs,
        ratings={name: sum(row[name] for row in ratings) for name in ratings[0]},
        searched=_searched([each.searched for each in said if each.searched is not None]),
    )


def _searched(found: Sequence[Searched]) -> Searched:
    return Searched(
        answers=sum(each.answers for each in found),
        left=sum(each.left for each in found),
        holding=sum(each.holding for each in found),
        entities=drift.added(each.entities for each in found),
        languages=drift.added(each.languages for each in found),
    )


# -- Metrics ---------------------------------------------------------------------------------------
Value = tuple[float | None, int]
"""The value, and of how many observations."""


def _share(part: int, whole: int) -> Value:
    return (part / whole if whole else None), whole


def _latency(share: float) -> Callable[[Total, str], Value]:
    return lambda found, _: (found.percentile(share), sum(found.latency))


def _cost(found: Total, currency: str) -> Value:
    """In units of the currency, for each answer that stated its tokens."""
    if currency not in found.costs:
        return None, 0
    value, sample = _share(found.costs[currency], found.stated)
    return (value / 1e6 if value is not None else None), sample


def _down(found: Total) -> Value:
    up, down = found.ratings["up"], found.ratings["down"]
    return _share(down, up + down)


def _preferred(found: Total) -> Value:
    """Ties are left out."""
    won, lost = found.ratings["preferred"], found.ratings["not_preferred"]
    return _share(won, won + lost)


METRICS: Mapping[Metric, Callable[[Total, str], Value]] = {
    "error_rate": lambda found, _: _share(found.errors, found.requests),
    "latency_p50_ms": _latency(0.5),
    "latency_p95_ms": _latency(0.95),
    "latency_p99_ms": _latency(0.99),
    "refusal_rate": lambda found, _: _share(found.refusals, found.read),
    "characters_mean": lambda found, _: _share(found.characters, found.read),
    "output_tokens_mean": lambda found, _: _share(found.output, found.stated),
    "cost_mean": _cost,
    "personal_data_rate": lambda found, _: _share(found.searched.holding, found.searched.answers),
    "down_rate": lambda found, _: _down(found),
    "preferred_rate": lambda found, _: _preferred(found),
}
"""Metric to value and sample, of a total and a currency."""


# -- What policy demands ---------------------------------------------------------------------------
def judged(found: Windows, rules: MonitoringRules, model: str) -> list[Judged]:
    """(2), (5) Each threshold of a model, beside what its windows say."""
    return [_judged(found, each, rules) for each in rules.thresholds_of(model)]


def _judged(found: Windows, threshold: Threshold, rules: MonitoringRules) -> Judged:
    def value_of(windows: Windows) -> Value:
        sums = total(lately(windows, period)) if windows else None
        return METRICS[threshold.metric](sums, rules.currency or "") if sums else (None, 0)

    period, minimum = timedelta(hours=threshold.hours), threshold.minimum
    if not threshold.relative:
        value, sample = value_of(found)
        return Judged(threshold, value if sample >= minimum else None, sample)
    first, rest = begun(found, lambda each: value_of([each])[1], minimum, period, rules.beginning)
    (before, _), (value, sample) = value_of(first), value_of(rest)
    if not before or before == math.inf or value is None or sample < minimum:
        return Judged(threshold, None, sample)
    return Judged(threshold, value / before, sample)


def drifts(found: Windows, rules: MonitoringRules, model: str) -> list[Drift]:
    """Each limit of drift of a model, beside what its windows say."""
    return [
        each
        for limit in rules.drift_of(model)
        for each in drift.drifts(found, limit, rules.beginning)
    ]


def budget(found: Windows, objective: Objective) -> Budget:
    """(4) The error budget of the period that ends with the last window."""
    sums = total(lately(found, timedelta(days=objective.days)))
    requests, failed = (sums.requests, sums.errors) if sums else (0, 0)
    allowed = (1 - objective.success) * requests
    return Budget(allowed, failed, requests, requests >= objective.minimum)


def findings(
    found: Windows, rules: MonitoringRules | None, model: str, version: str, *, blocking: bool
) -> list[Finding]:
    """What the windows of a version breach. `blocking`: only what stops its next promotion."""
    if rules is None:
        return []
    name = f"{model}/{version}"
    breached = [
        _breached(name, each)
        for each in judged(found, rules, model)
        if each.kept is False and (each.threshold.blocks or not blocking)
    ]
    drifted = [
        _drifted(name, each)
        for each in drifts(found, rules, model)
        if each.found and (each.limit.blocks or not blocking)
    ]
    return [*breached, *drifted, *_spent(found, rules.objective, name, blocking)]


def breaches(
    found: Windows, rules: MonitoringRules | None, model: str, version: str
) -> list[Breach]:
    """(6) Each limit that the windows of a version breach, with the beginning of the breach."""
    until = sorted(found, key=end_of)
    now = findings(until, rules, model, version, blocking=False)
    began: dict[str, datetime] = {}
    lasting = {each.measure for each in now}
    while lasting:
        last = end_of(until[-1])
        began |= dict.fromkeys(lasting, last)
        until = [each for each in until if end_of(each).date() < last.date()]
        before = findings(until, rules, model, version, blocking=False)
        lasting &= {each.measure for each in before}
    return [Breach(each, began[each.measure]) for each in now]


def _breached(name: str, each: Judged) -> Finding:
    threshold, value = each.threshold, each.value
    written = "beyond the last bound" if value == math.inf else f"{value:.6g}"
    words = threshold.direction.replace("_", " ")
    times = " times that of its beginning" if threshold.relative else ""
    limit = f"{threshold.metric} {words} {threshold.limit:g}{times}"
    return finding(
        BREACHED,
        name,
        expected=f"{limit}, over {threshold.hours} hours",
        found=f"{written}, of {each.sample}",
        figures=[written, f"{threshold.limit:g}"],
        measure=threshold.name,
    )


def _drifted(name: str, each: Drift) -> Finding:
    limit, written = each.limit, f"{each.distance:.6g}"
    return finding(
        DRIFTED,
        name,
        expected=f"{limit.metric} changes by at most {limit.limit:g}, beside chance",
        found=f"{written} since the beginning, of which chance explains {each.chance:.6g}",
        figures=[written, f"{limit.limit:g}"],
        measure=each.name,
    )


def _spent(
    found: Windows, objective: Objective | None, name: str, blocking: bool
) -> Iterator[Finding]:
    if objective is None or (blocking and not objective.blocks):
        return
    used = budget(found, objective)
    if used.judged and used.failed > used.allowed:
        yield finding(
            SPENT,
            name,
            expected=f"{objective.success:.6g} of the requests succeed, over {objective.days} days",
            found=f"{used.failed} of {used.requests} failed",
            figures=[str(used.failed), str(used.requests)],
            measure="objective",
        )
