"""Somebody at another machine: neither log nor registry, files nor policies, only a key and the
server's address.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from governance.machine.machine import Machine, machine
from tests.governance.registry.place import MODEL, PASSWORD, Server
from tests.governance.terminal import run


class Client:
    """A machine with a person's key, the project's name and the server's address."""

    def __init__(self, folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "client"
        self.folder.mkdir()
        self.environ = {
            "COUNTERSIGN_HOME": str(self.folder / "home"), "COUNTERSIGN_PROJECT": MODEL,
            "COUNTERSIGN_LOG": server.uri, "COUNTERSIGN_REGISTRY": server.uri,
            "COUNTERSIGN_USER": server.user, "COUNTERSIGN_PASSWORD": PASSWORD,
        }  # fmt: skip
        monkeypatch.chdir(self.folder)
        for name in (
            "COUNTERSIGN_SIGNER",
            "MLFLOW_TRACKING_USERNAME",
            "MLFLOW_TRACKING_PASSWORD",
            "COUNTERSIGN_KEY",
        ):
            monkeypatch.delenv(name, raising=False)
        for name, value in self.environ.items():
            monkeypatch.setenv(name, value)

    @property
    def machine(self) -> Machine:
        return machine(MODEL, self.environ)

    def run(self, *words: str, who: str = "") -> tuple[int, str]:
        """`countersign ...`, by a person where one is named: exit code, and what was said."""
        return run(*words, who=who, keys=self.folder)
