"""Answers of two models, compared item by item by judges whose rule is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.base.errors import InputError
from pipelines.generation.speakers import Comparison, Verdict
from pipelines.judging.contest import Pair, compare, scores_at_equal_length
from pipelines.judging.length_control import at_equal_length, length_controlled
from pipelines.judging.suite import judge_of_card, suite_digest
from pipelines.params import JudgeCheck, JudgedEvaluation
from tests.pipelines.judge_check.judges import CONSTITUTION, Scripted, clean, first_one

ASKED = [{"role": "user", "content": "What is 2 plus 2?"}]
RIGHT, WRONG = "It is 4.", "It is 5."


def pair(at: int, own: str | None, opponent: str | None) -> Pair:
    return Pair(f"{at:032x}", ASKED, own, opponent)


PAIRS = [pair(1, RIGHT, WRONG), pair(2, WRONG, RIGHT), pair(3, RIGHT, RIGHT), pair(4, None, RIGHT)]


def test_wins_need_both_orders_and_each_pair_is_counted_once() -> None:
    found = compare(Scripted(clean), CONSTITUTION, PAIRS)
    assert found.scores == [1.0, 0.0, 0.5, None]
    counts = (found.consistent, found.inconsistent, found.equal, found.no_verdict)
    assert counts == (2, 0, 1, 1)


def test_a_judge_that_always_chooses_the_first_decides_nothing() -> None:
    found = compare(Scripted(first_one), CONSTITUTION, PAIRS)
    assert found.scores == [0.5, 0.5, 0.5, None]
    assert (found.consistent, found.inconsistent) == (0, 2)


class Silent:
    """Names no answer of a pair that is shown in the second order."""

    is_elsewhere: ClassVar[bool] = True
    asked: ClassVar[list[str]] = []

    def compare(self, pairs: Sequence[Comparison], purpose: str) -> list[Verdict]:
        self.asked += [each.key for each in pairs]
        return ["UNREADABLE" if purpose.startswith("swapped") else True for _ in pairs]


def test_without_a_verdict_an_item_has_no_score_and_equal_answers_are_not_asked_about() -> None:
    judge = Silent()
    found = compare(judge, CONSTITUTION, PAIRS)
    assert found.scores == [None, None, 0.5, None]
    assert (found.consistent, found.inconsistent, found.no_verdict) == (0, 0, 3)
    assert {*judge.asked} == {PAIRS[0].id, PAIRS[1].id}


@given(st.lists(st.tuples(st.sampled_from([RIGHT, WRONG, None]), st.sampled_from([RIGHT, WRONG]))))
def test_a_model_wins_what_its_opponent_loses(texts: list[tuple[str | None, str]]) -> None:
    given_pairs = [pair(at, own, other) for at, (own, other) in enumerate(texts)]
    turned = [pair(at, other, own) for at, (own, other) in enumerate(texts)]
    ours, theirs = (
        compare(Scripted(clean), CONSTITUTION, each).scores for each in (given_pairs, turned)
    )
    for one, other in zip(ours, theirs, strict=True):
        assert (one is None) == (other is None)
        assert one is None or other is None or one + other == 1


def test_the_figure_at_equal_length_takes_away_what_length_explains() -> None:
    """Two thousand verdicts: the odds of a win are those of the model, times those of length."""
    rng = np.random.default_rng(5)
    longer = rng.normal(60, 100, 2000)
    effect = 1.5 * np.tanh(longer / longer.std(ddof=1))
    wins = (rng.random(2000) < 1 / (1 + np.exp(-(effect - 0.4)))).astype(float)
    adjusted = at_equal_length(wins, longer)
    figure = length_controlled(wins, longer)
    assert adjusted is not None and figure is not None and figure.rate.value is not None
    assert adjusted.mean() == pytest.approx(1 / (1 + np.exp(0.4)), abs=0.03)
    assert adjusted.mean() == pytest.approx(figure.rate.value, abs=0.005)
    assert wins.mean() - adjusted.mean() > 0.08


def test_where_nothing_can_be_estimated_no_item_has_a_figure_at_equal_length() -> None:
    assert scores_at_equal_length([1.0] * 30, [5] * 30, [9] * 30) == [None] * 30
    mixed: list[float | None] = [1.0, 0.0, None] * 10
    adjusted = scores_at_equal_length(mixed, [9] * 30, [9] * 30)
    assert [each is None for each in adjusted] == [each is None for each in mixed]
    assert adjusted[:3] == mixed[:3]  # equal lengths explain nothing


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"judge": ', "\x00"])
def test_a_card_that_names_no_judge_names_the_stage_that_makes_it(
    content: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "card.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="check_judge@desk_judge"):
        judge_of_card(path, "desk_judge")


ROW = JudgedEvaluation(model="sft", suite="wins", prompts="p", opponent="base", judge="j")
CHECK = JudgeCheck(judge="reward", constitution="c", labelled="l")


def test_a_suite_is_the_same_for_other_models_and_another_for_another_judge() -> None:
    digests = {"records": "a" * 64, "judge": "b" * 64, "opponent": "c" * 64}
    first = suite_digest(ROW, CHECK, **digests)
    assert suite_digest(ROW.model_copy(update={"model": "dpo"}), CHECK, **digests) == first
    others = [suite_digest(ROW, CHECK, **{**digests, name: "d" * 64}) for name in digests]
    others += [
        suite_digest(ROW.model_copy(update={name: value}), CHECK, **digests)
        for name, value in (("limit", 9), ("seed", 2), ("split", "train"), ("temperature", 0.5))
    ]
    others.append(suite_digest(ROW, CHECK.model_copy(update={"seed": 4}), **digests))
    assert len({first, *others}) == 1 + len(others)
