"""Every function in rewards/ gives the same finite number for the same answer."""

import math

import pytest

from pipelines.training import reward_files, rewards

ANSWERS = ["", " ", "4", "The answer is 4.", "one\ntwo", "x" * 5000, "😀"]


@pytest.mark.parametrize("answer", [None, "4"])
@pytest.mark.parametrize("name", reward_files.own())
def test_an_own_function_scores_every_answer(name: str, answer: str | None) -> None:
    function = rewards.for_trainer(name, {})
    given = {"prompts": ["2 + 2?"] * len(ANSWERS), "answer": [answer] * len(ANSWERS)}
    scores = function(completions=ANSWERS, **given)
    assert all(score is None or math.isfinite(score) for score in scores)
    assert scores == function(completions=ANSWERS, **given)
