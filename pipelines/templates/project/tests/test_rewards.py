"""Every function in rewards/ gives the same finite number for the same answer."""

import math

import pytest

from pipelines.training import own_rewards, rewards

ANSWERS = ["", " ", "4", "The answer is 4.", "one\ntwo", "x" * 5000, "😀"]


@pytest.mark.parametrize("answer", [None, "4"])
@pytest.mark.parametrize("name", own_rewards.names())
def test_an_own_function_scores_every_answer(name: str, answer: str | None) -> None:
    function = rewards.find(name)
    for text in ANSWERS:
        score = function(text, answer)
        assert math.isfinite(score) and score == function(text, answer), text
