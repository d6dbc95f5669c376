"""DVC with git's index read once per change gets the answers of DVC."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from scmrepo.git import Git
from scmrepo.git.backend import dulwich

from pipelines.commands import dvc_git

BACKEND: Any = dulwich.DulwichBackend
PLACES = (
    *("data", "data/desk", "data/desk/records", "data/desk.json", "data/des", "data/desk/rec"),
    *("gates", "gates/sft.json", "top", "ä/ö", "ä", "", ".", "../beside"),
)


@pytest.fixture
def git(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """git in a new repository."""

    def run(*arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True)

    run("init", "-q")
    slow = BACKEND.is_tracked
    yield run
    BACKEND.is_tracked = slow


def written(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name, encoding="utf-8")


def answers(root: Path) -> list[bool]:
    with Git(str(root)) as scm:
        return [scm.is_tracked(str(root / place)) for place in PLACES]


def test_the_answers_are_those_of_dvc_after_each_change_of_the_index(
    git: Callable[..., None], tmp_path: Path
) -> None:
    changes: list[tuple[Sequence[str], int]] = [
        (("status",), 0),  # there is no index yet
        (("add", "top"), 1),
        (("add", "data", "ä"), 7),
        (("rm", "-q", "--cached", "data/desk/records"), 5),
        (("add", "gates"), 7),
        (("rm", "-rq", "--cached", "."), 0),
    ]
    written(tmp_path, "top", "data/desk/records", "data/desk.json", "gates/sft.json", "ä/ö")
    slow = BACKEND.is_tracked
    dvc_git.install()
    fast = BACKEND.is_tracked
    for change, count in changes:
        git(*change)
        BACKEND.is_tracked = slow
        expected = answers(tmp_path)
        BACKEND.is_tracked = fast
        assert answers(tmp_path) == answers(tmp_path) == expected
        assert sum(expected) == count
