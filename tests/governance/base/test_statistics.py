"""Intervals against published figures and against simulation."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import sqrt
from statistics import NormalDist, fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.base.statistics import (
    Interval,
    difference_interval,
    difference_p,
    holm,
    mean_interval,
    share_interval,
)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        # Newcombe (1998), Stat. Med. 17:857, table I, method 3 (Wilson, no continuity correction)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_as_published(right: int, n: int, low: float, high: float) -> None:
    found = mean_interval([1.0] * right + [0.0] * (n - right), 0.95)
    assert found.method == "wilson"
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_scores_that_are_all_the_same_still_have_width() -> None:
    assert mean_interval([1.0] * 300, 0.95).low == pytest.approx(0.98736, abs=1e-5)
    assert mean_interval([0.0] * 300, 0.95).high == pytest.approx(0.01264, abs=1e-5)
    same = difference_interval([1.0] * 200, [1.0] * 200, 0.95)
    assert same.mean == 0 and same.low < 0 < same.high


def test_scores_beyond_one_use_the_central_limit() -> None:
    values = [0.0, 2.0] * 50
    found = mean_interval(values, 0.95)
    assert found.method == "normal" and found.mean == 1
    assert found.high - 1 == pytest.approx(1.95996 * 1.00504 / 10, abs=1e-4)
    assert difference_interval([5.0] * 10, [1.0] * 10, 0.95) == Interval(10, 4, 4, 4, "normal")


def test_one_item_says_nothing() -> None:
    found = mean_interval([7.5], 0.95)
    assert (found.low, found.high) == (float("-inf"), float("inf"))


@pytest.mark.parametrize("scores", [[], [1.0]])
def test_items_that_do_not_pair_up_are_an_error(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="pair up"):
        difference_interval(scores, [1.0, 0.0] if scores else [], 0.95)


def test_no_scores_are_an_error() -> None:
    with pytest.raises(ValueError, match="no scores"):
        mean_interval([], 0.95)


def _binary(rng: random.Random, p: float) -> float:
    return float(rng.random() < p)


def _quarters(rng: random.Random, p: float) -> float:
    return fmean(_binary(rng, p) for _ in range(4))


@pytest.mark.parametrize("score", [_binary, _quarters])
@pytest.mark.parametrize("p", [0.02, 0.3, 0.95])
def test_the_interval_of_a_mean_covers_it(
    score: Callable[[random.Random, float], float], p: float
) -> None:
    rng = random.Random(7)
    found = [mean_interval([score(rng, p) for _ in range(150)], 0.95) for _ in range(400)]
    assert sum(one.low <= p <= one.high for one in found) / len(found) >= 0.92


@pytest.mark.parametrize(("p", "change"), [(0.95, 0.02), (0.5, 0.3), (0.98, 0.0)])
def test_the_interval_of_a_difference_covers_it(p: float, change: float) -> None:
    """Items of ours are those of theirs, of which some turn right and some wrong."""
    rng = random.Random(11)
    covered = 0
    for _ in range(400):
        theirs = [_binary(rng, p) for _ in range(150)]
        ours = [1 - value if rng.random() < change else value for value in theirs]
        expected = change * (1 - 2 * p)
        found = difference_interval(ours, theirs, 0.95)
        covered += found.low <= expected <= found.high
    assert covered / 400 >= 0.92


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.51, 0.999))
def test_the_mean_lies_within_and_the_interval_within_the_scale(
    scores: list[float], confidence: float
) -> None:
    found = mean_interval(scores, confidence)
    assert 0 <= found.low <= found.mean <= found.high <= 1


def _with_half_an_observation(both: int, ours: int, theirs: int, neither: int) -> Interval:
    """Agresti & Min (2005), section 2: Wald's interval of a paired difference after adding 1/2 to
    each cell of the 2x2 table. Written here from the four shares.
    """
    n = both + ours + theirs + neither
    first, second = (ours + 0.5) / (n + 2), (theirs + 0.5) / (n + 2)
    spread = 1.959963984540054 * ((first + second - (first - second) ** 2) / (n + 2)) ** 0.5
    low, high = max(-1.0, first - second - spread), min(1.0, first - second + spread)
    return Interval(n, (ours - theirs) / n, low, high, "agresti-min")


@pytest.mark.parametrize(
    "cells",
    [
        (3, 4, 5, 6), (0, 1, 0, 0), (0, 0, 1, 0), (10, 0, 0, 0), (0, 9, 0, 1), (0, 0, 9, 0),
        (40, 12, 2, 6), (0, 5, 5, 0),
    ],
)  # fmt: skip
def test_a_paired_difference_is_that_of_agresti_and_min(cells: tuple[int, int, int, int]) -> None:
    both, ours, theirs, neither = cells
    our_scores = [1.0] * (both + ours) + [0.0] * (theirs + neither)
    their_scores = [1.0] * both + [0.0] * ours + [1.0] * theirs + [0.0] * neither
    found, expected = (
        difference_interval(our_scores, their_scores, 0.95),
        _with_half_an_observation(*cells),
    )
    assert (found.n, found.method) == (expected.n, "agresti-min")
    for name in ("mean", "low", "high"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=1e-12)


@pytest.mark.parametrize("n", [9, 26, 30, 2, 6, 14])
def test_rounding_takes_no_interval_beyond_the_scale(n: int) -> None:
    """Wilson's ends at 0 and 1 are exact; floating point would pass them by a last bit."""
    assert mean_interval([1.0] * n, 0.95).high == 1.0
    assert mean_interval([0.0] * n, 0.95).low == 0.0


@pytest.mark.parametrize(
    ("ours", "theirs", "method"),
    [
        ([1.0, 0.0], [0.0, 1.0], "agresti-min"),
        ([1.5, 0.0], [0.0, 0.0], "normal"),
        ([0.0, 0.0], [0.0, 1.5], "normal"),
        ([3.0, 2.0], [2.0, 3.0], "agresti-min"),
    ],
)
def test_differences_within_one_are_those_of_a_table(
    ours: list[float], theirs: list[float], method: str
) -> None:
    assert difference_interval(ours, theirs, 0.95).method == method


def test_two_items_have_an_interval_and_scores_beyond_1e100_have_none() -> None:
    two = mean_interval([2.0, 4.0], 0.95)
    assert (two.mean, two.low) == (3.0, pytest.approx(3 - 1.959964, abs=1e-5))
    assert mean_interval([1e100, -1e100], 0.95).high < float("inf")
    assert mean_interval([1.01e100, 0.0], 0.95).high == float("inf")
    assert difference_interval([1e100, 0.0], [0.0, 0.0], 0.95).n == 2
    with pytest.raises(ValueError, match="beyond 1e\\+100"):
        difference_interval([1.01e100], [0.0], 0.95)


def test_a_share_is_that_of_its_hits() -> None:
    assert share_interval(81, 263, 0.95) == mean_interval([1.0] * 81 + [0.0] * 182, 0.95)
    assert share_interval(0, 1, 0.95).low == 0.0
    with pytest.raises(ValueError, match="a share of nothing"):
        share_interval(0, 0, 0.95)


# --- tests and their number -----------------------------------------------------------------------


def test_the_p_value_of_a_difference_is_that_of_the_normal_approximation() -> None:
    """By hand: 20 of 200 items turn right, 5 wrong; (15 / 202) / sqrt(25 + 1 - 225 / 202) * 202."""
    ours, theirs = [1.0] * 20 + [0.0] * 180, [0.0] * 20 + [1.0] * 5 + [0.0] * 175
    z = 15 / sqrt(26 - 225 / 202)
    assert difference_p(ours, theirs) == pytest.approx(2 * NormalDist().cdf(-z), abs=1e-6)
    assert difference_p(ours, theirs) == difference_p(theirs, ours)


def test_what_has_no_spread_differs_or_not() -> None:
    assert difference_p([5.0] * 10, [1.0] * 10) == 0.0
    assert difference_p([1.0] * 10, [1.0] * 10) == 1.0
    assert difference_p([5.0], [1.0]) == 1.0, "one item says nothing"


SCORES = st.lists(
    st.tuples(st.floats(-3, 3, width=16), st.floats(-3, 3, width=16)), min_size=2, max_size=40
)


@given(SCORES, st.floats(0.6, 0.99))
def test_a_p_value_below_the_level_is_an_interval_without_zero(
    pairs: list[tuple[float, float]], confidence: float
) -> None:
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    p, found = difference_p(ours, theirs), difference_interval(ours, theirs, confidence)
    if abs(p - (1 - confidence)) > 1e-5:
        assert (p < 1 - confidence) == (not found.low <= 0 <= found.high)


def test_holm_as_computed_by_hand() -> None:
    """Multiplied by 4, 3, 2 and 1 from the smallest on, and never less than the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.9]) == pytest.approx([0.8, 0.9])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.001, 0.2))
def test_holm_rejects_at_least_what_bonferroni_does_and_never_more_than_each_test_alone(
    values: list[float], level: float
) -> None:
    adjusted = holm(values)
    rejected = {at for at, value in enumerate(adjusted) if value <= level}
    assert rejected <= {at for at, value in enumerate(values) if value <= level}
    assert {at for at, value in enumerate(values) if value * len(values) <= level} <= rejected
    ordered = sorted(range(len(values)), key=values.__getitem__)
    assert [adjusted[at] for at in ordered] == sorted(adjusted)


def test_holm_keeps_the_share_of_tables_with_a_false_claim() -> None:
    """Four comparisons without a true difference, 400 times: at most five in a hundred are wrong,
    where each test alone would be wrong in about one of six.
    """
    rng = random.Random(5)

    def p_value() -> float:
        pairs = [(_binary(rng, 0.5), _binary(rng, 0.5)) for _ in range(100)]
        return difference_p([a for a, _ in pairs], [b for _, b in pairs])

    tables = [[p_value() for _ in range(4)] for _ in range(400)]
    assert sum(min(holm(table)) <= 0.05 for table in tables) / 400 <= 0.07
    assert sum(min(table) <= 0.05 for table in tables) / 400 >= 0.1
