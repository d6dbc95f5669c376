"""Models of the project as generator and judge: the same seed gives the same records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from governance.base.progress import Bar
from governance.policy.constitution import Templates
from pipelines.generation import speakers
from pipelines.generation.speakers import Asked, Comparison, Model, RewardModel
from pipelines.generation.work import Made
from pipelines.scoring import DivergedError
from tests.pipelines import tiny
from tests.pipelines.generation.asking import PROMPTS, row, work

BAR = Bar(None, 0, "")


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("language")
    text = tiny.records(home / "text", "conversation")
    wanted = tiny.objective("pretrain", max_steps=1)
    base, _ = tiny.train(home / "base", wanted, tiny.architecture(home / "bare"), text)
    return base / "model"


def reward(folder: Path) -> RewardModel:
    torch.manual_seed(1)  # of its head, which is new
    return RewardModel(speakers.opener(row(), BAR)(folder, "scorer"))


def model(folder: Path, **changes: Any) -> Model:
    return Model(speakers.opener(row(**changes), BAR)(folder, "language"), Templates())


def test_the_same_seed_gives_the_same_pairs(language: Path) -> None:
    asked = [Asked(prompt["id"], prompt["prompt"]) for prompt in PROMPTS]
    first, again, other = (
        model(language, seed=seed).write(asked, 2, "draft") for seed in (4, 4, 5)
    )
    assert first == again != other
    assert all(len(group) == 2 and group[0].text != group[1].text for group in first)


@pytest.mark.parametrize("judges", ["reward", "language"])
def test_a_model_judges_in_both_orders(language: Path, judges: str) -> None:
    writer, made, doing = model(language), Made(), work(row())
    judge: Any = reward(language) if judges == "reward" else writer
    doing.compare(doing.tasks(PROMPTS, made), writer, judge, made)
    reasons = {"CUT_OFF", "EMPTY", "EQUAL", "INCONSISTENT", "UNREADABLE"}
    assert made.counts.asked == len(PROMPTS) and made.dropped.keys() <= reasons
    if judges == "reward":
        assert made.dropped["INCONSISTENT"] == 0


def test_a_judge_prefers_what_it_finds_better_and_never_what_is_not_finite(language: Path) -> None:
    judge = reward(language)
    talk = PROMPTS[0]["prompt"]
    pairs = [Comparison("k", "p", talk, "yes", "no, never"), Comparison("k", "p", talk, "a", "a")]
    better, tie = judge.compare(pairs, "verdict")
    (swapped,) = judge.compare([Comparison("k", "p", talk, "no, never", "yes")], "swapped")
    assert tie == "UNREADABLE" and better is (not swapped)
    judge.scorer.model.score.weight.data.fill_(float("nan"))
    with pytest.raises(DivergedError):
        judge.compare(pairs, "verdict")
