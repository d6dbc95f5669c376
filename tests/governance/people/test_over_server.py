"""Approving from machines that have neither the project nor its database: a server's address, a
name, a key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from governance.base.errors import CountersignError
from governance.history.state import state
from pipelines.cli import cli
from tests.governance.registry.place import MODEL, PASSWORD, Place, Server, place, register, serving
from tests.governance.terminal import key_file

pytestmark = pytest.mark.slow  # at night, test_walk goes the whole way by the pages
NAME = f"{MODEL}/1"
WHY = "--reason=read and checked"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Place, Server]]:
    here = place(tmp_path)
    with serving(here) as server:
        register(here, server, monkeypatch)
        yield here, server


class Away:
    """Somebody's own machine."""

    def __init__(
        self, who: str, folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.folder, self.monkeypatch = folder / f"at-{who}", monkeypatch
        self.folder.mkdir()
        self.environ = {
            "COUNTERSIGN_HOME": str(self.folder / "home"),
            "COUNTERSIGN_PROJECT": MODEL,
            "COUNTERSIGN_KEY": key_file(self.folder, who),
            "COUNTERSIGN_LOG": server.uri,
            "COUNTERSIGN_USER": server.user,
            "COUNTERSIGN_PASSWORD": PASSWORD,
        }

    def run(self, *words: str) -> Any:
        """The JSON a command prints; raises what it raises."""
        self.monkeypatch.chdir(self.folder)
        done = CliRunner().invoke(cli, [*words, "--json"], env=self.environ)
        if isinstance(done.exception, CountersignError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)


@pytest.mark.long
def test_three_people_at_three_machines(
    served: tuple[Place, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, server = served
    ada, ben, dora = (Away(who, tmp_path, server, monkeypatch) for who in ("ada", "ben", "dora"))
    assert ada.run("pending")["pending"][0]["next"] == f"countersign freeze {NAME}"
    ada.run("freeze", NAME, "--yes")
    first, second = ada.run("review", NAME), ben.run("review", NAME)
    assert (first["packet"], first["page"]) == (second["packet"], second["page"])
    said = [one.run("approve", NAME, WHY, "--yes") for one in (ada, ben)]
    votes = {
        item.index: item.predicate for item in state(here.scene.story.log).evidence.all("approval")
    }
    assert [votes[one["entry"]].principal for one in said] == ["ada", "ben"]
    assert {votes[one["entry"]].page for one in said} == {first["page"]}
    dora.run("review", NAME)
    with pytest.raises(CountersignError, match="may not say this"):
        dora.run("approve", NAME, WHY, "--yes")
    receipts = [
        path
        for path in (tmp_path / "at-ada").rglob("*")
        if "receipt" in str(path) and path.is_file()
    ]
    assert receipts
    dora.run("authorize", "--hours", "1", "--yes")
    ben.run("reject", NAME, "--reason", "a second look", "--yes")
    with pytest.raises(CountersignError, match="the key is where the log is"):
        ada.run("checkpoint-key", "rotate", "--reason", "yearly", "--yes")


def test_what_changed_at_the_server_since_it_was_shown_is_not_approved(
    served: tuple[Place, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, server = served
    ada = Away("ada", tmp_path, server, monkeypatch)
    ada.run("freeze", NAME, "--yes")
    ada.run("review", NAME)
    here.scene.waive("INCIDENT_OPEN", f"model {MODEL}")
    here.scene.freeze()
    with pytest.raises(CountersignError, match="has not opened this review page"):
        ada.run("approve", NAME, WHY, "--yes")
