"""`countersign repro`: what a kill left in DVC's own files does not stop the next run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.commands import repro
from pipelines.process import RUN
from tests.project import fresh


@pytest.mark.parametrize("left", ["", "{", '{"a": '])
def test_a_table_of_locks_half_written_is_taken_away(
    left: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repro.time, "sleep", lambda seconds: None)
    table = tmp_path / ".dvc" / "tmp" / "rwlock"
    table.parent.mkdir(parents=True)
    table.write_text(left, encoding="utf-8")
    repro._mend_locks(tmp_path)
    assert not table.exists()


def test_a_table_of_locks_that_can_be_read_stays(tmp_path: Path) -> None:
    table = tmp_path / ".dvc" / "tmp" / "rwlock"
    table.parent.mkdir(parents=True)
    table.write_text('{"data": {"write": {"pid": 1}}}', encoding="utf-8")
    repro._mend_locks(tmp_path)
    assert table.exists()
    repro._mend_locks(tmp_path / "nowhere")


@pytest.mark.slow
def test_what_would_refuse_a_run_stops_it_before_dvc(tmp_path: Path) -> None:
    """The check is a command of its own; its message and exit code are those of the run."""
    project = fresh(tmp_path)
    done = project.run("countersign", "repro", "gate@nothing")
    assert done.code == 2
    assert "no stage 'gate@nothing'" in done.out
    assert "Running stage" not in done.out
    unknown = project.run("countersign", "ready", "--", "gate@nothing")
    assert (unknown.code, unknown.out) == (2, done.out)


@pytest.mark.slow
def test_dvc_does_not_warn_of_an_empty_file(tmp_path: Path) -> None:
    """A dataset without slices has one."""
    subprocess.run(
        [sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=tmp_path, check=True
    )
    (tmp_path / "slices.jsonl").touch()
    (tmp_path / "dvc.yaml").write_text("stages: {read: {cmd: ls, deps: [slices.jsonl]}}")

    def repro_with(module: str) -> str:
        command = [sys.executable, "-m", module, "repro", "--force"]
        environ = {**os.environ, RUN: str(os.getpid())}
        done = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
        )
        return done.stdout + done.stderr

    assert "is empty" in repro_with("dvc")
    assert "is empty" not in repro_with("pipelines.commands.dvc_process")
