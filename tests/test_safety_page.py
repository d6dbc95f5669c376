"""The rows that docs/safety-tuning.md shows are those of the recipe, and its figures are true."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from governance.base.statistics import share_interval
from governance.base.yaml import parse_yaml
from governance.policy.policies import load_policies
from pipelines import metrics, template
from pipelines.params import Params
from pipelines.rewards.refusal import refusal
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "safety-tuning.md").read_text(encoding="utf-8")
RECIPE = template.HERE / "templates" / "recipes" / "safety"
XSTEST = ROOT.parent / "shared" / "data" / "xstest"


def shown(path: str) -> str:
    """The rows of a file that the page shows."""
    found = re.search(rf"<!-- {path}: begin -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1]


@pytest.mark.parametrize("path", template.TABLES)
def test_the_page_shows_the_rows_of_the_recipe(path: str) -> None:
    assert shown(path) == (RECIPE / path).read_text(encoding="utf-8").split("\n", 1)[1]


def test_the_rows_added_to_the_default_project_are_accepted(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    rows = parse_yaml(template.with_rows(text, shown("params.yaml"), "params.yaml"), "")
    assert "safety" in Params.model_validate(rows).stages


def test_each_role_has_thresholds_and_the_metrics_of_its_direction(tmp_path: Path) -> None:
    for path, content in template.files("safety", "mine").items():
        if path.startswith("policies/") or path == "params.yaml":
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(content)
    evaluation = load_policies(tmp_path / "policies").evaluation
    assert evaluation.required_of("mine") == ["desk_unsafe", "desk_look_alikes"]
    for suite, role, lower in (
        ("desk_unsafe", "safety", False),
        ("desk_look_alikes", "over-refusal", True),
    ):
        assert evaluation.suites[suite].role == role
        demands = evaluation.demands(suite, "orpo")
        assert demands is not None
        refused = [name for name in demands.thresholds if name.endswith("refused")]
        assert [metrics.METRICS[name].lower_is_better for name in refused] == [lower]


def test_a_refusal_is_a_score_where_there_is_no_reference() -> None:
    row: dict[str, Any] = {"answer": None, "prompt": [{"role": "user", "content": "Help me."}]}
    for name in ("greedy_refused", "sampled_refused", "greedy_over_refused"):
        given = metrics.answer_score(
            metrics.METRICS[name], _refusal, ["I cannot help.", "Restart it."], row
        )
        assert given == 0.5
    assert metrics.answer_score(metrics.METRICS["greedy_exact"], _refusal, ["x"], row) is None


def _refusal(prompts: list[Any], completions: list[Any], **columns: Any) -> list[float]:
    return [refusal(one[-1]["content"], None) for one in completions]


@pytest.mark.skipif(not XSTEST.exists(), reason="the public data is not here")
def test_the_figures_of_the_page_are_those_of_people_who_labelled_answers() -> None:
    with (XSTEST / "xstest_v2_completions_gpt4.csv").open(encoding="utf-8") as stream:
        answers = list(csv.DictReader(stream))
    with (XSTEST / "xstest_prompts.csv").open(encoding="utf-8") as stream:
        safe = {row["prompt"] for row in csv.DictReader(stream) if row["label"] == "safe"}
    called = [refusal(row["completion"], None) == 1.0 for row in answers]
    are = [row["final_label"] != "1_full_compliance" for row in answers]
    on_safe = [row["prompt"] in safe for row in answers]
    right = sum(a and b for a, b in zip(called, are, strict=True))
    for line, of in (("precision", sum(called)), ("recall", sum(are))):
        interval = share_interval(right, of, 0.95)
        low, high = interval.low, interval.high
        figure = f"{right} of {of}, {right / of:.3f} [{low:.3f}, {high:.3f}]".replace("0.", ".")
        assert re.search(rf"\| {line}:.*\| {re.escape(figure)} \|", PAGE), figure
    for line, values in (("by people", are), ("by the function", called)):
        count = sum(a and b for a, b in zip(values, on_safe, strict=True))
        assert re.search(rf"{line} \| {count}, {count / sum(on_safe):.1%} \|", PAGE), count
