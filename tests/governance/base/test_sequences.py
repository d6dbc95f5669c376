"""Confidence sequences: against the published boundary, against the definition item by item, and by
simulation.
"""

from __future__ import annotations

from math import isclose, lgamma, log, sqrt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.base import sequences
from governance.base.sequences import GRID, Sums, arm, boundary, difference, log_mixture, psi
from tests.conftest import examples

special: Any = pytest.importorskip("scipy.special")
optimize: Any = pytest.importorskip("scipy.optimize")
np: Any = pytest.importorskip("numpy")


# -- The published boundary ------------------------------------------------------------------------
def published(deviation: float, variance: float, rho: float, scale: float = 1.0) -> float:
    """The logarithm of the gamma-exponential mixture of Howard et al. (2021), Proposition 9."""
    square = scale * scale
    at, of, shape = (scale * deviation + variance) / square, (variance + rho) / square, rho / square
    leading = shape * log(shape) - lgamma(shape) - log(special.gammainc(shape, shape))
    mixed = lgamma(of) + log(special.gammainc(of, at + shape)) - of * log(at + shape) + at
    return float(leading + mixed)


def rho_for(variance: float, alpha: float) -> float:
    """The parameter with which that boundary is narrowest at a variance, as `confseq` sets it."""
    inner = log(1 / (2 * alpha))
    return variance / (2 * inner + log(1 + 2 * inner))


def published_boundary(variance: float, alpha: float, rho: float, scale: float = 1.0) -> float:
    def excess(deviation: float) -> float:
        return published(deviation, variance, rho, scale) + log(alpha)

    return float(optimize.brentq(excess, 0.0, 1_000 + 20 * variance))


def test_the_reference_is_the_published_implementation() -> None:
    """`confseq` has these values in its own tests (uniform_boundaries_test.cpp)."""
    rho = rho_for(100, 0.05)
    assert published(10, 100, rho, 2) == pytest.approx(-0.2490165, abs=1e-5)
    assert published_boundary(100, 0.05, rho, 2) == pytest.approx(33.02017, abs=1e-5)


def _gamma_grid(shape: float, points: int = 20_000) -> list[tuple[float, float]]:
    """The density of λ that the published mixture has, at the middle of small intervals."""
    rates = [(index + 0.5) / points for index in range(points)]
    densities = [(1 - rate) ** (shape - 1) * np.exp(-shape * (1 - rate)) for rate in rates]
    total = sum(densities)
    return [(rate, density / total) for rate, density in zip(rates, densities, strict=True)]


def test_a_fine_grid_gives_the_published_mixture() -> None:
    """Scale 2 is scale 1 with half the deviation and a quarter of the variance."""
    grid = _gamma_grid(rho_for(100, 0.05) / 4)
    assert log_mixture(5, 25, grid) == pytest.approx(-0.2490165, abs=1e-4)
    assert log_mixture(33.02017 / 2, 25, grid) == pytest.approx(log(20), abs=1e-4)


@pytest.mark.parametrize("alpha", [0.05, 0.0125, 0.001])
@pytest.mark.parametrize("variance", [1, 10, 100, 1e3, 1e4, 1e5, 1e6])
def test_our_boundary_is_near_the_published_one_at_every_variance(
    variance: float, alpha: float
) -> None:
    """That one is narrowest at one variance, and tuned to each here; ours is one for all."""
    tuned = published_boundary(variance, alpha, rho_for(variance, alpha))
    assert sqrt(2 * variance * log(1 / alpha)) < boundary(variance, alpha) < 1.3 * tuned


# -- The guarantee ---------------------------------------------------------------------------------
def test_the_shares_of_the_grid_are_a_distribution() -> None:
    assert sum(share for _, share in GRID) == pytest.approx(1, abs=1e-12)
    assert all(0 < rate < 1 for rate, _ in GRID)


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(GRID), st.floats(0, 1))
def test_one_observation_never_raises_the_process_on_average(
    mean: float, guess: float, point: tuple[float, float], weight: float
) -> None:
    """For the distribution that is most spread: 0 or 1. This is what the guarantee rests on."""
    rate = point[0]

    def factor(value: float) -> float:
        deviation, spread = weight * (value - mean), (weight * (value - guess)) ** 2
        return float(np.exp(rate * deviation - psi(rate) * spread))

    assert mean * factor(1) + (1 - mean) * factor(0) <= 1 + 1e-12


@given(st.floats(0, 1e8), st.floats(1e-6, 0.4))
def test_the_boundary_is_where_the_mixture_reaches_the_level(variance: float, alpha: float) -> None:
    found = boundary(variance, alpha)
    assert log_mixture(found, variance) == pytest.approx(-log(alpha), abs=1e-6)
    assert boundary(variance * 1.1 + 1, alpha) > found
    assert boundary(variance, alpha / 2) > found


VALUES = st.lists(st.lists(st.floats(-3, 5), max_size=6), max_size=6)


@given(VALUES, st.lists(st.floats(0, 1), min_size=6, max_size=6), st.none() | st.floats(-3, 5))
def test_sums_give_what_the_single_observations_give(
    windows: list[list[float]], weights: list[float], expected: float | None
) -> None:
    sums = [
        Sums(len(values), sum(values), sum(value * value for value in values), weight)
        for values, weight in zip(windows, weights, strict=False)
    ]
    found = arm(sums, -3, 5, expected)
    guess = 0.5 if expected is None else (expected + 3) / 8
    seen: list[float] = []
    total = variance = weight_sum = 0.0
    for values, weight in zip(windows, weights, strict=False):
        scaled = [(value + 3) / 8 for value in values]
        for value in scaled:
            total += weight * value
            weight_sum += weight
            variance += (weight * (value - guess)) ** 2
        seen += scaled
        guess = sum(seen) / len(seen) if seen else guess
    assert isclose(found.total, total, abs_tol=1e-9)
    assert isclose(found.weight, weight_sum, abs_tol=1e-9)
    assert isclose(found.variance, variance, abs_tol=1e-9)


def test_nothing_observed_says_nothing() -> None:
    bounds = difference(arm([], 0, 2), arm([Sums(10, 3, 3)], 0, 2), 2, 0.05, 0.05)
    assert (bounds.low, bounds.high) == (-2, 2)


def test_a_window_without_weight_says_nothing_and_still_improves_the_guess() -> None:
    """All callers had the new version: there is nothing to compare with, but its mean is known."""
    known = [Sums(1_000, 20, 20, 0.0), Sums(1_000, 20, 20, 0.5)]
    unknown = [Sums(1_000, 20, 20, 0.5)]
    assert arm(known, 0, 1).weight == arm(unknown, 0, 1).weight == 500
    assert arm(known, 0, 1).variance < arm(unknown, 0, 1).variance


@examples(20)
@given(st.integers(0, 2**32), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_an_interval_holds_the_true_difference(seed: int, one: float, other: float) -> None:
    """At every look of 30, with alpha so small that no example may fail."""
    random = np.random.default_rng(seed)
    sums: dict[float, list[Sums]] = {}
    for _ in range(30):
        for rate in {one, other}:
            ones = float(random.binomial(100, rate))
            sums.setdefault(rate, []).append(Sums(100, ones, ones))
        bounds = difference(arm(sums[one], 0, 1), arm(sums[other], 0, 1), 1, 1e-6, 1e-6)
        assert bounds.low <= one - other <= bounds.high


def test_looking_a_hundred_times_raises_no_more_alarms_than_the_level() -> None:
    """And an interval that is meant for one look raises many: the test can see a difference."""
    random, alpha, looks, streams = np.random.default_rng(5), 0.2, 100, 400
    mean, ours, single = 0.3, 0, 0
    for _ in range(streams):
        sums: list[Sums] = []
        alarms, variance = set(), 0.0
        for ones in random.binomial(50, mean, looks):
            sums.append(Sums(50, float(ones), float(ones)))
            seen = arm(sums[-1:], 0, 1, mean)  # a good guess: the sharpest case
            total = sum(one.total for one in sums) - mean * 50 * len(sums)
            variance += seen.variance
            if log_mixture(total, variance) > -log(alpha):
                alarms.add("ours")
            if total > 0.8416 * sqrt(50 * len(sums) * mean * (1 - mean)):  # the normal quantile
                alarms.add("single")
        ours += "ours" in alarms
        single += "single" in alarms
    assert ours / streams < alpha < single / streams


def test_rounding_is_the_same_on_every_machine() -> None:
    bounds = difference(arm([Sums(9, 4, 4)], 0, 1), arm([Sums(7, 2, 2)], 0, 1), 1, 0.05, 0.05)
    assert all(round(value, sequences.DIGITS) == value for value in vars(bounds).values())
