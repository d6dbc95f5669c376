"""A folder that appears in one step: nothing half-written stays, and nobody's work is removed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pipelines.new_folder import beside
from tests.governance.killed import in_child


def test_it_is_beside_its_place_and_gone_afterwards(tmp_path: Path) -> None:
    target = tmp_path / "mine"
    with beside(target) as folder:
        assert folder.parent == tmp_path and folder.name.startswith(".mine.")
        (folder / "file").write_text("x")
    assert list(tmp_path.iterdir()) == []
    with beside(target) as folder:
        folder.replace(target)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_next_one_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    def killed() -> None:
        with beside(tmp_path / "mine") as folder:
            (folder / "file").write_text("x")
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(killed) == in_child(killed) == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1, "the second one removed that of the first"
    with beside(tmp_path / "other"):
        assert len(list(tmp_path.iterdir())) == 2, "of another place"
    with beside(tmp_path / "mine"):
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [".mine.backup", ".mine.0123456789abcdef", ".mine.unfinished"])
def test_other_hidden_folders_stay(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with beside(tmp_path / "mine"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_links_and_what_another_process_writes_stay(tmp_path: Path) -> None:
    elsewhere, link = tmp_path / "elsewhere", tmp_path / f".mine.{'0' * 16}.unfinished"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("x")
    link.symlink_to(elsewhere)
    with beside(tmp_path / "mine") as first:

        def another() -> None:
            with beside(tmp_path / "mine"):
                pass

        assert in_child(another) == 0 and first.is_dir()
    assert link.is_symlink() and (elsewhere / "file").exists()
