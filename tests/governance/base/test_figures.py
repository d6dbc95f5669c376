"""Intervals of paired differences against the 2x2 table of the paper; Wilson's against exact roots."""

from __future__ import annotations

from fractions import Fraction
from math import sqrt

import pytest

from governance.base.statistics import difference_interval, mean_interval, share_interval

Z = 1.959963984540054
"""The 97.5 % point of the normal distribution."""

TABLES = [
    # Both right, only ours, only theirs, both wrong
    (
        1,
        1,
        7,
        12,
    ),  # airway responsiveness in 21 children, Fagerland et al. 2014, Stat. Med. 33:2850
    (59, 6, 16, 80),  # complete response in 161 patients, the same paper
    (794, 150, 86, 570),  # approval ratings, Agresti, Categorical Data Analysis, table 10.1
    (10, 0, 0, 0),
    (0, 1, 0, 0),
]


@pytest.mark.parametrize("table", TABLES)
def test_agresti_min_as_the_paper_defines_it(table: tuple[int, int, int, int]) -> None:
    """Agresti & Min 2005: add 1/2 to each cell of the table, then take Wald's interval."""
    both, ours, theirs, neither = table
    b, c = Fraction(2 * ours + 1, 2), Fraction(2 * theirs + 1, 2)
    n = sum(table) + 2
    centre = (b - c) / n
    half = Z * sqrt(((b + c) - (b - c) ** 2 / n) / n**2)
    found = difference_interval(
        [1.0] * (both + ours) + [0.0] * (theirs + neither),
        [1.0] * both + [0.0] * ours + [1.0] * theirs + [0.0] * neither,
        0.95,
    )
    assert found.method == "agresti-min"
    assert found.n == sum(table)
    assert found.mean == pytest.approx((ours - theirs) / sum(table))
    assert found.low == pytest.approx(max(-1.0, float(centre) - half), abs=1e-9)
    assert found.high == pytest.approx(min(1.0, float(centre) + half), abs=1e-9)


@pytest.mark.parametrize(("hits", "of"), [(0, 1), (1, 1), (3, 7), (0, 60), (60, 60), (81, 263)])
def test_the_ends_of_wilson_are_the_roots_of_the_score_equation(hits: int, of: int) -> None:
    """Wilson 1927: the ends are the p with |hits/of - p| = z sqrt(p (1 - p) / of)."""
    for found in (
        share_interval(hits, of, 0.95),
        mean_interval([1.0] * hits + [0.0] * (of - hits), 0.95),
    ):
        for end in (found.low, found.high):
            assert abs(hits / of - end) == pytest.approx(Z * sqrt(end * (1 - end) / of), abs=1e-7)
        assert 0 <= found.low < found.high <= 1


def test_a_difference_is_of_two_methods_by_its_range() -> None:
    assert difference_interval([1.0, 0.0], [0.0, 1.0], 0.95).method == "agresti-min"
    assert difference_interval([1.0, 0.5], [-0.0001, 0.5], 0.95).method == "normal"
    assert mean_interval([0.0, 1.0], 0.95).method == "wilson"
    assert mean_interval([0.0, 1.0001], 0.95).method == "normal"
    assert mean_interval([-0.0001, 1.0], 0.95).method == "normal"


def test_the_normal_interval_of_two_values() -> None:
    found = mean_interval([1.0, 3.0], 0.95)
    assert found.mean == 2
    assert found.high - 2 == pytest.approx(Z)  # deviation sqrt(2), over sqrt(2)
    assert mean_interval([3.0], 0.95).high == float("inf")


def test_a_share_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="share of nothing"):
        share_interval(0, 0, 0.95)
