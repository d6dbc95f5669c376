"""The log in tables `countersign_*`: the common part of SQLite and PostgreSQL.

A `Database` reads in one snapshot, writes in one transaction that keeps other writers out, and
translates errors. Everything else is here, in SQL that both understand.
Triggers refuse UPDATE and DELETE, against accidents. Against intent there are the tree and the
checkpoints.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from copy import copy
from functools import partial
from heapq import merge
from itertools import chain
from typing import Any

from governance.attest.keys import Signer
from governance.base.errors import StorageError, VerificationError
from governance.log import merkle
from governance.log.checkpoint import Checkpoint, origin_of, parse_checkpoint, sign_checkpoint
from governance.log.heads import Heads
from governance.log.port import (
    CHANGED,
    ORIGIN_SCOPE,
    Also,
    Derived,
    Entry,
    Execute,
    Filing,
    check_size,
    first_same,
)

PAGE = 512
MAX_LEVEL = 48
SCHEMA_VERSION = 1
TABLES = ("entry", "subject", "node")
INDICES = {
    "countersign_entry_scope": "countersign_entry (scope, idx)",
    "countersign_entry_kind": "countersign_entry (kind, idx)",
    "countersign_subject_idx": "countersign_subject (idx)",
}
"""An older log without one of them gets it with its next entry."""
COSIGNATURES = (
    "CREATE TABLE IF NOT EXISTS countersign_cosignature (witness TEXT PRIMARY KEY,"
    " size {integer} NOT NULL, note TEXT NOT NULL)"
)
"""The last checkpoint that each witness cosigned, with its line. An older log gets it with the
first one.
"""
_KEEP = (
    "INSERT INTO countersign_cosignature (witness, size, note) VALUES (?, ?, ?) ON CONFLICT"
    " (witness) DO UPDATE SET size = excluded.size, note = excluded.note"
    " WHERE excluded.size >= countersign_cosignature.size"
)
_SELECT = "SELECT idx, envelope, leaf, identity, scope, kind FROM countersign_entry "
_LATEST = "WHERE scope = ? ORDER BY idx DESC LIMIT 1"
_SAME = "WHERE scope = ? AND identity = ? ORDER BY idx"
_BY_SUBJECT = "WHERE idx IN (SELECT idx FROM countersign_subject WHERE sha256 = ?) ORDER BY idx"
_BY_KIND = "WHERE kind = ? AND idx >= ? ORDER BY idx LIMIT ?"
_RANGE = "WHERE idx >= ? AND idx < ? ORDER BY idx"
_SUBJECTS = "SELECT idx, sha256 FROM countersign_subject WHERE idx >= ? AND idx < ?"
_NODES = (
    "SELECT position, hash FROM countersign_node WHERE level = ? AND position >= ? AND position < ?"
)
_PLACES = "SELECT level, position, hash FROM countersign_node WHERE (level, position) IN"
HEAD_TABLE = (
    "CREATE TABLE IF NOT EXISTS countersign_head (one INTEGER PRIMARY KEY CHECK (one = 1),"
    " version INTEGER NOT NULL, checkpoint TEXT NOT NULL)"
)
_HEAD = (
    "INSERT INTO countersign_head (one, version, checkpoint) VALUES (1, ?, ?)"
    " ON CONFLICT (one) DO UPDATE SET version = excluded.version, checkpoint = excluded.checkpoint"
)


def tables(integer: str, blob: str, options: str = "") -> list[str]:
    """Makes the tables and indices, with a database's names of types. `options` stand behind the
    columns of a table whose rows are found by their primary key only.
    """
    return [
        (
            f"CREATE TABLE IF NOT EXISTS countersign_entry (idx {integer} PRIMARY KEY,"
            f" envelope {blob} NOT NULL, leaf {blob} NOT NULL, identity TEXT NOT NULL,"
            " scope TEXT NOT NULL, kind TEXT NOT NULL)"
        ),
        (
            "CREATE TABLE IF NOT EXISTS countersign_subject (sha256 TEXT NOT NULL,"
            f" idx {integer} NOT NULL, PRIMARY KEY (sha256, idx)) {options}"
        ),
        (
            "CREATE TABLE IF NOT EXISTS countersign_node (level INTEGER NOT NULL,"
            f" position {integer} NOT NULL, hash {blob} NOT NULL,"
            f" PRIMARY KEY (level, position)) {options}"
        ),
        HEAD_TABLE,
        COSIGNATURES.format(integer=integer),
        *(f"CREATE INDEX IF NOT EXISTS {name} ON {columns}" for name, columns in INDICES.items()),
    ]


class Database(ABC):
    """Where a log is kept, alone or beside MLflow's tables. Every method raises `StorageError`, or
    `BusyError` where another process keeps the database for too long.
    """

    where: str
    """The database, as errors name it: no account, no password."""
    schema: list[str]
    """Statements that make the log's tables where they are missing."""
    present: str
    """A query with a row if there is a table or index of this name."""

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[Execute | None]:
        """Statements within one snapshot; None where there is no database."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Execute]:
        """Statements within one transaction that no other writer enters."""

    def has(self, execute: Execute, *names: str) -> bool:
        """Whether the database has all these tables or indices."""
        return all(execute(self.present, (name,)) for name in names)


class SqlLog:
    """See `governance.log.port.Log`. Without a checkpoint signer it can be read only."""

    def __init__(
        self,
        database: Database,
        project: str,
        checkpoint_signer: Signer | None = None,
        heads: Heads | None = None,
    ) -> None:
        """`heads`: this machine's memory of logs. Without it, an append continues any entries."""
        self.database = database
        self.where = database.where
        self.project = project
        self.signer = checkpoint_signer
        self.heads = heads
        self._proven: merkle.Proven | None = merkle.Proven()

    def __getstate__(self) -> dict[str, Any]:
        """For another process that reads: private keys stay where they are."""
        return {**self.__dict__, "signer": None, "_proven": self._proven and merkle.Proven()}

    @contextmanager
    def reading(self) -> Iterator[Execute | None]:
        """Statements within one snapshot; None where there is no log yet."""
        with self.database.snapshot() as execute:
            yield execute if execute and self._is_there(execute) else None

    @contextmanager
    def writing(self) -> Iterator[Execute]:
        """Statements within one transaction that no other writer enters; the tables are there."""
        with self.database.transaction() as execute:
            if not self._is_there(execute) or not self.database.has(execute, *INDICES):
                for statement in self.database.schema:
                    execute(statement, ())
            yield execute

    def _is_there(self, execute: Execute) -> bool:
        """Whether the log has tables. Raises `StorageError` for a log of another format."""
        if not self.database.has(execute, "countersign_head"):
            return False
        rows = execute("SELECT version FROM countersign_head", ())
        if rows and rows[0][0] != SCHEMA_VERSION:
            raise StorageError(
                f"the log has format {rows[0][0]}",
                expected=f"format {SCHEMA_VERSION}",
                fix="use the version of Countersign that wrote it",
            )
        # A writer to PostgreSQL makes this table first, and the others once it has locked it.
        return bool(rows) or self.database.has(execute, "countersign_entry")

    def append(
        self,
        envelope: bytes,
        filing: Filing,
        *,
        expected_size: int | None = None,
        also: Also | None = None,
    ) -> Entry:
        """Appends, or finds what is there already."""
        if self.signer is None:
            raise StorageError("this log was opened for reading", where=self.where)
        with self.writing() as execute:
            size = size_of(execute)
            check_size(size, expected_size)
            latest = _first(execute, _LATEST, filing.scope)
            is_origin = filing.scope == ORIGIN_SCOPE
            is_event = filing.again or also is not None
            if latest and (is_origin or (latest.identity == filing.identity and not is_event)):
                return latest
            rows = execute(_SELECT + _SAME, (filing.scope, filing.identity)) if not also else []
            logged = first_same(map(_entry, rows), envelope, filing.identity)
            if logged is not None:
                return logged
            check_continuous(execute, size)
            if self.heads is not None and size:
                self._check_known(execute, size, self.heads)
            if (size == 0) != is_origin:
                raise StorageError(
                    "a log begins with its origin, and has one only", where=self.where
                )
            leaf = merkle.leaf_hash(envelope)
            entry = Entry(size, envelope, leaf, filing.identity, filing.scope, filing.kind)
            insert(execute, entry, filing.subjects)
            note = sign_checkpoint(state_of(execute, self.project, size + 1), self.signer)
            write_head(execute, note)
            if also is not None:
                also(execute)
            if self.heads is not None:
                self.heads.announce(note)
        if self.heads is not None:
            with suppress(StorageError):  # the entry is there; the next look at the log keeps it
                self.heads.keep(note)
        return entry

    def size(self) -> int:
        """Number of entries; 0 where there is no log yet."""
        return self.head()[0]

    def checkpoint(self) -> str:
        """The signed note over all entries; empty where there are none."""
        return self.head()[1]

    def head(self) -> tuple[int, str]:
        """Number of entries and checkpoint, of one moment."""
        with self.reading() as execute:
            return (size_of(execute), _note(execute)) if execute else (0, "")

    def entry(self, index: int) -> Entry:
        """One entry. Raises `VerificationError` where there is none."""
        entries = self._select("WHERE idx = ?", index)
        if not entries:
            raise VerificationError("the log has no such entry", where=f"entry {index}")
        return entries[0]

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
        return merge(
            *(self._of_kind(kind, size) for kind in set(kinds)), key=lambda entry: entry.index
        )

    def has_kind(self, kinds: Collection[str], start: int) -> bool:
        """Whether an entry from `start` on is of one of these kinds. It reads none of them."""
        places = ", ".join("?" * len(kinds))
        query = f"SELECT 1 FROM countersign_entry WHERE kind IN ({places}) AND idx >= ? LIMIT 1"  # noqa: S608
        with self.reading() as execute:
            return execute is not None and bool(execute(query, (*kinds, start)))

    def latest(self, scope: str) -> Entry | None:
        """The latest entry of a scope."""
        entries = self._select(_LATEST, scope)
        return entries[0] if entries else None

    def cosigned(self) -> list[str]:
        """See `governance.log.port.Log`."""
        with self.reading() as execute:
            if not execute or not self.database.has(execute, "countersign_cosignature"):
                return []
            rows = execute("SELECT note FROM countersign_cosignature ORDER BY witness", ())
            return [str(note) for (note,) in rows]

    def keep_cosigned(self, witness: str, size: int, note: str) -> None:
        """Keeps the note that a witness cosigned, in place of one of fewer entries. The caller
        verified it.
        """
        with self.database.transaction() as execute:
            if not self.database.has(execute, "countersign_cosignature"):
                execute(COSIGNATURES.format(integer="BIGINT"), ())
            execute(_KEEP, (witness, size, note))

    def replace_cosigned(self, notes: Sequence[str]) -> None:
        """Keeps these notes only: those of the log that this is a copy of."""
        with self.database.transaction() as execute:
            execute(COSIGNATURES.format(integer="BIGINT"), ())
            execute("DELETE FROM countersign_cosignature", ())
            for number, note in enumerate(notes):
                execute(_KEEP, (f"{number}", 0, note))

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
        with self.reading() as execute:
            return _derived(execute, start, end) if execute else {}

    def page(self, start: int, end: int) -> tuple[list[Entry], dict[int, Derived]]:
        """Entries [start, end) as far as they are there, and what is kept beside them, of one
        moment.
        """
        with self.reading() as execute:
            if execute is None:
                return [], {}
            entries = [_entry(row) for row in execute(_SELECT + _RANGE, (start, end))]
            return entries, _derived(execute, start, end)

    def _of_kind(self, kind: str, size: int) -> Iterator[Entry]:
        start = 0
        while page := self._select(_BY_KIND, kind, start, PAGE):
            yield from (entry for entry in page if entry.index < size)
            start = page[-1].index + 1
            if start >= size:
                return

    def _select(self, where: str, *values: object) -> list[Entry]:
        with self.reading() as execute:
            if execute is None:
                return []
            entries = [_entry(row) for row in execute(_SELECT + where, values)]
            self._prove(entries, execute)
            return entries

    def _check_known(self, execute: Execute, size: int, heads: Heads) -> None:
        """Raises `VerificationError` where the log is not what this machine signed or verified, or
        its checkpoint is not over its entries.
        """
        head = state_of(execute, self.project, size)
        if parse_checkpoint(_note(execute))[0] != head:
            found = "the entries are not those of the log's checkpoint"
            raise VerificationError(found, fix="countersign verify names the first that differs")
        nodes = node_reader(execute)
        heads.check(head.origin, lambda: head, partial(merkle.consistency_proof, nodes=nodes))

    def as_stored(self) -> SqlLog:
        """See `governance.log.port.Log`."""
        log = copy(self)
        log._proven = None
        return log

    def _prove(self, entries: Sequence[Entry], execute: Execute) -> None:
        """Raises `VerificationError` unless the entries' bytes are those in the tree of the log's
        checkpoint. Whoever changed an entry and its hash would have to change the tree, too.
        """
        proven = self._proven
        if proven is None:
            return
        leaves = []
        for entry in entries:
            if merkle.leaf_hash(entry.envelope) != entry.leaf_hash:
                raise VerificationError(CHANGED, where=f"entry {entry.index}")
            if not proven.has(entry.leaf_hash, entry.index):
                leaves.append((entry.index, entry.leaf_hash))
        if leaves:
            head, _ = parse_checkpoint(_note(execute), where="the log's checkpoint")
            proven.prove(leaves, head.size, head.root, partial(_stored_nodes, execute))

    @contextmanager
    def _nodes(self) -> Iterator[merkle.Nodes]:
        with self.reading() as execute:
            if execute is None:
                raise VerificationError("there is no log", where=self.where)
            yield node_reader(execute)


def insert(execute: Execute, entry: Entry, subjects: Sequence[str]) -> None:
    """Writes an entry, its subjects and the tree's nodes that it completes."""
    nodes_made = merkle.completed(entry.leaf_hash, entry.index, node_reader(execute))
    execute(
        "INSERT INTO countersign_entry (idx, envelope, leaf, identity, scope, kind) VALUES (?, ?,"
        " ?, ?, ?, ?)",
        (entry.index, entry.envelope, entry.leaf_hash, entry.identity, entry.scope, entry.kind),
    )
    distinct = sorted(set(subjects))
    if distinct:
        places = ", ".join(["(?, ?)"] * len(distinct))
        values = tuple(chain.from_iterable((sha256, entry.index) for sha256 in distinct))
        execute(f"INSERT INTO countersign_subject (sha256, idx) VALUES {places}", values)  # noqa: S608
    places = ", ".join(["(?, ?, ?)"] * len(nodes_made))
    execute(
        f"INSERT INTO countersign_node (level, position, hash) VALUES {places}",  # noqa: S608
        tuple(chain.from_iterable(nodes_made)),
    )


def check_continuous(execute: Execute, size: int) -> None:
    """Raises `VerificationError` where the checkpoint does not cover exactly the entries."""
    note = _note(execute)
    if (parse_checkpoint(note)[0].size if note else 0) != size:
        raise VerificationError(
            f"the log has {size} entries", expected="as many as its checkpoint says"
        )


def state_of(execute: Execute, project: str, size: int) -> Checkpoint:
    """The state over the first `size` entries."""
    first = _first(execute, "WHERE idx = ?", 0)
    if first is None:
        raise VerificationError("the log has no such entry", where="entry 0")
    return Checkpoint(
        origin_of(project, first.leaf_hash), size, merkle.root(size, node_reader(execute))
    )


def write_head(execute: Execute, note: str) -> None:
    """Writes the checkpoint over all entries."""
    execute(_HEAD, (SCHEMA_VERSION, note))


def _first(execute: Execute, where: str, value: object) -> Entry | None:
    rows = execute(_SELECT + where, (value,))
    return _entry(rows[0]) if rows else None


def _entry(row: tuple[object, ...]) -> Entry:
    """An entry from a row. Raises `VerificationError` for a row of wrong types, which SQLite can
    hold in any column, and for a negative index, which no tree covers.
    """
    index, envelope, leaf, identity, scope, kind = row
    if not (isinstance(index, int) and isinstance(envelope, bytes) and isinstance(leaf, bytes)):
        raise VerificationError("a row of the log has the wrong types", where=f"entry {index}")
    if index < 0:
        raise VerificationError(
            "a row of the log stands before its beginning", where=f"entry {index}"
        )
    return Entry(index, envelope, leaf, str(identity), str(scope), str(kind))


def node_reader(execute: Execute) -> merkle.Nodes:
    """The nodes of the tree as they are stored."""

    def node(level: int, position: int) -> bytes:
        rows = execute(
            "SELECT hash FROM countersign_node WHERE level = ? AND position = ?", (level, position)
        )
        if not rows or not isinstance(rows[0][0], bytes):
            raise VerificationError(
                "a node of the log's tree is missing", where=f"level {level}, position {position}"
            )
        return rows[0][0]

    return node


def _stored_nodes(execute: Execute, places: Sequence[tuple[int, int]]) -> merkle.Hashes:
    """See `governance.log.merkle.Fetch`."""
    nodes: merkle.Hashes = {}
    for start in range(0, len(places), PAGE):
        chosen = places[start : start + PAGE]
        values = ", ".join(["(?, ?)"] * len(chosen))
        rows = execute(f"{_PLACES} (VALUES {values})", tuple(chain.from_iterable(chosen)))
        nodes.update(((level, position), value) for level, position, value in rows)
    return nodes


def _derived(execute: Execute, start: int, end: int) -> dict[int, Derived]:
    subjects: dict[int, set[str]] = {}
    nodes: dict[int, set[tuple[int, int, bytes]]] = {}
    for index, sha256 in execute(_SUBJECTS, (start, end)):
        subjects.setdefault(index, set()).add(str(sha256))
    # leaf (position + 1) * 2**level - 1 completes the node (level, position)
    for level in range(MAX_LEVEL):
        first, last = start >> level, end >> level
        for position, value in execute(_NODES, (level, first, last)) if first < last else ():
            nodes.setdefault(((position + 1) << level) - 1, set()).add((level, position, value))
    return {
        index: Derived(frozenset(subjects.get(index, ())), frozenset(nodes.get(index, ())))
        for index in subjects.keys() | nodes.keys()
    }


def size_of(execute: Execute) -> int:
    """Number of entries."""
    return int(execute("SELECT MAX(idx) + 1 FROM countersign_entry", ())[0][0] or 0)


def _note(execute: Execute) -> str:
    rows = execute("SELECT checkpoint FROM countersign_head", ())
    return str(rows[0][0]) if rows else ""
