"""The log in PostgreSQL: its own failures in words, and never a word of the account."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from governance.base.errors import (
    BusyError,
    ConfigError,
    ConflictError,
    CountersignError,
    StorageError,
)
from governance.log import evidence
from governance.log.port import Execute
from governance.log.postgres import BUSY_SECONDS, PostgresDatabase, PostgresLog, without_credentials
from governance.machine.machine import log_of, machine, read_log
from tests.governance.examples import PROJECT, Scene, artifact, gate, ingest, scene, verified
from tests.postgres import PASSWORD, USER, Cluster
from tests.project import wait_for


@pytest.fixture
def address(cluster: Cluster) -> str:
    return cluster.database()


@pytest.fixture
def here(address: str, tmp_path: Path) -> Scene:
    return scene(tmp_path / "home", COUNTERSIGN_LOG=address)


def unsaid(text: str) -> None:
    for secret in (
        PASSWORD,
        PASSWORD.replace("/", "%2F"),
        USER + ":",
        f"{USER}@",
        f'"{USER}"',
        "wr0ng",
        "intruder",
    ):
        assert secret not in text


WRONG = {
    "the password": (
        lambda c: c.uri("postgres", password="wr0ng"),
        StorageError,
        "account or its password",
    ),
    "the account": (
        lambda c: c.uri("postgres", user="intruder"),
        StorageError,
        "account or its password",
    ),
    "the database": (lambda c: c.uri("nowhere"), StorageError, "no such database"),
    "the port": (
        lambda c: c.uri("x").replace(f":{c.port}/", ":1/"),
        StorageError,
        "went away: nobody answers there",
    ),
    "the host": (
        lambda c: c.uri("x").replace("127.0.0.1", "no.invalid"),
        StorageError,
        "host's name is not known",
    ),
    "the address": (
        lambda c: f"postgresql://{USER}:{PASSWORD}@host:x/y?z=%",
        ConfigError,
        "cannot be read",
    ),
    "the scheme": (
        lambda c: f"mysql://{USER}:{PASSWORD}@host/y",
        ConfigError,
        "not an address of a log",
    ),
}


@pytest.mark.parametrize(("uri", "kind", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_address_is_told_without_account_or_password(
    cluster: Cluster, tmp_path: Path, uri: object, kind: type[CountersignError], said: str
) -> None:
    here = machine(PROJECT, {"COUNTERSIGN_HOME": str(tmp_path), "COUNTERSIGN_LOG": uri(cluster)})  # type: ignore[operator]
    with pytest.raises(kind, match=said) as error:
        read_log(here)
    unsaid(str(error.value))
    unsaid(repr(here))
    assert error.value.__cause__ is None and (
        error.value.__suppress_context__ or not error.value.__context__
    )


def test_an_address_is_told_by_host_port_and_database() -> None:
    for uri in (
        "postgresql://desk:pw@db.example.org:5433/team",
        "postgresql+psycopg://desk:pw@db.example.org:5433/team?sslmode=require&password=pw",
    ):
        assert without_credentials(uri) == "postgresql://db.example.org:5433/team"
        assert "pw" not in repr(PostgresLog(uri, PROJECT))


STATES = {
    "53100": (StorageError, "disk is full; the database is unchanged"),
    "42501": (StorageError, "may not read or write the database"),
    "25006": (StorageError, "may not read or write the database"),
    "40001": (ConflictError, "another transaction was first"),
    "40P01": (ConflictError, "another transaction was first"),
    "55P03": (BusyError, "in use by another process"),
    "53300": (BusyError, "takes no more connections"),
    "XX001": (StorageError, "damaged"),
    "57P01": (StorageError, "cannot be reached, or went away"),
    "22000": (StorageError, "the database: told by the server"),
}


@pytest.mark.parametrize(("state", "expected"), STATES.items(), ids=STATES.keys())
def test_what_the_server_says_is_translated_and_undoes_the_append(
    here: Scene, state: str, expected: tuple[type[CountersignError], str]
) -> None:
    def also(execute: Execute) -> None:
        execute(
            f"DO $$ BEGIN RAISE EXCEPTION 'told by the server' USING ERRCODE = '{state}'; END $$",
            (),
        )

    with pytest.raises(expected[0], match=expected[1]) as error:
        evidence.record(here.log, here.signer, "gate", [artifact("gate")], gate(True), also=also)
    unsaid(str(error.value))
    assert verified(here) == 1


def test_an_account_that_may_only_read_reads(here: Scene, cluster: Cluster, address: str) -> None:
    with psycopg.connect(address, autocommit=True) as database:
        database.execute("DROP ROLE IF EXISTS reader")
        database.execute("CREATE ROLE reader LOGIN PASSWORD 'wr0ng'")
        database.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    uri = cluster.uri(address.rpartition("/")[2], "reader", "wr0ng")
    log = PostgresLog(uri, PROJECT, here.signer)
    assert log.size() == 1
    with pytest.raises(StorageError, match="may not read or write the database"):
        evidence.record(log, here.signer, "gate", [artifact("gate")], gate(True))
    with psycopg.connect(address, autocommit=True) as database:
        database.execute("REVOKE SELECT ON countersign_entry FROM reader")
        with pytest.raises(StorageError, match="may not read or write the database"):
            log.entry(0)
        database.execute("DROP OWNED BY reader")
        database.execute("DROP ROLE reader")


LOCKS = {
    "the advisory lock of earlier versions": (
        "SELECT pg_advisory_xact_lock(7165074649430321006)",
        "SELECT pg_advisory_lock(classid, objid) FROM generate_series(0, 9) classid, "
        "generate_series(0, 9) objid",
    ),
    "every lock on a table": tuple(
        f"LOCK TABLE countersign_{table} IN {mode} MODE"
        for table in ("head", "entry", "subject", "node")
        for mode in (
            "ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE",
            "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE",
        )
    ),
    "locked rows": (
        "SELECT * FROM countersign_head FOR UPDATE",
        "SELECT * FROM countersign_head FOR KEY SHARE",
        "SELECT * FROM countersign_entry FOR SHARE",
    ),
    "a snapshot that stays open": (
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SELECT * FROM countersign_head, countersign_entry",
    ),
}  # fmt: skip


@pytest.mark.parametrize("rights", ["no", "SELECT"])
@pytest.mark.parametrize("row", LOCKS)
def test_a_role_that_may_not_write_keeps_nobody_from_writing(
    here: Scene, cluster: Cluster, address: str, row: str, rights: str
) -> None:
    """It takes each lock that PostgreSQL gives it, and holds them all."""
    with psycopg.connect(address, autocommit=True) as database:
        database.execute("DROP ROLE IF EXISTS reader")
        database.execute("CREATE ROLE reader LOGIN PASSWORD 'wr0ng'")
        if rights == "SELECT":
            database.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    uri, size = cluster.uri(address.rpartition("/")[2], "reader", "wr0ng"), here.log.size()
    with psycopg.connect(uri) as hostile:
        for statement in LOCKS[row]:
            hostile.execute("SAVEPOINT before")
            try:
                hostile.execute(statement.encode())
            except psycopg.Error:
                hostile.execute("ROLLBACK TO SAVEPOINT before")
        began = time.monotonic()
        evidence.record(here.log, here.signer, "gate", [artifact("gate")], gate(True))
        assert time.monotonic() - began < BUSY_SECONDS / 4
        assert here.log.size() == size + 1
    with psycopg.connect(address, autocommit=True) as database:
        database.execute("DROP OWNED BY reader")
        database.execute("DROP ROLE reader")


def test_values_keep_their_signs(here: Scene) -> None:
    """The SQL is written with `?`; what the driver makes of it must not touch the values or the
    percent signs.
    """
    seen: list[object] = []

    def also(execute: Execute) -> None:
        seen.extend(execute("SELECT ?, '%' || ?, 7 % 4", ("50% ?", "%s")))

    evidence.record(here.log, here.signer, "gate", [artifact("gate")], gate(True), also=also)
    assert seen == [("50% ?", "%%s", 3)]


def test_a_server_that_is_stopped_and_started_loses_nothing(here: Scene, cluster: Cluster) -> None:
    """As after a power cut, while someone appends as fast as they can."""
    done: list[int] = []
    halted = threading.Event()

    def work() -> None:
        for n in range(100_000):
            if halted.is_set():
                return
            with suppress(StorageError, BusyError):
                done.append(here.record("ingest", ingest(f"ingest@n{n}")))

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(2):
            enough = len(done) + 5
            wait_for(lambda enough=enough: len(done) >= enough, 300, "it appends")  # type: ignore[misc]
            cluster.stop("immediate")
            assert cluster.start() == ""
    finally:
        halted.set()
        worker.join()
    size = verified(here)
    assert size > 10 and max(done) < size
    assert len(done) == len(set(done))  # every answer was a place of its own


def test_a_connection_that_died_while_idle_is_replaced(here: Scene, address: str) -> None:
    assert here.log.size() == 1
    with psycopg.connect(address, autocommit=True) as database:
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'countersign' AND datname = current_database()"
        )
    assert here.log.size() == 1


def test_a_fork_uses_connections_of_its_own(here: Scene) -> None:
    assert here.log.size() == 1
    child = os.fork()
    if child == 0:
        os._exit(0 if here.log.size() == 1 and here.log.size() == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert here.log.size() == 1


def test_many_connections_at_once_are_told_apart(address: str, here: Scene) -> None:
    """As many readers as there are threads, and one writer."""
    threads = [
        threading.Thread(target=lambda: [here.log.size() for _ in range(20)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for n in range(10):
        here.record("ingest", ingest(f"ingest@d{n}"))
    for thread in threads:
        thread.join()
    assert verified(here) == 11


def test_a_writer_that_is_killed_lets_the_next_one_in(here: Scene) -> None:
    child = os.fork()
    if child == 0:
        with log_of(here.machine).writing():
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert here.record("ingest", ingest()) == 1


def test_many_begin_the_same_log_at_once(here: Scene, address: str) -> None:
    """Each finds no tables and makes them. Which error the others get depends on how far the first
    one is, so it is tried again and again.
    """

    def begin(start: threading.Barrier) -> int:
        log = PostgresLog(address, PROJECT, here.signer)
        start.wait()
        with log.writing() as execute:
            return len(execute("SELECT * FROM countersign_entry", ()))

    for _ in range(20):
        with psycopg.connect(address) as database:
            database.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        start = threading.Barrier(6)
        with ThreadPoolExecutor(6) as pool:
            assert [*pool.map(begin, [start] * 6)] == [0] * 6
    assert here.log.size() == 0


@pytest.mark.parametrize("rows", ["no head yet", "the table to lock only"])
def test_a_log_that_is_being_begun_reads_as_none(address: str, rows: str) -> None:
    database = PostgresDatabase(address)
    if rows == "the table to lock only":
        database._make_head()
    log = PostgresLog(address, PROJECT)
    assert log.size() == 0 and [*log.entries()] == []


def test_another_thread_took_the_last_idle_connection(address: str) -> None:
    """Between a look at the idle connections and taking one, another thread may take it."""

    class Taken(list[tuple[int, float, psycopg.Connection]]):
        def __len__(self) -> int:
            return 1

    log = PostgresLog(address, "desk")
    database = log.database
    assert isinstance(database, PostgresDatabase)
    database._idle = Taken()
    assert log.size() == 0
    database._idle = list(database._idle)
