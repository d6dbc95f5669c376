"""promote, rollback and retire, and the files of a version, from a machine that has neither log nor
registry.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from governance.attest.digests import manifest
from governance.base.errors import VerificationError
from governance.history.state import state
from governance.registry.rest import RegistryServer
from governance.release import serving
from tests.governance.registry.client import Client
from tests.governance.registry.place import MODEL, Place, place, register
from tests.governance.registry.place import serving as running

pytestmark = pytest.mark.slow


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Place, Client]]:
    """A server with one registered version, and somebody elsewhere."""
    here = place(tmp_path)
    with running(here) as server:
        register(here, server, monkeypatch)
        yield here, Client(tmp_path, server, monkeypatch)


def approved(here: Place, version: str) -> None:
    frozen = here.scene.freeze(version)
    here.scene.approve("ada", "ml-lead", frozen)
    here.scene.approve("ben", "risk", frozen)


def tagged(client: Client, name: str, value: str) -> bool:
    """Whether the server's page of version 1 shows this within a minute."""
    server = RegistryServer(client.machine.registry_uri, client.environ)
    for _ in range(120):
        found = server.get("model-versions/get", name=MODEL, version="1")["model_version"]
        if {"key": name, "value": value} in found.get("tags", []):
            return True
        time.sleep(0.5)
    return False


def champion(client: Client) -> Any:
    live = json.loads(client.run("live", MODEL, "--json")[1])["live"]
    return next((one["version"] for one in live if one["alias"] == "champion"), None)


def test_an_alias_moves_over_the_server(
    served: tuple[Place, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, client = served
    here.scene.freeze("1")
    code, told = client.run("promote", f"{MODEL}/1", "--dry-run", who="cleo")
    assert code == 4 and "missing   the packet: 2 of ada as ml-lead, ben as risk" in told
    code, told = client.run("promote", f"{MODEL}/1", who="cleo")
    assert (
        code == 4
        and "Countersign refuses" in told
        and "APPROVAL_MISSING" in told
        and "missing   the packet" in told
    )
    approved(here, "1")
    assert tagged(client, "governance.approved_by", "ada (ml-lead), ben (risk)")
    code, told = client.run("promote", f"{MODEL}/1", who="cleo")
    assert code == 0 and told.startswith("support-desk/1 is now champion"), told
    assert champion(client) == "1"
    said = [item.predicate for item in state(here.scene.story.log).view.all("promotion")]
    assert said[-1].caller == "admin" and said[-1].alias == "champion"
    code, told = client.run("explain", f"{MODEL}/1")
    assert code == 0 and "SAME RESULT" in told
    code, told = client.run("retire", f"{MODEL}/1", "--reason", "over", who="cleo")
    assert code == 4 and "missing   the retire" in told
    (asked,) = state(here.scene.story.log).timeline.open_requests(MODEL)
    here.scene.approve("ada", "ml-lead", asked.digest, "promotion")
    code, told = client.run("retire", f"{MODEL}/1", "--reason", "over")
    assert code == 0 and "is retired" in told, told
    assert champion(client) is None


def test_files_come_from_the_server_as_they_were_registered(
    served: tuple[Place, Client], tmp_path: Path
) -> None:
    here, client = served
    found = serving.resolve(
        state(serving.serving_log(client.machine, datetime.now(UTC))), f"{MODEL}/1"
    )
    with serving.private_copy(found, serving.where(client.machine, found), tmp_path) as copy:
        assert manifest(copy) == manifest(here.scene.story.root / "models/sft/model")
    stored = next(here.artifacts.glob("*/*/artifacts/model/config.json"))
    stored.chmod(0o644)
    stored.write_text('{"a": 1}')
    with (
        pytest.raises(VerificationError, match=r"config.json: content changed"),
        serving.private_copy(found, serving.where(client.machine, found), tmp_path),
    ):
        pytest.fail("handed out")
