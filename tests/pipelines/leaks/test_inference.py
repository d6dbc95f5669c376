"""AUC, its error, and members found at 1 % false alarms, against other programs and definitions."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from pipelines.leaks.inference import at_one_percent, auc, membership

SCORES = st.lists(st.integers(-4, 4).map(float), min_size=2, max_size=40)
"""Few values, so that ties are frequent."""


def drawn(seed: int, members: int, others: int, shift: float) -> tuple[list[float], list[float]]:
    source = random.Random(seed)
    return (
        [source.gauss(shift, 1) for _ in range(members)],
        [source.gauss(0, 1) for _ in range(others)],
    )


@given(SCORES, SCORES)
def test_the_area_is_that_of_scikit_learn_and_of_the_rank_sum(
    members: list[float], others: list[float]
) -> None:
    labels = [1] * len(members) + [0] * len(others)
    area, error = auc(members, others)
    assert area == pytest.approx(metrics.roc_auc_score(labels, [*members, *others]))
    statistic = stats.mannwhitneyu(members, others).statistic
    assert area == pytest.approx(statistic / len(members) / len(others))
    assert error >= 0


@given(SCORES, SCORES)
def test_exchanged_sides_and_increasing_functions_change_nothing_else(
    members: list[float], others: list[float]
) -> None:
    area, error = auc(members, others)
    assert auc(others, members) == pytest.approx((1 - area, error))
    larger = [[score**3 + score for score in side] for side in (members, others)]
    assert auc(*larger) == pytest.approx((area, error))


@given(SCORES, SCORES)
def test_the_error_is_delongs_by_his_definition(members: list[float], others: list[float]) -> None:
    """From the matrix of all pairs (DeLong et al. 1988, equations 4 to 6)."""
    pairs = np.subtract.outer(members, others)
    psi = np.where(pairs > 0, 1.0, np.where(pairs == 0, 0.5, 0.0))
    variance = np.var(psi.mean(1), ddof=1) / len(members)
    variance += np.var(psi.mean(0), ddof=1) / len(others)
    assert auc(members, others)[1] == pytest.approx(variance**0.5)


def test_the_error_is_near_that_of_resampling() -> None:
    members, others = drawn(3, 150, 120, 0.5)
    source = np.random.default_rng(3)
    labels = [1] * 150 + [0] * 120
    areas = [
        metrics.roc_auc_score(labels, [*source.choice(members, 150), *source.choice(others, 120)])
        for _ in range(400)
    ]
    assert auc(members, others)[1] == pytest.approx(np.std(areas), rel=0.15)


@pytest.mark.parametrize("others", [100, 199, 200, 317])
def test_members_found_are_those_of_the_roc_curve(others: int) -> None:
    members, held_out = drawn(5, 300, others, 1.0)
    found, alarms = at_one_percent(members, held_out)
    assert found is not None and alarms is not None and alarms <= others / 100
    labels = [1] * 300 + [0] * others
    rates, shares, _ = metrics.roc_curve(labels, [*members, *held_out], drop_intermediate=False)
    assert found == round(max(shares[rates <= 0.01]) * 300)


def test_equal_scores_find_nobody_and_few_held_out_records_give_no_figure() -> None:
    assert at_one_percent([1.0] * 50, [1.0] * 100) == (0, 0)
    assert at_one_percent([2.0] * 50, [1.0] * 100) == (50, 0)
    assert at_one_percent([2.0] * 50, [1.0] * 99) == (None, None)
    figures = membership([2.0, 2.0], [1.0, 1.0])
    assert (figures.auc, figures.error, figures.found) == (1.0, 0.0, None)
