"""Comparisons by a judge without a card that counts: every reader of the log says "not shown" in
place of their figures, and shows them once there is a card.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from governance.attest.predicates import Artifact
from governance.attest.requests import judge_digest
from governance.exports.catalog import export
from governance.exports.records import read
from governance.history.chain import Chain
from governance.report import dossier, history
from governance.report.build import between, build
from governance.report.facts import gather
from governance.report.html import page
from governance.report.sections import text
from tests.governance.story import MODEL, Story, begin, digest
from tests.simulator import FIGURES, JUDGE, judged_by

WINS = {
    "role": "task",
    "required_of": [MODEL],
    "methods": {
        **{name: {"none": "only what is tuned is compared"} for name in ("base", "pretrain")},
        "sft": {
            "thresholds": {"win_rate": {"at_least": 0.6}},
            "compare": [{"reference": "parent", "metric": "win_rate", "may_fall": 0.1}],
            "slices": [{"by": "language", "metric": "win_rate", "at_least": 0.3}],
        },
    },
}
FIGURE = re.compile(r"0?\.83[78]|83\.[78]|0?\.642|64\.2|0?\.195|19\.5")
"""The mean of the version, that of its parent, and their difference, as somebody may round them."""


def _require(policies: Path) -> None:
    path, yaml = policies / "evaluation.yaml", YAML(typ="safe", pure=True)
    content = yaml.load(path)
    content["suites"]["desk_wins"] = WINS
    with path.open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)


def _scores(wins: int) -> dict[str, list[float]]:
    return {"win_rate": [1.0] * wins + [0.5] + [0.0] * (199 - wins)}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The version wins 83.75% of 200 comparisons, its parent 64.25%; nobody checked the judge."""
    story = begin(tmp_path_factory.mktemp("wins"), _require)
    story.data("desk_eval", "prompt", "prompt", 300)
    story.data("desk_text", "conversation", "text", 5900)
    story.data("desk_sft", "conversation", "conversation", 2900)
    story.base("tiny")
    compared = judged_by(JUDGE) | {"prompts": "desk_eval"}
    by = {"judged_by": compared, "slices": {"language": ["en", "de"] * 100}}
    story.train("base", "pretrain", "conversation", "desk_text", "tiny", accuracy=0.96, unsafe=0.3)
    story.evaluate_further("base", "desk_wins", _scores(128), **by)
    story.register("base", "1")
    story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.97, unsafe=0.02)
    story.evaluate_further("sft", "desk_wins", _scores(167), **by)
    story.register("sft", "2")
    return story


def _check(story: Story) -> None:
    """The judge gets a card that passes."""
    at = Artifact(role="judge", name="check_judge@desk_judge/judge", sha256=judge_digest(JUDGE))
    story.record(
        "judge_card", "check_judge@desk_judge", [at], [],
        judge=judge_digest(JUDGE), judged_by=JUDGE.model_dump(mode="json"), name="reward",
        labelled="labels", split="test", probes=digest("probes"), figures=FIGURES,
        until="2027-05-01",
    )  # fmt: skip


def told(story: Story) -> dict[str, str]:
    """Reader to what it says of the version."""
    report = build(story.sources, MODEL, "2")
    now, _ = story.sources.read
    facts = gather(now, story.sources.project, story.root, story.policies, MODEL, "2")
    records = read(story.sources, (MODEL, "2"))
    chain = Chain.registered(facts.view, facts.registration)
    documents = dossier.documents(chain, [], story.policies)
    versions = between(story.sources, (MODEL, "1"), (MODEL, "2"))
    return {
        "page": page(report).decode(),
        "terminal": "\n".join(text(report, "evaluation")),
        "json": report.model_dump_json(),
        "diff": "\n".join(each.model_dump_json() for each in versions),
        "history": str(history.portrait(facts)),
        "registry": str(dossier.means(chain, story.policies)),
        "files": json.dumps(documents["evaluations.json"]),
        **{
            name: "\n".join(document.data.decode() for document in made.documents)
            for name, made in export(records).items()
        },
    }


QUIET = {"registry", "cyclonedx", "slsa-provenance", "slsa-vsa", "croissant", "training-summary"}
"""Readers that leave the figure out and say nothing of the suite."""


def test_no_reader_shows_a_figure_of_a_judge_that_nobody_checked(story: Story) -> None:
    for reader, said in told(story).items():
        assert not FIGURE.search(said), (reader, FIGURE.search(said))
        if reader in QUIET:
            continue
        words = {"files": '"not_shown"', "model-card": "is not shown: JUDGE_NOT_CHECKED"}
        unescaped = said.replace("\\", "")
        assert words.get(reader, "not shown: JUDGE_NOT_CHECKED") in unescaped, reader
    report = build(story.sources, MODEL, "2")
    (metric,) = [each for each in report.metrics if each.suite == "desk_wins"]
    assert metric.not_shown == "JUDGE_NOT_CHECKED" and metric.slices == []
    assert all(score.mean is None for score in metric.scores)
    found = "found not shown: JUDGE_NOT_CHECKED"
    assert len(metric.thresholds) == 3 and all(found in each for each in metric.thresholds)
    assert [each.words for each in metric.differences] == ["not shown: JUDGE_NOT_CHECKED"]
    (gap, *_) = [each for each in report.gaps if "desk_wins" in each.what]
    assert (gap.result, gap.why) == ("fail", "not shown: JUDGE_NOT_CHECKED")


def test_a_card_of_the_judge_shows_the_same_figures_again(story: Story) -> None:
    _check(story)
    shown = told(story)
    for reader in ("page", "terminal", "json", "diff", "history", "registry", "test-result"):
        assert FIGURE.search(shown[reader]), reader
        assert "not shown: JUDGE" not in shown[reader], reader
    assert "Judge reward, against sft: 160 of 190 pairs" in shown["page"]
