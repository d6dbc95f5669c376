"""A log that version 0.1 wrote opens, verifies, grows and keeps its root; in another database,
too.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance.attest.envelope import sign_statement
from governance.attest.predicates import RulesChange
from governance.base.errors import VerificationError
from governance.history import verify
from governance.history.state import state
from governance.log import merkle, sql
from governance.log.checkpoint import Checkpoint, parse_checkpoint
from governance.log.copies import extend
from governance.log.evidence import build_statement, filed_under, key_ring
from governance.log.rules import CURRENT, rule_versions
from governance.log.sqlite import SqliteLog
from governance.log.views import log_evidence
from governance.machine.machine import (
    checkpoint_signer,
    log_of,
    machine,
    own_checkpoint_key,
    read_log,
    signer,
)
from tests.governance.examples import PROJECT, Scene, artifact, gate, ingest, run, scene
from tests.governance.keys import pem
from tests.postgres import Cluster

WRITTEN = Path(__file__).parent / "old" / "log-0.1.sql"
ROOT = bytes.fromhex("69f473d4f16fad5773d89a4e4812b23502e26497a0b64ded1f2f1035675e5f28")
STATE = Checkpoint("countersign/desk/1798271bad6bb9d7", 11, ROOT)


@pytest.fixture
def here(tmp_path: Path) -> Scene:
    """The database and the keys it was begun with."""
    keys = tmp_path / "home" / PROJECT / "keys"
    keys.mkdir(parents=True)
    for name, byte in (("checkpoint", 50), ("development", 51)):
        (keys / f"{name}.pem").write_bytes(
            pem(Ed25519PrivateKey.from_private_bytes(bytes([byte] * 32)))
        )
        (keys / f"{name}.pem").chmod(0o600)
    with sqlite3.connect(tmp_path / "home" / PROJECT / "countersign.db") as database:
        database.executescript(WRITTEN.read_text())
    place = machine(PROJECT, {"COUNTERSIGN_HOME": str(tmp_path / "home")})
    return Scene(place, log_of(place, checkpoint_signer(place)), signer(place))


def report(place: Scene, log: object = None, **pins: object) -> verify.LogReport:
    chosen = verify.TrustAnchors(**{"checkpoint_key": own_checkpoint_key(place.machine), **pins})
    return verify.verify_log(log or place.log, PROJECT, {}, chosen)  # type: ignore[arg-type]


def test_it_opens_and_verifies_with_the_root_it_had(here: Scene) -> None:
    assert read_log(here.machine).size() == 11
    found = report(here)
    assert found.ok and found.entries == 11
    assert parse_checkpoint(found.checkpoint)[0] == STATE


def test_it_grows_from_there_and_gets_what_it_lacks(here: Scene) -> None:
    old = here.log.checkpoint()
    indices = "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'countersign%'"
    with sqlite3.connect(here.log.path) as database:
        assert {name for (name,) in database.execute(indices)} < set(sql.INDICES)
    assert [entry.index for entry in here.log.by_kind(["gate", "ingest"])] == [
        2,
        5,
    ]  # without them, too
    here.record("gate", gate(True, at="2027-01-01T00:00:00Z"), artifact("gate"))
    assert here.record("ingest", ingest()) == 2  # said then, not said again
    with sqlite3.connect(here.log.path) as database:
        assert {name for (name,) in database.execute(indices)} == set(sql.INDICES)
    found = report(here, checkpoint=old)
    assert found.ok and found.entries == 12 and found.grown_from == 11
    leaves = [entry.leaf_hash for entry in here.log.entries()]
    assert merkle.root_of(leaves[:11]) == STATE.root and merkle.root_of(leaves).hex() == found.root


def test_it_moves_to_postgresql_and_keeps_its_root(here: Scene, cluster: Cluster) -> None:
    from governance.log.postgres import PostgresLog

    moved = PostgresLog(cluster.database(), PROJECT)
    entries, kept = here.log.page(0, 11)
    extend(
        moved,
        [(entry, sorted(kept[entry.index].subjects)) for entry in entries],
        here.log.checkpoint(),
    )
    found = report(here, moved)
    assert found.ok and parse_checkpoint(found.checkpoint)[0] == STATE
    assert moved.derived(0, 99) == here.log.derived(0, 99) and list(moved.entries()) == list(
        here.log.entries()
    )
    assert SqliteLog(here.log.path, PROJECT).head() == moved.head()


def test_its_older_entries_are_judged_by_the_older_rules(here: Scene) -> None:
    """Opened for writing, it follows the rules of today from its next entry on."""
    before = here.log.size()
    versions = rule_versions(here.log)
    assert {versions.at(index) for index in range(before + 1)} == {1}
    place = scene(here.machine.home)  # opens it for writing; here, its policies changed, too
    index = next(entry.index for entry in place.log.by_kind(["rules"]))
    versions = rule_versions(place.log)
    assert [versions.at(position) for position in (before, index, index + 1)] == [1, 1, CURRENT]
    view = log_evidence(place.log, key_ring(place.log, {}))
    assert [statement.index for statement in view.all("ingest")] == [2]
    nameless = build_statement("ingest", [artifact("records")], ingest("ingest@other"))
    envelope = sign_statement(nameless, place.signer)
    entry = place.log.append(envelope, filed_under(envelope))
    assert [statement.index for statement in view.all("ingest")] == [2]
    named = place.record("ingest", ingest("ingest@third"), artifact("records"))
    assert [statement.index for statement in view.all("ingest")] == [2, named]
    assert entry.index < named
    again = place.record("ingest", ingest("ingest@other"), artifact("records"))
    assert [statement.index for statement in view.all("ingest")] == [2, named, again]
    assert place.record("ingest", ingest("ingest@other"), artifact("records")) == again
    scene(here.machine.home)
    assert len(list(place.log.by_kind(["rules"]))) == 1


def test_a_log_of_later_rules_is_not_judged(here: Scene) -> None:
    place = scene(here.machine.home)
    change = RulesChange(version=CURRENT + 1, run=run())
    place.record("rules", change, artifact("rules"))
    with pytest.raises(VerificationError, match=f"the log follows rules {CURRENT + 1}"):
        state(place.log)
    with pytest.raises(VerificationError, match=f"the log follows rules {CURRENT + 1}"):
        scene(here.machine.home)
