"""A thousand simulated rollouts: false aborts stay below the level, harmful versions are stopped."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.governance.rollout.simulated import Plan, constant, many, rising, with_traffic

LEVEL = 0.05


@pytest.mark.slow
def test_a_version_at_its_margin_is_aborted_no_more_often_than_the_level_says() -> None:
    """The hardest case that is still permitted: worse by exactly the margin, in every window."""
    plan = Plan(constant(0.05), constant(0.07), windows=12)
    ended = Counter(one.state for one in many(plan, 500))
    assert ended["aborted"] / 500 < LEVEL
    assert ended["passed"] / 500 < LEVEL


@pytest.mark.slow
def test_a_harmful_version_is_stopped() -> None:
    plan = Plan(constant(0.05), constant(0.15))
    ended = many(plan, 300)
    states = Counter(one.state for one in ended)
    assert states["aborted"] / 300 > 0.99 and not states["passed"]
    assert sum(one.exposed for one in ended) / 300 < 0.15 * plan.requests * plan.windows


@pytest.mark.slow
def test_an_equal_version_passes() -> None:
    """So the other two do not hold because nothing is ever decided."""
    plan = Plan(constant(0.02), constant(0.02), margin=0.03, windows=16)
    states = Counter(one.state for one in many(plan, 100))
    assert states["passed"] / 100 > 0.95


@pytest.mark.slow
def test_traffic_that_becomes_harder_is_no_harm() -> None:
    """The new version has most of its requests late, when all requests are harder. A plain mean
    over all windows would find it worse by more than the margin.
    """
    plan = Plan(
        rising(0.02, 0.02),
        rising(0.02, 0.02),
        weights=(100, 1_000, 9_000),
        windows=9,
        requests=5_000,
    )
    states = Counter(one.state for one in many(plan, 100))
    assert not states["aborted"]


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (constant(0.05), constant(0.07)),
        (with_traffic(0.1, 0.15), with_traffic(0.12, 0.15)),
        (rising(0.02, 0.01), rising(0.04, 0.01)),
        (constant(0.5), constant(0.52)),
    ],
)
def test_a_thousand_rollouts_of_every_traffic_keep_the_level(old, new) -> None:  # type: ignore[no-untyped-def]
    ended = many(Plan(old, new, windows=40, guardrails=2), 1_000)
    states = Counter(one.state for one in ended)
    assert states["aborted"] / 1_000 < LEVEL
    assert states["passed"] / 1_000 < LEVEL
