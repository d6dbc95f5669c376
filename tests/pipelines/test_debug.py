"""COUNTERSIGN_DEBUG shows the traceback of an error, for commands and stages; exit codes stay."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kept import share

MAIN = "from pipelines.cli import main; main()"


@pytest.mark.slow
@pytest.mark.parametrize("command", [["status"], ["stage", "ingest", "desk_sft"]], ids=" ".join)
@pytest.mark.parametrize(("setting", "shown"), [("1", True), ("true", True), ("0", False)])
def test_an_error_shows_its_traceback_only_when_asked(
    command: list[str], setting: str, shown: bool, tmp_path: Path, own_home: Path
) -> None:
    share(own_home)
    exit_file = tmp_path / "code"
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *command],
        cwd=tmp_path,
        env={
            **os.environ,
            "COUNTERSIGN_DEBUG": setting,
            "COUNTERSIGN_EXIT_FILE": str(exit_file),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and exit_file.read_text() == "2"
    assert ("Traceback" in done.stderr) is shown
    assert done.stderr.splitlines()[-1].strip()


def test_the_option_does_what_the_variable_does(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "--debug", "status"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "Traceback" in done.stderr
