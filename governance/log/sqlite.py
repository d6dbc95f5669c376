"""The log in SQLite, in the same database file as the registry's.

- Each operation opens its own connection, so that threads and forks need no care; SQLite's rollback
  journal is left as it is, because the file is shared with MLflow and may stand on a network disk.
- An append is one `BEGIN IMMEDIATE` transaction, fully synchronous: after a kill or a full disk at
  any moment it is there whole or not at all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from governance.attest.keys import Signer
from governance.base.errors import BusyError, CountersignError, StorageError
from governance.log.port import Execute
from governance.log.sql import INDICES, TABLES, SqlLog, check_version

BUSY_SECONDS = 60.0
_SCHEMA = [
    (
        "CREATE TABLE IF NOT EXISTS countersign_entry (idx INTEGER PRIMARY KEY, envelope BLOB NOT"
        " NULL, leaf BLOB NOT NULL, identity TEXT NOT NULL, scope TEXT NOT NULL, kind TEXT NOT"
        " NULL)"
    ),
    (
        "CREATE TABLE IF NOT EXISTS countersign_subject (sha256 TEXT NOT NULL, idx INTEGER NOT"
        " NULL, PRIMARY KEY (sha256, idx)) WITHOUT ROWID"
    ),
    (
        "CREATE TABLE IF NOT EXISTS countersign_node (level INTEGER NOT NULL, position INTEGER NOT"
        " NULL, hash BLOB NOT NULL, PRIMARY KEY (level, position)) WITHOUT ROWID"
    ),
    (
        "CREATE TABLE IF NOT EXISTS countersign_head (one INTEGER PRIMARY KEY CHECK (one = 1),"
        " version INTEGER NOT NULL, checkpoint TEXT NOT NULL)"
    ),
    *(f"CREATE INDEX IF NOT EXISTS {name} ON {columns}" for name, columns in INDICES.items()),
    *(
        f"CREATE TRIGGER IF NOT EXISTS countersign_{table}_{verb} BEFORE {verb} ON"
        f" countersign_{table} BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END"
        for table in TABLES
        for verb in ("UPDATE", "DELETE")
    ),
]


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """A connection in autocommit, which waits `BUSY_SECONDS` for others.

    A reader, too, opens for writing where it may: only so can SQLite undo what a killed writer left
    half done.
    """
    mode = "rwc" if write else "rw"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
    )
    connection.execute("PRAGMA synchronous = EXTRA" if write else "PRAGMA query_only = ON")
    return connection


class SqliteLog(SqlLog):
    """See `governance.log.port.Log`. Without a checkpoint signer it can be read only."""

    def __init__(self, path: Path, project: str, checkpoint_signer: Signer | None = None) -> None:
        self.path = path
        self.project = project
        self.where = str(path)
        self.signer = checkpoint_signer

    @contextmanager
    def reading(self) -> Iterator[Execute | None]:
        """Statements within one snapshot; None where there is no log yet."""
        with self._translated():
            if not self.path.exists():
                yield None
                return
            connection = connect(self.path, write=False)
            try:
                connection.execute("BEGIN")
                execute = _execute(connection)
                yield execute if _exists(execute) else None
            finally:
                connection.close()

    @contextmanager
    def writing(self) -> Iterator[Execute]:
        """Statements within one transaction that no other writer enters; the tables are there."""
        with self._translated():
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            connection = connect(self.path, write=True)
            try:
                connection.execute("BEGIN IMMEDIATE")
                execute = _execute(connection)
                if not _exists(execute) or not all(_has(execute, name) for name in INDICES):
                    for statement in _SCHEMA:
                        execute(statement, ())
                yield execute
                connection.execute("COMMIT")
            finally:
                connection.close()  # rolls back what is not committed

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise _error(error, self.path) from None


def _execute(connection: sqlite3.Connection) -> Execute:
    return lambda statement, values: connection.execute(statement, tuple(values)).fetchall()


def _exists(execute: Execute) -> bool:
    if not _has(execute, "countersign_head"):
        return False
    check_version(execute)
    return True


def _has(execute: Execute, name: str) -> bool:
    return bool(execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)))


_SPACE = "free space, then run again"
_RIGHTS = "allow this account to write the folder, or set COUNTERSIGN_HOME to one it can write"
_RESTORE = "restore it from a copy, then `countersign verify`"
_ERRORS: dict[tuple[str, ...], tuple[str, str]] = {
    ("SQLITE_FULL",): ("the disk is full; the log is unchanged", _SPACE),
    ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "OS"): (
        "the log cannot be opened for writing or reading: {}; it is unchanged",
        _RIGHTS,
    ),
    ("SQLITE_IOERR",): (
        "the disk did not take or give the data: {}; the log is unchanged",
        "check space and quota",
    ),
    ("SQLITE_CORRUPT", "SQLITE_NOTADB"): ("the log's database is damaged: {}", _RESTORE),
    ("",): ("the log's database: {}", ""),
}
"""Beginnings of the names of SQLite's errors, what to say of them and the next step."""


def _error(error: sqlite3.Error | OSError, path: Path) -> CountersignError:
    """SQLite's errors in words, with the next step."""
    text = getattr(error, "strerror", None) or str(error)
    name = "OS" if isinstance(error, OSError) else getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        found = f"the log stayed in use by another process for {BUSY_SECONDS:.0f} s"
        return BusyError(found, where=str(path), fix="try again")
    found, fix = next(words for names, words in _ERRORS.items() if name.startswith(names))
    return StorageError(found.format(text), where=str(path), fix=fix)
