"""Somebody at a terminal of the machine that keeps the log, for tests of commands."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.governance.governed import TABLES, Governed
from tests.governance.story import MODEL
from tests.governance.terminal import at_terminal, run


def desk_of(made: Governed, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk at a copy in `folder`, beside a registry without any alias."""
    scene = made.copy(folder)
    at_terminal(scene, monkeypatch)
    with sqlite3.connect(scene.story.machine.state / "countersign.db") as database:
        database.executescript(TABLES)
    return Desk(scene, folder)


class Desk:
    """Somebody at a terminal of the machine that keeps the log."""

    def __init__(self, scene: Governed, folder: Path) -> None:
        self.scene, self.folder = scene, folder

    def run(self, *words: str, who: str = "") -> tuple[int, str]:
        return run(*words, who=who, keys=self.folder)

    def json(self, *words: str, who: str = "") -> Any:
        return json.loads(self.run(*words, "--json", who=who)[1])

    def rows(self) -> list[tuple[str, int]]:
        """The registry's aliases."""
        with sqlite3.connect(self.scene.story.machine.state / "countersign.db") as database:
            return database.execute(
                "SELECT alias, version FROM registered_model_aliases ORDER BY alias"
            ).fetchall()

    def approved(self, version: str) -> None:
        """Packet and two approvals."""
        frozen = self.scene.freeze(version)
        self.scene.approve("ada", "ml-lead", frozen)
        self.scene.approve("ben", "risk", frozen)

    def promoted(self, version: str) -> None:
        self.approved(version)
        code, told = self.run("promote", f"{MODEL}/{version}", who="cleo")
        assert code == 0, told

    def another(self) -> None:
        """Version 2."""
        self.scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.98)
        self.scene.story.register("sft", "2")
