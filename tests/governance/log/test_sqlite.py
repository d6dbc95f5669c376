"""The log in SQLite: whole or not at all, in order, whatever happens to the process, the disk or
the neighbours.
"""

from __future__ import annotations

import contextvars
import os
import resource
import signal
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from governance.base.errors import StorageError, VerificationError
from governance.log import sql, sqlite
from governance.log.sql import node_reader
from governance.log.sqlite import SqliteLog
from tests.governance.examples import PROJECT, B, Scene, artifact, gate, ingest, scene, verified
from tests.governance.killed import in_child


@pytest.fixture
def here(tmp_path: Path) -> Scene:
    return scene(tmp_path / "home")


def test_a_log_begun_before_the_index_on_kinds_gets_it_with_its_next_entry(here: Scene) -> None:
    connection = sqlite3.connect(here.log.path)
    connection.execute("DROP INDEX countersign_entry_kind")
    connection.commit()
    assert [entry.index for entry in here.log.by_kind(["origin"])] == [0]
    here.record("ingest", ingest())
    connection = sqlite3.connect(
        here.log.path
    )  # EXPLAIN goes by the schema it knew when it was opened
    query = "EXPLAIN QUERY PLAN SELECT envelope FROM countersign_entry "
    plan = str(connection.execute(query + sql._BY_KIND, ("x", 0, 9)).fetchall())
    assert "countersign_entry_kind" in plan and verified(here) == 2


def limited(limit: int, on_excess: signal.Handlers) -> None:
    """From here on, a write beyond `limit` bytes of any file kills (SIG_DFL) or fails (SIG_IGN)."""
    signal.signal(signal.SIGXFSZ, on_excess)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


@pytest.mark.slow
@pytest.mark.parametrize("on_excess", [signal.SIG_DFL, signal.SIG_IGN], ids=["killed", "disk full"])
def test_a_write_that_stops_in_the_middle_leaves_the_log_whole(
    tmp_path: Path, on_excess: signal.Handlers
) -> None:
    """The kernel ends the process, or refuses the write, at each position of the journal and the
    database in turn.
    """
    here = scene(tmp_path)
    for n in range(12):
        here.record("ingest", ingest(f"ingest@d{n}"))
    before, stopped, size = 13, 0, here.log.path.stat().st_size
    step = size // 18

    def act(limit: int) -> None:
        limited(limit, on_excess)
        for n in range(3):
            here.record(
                "ingest",
                ingest(f"ingest@more-{limit}-{n}"),
                *(artifact("records", f"{n:064x}"), artifact("report", B)),
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


def test_a_full_disk_says_so(here: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sqlite.connect

    def full(path: Path, *, write: bool) -> sqlite3.Connection:
        connection = real(path, write=write)
        connection.execute("PRAGMA max_page_count = 1")
        return connection

    with monkeypatch.context() as patched:
        patched.setattr(sqlite, "connect", full)
        with pytest.raises(
            StorageError,
            match=r"the disk is full; the database is unchanged[\s\S]*next: free space",
        ):
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


def test_a_read_only_or_closed_folder_is_an_error_with_a_next_step(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    here = scene(tmp_path / "home")
    for folder in (here.machine.home, tmp_path, *tmp_path.parents):  # pytest's own, not /tmp
        if folder.stat().st_uid == os.geteuid() and folder.stat().st_mode & 0o077 == 0:
            folder.chmod(0o755)
    here.machine.keys.chmod(0o755)
    here.log.path.chmod(0o644)
    here.machine.state.chmod(0o555)
    try:
        assert as_nobody(lambda: here.log.size()) == 0  # reading works
        assert as_nobody(lambda: here.record("ingest", ingest())) == 16
        said = capfd.readouterr().err
        assert "nothing was appended" in said and "COUNTERSIGN_HOME" in said
        assert as_nobody(lambda: scene(here.machine.state / "new")) == 16
        assert "cannot be written: Permission denied" in capfd.readouterr().err
        here.machine.state.chmod(0)
        assert as_nobody(lambda: here.log.size()) == 16
        assert "Permission denied; it is unchanged" in capfd.readouterr().err
        assert as_nobody(lambda: scene(tmp_path / "home")) == 16
        assert "it cannot be read: Permission denied" in capfd.readouterr().err
    finally:
        here.machine.state.chmod(0o755)
    assert verified(here) == 1


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(StorageError, match="damaged"):
        SqliteLog(tmp_path / "x.db", PROJECT).size()
    (tmp_path / "empty.db").touch()
    assert SqliteLog(tmp_path / "empty.db", PROJECT).size() == 0


@pytest.mark.slow
def test_mlflow_lives_in_the_same_file(here: Scene) -> None:
    from mlflow import MlflowClient

    here.record("ingest", ingest())
    client = MlflowClient(
        tracking_uri=here.machine.registry_uri, registry_uri=here.machine.registry_uri
    )
    client.create_registered_model("desk")
    here.record("gate", gate(True))
    assert [model.name for model in client.search_registered_models()] == ["desk"]
    assert verified(here) == 3
    assert here.log.path == Path(here.machine.registry_uri.removeprefix("sqlite:///"))


@pytest.mark.parametrize("rows", [[], [("text",)], [(None,)]], ids=str)
def test_a_node_that_is_missing_or_no_bytes_is_refused(rows: list[tuple[object]]) -> None:
    with pytest.raises(VerificationError, match="missing"):
        node_reader(lambda *_: rows)(3, 1)
    assert node_reader(lambda *_: [(b"hash",)])(3, 1) == b"hash"


def test_a_reader_writes_nothing(here: Scene) -> None:
    with (
        pytest.raises(StorageError, match="readonly database"),
        here.log.reading() as execute,
    ):
        assert execute is not None
        execute("DELETE FROM countersign_head", ())
    with pytest.raises(StorageError), here.log.reading() as execute:
        assert execute is not None
        execute("INSERT INTO countersign_subject (sha256, idx) VALUES ('x', 9)", ())
    assert verified(here) == 1


def test_a_database_without_a_log_is_an_empty_log(tmp_path: Path) -> None:
    """MLflow makes the file before the log begins."""
    path = tmp_path / "countersign.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE runs (name TEXT)")
    log = SqliteLog(path, PROJECT)
    assert (log.size(), log.checkpoint(), log.head()) == (0, "", (0, ""))
    assert [*log.entries()] == [] == log.by_subject(B)
    assert log.latest("x") is None and log.page(0, 9) == ([], {})
    with pytest.raises(VerificationError, match="there is no log"):
        log.inclusion_proof(0, 1)


# --- one connection for reading -------------------------------------------------------------------


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Each connection that was opened: whether for writing."""
    found: list[bool] = []
    connect = sqlite.connect

    def counted(path: Path, *, write: bool) -> sqlite3.Connection:
        found.append(write)
        return connect(path, write=write)

    monkeypatch.setattr(sqlite, "connect", counted)
    return found


def test_one_reader_opens_one_connection_and_sees_what_is_written(
    here: Scene, opened: list[bool]
) -> None:
    with sqlite.one_reader():
        before = here.log.size()
        here.record("gate", gate(True), artifact("gate", B))
        assert here.log.size() == before + 1
        for _ in range(3):
            here.log.entry(before)
    assert opened.count(False) == 1
    here.log.size()
    here.log.size()
    assert opened.count(False) == 3, "outside, each question has its own"


def test_a_question_within_another_has_its_own_connection(here: Scene, opened: list[bool]) -> None:
    with sqlite.one_reader():
        with here.log.reading() as execute:
            assert execute is not None
            assert here.log.size() == len(execute("SELECT 1 FROM countersign_entry", ()))
        here.log.size()
    assert opened == [False, False]


def test_another_file_of_the_same_name_is_read(here: Scene, tmp_path: Path) -> None:
    other = tmp_path / "empty.db"
    sqlite3.connect(other).close()
    with sqlite.one_reader():
        assert here.log.size() > 0
        other.replace(here.log.database.path)
        assert here.log.size() == 0


def test_a_fork_and_a_thread_use_no_connection_of_another(here: Scene, opened: list[bool]) -> None:
    with sqlite.one_reader():
        here.log.size()
        assert in_child(lambda: here.log.size() and None) == 0
        context = contextvars.copy_context()
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(context.run, here.log.size).result() == here.log.size()
    assert opened == [False, False], "the first, and the thread's"


def test_an_error_leaves_no_connection_behind(here: Scene, opened: list[bool]) -> None:
    with sqlite.one_reader():
        with pytest.raises(StorageError), here.log.reading() as execute:
            assert execute is not None
            execute("SELECT nothing FROM nowhere", ())
        here.log.size()
    assert opened == [False, False]
