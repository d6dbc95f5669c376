"""Outputs and DVC's cache are there, the log is not: nothing passes in silence, and the next step
named works.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.project import STAGES, Project

pytestmark = pytest.mark.slow

COMMAND = re.compile(r"(countersign repro --force[^\n,]*)$", re.MULTILINE)
"""The next step, as a person would copy it."""


def follow(project: Project, text: str) -> list[str]:
    """Runs every command that the findings name; returns them."""
    commands = list(dict.fromkeys(COMMAND.findall(text)))
    for command in commands:
        done = project.run(*command.split())
        assert done.code == 0, f"{command}\n{done.out}"
    return commands


@pytest.mark.nightly
def test_the_log_is_gone(small: Project, tmp_path: Path) -> None:
    project = small.copy(tmp_path)
    shutil.rmtree(project.home)
    models = sorted((project.root / "models").rglob("*"))
    done = project.repro()
    assert done.code == 4
    assert "EVIDENCE_MISSING project small: outputs of 14 stages are here" in done.out
    assert all(
        stage in done.out
        for stage in STAGES
        if stage.startswith(("ingest", "scan", "train", "evaluate"))
    )
    assert str(project.database) in done.out
    assert (
        "next: use the log that has their evidence (COUNTERSIGN_HOME or COUNTERSIGN_LOG)"
        in done.out
    )
    assert project.log.size() == 0
    assert sorted((project.root / "models").rglob("*")) == models
    assert follow(project, done.out) == ["countersign repro --force"]
    assert project.countersign("verify").code == 0
    assert project.versions() == small.versions()
    assert project.said() == small.said()


@pytest.mark.nightly
def test_a_log_that_never_saw_these_outputs(small: Project, tmp_path: Path) -> None:
    """A colleague's clone with a log of its own: each gate says what is missing before it, and what
    to do.
    """
    project = small.copy(tmp_path)
    shutil.rmtree(project.home)
    project.made("--force", "ingest@desk_eval")
    rounds: list[list[str]] = []
    for _ in range(6):
        done = project.repro()
        if done.code == 0:
            break
        assert done.code == 4, done.out
        assert "EVIDENCE_MISSING" in done.out
        rounds.append(follow(project, done.out))
        assert rounds[-1], done.out
    assert done.code == 0, done.out
    assert [stage for _, stage, allowed in project.said() if not allowed][:2] == [
        "gate@base",
        "gate@sft",
    ]
    assert project.versions() == small.versions()
    assert project.log_is_whole()


def test_the_registry_is_gone_and_the_log_elsewhere(small: Project, tmp_path: Path) -> None:
    """Log and registry may stand apart; what the log knows as version 1 is not doubled in a new
    registry.
    """
    project = small.copy(tmp_path)
    new = f"sqlite:///{tmp_path}/registry.db"
    done = project.repro(COUNTERSIGN_REGISTRY=new)
    assert done.code == 0, done.out
    assert [kind for kind, _, _ in project.said()].count("registration") == 1
    assert project.log_is_whole()
