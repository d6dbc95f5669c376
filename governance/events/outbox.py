"""The events of one log in their order, and how far each receiver is, in a SQLite file.

1. New events, the size of the log that they come from, and what was told of tasks are one
   transaction: after a kill each entry has given its events once.
2. A receiver's place is the number of its next event. It moves after the receiver has answered. A
   kill between the two sends the event again, with the same id.
3. A new receiver begins at the open tasks of the first `send`, later at what is new; or at an entry
   that it names.
4. The outbox belongs to one log. With a log of another origin, or a shorter one, it is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from governance.base.errors import VerificationError
from governance.base.time import exact_instant, instant_of
from governance.events.event import Event
from governance.events.receivers import Receiver
from governance.log.port import Execute
from governance.log.sqlite import SqliteDatabase

NAME = "events.db"
SCHEMA = (
    (
        "CREATE TABLE IF NOT EXISTS outbox (one INTEGER PRIMARY KEY CHECK (one = 1),"
        " origin TEXT NOT NULL, size INTEGER NOT NULL)"
    ),
    (
        "CREATE TABLE IF NOT EXISTS event (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
        " type TEXT NOT NULL, entries INTEGER NOT NULL, body BLOB NOT NULL)"
    ),
    "CREATE TABLE IF NOT EXISTS task (key TEXT PRIMARY KEY, told INTEGER NOT NULL)",
    (
        "CREATE TABLE IF NOT EXISTS receiver (name TEXT PRIMARY KEY, next INTEGER NOT NULL,"
        " failures INTEGER NOT NULL, not_before TEXT NOT NULL, error TEXT NOT NULL)"
    ),
)
_ADD = "INSERT OR IGNORE INTO event (id, type, entries, body) VALUES (?, ?, ?, ?)"
_END = "SELECT COALESCE(MAX(number), 0) + 1 FROM event"
_BEGIN = "INSERT OR IGNORE INTO receiver VALUES (?, ?, 0, '', '')"
_STANDING = "SELECT name, next, failures, not_before, error FROM receiver WHERE name = ?"
_NEXT = (
    "SELECT number, id, type, entries, body FROM event WHERE number >= ? ORDER BY number LIMIT ?"
)
_LAST = "SELECT number, id, type, entries, body FROM event ORDER BY number DESC LIMIT ?"
_SENT = (
    "UPDATE receiver SET next = ?, failures = 0, not_before = '', error = ''"
    " WHERE name = ? AND next <= ?"
)
_FAILED = "UPDATE receiver SET failures = ?, not_before = ?, error = ? WHERE name = ?"
PAGE = 256


@dataclass(frozen=True)
class Stored:
    """An event in the outbox."""

    number: int
    id: str
    type: str
    entries: int
    """The size of the log when it became known."""
    body: bytes


@dataclass(frozen=True)
class Standing:
    """How far a receiver is."""

    name: str
    next: int
    """The number of its next event."""
    failures: int = 0
    """Attempts that failed since the last success."""
    not_before: datetime | None = None
    """When the next attempt is due."""
    error: str = ""


class Outbox:
    """The outbox of one log."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._database = SqliteDatabase(self.path)

    def begin(self, origin: str, size: int) -> int:
        """(4) Makes the outbox where there is none. Returns how many entries it knows. Raises
        `VerificationError` for another log than before.
        """
        with self._database.transaction() as execute:
            for statement in SCHEMA:
                execute(statement, ())
            execute("INSERT OR IGNORE INTO outbox VALUES (1, ?, 0)", (origin,))
            known, done = execute("SELECT origin, size FROM outbox", ())[0]
        if known != origin or done > size:
            found = "another log than the one whose events were sent before"
            if known == origin:
                found = f"the log has {size} entries; events of {done} entries were sent"
            fix = f"find out why; if it is right, move {self.path} away"
            raise VerificationError(found, where=str(self.path), fix=fix)
        return int(done)

    def told(self) -> dict[str, int]:
        """How much was told of each task that was open at the last look."""
        return {str(key): int(told) for key, told in self._all("SELECT key, told FROM task")}

    def add(
        self,
        size: int,
        entries: Sequence[Event],
        tasks: Sequence[Event],
        told: Mapping[str, int],
        receivers: Iterable[Receiver],
    ) -> None:
        """(1), (3) Adds what is new in the log at this size."""
        with self._database.transaction() as execute:
            self._append(execute, entries)
            for receiver in receivers:
                execute(_BEGIN, (receiver.name, _first(execute, receiver)))
            self._append(execute, tasks)
            execute("DELETE FROM task", ())
            for item in told.items():
                execute("INSERT INTO task VALUES (?, ?)", item)
            execute("UPDATE outbox SET size = ?", (size,))

    @staticmethod
    def _append(execute: Execute, events: Sequence[Event]) -> None:
        for event in events:
            execute(_ADD, (event.id, event.type, event.data.entries, event.body))

    def standing(self, name: str) -> Standing | None:
        """How far a receiver is; None for one that no `send` has seen."""
        rows = self._all(_STANDING, name)
        if not rows:
            return None
        name, number, failures, not_before, error = rows[0]
        due = instant_of(not_before) if not_before else None
        return Standing(name, int(number), int(failures), due, error)

    def waiting(self, receiver: Receiver) -> list[Stored]:
        """The next events that a receiver wants, in their order: at most `PAGE`, at least one if
        there is any.
        """
        standing = self.standing(receiver.name)
        start = standing.next if standing else self._end()
        while True:
            page = [Stored(*row) for row in self._all(_NEXT, start, PAGE)]
            wanted = [event for event in page if receiver.wants(event.type)]
            if wanted or len(page) < PAGE:
                return wanted
            start = page[-1].number + 1

    def last(self, count: int) -> list[Stored]:
        """The newest events, in their order."""
        return [Stored(*row) for row in reversed(self._all(_LAST, count))]

    def next_entry(self, standing: Standing) -> int:
        """The first entry of the log of which a receiver may lack an event."""
        rows = self._all(_NEXT, standing.next, 1)
        sizes = self._all("SELECT size FROM outbox")
        return max(0, int(rows[0][3]) - 1) if rows else int(sizes[0][0]) if sizes else 0

    def sent(self, name: str, event: Stored) -> None:
        """(2) A receiver has taken an event."""
        after = event.number + 1
        with self._database.transaction() as execute:
            execute(_SENT, (after, name, after))

    def failed(self, name: str, failures: int, not_before: datetime, error: str) -> None:
        """An attempt failed."""
        with self._database.transaction() as execute:
            execute(_FAILED, (failures, exact_instant(not_before), error, name))

    def _end(self) -> int:
        rows = self._all(_END)
        return int(rows[0][0]) if rows else 1

    def _all(self, question: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        with self._database.snapshot() as execute:
            return list(execute(question, values)) if execute else []


def _first(execute: Execute, receiver: Receiver) -> int:
    """(3) The number of the first event that a new receiver gets."""
    if receiver.since is not None:
        at = "SELECT MIN(number) FROM event WHERE entries > ?"
        first = execute(at, (receiver.since,))[0][0]
        if first is not None:
            return int(first)
    return int(execute(_END, ())[0][0])
