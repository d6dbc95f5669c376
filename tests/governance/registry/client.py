"""Somebody at another machine: neither log nor registry, files nor policies, only a key and the server's address."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from governance.errors import CountersignError
from governance.machine import Machine, machine
from pipelines.cli import cli
from tests.governance.governed import keypair
from tests.governance.registry.place import MODEL, PASSWORD, Server


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
        for name in ("COUNTERSIGN_SIGNER", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "COUNTERSIGN_KEY"):
            monkeypatch.delenv(name, raising=False)
        for name, value in self.environ.items():
            monkeypatch.setenv(name, value)

    @property
    def machine(self) -> Machine:
        return machine(MODEL, self.environ)

    def run(self, *words: str, who: str = "") -> tuple[int, str]:
        arguments = list(words)
        if who:
            path = self.folder / f"{who}.pem"
            path.write_bytes(keypair(who)[0])
            path.chmod(0o600)
            arguments += ["--key", str(path), "--yes"]
        done = CliRunner().invoke(cli, arguments)
        if isinstance(done.exception, CountersignError):
            return done.exception.exit_code, str(done.exception)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        return done.exit_code, done.output
