"""A model is evaluated on a local task of lm-evaluation-harness, through the real graph."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import pytest

from governance.attest.digests import sha256_file, tree_digest
from governance.attest.predicates import Evaluate, Registration
from governance.base.errors import ConfigError
from pipelines import lock
from pipelines.params import load_params
from pipelines.tasks import definition
from tests.pipelines.tasks.written import CHOICE, TEXT, write
from tests.project import Project

ROW = "sft_colours"
ITEMS = [{"question": f"Number {n}?", "options": ["one", "two"], "right": n % 2} for n in range(60)]


@pytest.fixture(scope="module")
def evaluated(before_registering: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small project with a task that policy requires."""
    pytest.importorskip("lm_eval")
    project = before_registering.copy(tmp_path_factory.mktemp("task"))
    write(project.root, CHOICE, ITEMS)
    write(
        project.root,
        TEXT,
        [{"question": "Who?", "answer": "me"}, {"question": "Why?", "answer": "so"}],
    )
    project.edit("params.yaml", _add_row)
    project.edit("policies/evaluation.yaml", _require)
    project.commit("a task")
    return project


def _add_row(params: dict[str, Any]) -> None:
    params["tasks"] = {
        ROW: {"model": "sft", "task": "colours"},
        "sft_words": {"model": "sft", "task": "words"},
    }


def _require(policy: dict[str, Any]) -> None:
    why = "only what is released is scored on it"
    policy["suites"]["colours"] = {
        "role": "regression",
        "required_of": ["support-desk"],
        "methods": {
            **{method: {"none": why} for method in ("base", "pretrain")},
            "sft": {"thresholds": {"acc": {"at_least": 0.1}}},
        },
    }


@pytest.mark.slow
def test_registration_comes_after_the_task_and_names_it(evaluated: Project) -> None:
    evaluated.made("register")
    (trained,) = [
        item
        for item in evaluated.evidence("quality")
        if item.predicate.stage == "check_quality@desk_sft" and len(item.predicate.compared) > 1
    ]
    (asked,) = [
        item.predicate.parameters["compared"]
        for item in evaluated.evidence("gate")
        if item.predicate.stage == "gate@sft" and len(item.predicate.parameters["compared"]) > 1
    ]
    stated = [suite.model_dump(mode="json") for suite in trained.predicate.compared]
    assert {each["name"]: each for each in stated} == {each["name"]: each for each in asked}
    assert {each["name"] for each in stated} == {"desk_eval", "colours", "words"}
    scans = [
        item.predicate for item in evaluated.evidence("scan") if "task" in item.predicate.stage
    ]
    assert {scan.dataset for scan in scans} == {"colours", "words"}
    assert all(scan.passed for scan in scans)
    (scored,) = [
        item
        for item in evaluated.evidence("evaluate")
        if item.predicate.stage == f"evaluate_task@{ROW}"
    ]
    said: Evaluate = scored.predicate
    folder = evaluated.root / "tasks" / "colours"
    assert said.suite_name == "colours" and len(said.scores["acc"]) == len(ITEMS)
    assert said.environment.versions["lm-eval"] == importlib.metadata.version("lm-eval")
    assert {each.role: each.sha256 for each in said.inputs}["task"] == tree_digest(folder)
    files = {name: sha256_file(folder / name) for name in ("task.yaml", "test.jsonl")}
    assert said.parameters["files"] == files
    (registered,) = evaluated.evidence("registration")
    registration: Registration = registered.predicate
    further, words = registration.further
    assert (words.stage, words.name) == ("evaluate_task@sft_words", "words")
    assert (further.stage, further.name, further.digest) == (said.stage, "colours", said.suite)
    assert further.harness == "lm-eval" and scored.index < registered.index
    assert scored.digest in {link.sha256 for link in registration.chain}
    kept = {each.path for each in registration.dvc.objects} if registration.dvc else set()
    assert {f"evaluations/sft/{ROW}/scores.jsonl", "tasks/colours"} <= kept
    shown = evaluated.countersign("show", "support-desk/1", "evaluation")
    assert "colours" in shown.out and "acc" in shown.out
    assert evaluated.countersign("verify").code == 0


@pytest.mark.slow
def test_the_answers_to_a_task_are_shown(evaluated: Project) -> None:
    shown = evaluated.countersign("answers", "sft_words", "--text")
    assert shown.code == 0 and "sft_words on words: 2 items, 2 answers" in shown.out
    assert "exact_match" in shown.out and "greedy" in shown.out and "dvc pull" not in shown.out


@pytest.mark.slow
def test_a_changed_task_is_out_of_date_for_what_builds_on_the_model(evaluated: Project) -> None:
    project, row = evaluated, load_params(evaluated.root).tasks[ROW]
    before = definition.suite_digest(row, tree_digest(project.root / "tasks" / "colours"))
    write(project.root, CHOICE, ITEMS[:-1])
    after = definition.suite_digest(row, tree_digest(project.root / "tasks" / "colours"))
    assert before != after
    refused = project.countersign("stage", "register", "support-desk")
    assert refused.code == 4 and "EVALUATION_OUT_OF_DATE" in refused.out


def test_a_missing_library_is_said_before_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock.write(tmp_path)
    version = importlib.metadata.version

    def without(name: str) -> str:
        if name == "lm-eval":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without)
    with pytest.raises(ConfigError, match=r"lm-eval is not installed.*\n.*\[lm-eval\]"):
        lock.check(tmp_path, "evaluate_task")
    lock.check(tmp_path, "evaluate_further")
    lock.write(tmp_path)
    assert "lm-eval" not in (tmp_path / lock.FILE).read_text(encoding="utf-8")
