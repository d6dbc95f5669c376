"""Which tests a run leaves out when its time is over."""

from __future__ import annotations

import pytest

from tests import conftest
from tests.in_time import LEFT_OUT, TURNS, Schedule

WEEK = range(20_000, 20_000 + TURNS)


@pytest.mark.parametrize(
    ("end", "slow", "now", "left_out"),
    [
        ("100", True, 99.9, False),
        ("100", True, 100.0, True),
        ("100", False, 1000.0, False),
        (None, True, 1e12, False),
    ],
)
def test_only_slow_tests_are_left_out_and_only_after_the_end(
    end: str | None, slow: bool, now: float, left_out: bool
) -> None:
    schedule = Schedule.of({"TESTS_END": end} if end else {})
    assert schedule.leaves_out(slow=slow, now=now) == left_out


@pytest.mark.parametrize("size", [0, 1, 6, 7, 8, 300])
def test_each_turn_runs_every_module_once(size: int) -> None:
    modules = list(range(size))
    assert all(sorted(Schedule(turn=day).order(modules)) == modules for day in WEEK)


@pytest.mark.parametrize("size", [14, 300])
def test_every_module_comes_early_once_a_week(size: int) -> None:
    early = [set(Schedule(turn=day).order(range(size))[: size // 3]) for day in WEEK]
    assert set.union(*early) == set(range(size))


def test_a_slow_test_is_skipped_after_the_end(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conftest, "SCHEDULE", Schedule(end=0))
    conftest.pytest_runtest_setup(request.node)
    request.node.add_marker(pytest.mark.slow)
    with pytest.raises(pytest.skip.Exception, match=LEFT_OUT):
        conftest.pytest_runtest_setup(request.node)
