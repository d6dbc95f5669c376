"""Which records are in which files of datasets: a SQLite file that can be deleted. It is then made
again.

1. Content is named by sha256 alone. A folder or file that evidence names (a *content*) has *parts*:
   its shards, or itself. Contents with equal shards share them, so a new version of a dataset adds
   only its new shards. Which content belongs to which dataset the log says, not the index.
2. A part counts as read for a task in the transaction that adds its rows, and a content in the one
   that adds its last part. A killed run leaves what was committed, and never half of a part.
3. It holds record ids, places in sources and codes. Texts and values of subjects are HMACs.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

from governance.base.errors import StorageError

FILE = Path("trace") / "records.sqlite"
"""Below the project's state on this machine."""

VERSION = 2
"""Of the tables. A file of another version is made again."""

MEMBERS = "members"
"""The task that is done for every part."""

STAGED = 2_000_000
"""Rows that are sorted and written in one transaction, at least."""

TABLES = """
CREATE TABLE part (id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE);
CREATE TABLE done (part INTEGER, task TEXT, PRIMARY KEY (part, task)) WITHOUT ROWID;
CREATE TABLE content (sha256 BLOB, part INTEGER, PRIMARY KEY (sha256, part)) WITHOUT ROWID;
CREATE INDEX content_of ON content (part);
CREATE TABLE whole (sha256 BLOB, task TEXT, PRIMARY KEY (sha256, task)) WITHOUT ROWID;
CREATE TABLE place (at TEXT, name TEXT, sha256 TEXT, PRIMARY KEY (at, name)) WITHOUT ROWID;
CREATE TABLE name (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE member (
  record BLOB, part INTEGER, file INTEGER, row INTEGER, reason INTEGER,
  PRIMARY KEY (record, part, file, row, reason)) WITHOUT ROWID;
CREATE TABLE parent (record BLOB, parent BLOB, PRIMARY KEY (record, parent)) WITHOUT ROWID;
CREATE INDEX parent_of ON parent (parent);
CREATE TABLE redacted (record BLOB, part INTEGER, PRIMARY KEY (record, part)) WITHOUT ROWID;
CREATE TABLE word (key BLOB, record BLOB, PRIMARY KEY (key, record)) WITHOUT ROWID;
"""
STAGES = """
CREATE TEMP TABLE new_member (record, part, file, row, reason);
CREATE TEMP TABLE new_parent (record, parent);
CREATE TEMP TABLE new_redacted (record, part);
CREATE TEMP TABLE new_word (key, record);
CREATE TEMP TABLE asked (sha256 BLOB PRIMARY KEY);
"""
SORTED = """
INSERT OR IGNORE INTO member SELECT * FROM new_member ORDER BY record, part;
INSERT OR IGNORE INTO parent SELECT * FROM new_parent ORDER BY record;
INSERT OR IGNORE INTO redacted SELECT * FROM new_redacted ORDER BY record;
INSERT OR IGNORE INTO word SELECT * FROM new_word ORDER BY key;
DELETE FROM new_member; DELETE FROM new_parent; DELETE FROM new_redacted; DELETE FROM new_word
"""
"""In the order of the keys, so that a large table is passed through once for each transaction."""

IN_RANGE = """
SELECT record, content.sha256, f.text, row, r.text FROM member
JOIN content ON content.part = member.part JOIN asked USING (sha256)
JOIN name f ON f.id = file JOIN name r ON r.id = reason WHERE record >= ? AND record < ?
"""
REDACTED = """
SELECT record, sha256 FROM redacted JOIN content USING (part) JOIN asked USING (sha256)
WHERE record >= ? AND record < ?
"""
PARENTS = "SELECT record, parent FROM parent WHERE record >= ? AND record < ? ORDER BY 1, 2"


@dataclass(frozen=True, order=True)
class Member:
    """One row of a content that is a record."""

    record: str
    """Its id, 32 hexadecimal digits; empty for a row that never became a record."""
    content: str
    """sha256 of the records, the list of left-out records, or the stored answers."""
    file: str
    """Of the source; empty for answers."""
    row: int
    """1-based row in it; 0 where it is not recorded."""
    reason: str = ""
    """The code for which it was left out; empty for a record that is in."""


@dataclass
class Rows:
    """What a part holds."""

    members: list[tuple[bytes, str, int, str]] = field(default_factory=list)
    """Record, file, row, reason."""
    parents: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Record and what it was made from."""
    redacted: list[bytes] = field(default_factory=list)
    """Records whose content was changed since they were ingested."""
    words: list[tuple[bytes, bytes]] = field(default_factory=list)
    """HMAC of a text or a subject, and record."""


@dataclass(frozen=True)
class Range:
    """What is known of the records whose ids begin with the same byte."""

    members: list[Member]
    redacted: set[tuple[str, str]]
    """Record and content in which it is not as it was ingested."""
    parents: dict[str, list[str]]


class Index:
    """The file. Use it as a context manager. Raises `StorageError` where it cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names: dict[str, int] = {}
        self._staged = 0
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._connection = self._opened()

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Keeps what was added up to here; after an error, what was committed before."""
        with closing(self._connection):
            if error is None:
                self.commit()

    def _opened(self) -> sqlite3.Connection:
        connection = self._connected()
        if self._version(connection) not in (0, VERSION):
            connection.close()
            self._path.unlink()
            connection = self._connected()
        connection.execute("PRAGMA temp_store = FILE")
        connection.execute("PRAGMA cache_size = -65536")  # KiB
        if self._version(connection) != VERSION:
            self._make(connection)
        connection.executescript(STAGES)
        return connection

    def _make(self, connection: sqlite3.Connection) -> None:
        """The tables, in one step; another process may have made them by now."""
        connection.execute("BEGIN IMMEDIATE")
        if self._version(connection) != VERSION:
            for line in TABLES.split(";\n"):
                connection.execute(line)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")

    @staticmethod
    def _version(connection: sqlite3.Connection) -> int | None:
        """Of the tables; 0 of an empty file, None of one that is no database."""
        try:
            version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.OperationalError:  # such as a locked file
            raise
        except sqlite3.DatabaseError:
            return None
        return version

    def _connected(self) -> sqlite3.Connection:
        self._path.touch(mode=0o600)
        return sqlite3.connect(self._path, timeout=60, isolation_level=None)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            found = f"the index of records cannot be used ({type(error).__name__})"
            fix = "delete it; the next call makes it again"
            raise StorageError(found, where=str(self._path), fix=fix) from None

    # -- writing -----------------------------------------------------------------------------------

    def lacks(self, part: str, task: str) -> bool:
        """Whether a part has not been read for a task, or is not staged."""
        query = "SELECT 1 FROM done JOIN part ON part.id = done.part WHERE sha256 = ? AND task = ?"
        return not self._rows(query, (bytes.fromhex(part), task))

    def add(self, part: str, task: str, rows: Rows) -> None:
        """Adds what a part holds for a task."""
        with self._translated():
            self._begin()
            number = self._part(part)
            members = [
                (record, number, self._name(file), row, self._name(reason))
                for record, file, row, reason in rows.members
            ]
            put = self._connection.executemany
            put("INSERT INTO new_member VALUES (?, ?, ?, ?, ?)", members)
            put("INSERT INTO new_parent VALUES (?, ?)", rows.parents)
            put("INSERT INTO new_redacted VALUES (?, ?)", [(one, number) for one in rows.redacted])
            put("INSERT INTO new_word VALUES (?, ?)", rows.words)
            self._connection.execute("INSERT OR IGNORE INTO done VALUES (?, ?)", (number, task))
        self._staged += len(rows.members) + len(rows.parents)
        self._staged += len(rows.redacted) + len(rows.words)

    def complete(self, content: str, parts: Iterable[str], task: str) -> None:
        """Says that all parts of a content have been added for a task."""
        sha256 = bytes.fromhex(content)
        with self._translated():
            self._begin()
            for part in parts:
                row = (sha256, self._part(part))
                self._connection.execute("INSERT OR IGNORE INTO content VALUES (?, ?)", row)
            self._connection.execute("INSERT OR IGNORE INTO whole VALUES (?, ?)", (sha256, task))
        if self._staged >= STAGED:
            self.commit()

    def commit(self) -> None:
        """(2) Ends the transaction."""
        with self._translated():
            if self._connection.in_transaction:
                for line in SORTED.split(";"):
                    self._connection.execute(line)
                self._connection.execute("COMMIT")
        self._staged = 0

    def _begin(self) -> None:
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")
            self._names = dict(self._connection.execute("SELECT text, id FROM name"))

    def _part(self, sha256: str) -> int:
        row = (bytes.fromhex(sha256),)
        self._connection.execute("INSERT OR IGNORE INTO part (sha256) VALUES (?)", row)
        query = "SELECT id FROM part WHERE sha256 = ?"
        number: int = self._connection.execute(query, row).fetchone()[0]
        return number

    def _name(self, text: str) -> int:
        if text not in self._names:
            added = self._connection.execute("INSERT INTO name (text) VALUES (?)", (text,))
            self._names[text] = int(added.lastrowid or 0)
        return self._names[text]

    def keep_places(self, places: Mapping[tuple[str, str], str]) -> None:
        """Keeps what was hashed, so that it is not hashed again."""
        rows = [(*place, sha256) for place, sha256 in places.items()]
        with self._translated():
            self._begin()
            self._connection.executemany("INSERT OR REPLACE INTO place VALUES (?, ?, ?)", rows)

    # -- reading -----------------------------------------------------------------------------------

    def contents(self, task: str) -> set[str]:
        """The contents that have been read completely for a task."""
        rows = self._rows("SELECT sha256 FROM whole WHERE task = ?", (task,))
        return {sha256.hex() for (sha256,) in rows}

    def places(self) -> dict[tuple[str, str], str]:
        """What `keep_places` kept."""
        rows = self._rows("SELECT at, name, sha256 FROM place", ())
        return {(at, name): sha256 for at, name, sha256 in rows}

    def ids(self, beginning: str) -> list[str]:
        """The ids that begin with these hexadecimal digits."""
        low, high = (bytes.fromhex(beginning.ljust(32, digit)) for digit in "0f")
        query = "SELECT DISTINCT record FROM member WHERE record BETWEEN ? AND ?"
        return [record.hex() for (record,) in self._rows(query, (low, high))]

    def members(self, records: Iterable[str]) -> list[Member]:
        """Where these records are and were left out, sorted."""
        query = (
            "SELECT content.sha256, f.text, row, r.text FROM member"
            " JOIN content ON content.part = member.part"
            " JOIN name f ON f.id = file JOIN name r ON r.id = reason WHERE record = ?"
        )
        found = [
            Member(record, sha256.hex(), *rest)
            for record in set(records)
            for sha256, *rest in self._rows(query, (bytes.fromhex(record),))
        ]
        return sorted(found)

    def ranges(self, contents: Collection[str]) -> Iterator[Range]:
        """All records of these contents, in the order of their ids, a part of them at a time."""
        with self._translated():
            self._connection.execute("DELETE FROM asked")
            rows = [(bytes.fromhex(content),) for content in contents]
            self._connection.executemany("INSERT INTO asked VALUES (?)", rows)
        for values in pairwise([b"", *(bytes([first]) for first in range(1, 256)), b"\xff" * 17]):
            yield Range(
                sorted(
                    Member(record.hex(), sha256.hex(), *rest)
                    for record, sha256, *rest in self._rows(IN_RANGE, values)
                ),
                {(one.hex(), sha256.hex()) for one, sha256 in self._rows(REDACTED, values)},
                _listed(self._rows(PARENTS, values)),
            )

    def with_word(self, key: bytes) -> list[str]:
        """The records with this HMAC of a text or subject, sorted."""
        rows = self._rows("SELECT record FROM word WHERE key = ? ORDER BY record", (key,))
        return [record.hex() for (record,) in rows]

    def parents(self, record: str) -> list[str]:
        """What a record was made from, sorted."""
        query = "SELECT parent FROM parent WHERE record = ? ORDER BY parent"
        return [parent.hex() for (parent,) in self._rows(query, (bytes.fromhex(record),))]

    def children(self, record: str) -> list[str]:
        """What was made from a record, sorted."""
        query = "SELECT record FROM parent WHERE parent = ? ORDER BY record"
        return [child.hex() for (child,) in self._rows(query, (bytes.fromhex(record),))]

    def _rows(self, query: str, values: Sequence[object]) -> list[Any]:
        with self._translated():
            return self._connection.execute(query, values).fetchall()


def _listed(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for record, parent in pairs:
        found[record.hex()].append(parent.hex())
    return found
