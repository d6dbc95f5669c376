"""A stage that stops publishes nothing, is recorded as a failure with its counts, and exits with
9. Rows of the data stand in the terminal only.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from governance.attest.predicates import Failure
from governance.base.errors import StorageError
from governance.base.progress import Progress
from governance.log.evidence import Evidence, key_ring
from governance.log.views import log_evidence
from governance.machine.machine import open_log
from pipelines import harness, lock
from pipelines.failures import ROWS_SHOWN, StoppedError, not_finite
from pipelines.harness import run_stage
from pipelines.job import Job, Outcome
from pipelines.project import Project, open_project
from pipelines.stages import import_base
from tests.conftest import ROOT
from tests.kept import share

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
PLACES = [f"pairs.jsonl:{row}" for row in range(1, 13)]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "project"
    shutil.copytree(ROOT / "policies", root / "policies")
    shutil.copy(ROOT / "params.yaml", root / "params.yaml")
    lock.write(root)
    share(tmp_path / "home")
    return open_project(
        root, {"COUNTERSIGN_HOME": str(tmp_path / "home"), "COUNTERSIGN_REQUESTER": "ada"}
    )


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage that writes its output and work to go on with, and then stops."""

    def run(job: Job) -> Outcome:
        job.output("model").mkdir()
        (job.output("model") / "config.json").write_text("{}", encoding="utf-8")
        (job.scratch / "checkpoint").write_text("x", encoding="utf-8")
        raise not_finite(job.name, "the loss", "nan", step=3, counts={"records": 8}, rows=PLACES)

    monkeypatch.setattr(import_base, "FAMILY", replace(import_base.FAMILY, run=run))


def attempt(project: Project) -> StoppedError:
    with pytest.raises(StoppedError) as caught:
        run_stage("import_base", "tiny", project, lambda: NOW, Progress())
    return caught.value


def failures(project: Project) -> list[Evidence[Failure]]:
    log = open_log(project.machine, project.policies, lambda: NOW)
    return list(log_evidence(log, key_ring(log, project.policies.keys)).all(Failure))


@pytest.mark.slow
@pytest.mark.usefixtures("stopping")
def test_a_stage_that_stops_is_recorded_and_publishes_nothing(project: Project) -> None:
    error = attempt(project)
    assert error.exit_code == 9
    assert "at step 3: the loss (nan)" in str(error) and "pairs.jsonl:1," in str(error)
    assert f"and {len(PLACES) - ROWS_SHOWN} more" in str(error)
    assert not (project.root / "models").exists()
    (failure,) = failures(project)
    stated = failure.predicate
    assert (stated.stage, stated.step, stated.counts) == ("import_base@tiny", 3, {"records": 8})
    assert [finding.code for finding in stated.findings] == ["NON_FINITE"]
    assert stated.parameters["source"] == "builtin:tiny"
    assert "pairs.jsonl" not in stated.model_dump_json()


@pytest.mark.slow
@pytest.mark.usefixtures("stopping")
def test_the_same_failure_again_is_one_entry_and_takes_up_no_work(project: Project) -> None:
    attempt(project)
    assert not list((project.machine.state / "scratch").glob("*/checkpoint"))
    attempt(project)
    assert len(failures(project)) == 1


@pytest.mark.usefixtures("stopping")
def test_a_log_that_fails_does_not_hide_why_the_stage_stopped(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(harness, "_append", full)
    assert "the loss (nan)" in str(attempt(project))
    assert failures(project) == []
