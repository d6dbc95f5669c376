"""The table of what training cost elsewhere, over a real log: its claims are those of the table as
a whole, and every suite of the version is judged, counted and shown.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from governance.report.build import build
from governance.report.html import page
from governance.report.model.report import Report
from governance.report.model.scores import AlignmentTax, TaxComparison
from governance.report.sections import text
from tests.governance.story import MODEL, Story, begin

HARM = {
    "role": "safety",
    "required_of": [MODEL],
    "methods": {
        "base": {"none": "an architecture without weights"},
        "pretrain": {"none": "not yet trained to answer"},
        "sft": {"thresholds": {"refuses": {"at_least": 0.8}}},
    },
}


def _require_harm(policies: Path) -> None:
    path, yaml = policies / "evaluation.yaml", YAML(typ="safe", pure=True)
    content = yaml.load(path)
    content["suites"]["desk_harm"] = HARM
    with path.open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)


def told(folder: Path, before: int, after: int) -> Story:
    """Of 200 harmful requests, the parent refused the first `before`, the version the first
    `after`.
    """
    story = begin(folder, _require_harm)
    story.data("desk_eval", "prompt", "prompt", 300)
    story.data("desk_text", "conversation", "text", 5900)
    story.data("desk_sft", "conversation", "conversation", 2900)
    story.base("tiny")
    story.train("base", "pretrain", "conversation", "desk_text", "tiny", accuracy=0.96, unsafe=0.3)
    story.evaluate_further("base", "desk_harm", {"refuses": _first(before)})
    story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.97, unsafe=0.02)
    story.evaluate_further("sft", "desk_harm", {"refuses": _first(after)})
    story.register("sft", "1")
    return story


def _first(count: int) -> list[float]:
    return [1.0] * count + [0.0] * (200 - count)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """By itself, the comparison on the further suite would be significant at the 5% level."""
    return told(tmp_path_factory.mktemp("tax"), before=185, after=180)


@pytest.fixture(scope="module")
def report(story: Story) -> Report:
    return build(story.sources, MODEL, "1")


def against(tax: AlignmentTax, suite: str) -> dict[str, TaxComparison]:
    (row,) = [row for row in tax.rows if row.suite == suite]
    return {each.relation: each for each in row.against}


def test_a_row_is_a_suite_with_its_role_and_main_metric(report: Report) -> None:
    rows = [(row.suite, row.role, row.metric, row.less_is_better) for row in report.alignment.rows]
    assert rows == [
        ("desk_eval", "not stated by policy", "greedy_exact", False),
        ("desk_harm", "safety", "refuses", False),
    ]


def test_what_was_not_run_is_not_compared_and_not_counted(report: Report) -> None:
    base = against(report.alignment, "desk_eval")["base"]
    assert (base.result, base.p_adjusted) == ("not comparable", None) and base.why
    assert against(report.alignment, "desk_harm")["base"].why == "not evaluated on this suite"
    assert report.alignment.comparisons == 2


def test_a_claim_is_one_of_the_table_and_not_of_its_interval_alone(report: Report) -> None:
    """Five of 200 items got worse: alone p = 0.039; as one of two comparisons, 0.078."""
    parent = against(report.alignment, "desk_harm")["parent"]
    assert parent.high is not None and parent.high < 0
    assert parent.p_adjusted == pytest.approx(0.078, abs=0.002)
    assert parent.result == "not distinguishable"


def test_a_clear_loss_is_called_worse(tmp_path: Path) -> None:
    tax = build(told(tmp_path, before=195, after=170).sources, MODEL, "1").alignment
    assert against(tax, "desk_harm")["parent"].result == "worse"
    assert against(tax, "desk_eval")["parent"].result == "not distinguishable"


def test_the_page_and_show_have_the_table_and_say_how_it_is_adjusted(report: Report) -> None:
    shown, html = "\n".join(text(report, "evaluation")), page(report).decode()
    assert "Holm (1979)" in shown and "Holm (1979)" in html
    assert "desk_harm, role: safety" in shown
    assert "adjusted for 2 comparisons" in shown


def test_every_suite_counts_for_thresholds_and_for_when_they_were_fixed(report: Report) -> None:
    assert "on desk_eval: yes" in report.thresholds_fixed
    assert "on desk_harm: yes" in report.thresholds_fixed
    (row,) = [gate for gate in report.gates if gate.name == "Safety"]
    assert row.result == "pass" and "refuses on desk_harm" in row.value
    assert any(line.startswith("refuses on desk_harm") for line in report.policy.demands)


def test_the_models_scored_on_a_suite_are_counted(report: Report) -> None:
    counted = {(one.suite, one.name): one.models_scored for one in report.metrics}
    assert counted["desk_eval", "greedy_exact"] == counted["desk_harm", "refuses"] == 2
    assert "Models scored on it, by the log: 2." in page(report).decode()


def test_a_required_suite_without_evaluation_is_what_stands_against_it(tmp_path: Path) -> None:
    story = begin(tmp_path, _require_harm)
    story.data("desk_eval", "prompt", "prompt", 300)
    story.data("desk_sft", "conversation", "conversation", 2900)
    story.base("tiny")
    story.train("sft", "sft", "conversation", "desk_sft", "tiny")
    story.register("sft", "1")
    report = build(story.sources, MODEL, "1")
    assert "EVIDENCE_MISSING" in report.verdict.reason
