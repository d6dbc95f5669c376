"""The log in SQLite, in the same database file as the registry's.

- Each operation opens its own connection, so that threads and forks need no care; SQLite's rollback
  journal is left as it is, because the file is shared with MLflow and may stand on a network disk.
- Within `one_reader`, a thread reads over one connection: each new one reads the schema of all
  tables first. Between two questions the connection holds no lock.
- An append is one `BEGIN IMMEDIATE` transaction, fully synchronous: after a kill or a full disk at
  any moment it is there whole or not at all.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from governance.attest.keys import Signer
from governance.base.errors import BusyError, CountersignError, StorageError
from governance.log.heads import Heads
from governance.log.port import Execute
from governance.log.sql import TABLES, Database, SqlLog, tables

BUSY_SECONDS = 60.0


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


@dataclass
class _Idle:
    """Connections of one thread that nobody uses at the moment."""

    owner: tuple[int, int]
    """Process and thread. Forks and other threads use none of them."""
    connections: dict[Path, tuple[tuple[int, int], sqlite3.Connection]] = field(
        default_factory=dict
    )
    """By file, with its device and inode."""


_IDLE: ContextVar[_Idle | None] = ContextVar("_IDLE", default=None)


def _here() -> tuple[int, int]:
    return os.getpid(), threading.get_ident()


def _inode(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


@contextmanager
def one_reader() -> Iterator[None]:
    """Within it, this thread reads each database over one connection."""
    idle = _Idle(_here())
    token = _IDLE.set(idle)
    try:
        yield
    finally:
        _IDLE.reset(token)
        if idle.owner == _here():
            for _, connection in idle.connections.values():
                connection.close()


@contextmanager
def _reader(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection for reading: the idle one of this thread, or a new one."""
    idle = _IDLE.get()
    if idle is None or idle.owner != _here():
        with closing(connect(path, write=False)) as connection:
            yield connection
        return
    inode = _inode(path)
    known, kept = idle.connections.pop(path, (None, None))
    if kept is not None and known != inode:  # another file has its name
        kept.close()
        kept = None
    connection = kept or connect(path, write=False)
    try:
        yield connection
        connection.rollback()
    except BaseException:
        connection.close()
        raise
    if path in idle.connections:  # of a question within this one
        connection.close()
    else:
        idle.connections[path] = inode, connection


class SqliteDatabase(Database):
    """A database file."""

    schema = [
        *tables("INTEGER", "BLOB", "WITHOUT ROWID"),
        *(
            f"CREATE TRIGGER IF NOT EXISTS countersign_{table}_{verb} BEFORE {verb} ON"
            f" countersign_{table} BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END"
            for table in TABLES
            for verb in ("UPDATE", "DELETE")
        ),
    ]
    present = "SELECT 1 FROM sqlite_master WHERE name = ?"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.where = str(path)

    @contextmanager
    def snapshot(self) -> Iterator[Execute | None]:
        """See `Database`."""
        with self._translated():
            if not self.path.exists():
                yield None
                return
            with _reader(self.path) as connection:
                connection.execute("BEGIN")
                yield _execute(connection)

    @contextmanager
    def transaction(self) -> Iterator[Execute]:
        """See `Database`."""
        with self._translated():
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # closing rolls back what is not committed
            with closing(connect(self.path, write=True)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                yield _execute(connection)
                connection.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise _error(error, self.path) from None


class SqliteLog(SqlLog):
    """See `governance.log.port.Log`. Without a checkpoint signer it can be read only."""

    def __init__(
        self,
        path: Path,
        project: str,
        checkpoint_signer: Signer | None = None,
        heads: Heads | None = None,
    ) -> None:
        super().__init__(SqliteDatabase(path), project, checkpoint_signer, heads)
        self.path = path


def _execute(connection: sqlite3.Connection) -> Execute:
    return lambda statement, values: connection.execute(statement, tuple(values)).fetchall()


_SPACE = "free space, then run again"
_RIGHTS = "allow this account to write the folder, or set COUNTERSIGN_HOME to one it can write"
_RESTORE = "restore it from a copy, then `countersign verify`"
_ERRORS: dict[tuple[str, ...], tuple[str, str]] = {
    ("SQLITE_FULL",): ("the disk is full; the database is unchanged", _SPACE),
    ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "OS"): (
        "the database cannot be opened for writing or reading: {}; it is unchanged",
        _RIGHTS,
    ),
    ("SQLITE_IOERR",): (
        "the disk did not read or write the data: {}; the database is unchanged",
        "check space and quota",
    ),
    ("SQLITE_CORRUPT", "SQLITE_NOTADB"): ("the database is damaged: {}", _RESTORE),
    ("",): ("the database: {}", ""),
}
"""Beginnings of the names of SQLite's errors, what to say of them and the next step."""


def _error(error: sqlite3.Error | OSError, path: Path) -> CountersignError:
    """SQLite's errors in words, with the next step."""
    text = getattr(error, "strerror", None) or str(error)
    name = "OS" if isinstance(error, OSError) else getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        found = f"the database stayed in use by another process for {BUSY_SECONDS:.0f} s"
        return BusyError(found, where=str(path), fix="try again")
    found, fix = next(words for names, words in _ERRORS.items() if name.startswith(names))
    return StorageError(found.format(text), where=str(path), fix=fix)
