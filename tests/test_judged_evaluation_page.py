"""The rows that docs/judged-evaluation.md shows are accepted, and rows that mean nothing are not."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from governance.policy.policies import load_policies
from governance.policy.rules import Endpoint
from pipelines.params import Params, broken_references, load_params
from pipelines.plan.checks import optimised_for
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "judged-evaluation.md").read_text(encoding="utf-8")
ROWS, POLICY, PRICE = (
    YAML(typ="safe").load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
)
SHIPPED = load_params(ROOT).model_dump(exclude_none=True)
FIRST: dict[str, Any] = ROWS["judged"]["dpo_wins"]


def params(judged: dict[str, Any], **tables: Any) -> Params:
    return Params.model_validate({**SHIPPED, "judges": ROWS["judges"], "judged": judged, **tables})


def wrong(judged: dict[str, Any], **tables: Any) -> list[str]:
    found = broken_references(params(judged, **tables), ROOT / "params.yaml")
    return [each.found for each in found]


def test_the_rows_of_the_page_refer_to_what_is_there() -> None:
    assert wrong(ROWS["judged"]) == []
    given = params(ROWS["judged"])
    assert given.further("grpo") == {"grpo_wins": "desk_wins"}
    assert (given.evaluated("grpo_wins"), given.suite_of("grpo_wins")) == ("grpo", "desk_wins")
    assert given.judged_on("desk_eval", "test") == "dpo_wins"


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("a", {"model": "stf"}, "stf"),
        ("a", {"opponent": "stf"}, "stf"),
        ("a", {"opponent": "dpo"}, "itself"),
        ("a", {"prompts": "desk_evil"}, "desk_evil"),
        ("a", {"prompts": "desk_sft"}, "conversation"),
        ("a", {"judge": "other"}, "other"),
        ("a", {"suite": "desk_prompts"}, "name of a dataset"),
        ("sft", {}, "sft"),
    ],
)
def test_a_row_that_means_nothing_is_a_mistake(
    name: str, changes: dict[str, str], says: str
) -> None:
    (found,) = wrong({name: {**FIRST, **changes}})
    assert says in found


def test_a_suite_twice_for_one_model_and_a_name_that_a_row_has_are_mistakes() -> None:
    assert len(wrong({"a": FIRST, "b": FIRST})) == 1
    evaluations = {"a": {"model": "base", "suite": "desk_pref_eval"}}
    assert len(wrong({"a": FIRST}, evaluations=evaluations)) == 1


def test_a_judge_that_is_trained_from_what_it_judges_is_a_circle() -> None:
    """The gate of the judge's training waits for every evaluation of its parent."""
    judges = {"desk_judge": {**ROWS["judges"]["desk_judge"], "judge": "reward"}}
    (found,) = wrong({"a": {**FIRST, "model": "sft", "opponent": "base"}}, judges=judges)
    assert "build on each other" in found and "evaluate_judged@a" in found


@pytest.mark.parametrize(
    ("judge", "rows"),
    [
        ({"judge": "reward"}, ["model grpo on desk_wins"]),
        ({"judge": "reward", "endpoint": "frontier"}, []),
        ({"judge": "base"}, []),
    ],
)
def test_the_plan_names_rows_that_the_reward_model_judges(
    judge: dict[str, str], rows: list[str]
) -> None:
    row = {"constitution": "support-desk", "labelled": "desk_pref_eval", **judge}
    given = params(ROWS["judged"], judges={"desk_judge": row})
    found = [*optimised_for(given, [f"evaluate_judged@{name}" for name in ROWS["judged"]])]
    assert [each.subject for each in found] == rows
    assert {each.code for each in found} <= {"JUDGE_OPTIMISED_FOR"}
    assert [*optimised_for(given, ["train@grpo"])] == []


def test_what_is_made_from_an_optimised_model_is_named_too() -> None:
    stages = {**SHIPPED["stages"], "more": {**SHIPPED["stages"]["dpo"], "parent": "grpo"}}
    judged = {"a": {**FIRST, "model": "more"}}
    judges = {"desk_judge": {**ROWS["judges"]["desk_judge"], "judge": "reward"}}
    del judges["desk_judge"]["endpoint"]
    given = params(judged, judges=judges, stages=stages)
    (found,) = optimised_for(given, ["evaluate_judged@a"])
    assert found.found == "reward model of grpo"


def test_the_price_of_the_page_is_accepted() -> None:
    given = Endpoint.model_validate(PRICE["endpoints"]["frontier"], strict=False)
    assert given.price is not None and given.price.output == 10


def test_the_policy_of_the_page_is_accepted(tmp_path: Path) -> None:
    policies, yaml = tmp_path / "policies", YAML(typ="safe", pure=True)
    shutil.copytree(ROOT / "policies", policies)
    path = policies / "evaluation.yaml"
    content = yaml.load(path)
    content["suites"] |= POLICY["suites"]
    with path.open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)
    assert load_policies(policies).evaluation.required_of("support-desk") == ["desk_wins"]
