"""A batch in which ratings mean something else is named, and no other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.agreement.drift import ERROR, drift
from pipelines.agreement.panel import Rows
from tests.conftest import rows
from tests.pipelines.agreement.pools import CLEAN, Raters

Bools = NDArray[np.bool_]
NAMES = ("v1", "v2", "v9", "v10")
"""In their order, which is not that of their letters."""


def batched(raters: Raters) -> Rows:
    """The items in four batches."""
    items = np.arange(raters.items)
    return Rows(items * 4 // raters.items, items, NAMES)


def stricter(raters: Raters, here: Bools) -> None:
    """A third of what was given rating 1 is no longer."""
    raters.codes[here & (raters.rng.random(raters.items) < 0.5)] = 0


def unclear(raters: Raters, here: Bools) -> None:
    """Everybody guesses."""
    raters.codes[here] = raters.rng.integers(2, size=raters.codes[here].shape)


def halved(raters: Raters, here: Bools) -> None:
    """Two raters read the guideline in the opposite way."""
    raters.codes[here, :2] = 1 - raters.codes[here, :2]


@pytest.mark.parametrize("change", [stricter, unclear, halved])
@pytest.mark.parametrize("batches", [{1}, {3}, {2, 3}], ids=str)
def test_the_batches_that_drift_are_named(change: Any, batches: set[int]) -> None:
    for seed in range(4):
        raters = Raters(seed, 800)
        of_batch = batched(raters)
        change(raters, np.isin(of_batch.batch, list(batches)))
        found = [(each.place, each.finding.subject) for each in drift(raters.of, of_batch)]
        assert found == [(at + 1, f"batch {NAMES[at]}") for at in sorted(batches)]


def test_equal_items_show_what_other_items_do_not() -> None:
    """60 items in both batches: two of five raters have become stricter."""
    raters = Raters(1, 120, accuracy=0.95)
    raters.codes[60:] = raters.codes[:60]
    raters.codes[60:, 0][raters.codes[60:, 0] == 1] = 0
    raters.codes[60:, 1][raters.codes[60:, 1] == 1] = 0
    batch, again = np.repeat([0, 1], 60), np.tile(np.arange(60), 2)
    other = np.random.default_rng(3).permutation(60)
    found = drift(raters.of, Rows(batch, again, ("a", "b")))[0].finding
    assert found.subject == "batch b" and "items rated in both" in found.found
    assert "60 items rated in both" in found.found
    raters.codes[60:] = raters.codes[60:][other]
    assert all(
        "in both" not in each.finding.found
        for each in drift(raters.of, Rows(batch, np.arange(120), ("a", "b")))
    )


def test_other_raters_are_no_drift() -> None:
    """A batch by two lenient raters, and one by three strict ones."""
    raters = Raters(2, 800)
    lenient = raters.rng.random((800, 2)) < 0.7
    raters.codes[:, :2][lenient] = 1
    of_batch = batched(raters)
    raters.codes[:400, 2:] = -1
    raters.codes[400:, :2] = -1
    assert drift(raters.of, of_batch) == []


def test_scores_that_drift() -> None:
    raters = Raters(3, 400, level="interval", accuracy=1.0)
    of_batch = batched(raters)
    assert drift(raters.of, of_batch) == []
    raters.codes[of_batch.batch == 2] = np.minimum(raters.codes[of_batch.batch == 2] + 2, 9)
    found = drift(raters.of, of_batch)[0].finding
    assert found.subject == "batch v9" and "standard deviations" in found.found


def named(seed: int, kind: str) -> bool:
    raters = Raters(seed, **CLEAN[kind])
    return bool(drift(raters.of, batched(raters)))


@pytest.mark.nightly
@pytest.mark.parametrize("kind", CLEAN)
def test_files_without_drift_have_no_finding_more_often_than_stated(kind: str) -> None:
    assert sum(named(seed, kind) for seed in range(1_000)) <= 1_000 * ERROR


@pytest.mark.parametrize("kind", rows(CLEAN, in_ci={"alike", "of three answers"}))
def test_files_without_drift_have_no_finding(kind: str) -> None:
    """60 of them: more than two findings have a probability below 0.03 at the stated level."""
    assert sum(named(seed, kind) for seed in range(60)) <= 2
