"""What has changed since the beginning of a version is found, and nothing where nothing changed."""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

import pytest

from governance.attest.predicates import Monitoring
from governance.attest.predicates.monitoring import LENGTHS
from governance.history import drift, monitoring
from governance.history.periods import begun, end_of, lately
from governance.log.evidence import Evidence
from governance.policy.monitoring import MonitoringRules
from tests.governance.examples import B
from tests.governance.history.windows import window

DAY = 24
PER_WINDOW = 200


# -- Replayed traffic ------------------------------------------------------------------------------
Traffic = Callable[[random.Random, bool], dict[str, Any]]
"""The counts of one window; `later`: after the planted change."""


def answered(count: int) -> dict[str, Any]:
    return {"requests": count, "latency": [count] + [0] * 14, "read": count}


def histogram(lengths: Sequence[float]) -> list[int]:
    counts = [0] * (len(LENGTHS) + 1)
    for length in lengths:
        counts[bisect_left(LENGTHS, length)] += 1
    return counts


def lengths(field: str, factor: float) -> Traffic:
    def traffic(draw: random.Random, later: bool) -> dict[str, Any]:
        scale = 400 * (factor if later else 1)
        drawn = [draw.lognormvariate(0, 0.8) * scale for _ in range(PER_WINDOW)]
        return {**answered(PER_WINDOW), field: histogram(drawn)}

    return traffic


def hits(draw: random.Random, share: float, of: int = PER_WINDOW) -> int:
    return sum(draw.random() < share for _ in range(of))


def refusing(later_share: float) -> Traffic:
    def traffic(draw: random.Random, later: bool) -> dict[str, Any]:
        refused = hits(draw, later_share if later else 0.02)
        return {**answered(PER_WINDOW), "refusals": refused}

    return traffic


def speaking(later_share: float) -> Traffic:
    def traffic(draw: random.Random, later: bool) -> dict[str, Any]:
        german = hits(draw, later_share if later else 0.1)
        found = {"answers": PER_WINDOW, "languages": {"de": german, "en": PER_WINDOW - german}}
        return {"searched": found}

    return traffic


def leaking(later_share: float) -> Traffic:
    def traffic(draw: random.Random, later: bool) -> dict[str, Any]:
        holding = hits(draw, later_share if later else 0.01)
        return {"searched": {"answers": PER_WINDOW, "holding": holding}}

    return traffic


def preferring(later_share: float) -> Traffic:
    def traffic(draw: random.Random, later: bool) -> dict[str, Any]:
        won = hits(draw, later_share if later else 0.55)
        counts = {"preferred": won, "not_preferred": PER_WINDOW - won}
        return {"compared": [{"version": "1", "sha256": B, **counts}], "feedback": counts}

    return traffic


def disliking(later_share: float) -> Traffic:
    def traffic(draw: random.Random, later: bool) -> dict[str, Any]:
        down = hits(draw, later_share if later else 0.2)
        return {"feedback": {"up": PER_WINDOW - down, "down": down}}

    return traffic


def costing(factor: float) -> Traffic:
    def traffic(draw: random.Random, later: bool) -> dict[str, Any]:
        output = sum(draw.expovariate(1 / 300) for _ in range(PER_WINDOW))
        output = round(output * (factor if later else 1))
        tokens = {"answers": PER_WINDOW, "input": 0, "output": output}
        cost = {"currency": "EUR", "millionths": 2 * output}
        return {**answered(PER_WINDOW), "tokens": tokens, "cost": cost}

    return traffic


def replayed(traffic: Traffic, seed: int, hours: int, change: int) -> list[Evidence[Monitoring]]:
    draw = random.Random(seed)
    return [window(hour, **traffic(draw, hour >= change)) for hour in range(hours)]


LIMITS = MonitoringRules.model_validate(
    {
        "currency": "EUR",
        "prices": {"support-desk": {"input": 0, "output": 2}},
        "search": {"share": 0.1},
        "drift": [
            {"name": metric.replace("_", "-"), "metric": metric, "limit": limit, "minimum": 2000}
            for metric, limit in {
                "request_bytes": 0.05, "answer_characters": 0.05, "refused": 0.01,
                "language": 0.02, "personal_data": 0.01, "disliked": 0.05, "preferred": 0.02,
            }.items()
        ],
        "thresholds": [
            {
                "name": "dearer", "metric": "cost_mean", "limit": 1.3, "direction": "at_most",
                "minimum": 2000, "relative": True,
            }
        ],
    }
)  # fmt: skip
PLANTED: dict[str, tuple[Traffic, Traffic, str]] = {
    "longer requests": (lengths("request_bytes", 1.6), lengths("request_bytes", 1), "request-bytes"),
    "shorter answers": (
        lengths("answer_characters", 0.6), lengths("answer_characters", 1), "answer-characters",
    ),
    "more refusals": (refusing(0.15), refusing(0.02), "refused"),
    "another language": (speaking(0.3), speaking(0.1), "language"),
    "personal data": (leaking(0.12), leaking(0.01), "personal-data"),
    "worse ratings": (disliking(0.4), disliking(0.2), "disliked"),
    "another version is preferred": (preferring(0.4), preferring(0.55), "preferred 1"),
    "a cost jump": (costing(1.5), costing(1), "dearer"),
}  # fmt: skip


def measures(found: Sequence[Evidence[Monitoring]]) -> list[str]:
    found_now = monitoring.findings(found, LIMITS, "support-desk", "2", blocking=False)
    return [each.measure for each in found_now]


@pytest.mark.parametrize("row", PLANTED)
def test_a_planted_change_is_found_and_no_other(row: str) -> None:
    changed, unchanged, name = PLANTED[row]
    assert measures(replayed(changed, 1, 3 * DAY, 2 * DAY)) == [name]
    assert measures(replayed(changed, 1, 2 * DAY, 2 * DAY)) == [], "it has not changed yet"
    assert measures(replayed(unchanged, 2, 3 * DAY, 2 * DAY)) == []


def test_only_a_limit_that_blocks_stops_a_promotion() -> None:
    found = replayed(refusing(0.3), 3, 3 * DAY, 2 * DAY)
    for blocks, code in ((True, ["DRIFT_FOUND"]), (False, [])):
        limit = LIMITS.drift[2].model_copy(update={"blocks": blocks})
        rules = LIMITS.model_copy(update={"drift": [limit]})
        stopping = monitoring.findings(found, rules, "support-desk", "2", blocking=True)
        assert [each.code for each in stopping] == code
        other = rules.model_copy(update={"drift": [limit.model_copy(update={"model": "other"})]})
        assert monitoring.drifts(found, other, "support-desk") == []


def test_a_later_beginning_accepts_what_has_changed() -> None:
    found = replayed(refusing(0.3), 3, 4 * DAY, 2 * DAY)
    assert measures(found) == ["refused"]
    rules = LIMITS.model_copy(update={"beginning": date(2027, 1, 3)})
    assert monitoring.findings(found, rules, "support-desk", "2", blocking=False) == []


def test_it_is_found_from_the_day_on_that_shows_it() -> None:
    found = replayed(refusing(0.3), 3, 3 * DAY, 2 * DAY)
    (breach,) = monitoring.breaches(found, LIMITS, "support-desk", "2")
    assert breach.finding.code == "DRIFT_FOUND"
    assert timedelta() <= breach.since - end_of(found[2 * DAY]) < timedelta(days=1)


def test_nothing_is_found_where_nothing_changed_however_often_it_is_looked_at() -> None:
    """200 lives of two weeks, each looked at after the window of every hour. At most 1% of them may
    have a finding; more than 8 have it in one of a thousand runs at that level.
    """
    rule = LIMITS.drift[2].model_copy(update={"limit": 0.0, "minimum": 1000})
    draw, alarms = random.Random(4), 0
    sums, of_half = range(101), [math.comb(100, part) for part in range(101)]
    for _ in range(200):
        hours = draw.choices(sums, of_half, k=14 * DAY)
        before = share(sum(hours[:DAY]), 100 * DAY)
        alarms += any(
            drift.Drift(rule, "", before, share(sum(hours[end - DAY : end]), 100 * DAY), end - DAY).found
            for end in range(2 * DAY, 14 * DAY + 1)
        )  # fmt: skip
    assert alarms <= 8


def share(part: int, whole: int) -> dict[str, int]:
    return {"no": whole - part, "yes": part}


# -- By hand ---------------------------------------------------------------------------------------
DISTANCES: dict[str, tuple[dict[str, int], dict[str, int], float]] = {
    "the same shares": ({"a": 1, "b": 3}, {"a": 10, "b": 30}, 0.0),
    "of two kinds, the difference of the share": (share(1, 10), share(4, 10), 0.3),
    "in the middle": ({"a": 1, "b": 0, "c": 1}, {"a": 0, "b": 2, "c": 0}, 0.5),
    "a kind that is new": ({"a": 4}, {"a": 3, "b": 1}, 0.25),
    "nothing in common": ({"a": 1}, {"b": 1}, 1.0),
}


@pytest.mark.parametrize("row", DISTANCES)
def test_distances(row: str) -> None:
    before, now, expected = DISTANCES[row]
    assert drift.distance(before, now) == pytest.approx(expected)
    assert drift.distance(now, before) == pytest.approx(expected)


def test_chance_by_hand() -> None:
    """2·exp(-2·n·e²) is 0.005 of the beginning, and 0.005 / 6 of the second look."""
    rule = LIMITS.drift[0].model_copy(update={"minimum": 1, "false_alarm": 0.01})
    found = drift.Drift(rule, "", share(0, 1000), share(0, 500), 2)
    assert found.chance == pytest.approx(0.0547295 + 0.0882254, abs=1e-6)


def test_the_beginning_lasts_its_hours_and_has_enough_observations() -> None:
    found = [window(hour, **answered(10)) for hour in (0, 1, 2, 5, 6)]
    found[1:1] = [window(hour) for hour in (3, 4)]

    def ends(hours: int, minimum: int, since: date | None = None) -> tuple[list[int], list[int]]:
        period = timedelta(hours=hours)
        first, rest = begun(found, lambda each: each.predicate.read, minimum, period, since)
        return [each.index for each in first], [each.index for each in rest]

    assert ends(2, 1) == ([0, 1], [2, 5, 6])
    assert ends(1, 30) == ([0, 1, 2], [5, 6])
    assert ends(5, 1) == ([0, 1, 2, 5], [6])
    assert ends(8, 1) == ends(1, 51) == ([], [])
    assert ends(1, 1, date(2027, 1, 2)) == ([], [])
    assert ends(1, 1, date(2027, 1, 1)) == ([0], [1, 2, 5, 6])
    assert [each.index for each in lately(found, timedelta(hours=2))] == [5, 6]
