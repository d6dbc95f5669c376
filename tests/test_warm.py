"""A command that starts warm does what it does cold."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests import warm
from tests.project import BIN, Project, fresh

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    if not warm.environment():
        pytest.skip("commands cannot start warm here")
    return fresh(tmp_path_factory.mktemp("warm"))


def cold(project: Project, *command: str) -> tuple[int, str]:
    done = subprocess.run(
        [BIN / command[0], *command[1:]],
        cwd=project.root,
        env=project.env(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("countersign", "--help"),
        ("countersign", "no-such-command"),
        ("countersign", "stage", "ingest", "nothing"),
        ("countersign", "verify"),
        ("dvc", "status", "no-such-target"),
    ],
)
def test_output_and_exit_code_are_the_same(command: tuple[str, ...], project: Project) -> None:
    done = project.run(*command)
    assert (done.code, done.out) == cold(project, *command)


def test_the_same_inputs_give_the_same_files(project: Project, tmp_path: Path) -> None:
    first, second = project.copy(tmp_path / "warm"), project.copy(tmp_path / "cold")
    for stage in (("sample", "desk_eval"), ("ingest", "desk_eval"), ("scan_pii", "desk_eval")):
        assert first.countersign("stage", *stage).code == 0
        assert cold(second, "countersign", "stage", *stage)[0] == 0
    made = [path.relative_to(first.root) for path in (first.root / "data").rglob("*.parquet")]
    assert len(made) >= 2
    for path in made:
        assert (first.root / path).read_bytes() == (second.root / path).read_bytes()
    environments = [
        [item.predicate.environment for item in one.evidence("ingest")] for one in (first, second)
    ]
    assert environments[0] == environments[1] != []


def test_a_command_has_its_own_environment(project: Project, tmp_path: Path) -> None:
    """Nothing of one command is left for the next."""
    home = tmp_path / "elsewhere"
    done = project.countersign("stage", "sample", "desk_sft", COUNTERSIGN_HOME=str(home))
    assert done.code == 0, done.out
    assert project.countersign("stage", "sample", "desk_sft").code == 0
    assert "COUNTERSIGN_HOME" not in os.environ or os.environ["COUNTERSIGN_HOME"] != str(home)


def test_a_command_that_nobody_waits_for_any_more_ends(project: Project) -> None:
    """As where a test runs out of its time."""
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(
            [Path(warm.environment()["PATH"]) / "countersign", "repro", "train@base"],
            cwd=project.root,
            env={**project.env(), **warm.environment()},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=1,
            check=False,
        )
    assert project.countersign("--help").code == 0
