"""`countersign.lock`: what is installed must be what the project was locked to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from governance.base.errors import ConfigError, CountersignError
from governance.base.progress import Progress
from governance.base.yaml import read_yaml
from governance.log.evidence import key_ring
from governance.log.views import log_evidence
from governance.machine.machine import open_log
from pipelines import lock
from pipelines.families import all_families, names
from pipelines.harness import run_stage
from pipelines.job import Job, Outcome
from pipelines.project import open_project
from pipelines.stages import import_base
from tests.conftest import ROOT
from tests.pipelines.jobs import NOW
from tests.project import write_yaml


@pytest.fixture
def root(tmp_path: Path) -> Path:
    lock.write(tmp_path)
    return tmp_path


def edit(root: Path, change: Callable[[Any], None]) -> None:
    content = read_yaml(root / lock.FILE)
    change(content)
    write_yaml(root / lock.FILE, content)


def test_the_lock_of_this_repository_is_up_to_date() -> None:
    differing = lock.in_words(lock.differences(ROOT, names()))
    assert not differing, f"run `countersign upgrade` and commit countersign.lock: {differing}"


def test_what_is_written_is_what_is_installed(root: Path) -> None:
    assert lock.differences(root, names()) == []
    assert lock.mistake(root, names()) is None
    assert list(lock.read(root).families) == list(names())
    for name, family in all_families().items():
        lock.check(root, name)
        assert set(lock.read(root).families[name].engines) == {
            *family.engines,
            *family.optional_engines,
        }


def test_a_build_for_another_platform_is_the_same_version(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.metadata

    version = importlib.metadata.version

    def other(name: str) -> str:
        return f"{version(name).partition('+')[0]}+cu130" if name == "torch" else version(name)

    monkeypatch.setattr(importlib.metadata, "version", other)
    lock.check(root, "train")
    assert lock.engines("train")["torch"].endswith("+cu130")  # a statement has all of it


def other_code(content: Any) -> None:
    content["train"]["code"] = "0" * 64


def other_engine(content: Any) -> None:
    content["train"]["engines"]["trl"] = "0.1"


def no_family(content: Any) -> None:
    del content["train"]


def one_engine_more(content: Any) -> None:
    content["train"]["engines"]["apex"] = "1.0"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_code, "other code"),
        (other_engine, "locked: 0.1"),
        (no_family, "no entry"),
        (one_engine_more, "apex not used"),
    ],
)
def test_a_difference_is_refused_for_that_family_alone(
    root: Path, change: Callable[[Any], None], said: str
) -> None:
    edit(root, change)
    with pytest.raises(ConfigError, match=said) as caught:
        lock.check(root, "train")
    assert caught.value.where == "countersign.lock" and "countersign upgrade" in caught.value.fix
    lock.check(root, "evaluate")
    assert {each.family for each in lock.differences(root, names())} == {"train"}


def test_a_family_without_an_entry_is_one_difference(root: Path) -> None:
    edit(root, lambda content: content.pop("train"))
    assert lock.in_words(lock.differences(root, names())) == ["no entry (train)"]


def test_a_project_without_a_lock_is_told_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no lock") as caught:
        lock.check(tmp_path, "gate")
    assert "countersign upgrade" in caught.value.fix


@pytest.mark.parametrize(
    "text",
    [
        "train: {code: abc}",
        "train: [1]",
        "- train",
        "train: {code: 1, more: 2}",
        "train: {code: &a x, engines: *a}",
        "{",
        "<<<<<<< HEAD\ntrain: {}\n=======\n",
    ],
)
def test_a_spoiled_lock_is_a_mistake_with_its_place(root: Path, text: str) -> None:
    (root / lock.FILE).write_text(text, encoding="utf-8")
    with pytest.raises(CountersignError) as caught:
        lock.check(root, "train")
    assert caught.value.exit_code == 2 and "countersign.lock" in str(caught.value)


def test_a_lock_that_changes_during_a_run_keeps_no_result(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else DVC would keep the result of one code under the entry of another."""
    shutil.copytree(ROOT / "policies", root / "policies")
    shutil.copy(ROOT / "params.yaml", root)
    environ = {"COUNTERSIGN_HOME": str(root / "home"), "COUNTERSIGN_REQUESTER": "ada"}
    project, real = open_project(root, environ), import_base.run

    def locked_anew(job: Job) -> Outcome:
        edit(root, lambda content: content["import_base"].update(code="0" * 64))
        return real(job)

    monkeypatch.setattr(import_base, "FAMILY", replace(import_base.FAMILY, run=locked_anew))
    with pytest.raises(ConfigError, match="differs from the lock"):
        run_stage("import_base", "tiny", project, lambda: NOW, Progress())
    assert not (root / "models/tiny/model").exists()
    log = open_log(project.machine, project.policies, lambda: NOW)
    assert not list(log_evidence(log, key_ring(log, project.policies.keys)).all("base"))
