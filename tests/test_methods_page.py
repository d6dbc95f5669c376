"""The rows that docs/choosing-a-method.md shows resolve, meet a threshold, and train."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from governance.policy.policies import load_policies
from pipelines.params import Params, load_params
from pipelines.training import objective
from pipelines.training.methods import METHODS
from tests.conftest import ROOT
from tests.project import Project, fresh, write_yaml

PAGE = (ROOT / "docs" / "choosing-a-method.md").read_text(encoding="utf-8")
ROWS: dict[str, Any] = {
    name: row
    for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    for name, row in YAML(typ="safe").load(block).items()
}
SHIPPED = load_params(ROOT).model_dump(exclude_none=True)
NEW = {name: row for name, row in ROWS.items() if name not in SHIPPED["stages"]}


def test_the_page_and_the_default_project_have_a_row_of_every_method() -> None:
    rows = {**SHIPPED["stages"], **ROWS}
    assert {row["method"] for row in rows.values()} == set(METHODS)
    named = re.findall(r"^\| (`[a-z`, ]+) \|", PAGE, re.MULTILINE)
    assert set(re.findall(r"[a-z]+", " ".join(named))) | {"pretrain"} == set(METHODS)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_resolves_and_policy_has_thresholds_for_it(name: str) -> None:
    given = copy.deepcopy({**SHIPPED, "stages": {**SHIPPED["stages"], **ROWS}})
    _split_for_selection(given)
    params = Params.model_validate(given)
    resolved = objective.resolve(params, name)
    policies = load_policies(ROOT / "policies")
    demands = policies.evaluation.demands(ROWS[name]["suite"], resolved.method)
    assert demands and demands.thresholds
    permitted = policies.rules.rewards
    assert permitted is None or {reward.name for reward in resolved.rewards} <= set(permitted)


def _split_for_selection(params: dict[str, Any]) -> None:
    """As the page says of rows that select the best step, or stop by a suite."""
    split = {"train": 0.9, "validation": 0.1, "test": 0}
    for row in params["stages"].values():
        if "select" in row or "suite" in row.get("stop", {}):
            params["datasets"][row["data"]]["splits"] = split


FEW = {"max_steps": 2, "per_device_train_batch_size": 4}
"""Steps of a test."""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The small project with the page's rows and what they need, at a few steps each."""
    made = fresh(tmp_path)
    suites = ("desk_eval", "desk_pref_eval")

    def add(params: dict[str, Any]) -> None:
        stages = {**{"reward": SHIPPED["stages"]["reward"]}, **NEW}
        for name, row in stages.items():
            few = {**FEW, "num_generations": 2} if METHODS[row["method"]].rewards else FEW
            params["stages"][name] = {**row, "trainer": {**row["trainer"], **few}}
            if "select" in row:
                params["stages"][name]["select"] = {**row["select"], "every": 1}
        for name in {"desk_pref_eval", *(row["data"] for row in stages.values())}:
            params["datasets"][name] = SHIPPED["datasets"][name]
            if name in SHIPPED["samples"]:
                params["samples"][name] = {**SHIPPED["samples"][name], "n": 200}
        _split_for_selection(params)
        params["samples"]["desk_pref"] = {**SHIPPED["samples"]["desk_pref"], "n": 200}
        params["suites"]["desk_pref_eval"] = SHIPPED["suites"]["desk_pref_eval"]

    def demand_nothing(policy: dict[str, Any]) -> None:
        for suite in suites:
            for method in policy["suites"][suite]["methods"]:
                policy["suites"][suite]["methods"][method] = {"none": "a few steps show nothing"}

    made.edit("params.yaml", add)
    made.edit("policies/evaluation.yaml", demand_nothing)
    for name in YAML(typ="safe").load(made.root / "params.yaml")["datasets"]:
        card = ROOT / "policies" / "datacards" / f"{name}.yaml"
        write_yaml(made.root / "policies" / "datacards" / card.name, YAML(typ="safe").load(card))
    made.commit("rows of the page")
    return made


@pytest.mark.slow
@pytest.mark.nightly
def test_every_row_of_the_page_trains_and_is_evaluated(project: Project) -> None:
    project.made(*(f"evaluate@{name}" for name in NEW))
    trained = {item.predicate.stage for item in project.evidence("train")}
    scored = {item.predicate.stage for item in project.evidence("evaluate")}
    assert {f"train@{name}" for name in NEW} <= trained
    assert {f"evaluate@{name}" for name in NEW} <= scored
