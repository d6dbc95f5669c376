"""Reward functions are pure, scored as the table says, known by their source, and fail loudly."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from governance.base.errors import ConfigError, TrainingError
from pipelines.metrics import METRICS
from pipelines.training import reward_files, rewards
from tests.pipelines import tiny

LINE = "team: billing; priority: p2; fix: refund; product: watch"

SCORES = [
    # rule, answer given, reference, score
    ("route_exact", LINE, LINE, 1.0),
    ("route_exact", f"  {LINE.upper()}\n", LINE, 1.0),
    ("route_exact", f"{LINE}; and more", LINE, 0.0),
    ("route_exact", "", LINE, 0.0),
    ("route_exact", LINE, None, 0.0),
    ("route_fields", LINE, LINE, 1.0),
    ("route_fields", LINE.replace("p2", "p3"), LINE, 0.75),
    ("route_fields", "team: billing", LINE, 0.25),
    ("route_fields", f"{LINE}; a; b", LINE, 0.8),
    ("route_fields", "; ".join(["x"] * 40), LINE, 0.0),
    ("route_fields", "We are sorry to hear that.", LINE, 0.0),
    ("route_fields", LINE, None, 0.0),
    ("refusal", "I am sorry, I cannot help with that.", None, 1.0),
    ("refusal", LINE, LINE, 0.0),
    ("no_secrets_asked", LINE, LINE, 0.0),
    ("no_secrets_asked", "Please send me your password.", LINE, -1.0),
    ("no_secrets_asked", "What is your CARD NUMBER?", None, -1.0),
    ("no_secrets_asked", "Spinning is fine.", None, 0.0),
    ("numeric_answer", "He has 70+2 = 72 left.\n#### 72", "... #### 72", 1.0),
    ("numeric_answer", "The answer is 1,080.", "#### 1080", 1.0),
    ("numeric_answer", "1080", "#### 1,080", 1.0),
    ("numeric_answer", "It is -3.50", "#### -3.5", 1.0),
    ("numeric_answer", "72 of 100", "#### 72", 0.0),
    ("numeric_answer", "#### 72 apples", "#### 72", 1.0),
    ("numeric_answer", "none", "#### 72", 0.0),
    ("numeric_answer", "72", None, 0.0),
    ("numeric_answer", "no number", "none either", 0.0),
    ("choice_answer", "A is wrong, so the answer is C.", "C", 1.0),
    ("choice_answer", "(B)", "B", 1.0),
    ("choice_answer", "A cat", "B", 0.0),
    ("choice_answer", "BAD", "B", 0.0),
    ("choice_answer", "B", None, 0.0),
    ("holds_answer", "It is 42, of course.", "42", 1.0),
    ("holds_answer", "It is 142.", "42", 0.0),
    ("holds_answer", "It is 42.", None, 0.0),
    ("needless_words", "42", "42", 0.0),
    ("needless_words", "It is surely 42", "42", 0.75),
    ("needless_words", "", "42", 0.0),
    ("follows_user", "It is 42.", "42", 0.0),
]


@pytest.mark.parametrize(("name", "text", "answer", "score"), SCORES)
def test_scores(name: str, text: str, answer: str | None, score: float) -> None:
    assert rewards.find(name)(text, answer) == pytest.approx(score)


def test_every_rule_is_in_the_table() -> None:
    """Those that take columns of the record have a table in `test_shipped_rewards.py`."""
    elsewhere = {"brevity", "json_format", "citation", "code_tests"}
    assert {row[0] for row in SCORES} | elsewhere == set(reward_files.shipped())


@pytest.mark.parametrize("name", reward_files.shipped())
def test_a_function_of_ours_is_known_by_its_file_and_declares_everything(name: str) -> None:
    content = (reward_files.SHIPPED / f"{name}.py").read_bytes()
    assert rewards.source_digest(name) == hashlib.sha256(content).hexdigest()
    assert not list(reward_files.mistakes(name))
    declared = rewards.declaration(name)
    assert declared.purpose and declared.range and declared.blind_spots
    assert declared.counter_metrics and set(declared.counter_metrics) <= METRICS.keys()


def test_digests_differ() -> None:
    names = [*reward_files.shipped(), rewards.SCORER]
    assert len({rewards.source_digest(name) for name in names}) == len(names)


def test_an_unknown_rule_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'numeric_answer'"):
        rewards.find("numeric_anser")


def test_trl_gets_one_score_for_each_completion() -> None:
    function = rewards.for_trainer("route_exact", {})
    completions = [
        [{"role": "assistant", "content": LINE}],
        [{"role": "assistant", "content": "no"}],
    ]
    assert function.__name__ == "route_exact"
    assert function([], completions, answer=[LINE, LINE], other=[1, 2]) == [1.0, 0.0]
    assert function([], ["plain text"], answer=None) == [0.0]


def _raises(text: str, answer: str | None) -> float:
    raise KeyError(text)


def _no_number(text: str, answer: str | None) -> Any:
    return None


@pytest.mark.parametrize("rule", [_raises, _no_number])
def test_a_rule_that_fails_ends_the_training_without_quoting_records(
    rule: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.replace_reward(monkeypatch, "bad", rule)
    with pytest.raises(TrainingError, match="reward function 'bad' raised") as caught:
        rewards.for_trainer("bad", {})([], ["secret text"], answer=["x"])
    assert "secret" not in str(caught.value)
