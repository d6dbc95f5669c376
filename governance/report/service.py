"""What the version did in service: use, cost and reliability, from the windows that count
(`governance.history.monitoring`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from governance.base.statistics import share_interval
from governance.base.text import duration, moment, number, words
from governance.history import monitoring
from governance.history.drift import Counts
from governance.history.monitoring import Total
from governance.history.periods import Windows, lately
from governance.policy.monitoring import MonitoringRules
from governance.report.facts import Facts

PERIOD = timedelta(days=28)
CONFIDENCE = 0.95
"""Of intervals by Wilson (`governance.base.statistics`)."""


def observed(facts: Facts) -> Windows:
    """The version's windows."""
    return monitoring.windows(facts.view, facts.registration.model_digest)


def rules(facts: Facts) -> MonitoringRules | None:
    """What policy says of monitoring."""
    return facts.policies.rules.monitoring if facts.policies else None


def in_service(facts: Facts) -> list[str]:
    """Use, cost and reliability of the last 28 days in service, in words; empty where nobody
    observed the version.
    """
    return lines(observed(facts), rules(facts), facts.registration.model)


def lines(found: Windows, terms: MonitoringRules | None, model: str) -> list[str]:
    """The same, of windows and of what policy says of monitoring."""
    latest = lately(found, PERIOD)
    sums = monitoring.total(latest)
    if sums is None:
        return []
    use = [_use(sums), _cost(sums), _reliability(sums), *_answers(sums), *_preferences(latest)]
    if terms is None:
        return use
    return [*use, *_limits(terms, model, found), *_drifts(terms, model, found)]


def _use(sums: Total) -> str:
    gap = f", not observed for {duration(sums.gap_ms / 1000)}" if sums.gap_ms else ""
    ratings = [f"{name.replace('_', ' ')} {count}" for name, count in sums.ratings.items() if count]
    said = f"; feedback: {', '.join(ratings)}" if ratings else ""
    period = f"{moment(sums.begins)} to {moment(sums.ends)}"
    return f"use: {number(sums.requests)} requests, {period}{gap}{said}"


def _cost(sums: Total) -> str:
    tokens = f"{number(sums.input)} tokens read and {number(sums.output)} written"
    of = f"as {number(sums.stated)} of {number(sums.answered)} answers state"
    costs = [f"{amount / 1e6:,.4f} {currency}" for currency, amount in sums.costs.items()]
    return f"cost: {words(costs, 'no price in policy')}; {tokens}, {of}"


def _reliability(sums: Total) -> str:
    failed = f"{number(sums.errors)} of {number(sums.requests)} requests failed"
    latency = sums.percentile(0.95)
    slow = "" if latency is None else f"; 95% of answers within {latency / 1000:g} s"
    return f"reliability: {failed}{slow}"


def _answers(sums: Total) -> Iterator[str]:
    """What the search of a sample of the answers found."""
    found = sums.searched
    if not (found.answers or found.left):
        return
    left = f", {number(found.left)} more in the sample not searched" if found.left else ""
    holding = f"{number(found.holding)} of {number(found.answers)} answers searched{left}"
    types = [f"{name} {number(count)}" for name, count in found.entities.items()]
    yield f"personal data that may not stay: in {holding}; found: {words(types, 'nothing')}"
    languages = [f"{name} {number(count)}" for name, count in found.languages.items()]
    if languages:
        yield f"language of these answers: {words(languages)}"


def _preferences(found: Windows) -> Iterator[str]:
    """What users preferred, by the other version."""
    won: dict[str, Counter[bool]] = {}
    for each in (each for window in found for each in window.predicate.compared):
        won.setdefault(each.version, Counter()).update(
            {True: each.preferred, False: each.not_preferred}
        )
    for other, counts in won.items():
        yield f"preferred over version {other}: {_interval(counts[True], counts.total())}"


def _drifts(terms: MonitoringRules, model: str, found: Windows) -> Iterator[str]:
    """What has changed since the beginning of the version, beside the limits of policy."""
    for each in monitoring.drifts(found, terms, model):
        kept = "FOUND" if each.found else "not found" if each.judged else "too little observed"
        limit = f"limit {each.limit.limit:g}, chance explains {each.chance:.3f}"
        change = f"{each.limit.metric} changed by {each.distance:.3f} ({limit})"
        shares = [_share(counts) for counts in (each.before, each.now)] if each.of_two else []
        since = f"; at first {shares[0]}, of late {shares[1]}" if shares else ""
        yield f"drift {each.name}: {kept}; {change}{since}"


def _share(counts: Counts) -> str:
    """The share of the second of two kinds."""
    return _interval(list(counts.values())[1], sum(counts.values()))


def _interval(part: int, whole: int) -> str:
    if not whole:
        return "nothing to tell"
    found = share_interval(part, whole, CONFIDENCE)
    return f"{found.mean:.3f} of {number(whole)} (95% interval {found.low:.3f} to {found.high:.3f})"


def _limits(terms: MonitoringRules, model: str, found: Windows) -> Iterator[str]:
    judged = monitoring.judged(found, terms, model)
    broken = [each.threshold.name for each in judged if each.kept is False]
    unjudged = [each.threshold.name for each in judged if each.kept is None]
    if judged:
        too_few = f"; too little observed for {words(unjudged)}" if unjudged else ""
        yield f"limits of policy not kept: {words(broken)}{too_few}"
    if terms.objective is not None:
        used = monitoring.budget(found, terms.objective)
        text = f"{number(used.failed)} of {used.allowed:.6g} permitted failures"
        yield f"error budget: {text if used.judged else 'too little observed'}"
