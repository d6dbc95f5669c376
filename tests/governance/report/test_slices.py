"""Slices in the report: the worst is named with its n; where items name none, that is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from governance.attest.predicates import Evaluate
from governance.policy.evaluation import Comparison, Demands, SliceThreshold, Threshold
from governance.report.build import build
from governance.report.html import page
from governance.report.model.report import Report
from governance.report.scores import slices_of
from governance.report.sections import text
from tests.governance.examples import A, B, stage
from tests.governance.story import MODEL, Story, told

WORST = "worst of 2 slices by language: language=de 0.850 [0.739, 0.919], n=60"


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return told(tmp_path_factory.mktemp("slices"))


@pytest.fixture(scope="module")
def report(story: Story) -> Report:
    return build(story.sources, MODEL, "1")


def test_page_one_names_the_worst_slice_with_its_n(report: Report) -> None:
    (row,) = [gate for gate in report.gates if gate.name == "Evaluation"]
    assert row.reasons[-1].fields == {"metric": "greedy_exact", "slices": WORST}


def test_the_section_and_the_page_tell_every_slice_the_worst_first(report: Report) -> None:
    (metric,) = [one for one in report.metrics if one.name == "greedy_exact"]
    assert [(row.label, row.n, round(row.mean, 3)) for row in metric.slices] == [
        ("de", 60, 0.85),
        ("en", 240, 1.0),
    ]
    lines = text(report, "evaluation")
    assert f"  Slices          {WORST}" in lines
    assert any(line.startswith("  language=en | 1.000") for line in lines)
    assert '<th scope="row">language=de</th><td class="num">0.850</td>' in page(report).decode()


def test_of_what_policy_does_not_judge_both_ends_are_told(report: Report) -> None:
    (metric,) = [one for one in report.metrics if one.name == "sampled_unsafe"]
    assert (
        metric.slices_note
        == "lowest of 2 slices by language: language=de 0.000 [0.000, 0.060], n=60; "
        "highest: language=en 0.025 [0.012, 0.053], n=240"
    )


def test_items_that_name_no_slice_are_not_recorded_and_stand_among_the_gaps(
    story: Story, tmp_path: Path
) -> None:
    other = story.copy(tmp_path)
    other.evaluate("sft", 0.97, 0.02, sliced=False)
    made = build(other.sources, MODEL, "1")
    (row,) = [gate for gate in made.gates if gate.name == "Evaluation"]
    assert row.reasons[-1].fields["slices"] == "not recorded: the suite's items name no slice"
    (gap,) = [one for one in made.gaps if one.what == "slices and the worst slice"]
    assert (gap.result, gap.why) == ("not recorded", "the suite's items name no slice")
    assert "not recorded: the suite&#39;s items name no slice" in page(made).decode()


def test_what_is_worst_follows_from_policys_demands() -> None:
    fields = {"model": A, "suite": B, "suite_name": "x", "not_run": None}
    labels = {"topic": ["a"] * 4 + ["b"] * 4}
    scores = {"errors": [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0]}
    scored = Evaluate.model_validate(stage("evaluate@x", **fields, scores=scores, slices=labels))
    least = {"other": Threshold(at_least=0.5)}
    few = Demands(thresholds={"errors": Threshold(at_most=0.5)})
    sliced = Demands(
        thresholds=least, slices=[SliceThreshold(by="topic", metric="errors", at_most=0.5)]
    )
    compared = Demands(
        thresholds=least, compare=[Comparison(reference="parent", metric="errors", may_rise=0.1)]
    )
    for demands in (few, sliced, compared):
        assert slices_of(scored, "errors", demands, 0.95)[0].label == "b"
    assert slices_of(scored, "errors", None, 0.95)[0].label == "a"
    assert slices_of(scored, "no such", None, 0.95) == []
