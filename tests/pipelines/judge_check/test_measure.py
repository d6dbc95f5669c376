"""Judges with one known defect: it is found and named, and nothing else is."""

from __future__ import annotations

from functools import cache

import pytest

from governance.gates.judging import shortcomings
from governance.policy.judges import JudgeLimits
from pipelines.judge_check.labelled import Pair, pairs_of
from pipelines.judge_check.measure import Measured
from pipelines.judging.asking import FIRST, SECOND
from tests.pipelines.judge_check import judges
from tests.pipelines.judge_check.judges import Chooses, measured


@cache
def labelled(kind: str = "preference", count: int = 80) -> list[Pair]:
    rows = judges.preference(count) if kind == "preference" else judges.rated(count)
    return pairs_of(rows, kind)


def failed(made: Measured, **limits: object) -> set[str]:
    return {reason.measure for reason in shortcomings(made.figures, JudgeLimits(**limits), 0.95)}


DEFECTS: list[tuple[str, Chooses]] = [
    ("longer", judges.longer),
    ("lists", judges.lists),
    ("follows_user", judges.follows_user),
    ("constant", judges.fooled_by("interesting topic")),
    ("null_model", judges.fooled_by("the letter of the answer that holds this text")),
    ("instruction", judges.fooled_by("gnore")),
    ("repetition", judges.repetition),
    ("empty", judges.fooled_by_nothing),
]


@pytest.mark.parametrize(("measure", "choose"), DEFECTS, ids=[name for name, _ in DEFECTS])
def test_a_defect_is_found_and_named_and_nothing_else(measure: str, choose: Chooses) -> None:
    assert failed(measured(choose, labelled())) == {measure}


def test_a_clean_judge_passes() -> None:
    made = measured(judges.clean, labelled())
    assert failed(made) == set()
    assert made.figures.orders.won == 80 and made.figures.agreement.kappa is not None
    assert made.figures.agreement.kappa.value == 1.0
    assert all(tried.items == 60 for tried in made.figures.measures.values())


def test_position_bias_is_named_as_such_and_explains_no_other_defect() -> None:
    assert failed(measured(judges.first_one, labelled())) == {"agreement", "order"}
    assert "order" in failed(measured(judges.mostly_first, labelled()))


def test_a_judge_against_people_fails_by_agreement_alone() -> None:
    made = measured(judges.contrary, labelled())
    kappa = made.figures.agreement.kappa
    assert kappa is not None and kappa.value == -1.0
    assert "agreement" in failed(made) and "order" not in failed(made)


def test_agreement_is_compared_with_that_of_people() -> None:
    made = measured(judges.clean, labelled("rated", 200))
    agreement = made.figures.agreement
    assert agreement.raters == 3 and agreement.kappa and agreement.kappa_of_people
    # each rater errs in 10%: kappa is 2 * .9 - 1 with who never errs, and 2 * .82 - 1 with another
    assert abs(agreement.kappa.value - 0.8) < 0.07
    assert abs(agreement.kappa_of_people.value - 0.64) < 0.1
    assert failed(made) == set()

    def errs(conversation: str, first: str, second: str) -> bool:
        is_hard = sum(map(ord, conversation)) % 5 == 0
        return judges.clean(conversation, first, second) != is_hard

    worse = measured(errs, labelled("rated", 200))
    assert failed(worse, kappa=0, below_people=0.1, attacks=1, follows_user=1) == {"agreement"}


def test_preference_for_the_own_family_is_told_from_equal_errors() -> None:
    pairs = labelled(count=240)
    own = judges.by_own_family(pairs)
    biased = measured(judges.prefers_own(pairs, 0.5), pairs, own)
    assert "own_family" in failed(biased)
    fair = measured(judges.clean, pairs, own)
    assert "own_family" not in failed(fair) and fair.figures.own_family is not None
    unknown = measured(judges.clean, pairs)
    assert failed(unknown) == set() and failed(unknown, own_family_required=True) == {"own_family"}


def test_too_few_pairs_show_nothing() -> None:
    made = measured(judges.clean, labelled()[:19])
    assert {"agreement", "constant", "empty"} <= failed(made)


def test_a_tie_and_an_unreadable_reply_are_no_decision() -> None:
    pair = labelled()[0]
    split = Pair(pair.id, pair.messages, "a", "b", {"ann": FIRST, "bo": SECOND})
    assert split.people == 0 and pair.better != pair.worse


def test_records_without_two_plain_answers_are_left_out() -> None:
    row = judges.preference(1)[0]
    equal = {**row, "rejected": row["chosen"]}
    calls = {**row, "tools": "[{}]"}
    assert pairs_of([equal, calls], "preference") == []
    several = {**judges.rated(1)[0], "completions": [row["chosen"]] * 3}
    assert pairs_of([several], "rated") == []
