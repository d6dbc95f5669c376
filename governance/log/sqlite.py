"""The log in SQLite: tables `countersign_*`, in the same database file as the registry's.

- Each operation opens its own connection, so that threads and forks need no care; SQLite's rollback journal
  is left as it is, because the file is shared with MLflow and may stand on a network disk.
- An append is one `BEGIN IMMEDIATE` transaction, fully synchronous: after a kill or a full disk at any
  moment it is there whole or not at all.
- Triggers refuse UPDATE and DELETE, against accidents. Against intent there are the tree and the checkpoints.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from heapq import merge
from pathlib import Path

from governance.errors import BusyError, CountersignError, StorageError, VerificationError
from governance.keys import Signer
from governance.log import merkle
from governance.log.checkpoint import Checkpoint, origin_of, parse_checkpoint, sign_checkpoint
from governance.log.port import ORIGIN_SCOPE, Also, Derived, Entry, Execute, check_size

BUSY_SECONDS = 60.0
PAGE = 512
MAX_LEVEL = 48
SCHEMA_VERSION = 1
_SELECT = "SELECT idx, envelope, leaf, identity, scope, kind FROM countersign_entry "
_LATEST = "WHERE scope = ? ORDER BY idx DESC LIMIT 1"
_BY_SUBJECT = "WHERE idx IN (SELECT idx FROM countersign_subject WHERE sha256 = ?) ORDER BY idx"
_BY_KIND = "WHERE kind = ? AND idx >= ? ORDER BY idx LIMIT ?"
_TABLES = ("entry", "subject", "node")
_SCHEMA = [
    "CREATE TABLE IF NOT EXISTS countersign_entry (idx INTEGER PRIMARY KEY, envelope BLOB NOT NULL, leaf BLOB NOT NULL,"
    " identity TEXT NOT NULL, scope TEXT NOT NULL, kind TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS countersign_entry_scope ON countersign_entry (scope, idx)",
    "CREATE INDEX IF NOT EXISTS countersign_entry_kind ON countersign_entry (kind, idx)",
    "CREATE TABLE IF NOT EXISTS countersign_subject (sha256 TEXT NOT NULL, idx INTEGER NOT NULL,"
    " PRIMARY KEY (sha256, idx)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS countersign_node (level INTEGER NOT NULL, position INTEGER NOT NULL,"
    " hash BLOB NOT NULL, PRIMARY KEY (level, position)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS countersign_head (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL,"
    " checkpoint TEXT NOT NULL)",
    *(
        f"CREATE TRIGGER IF NOT EXISTS countersign_{table}_{verb} BEFORE {verb} ON countersign_{table}"
        " BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END"
        for table in _TABLES
        for verb in ("UPDATE", "DELETE")
    ),
]


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """A connection in autocommit, which waits `BUSY_SECONDS` for others.

    A reader, too, opens for writing where it may: only so can SQLite undo what a killed writer left half done.
    """
    mode = "rwc" if write else "rw"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY_SECONDS, isolation_level=None
    )
    connection.execute("PRAGMA synchronous = EXTRA" if write else "PRAGMA query_only = ON")
    return connection


class SqliteLog:
    """See `governance.log.port.Log`. Without a checkpoint signer it can be read only."""

    def __init__(self, path: Path, project: str, checkpoint_signer: Signer | None = None) -> None:
        self.path = path
        self.project = project
        self._signer = checkpoint_signer

    def append(
        self,
        envelope: bytes,
        *,
        identity: str,
        scope: str,
        subjects: Sequence[str],
        kind: str,
        expected_size: int | None = None,
        also: Also | None = None,
    ) -> Entry:
        """Appends, or finds what is there already."""
        if self._signer is None:
            raise StorageError("this log was opened for reading", where=str(self.path))
        with self._transaction() as connection:
            size = _size(connection)
            check_size(size, expected_size)
            known = _first(connection, _LATEST, scope)
            if known and (scope == ORIGIN_SCOPE or (known.identity == identity and also is None)):
                return known
            _check_continuous(connection, size)
            if (size == 0) != (scope == ORIGIN_SCOPE):
                raise StorageError("a log begins with its origin, and has one only", where=str(self.path))
            entry = Entry(size, envelope, merkle.leaf_hash(envelope), identity, scope, kind)
            _insert(connection, entry, subjects)
            _sign_head(connection, entry, self.project, self._signer)
            if also is not None:
                also(_execute(connection))
        return entry

    def size(self) -> int:
        """Number of entries; 0 where there is no log yet."""
        return self.head()[0]

    def checkpoint(self) -> str:
        """The signed note over all entries; empty where there are none."""
        return self.head()[1]

    def head(self) -> tuple[int, str]:
        """Number of entries and checkpoint, of one moment."""
        with self._reading() as connection:
            if connection is None:
                return 0, ""
            row = connection.execute("SELECT checkpoint FROM countersign_head").fetchone()
            return _size(connection), str(row[0]) if row else ""

    def entry(self, index: int) -> Entry:
        """One entry. Raises `VerificationError` where there is none."""
        with self._reading() as connection:
            found = _first(connection, "WHERE idx = ?", index) if connection else None
        if found is None:
            raise VerificationError("the log has no such entry", where=f"entry {index}")
        return found

    def entries(self, start: int = 0) -> Iterator[Entry]:
        """Entries from `start`, in order; pages, so that nobody is kept from writing meanwhile."""
        while page := self._select("WHERE idx >= ? ORDER BY idx LIMIT ?", start, PAGE):
            yield from page
            start = page[-1].index + 1

    def by_subject(self, sha256: str) -> list[Entry]:
        """Entries whose statement has this subject, in order."""
        return self._select(_BY_SUBJECT, sha256)

    def by_kind(self, kinds: Sequence[str]) -> Iterator[Entry]:
        """Entries of these kinds that are there when the first is asked for, in order."""
        size = self.size()
        return merge(*(self._of_kind(kind, size) for kind in set(kinds)), key=lambda entry: entry.index)

    def latest(self, scope: str) -> Entry | None:
        """The latest entry of a scope."""
        found = self._select(_LATEST, scope)
        return found[0] if found else None

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """See `governance.log.merkle`."""
        with self._nodes() as nodes:
            return merkle.inclusion_proof(index, size, nodes)

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """See `governance.log.merkle`."""
        with self._nodes() as nodes:
            return merkle.consistency_proof(old, new, nodes)

    def derived(self, start: int, end: int) -> dict[int, Derived]:
        """What is kept beside entries [start, end), by index."""
        subjects: dict[int, set[str]] = {}
        nodes: dict[int, set[tuple[int, int, bytes]]] = {}
        with self._reading() as connection:
            if connection is None:
                return {}
            query = "SELECT idx, sha256 FROM countersign_subject WHERE idx >= ? AND idx < ?"
            for index, sha256 in connection.execute(query, (start, end)):
                subjects.setdefault(index, set()).add(str(sha256))
            query = "SELECT position, hash FROM countersign_node WHERE level = ? AND position >= ? AND position < ?"
            for level in range(MAX_LEVEL):  # node (level, position) is completed by leaf (position + 1) * 2**level - 1
                for position, value in connection.execute(query, (level, start >> level, end >> level)):
                    completed = ((position + 1) << level) - 1
                    nodes.setdefault(completed, set()).add((level, position, value))
        return {
            index: Derived(frozenset(subjects.get(index, ())), frozenset(nodes.get(index, ())))
            for index in subjects.keys() | nodes.keys()
        }

    def _of_kind(self, kind: str, size: int) -> Iterator[Entry]:
        start = 0
        while page := self._select(_BY_KIND, kind, start, PAGE):
            yield from (entry for entry in page if entry.index < size)
            start = page[-1].index + 1
            if start >= size:
                return

    def _select(self, where: str, *values: object) -> list[Entry]:
        with self._reading() as connection:
            return [_entry(row) for row in connection.execute(_SELECT + where, values)] if connection else []

    @contextmanager
    def _nodes(self) -> Iterator[merkle.Nodes]:
        with self._reading() as connection:
            if connection is None:
                raise VerificationError("there is no log", where=str(self.path))
            yield _reader(connection)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """A connection within one read transaction; None where there is no log yet."""
        if not self.path.exists():
            yield None
            return
        with self._translated():
            connection = connect(self.path, write=False)
            try:
                connection.execute("BEGIN")
                yield connection if _exists(connection) else None
            finally:
                connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._translated():
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            connection = connect(self.path, write=True)
            try:
                connection.execute("BEGIN IMMEDIATE")
                if not _exists(connection) or not _complete(connection):
                    for statement in _SCHEMA:
                        connection.execute(statement)
                yield connection
                connection.execute("COMMIT")
            finally:
                connection.close()  # rolls back what is not committed

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise _error(error, self.path) from None


def _insert(connection: sqlite3.Connection, entry: Entry, subjects: Sequence[str]) -> None:
    connection.execute(
        "INSERT INTO countersign_entry (idx, envelope, leaf, identity, scope, kind) VALUES (?, ?, ?, ?, ?, ?)",
        (entry.index, entry.envelope, entry.leaf_hash, entry.identity, entry.scope, entry.kind),
    )
    connection.executemany(
        "INSERT INTO countersign_subject (sha256, idx) VALUES (?, ?)",
        [(sha256, entry.index) for sha256 in sorted(set(subjects))],
    )
    connection.executemany(
        "INSERT INTO countersign_node (level, position, hash) VALUES (?, ?, ?)",
        merkle.completed(entry.leaf_hash, entry.index, _reader(connection)),
    )


def _check_continuous(connection: sqlite3.Connection, size: int) -> None:
    """Nothing is put on top of entries that the checkpoint does not cover."""
    head = connection.execute("SELECT checkpoint FROM countersign_head").fetchone()
    if (parse_checkpoint(str(head[0]))[0].size if head else 0) != size:
        raise VerificationError(f"the log has {size} entries", expected="as many as its checkpoint says")


def _sign_head(connection: sqlite3.Connection, entry: Entry, project: str, signer: Signer) -> None:
    """The checkpoint over everything up to `entry`."""
    first = _first(connection, "WHERE idx = ?", 0)
    if first is None:
        raise VerificationError("the log has no such entry", where="entry 0")
    size = entry.index + 1
    state = Checkpoint(origin_of(project, first.leaf_hash), size, merkle.root(size, _reader(connection)))
    connection.execute(
        "INSERT OR REPLACE INTO countersign_head (one, version, checkpoint) VALUES (1, ?, ?)",
        (SCHEMA_VERSION, sign_checkpoint(state, signer)),
    )


def _first(connection: sqlite3.Connection, where: str, value: object) -> Entry | None:
    row = connection.execute(_SELECT + where, (value,)).fetchone()
    return _entry(row) if row else None


def _entry(row: tuple[object, ...]) -> Entry:
    """SQLite keeps any type in any column: what someone else wrote there must not pass for an entry."""
    index, envelope, leaf, identity, scope, kind = row
    if not (isinstance(index, int) and isinstance(envelope, bytes) and isinstance(leaf, bytes)):
        raise VerificationError("a row of the log has the wrong types", where=f"entry {index}")
    return Entry(index, envelope, leaf, str(identity), str(scope), str(kind))


def _reader(connection: sqlite3.Connection) -> merkle.Nodes:
    def node(level: int, position: int) -> bytes:
        row = connection.execute(
            "SELECT hash FROM countersign_node WHERE level = ? AND position = ?", (level, position)
        ).fetchone()
        if row is None or not isinstance(row[0], bytes):
            raise VerificationError("a node of the log's tree is missing", where=f"level {level}, position {position}")
        return row[0]

    return node


def _exists(connection: sqlite3.Connection) -> bool:
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'countersign_head'"
    if connection.execute(query).fetchone() is None:
        return False
    row = connection.execute("SELECT version FROM countersign_head").fetchone()
    if row and row[0] != SCHEMA_VERSION:
        raise StorageError(
            f"the log has format {row[0]}",
            expected=f"format {SCHEMA_VERSION}",
            fix="use the version of Countersign that wrote it",
        )
    return True


def _complete(connection: sqlite3.Connection) -> bool:
    """Whether the index that came last is there: logs begun before it get it with their next entry."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = 'countersign_entry_kind'"
    return connection.execute(query).fetchone() is not None


def _execute(connection: sqlite3.Connection) -> Execute:
    return lambda statement, values: connection.execute(statement, tuple(values)).fetchall()


def _size(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT MAX(idx) + 1 FROM countersign_entry").fetchone()
    return int(row[0] or 0)


def _error(error: sqlite3.Error | OSError, path: Path) -> CountersignError:
    """SQLite's errors in words, with the next step."""
    text = str(error)
    name = getattr(error, "sqlite_errorname", "")
    where = str(path)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return BusyError(
            f"the log stayed in use by another process for {BUSY_SECONDS:.0f} s", where=where, fix="try again"
        )
    if name.startswith("SQLITE_FULL"):
        return StorageError("the disk is full; the log is unchanged", where=where, fix="free space, then run again")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")) or isinstance(error, OSError):
        return StorageError(
            f"the log cannot be opened for writing or reading: {text}; it is unchanged",
            where=where,
            fix="allow this account to write the folder, or set COUNTERSIGN_HOME to one it can write",
        )
    if name.startswith("SQLITE_IOERR"):
        return StorageError(
            f"the disk did not take or give the data: {text}; the log is unchanged",
            where=where,
            fix="check space and quota",
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return StorageError(
            f"the log's database is damaged: {text}",
            where=where,
            fix="restore it from a copy, then `countersign verify`",
        )
    return StorageError(f"the log's database: {text}", where=where)
