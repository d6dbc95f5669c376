"""`countersign upgrade`: what runs again, and the lock."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from governance.base.errors import ConfigError
from governance.base.yaml import read_yaml
from pipelines import lock
from pipelines.commands.upgrade import command
from pipelines.families import all_families
from pipelines.params import load_params
from pipelines.plan.graph import graph
from tests.conftest import ROOT
from tests.project import Project, write_yaml
from tests.project import before_training as before_training  # fixture


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that DVC has made under the lock as it is."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    lock.write(tmp_path)
    entries = read_yaml(tmp_path / lock.FILE)
    made = {
        stage: {"params": {str(lock.FILE): {family: entries[family]}}}
        for stage in graph(load_params(ROOT))
        for family in [stage.partition("@")[0]]
        if not stage.endswith("@grpo")  # it never ran
    }
    (tmp_path / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": made}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def relock(root: Path, family: str, **entry: Any) -> None:
    """As if an older package had written the lock and made the results."""
    content = read_yaml(root / lock.FILE)
    content[family] |= entry
    write_yaml(root / lock.FILE, content)
    made = read_yaml(root / "dvc.lock")
    for stage, kept in made["stages"].items():
        if stage.partition("@")[0] == family:
            kept["params"][str(lock.FILE)][family] = content[family]
    (root / "dvc.lock").write_text(json.dumps(made))


def run(*arguments: str) -> Any:
    result = CliRunner().invoke(command, ["--json", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return json.loads(result.output)


def test_nothing_changed(root: Path) -> None:
    before = (root / lock.FILE).read_bytes()
    said = CliRunner().invoke(command, catch_exceptions=False).output
    assert "up to date" in said
    assert run() | {"unchanged": 0} == {
        "differences": [], "stages": [], "unchanged": 0, "template": None, "written": False,
    }  # fmt: skip
    assert (root / lock.FILE).read_bytes() == before


def test_only_stages_of_a_changed_family_and_those_after_it_run_again(root: Path) -> None:
    relock(root, "evaluate", code="0" * 64)
    answer = run()
    assert [(each["family"], each["part"]) for each in answer["differences"]] == [
        ("evaluate", "code")
    ]
    assert answer["written"]
    stages = {each["stage"]: each["why"] for each in answer["stages"]}
    assert stages["evaluate@sft"] == "changed" and "evaluate@grpo" not in stages
    assert not [stage for stage in stages if stage.startswith(("ingest", "scan_pii", "gate"))]
    assert {why for stage, why in stages.items() if stage.startswith("train")} <= {"after"}
    assert lock.differences(root, list(all_families())) == []
    assert run()["differences"] == []


def test_an_engine_runs_again_what_uses_it(root: Path) -> None:
    engines = lock.read(root).families["fetch"].engines
    relock(root, "fetch", engines={**engines, "datasets": "0.1"})
    relock(root, "report", code="0" * 64)
    answer = run("--dry-run")
    assert {(each["family"], each["name"], each["locked"]) for each in answer["differences"]} == {
        ("fetch", "datasets", "0.1"),
        ("report", "", "0" * 64),
    }
    assert answer["stages"] == []  # nothing was fetched here, and the report is made each time


def test_a_dry_run_writes_nothing_and_says_why(root: Path) -> None:
    relock(root, "scan_pii", code="0" * 64)
    before = (root / lock.FILE).read_bytes()
    said = CliRunner().invoke(command, ["--dry-run"], catch_exceptions=False).output
    assert "scan_pii@desk_sft" in said and "other code" in said and "--dry-run" in said
    assert (root / lock.FILE).read_bytes() == before


def test_results_that_this_code_made_are_kept_when_a_lock_returns_to_it(root: Path) -> None:
    content = read_yaml(root / lock.FILE)
    content["train"]["code"] = "0" * 64  # a branch's lock; DVC's file is this branch's
    write_yaml(root / lock.FILE, content)
    answer = run()
    assert [each["family"] for each in answer["differences"]] == ["train"]
    assert answer["stages"] == []


@pytest.mark.parametrize(
    "text", ["", "stages: 3", "stages: {train@sft: {params: 3}, evaluate@sft: {}}"]
)
def test_results_of_an_unknown_lock_run_again(root: Path, text: str) -> None:
    (root / "dvc.lock").write_text(text, encoding="utf-8")
    relocked = read_yaml(root / lock.FILE)
    relocked["train"]["code"] = "0" * 64
    write_yaml(root / lock.FILE, relocked)
    changed = [each["stage"] for each in run()["stages"] if each["why"] == "changed"]
    assert changed == (["train@sft", "evaluate@sft"] if "sft" in text else [])


def test_it_needs_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"no params\.yaml"):
        run()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_family_whose_code_did_not_change_is_not_run_again(
    before_training: Project, tmp_path: Path
) -> None:
    """With DVC itself: another lock refuses, `upgrade` names the stages, `repro` runs just these."""
    project = before_training.copy(tmp_path)
    project.edit("countersign.lock", lambda file: file["evaluate_base"].update(code="0" * 64))
    done = project.repro("evaluate_base@tiny")
    assert done.code == 2 and "countersign upgrade" in done.out, done.out
    done = project.countersign("stage", "evaluate_base", "tiny")
    assert done.code == 2 and "countersign upgrade" in done.out, done.out
    project.edit("countersign.lock", lambda file: file["gate"].update(code="0" * 64))
    done = project.countersign("gate", "sft", "--dry-run")
    assert done.code == 2 and "countersign upgrade" in done.out, done.out

    def older(file: Any) -> None:
        kept = file["stages"]["evaluate_base@tiny"]["params"]["countersign.lock"]
        kept["evaluate_base"]["code"] = "0" * 64

    project.edit("dvc.lock", older)
    answer = json.loads(project.countersign("upgrade", "--json").out)
    changed = [each["stage"] for each in answer["stages"] if each["why"] == "changed"]
    assert changed == ["evaluate_base@tiny"]
    out = project.made("gate@sft")
    # DVC has the result of this very code from before, and takes it.
    done = [line for line in out.splitlines() if line.startswith("Running") or "is cached" in line]
    ran = {line.split("'")[1] for line in done}
    assert "evaluate_base@tiny" in ran and not {"train@base", "ingest@desk_sft"} & ran, out
