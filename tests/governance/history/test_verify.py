"""Verification: every way of tampering is found, and the first broken entry is named."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from governance.attest.envelope import sign_statement
from governance.base.errors import StorageError, VerificationError
from governance.history.verify import LogReport, TrustAnchors, verify_log
from governance.log import evidence, merkle
from governance.log.checkpoint import Checkpoint, origin_of, sign_checkpoint
from governance.log.sqlite import SqliteLog
from governance.machine.machine import own_checkpoint_key
from governance.machine.workers import in_processes
from governance.server.context import CheckpointSigner
from tests.governance.examples import (
    PROJECT,
    A,
    B,
    C,
    Scene,
    artifact,
    every_kind,
    gate,
    ingest,
    scene,
)
from tests.governance.keys import stranger

LAST = len(every_kind()) - 1
"""Index of the last entry of a filled log."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return scene(tmp_path_factory.mktemp("made")).filled()


@pytest.fixture
def here(made: Scene, tmp_path: Path) -> Scene:
    """A copy of a log with an entry of every kind, to be spoiled."""
    shutil.copytree(made.machine.home, tmp_path / "home")
    return scene(tmp_path / "home")


def check(place: Scene, **pins: str | None) -> LogReport:
    chosen = {"checkpoint_key": own_checkpoint_key(place.machine), **pins}
    return verify_log(SqliteLog(place.log.path, PROJECT), PROJECT, {}, TrustAnchors(**chosen))


@contextmanager
def tampering(place: Scene) -> Iterator[sqlite3.Connection]:
    """The database in the hands of someone who may write it: no trigger stops them."""
    connection = sqlite3.connect(place.log.path)
    connection.execute("PRAGMA synchronous = OFF")
    for (name,) in connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    ).fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    yield connection
    connection.commit()
    connection.close()


def test_a_log_as_it_was_written_verifies(here: Scene) -> None:
    report = check(here)
    assert report.ok and report.broken is None
    assert report.entries == LAST + 1 == sum(report.kinds.values())
    assert report.origin == "the checkpoint key of this machine"
    assert report.first == here.log.entry(0).leaf_hash.hex()
    assert [(signer.development, signer.entries) for signer in report.signers] == [(True, LAST + 1)]
    assert report.checkpoint == here.log.checkpoint()


def sql(*statements: str) -> Callable[[Scene], None]:
    def spoil(place: Scene) -> None:
        with tampering(place) as connection:
            for statement in statements:
                connection.execute(statement)

    return spoil


def swap(place: Scene) -> None:
    """Entries 4 and 5 change places, with their hashes."""
    with tampering(place) as connection:
        for table, column in (("entry", "idx"), ("subject", "idx")):
            for old, new in ((4, 99), (5, 4), (99, 5)):
                connection.execute(
                    f"UPDATE countersign_{table} SET {column} = ? WHERE {column} = ?", (new, old)
                )
        for old, new in ((4, 99), (5, 4), (99, 5)):
            connection.execute(
                "UPDATE countersign_node SET position = ? WHERE level = 0 AND position = ?",
                (new, old),
            )


def forge(place: Scene, index: int, envelope: bytes) -> None:
    """An entry is replaced and everything beside it made to fit, down to the inner nodes, but for
    the checkpoint.
    """
    with tampering(place) as connection:
        connection.execute(
            "UPDATE countersign_entry SET envelope = ?, leaf = ? WHERE idx = ?",
            (envelope, merkle.leaf_hash(envelope), index),
        )
        rebuild_nodes(connection)


def rebuild_nodes(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM countersign_node")
    nodes: dict[tuple[int, int], bytes] = {}
    for index, leaf in connection.execute(
        "SELECT idx, leaf FROM countersign_entry ORDER BY idx"
    ).fetchall():
        for level, position, value in merkle.completed(
            leaf, index, lambda level, position: nodes[level, position]
        ):
            nodes[level, position] = value
    connection.executemany(
        "INSERT INTO countersign_node VALUES (?, ?, ?)",
        [(*key, value) for key, value in nodes.items()],
    )


def resigned(place: Scene) -> None:
    """Someone with the development key, but not the checkpoint key, rewrites a refusal as a
    permission.
    """
    subjects = [artifact("records")]
    statement = evidence.build_statement("gate", subjects, gate(True))
    stored = place.log.as_stored()
    index = next(entry.index for entry in stored.entries() if entry.kind == "gate")
    forge(place, index, sign_statement(statement, place.signer))
    with tampering(place) as connection:
        identity = evidence.identity_of(statement, place.signer.keyid)
        connection.execute(
            "UPDATE countersign_entry SET identity = ? WHERE idx = ?", (identity, index)
        )


def stranger_signed(place: Scene) -> None:
    statement = evidence.build_statement("ingest", [artifact("records")], ingest())
    forge(place, 2, sign_statement(statement, stranger()))


def second_origin(place: Scene) -> None:
    forge(place, 3, place.log.entry(0).envelope)


def another_key_signs_the_head(place: Scene) -> None:
    state = Checkpoint(
        origin_of(PROJECT, place.log.entry(0).leaf_hash),
        place.log.size(),
        merkle.root_of([entry.leaf_hash for entry in place.log.as_stored().entries()]),
    )
    with tampering(place) as connection:
        connection.execute(
            "UPDATE countersign_head SET checkpoint = ?", (sign_checkpoint(state, stranger()),)
        )


def roll_back(place: Scene) -> None:
    """The tail is cut and everything made to fit, but for the checkpoint."""
    with tampering(place) as connection:
        connection.execute(f"DELETE FROM countersign_entry WHERE idx = {LAST}")
        connection.execute(f"DELETE FROM countersign_subject WHERE idx = {LAST}")
        rebuild_nodes(connection)


E = "UPDATE countersign_entry SET"
ATTACKS: dict[str, tuple[Callable[[Scene], None], str]] = {
    "an entry edited": (
        sql(f"{E} envelope = CAST(replace(envelope, 'A', 'B') AS BLOB) WHERE idx = 4"),
        "entry 4",
    ),
    "an entry and its hash edited": (
        lambda p: forge(p, 4, p.log.entry(4).envelope + b" "),
        "entry 4",
    ),
    "an entry replaced by another": (lambda p: forge(p, 4, p.log.entry(6).envelope), "entry 4"),
    "a refusal rewritten with the development key": (
        resigned,
        "the log's checkpoint: the entries are not those",
    ),
    "an entry by a key nobody named": (stranger_signed, "entry 2: signed by an unknown key"),
    "a second origin": (second_origin, "entry 3: an origin, and one only"),
    "an entry without envelope": (sql(f"{E} envelope = x'' WHERE idx = 4"), "entry 4"),
    "an envelope that is text": (
        sql(f"{E} envelope = CAST(envelope AS TEXT) WHERE idx = 4"),
        "entry 4",
    ),
    "a hash that is a number": (sql(f"{E} leaf = 1 WHERE idx = 4"), "entry 4"),
    "an entry dropped": (
        sql("DELETE FROM countersign_entry WHERE idx = 4"),
        "entry 4: the entry is missing",
    ),
    "the origin dropped": (
        sql("DELETE FROM countersign_entry WHERE idx = 0"),
        "entry 0: the log has no such entry",
    ),
    "the tail cut": (
        sql(f"DELETE FROM countersign_entry WHERE idx = {LAST}"),
        f"entry {LAST}: the entries are not as many",
    ),
    "the tail cut and made to fit": (roll_back, f"the log's checkpoint: {LAST} entries are there"),
    "two entries swapped": (swap, "entry 5: the tree's nodes"),
    "an entry doubled": (
        sql(
            f"INSERT INTO countersign_entry SELECT {LAST + 1}, envelope, leaf, identity, scope,"
            " kind FROM countersign_entry WHERE idx = 4"
        ),
        f"entry {LAST + 1}",
    ),
    "an identity changed, so that the same is said again": (
        sql(f"{E} identity = 'x' WHERE idx = 4"),
        "entry 4: what the log keeps",
    ),
    "a scope changed, so that an older decision is the latest": (
        sql(f"{E} scope = 'x' WHERE kind = 'gate'"),
        "what the log keeps",
    ),
    "a kind changed": (sql(f"{E} kind = 'scan' WHERE idx = 4"), "entry 4: what the log keeps"),
    "a subject removed, so that it is not found": (
        sql("DELETE FROM countersign_subject WHERE idx = 4"),
        "entry 4: what the log keeps",
    ),
    "a subject added": (
        sql(f"INSERT INTO countersign_subject VALUES ('{B}', 4)"),
        "entry 4: what the log keeps",
    ),
    "a subject of no entry": (
        sql(f"INSERT INTO countersign_subject VALUES ('{B}', 99)"),
        "not as many",
    ),
    "an entry so far behind the last that nobody could look at all between": (
        sql(
            f"INSERT INTO countersign_entry SELECT {1 << 62}, envelope, leaf, identity, scope, kind"
            " FROM countersign_entry WHERE idx = 4"
        ),
        f"entry {LAST + 1}: the entries are not as many",
    ),
    "an entry before the first, which no revocation came before": (
        sql(
            "INSERT INTO countersign_entry SELECT -1, envelope, leaf, identity, scope, kind FROM"
            " countersign_entry WHERE idx = 4"
        ),
        "entry -1: a row of the log stands before its beginning",
    ),
    "a subject of an entry before the first": (
        sql(f"INSERT INTO countersign_subject VALUES ('{B}', -1)"),
        "not as many",
    ),
    "a leaf's node changed": (
        sql("UPDATE countersign_node SET hash = zeroblob(32) WHERE level = 0 AND position = 4"),
        "entry 4: the tree's nodes",
    ),
    "an inner node changed": (
        sql("UPDATE countersign_node SET hash = zeroblob(32) WHERE level = 2 AND position = 1"),
        "entry 7: the tree's nodes",
    ),
    "an inner node missing": (
        sql("DELETE FROM countersign_node WHERE level = 1 AND position = 2"),
        "entry 5: the tree's nodes",
    ),
    "a node ahead of the log": (
        sql(f"INSERT INTO countersign_node VALUES (0, {LAST + 1}, zeroblob(32))"),
        f"entry {LAST + 1}",
    ),
    "the checkpoint removed": (sql("DELETE FROM countersign_head"), "the log's checkpoint"),
    "the checkpoint edited": (
        sql(
            f"UPDATE countersign_head SET checkpoint = replace(checkpoint, '{LAST + 1}', '{LAST}')"
        ),
        "the log's checkpoint",
    ),
    "the checkpoint signed by another key": (
        another_key_signs_the_head,
        "the log's checkpoint: not signed by this log's",
    ),
}


@pytest.mark.parametrize(("spoil", "named"), ATTACKS.values(), ids=ATTACKS.keys())
def test_tampering_is_found_and_named(
    here: Scene, spoil: Callable[[Scene], None], named: str
) -> None:
    spoil(here)
    report = check(here)
    assert not report.ok
    assert report.broken is not None and named in report.broken


@pytest.mark.parametrize(
    "note", [True, False], ids=["the checkpoint as it was", "a checkpoint made to fit"]
)
def test_a_server_signs_nothing_on_top_of_what_was_rewritten(here: Scene, note: bool) -> None:
    """Its next checkpoint would cover the tampering, for whoever keeps no older one."""
    log = SqliteLog(
        here.log.path, PROJECT, CheckpointSigner(here.machine, SqliteLog(here.log.path, PROJECT))
    )
    evidence.record(log, here.signer, "ingest", [artifact("records")], ingest("ingest@one"))
    resigned(here)
    if not note:
        another_key_signs_the_head(here)
    with pytest.raises(VerificationError):
        evidence.record(log, here.signer, "ingest", [artifact("records")], ingest("ingest@two"))
    report = check(here)
    assert report.broken is not None and "the log's checkpoint" in report.broken


def test_an_entry_before_the_first_is_no_evidence(here: Scene) -> None:
    statement = evidence.build_statement("ingest", [artifact("records", B)], ingest("ingest@never"))
    envelope = sign_statement(statement, here.signer)
    said = evidence.filed_under(envelope)
    row = (-1, envelope, merkle.leaf_hash(envelope), said.identity, said.scope, said.kind)
    with tampering(here) as connection:
        connection.execute("INSERT INTO countersign_entry VALUES (?, ?, ?, ?, ?, ?)", row)
        connection.execute("INSERT INTO countersign_subject VALUES (?, -1)", (B,))
    with pytest.raises(VerificationError, match="before its beginning"):
        here.log.by_subject(B)


def test_entries_before_the_broken_one_are_counted(here: Scene) -> None:
    sql(f"{E} envelope = x'00' WHERE idx = 4")(here)
    assert check(here).entries == 4


# Which log is it? (DESIGN: verification is against a pinned origin)
def test_without_a_pin_the_origin_is_not_established(here: Scene) -> None:
    report = check(here, checkpoint_key=None)
    assert report.broken is None and report.origin is None and not report.ok


def test_a_log_forged_from_its_beginning_is_another_log(here: Scene, tmp_path: Path) -> None:
    """All of it verifies, under keys of the forger's own."""
    kept = here.log.checkpoint()
    forged = scene(tmp_path / "forger").filled()
    assert check(forged).ok
    shutil.copy(forged.log.path, here.log.path)
    report = check(here)
    assert report.broken is not None and "a key that is not this machine's" in report.broken
    report = check(forged, checkpoint=kept)
    assert report.broken is not None and "it is of another log" in report.broken


@pytest.mark.parametrize("form", ["entry", "key"])
def test_an_origin_that_is_known_establishes_it(here: Scene, form: str) -> None:
    known = {"entry": check(here).first, "key": check(here).checkpoint_key}[form]
    report = check(here, checkpoint_key=None, origin=known)
    assert report.ok and report.origin == "the origin given"
    report = check(here, origin="f" * 64)
    assert report.broken is not None and "the pinned origin" in report.broken


def test_an_older_checkpoint_proves_that_the_log_only_grew(here: Scene) -> None:
    old = here.log.checkpoint()
    for n in range(5):
        here.record("ingest", ingest(f"ingest@later{n}"))
    report = check(here, checkpoint_key=None, checkpoint=old)
    assert report.ok and report.grown_from == LAST + 1 and report.entries == LAST + 6
    assert report.origin == f"the older checkpoint, of {LAST + 1} entries"
    assert check(here, checkpoint=here.log.checkpoint()).grown_from == LAST + 6


def test_a_log_rolled_back_or_forked_by_who_holds_every_key_is_found_by_an_older_checkpoint(
    here: Scene, tmp_path: Path
) -> None:
    """Root on the machine: database and keys are rewritten together. Only what was kept elsewhere
    shows it.
    """
    shutil.copytree(here.machine.home, tmp_path / "before")
    here.record("gate", gate(True), artifact("gate", A))
    kept = here.log.checkpoint()
    before = scene(tmp_path / "before")
    assert check(before).ok  # in itself nothing is wrong with it
    report = check(before, checkpoint=kept)
    assert (
        report.broken
        == f"the older checkpoint: it counts {LAST + 2} entries; expected: at most the {LAST + 1}"
        " here"
    )
    before.record("gate", gate(True), artifact("gate", B))
    report = check(before, checkpoint=kept)
    assert (
        report.broken is not None
        and "not the one the older checkpoint was taken from" in report.broken
    )


WRONG_CHECKPOINTS: dict[str, Callable[[str], str]] = {
    "nothing": lambda note: "",
    "another log's": lambda note: note.replace("countersign/desk/", "countersign/desk/0")[:-1],
    "of another origin": lambda note: note.replace(
        note.split("\n")[0], "countersign/desk/" + "0" * 16
    ),
    "edited": lambda note: note.replace(f"\n{LAST + 1}\n", f"\n{LAST}\n"),
}


@pytest.mark.parametrize("spoil", WRONG_CHECKPOINTS.values(), ids=WRONG_CHECKPOINTS.keys())
def test_an_older_checkpoint_must_itself_be_good(here: Scene, spoil: Callable[[str], str]) -> None:
    report = check(here, checkpoint=spoil(here.log.checkpoint()))
    assert report.broken is not None and report.broken.startswith("the older checkpoint")


def test_the_log_of_another_project_is_named(here: Scene) -> None:
    report = verify_log(SqliteLog(here.log.path, "another"), "another", {}, TrustAnchors())
    assert report.broken is not None and "the log of project 'desk'" in report.broken


def test_a_service_keys_entries_verify_once_policies_name_it(here: Scene) -> None:
    evidence.record(
        here.log, stranger(), "ingest", [artifact("records", C)], ingest("ingest@service")
    )
    assert not check(here).ok
    named = {stranger().keyid: stranger().public_pem}
    report = verify_log(
        here.log, PROJECT, named, TrustAnchors(checkpoint_key=own_checkpoint_key(here.machine))
    )
    assert report.ok and [(signer.development, signer.entries) for signer in report.signers] == [
        (True, LAST + 1),
        (False, 1),
    ]


def test_entries_appended_meanwhile_do_not_disturb(here: Scene) -> None:
    class Growing(SqliteLog):
        def page(self, start: int, end: int):  # type: ignore[no-untyped-def]
            here.record("ingest", ingest(f"ingest@meanwhile{start}"))
            return super().page(start, end)

    report = verify_log(
        Growing(here.log.path, PROJECT),
        PROJECT,
        {},
        TrustAnchors(checkpoint_key=own_checkpoint_key(here.machine)),
    )
    assert report.ok and report.entries == LAST + 1 and here.log.size() > LAST + 1


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    place = scene(tmp_path_factory.mktemp("longer"))
    for n in range(37):
        place.record("ingest", ingest(f"ingest@d{n}"))
    return place


@pytest.mark.parametrize("part", range(7))
def test_parts_give_what_the_whole_gives(longer: Scene, part: int) -> None:
    pins = TrustAnchors(checkpoint_key=own_checkpoint_key(longer.machine))
    whole = verify_log(longer.log, PROJECT, {}, pins)
    assert whole.ok and whole.entries == 38
    assert verify_log(longer.log, PROJECT, {}, pins, part=part, run=in_processes(1)) == whole


def test_processes_give_what_one_gives(longer: Scene) -> None:
    pins = TrustAnchors(checkpoint_key=own_checkpoint_key(longer.machine))
    counts: list[int] = []
    verify_log(longer.log, PROJECT, {}, pins, part=3, run=in_processes(2), counted=counts.append)
    assert sum(counts) == longer.log.size() and len(counts) > 2
    assert verify_log(longer.log, PROJECT, {}, pins, part=3, run=in_processes(2)) == verify_log(
        longer.log, PROJECT, {}, pins
    )


@pytest.mark.parametrize("part", [2, 3])
@pytest.mark.parametrize("index", [0, 3, 7, 8, 15, 31, 36, 37])
@pytest.mark.parametrize("what", ["the entry", "its highest node", "its leaf's node"])
def test_tampering_is_found_and_named_in_parts(
    longer: Scene, tmp_path: Path, part: int, index: int, what: str
) -> None:
    shutil.copytree(longer.machine.home, tmp_path / "home")
    place = scene(tmp_path / "home")
    level, position = 0, index
    while what == "its highest node" and position % 2:
        level, position = level + 1, position // 2
    node = (
        f"UPDATE countersign_node SET hash = zeroblob(32) WHERE level = {level} AND position ="
        f" {position}"
    )
    sql(
        f"{E} envelope = CAST(replace(envelope, 'A', 'B') AS BLOB) WHERE idx = {index}"
        if "entry" in what
        else node
    )(place)
    for workers in (1, 2) if (part, index) == (3, 15) else (1,):
        report = verify_log(
            place.log,
            PROJECT,
            {},
            TrustAnchors(checkpoint_key=own_checkpoint_key(place.machine)),
            part=part,
            run=in_processes(workers),
        )
        assert report.broken is not None and report.broken.startswith(f"entry {index}: ")
        assert report.entries in (index, index + 1)


COLUMNS = {
    "countersign_entry": ["idx", "envelope", "leaf", "identity", "scope", "kind"],
    "countersign_subject": ["sha256", "idx"],
    "countersign_node": ["level", "position", "hash"],
    "countersign_head": ["checkpoint"],
}
CELLS = [(table, column) for table, columns in COLUMNS.items() for column in columns]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    cell=st.sampled_from(CELLS),
    row=st.integers(0, 40),
    at=st.integers(0, 5000),
    byte=st.integers(1, 255),
)
def test_any_byte_changed_in_any_row_is_found(
    made: Scene,
    tmp_path_factory: pytest.TempPathFactory,
    cell: tuple[str, str],
    row: int,
    at: int,
    byte: int,
) -> None:
    home = tmp_path_factory.mktemp("fuzz")
    shutil.copytree(made.machine.home, home, dirs_exist_ok=True)
    place = Scene(made.machine, SqliteLog(home / "desk" / "countersign.db", PROJECT), made.signer)
    table, column = cell
    with tampering(place) as connection:
        keys = connection.execute(f"SELECT {', '.join(COLUMNS[table])} FROM {table}").fetchall()
        chosen = keys[row % len(keys)]
        old = chosen[COLUMNS[table].index(column)]
        match old:
            case int():
                new: object = old ^ byte
            case str():
                new = (
                    old[: at % len(old)]
                    + chr((ord(old[at % len(old)]) ^ byte) or 1)
                    + old[at % len(old) + 1 :]
                )
            case _:
                new = (
                    old[: at % len(old)]
                    + bytes([old[at % len(old)] ^ byte])
                    + old[at % len(old) + 1 :]
                )
        where = " AND ".join(f"{name} = ?" for name in COLUMNS[table])
        try:
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (new, *chosen))
        except sqlite3.IntegrityError:
            return  # would collide with another row: the database itself refuses
    report = check(place)
    assert not report.ok, (table, column, old, new)
    shutil.rmtree(home)


def test_an_unreadable_database_is_an_error_of_storage(here: Scene) -> None:
    here.log.path.write_bytes(here.log.path.read_bytes()[:4096] + b"garbage" * 3000)
    with pytest.raises(StorageError):
        check(here)


@pytest.mark.parametrize(
    ("origin", "broken", "ok"),
    [("a pin", None, True), (None, None, False), ("a pin", "x", False), (None, "x", False)],
)
def test_a_log_is_right_if_all_verifies_and_its_origin_is_known(
    origin: str | None, broken: str | None, ok: bool
) -> None:
    assert LogReport("desk", 1, origin=origin, broken=broken).ok is ok
