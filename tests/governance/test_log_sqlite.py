"""The log in SQLite: whole or not at all, in order, whatever happens to the process, the disk or the neighbours."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from governance import evidence, verify
from governance.errors import (
    BusyError,
    ConflictError,
    CountersignError,
    RefusedError,
    StorageError,
    VerificationError,
)
from governance.log import merkle, sqlite
from governance.log.checkpoint import verify_checkpoint
from governance.log.port import Execute
from governance.log.sqlite import SqliteLog
from governance.machine import own_checkpoint_key, read_log
from tests.governance.examples import PROJECT, A, B, C, Scene, artifact, gate, ingest, scene


@pytest.fixture
def here(tmp_path: Path) -> Scene:
    return scene(tmp_path / "home")


def verified(place: Scene) -> int:
    """Number of entries of a log that verifies in full."""
    report = verify.verify_log(place.log, PROJECT, {}, verify.Pins(own_checkpoint_key(place.machine)))
    assert report.ok, report.broken
    return report.entries


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
    states = [verify_checkpoint(note, key) for note in notes]
    assert [state.size for state in states] == list(range(2, 11))
    last = states[-1]
    for entry in here.log.entries():
        merkle.verify_inclusion(entry.leaf_hash, entry.index, 10, here.log.inclusion_proof(entry.index, 10), last.root)
    for old in states:
        proof = here.log.consistency_proof(old.size, last.size)
        merkle.verify_consistency(old.size, last.size, old.root, last.root, proof)


def test_the_same_thing_said_again_is_the_same_entry(here: Scene) -> None:
    assert here.record("ingest", ingest()) == here.record("ingest", ingest()) == 1
    assert here.record("ingest", ingest(), artifact("records", B)) == 2
    assert here.record("ingest", ingest(), artifact("records", A)) == 1


def test_a_decision_that_changes_and_changes_back_is_three_entries(here: Scene) -> None:
    decisions = [True, True, False, False, True]
    assert [here.record("gate", gate(allowed)) for allowed in decisions] == [1, 1, 2, 2, 3]
    assert here.record("gate", gate(True, at="2027-01-01T00:00:00Z")) == 3  # decided again, to the same end


def test_a_log_has_one_origin_and_begins_with_it(here: Scene, tmp_path: Path) -> None:
    first = here.log.entry(0)
    again = here.log.append(b"x", identity="other", scope="origin", subjects=[], kind="origin")
    assert again == first and here.log.size() == 1
    empty = SqliteLog(tmp_path / "new.db", PROJECT, here.signer)
    with pytest.raises(StorageError, match="begins with its origin"):
        empty.append(b"x", identity="i", scope="s", subjects=[], kind="ingest")
    assert empty.size() == 0


def test_entries_are_found_by_kind_in_order(here: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(4):
        here.record("ingest", ingest(f"ingest@d{n}"))
        here.record("gate", gate(n % 2 == 0))
    monkeypatch.setattr(sqlite, "PAGE", 2)
    found = here.log.by_kind(["gate", "ingest", "gate"])
    here.record("gate", gate(True))  # appended meanwhile: not of the moment that was asked about
    assert [entry.index for entry in found] == list(range(1, 9))
    assert [(entry.index, entry.kind) for entry in here.log.by_kind(["origin"])] == [(0, "origin")]
    assert list(here.log.by_kind([])) == list(here.log.by_kind(["scan"])) == []


def test_an_append_happens_on_the_size_it_was_decided_on_or_not_at_all(here: Scene) -> None:
    subjects = [artifact("gate")]
    assert evidence.record(here.log, here.signer, "gate", subjects, gate(True), expected_size=1).index == 1
    for size in (0, 1, 3):
        with pytest.raises(ConflictError, match=f"the log has 2 entries[\\s\\S]*expected: {size}, on which") as error:
            evidence.record(here.log, here.signer, "gate", subjects, gate(False), expected_size=size)
        assert error.value.exit_code == BusyError.exit_code
    assert verified(here) == 2


def test_of_many_who_decided_on_the_same_size_one_appends(here: Scene) -> None:
    won: list[int] = []

    def decide(n: int) -> None:
        with contextlib.suppress(ConflictError):
            predicate = ingest(f"ingest@t{n}")
            won.append(
                evidence.record(
                    here.log, here.signer, "ingest", [artifact("records")], predicate, expected_size=1
                ).index
            )

    threads = [threading.Thread(target=decide, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [1] and verified(here) == 2


def aliases(place: Scene) -> list[tuple[str, str]]:
    with contextlib.closing(sqlite3.connect(place.log.path)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS alias (name TEXT PRIMARY KEY, version TEXT)")
        return connection.execute("SELECT name, version FROM alias").fetchall()


def test_what_happens_also_commits_with_the_entry(here: Scene) -> None:
    assert aliases(here) == []
    seen: list[object] = []

    def also(execute: Execute) -> None:
        execute("INSERT OR REPLACE INTO alias (name, version) VALUES (?, ?)", ("champion", "3"))
        seen.extend(execute("SELECT MAX(idx) FROM countersign_entry", ()))

    assert evidence.record(here.log, here.signer, "gate", [artifact("gate")], gate(True), also=also).index == 1
    assert aliases(here) == [("champion", "3")] and seen == [(1,)]
    # the same said again with something to do is another event
    assert evidence.record(here.log, here.signer, "gate", [artifact("gate")], gate(True), also=also).index == 2
    assert verified(here) == 3


@pytest.mark.parametrize("failure", [RefusedError("no"), RuntimeError("crash"), None], ids=["refused", "crash", "SQL"])
def test_what_fails_also_undoes_the_entry(here: Scene, failure: Exception | None) -> None:
    aliases(here)

    def also(execute: Execute) -> None:
        execute("INSERT INTO alias (name, version) VALUES (?, ?)", ("champion", "3"))
        if failure is not None:
            raise failure
        execute("INSERT INTO alias (name, version) VALUES (?, ?)", ("champion", "4"))

    with pytest.raises(StorageError if failure is None else type(failure)):
        evidence.record(here.log, here.signer, "gate", [artifact("gate")], gate(True), also=also)
    assert aliases(here) == [] and verified(here) == 1


def test_a_log_begun_before_the_index_on_kinds_gets_it_with_its_next_entry(here: Scene) -> None:
    connection = sqlite3.connect(here.log.path)
    connection.execute("DROP INDEX countersign_entry_kind")
    connection.commit()
    assert [entry.index for entry in here.log.by_kind(["origin"])] == [0]
    here.record("ingest", ingest())
    connection = sqlite3.connect(here.log.path)  # EXPLAIN goes by the schema it knew when it was opened
    query = "EXPLAIN QUERY PLAN SELECT envelope FROM countersign_entry "
    plan = str(connection.execute(query + sqlite._BY_KIND, ("x", 0, 9)).fetchall())
    assert "countersign_entry_kind" in plan and verified(here) == 2


def test_rows_cannot_be_changed_by_accident(here: Scene) -> None:
    here.record("ingest", ingest())
    connection = sqlite3.connect(here.log.path)
    for statement in (
        "UPDATE countersign_entry SET kind = 'x'",
        "DELETE FROM countersign_entry",
        "DELETE FROM countersign_subject",
        "UPDATE countersign_node SET hash = x'00'",
    ):
        with pytest.raises(sqlite3.DatabaseError, match="append-only"):
            connection.execute(statement)


def test_a_reader_makes_nothing_and_cannot_write(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "none" / "log.db", PROJECT)
    assert log.size() == 0 and list(log.entries()) == [] and log.by_subject(A) == [] and log.latest("x") is None
    assert log.checkpoint() == "" and not (tmp_path / "none").exists()
    with pytest.raises(StorageError, match="opened for reading"):
        log.append(b"x", identity="i", scope="origin", subjects=[], kind="origin")
    (tmp_path / "empty.db").touch()
    assert SqliteLog(tmp_path / "empty.db", PROJECT).size() == 0


APPENDER = """
import sys
from pathlib import Path
from tests.governance.examples import A, artifact, ingest, scene
place = scene(Path(sys.argv[1]))
for n in range(int(sys.argv[3])):
    place.record("ingest", ingest(f"ingest@{sys.argv[2]}-{n}"), artifact("records", A))
    place.record("ingest", ingest(f"ingest@shared-{n}"), artifact("records", A))
"""


def test_processes_append_together_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    """They begin the log together, too."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", APPENDER, str(tmp_path), f"p{n}", "12"], stderr=subprocess.PIPE, text=True
        )
        for n in range(4)
    ]
    assert [process.communicate()[1] for process in started] == [""] * 4
    assert verified(scene(tmp_path)) == 1 + 4 * 12 + 12


def test_threads_append_together(here: Scene) -> None:
    threads = [
        threading.Thread(target=lambda n=n: [here.record("ingest", ingest(f"ingest@t{n}-{m}")) for m in range(8)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verified(here) == 33


def in_child(action: Callable[[], object]) -> int:
    """Runs `action` in a forked process; how it ended: 0, minus the signal, or 10 + the exit code of its error."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            action()
            code = 0
        except CountersignError as error:
            code = 10 + error.exit_code
            with contextlib.suppress(OSError):  # standard error may be a file, and files may be full
                os.write(2, f"{error}\n".encode())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_kill_before_any_statement_leaves_the_log_whole(here: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sqlite.connect

    def dying(moment: int) -> Callable[..., sqlite3.Connection]:
        left = [moment]

        def connect(path: Path, *, write: bool) -> sqlite3.Connection:
            connection = real(path, write=write)

            def count(_: str) -> None:
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

            connection.set_trace_callback(count)
            return connection

        return connect

    before, killed = verified(here), 0
    for moment in range(200):
        monkeypatch.setattr(sqlite, "connect", dying(moment))
        ended = in_child(
            lambda: here.record("ingest", ingest("ingest@killed"), artifact("records"), artifact("report", B))
        )
        monkeypatch.setattr(sqlite, "connect", real)
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        killed += 1
        assert verified(here) == before, f"after a kill before statement {moment}"
    assert killed > 10
    assert verified(here) == before + 1
    assert here.record("ingest", ingest("ingest@killed"), artifact("records"), artifact("report", B)) == before


def limited(limit: int, on_excess: signal.Handlers) -> None:
    """From here on, a write beyond `limit` bytes of any file kills (SIG_DFL) or fails (SIG_IGN)."""
    signal.signal(signal.SIGXFSZ, on_excess)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


@pytest.mark.parametrize("on_excess", [signal.SIG_DFL, signal.SIG_IGN], ids=["killed", "disk full"])
def test_a_write_that_stops_in_the_middle_leaves_the_log_whole(tmp_path: Path, on_excess: signal.Handlers) -> None:
    """The kernel ends the process, or refuses the write, at each position of the journal and the database in turn."""
    here = scene(tmp_path)
    for n in range(12):
        here.record("ingest", ingest(f"ingest@d{n}"))
    before, stopped, size = 13, 0, here.log.path.stat().st_size
    step = size // 18

    def act(limit: int) -> None:
        limited(limit, on_excess)
        for n in range(3):
            here.record(
                "ingest", ingest(f"ingest@more-{limit}-{n}"), *(artifact("records", f"{n:064x}"), artifact("report", B))
            )

    for limit in range(0, size + 3 * step, step):
        ended = in_child(lambda limit=limit: act(limit))
        stopped += ended != 0
        assert ended in (0, -signal.SIGXFSZ if on_excess == signal.SIG_DFL else 16)
        after = verified(here)
        assert before <= after <= before + 3
        assert (ended == 0) == (after == before + 3)
        before = after
    assert stopped >= 10


def test_a_kill_at_any_moment_leaves_the_log_whole(tmp_path: Path) -> None:
    here = scene(tmp_path)
    for n in range(3):
        enough = here.log.size() + 4 + n
        process = subprocess.Popen([sys.executable, "-c", APPENDER, str(tmp_path), f"p{n}", "100000"])
        while here.log.size() < enough:
            time.sleep(0.0037)
        process.kill()
        process.wait()
        assert verified(here) >= enough
    assert here.record("ingest", ingest("ingest@after")) == verified(here) - 1


def test_a_full_disk_says_so(here: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sqlite.connect

    def full(path: Path, *, write: bool) -> sqlite3.Connection:
        connection = real(path, write=write)
        connection.execute("PRAGMA max_page_count = 1")
        return connection

    with monkeypatch.context() as patched:
        patched.setattr(sqlite, "connect", full)
        with pytest.raises(StorageError, match=r"the disk is full; the log is unchanged[\s\S]*next: free space"):
            for n in range(100):
                here.record("ingest", ingest(f"ingest@d{n}"))
    assert verified(here) >= 1


def as_nobody(action: Callable[[], object]) -> int:
    """As `in_child`, without root's rights, which would write anywhere."""

    def act() -> None:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        action()

    return in_child(act)


def test_a_read_only_folder_is_an_error_with_a_next_step(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    here = scene(tmp_path / "home")
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    here.machine.keys.chmod(0o755)
    here.machine.state.chmod(0o555)
    try:
        assert as_nobody(lambda: here.log.size()) == 0  # reading works
        assert as_nobody(lambda: here.record("ingest", ingest())) == 16
        said = capfd.readouterr().err
        assert "it is unchanged" in said and "COUNTERSIGN_HOME" in said
        assert as_nobody(lambda: scene(here.machine.state / "new")) == 16
        assert "cannot be written: Permission denied" in capfd.readouterr().err
    finally:
        here.machine.state.chmod(0o755)
    assert verified(here) == 1


def test_a_database_that_stays_locked_is_busy(here: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.1)
    other = sqlite3.connect(here.log.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BusyError, match="in use by another process"):
        here.record("ingest", ingest())
    other.execute("COMMIT")
    assert here.record("ingest", ingest()) == 1


def test_a_damaged_or_foreign_file_is_named(here: Scene, tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(StorageError, match="damaged"):
        SqliteLog(tmp_path / "x.db", PROJECT).size()
    connection = sqlite3.connect(here.log.path)
    connection.execute("UPDATE countersign_head SET version = 99")
    connection.commit()
    with pytest.raises(StorageError, match="format 99"):
        here.log.size()


def test_it_does_not_append_to_what_is_not_as_its_checkpoint_says(here: Scene) -> None:
    here.record("ingest", ingest())
    connection = sqlite3.connect(here.log.path)
    connection.execute("DROP TRIGGER countersign_entry_DELETE")
    connection.execute("DELETE FROM countersign_entry WHERE idx = 1")
    connection.commit()
    with pytest.raises(VerificationError, match="as many as its checkpoint says"):
        here.record("ingest", ingest("ingest@y"))
    with pytest.raises(VerificationError, match="as its checkpoint says"):
        read_log(here.machine)


@pytest.mark.slow
def test_mlflow_lives_in_the_same_file(here: Scene) -> None:
    from mlflow import MlflowClient

    here.record("ingest", ingest())
    client = MlflowClient(tracking_uri=here.machine.registry_uri, registry_uri=here.machine.registry_uri)
    client.create_registered_model("desk")
    here.record("gate", gate(True))
    assert [model.name for model in client.search_registered_models()] == ["desk"]
    assert verified(here) == 3
    assert here.log.path == Path(here.machine.registry_uri.removeprefix("sqlite:///"))


def test_policy_c_is_in_force(here: Scene) -> None:
    assert evidence.policy_in_force(here.log) == C
