"""dvc.yaml says what the stages are: the same inputs, outputs and parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from governance.base.yaml import read_yaml
from pipelines.families import all_families, family, names
from pipelines.params import (
    Evaluation,
    Generate,
    JudgeCheck,
    JudgedEvaluation,
    Params,
    TaskEvaluation,
    load_params,
)
from pipelines.paths import HELD_OUT, RECHECKED
from pipelines.plan.graph import graph
from tests.conftest import ROOT

FAMILIES = all_families()
ALWAYS = {name for name, declared in FAMILIES.items() if declared.may_always_run}


@pytest.fixture(scope="module")
def stages() -> dict[str, Any]:
    stages: dict[str, Any] = read_yaml(ROOT / "dvc.yaml")["stages"]
    return stages


@pytest.fixture(scope="module")
def params() -> Params:
    """Those of the default project, and rows of the tables that are empty there."""
    params = load_params(ROOT)
    row = Generate(
        kind="pairs", prompts="desk_prompts", constitution="desk", generator="sft", judge="reward"
    )
    further = {
        f"{model}_more": Evaluation(model=model, suite="desk_eval") for model in ("sft", "reward")
    }
    judge = JudgeCheck(judge="reward", constitution="desk", labelled="desk_pref_eval")
    wins = JudgedEvaluation(
        model="dpo", suite="wins", prompts="desk_eval", opponent="sft", judge="desk_judge"
    )
    tasks = {"sft_aqua": TaskEvaluation(model="sft", task="aqua")}
    more = {"judges": {"desk_judge": judge}, "judged": {"dpo_wins": wins}, "tasks": tasks}
    return params.model_copy(update={"generate": {"desk_ai": row}, "evaluations": further, **more})


def bodies(stages: dict[str, Any], name: str) -> dict[str, Any]:
    body: dict[str, Any] = stages[name].get("do", stages[name])
    return body


def rows(params: Params, stages: dict[str, Any], name: str) -> dict[str, Any]:
    """The rows of a foreach, as plain values; one nameless row for a single stage."""
    table = stages[name].get("foreach", "").strip("${}")
    assert table == FAMILIES[name].table
    return getattr(params, table) if table else {"": None}


def filled(texts: list[Any], key: str, row: Any) -> set[str]:
    """Paths of a stage's `deps` or `outs` with DVC's templates filled in."""
    found = set()
    for text in (next(iter(item)) if isinstance(item, dict) else item for item in texts):
        for name in type(row).model_fields if row is not None else ():
            text = text.replace(f"${{item.{name}}}", str(getattr(row, name)))
        found.add(text.replace("${key}", key))
    return found


def covered(path: Path, named: set[str]) -> bool:
    return any(parent.as_posix() in named for parent in (path, *path.parents))


def behind_held_out(stages: dict[str, Any], params: Params) -> set[str]:
    """What the stages read that write into `data/held_out`: DVC sees it through their files."""
    found = set()
    for name in ("suite", "scan_task"):
        for key, row in rows(params, stages, name).items():
            found |= filled(bodies(stages, name)["deps"], key, row)
    return found


def test_dvc_yaml_names_every_family(stages: dict[str, Any]) -> None:
    assert sorted(stages) == list(names())


@pytest.mark.parametrize("name", names())
def test_inputs_and_outputs_are_those_of_the_stage_module(
    name: str, stages: dict[str, Any], params: Params
) -> None:
    body = bodies(stages, name)
    for key, row in rows(params, stages, name).items():
        deps = filled(body.get("deps", []), key, row)
        if name == "evaluate_judged":  # the judge's card names the judge and what it compares by
            checked = bodies(stages, "check_judge")["deps"]
            deps |= filled(checked, row.judge, params.judges[row.judge])
        made = [*body.get("outs", []), *body.get("metrics", []), *body.get("plots", [])]
        outs = filled(made, key, row)
        inputs, outputs = family(name).inputs(params, key), family(name).outputs(params, key)
        deps |= behind_held_out(stages, params) if HELD_OUT.as_posix() in deps else set()
        missing = [item.path for item in inputs if not covered(item.path, deps)]
        assert name in ALWAYS or not missing, f"{name}@{key}: not among its deps"
        strays = [item.path for item in outputs if not covered(item.path, outs)]
        assert not strays, f"{name}@{key}: not among its outs"


def test_a_generated_dataset_waits_for_every_evaluation_of_its_models(params: Params) -> None:
    reads = graph(params)["generate@desk_ai"]
    assert {"evaluate_further@sft_more", "evaluate_further@reward_more"} <= reads


def test_a_judged_evaluation_waits_for_the_check_of_its_judge(params: Params) -> None:
    reads = graph(params)["evaluate_judged@dpo_wins"]
    assert {"check_judge@desk_judge", "train@dpo", "train@sft"} <= reads
    assert "evaluate_judged@dpo_wins" in graph(params)["gate@grpo"]


def test_another_report_of_a_check_runs_no_training_or_evaluation(stages: dict[str, Any]) -> None:
    """They depend on the checked records alone. A gate, which costs little, may run again."""
    whole = {
        name
        for name in stages
        for dependency in bodies(stages, name).get("deps", [])
        if Path(dependency).parent == Path("data/ready")
    }
    assert whole == {"gate"}


@pytest.mark.parametrize("maker", ["suite@desk_eval", "suite@desk_pref_eval", "scan_task@sft_aqua"])
def test_every_dataset_to_train_on_waits_for_every_suite_and_task(
    maker: str, params: Params
) -> None:
    stages = graph(params)
    waiting = {name for name in params.datasets if maker in stages[f"check_quality@{name}"]}
    assert waiting == {name for name, row in params.datasets.items() if row.splits.train}


def test_generated_data_is_made_again_where_policy_permits_other_endpoints(
    stages: dict[str, Any],
) -> None:
    assert {"policies/policy.yaml": ["endpoints"]} in bodies(stages, "generate")["params"]


@pytest.mark.parametrize("name", names())
def test_each_stage_tracks_the_lock_of_its_family_and_names_no_code(
    name: str, stages: dict[str, Any]
) -> None:
    body = bodies(stages, name)
    assert {"countersign.lock": [name]} in body["params"]
    assert not [dep for dep in body.get("deps", []) if dep.startswith(("pipelines", "governance"))]


@pytest.mark.parametrize("name", sorted(set(names()) - ALWAYS))
def test_a_family_names_the_tables_that_dvc_tracks_for_it(
    name: str, stages: dict[str, Any]
) -> None:
    """Their defaults are part of the family's entry in the lock."""
    params = [text for text in bodies(stages, name)["params"] if isinstance(text, str)]
    tables = {text.partition(".")[0] for text in params}
    declared = FAMILIES[name]
    assert tables - {declared.table} == set(declared.settings)


@pytest.mark.parametrize("name", names())
def test_families_that_always_run_say_so_to_dvc(name: str, stages: dict[str, Any]) -> None:
    assert bodies(stages, name).get("always_changed", False) == FAMILIES[name].always_runs


@pytest.mark.parametrize("name", sorted(name for name in ALWAYS if FAMILIES[name].is_rechecked))
def test_families_that_are_rechecked_read_the_answer_and_are_taken_from_no_earlier_run(
    name: str, stages: dict[str, Any]
) -> None:
    body = bodies(stages, name)
    assert f"{RECHECKED}/${{key}}.json" in body["deps"]
    assert all(out == {path: {"persist": True}} for out in body["outs"] for path in out)
