"""The log's port: what every adapter keeps, whatever happens to the process or the neighbours."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from governance.base.errors import (
    BusyError,
    ConflictError,
    RefusedError,
    StorageError,
    VerificationError,
)
from governance.log import evidence, merkle, sql
from governance.log.copies import extend
from governance.log.port import Execute, Filing
from governance.log.sqlite import SqliteLog
from governance.machine.machine import log_of, machine, read_log, stored_signer
from tests.governance.examples import (
    PROJECT,
    A,
    B,
    C,
    Scene,
    artifact,
    gate,
    ingest,
    scene,
    verified,
)
from tests.governance.keys import checkpoint_of, with_other_signature
from tests.governance.killed import dying, in_child
from tests.governance.log.databases import ADAPTERS, raw


@pytest.fixture(params=ADAPTERS)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a log that nobody has begun."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/home/desk/countersign.db"
    return str(request.getfixturevalue("cluster").database())


@pytest.fixture
def here(address: str, tmp_path: Path) -> Scene:
    return scene(tmp_path / "home", COUNTERSIGN_LOG=address)


def test_entries_are_numbered_kept_and_found(here: Scene) -> None:
    one = here.record("ingest", ingest("ingest@x"), artifact("records", A), artifact("report", B))
    two = here.record("ingest", ingest("ingest@y"), artifact("records", A))
    assert [entry.index for entry in here.log.entries()] == [0, one, two] == [0, 1, 2]
    assert [entry.index for entry in here.log.entries(2)] == [2]
    assert [entry.index for entry in here.log.by_subject(A)] == [1, 2]
    assert [entry.index for entry in here.log.by_subject(B)] == [1]
    assert here.log.by_subject("f" * 64) == []
    assert here.log.entry(1).leaf_hash == merkle.leaf_hash(here.log.entry(1).envelope)
    assert here.log.size() == 3
    with pytest.raises(VerificationError, match="no such entry"):
        here.log.entry(3)


def test_the_checkpoint_covers_exactly_what_is_there(here: Scene) -> None:
    notes = []
    for n in range(9):
        here.record("ingest", ingest(f"ingest@d{n}"))
        notes.append(here.log.checkpoint())
    key = evidence.origin(here.log).checkpoint_key
    states = [checkpoint_of(note, key) for note in notes]
    assert [state.size for state in states] == list(range(2, 11))
    last = states[-1]
    for entry in here.log.entries():
        merkle.verify_inclusion(
            entry.leaf_hash, entry.index, 10, here.log.inclusion_proof(entry.index, 10), last.root
        )
    for old in states:
        proof = here.log.consistency_proof(old.size, last.size)
        merkle.verify_consistency(old.size, last.size, old.root, last.root, proof)


def test_the_same_thing_said_again_is_the_same_entry(here: Scene) -> None:
    assert here.record("ingest", ingest()) == here.record("ingest", ingest()) == 1
    assert here.record("ingest", ingest(), artifact("records", B)) == 2
    assert here.record("ingest", ingest(), artifact("records", A)) == 1


def test_a_decision_that_changes_and_changes_back_is_three_entries(here: Scene) -> None:
    decisions = [True, True, False, False, True, True]  # the last one to the same end
    times = [f"2027-01-01T00:00:0{second}Z" for second in range(len(decisions))]
    gates = [gate(allowed, at=at) for allowed, at in zip(decisions, times, strict=True)]
    assert [here.record("gate", each) for each in gates] == [1, 1, 2, 2, 3, 3]


def test_a_statement_of_before_is_no_new_decision(here: Scene) -> None:
    """Byte for byte the same, by the same key: anybody who reads the log could send it again."""
    gates = [gate(True), gate(False, at="2027-01-01T00:00:00Z")]
    assert [here.record("gate", each) for each in [*gates, *gates]] == [1, 2, 1, 2]
    for index in (1, 2):
        logged = here.log.entry(index)
        filing = replace(evidence.filed_under(logged.envelope), again=True)
        assert here.log.append(with_other_signature(logged.envelope), filing) == logged
    assert verified(here) == 3


def test_a_log_has_one_origin_and_begins_with_it(here: Scene, address: str) -> None:
    first = here.log.entry(0)
    again = here.log.append(b"x", Filing("other", "origin", "origin", ()))
    assert again == first and here.log.size() == 1
    raw(
        address,
        *(f"DELETE FROM countersign_{table}" for table in ("head", *sql.TABLES)),
        guarded=False,
    )
    with pytest.raises(StorageError, match="begins with its origin"):
        here.log.append(b"x", Filing("i", "s", "ingest", ()))
    assert here.log.size() == 0


def test_entries_are_found_by_kind_in_order(here: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(4):
        here.record("ingest", ingest(f"ingest@d{n}"))
        here.record("gate", gate(n % 2 == 0, at=f"2027-01-01T00:00:0{n}Z"))
    monkeypatch.setattr(sql, "PAGE", 2)
    found = here.log.by_kind(["gate", "ingest", "gate"])
    here.record(
        "gate", gate(True, at="2027-01-02T00:00:00Z")
    )  # appended meanwhile: not of the moment that was asked about
    assert [entry.index for entry in found] == list(range(1, 9))
    assert [(entry.index, entry.kind) for entry in here.log.by_kind(["origin"])] == [(0, "origin")]
    assert list(here.log.by_kind([])) == list(here.log.by_kind(["scan"])) == []


def test_an_append_happens_on_the_size_it_was_decided_on_or_not_at_all(here: Scene) -> None:
    subjects = [artifact("gate")]
    assert (
        evidence.record(here.log, here.signer, "gate", subjects, gate(True), expected_size=1).index
        == 1
    )
    for size in (0, 1, 3):
        with pytest.raises(
            ConflictError, match=f"the log has 2 entries[\\s\\S]*expected: {size}, on which"
        ) as error:
            evidence.record(
                here.log, here.signer, "gate", subjects, gate(False), expected_size=size
            )
        assert error.value.exit_code == BusyError.exit_code
    assert verified(here) == 2


def test_of_many_who_decided_on_the_same_size_one_appends(here: Scene) -> None:
    won: list[int] = []

    def decide(n: int) -> None:
        with contextlib.suppress(ConflictError):
            predicate = ingest(f"ingest@t{n}")
            won.append(
                evidence.record(
                    here.log,
                    here.signer,
                    "ingest",
                    [artifact("records")],
                    predicate,
                    expected_size=1,
                ).index
            )

    threads = [threading.Thread(target=decide, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [1] and verified(here) == 2


def aliases(address: str) -> list[tuple[object, ...]]:
    create = "CREATE TABLE IF NOT EXISTS alias (name TEXT PRIMARY KEY, version TEXT)"
    return raw(address, create, "SELECT name, version FROM alias")


def test_what_happens_also_commits_with_the_entry(here: Scene, address: str) -> None:
    assert aliases(address) == []
    seen: list[object] = []

    def also(execute: Execute) -> None:
        execute(
            "INSERT INTO alias (name, version) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET version = excluded.version",
            ("champion", "3"),
        )
        seen.extend(execute("SELECT MAX(idx) FROM countersign_entry", ()))

    assert (
        evidence.record(
            here.log, here.signer, "gate", [artifact("gate")], gate(True), also=also
        ).index
        == 1
    )
    assert aliases(address) == [("champion", "3")] and seen == [(1,)]
    # the same said again with something to do is another event
    assert (
        evidence.record(
            here.log, here.signer, "gate", [artifact("gate")], gate(True), also=also
        ).index
        == 2
    )
    assert verified(here) == 3


@pytest.mark.parametrize(
    "failure", [RefusedError("no"), RuntimeError("crash"), None], ids=["refused", "crash", "SQL"]
)
def test_what_fails_also_undoes_the_entry(
    here: Scene, address: str, failure: Exception | None
) -> None:
    aliases(address)

    def also(execute: Execute) -> None:
        execute("INSERT INTO alias (name, version) VALUES (?, ?)", ("champion", "3"))
        if failure is not None:
            raise failure
        execute("INSERT INTO alias (name, version) VALUES (?, ?)", ("champion", "4"))

    with pytest.raises(StorageError if failure is None else type(failure)):
        evidence.record(here.log, here.signer, "gate", [artifact("gate")], gate(True), also=also)
    assert aliases(address) == [] and verified(here) == 1


CHANGES = [
    "UPDATE countersign_entry SET kind = 'x'",
    "DELETE FROM countersign_entry",
    "DELETE FROM countersign_subject",
    "UPDATE countersign_node SET level = 7",
]


def test_rows_cannot_be_changed_by_accident(here: Scene, address: str) -> None:
    here.record("ingest", ingest())
    refusals: tuple[type[Exception], ...] = (sqlite3.DatabaseError,)
    if address.startswith("postgresql"):
        import psycopg

        refusals = (psycopg.Error,)
    for statement in [
        *CHANGES,
        *(["TRUNCATE countersign_entry"] if address.startswith("postgresql") else []),
    ]:
        with pytest.raises(refusals, match="append-only"):
            raw(address, statement)
    assert verified(here) == 2


def test_a_reader_makes_nothing_and_cannot_write(address: str, tmp_path: Path) -> None:
    log = log_of(
        machine(PROJECT, {"COUNTERSIGN_HOME": str(tmp_path / "home"), "COUNTERSIGN_LOG": address})
    )
    assert (
        log.size() == 0
        and list(log.entries()) == []
        and log.by_subject(A) == []
        and log.latest("x") is None
    )
    assert log.checkpoint() == "" and log.head() == (0, "") and list(log.by_kind(["origin"])) == []
    with pytest.raises(StorageError, match="opened for reading"):
        log.append(b"x", Filing("i", "origin", "origin", ()))
    with pytest.raises(VerificationError, match="there is no log"):
        log.inclusion_proof(0, 1)
    assert not (tmp_path / "home").exists()
    if address.startswith("postgresql"):
        assert raw(address, "SELECT count(*) FROM pg_class WHERE relname LIKE 'countersign%'") == [
            (0,)
        ]


APPENDER = """
import sys
from pathlib import Path
from tests.governance.examples import A, artifact, ingest, scene
place = scene(Path(sys.argv[1]), COUNTERSIGN_LOG=sys.argv[4])
for n in range(int(sys.argv[3])):
    place.record("ingest", ingest(f"ingest@{sys.argv[2]}-{n}"), artifact("records", A))
    place.record("ingest", ingest(f"ingest@shared-{n}"), artifact("records", A))
"""


@pytest.mark.slow
def test_processes_append_together_and_nothing_is_lost_or_doubled(
    tmp_path: Path, address: str
) -> None:
    """They begin the log together, too."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", APPENDER, str(tmp_path), f"p{n}", "12", address],
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(4)
    ]
    assert [process.communicate()[1] for process in started] == [""] * 4
    assert verified(scene(tmp_path, COUNTERSIGN_LOG=address)) == 1 + 4 * 12 + 12


def test_threads_append_together(here: Scene) -> None:
    threads = [
        threading.Thread(
            target=lambda n=n: [here.record("ingest", ingest(f"ingest@t{n}-{m}")) for m in range(8)]
        )
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verified(here) == 33


@pytest.mark.slow
def test_a_kill_before_any_statement_leaves_the_log_whole(
    here: Scene, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is done along with the entry is there when the entry is, and only then."""
    assert aliases(address) == []
    subjects = [artifact("records"), artifact("report", B)]

    def also(execute: Execute) -> None:
        execute("INSERT INTO alias (name, version) VALUES (?, ?)", ("champion", "3"))

    before, killed = verified(here), 0
    for moment in range(200):
        with dying(moment, monkeypatch):
            ended = in_child(
                lambda: evidence.record(
                    log_of(here.machine, stored_signer(here.machine.keys, "checkpoint")),
                    here.signer,
                    "ingest",
                    subjects,
                    ingest("ingest@killed"),
                    expected_size=1,
                    also=also,
                )
            )
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        killed += 1
        assert verified(here) == before, f"after a kill before statement {moment}"
        assert aliases(address) == []
    assert killed > 8
    assert verified(here) == before + 1 and aliases(address) == [("champion", "3")]


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_the_log_whole(tmp_path: Path, address: str) -> None:
    here = scene(tmp_path, COUNTERSIGN_LOG=address)
    for n in range(3):
        enough = here.log.size() + 4 + n
        process = subprocess.Popen(
            [sys.executable, "-c", APPENDER, str(tmp_path), f"p{n}", "100000", address]
        )
        while here.log.size() < enough:
            time.sleep(0.0037)
        process.kill()
        process.wait()
        assert verified(here) >= enough
    assert here.record("ingest", ingest("ingest@after")) == verified(here) - 1


def test_it_does_not_append_to_what_is_not_as_its_checkpoint_says(
    here: Scene, address: str
) -> None:
    here.record("ingest", ingest())
    raw(address, "DELETE FROM countersign_entry WHERE idx = 1", guarded=False)
    with pytest.raises(VerificationError, match="as many as its checkpoint says"):
        here.record("ingest", ingest("ingest@y"))
    with pytest.raises(VerificationError, match="as its checkpoint says"):
        read_log(here.machine)


def test_a_log_of_another_format_is_named(here: Scene, address: str) -> None:
    raw(address, "UPDATE countersign_head SET version = 99")
    with pytest.raises(StorageError, match="format 99"):
        here.log.size()
    with pytest.raises(StorageError, match="format 99"):
        here.record("ingest", ingest())


def test_a_copy_goes_on_from_what_is_there_and_under_its_checkpoint_only(
    here: Scene, tmp_path: Path
) -> None:
    for n in range(6):
        here.record("ingest", ingest(f"ingest@d{n}"), artifact("records"), artifact("report", B))

    def rows(start: int, end: int) -> list[tuple[object, list[str]]]:
        entries, kept = here.log.page(start, end)
        return [(entry, sorted(kept[entry.index].subjects)) for entry in entries]

    copy = SqliteLog(tmp_path / "copy.db", PROJECT)
    with pytest.raises(VerificationError, match="not those of the checkpoint"):
        extend(copy, rows(0, 6), here.log.checkpoint())
    with pytest.raises(StorageError, match="for reading"):
        extend(copy, rows(0, 7))
    assert copy.size() == 0
    extend(copy, rows(0, 7), here.log.checkpoint())
    here.record("gate", gate(True))
    with pytest.raises(ConflictError):
        extend(copy, rows(6, 8), here.log.checkpoint())
    extend(copy, rows(7, 8), here.log.checkpoint())
    assert copy.head() == here.log.head() and copy.derived(0, 99) == here.log.derived(0, 99)
    assert list(copy.entries()) == list(here.log.entries())


def test_a_database_that_stays_locked_is_busy(
    here: Scene, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = "sqlite" if address.startswith("sqlite") else "postgres"
    with log_of(here.machine).writing():
        monkeypatch.setattr(f"governance.log.{adapter}.BUSY_SECONDS", 0.1)
        with pytest.raises(BusyError, match="in use by another process"):
            here.record("ingest", ingest())
    assert here.record("ingest", ingest()) == 1


def test_policy_c_is_in_force(here: Scene) -> None:
    assert evidence.policy_in_force(here.log) == C
