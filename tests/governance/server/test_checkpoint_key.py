"""The checkpoint key is replaced while a server runs: it signs with the new one, or takes nothing
into the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from governance.attest.keys import public_key
from governance.attest.predicates import Approval, Artifact
from governance.base.errors import StorageError
from governance.history import verify
from governance.history.state import state
from governance.log import evidence
from governance.log.port import Log
from governance.machine.machine import checkpoint_keys, log_of, machine, read_log
from governance.machine.signers import CHECKPOINT, stored_signer
from governance.people.policies import NEXT, next_key, owner, propose_successor
from governance.people.speaking import Signing
from tests.governance.governed import person
from tests.governance.registry.place import MODEL, PASSWORD, Place, Server, place, register, serving
from tests.postgres import Cluster

pytestmark = pytest.mark.slow


@pytest.fixture(params=["sqlite", "postgresql"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    environ = {}
    if request.param == "postgresql":
        found: Cluster = request.getfixturevalue("cluster")
        environ = {"COUNTERSIGN_LOG": found.database()}
    return place(tmp_path, **environ)


@pytest.fixture
def server(here: Place) -> Iterator[Server]:
    with serving(here) as found:
        yield found


def away(server: Server, folder: Path) -> Log:
    """The log, as a person's machine has it."""
    environ = {
        "COUNTERSIGN_HOME": str(folder),
        "COUNTERSIGN_LOG": server.uri,
        "COUNTERSIGN_USER": server.user,
        "COUNTERSIGN_PASSWORD": PASSWORD,
    }
    return log_of(machine(MODEL, environ))


def spoken(here: Place, log: Log, about: str) -> int:
    """Something that a person says; its entry."""
    said = here.scene.signed(
        "ada", "ml-lead", decision="approve", about="packet", model=MODEL, page="0" * 64
    )
    what = [Artifact(role="packet", name="x", sha256=about * 32)]
    return evidence.record(
        log, person("ada"), "approval", what, Approval.model_validate(said)
    ).index


def replaced(here: Place) -> str:
    """Both owners have approved another key; its id."""
    story = here.scene.story
    key = next_key(here.machine)
    ada = owner(state(story.log).authority, Signing(person("ada"), None, here.scene.now))
    propose_successor(story.log, key, ada, "once a year")
    for who in ("ada", "ben"):
        here.scene.approve(who, "policy-owner", key.keyid, "checkpoint_key")
    return key.keyid


def test_a_running_server_takes_up_the_key_that_was_approved(
    here: Place, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = away(server, tmp_path / "away")
    spoken(here, log, "ab")
    keyid = replaced(here)
    at = spoken(here, log, "cd")
    assert stored_signer(here.machine.keys, CHECKPOINT).keyid == keyid
    assert not (here.machine.keys / f"{NEXT}.pem").exists()
    assert public_key(checkpoint_keys(log)[-1][1]).keyid == keyid and log.size() == at + 1
    moved = server.ask("DELETE", "registered-models/alias", {"name": MODEL, "alias": "champion"})
    assert moved.status == 403, "a refusal is recorded by the governor's own log"
    here.scene.story.log = log_of(here.machine, stored_signer(here.machine.keys, CHECKPOINT))
    assert register(here, server, monkeypatch).number == "1"
    fresh = read_log(
        machine(MODEL, {**log_environ(server), "COUNTERSIGN_HOME": str(tmp_path / "fresh")})
    )
    report = verify.verify_log(
        fresh, MODEL, {}, verify.TrustAnchors(origin=fresh.entry(0).leaf_hash.hex())
    )
    assert report.ok and report.entries > at + 2, report.broken


def log_environ(server: Server) -> dict[str, str]:
    return {
        "COUNTERSIGN_LOG": server.uri,
        "COUNTERSIGN_USER": server.user,
        "COUNTERSIGN_PASSWORD": PASSWORD,
    }


@pytest.mark.parametrize(
    "here", ["sqlite", pytest.param("postgresql", marks=pytest.mark.nightly)], indirect=True
)
def test_a_server_without_the_key_appends_nothing_until_it_has_it(
    here: Place, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(here, server, monkeypatch)
    keyid, waiting = replaced(here), here.machine.keys / f"{NEXT}.pem"
    elsewhere = waiting.rename(tmp_path / "elsewhere.pem")
    log, size = away(server, tmp_path / "away"), here.scene.story.log.size()
    assert log.size() == size, "it is still read"
    with pytest.raises(
        StorageError, match=f"signed by key {keyid[:12]} since entry {size - 1}"
    ) as told:
        spoken(here, log, "ab")
    assert "nothing was appended" in told.value.fix and told.value.exit_code == 6
    alias = {"name": MODEL, "alias": "candidate"}
    taken = server.ask("DELETE", "registered-models/alias", alias)
    assert taken.status == 503 and "does not hold it" in taken.message, taken.text
    assert (
        server.ask("GET", f"registered-models/alias?name={MODEL}&alias=candidate").status == 200
    ), "it stays"
    assert here.scene.story.log.size() == size
    elsewhere.rename(waiting)
    assert spoken(here, log, "ab") == size
    assert server.ask("DELETE", "registered-models/alias", alias).status == 200
    assert (
        read_log(
            machine(MODEL, {**log_environ(server), "COUNTERSIGN_HOME": str(tmp_path / "away")})
        ).size()
        == size + 2
    )
