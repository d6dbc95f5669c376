"""A planted rater is found and named, and nobody else is accused."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pipelines.agreement.bootstrap import estimates
from pipelines.agreement.panel import Codes, Floats, Panel, Ratings
from pipelines.agreement.suspicions import ERROR, prevalence, suspicions
from tests.conftest import PROFILE, rows

POOLS = 1_000 if PROFILE == "nightly" else 300
BAD = 2


class Pool:
    """Five raters of pairs who are right `accuracy` of the time, one of two answers first."""

    def __init__(self, seed: int, items: int = 200, accuracy: object = 0.85, common: float = 0.5):
        self.rng = np.random.default_rng(seed)
        self.truth = (self.rng.random(items) > common).astype(np.int64)
        right = self.rng.random((items, 5)) < accuracy
        self.codes: Codes = np.where(right, self.truth[:, None], 1 - self.truth[:, None])
        self.first: Codes = self.rng.integers(2, size=(items, 5))
        self.seconds: Floats = np.exp(3 + self.rng.normal(0, 0.6, size=(items, 5)))

    def found(self) -> set[tuple[str, str]]:
        names = tuple(f"r{at}" for at in range(5))
        panel = Panel(self.codes, (1.0, 2.0), names)
        ratings = Ratings(panel, {}, self.first, self.seconds)
        found = [each.finding for each in suspicions(ratings, "nominal")]
        return {(each.code, each.subject) for each in found}


def random(pool: Pool) -> None:
    pool.codes[:, BAD] = pool.rng.integers(2, size=len(pool.codes))


def contrary(pool: Pool) -> None:
    pool.codes[:, BAD] = 1 - pool.truth


def constant(pool: Pool) -> None:
    pool.codes[:, BAD] = 1


def first(pool: Pool) -> None:
    follows = pool.rng.random(len(pool.codes)) < 0.8
    pool.codes[follows, BAD] = pool.first[follows, BAD]


def last(pool: Pool) -> None:
    first(pool)
    pool.first[:, BAD] = 1 - pool.first[:, BAD]


def fast(pool: Pool) -> None:
    pool.seconds[:, BAD] /= 6


PLANTED = {
    random: "RATER_DISAGREES",
    contrary: "RATER_DISAGREES",
    constant: "RATER_SAME_ANSWER",
    first: "RATER_FOLLOWS_POSITION",
    last: "RATER_FOLLOWS_POSITION",
    fast: "RATER_TOO_FAST",
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_rater_is_found_and_nobody_else(plant: object) -> None:
    for seed in range(10):
        pool = Pool(seed)
        plant(pool)  # type: ignore[operator]
        found = pool.found()
        assert (PLANTED[plant], f"rater r{BAD}") in found  # type: ignore[index]
        assert {subject for _, subject in found} == {f"rater r{BAD}"}


CLEAN = {
    "alike": {},
    "few": {"items": 25},
    "of unlike care": {"accuracy": np.array([0.75, 0.8, 0.85, 0.9, 0.95])},
    "who only guess": {"accuracy": 0.5},
    "who hardly see the rarer answer": {"items": 60, "common": 0.97, "accuracy": 0.97},
    "who never disagree": {"common": 1.0, "accuracy": 1.0},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", rows(CLEAN, in_ci={"alike", "who hardly see the rarer answer"}))
def test_clean_pools_are_accused_no_more_often_than_stated(kind: str) -> None:
    """Four checks, each with at most `ERROR`."""
    accused = Counter(
        code for seed in range(POOLS) for code, _ in Pool(seed, **CLEAN[kind]).found()
    )
    assert all(count <= POOLS * ERROR for count in accused.values()), accused


def test_two_raters_accuse_each_other_of_nothing() -> None:
    pool = Pool(1)
    panel = Panel(pool.codes[:, :2], (1.0, 2.0), ("a", "b"))
    pool.codes[:, 1] = 1 - pool.codes[:, 0]
    assert suspicions(Ratings(panel, {}), "nominal") == []


@pytest.mark.parametrize(
    ("common", "accuracy", "paradox"), [(0.98, 0.97, True), (0.5, 0.97, False)]
)
def test_high_agreement_with_a_low_alpha_is_explained(
    common: float, accuracy: float, paradox: bool
) -> None:
    panel = Panel(Pool(3, 400, accuracy, common).codes, (1.0, 2.0), ("a", "b", "c", "d", "e"))
    pool = estimates(panel, "nominal", samples=100).pool
    found = list(prevalence(Ratings(panel, {}), pool))
    assert [each.code for each in found] == ["PREVALENCE_PARADOX"] * paradox
