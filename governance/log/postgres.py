"""The log in PostgreSQL, in the same database as the registry's.

- One advisory lock, held until the transaction ends, keeps writers apart, also before the log has
  its first entry.
- Readers see one snapshot and do not wait. A connection is kept for the next operation of the same
  process.
- Errors name host, port and database, never the account or its password.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict

from governance.attest.keys import Signer
from governance.base.errors import (
    BusyError,
    ConfigError,
    ConflictError,
    CountersignError,
    StorageError,
)
from governance.log.port import Execute
from governance.log.sql import INDICES, TABLES, SqlLog, check_version

BUSY_SECONDS = 60.0
CONNECT_SECONDS = 10
IDLE_SECONDS = 30.0
"""An unused connection is taken for alive for this long."""
_LOCK = int.from_bytes(b"countsgn", "big")
"""Number of the advisory lock, the same wherever this database is written from."""
_SCHEMA = [
    (
        "CREATE TABLE IF NOT EXISTS countersign_entry (idx BIGINT PRIMARY KEY, envelope BYTEA NOT"
        " NULL, leaf BYTEA NOT NULL, identity TEXT NOT NULL, scope TEXT NOT NULL, kind TEXT NOT"
        " NULL)"
    ),
    (
        "CREATE TABLE IF NOT EXISTS countersign_subject (sha256 TEXT NOT NULL, idx BIGINT NOT NULL,"
        " PRIMARY KEY (sha256, idx))"
    ),
    (
        "CREATE TABLE IF NOT EXISTS countersign_node (level INTEGER NOT NULL, position BIGINT NOT"
        " NULL, hash BYTEA NOT NULL, PRIMARY KEY (level, position))"
    ),
    (
        "CREATE TABLE IF NOT EXISTS countersign_head (one INTEGER PRIMARY KEY CHECK (one = 1),"
        " version INTEGER NOT NULL, checkpoint TEXT NOT NULL)"
    ),
    *(f"CREATE INDEX IF NOT EXISTS {name} ON {columns}" for name, columns in INDICES.items()),
    (
        "CREATE OR REPLACE FUNCTION countersign_append_only() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RAISE EXCEPTION ''the log is append-only''; END'"
    ),
    *(
        f"CREATE OR REPLACE TRIGGER countersign_{table}_{verb} BEFORE {verb} ON countersign_{table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION countersign_append_only()"
        for table in TABLES
        for verb in ("UPDATE", "DELETE", "TRUNCATE")
    ),
]


class PostgresLog(SqlLog):
    """See `governance.log.port.Log`. Without a checkpoint signer it can be read only."""

    def __init__(self, uri: str, project: str, checkpoint_signer: Signer | None = None) -> None:
        self._idle: list[tuple[int, float, psycopg.Connection]] = []
        self._uri = plain_uri(uri)
        self.project = project
        self.where = without_credentials(uri)
        self.signer = checkpoint_signer

    def __repr__(self) -> str:
        return f"PostgresLog({self.where})"

    def __del__(self) -> None:
        """Closes connections, so that they do not stay open on the server."""
        while self._idle:
            process, _, connection = self._idle.pop()
            if process == os.getpid():
                connection.close()

    def __getstate__(self) -> dict[str, Any]:
        """For another process: without connections."""
        return {**super().__getstate__(), "_idle": []}

    @contextmanager
    def reading(self) -> Iterator[Execute | None]:
        """Statements within one snapshot; None where there is no log yet."""
        with self._connection("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") as execute:
            yield execute if _exists(execute) else None

    @contextmanager
    def writing(self) -> Iterator[Execute]:
        """Statements within one transaction that no other writer enters; the tables are there."""
        with self._connection("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE") as execute:
            execute(f"SET LOCAL lock_timeout = {round(BUSY_SECONDS * 1000)}", ())
            execute("SELECT pg_advisory_xact_lock(?)", (_LOCK,))
            if not _exists(execute) or not all(_has(execute, name) for name in INDICES):
                for statement in _SCHEMA:
                    execute(statement, ())
            yield execute

    @contextmanager
    def _connection(self, begin: str) -> Iterator[Execute]:
        """A transaction: committed at the end, rolled back by whatever is raised."""
        try:
            connection = self._connect(begin)
            try:
                yield _execute(connection)
                connection.execute("COMMIT")
            except BaseException:
                connection.close()
                raise
            self._idle.append((os.getpid(), time.monotonic(), connection))
        except psycopg.Error as error:
            raise _error(error, self.where) from None

    def _connect(self, begin: str) -> psycopg.Connection:
        """A connection of this process in a new transaction; one that was idle may be dead, and is
        replaced.
        """
        while self._idle:
            process, since, connection = self._idle.pop()
            if process != os.getpid():
                continue  # a parent's: not ours to use or to close
            if time.monotonic() - since < IDLE_SECONDS:
                with suppress(psycopg.Error):
                    connection.execute(begin)
                    return connection
            connection.close()
        connection = psycopg.connect(
            self._uri,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            # poolers between here and the server know no prepared statements
            prepare_threshold=None,
            application_name="countersign",
        )
        connection.execute(begin)
        return connection


def plain_uri(uri: str) -> str:
    """As libpq reads it: SQLAlchemy's addresses name a driver, too."""
    scheme, separator, rest = uri.partition("://")
    if scheme.partition("+")[0] not in ("postgresql", "postgres") or not separator:
        raise ConfigError(
            "not the address of a PostgreSQL database", expected="postgresql://USER@HOST/DATABASE"
        )
    return f"postgresql://{rest}"


def without_credentials(uri: str) -> str:
    """The address with host, port and database only. Raises `ConfigError` for a wrong address."""
    try:
        parts = conninfo_to_dict(plain_uri(uri))
    except psycopg.Error:  # its message quotes the address
        raise ConfigError(
            "the address of the PostgreSQL database cannot be read",
            where="COUNTERSIGN_LOG",
            expected="postgresql://USER:PASSWORD@HOST:PORT/DATABASE, special characters as %XX",
        ) from None
    host, port = str(parts.get("host") or "localhost"), parts.get("port")
    place = quote(host, safe=":,[]") + (f":{port}" if port else "")
    return f"postgresql://{place}/{quote(str(parts.get('dbname') or ''))}"


def _execute(connection: psycopg.Connection) -> Execute:
    def execute(statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        query = statement.replace("%", "%%").replace("?", "%s") if values else statement
        cursor = connection.execute(query, tuple(values) or None)
        return cursor.fetchall() if cursor.description else []

    return execute


def _exists(execute: Execute) -> bool:
    if not _has(execute, "countersign_head"):
        return False
    check_version(execute)
    return True


def _has(execute: Execute, name: str) -> bool:
    return execute("SELECT to_regclass(?)", (name,))[0][0] is not None


_AGAIN = "try again: what was appended is found, and not appended twice"
# A refused connection has no SQLSTATE, so PostgreSQL's message is searched.
_BUSY = (
    "too many clients",
    "starting up",
    "in recovery mode",
    "not yet accepting connections",
    "is shutting down",
)
_FULL = ("No space left on device", "could not write init file")
"""A new connection may have to write a file that caches the catalogue."""
_AWAY = {
    "Connection refused": "nobody answers there",
    "timeout expired": f"no answer within {CONNECT_SECONDS} s",
    "failed to resolve host": "the host's name is not known",
}


def _error(error: psycopg.Error, where: str) -> CountersignError:  # noqa: PLR0911 - a table
    """PostgreSQL's error as an error of ours, with the next step. Its own text is repeated only
    where it names no account.
    """
    state = error.sqlstate or ""
    text = str(error)
    if (
        state in ("28000", "28P01")
        or "authentication failed" in text
        or "no password supplied" in text
    ):
        return StorageError(
            "the database server did not accept the account or its password",
            where=where,
            fix="check user and password in COUNTERSIGN_LOG, or the password file (PGPASSFILE)",
        )
    if state == "3D000" or ("database" in text and "does not exist" in text):
        return StorageError(
            "the server has no such database", where=where, fix="create it, or correct the address"
        )
    if state in ("53300", "57P03") or any(words in text for words in _BUSY):
        return BusyError(
            "the database server takes no more connections now", where=where, fix="try again"
        )
    if state in ("55P03", "57014"):
        return BusyError(
            f"the log stayed in use by another process for {BUSY_SECONDS:.0f} s",
            where=where,
            fix="try again",
        )
    if state in ("40001", "40P01"):
        return ConflictError("another transaction was first", where=where, fix="try again")
    if state == "53100" or any(words in text for words in _FULL):
        return StorageError(
            "the database server's disk is full; the log is unchanged",
            where=where,
            fix="free space, then run again",
        )
    if state in ("42501", "25006"):
        return StorageError(
            "this account may not read or write the log; it is unchanged",
            where=where,
            fix="grant it what docs/log.md names, or use an account that has it",
        )
    if state.startswith("XX"):
        return StorageError(
            f"the log's database is damaged: {error.diag.message_primary}",
            where=where,
            fix="restore it from a copy, then `countersign verify`",
        )
    if not state or state.startswith(("08", "57P")):
        why = next((f": {reason}" for words, reason in _AWAY.items() if words in text), "")
        return StorageError(
            f"the database server cannot be reached, or went away{why}", where=where, fix=_AGAIN
        )
    return StorageError(
        f"the log's database: {error.diag.message_primary or type(error).__name__}", where=where
    )
