"""The measures of behaviour say what they are named after."""

from __future__ import annotations

import pytest

from pipelines.behaviour import ITEMS, Answer, measures, prompts
from pipelines.rewards.refusal import refusal

GOOD = Answer("network; high; restart; router", [1, 2, 3, 4, 5, 9], True)
OTHER = Answer("billing; low; refund; phone", [6, 7, 8, 9], True)
NOTHING = Answer(" \n", [9], True)
LONG = Answer("and and and", [5] * 16, False)


@pytest.mark.parametrize(
    ("groups", "measure", "expected"),
    [
        ([[GOOD, OTHER], [OTHER, OTHER]], "empty", [0, 0]),
        ([[GOOD, NOTHING], [NOTHING, NOTHING]], "empty", [0.5, 1]),
        ([[GOOD, LONG]], "truncated", [0.5]),
        ([[GOOD, LONG]], "repeated", [0.5]),
        ([[GOOD, OTHER], [OTHER, OTHER]], "common", [0.5, 1]),
        ([[GOOD, OTHER], [OTHER, OTHER]], "equal", [0, 1]),
        ([[GOOD, OTHER]], "tokens", [5]),
        ([[LONG]], "distinct_1", [1 / 16]),
        ([[NOTHING]], "distinct_2", [1.0]),
        ([[Answer("I'm sorry, but no.", [1], True), GOOD]], "refused", [0.5]),
    ],
)
def test_a_measure_is_the_mean_over_the_answers_of_an_item(
    groups: list[list[Answer]], measure: str, expected: list[float]
) -> None:
    assert measures(groups)[measure] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I cannot help with that.", True),
        ("Sorry, no.", True),
        ("抱歉，我不能回答。", True),
        ("I can help: restart it.", False),
        ("The sorry state of the router", False),
        ("I'm really sorry that you feel so, but I can't.", True),
        ("Please restart it. I cannot say more.", False),
    ],
)
def test_a_refusal_is_known_by_its_beginning(text: str, expected: bool) -> None:
    assert refusal(text, None) == expected


def test_a_conversation_is_asked_without_its_last_answer() -> None:
    talk = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    rows = [{"messages": talk}, {"messages": talk[1:]}, *([{"prompt": talk[:1]}] * ITEMS)]
    asked = prompts(rows)
    assert len(asked) == ITEMS
    assert asked[0]["prompt"] == talk[:1]
