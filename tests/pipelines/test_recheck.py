"""Gates are decided again at each repro, and run where their answer changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from governance.base.errors import ConfigError
from pipelines import paths
from tests.project import Project


@pytest.fixture
def project(small: Project, tmp_path: Path) -> Project:
    return small.copy(tmp_path)


def rechecked(project: Project) -> dict[str, Any]:
    done = project.countersign("stage", "recheck")
    assert done.code == 0, done.out
    files = (project.root / paths.RECHECKED).iterdir()
    return {file.stem: json.loads(file.read_bytes()) for file in files}


def codes(reasons: dict[str, Any]) -> set[str]:
    return {code for code, subject in reasons["findings"]}


def test_where_nothing_speaks_against_a_gate_its_file_is_empty(project: Project) -> None:
    before = project.said()
    assert rechecked(project) == {"base": {}, "sft": {}}
    assert project.said() == before


def test_what_the_log_or_policy_says_now_is_in_the_file(project: Project) -> None:
    project.edit("policies/datacards/desk_sft.yaml", lambda card: card.pop("licence"))
    assert codes(rechecked(project)["base"]) == {"DATACARD_INCOMPLETE"}
    shutil.rmtree(project.home)
    assert {"EVIDENCE_MISSING", "GATE_MISSING"} <= codes(rechecked(project)["sft"])


def test_an_answer_written_by_hand_is_found(project: Project) -> None:
    gate = project.root / paths.gate("sft")
    gate.write_bytes((project.root / paths.gate("base")).read_bytes())
    assert codes(rechecked(project)["sft"]) == {"EVIDENCE_INCONSISTENT"}


def test_a_gate_without_its_inputs_is_left_to_dvc(project: Project) -> None:
    shutil.rmtree(project.root / paths.model("base"))
    assert rechecked(project)["sft"] == {}


def test_a_gate_that_cannot_be_decided_says_so(project: Project) -> None:
    project.edit("params.yaml", lambda params: params["stages"]["sft"].update(method="grpo"))
    assert rechecked(project) == {"base": {}, "sft": {"error": ConfigError.exit_code}}


@pytest.mark.slow
def test_dvc_runs_a_gate_where_its_answer_changed(project: Project) -> None:
    """What changes here is outside of what DVC sees: the log."""
    decided = project.said()
    done = project.run("dvc", "repro", "gate@sft")
    assert done.code == 0 and "Running stage 'recheck'" in done.out, done.out
    assert "Stage 'gate@sft' didn't change" in done.out and project.said() == decided
    shutil.rmtree(project.home)
    done = project.run("dvc", "repro", "gate@sft")
    assert done.code != 0 and "gate@base refused" in done.out, done.out
    assert ("gate", "gate@base", False) in project.said()
    assert not (project.root / paths.gate("base")).exists()


@pytest.mark.slow
def test_a_gate_is_decided_although_dvc_has_its_answer_of_earlier_files(project: Project) -> None:
    """DVC takes a known result from an earlier run; what a gate says is none."""
    params = project.root / "params.yaml"
    before = params.read_bytes()
    for seed in (7, None):
        if seed:
            project.edit("params.yaml", lambda params: params["stages"]["sft"].update(seed=7))
        else:
            params.write_bytes(before)
        decided = len(project.evidence("gate"))
        done = project.run("dvc", "repro", "--single-item", "gate@sft")
        assert done.code == 0 and "Running stage 'gate@sft'" in done.out, done.out
        assert len(project.evidence("gate")) == decided + 1
