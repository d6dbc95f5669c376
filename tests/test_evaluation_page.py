"""The rows that docs/evaluation.md shows are accepted."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from governance.base.errors import Problems
from governance.policy.policies import load_policies
from pipelines.params import Params, broken_references, load_params
from pipelines.tasks import definition
from tests.conftest import ROOT
from tests.pipelines.tasks.written import write

PAGE = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
BLOCKS: list[dict[str, Any]] = [
    YAML(typ="safe").load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
]
SHIPPED = load_params(ROOT).model_dump(exclude_none=True)
ROWS, POLICY, *_, TASKS, AQUA = BLOCKS


def params(evaluations: dict[str, Any], tasks: dict[str, Any] | None = None) -> Params:
    suites = {**SHIPPED["suites"], **ROWS["suites"]}
    tables = {"suites": suites, "evaluations": evaluations, "tasks": tasks or {}}
    return Params.model_validate({**SHIPPED, **tables})


def test_the_rows_of_the_page_refer_to_what_is_there() -> None:
    assert broken_references(params(ROWS["evaluations"]), ROOT / "params.yaml") == []


@pytest.mark.parametrize(
    "row",
    [
        {"sft": {"model": "dpo", "suite": "desk_sft"}},
        {"again": {"model": "sft", "suite": "desk_eval"}},
        {"a": {"model": "sft", "suite": "desk_sft"}, "b": {"model": "sft", "suite": "desk_sft"}},
        {"a": {"model": "stf", "suite": "desk_sft"}},
        {"a": {"model": "sft", "suite": "desk_stf"}},
    ],
    ids=["a stage's name", "its own suite", "twice", "no model", "no suite"],
)
def test_a_row_that_means_nothing_is_a_mistake(row: dict[str, Any]) -> None:
    (mistake,) = broken_references(params(row), ROOT / "params.yaml")
    assert mistake.exit_code == 2


def test_the_task_of_the_page_is_read_and_its_row_accepted(tmp_path: Path) -> None:
    assert broken_references(params({}, TASKS["tasks"]), ROOT / "params.yaml") == []
    write(tmp_path, AQUA, [])
    assert definition.read(tmp_path, "aqua").split == "test"


@pytest.mark.parametrize(
    "row",
    [
        {"sft": {"model": "dpo", "task": "aqua"}},
        {"other": {"model": "sft", "task": "aqua"}},
        {"a": {"model": "dpo", "task": "desk_sft"}},
        {"a": {"model": "sft", "task": "aqua"}, "b": {"model": "sft", "task": "aqua"}},
        {"a": {"model": "stf", "task": "aqua"}},
    ],
    ids=["a stage's name", "a row's name", "a suite's name", "twice", "no model"],
)
def test_a_row_of_tasks_that_means_nothing_is_a_mistake(row: dict[str, Any]) -> None:
    other = {"other": {"model": "sft", "suite": "desk_sft"}}
    (mistake,) = broken_references(params(other, row), ROOT / "params.yaml")
    assert mistake.exit_code == 2


@pytest.mark.parametrize(("model", "mistakes"), [("support-desk", 0), ("support-dusk", 1)])
def test_the_policy_of_the_page_is_accepted_for_models_that_policy_names(
    model: str, mistakes: int, tmp_path: Path
) -> None:
    policies, yaml = tmp_path / "policies", YAML(typ="safe", pure=True)
    shutil.copytree(ROOT / "policies", policies)
    path = policies / "evaluation.yaml"
    content = yaml.load(path)
    content["suites"] |= POLICY["suites"]
    content["suites"]["desk_sft"]["required_of"] = [model]
    with path.open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)
    if mistakes:
        with pytest.raises(Problems, match="support-dusk"):
            load_policies(policies)
    else:
        assert load_policies(policies).evaluation.required_of(model) == ["desk_sft"]
