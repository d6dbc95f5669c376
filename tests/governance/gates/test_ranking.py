"""Figures of a reward model's card: accuracy by margin, and calibration."""

from __future__ import annotations

from math import log

import pytest

from governance.attest.predicates import Pairs
from governance.gates.ranking import by_margin, calibration_error


def ranked(*margins: float) -> Pairs:
    same = [5] * len(margins)
    return Pairs(margins=list(margins), chosen_tokens=same, rejected_tokens=same)


def test_pairs_are_divided_by_the_size_of_their_margin() -> None:
    parts = by_margin(ranked(4, -1, 2, -3, 0.5), parts=2)
    assert parts == [[(0.5, 1), (1, 0)], [(2, 1), (3, 0), (4, 1)]]
    assert by_margin(ranked(0), parts=4) == [[(0, 0.5)]]


@pytest.mark.parametrize(
    ("margins", "error"),
    [
        ([log(3)] * 3 + [-log(3)], 0),  # sure by 0.75, and right in 3 of 4
        ([log(3)] * 4, 0.25),
        ([0.0] * 4, 0),  # a tie is half right
        ([-50.0] * 4, 1),
        ([log(3), log(3), -50.0, 50.0], (2 * 0.25 + 2 * 0.5) / 4),
        ([-1e308, 1e308], 0.5),
    ],
)
def test_calibration_compares_how_sure_with_how_right(margins: list[float], error: float) -> None:
    assert calibration_error(ranked(*margins)) == pytest.approx(error)
