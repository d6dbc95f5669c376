"""Disks that really are full, and changes of any kind to what is stored: nothing is lost or goes
unnoticed.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from governance.attest import canonical
from governance.attest.envelope import verify_envelope
from governance.base.errors import StorageError, VerificationError
from governance.history import verify
from governance.log.evidence import key_ring
from governance.log.postgres import PostgresLog
from governance.machine.machine import own_checkpoint_key
from tests.governance.examples import PROJECT, Scene, artifact, ingest, scene, verified
from tests.postgres import Cluster, account


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of one megabyte, where other accounts get to: pytest's folders are root's."""
    folder = Path(tempfile.mkdtemp(prefix="small-"))
    folder.chmod(0o755)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()[-200:]}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)
        folder.rmdir()


def fill(here: Scene) -> int:
    """Appends until the disk is full; how often that went well."""
    for n in count():
        try:
            text = hashlib.shake_256(str(n).encode()).hexdigest(1500)  # which no database packs
            here.record(
                "ingest", ingest(f"ingest@n{n}", parameters={"text": text}), artifact("records")
            )
        except StorageError as error:
            assert "disk" in error.found and "unchanged" in error.found and error.fix
            return n
    raise AssertionError


def test_a_disk_that_is_full_loses_nothing_in_sqlite(small_disk: Path, tmp_path: Path) -> None:
    here = scene(tmp_path / "home", COUNTERSIGN_LOG=f"sqlite:///{small_disk}/log.db")
    (small_disk / "ballast").write_bytes(bytes(200_000))
    done = fill(here)
    assert done > 10 and verified(here) == done + 1
    (small_disk / "ballast").unlink()
    here.record("ingest", ingest("ingest@after"))
    assert verified(here) == done + 2


@pytest.mark.slow
@pytest.mark.nightly
def test_a_disk_that_is_full_loses_nothing_in_postgresql(
    small_disk: Path, cluster: Cluster, tmp_path: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    (small_disk / "space").mkdir()
    if account():
        shutil.chown(small_disk / "space", "nobody")
    with psycopg.connect(cluster.uri("postgres"), autocommit=True) as database:
        database.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}/space'")
        database.execute("CREATE DATABASE small TABLESPACE small")
    here = scene(tmp_path / "home", COUNTERSIGN_LOG=cluster.uri("small"))
    (small_disk / "ballast").write_bytes(bytes(6_000_000))
    for cache in small_disk.glob("space/*/*/pg_internal.init"):
        # as vacuuming the catalogue does: the next connection writes it, which a full disk prevents
        cache.unlink()
    try:
        done = fill(here)
        with pytest.raises(StorageError, match="disk is full"):
            here.log.size()
        (small_disk / "ballast").unlink()
        assert done > 10 and verified(here) == done + 1
        here.record("ingest", ingest("ingest@after"))
        assert verified(here) == done + 2
    finally:
        (small_disk / "ballast").unlink(missing_ok=True)
        del here
        with psycopg.connect(cluster.uri("postgres"), autocommit=True) as database:
            database.execute("DROP DATABASE small WITH (FORCE)")
            database.execute("DROP TABLESPACE small")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return scene(tmp_path_factory.mktemp("made")).filled()


@settings(deadline=None)
@given(data=st.data())
def test_any_change_of_an_envelope_is_found(made: Scene, data: st.DataObject) -> None:
    """A byte changed, put in or taken out, two swapped, a part doubled: none of it verifies."""
    ring = key_ring(made.log, {})
    good = made.log.entry(data.draw(st.integers(0, made.log.size() - 1))).envelope
    at = data.draw(st.integers(0, len(good) - 1))
    other = bytes([data.draw(st.integers(0, 255))])
    to = data.draw(st.integers(at, min(at + 40, len(good))))
    changed = data.draw(
        st.sampled_from(
            [
                good[:at] + other + good[at + 1 :],
                good[:at] + other + good[at:],
                good[:at] + good[at + 1 :],
                good[:at] + good[at + 1 : at + 2] + good[at : at + 1] + good[at + 2 :],
                good[:to] + good[at:to] + good[to:],
                good + other,
            ]
        )
    )
    if changed != good:
        with pytest.raises(VerificationError):
            verify_envelope(changed, ring.known)


@settings(deadline=None)
@given(data=st.data())
def test_any_change_of_an_envelopes_parts_is_found(made: Scene, data: st.DataObject) -> None:
    """The JSON taken apart and written again, in canonical form."""
    ring = key_ring(made.log, {})
    one, two = (
        canonical.loads(made.log.entry(data.draw(st.integers(0, made.log.size() - 1))).envelope)
        for _ in range(2)
    )
    before = canonical.dumps(one)
    signature = one["signatures"][0]
    part = data.draw(st.sampled_from(["payload", "sig", "keyid", "type", "none", "more"]))
    text = data.draw(
        st.text(max_size=80) | st.sampled_from([two["payload"], two["signatures"][0]["sig"]])
    )
    match part:
        case "payload":
            one["payload"] = text
        case "type":
            one["payloadType"] = text
        case "none":
            one["signatures"] = []
        case "more":
            one["signatures"].append({"keyid": signature["keyid"], "sig": text})
        case _:
            signature[part] = text
    changed = canonical.dumps(one)
    if changed != before:
        with pytest.raises(VerificationError):
            verify_envelope(changed, ring.known)


CELLS = {
    "entry": {
        "idx": "idx + 100",
        "envelope": None,
        "leaf": None,
        "identity": "text",
        "scope": "text",
        "kind": "text",
    },
    "subject": {"sha256": "text", "idx": "idx + 1000"},
    "node": {"level": "level + 20", "position": "position + 1000", "hash": None},
    "head": {"checkpoint": "text"},
}
COLUMNS = [(table, column) for table, columns in CELLS.items() for column in columns]


@pytest.fixture(scope="module")
def shared(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[Scene, str]:
    address = cluster.database()
    return scene(tmp_path_factory.mktemp("shared"), COUNTERSIGN_LOG=address).filled(), address


@pytest.mark.slow
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cell=st.sampled_from(COLUMNS),
    row=st.integers(0, 60),
    at=st.integers(0, 3000),
    bit=st.integers(0, 7),
)
def test_any_change_of_any_row_in_postgresql_is_found(
    shared: tuple[Scene, str], cell: tuple[str, str], row: int, at: int, bit: int
) -> None:
    """Changed, looked at, and put back as it was."""
    (place, address), (table, column) = shared, cell
    name, how = f"countersign_{table}", CELLS[table][column]
    with psycopg.connect(address, autocommit=True) as database:
        database.execute("SET session_replication_role = replica")
        rows = database.execute(f"SELECT ctid::text FROM {name}").fetchall()
        chosen = rows[row % len(rows)][0]
        old = database.execute(f"SELECT * FROM {name} WHERE ctid = %s", (chosen,)).fetchone()
        assert old is not None
        place_of = f"(({at} % length({column})) * 8 + {bit})::bigint"
        flipped = f"set_bit({column}, {place_of}, 1 - get_bit({column}, {place_of}))"
        other = f"overlay({column} placing '#' from 1 + {at} % length({column}) for 1)"
        new = flipped if how is None else other if how == "text" else how
        update = f"UPDATE {name} SET {column} = {new} WHERE ctid = '{chosen}' RETURNING ctid::text"
        changed = database.execute(update)
        now = changed.fetchone()
        assert now is not None
        report = verify.verify_log(
            PostgresLog(address, PROJECT),
            PROJECT,
            {},
            verify.TrustAnchors(checkpoint_key=own_checkpoint_key(place.machine)),
        )
        database.execute(f"DELETE FROM {name} WHERE ctid = %s", (now[0],))
        database.execute(f"INSERT INTO {name} VALUES ({', '.join(['%s'] * len(old))})", old)
    assert not report.ok, cell


def test_what_was_put_back_verifies(shared: tuple[Scene, str]) -> None:
    assert verified(shared[0]) == shared[0].log.size()
