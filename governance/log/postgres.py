"""The log in PostgreSQL, in the same database as the registry's.

- A lock on the table of the checkpoint, held until the transaction ends, keeps writers apart. It
  needs the right to change that table; an advisory lock would need none, so that any account of the
  database could block the log.
- Readers see one snapshot and do not wait. A connection is kept for the next operation of the same
  process.
- Errors name host, port and database, never the account or its password.
"""

from __future__ import annotations

import os
import re
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
from governance.log.heads import Heads
from governance.log.port import Execute
from governance.log.sql import HEAD_TABLE, TABLES, Database, SqlLog, tables

BUSY_SECONDS = 60.0
CONNECT_SECONDS = 10
IDLE_SECONDS = 30.0
"""An unused connection is taken for alive for this long."""
HEAD = "countersign_head"
_NAME_TAKEN = (
    psycopg.errors.UniqueViolation,
    psycopg.errors.DuplicateTable,
    psycopg.errors.DuplicateObject,
)
"""What `CREATE TABLE IF NOT EXISTS` raises where somebody else makes the table at the same time: it
depends on which catalogue (tables, types, their indices) is reached first.
"""
_LOCK = f"LOCK TABLE {HEAD} IN EXCLUSIVE MODE"
"""Keeps writers apart. It conflicts with no lock that an account with `SELECT` only can take, and
needs `UPDATE`: https://www.postgresql.org/docs/15/sql-lock.html
"""


class PostgresDatabase(Database):
    """A PostgreSQL database. A connection is kept for the next operation of the same process."""

    schema = [
        *tables("BIGINT", "BYTEA"),
        (
            "CREATE OR REPLACE FUNCTION countersign_append_only() RETURNS trigger LANGUAGE plpgsql"
            " AS 'BEGIN RAISE EXCEPTION ''the log is append-only''; END'"
        ),
        *(
            f"CREATE OR REPLACE TRIGGER countersign_{table}_{verb} BEFORE {verb} ON"
            f" countersign_{table} FOR EACH STATEMENT EXECUTE FUNCTION countersign_append_only()"
            for table in TABLES
            for verb in ("UPDATE", "DELETE", "TRUNCATE")
        ),
    ]
    present = "SELECT 1 WHERE to_regclass(?) IS NOT NULL"

    def __init__(self, uri: str) -> None:
        self._idle: list[tuple[int, float, psycopg.Connection]] = []
        self._uri = plain_uri(uri)
        self.where = without_credentials(uri)

    def __del__(self) -> None:
        """Closes connections, so that they do not stay open on the server."""
        while self._idle:
            process, _, connection = self._idle.pop()
            if process == os.getpid():
                connection.close()

    def __getstate__(self) -> dict[str, Any]:
        """For another process: without connections."""
        return {**self.__dict__, "_idle": []}

    @contextmanager
    def snapshot(self) -> Iterator[Execute | None]:
        """See `Database`."""
        with self._connection("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") as execute:
            yield execute

    @contextmanager
    def transaction(self) -> Iterator[Execute]:
        """See `Database`."""
        with self._connection("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE") as execute:
            for setting in ("lock_timeout", "idle_in_transaction_session_timeout"):
                execute(f"SET LOCAL {setting} = {round(BUSY_SECONDS * 1000)}", ())
            if not self.has(execute, HEAD):
                self._make_head()
            execute(_LOCK, ())
            yield execute

    def _make_head(self) -> None:
        """Makes the table to lock, in a transaction of its own. Whoever does the same at the same
        time waits for the first, finds the name taken, and goes on. The others are made under the
        lock: two who make several tables and triggers at once may wait for each other.
        """
        try:
            with psycopg.connect(self._uri, connect_timeout=CONNECT_SECONDS) as connection:
                connection.execute(HEAD_TABLE.encode())
        except _NAME_TAKEN:
            return

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
        while idle := self._taken():
            process, since, connection = idle
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

    def _taken(self) -> tuple[int, float, psycopg.Connection] | None:
        """An idle connection, which no other thread gets; None where there is none."""
        with suppress(IndexError):  # a look before would not hold until the next line
            return self._idle.pop()
        return None


class PostgresLog(SqlLog):
    """See `governance.log.port.Log`. Without a checkpoint signer it can be read only."""

    def __init__(
        self,
        uri: str,
        project: str,
        checkpoint_signer: Signer | None = None,
        heads: Heads | None = None,
    ) -> None:
        super().__init__(PostgresDatabase(uri), project, checkpoint_signer, heads)


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
        found = "the address of the PostgreSQL database cannot be read"
        expected = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, special characters as %XX"
        raise ConfigError(found, where="COUNTERSIGN_LOG", expected=expected) from None
    host, port = str(parts.get("host") or "localhost"), parts.get("port")
    place = quote(host, safe=":,[]") + (f":{port}" if port else "")
    return f"postgresql://{place}/{quote(str(parts.get('dbname') or ''))}"


def _execute(connection: psycopg.Connection) -> Execute:
    def execute(statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        query = statement.replace("%", "%%").replace("?", "%s") if values else statement
        cursor = connection.execute(query, tuple(values) or None)
        return cursor.fetchall() if cursor.description else []

    return execute


_AWAY = "the database server cannot be reached, or went away"
_AGAIN = "try again: what was appended is found, and not appended twice"
# Where libpq refuses a connection, it gives neither SQLSTATE nor class, so its message is searched.
# That message names the account, so it is never repeated.
_ERRORS: tuple[tuple[str, type[CountersignError], str, str], ...] = (
    (
        "^28000|^28P01|authentication failed|no password supplied",
        StorageError,
        "the database server did not accept the account or its password",
        "check user and password in COUNTERSIGN_LOG, or the password file (PGPASSFILE)",
    ),
    (
        "^3D000|database .* does not exist",
        StorageError,
        "the server has no such database",
        "create it, or correct the address",
    ),
    (
        "^53300|^57P03|too many clients|starting up|in recovery mode|is shutting down"
        "|not yet accepting connections",
        BusyError,
        "the database server takes no more connections now",
        "try again",
    ),
    (
        "^55P03|^57014|^25P03",
        BusyError,
        f"the database stayed in use by another process for {BUSY_SECONDS:.0f} s",
        "try again",
    ),
    ("^40001|^40P01", ConflictError, "another transaction was first", "try again"),
    (
        # a new connection may have to write a file that caches the catalogue
        "^53100|No space left on device|could not write init file",
        StorageError,
        "the database server's disk is full; the database is unchanged",
        "free space, then run again",
    ),
    (
        "^42501|^25006",
        StorageError,
        "this account may not read or write the database, which is unchanged",
        "grant it what docs/log.md names, or use an account that has it",
    ),
    (
        "^XX",
        StorageError,
        "the database is damaged: {}",
        "restore it from a copy, then `countersign verify`",
    ),
    ("Connection refused", StorageError, f"{_AWAY}: nobody answers there", _AGAIN),
    ("timeout expired", StorageError, f"{_AWAY}: no answer within {CONNECT_SECONDS} s", _AGAIN),
    ("failed to resolve host", StorageError, f"{_AWAY}: the host's name is not known", _AGAIN),
    ("^ |^08|^57P", StorageError, _AWAY, _AGAIN),
    ("", StorageError, "the database: {}", ""),
)
"""A pattern in an error's SQLSTATE and message, what it means, and the next step."""


def _error(error: psycopg.Error, where: str) -> CountersignError:
    """PostgreSQL's error as an error of ours, with the next step."""
    text = f"{error.sqlstate or ''} {error}"
    family, found, fix = next(row[1:] for row in _ERRORS if re.search(row[0], text))
    message = error.diag.message_primary or type(error).__name__
    return family(found.format(message), where=where, fix=fix)
