"""Coefficients against published examples, against libraries, and against their definitions."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

from governance.base.errors import InputError
from pipelines.agreement.bootstrap import alpha, alpha_low, estimates, resampled
from pipelines.agreement.coefficients import MOST_COMPARED, Coefficients
from pipelines.agreement.panel import LEVELS, MISSING, Codes, Level, Panel, panel_of_units

NONE = None
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3],
    [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
]
"""The worked example of Krippendorff, Computing Krippendorff's Alpha-Reliability (2011)."""
PUBLISHED = {"nominal": 0.743, "ordinal": 0.815, "interval": 0.849, "ratio": 0.797}
"""Its alpha at each level."""


def observed() -> Panel:
    codes = [[MISSING if value is None else value - 1 for value in row] for row in OBSERVERS]
    return Panel(np.array(codes).T, (1.0, 2.0, 3.0, 4.0, 5.0), ("a", "b", "c", "d"))


def drawn(items: int = 60, raters: int = 4, values: int = 4, missing: float = 0.0) -> Panel:
    """Raters who are right two times in three; some ratings are missing."""
    rng = np.random.default_rng(items + raters)
    truth = rng.integers(values, size=(items, 1))
    codes = np.where(
        rng.random((items, raters)) < 2 / 3, truth, rng.integers(values, size=(items, raters))
    )
    codes[rng.random(codes.shape) < missing] = MISSING
    names = tuple(f"r{at}" for at in range(raters))
    return Panel(codes, tuple(float(2**at) for at in range(values)), names)


def figure(panel: Panel, name: str, level: Level = "nominal") -> float:
    of = Coefficients(panel, level)
    return float(of.figures(of.counts[None, :]).pool[name][0])


@pytest.mark.parametrize("level", LEVELS)
def test_alpha_of_the_published_example(level: Level) -> None:
    assert figure(observed(), "alpha", level) == pytest.approx(PUBLISHED[level], abs=5e-4)


def test_ac1_and_kappa_of_the_published_example() -> None:
    """Gwet, Handbook of Inter-Rater Reliability (2014), has the same ratings; the figures are those
    of the author's package irrCAC.
    """
    assert figure(observed(), "agreement") == pytest.approx(0.81818, abs=5e-6)
    assert figure(observed(), "ac1") == pytest.approx(0.77544, abs=5e-6)
    assert figure(observed(), "fleiss_kappa") == pytest.approx(0.76117, abs=5e-6)


def test_fleiss_kappa_as_in_statsmodels() -> None:
    panel = drawn()
    table, _ = aggregate_raters(panel.codes)
    assert figure(panel, "fleiss_kappa") == pytest.approx(fleiss_kappa(table))


def test_cohen_kappa_as_in_sklearn() -> None:
    panel = drawn(missing=0.3)
    kappas: dict[tuple[int, int], float] = {}
    for pair in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)):
        both = panel.codes[(panel.codes[:, pair] != MISSING).all(axis=1)]
        kappas[pair] = cohen_kappa_score(both[:, pair[0]], both[:, pair[1]])
    assert figure(panel, "cohen_kappa") == pytest.approx(np.mean(list(kappas.values())))
    of = Coefficients(panel, "nominal")
    of_second = of.figures(of.counts[None, :]).raters["cohen_kappa"][0, 1]
    assert of_second == pytest.approx(np.mean([kappas[0, 1], kappas[1, 2], kappas[1, 3]]))


def distances(panel: Panel, level: Level, values: list[int]) -> np.ndarray:
    """The metric differences of Hayes and Krippendorff (2007), from their definitions."""
    count = np.bincount(values, minlength=len(panel.values))
    size = len(panel.values)
    apart = np.zeros((size, size))
    for low in range(size):
        for high in range(low + 1, size):
            one, other = panel.values[low], panel.values[high]
            apart[low, high] = apart[high, low] = {
                "nominal": lambda: 1,
                "ordinal": lambda low=low, high=high: (
                    count[low : high + 1].sum() - (count[low] + count[high]) / 2
                ),
                "interval": lambda one=one, other=other: one - other,
                "ratio": lambda one=one, other=other: (one - other) / (one + other),
            }[level]()
    return apart**2


def alpha_by_definition(panel: Panel, level: Level) -> float:
    units = [[code for code in row if code != MISSING] for row in panel.codes.tolist()]
    units = [unit for unit in units if len(unit) > 1]
    values = [value for unit in units for value in unit]
    apart = distances(panel, level, values)
    observed = sum(
        apart[pair] / (len(unit) - 1) for unit in units for pair in permutations(unit, 2)
    )
    expected = sum(apart[pair] for pair in permutations(values, 2))
    return float(1 - (len(values) - 1) * observed / expected)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_alpha_by_its_definition(level: Level, missing: float) -> None:
    panel = drawn(missing=missing)
    assert figure(panel, "alpha", level) == pytest.approx(alpha_by_definition(panel, level))


def test_alpha_of_ratings_without_raters_is_that_with_raters() -> None:
    panel = drawn(missing=0.3)
    unit, rater = np.nonzero(panel.codes != MISSING)
    order = np.random.default_rng(0).permutation(len(unit))
    values = np.array(panel.values)[panel.codes[unit, rater]]
    for level in LEVELS:
        alone = panel_of_units(unit[order], values[order])
        assert alpha(alone, level) == pytest.approx(figure(panel, "alpha", level))


def test_what_cannot_be_said_is_no_number() -> None:
    assert np.isnan(alpha(panel_of_units(np.array([0, 1]), np.array([1.0, 2.0])), "nominal"))
    for value in (1.0, 0.1, 1e300):
        same = panel_of_units(np.array([0, 0, 1, 1]), np.full(4, value))
        assert all(np.isnan(alpha(same, level)) for level in LEVELS)
    few = panel_of_units(np.repeat(np.arange(19), 2), np.repeat(np.arange(19) % 2, 2))
    assert alpha(few, "nominal") == 1 and np.isnan(alpha_low(few, "nominal"))


def test_the_unit_of_ratings_does_not_matter() -> None:
    panel = drawn()
    for unit in (1e-150, 1e150):
        scaled = Panel(
            panel.codes, tuple(float(each) * unit for each in panel.values), panel.raters
        )
        for level in LEVELS:
            assert alpha(scaled, level) == pytest.approx(alpha(panel, level))


def test_ratios_need_a_zero_and_few_values() -> None:
    with pytest.raises(InputError, match="negative"):
        alpha(panel_of_units(np.array([0, 0]), np.array([-1.0, 2.0])), "ratio")
    many = panel_of_units(np.repeat(np.arange(2000), 2), np.arange(4000.0))
    with pytest.raises(InputError, match="distinct"):
        alpha(many, "ratio")


def test_many_distinct_scores_have_alpha_alone() -> None:
    units, values = np.repeat(np.arange(300), 2), np.arange(600.0)
    found = estimates(panel_of_units(units, values), "interval", samples=100)
    assert len(values) > MOST_COMPARED and set(found.pool) == {"alpha"}


# --- intervals ------------------------------------------------------------------------------------


def continuous() -> Panel:
    """Each item has ratings of its own."""
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(80, 1)) + rng.normal(size=(80, 3)) / 2
    values, codes = np.unique(scores, return_inverse=True)
    return Panel(codes.reshape(scores.shape), tuple(values.tolist()), ("a", "b", "c"))


@pytest.mark.parametrize("panel", [drawn(200, 2, 2), continuous()], ids=["patterns", "items"])
def test_a_sample_has_as_many_items_drawn_evenly(panel: Panel) -> None:
    of = Coefficients(panel, "interval")
    weights = np.concatenate(list(resampled(of, 3_000, seed=4)))
    assert (weights.sum(axis=1) == len(panel)).all()
    error = np.sqrt(of.counts / 3_000)
    assert (np.abs(weights.mean(axis=0) - of.counts) < 5 * error).all()


def test_a_sample_has_the_figures_of_its_items() -> None:
    panel = drawn(missing=0.2)
    of = Coefficients(panel, "interval")
    weights = next(resampled(of, 5, seed=3))
    figures = of.figures(weights)
    for at, row in enumerate(weights.astype(int)):
        chosen: Codes = np.repeat(of.patterns, row, axis=0)
        sample = Panel(chosen, panel.values, panel.raters)
        for name, column in figures.pool.items():
            assert figure(sample, name, "interval") == pytest.approx(column[at]), name


def test_a_rater_of_few_items_has_no_interval() -> None:
    panel = drawn()
    panel.codes[10:, 0] = MISSING
    found = estimates(panel, "nominal", samples=100).raters
    assert found["r0"]["agreement"].value is not None and found["r0"]["agreement"].low is None
    assert found["r1"]["agreement"].low is not None


def test_the_same_seed_gives_the_same_interval() -> None:
    first, again, other = (estimates(drawn(), "ordinal", 200, seed) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.slow
def test_intervals_hold_the_true_figure_as_often_as_they_say() -> None:
    """Two values, three raters who are right nine times in ten: alpha is 0.64."""
    rng = np.random.default_rng(1)
    held = 0
    for seed in range(300):
        truth = rng.integers(2, size=(150, 1))
        codes = np.where(rng.random((150, 3)) < 0.9, truth, 1 - truth)
        found = estimates(Panel(codes, (0.0, 1.0), ("a", "b", "c")), "nominal", 400, seed)
        low, high = found.pool["alpha"].low, found.pool["alpha"].high
        held += low is not None and high is not None and low <= 0.64 <= high
    assert 0.91 < held / 300 < 0.98


def test_pandalm_has_the_agreement_that_was_published(public_data: Path) -> None:
    """Cohen's kappa between its annotators: 0.85 to 0.88."""
    rows = json.loads((public_data / "pandalm/testset-v1.part.json").read_text(encoding="utf-8"))
    codes = np.array([[row[f"annotator{rater}"] for rater in (1, 2, 3)] for row in rows])
    of = Coefficients(Panel(codes, (0.0, 1.0, 2.0), ("1", "2", "3")), "nominal")
    kappas = of.figures(of.counts[None, :]).raters["cohen_kappa"]
    assert ((kappas > 0.85) & (kappas < 0.88)).all()
