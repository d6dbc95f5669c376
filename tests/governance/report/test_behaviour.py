"""The report's behaviour, cards of reward models and declarations of rewards: on page, terminal and
in the review.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from governance.exports.formats.model_card import model_card
from governance.people.review import html as review_page
from governance.people.review import review
from governance.release.promotion import state
from governance.report.build import build
from governance.report.html import json_twin, page
from governance.report.model.report import Report
from governance.report.model.training import RewardFunction
from governance.report.sections import document, text
from tests.governance.exports.told import records_of
from tests.governance.governed import Governed
from tests.governance.story import HEALTHY, MODEL, RANKS, SLICES, Story, digest, tell_rewards

REPEATS = {**HEALTHY, "repeated": [1.0] * 20}


@pytest.fixture(scope="module")
def told(shared: Story, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Version 2 was trained with a reward model; read only."""
    return tell_rewards(shared.copy(tmp_path_factory.mktemp("rewards")))


@pytest.fixture(scope="module")
def report(told: Story) -> Report:
    return build(told.sources, MODEL, "2")


def retold(told: Story, folder: Path, **stated: Any) -> Report:
    """Version 3: trained like version 2, and its evaluation states something else."""
    story = told.copy(folder)
    rewards: dict[str, str] = stated.pop("rewards", {})
    story.train(
        "grpo", "grpo", "prompt", "desk_prompts", "sft", scorer="reward", rewards=rewards,
        slices=SLICES, **stated,
    )  # fmt: skip
    story.register("grpo", "3")
    return build(story.sources, MODEL, "3")


def test_measures_stand_beside_the_parent_and_the_limit(report: Report) -> None:
    shown = report.behaviour
    rows = {row.name: row for row in shown.measures}
    assert (rows["content"].mean, rows["content"].parent) == (8.5, 8.5)
    assert (rows["content"].limit, rows["content"].met) == ("at least 0.1", True)
    assert (rows["kl"].parent, rows["tokens"].parent) == (None, 18)
    assert (rows["kl"].limit, rows["tokens"].limit, rows["tokens"].met) == ("at most 1", None, None)
    assert (rows["reward"].mean, rows["reward"].parent) == (0.9, pytest.approx(0.15))
    assert "parent_reward" not in rows and shown.findings == []
    assert shown.reward_gain and shown.reward_gain.mean == pytest.approx(0.75)
    assert (shown.equal_rewards, shown.equal_rewards_below) == (0.12, 0.95)
    assert shown.limits == "those of policies/evaluation.yaml"


def test_what_is_beyond_a_limit_is_named_on_page_one_and_in_the_section(
    told: Story, tmp_path: Path
) -> None:
    behaviour = {"measures": REPEATS, "parent": told.models["sft"]}
    report = retold(told, tmp_path, behaviour=behaviour)
    (row,) = [row for row in report.behaviour.measures if row.name == "repeated"]
    assert (row.limit, row.met, row.parent) == ("at most 0.2", False, 0)
    (gate,) = [gate for gate in report.gates if gate.name == "Evaluation"]
    assert (gate.result, gate.codes) == ("fail", ["DEGENERATE_OUTPUT"])
    assert "(DEGENERATE_OUTPUT)" in gate.value
    lines = "\n".join(text(report, "behaviour"))
    assert "DEGENERATE_OUTPUT model grpo" in lines and "at most 0.2 | ✗ fail" in lines


def test_gains_stand_beside_each_other_for_each_stage(
    told: Story, report: Report, tmp_path: Path
) -> None:
    rows = {row.stage: row for row in report.stage_gains}
    assert list(rows) == ["base", "sft", "grpo"]  # a reward model answers nothing
    assert rows["sft"].reward is None and rows["grpo"].reward == report.behaviour.reward_gain
    assert rows["grpo"].kl and rows["grpo"].kl.mean == pytest.approx(0.05)
    assert {one.result for one in rows["grpo"].quality} == {"no demonstrated difference"}
    worse = retold(
        told, tmp_path, accuracy=0.8, unsafe=0.3,
        behaviour={"measures": HEALTHY, "lower_is_better": ["sampled_unsafe"]},
    )  # fmt: skip
    quality = {one.metric: one for one in worse.stage_gains[-1].quality}
    assert quality["greedy_exact"].result == quality["sampled_unsafe"].result == "worse"
    assert (quality["sampled_unsafe"].mean or 0) > 0 > (quality["greedy_exact"].mean or 0)


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (None, "the evaluation was made by a Countersign that did not measure behaviour"),
        ({"not_measured": "the suite has no prompts"}, "the suite has no prompts"),
    ],
)
def test_what_was_not_measured_says_why(
    told: Story, tmp_path: Path, behaviour: dict[str, str] | None, why: str
) -> None:
    report = retold(told, tmp_path, behaviour=behaviour)
    assert report.behaviour.not_measured == why and report.behaviour.measures == []
    assert f"  Not measured: {why}." in text(report, "behaviour")


def test_the_card_of_the_chains_reward_model(report: Report) -> None:
    (card,) = report.reward_models
    assert (card.model, card.role, card.suite) == ("reward", "scorer", "desk_pref_eval")
    assert (card.accuracy.n, card.accuracy.mean) == (200, 0.9)
    constant, length = card.baselines
    assert (constant.rule, constant.accuracy) == ("every answer gets the same score", 0.5)
    assert constant.better and length.better
    assert constant.gain.mean == length.gain.mean == pytest.approx(0.4)
    assert [part.n for part in card.by_margin] == [50] * 4
    assert [part.mean for part in card.by_margin] == [0.98, 0.62, 1.0, 1.0]
    assert [(row.label, row.mean) for row in card.slices] == [("de", 0.6), ("en", 1.0)]


def test_the_version_itself_may_be_a_reward_model(told: Story, tmp_path: Path) -> None:
    story = told.copy(tmp_path)
    pairs = {**RANKS["pairs"], "margins": [1.0, 1.0, -1.0, -1.0] * 50}
    story.evaluate("reward", 0.5, **{**RANKS, "pairs": pairs})
    story.register("reward", "3")
    report = build(story.sources, MODEL, "3")
    (card,) = report.reward_models
    assert card.role == "this version" and not any(row.better for row in card.baselines)
    assert report.behaviour.not_measured == "it ranks answers and gives none"
    assert [line.split()[0] for line in report.behaviour.findings] == [
        "REWARD_MODEL_NOT_BETTER"
    ] * 2


def test_rewards_are_shown_as_their_signed_sources_declare_them(report: Report) -> None:
    scorer, silent, exact = report.rewards
    assert (scorer.name, scorer.scorer, scorer.not_declared) == ("model", "reward", None)
    assert silent.not_declared == "its source says nothing of it"
    assert (exact.stage, exact.purpose, exact.range) == (
        *("grpo", "the whole answer is right", "0 to 1"),
    )
    assert exact.blind_spots == ["an answer in other words scores 0"]
    assert {one.name: one.measured_on for one in exact.counter_metrics} == {
        "sampled_unsafe": ["desk_eval"],
        "sampled_exact": [],
    }
    (gap,) = [gap for gap in report.gaps if gap.code == "COUNTER_METRIC"]
    assert gap.what.startswith("sampled_exact,") and gap.evidence == exact.evidence
    lines = text(report, "training")
    assert any("sampled_exact: not measured" in line for line in lines)


HOSTILE = {
    "shown": 'PURPOSE = "<script>alert(1)</script>"',
    "spoiled": "PURPOSE = 'a' + 'b'",
    "surrogate": r"PURPOSE = '\ud800'",
    "deep": "PURPOSE = " + "[" * 5000,
    "long": "#" * (257 << 10),
}


def test_hostile_sources_stop_no_report(told: Story, tmp_path: Path) -> None:
    report = retold(told, tmp_path, rewards=HOSTILE)
    found = {row.name: row.not_declared for row in report.rewards if row.name in HOSTILE}
    assert found == {
        "shown": None,
        "spoiled": "its declaration cannot be read: PURPOSE is computed",
        "surrogate": "its declaration cannot be read: PURPOSE cannot be read",
        "deep": "its declaration cannot be read: it is not valid Python",
        "long": "its source has more than 262,144 characters",
    }
    assert b"<script>" not in page(report) and json_twin(report)


def test_a_source_with_another_digest_is_not_read(
    told: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.governance.story.digest", lambda text: digest(f"other {text}"))
    (row,) = _of_last(retold(told, tmp_path, rewards={"exact": "PURPOSE = 'x'"}))
    assert row.not_declared == "the log does not have its source"


def _of_last(report: Report) -> list[RewardFunction]:
    return [row for row in report.rewards if row.name == "exact"]


def test_review_and_model_card_show_them(told: Story, scene: Governed) -> None:
    tell_rewards(scene.story)
    scene.freeze("2")
    now = state(scene.story.log)
    shown = review_page(review(now, now.evidence.all("packet")[-1], scene.now)).decode()
    assert 'id="behaviour"' in shown and "Reward model reward" in shown
    assert 'id="rewards"' in shown and "not measured" in shown
    card = model_card(records_of(told, "2"))
    assert "| kl | 0.050 | none | at most 1 | met |" in card
    assert "| reward | desk\\_pref\\_eval | 200 | 0.900 | 0.500 | 0.500 | 0.253 |" in card


def test_the_section_in_json(report: Report) -> None:
    found = document(report, "behaviour")
    assert found["behaviour"]["measures"] and found["reward_models"][0]["calibration_error"] > 0
    assert [row["name"] for row in document(report, "training")["rewards"]] == [
        *("model", "no_secrets_asked", "route_exact"),
    ]


def test_a_training_is_drawn_and_listed_against_its_divergence(report: Report) -> None:
    html = page(report).decode()
    assert "greedy_exact against KL, from 0.94 at KL 0.01 to 0.96 at KL 0.12" in html
    assert "reward against KL, from 0.4 at KL 0.01" in html
    lines = text(report, "training")
    (tools,) = [line for line in lines if "stock" in line]
    assert "1.5 calls per answer, of which 25% failed" in tools, tools
    assert any("2 looks at 50 held-back records" in line for line in lines)
    assert [line.strip() for line in lines if "0.12" in line] == ["150 | 0.12 | 0.8 | 0.960"]
