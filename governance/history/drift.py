"""Whether what a version gets, answers and hears in service has changed since its beginning.

1. What is observed of a window are counts of kinds in a fixed order: buckets of length, refused or
   not, languages by name. The beginning of the version is compared with what is late
   (`governance.history.periods`); each side needs `minimum` observations.
2. The distance is that of Kolmogorov and Smirnov: the largest difference between the shares of the
   kinds up to one. Of two kinds, it is the difference of their share.
3. The share of the kinds up to any one differs from the true one by more than e, in n independent
   observations, with a probability of at most 2·exp(-2·n·e²): the inequality of Dvoretzky, Kiefer
   and Wolfowitz with the constant of Massart (1990, Ann. Probab. 18:1269). It holds for every n
   and every distribution. `chance` is the sum of e of both sides.
4. It is drift where the distance less `chance` is more than `limit`. So a version whose true
   distance never exceeds `limit` ever has this finding with a probability of at most `false_alarm`,
   however often it is looked at: the beginning has half of it, and the k-th look after it has
   1/(k·(k+1)) of the other half. These shares add up to one.
5. Comparisons with each other version are judged by themselves: another opponent is no drift.

This takes observations for independent. Callers who ask many times, and bursts, make chance larger
than computed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from governance.history import periods

if TYPE_CHECKING:
    from governance.attest.predicates import Monitoring
    from governance.history.periods import Windows
    from governance.policy.monitoring import DriftLimit, DriftMetric

SHARES = frozenset({"refused", "personal_data", "disliked", "preferred"})
"""Metrics of two kinds, of which the second is the share."""
Counts = Mapping[str, int]
"""Kind to count, in a fixed order."""
Kinds = Callable[["Monitoring"], Counts]


@dataclass(frozen=True)
class Drift:
    """A limit of drift, beside what was observed."""

    limit: DriftLimit
    other: str
    """The other version of these comparisons; empty for anything else."""
    before: Counts
    now: Counts
    looks: int
    """Windows since the beginning."""

    @property
    def name(self) -> str:
        """Of the limit, and of the other version."""
        return f"{self.limit.name} {self.other}".strip()

    @property
    def of_two(self) -> bool:
        """Whether the counts are those of a share."""
        return self.limit.metric in SHARES

    @property
    def judged(self) -> bool:
        """(1) Whether both sides have enough observations."""
        return min(_total(self.before), _total(self.now)) >= self.limit.minimum

    @property
    def distance(self) -> float:
        """(2)"""
        return distance(self.before, self.now)

    @property
    def chance(self) -> float:
        """(3), (4) How much of the distance chance explains."""
        half = self.limit.false_alarm / 2
        look = half / (self.looks * (self.looks + 1))
        return _deviation(_total(self.before), half) + _deviation(_total(self.now), look)

    @property
    def found(self) -> bool:
        """(4)"""
        return self.judged and self.distance - self.chance > self.limit.limit


def distance(before: Counts, now: Counts) -> float:
    """(2) From 0 to 1. Each side has an observation."""
    of_before, of_now, gap, largest = _total(before), _total(now), 0.0, 0.0
    for kind in sorted({*before, *now}):
        gap += before.get(kind, 0) / of_before - now.get(kind, 0) / of_now
        largest = max(largest, abs(gap))
    return largest


def drifts(found: Windows, limit: DriftLimit, since: date | None) -> list[Drift]:
    """A limit beside the windows of a version; empty where it has no beginning yet, or nothing
    after it. `since`: the first day of windows that may be its beginning.
    """
    return [
        drift
        for other, kinds in _series(found, limit.metric)
        if (drift := _drift(found, limit, since, other, kinds)) is not None
    ]


def _drift(
    found: Windows, limit: DriftLimit, since: date | None, other: str, kinds: Kinds
) -> Drift | None:
    period = timedelta(hours=limit.hours)
    first, rest = periods.begun(
        found, lambda each: _total(kinds(each.predicate)), limit.minimum, period, since
    )
    if not rest:
        return None
    late = periods.lately(rest, period)
    before, now = (added(kinds(each.predicate) for each in part) for part in (first, late))
    return Drift(limit, other, before, now, len(rest))


def _deviation(n: int, level: float) -> float:
    """(3) The e of n observations that is exceeded with at most this probability."""
    return math.sqrt(math.log(2 / level) / (2 * n))


def _total(counts: Counts) -> int:
    return sum(counts.values())


def added(found: Iterable[Counts]) -> dict[str, int]:
    """The sums of counts, by name, in order."""
    names: Counter[str] = Counter()
    for each in found:
        names.update(each)
    return dict(sorted(names.items()))


# -- What is observed ------------------------------------------------------------------------------
def _series(found: Windows, metric: DriftMetric) -> Iterator[tuple[str, Kinds]]:
    """(5) What is judged by itself: the other version, and the counts of a window."""
    if metric != "preferred":
        yield "", KINDS[metric]
        return
    others = dict.fromkeys(
        (each.sha256, each.version) for window in found for each in window.predicate.compared
    )
    for digest, version in others:
        yield version, _preferred_over(digest)


def _preferred_over(digest: str) -> Kinds:
    """Ties are left out."""

    def kinds(window: Monitoring) -> Counts:
        with_it = [each for each in window.compared if each.sha256 == digest]
        return {
            "not preferred": sum(each.not_preferred for each in with_it),
            "preferred": sum(each.preferred for each in with_it),
        }

    return kinds


def _lengths(histogram: Sequence[int]) -> Counts:
    return {f"{bucket:02d}": count for bucket, count in enumerate(histogram)}


def _share(part: int, whole: int) -> Counts:
    return {"no": whole - part, "yes": part}


def _personal_data(window: Monitoring) -> Counts:
    found = window.searched
    return _share(found.holding, found.answers) if found else {}


KINDS: Mapping[str, Kinds] = {
    "request_bytes": lambda window: _lengths(window.request_bytes),
    "answer_characters": lambda window: _lengths(window.answer_characters),
    "refused": lambda window: _share(window.refusals, window.read),
    "language": lambda window: window.searched.languages if window.searched else {},
    "personal_data": _personal_data,
    "disliked": lambda window: _share(
        window.feedback.down, window.feedback.up + window.feedback.down
    ),
}
"""Metric to the counts of a window."""
