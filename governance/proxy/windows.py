"""The windows of one proxy, kept in a database beside its other state. Time is passed in.

1. Each version that is served has one open window. It closes when its time is over, or when the
   proxy stops. What closes is stored in the same transaction in which the next window opens. So a
   process that is killed loses no closed window and makes none twice.
2. Open windows are stored every few seconds (`save`). After a kill, what was counted since is lost.
   The window then ends at that moment, and the next one states the time until now as a gap.
3. The same holds where the process was stopped for more than `PAUSE`: it did not observe.
4. A closed window waits until it is in the log (`sent`). Sent twice, it is one entry of the log,
   because its content does not change: what it cost is computed when it closes.
5. A clock that was set back closes nothing earlier than it began.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from governance.attest.predicates.monitoring import Cost
from governance.base.errors import BusyError, StorageError
from governance.base.model import Model
from governance.base.time import exact_instant, instant_of
from governance.policy.monitoring import MonitoringRules
from governance.proxy.permission import Held
from governance.proxy.tally import Counts, Finds, Observed, Rating, Tally, cost, usage

PAUSE = timedelta(seconds=60)
_TABLES = (
    "CREATE TABLE IF NOT EXISTS source (id TEXT NOT NULL, seen TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS open (digest TEXT PRIMARY KEY, window TEXT NOT NULL)",
    (
        "CREATE TABLE IF NOT EXISTS closed (digest TEXT NOT NULL, number INTEGER NOT NULL,"
        " window TEXT NOT NULL, entry INTEGER, PRIMARY KEY (digest, number))"
    ),
)


@dataclass(frozen=True)
class Terms:
    """By what windows are made."""

    policy: str
    """Digest of the policies."""
    rules: MonitoringRules

    @property
    def length(self) -> timedelta:
        """Of a window."""
        return timedelta(minutes=self.rules.window_minutes)


class Window(Model):
    """One window, as it is stored."""

    model: str
    version: str
    digest: str
    number: int
    begins: str
    ends: str
    """Of an open one: until when it was stored."""
    gap_ms: int
    counts: Counts
    policy: str = ""
    """Of a closed one: the policies by which it was closed."""
    cost: Cost | None = None
    """Of a closed one."""


@dataclass
class _Open:
    held: Held
    number: int
    begins: datetime
    gap: timedelta
    tally: Tally = field(default_factory=Tally)

    def until(self, at: datetime) -> Window:
        """(5)"""
        return Window(
            model=self.held.model,
            version=self.held.version,
            digest=self.held.digest,
            number=self.number,
            begins=exact_instant(self.begins),
            ends=exact_instant(max(at, self.begins)),
            gap_ms=round(self.gap / timedelta(milliseconds=1)),
            counts=self.tally.frozen(),
        )


class Windows:
    """The windows of one proxy. One process at a time uses a database. `close` ends it."""

    def __init__(self, path: Path, source: str, terms: Terms, at: datetime) -> None:
        """Opens or makes the database. `source`: the id that a new one gets. Raises `BusyError` and
        `StorageError`.
        """
        self._terms = terms
        self._open: dict[str, _Open] = {}
        self._seen = at
        self.data = _opened(path)
        """The database, for other windows of this proxy."""
        with self.writing():
            for statement in _TABLES:
                self.data.execute(statement)
            row = self.data.execute("SELECT id, seen FROM source").fetchone()
            if row is None:
                self.data.execute("INSERT INTO source VALUES (?, ?)", (source, exact_instant(at)))
                row = (source, exact_instant(at))
        self.source: str = row[0]
        self._seen = instant_of(row[1])

    @property
    def length(self) -> timedelta:
        """Of a window."""
        return self._terms.length

    # -- Observing ---------------------------------------------------------------------------------
    def add(self, held: Held, seen: Observed, at: datetime) -> None:
        """Counts a request of a version."""
        self._of(held, at).tally.add(seen)

    def rate(self, held: Held, rating: Rating, other: Held | None, at: datetime) -> None:
        """Counts what a user said of a version, compared with an `other` one or by itself."""
        compared = (other.version, other.digest) if other is not None else None
        self._of(held, at).tally.rate(rating, compared)

    def search(self, held: Held, found: Finds | None, at: datetime) -> None:
        """Counts what the search of an answer found; None: it was not searched."""
        self._of(held, at).tally.search(found)

    def _of(self, held: Held, at: datetime) -> _Open:
        window = self._open.get(held.digest)
        if window is None:
            window = _Open(held, self._next(held.digest), at, timedelta(0))
            self._open[held.digest] = window
        return window

    # -- Time --------------------------------------------------------------------------------------
    def resume(self, served: Iterable[Held], at: datetime) -> None:
        """(2) Goes on after an earlier process. Once, before anything else."""
        with self.writing():
            rows = self.data.execute("SELECT window FROM open ORDER BY digest").fetchall()
            stored = [Window.model_validate_json(row[0]) for row in rows]
            self._interrupted(stored, {held.digest: held for held in served}, at)

    def tick(self, served: Iterable[Held], at: datetime) -> None:
        """(1) Closes what is over, opens what is served, and stores everything."""
        serving = {held.digest: held for held in served}
        with self.writing():
            if at - self._seen > PAUSE:  # (3)
                stored = [window.until(self._seen) for window in self._open.values()]
                self._interrupted(stored, serving, at)
                return
            for digest, window in list(self._open.items()):
                if at - window.begins >= self._terms.length:
                    self._close(window.until(at))
                    del self._open[digest]
                    if digest in serving:
                        self._begin(serving[digest], at, timedelta(0))
            for held in serving.values():
                if held.digest not in self._open:
                    self._begin(held, at, timedelta(0))
            self._save(at)

    def stop(self, at: datetime) -> None:
        """Closes everything at the end of the process. What comes next begins with a gap."""
        with self.writing():
            for digest, window in list(self._open.items()):
                self._close(window.until(at))
                self._open[digest] = _Open(window.held, self._next(digest), at, timedelta(0))
            self._save(at)

    def _interrupted(
        self, stored: Iterable[Window], serving: Mapping[str, Held], at: datetime
    ) -> None:
        """(2), (3) Closes windows where they were last stored, and begins new ones after a gap. One
        in which nothing was observed goes on with a longer gap.
        """
        self._open = {}
        for window in stored:
            since = instant_of(window.ends)
            gap = max(at - since, timedelta(0))
            held = serving.get(window.digest)
            if window.begins != window.ends or window.counts != Counts():
                self._close(window)
            else:
                gap += timedelta(milliseconds=window.gap_ms)
            if held is not None:
                self._begin(held, at, gap)
        for held in serving.values():
            if held.digest not in self._open:
                self._begin(held, at, timedelta(0))
        self._save(at)

    def _begin(self, held: Held, at: datetime, gap: timedelta) -> None:
        self._open[held.digest] = _Open(held, self._next(held.digest), at, gap)

    # -- The database ------------------------------------------------------------------------------
    def unsent(self) -> list[Window]:
        """(4) Closed windows that are not in the log yet, oldest first."""
        query = "SELECT window FROM closed WHERE entry IS NULL ORDER BY rowid"
        try:
            rows = self.data.execute(query).fetchall()
        except sqlite3.Error as error:
            raise _unstored(error) from None
        return [Window.model_validate_json(row[0]) for row in rows]

    def sent(self, window: Window, entry: int) -> None:
        """(4) A closed window is an entry of the log. Those before it are not needed any more."""
        which = (window.digest, window.number)
        with self.writing():
            self.data.execute(
                "UPDATE closed SET entry = ? WHERE digest = ? AND number = ?", (entry, *which)
            )
            self.data.execute(
                "DELETE FROM closed WHERE digest = ? AND number < ? AND entry IS NOT NULL", which
            )

    def close(self) -> None:
        """Gives the database back."""
        self.data.close()

    def _close(self, window: Window) -> None:
        rules = self._terms.rules
        paid = cost(usage(window.counts), rules.prices.get(window.model), rules.currency)
        window = window.model_copy(update={"policy": self._terms.policy, "cost": paid})
        self.data.execute(
            "INSERT INTO closed VALUES (?, ?, ?, NULL)",
            (window.digest, window.number, window.model_dump_json()),
        )

    def _save(self, at: datetime) -> None:
        self._seen = at
        self.data.execute("UPDATE source SET seen = ?", (exact_instant(at),))
        self.data.execute("DELETE FROM open")
        self.data.executemany(
            "INSERT INTO open VALUES (?, ?)",
            [(each, one.until(at).model_dump_json()) for each, one in self._open.items()],
        )

    def _next(self, digest: str) -> int:
        query = "SELECT max(number) FROM closed WHERE digest = ?"
        return int(self.data.execute(query, (digest,)).fetchone()[0] or 0) + 1

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction, in the database and in memory or not at all. Raises `StorageError`."""
        before = dict(self._open), self._seen
        try:
            self.data.execute("BEGIN IMMEDIATE")
            yield
            self.data.execute("COMMIT")
        except BaseException as error:
            self._open, self._seen = before
            if self.data.in_transaction:
                self.data.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise _unstored(error) from None
            raise


def _opened(path: Path) -> sqlite3.Connection:
    """The database, for this process alone. Raises `BusyError` and `StorageError`."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            data.execute("PRAGMA locking_mode = EXCLUSIVE")
            data.execute("PRAGMA journal_mode = WAL")
            data.execute("PRAGMA synchronous = FULL")
        except BaseException:
            data.close()
            raise
    except sqlite3.OperationalError as error:
        if not error.sqlite_errorname.startswith("SQLITE_BUSY"):
            raise _unstored(error) from None
        found = "another proxy of this alias and port is running here"
        raise BusyError(found, where=path.name, fix="stop it, or set another --port") from None
    except (sqlite3.Error, OSError) as error:
        raise _unstored(error) from None
    return data


def _unstored(error: Exception) -> StorageError:
    found = f"the windows of the proxy cannot be stored: {error}"
    return StorageError(found, fix="free some space, and see who may write there")
