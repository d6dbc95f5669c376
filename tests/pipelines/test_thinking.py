"""What a model thinks is told from its answer, and only the answer is scored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.metrics import METRICS, answer_score
from pipelines.thinking import answer_of, divided, joined
from pipelines.training.rewards import for_trainer

TEXTS: list[tuple[str, str | None, str]] = [
    ("A", None, "A"),
    ("<think>T</think>A", "T", "A"),
    ("\n<think>\nT\nU\n</think>\n\nA\n", "T\nU", "A\n"),
    ("<think></think>A", "", "A"),
    ("Use <think>T</think>.", None, "Use <think>T</think>."),
    ("<think>T</think>A</think>B", "T", "A</think>B"),
]


@pytest.mark.parametrize(("text", "thinking", "answer"), TEXTS)
def test_a_block_at_the_beginning_is_thinking(text: str, thinking: str | None, answer: str) -> None:
    assert divided(text) == (thinking, answer)
    assert answer_of(text) == answer


@pytest.mark.parametrize("opened", [False, True])
def test_a_model_that_still_thinks_has_no_answer(opened: bool) -> None:
    assert answer_of("T" if opened else "<think>T", opened=opened) == ""
    assert answer_of("T</think>\n\nA", opened=True) == "A"


@given(st.text().filter(lambda text: "think" not in text), st.text(min_size=1))
def test_what_is_joined_is_divided_again(thinking: str, answer: str) -> None:
    answer = answer.lstrip() or "A"
    assert divided(joined(thinking, answer)) == (thinking.strip("\n"), answer)


def test_rewards_and_metrics_get_the_answer_alone() -> None:
    reward = for_trainer("route_exact", {})
    right, thought = "team: a", "<think>team: b</think>team: a"
    completions = [[{"role": "assistant", "content": text}] for text in (thought, "<think>team: a")]
    assert reward([None] * 2, completions, answer=[right, right]) == [1.0, 0.0]
    assert reward([None], [right], answer=[thought]) == [1.0]
    opened = for_trainer("route_exact", {}, opened=True)
    assert opened([None] * 2, ["b</think>team: a", "team: a"], answer=[right] * 2) == [1.0, 0.0]
    row = {"prompt": [], "answer": thought}
    assert answer_score(METRICS["greedy_exact"], reward, [right], row) == 1.0
