"""Items are drawn by the rule that is recorded, and the same again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.base.errors import InputError
from pipelines.labelling.sample import RULES, draw
from tests.pipelines.labelling.made import items

EVERY = items(60)


@pytest.mark.parametrize("rule", RULES)
def test_the_same_rule_and_seed_draw_the_same_in_any_order(rule: str) -> None:
    first, second = draw(EVERY, rule, 9, 4), draw(EVERY[::-1], rule, 9, 4)
    assert first == second
    assert len({item.id for item in first.items}) == 9


def test_rules_take_what_they_say() -> None:
    most = draw(EVERY, "disagreement", 3, 1)
    least = draw(EVERY, "small-margin", 3, 1)
    worst = draw(EVERY, "worst-slice", 60, 1)
    assert [item.scores[1] for item in most.items] == [59 / 60, 58 / 60, 57 / 60]
    assert [item.scores[1] for item in least.items] == [0, 1 / 60, 2 / 60]
    assert worst.slice == "team=low" and worst.population == 30
    assert {item.slices["team"] for item in worst.items} == {"low"}


@given(st.integers(0, 2**53 - 1))
def test_another_seed_draws_others(seed: int) -> None:
    drawn = draw(EVERY, "random", 20, seed)
    assert drawn.population == 60
    assert drawn.items != draw(EVERY, "random", 20, seed + 1).items


def test_equal_answers_are_left_out_and_counted() -> None:
    same = [replace(item, answers=("x", "x")) for item in EVERY[:50]]
    drawn = draw([*same, *EVERY[50:]], "random", 60, 1)
    assert (drawn.identical, drawn.population, len(drawn.items)) == (50, 10, 10)


@pytest.mark.parametrize("rule", RULES)
def test_where_none_can_be_drawn_it_says_so(rule: str) -> None:
    same = [replace(item, answers=("x", "x")) for item in EVERY]
    with pytest.raises(InputError):
        draw(same, rule, 5, 1)


def test_a_slice_of_few_items_is_not_the_worst() -> None:
    with pytest.raises(InputError, match="no slice"):
        draw(EVERY[20:40], "worst-slice", 5, 1)
