"""Raters who copy are found and named, and nobody else is accused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.agreement.coefficients import Coefficients
from pipelines.agreement.copying import ERROR, copying
from pipelines.agreement.panel import Panel
from tests.conftest import rows
from tests.pipelines.agreement.pools import CLEAN, Raters

PAIR = (1, 3)


def copied(seed: int, share: float = 1.0, **pool: Any) -> set[tuple[int, int]]:
    """The pairs found where rater 3 copies a share of their ratings from rater 1."""
    raters = Raters(seed, **pool)
    copies = raters.rng.random(raters.items) < share
    raters.codes[copies, PAIR[1]] = raters.codes[copies, PAIR[0]]
    return {found.pair for found in copying(raters.of)}


PLANTED: dict[str, dict[str, Any]] = {
    "alike": {},
    "of unlike care": CLEAN["of unlike care"],
    "of three answers": CLEAN["of three answers"],
    "who leave items out": {"items": 500, **CLEAN["who leave items out"]},
    "who give scores": {"level": "interval", "accuracy": 1.0},
    "in part": {"share": 0.6, "items": 600},
    "of four": {"raters": 4, "items": 500},
}


@pytest.mark.parametrize("kind", PLANTED)
def test_two_who_copy_are_found_and_nobody_else(kind: str) -> None:
    for seed in range(5):
        assert copied(seed, **PLANTED[kind]) == {PAIR}


def test_two_careful_raters_are_not_two_who_copy() -> None:
    """They agree in 96%, more than any other pair: their agreement with the others explains it."""
    raters = Raters(4, 2_000, accuracy=[0.98, 0.7, 0.7, 0.98, 0.7])
    assert copying(raters.of) == []
    raters.codes[:, 4] = raters.codes[:, 2]
    (found,) = copying(raters.of)
    assert found.pair == (2, 4) and found.agreement == 1
    assert found.expected == pytest.approx(0.7**2 + 0.3**2, abs=0.05)
    assert found.finding(("a", "b", "c", "d", "e")).subject == "raters c, e"


def test_two_pairs_are_both_found() -> None:
    raters = Raters(5, 500, raters=7)
    raters.codes[:, 1], raters.codes[:, 6] = raters.codes[:, 0], raters.codes[:, 5]
    assert {found.pair for found in copying(raters.of)} == {(0, 1), (5, 6)}


@pytest.mark.nightly
@pytest.mark.parametrize("kind", CLEAN)
def test_clean_pools_are_accused_no_more_often_than_stated(kind: str) -> None:
    accused = sum(bool(copying(Raters(seed, **CLEAN[kind]).of)) for seed in range(1_000))
    assert accused <= 1_000 * ERROR


@pytest.mark.parametrize(
    "kind", rows(CLEAN, in_ci={"alike", "of hard and easy items", "who give scores"})
)
def test_clean_pools_are_not_accused(kind: str) -> None:
    """60 of them: more than one finding has a probability below 0.2 at the stated level."""
    assert sum(bool(copying(Raters(seed, **CLEAN[kind]).of)) for seed in range(60)) <= 1


def test_a_copied_annotator_of_pandalm_is_found(public_data: Path) -> None:
    """Its three annotators agree in 91% of the pairs, and none of them is named."""
    rows_ = json.loads((public_data / "pandalm/testset-v1.part.json").read_text(encoding="utf-8"))
    codes = np.array([[row[f"annotator{rater}"] for rater in (1, 2, 3)] for row in rows_])
    values = (0.0, 1.0, 2.0)
    assert copying(Coefficients(Panel(codes, values, ("1", "2", "3")), "nominal")) == []
    codes[:, 2] = codes[:, 0]
    (found,) = copying(Coefficients(Panel(codes, values, ("1", "2", "3")), "nominal"))
    assert (found.pair, found.items, found.expected) == ((0, 2), 490, None)
