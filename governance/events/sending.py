"""From the log to the outbox, and from the outbox to the receivers.

1. Each receiver gets its events one after the other, in the order of the outbox, which is that of
   the log. It gets the next one after it has taken the one before.
2. After a failure it is tried again, after `FIRST_PAUSE` seconds and then at twice as long
   intervals up to `LONGEST_PAUSE`, for as long as it takes: no event is given up. A receiver that
   says how long to wait (Retry-After) is left alone that long.
3. A receiver that fails or is slow delays no other one.
4. One process sends the events of a log: it holds a lock.
"""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from governance.base.errors import BusyError, CountersignError, OfflineError, StorageError
from governance.base.storage import writing_state
from governance.base.time import instant
from governance.events.client import Post
from governance.events.derive import Place, of_entries, of_tasks
from governance.events.event import TEST, event
from governance.events.outbox import Outbox, Stored
from governance.events.receivers import Receiver, Receivers
from governance.history.state import LogState
from governance.machine.machine import Machine
from governance.people.pending import pending

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 3600.0
MAX_DOUBLED = 12
LOOK_SECONDS = 5.0
"""Between two looks at the log."""
FOLDER = "events"
LATER = (BusyError, OfflineError, StorageError)
"""The log can be away for a while."""


def folder_of(machine: Machine) -> Path:
    """Where the delivery state is kept."""
    return machine.state / FOLDER


@contextmanager
def only_sender(folder: Path) -> Iterator[None]:
    """(4) Raises `BusyError` where another process sends."""
    path = folder / "lock"
    with writing_state(path):
        handle = path.open("a")
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            found = "another process sends the events of this log"
            raise BusyError(
                found, where=str(path), fix="stop it, or leave it to that one"
            ) from None
        yield


def place_of(now: LogState, project: str, server: str | None) -> Place:
    """Where the events of a log come from."""
    return Place(project, now.log.entry(0).leaf_hash.hex(), server)


def look(now: LogState, at: datetime, outbox: Outbox, chosen: Receivers, project: str) -> None:
    """Adds to the outbox what is new in the log and among its open tasks. Raises
    `VerificationError` where the outbox belongs to another log.
    """
    place = place_of(now, project, chosen.server)
    since = outbox.begin(place.origin, now.size)
    entries = of_entries(now, since, place) if since < now.size else []
    tasks, told = of_tasks(pending(now, at), outbox.told(), now.size, at, place)
    outbox.add(now.size, entries, tasks, told, chosen.all)


@dataclass(frozen=True)
class Delivered:
    """What one round came to for one receiver."""

    receiver: str
    sent: int
    waiting: int
    """Events that it still lacks, as far as they were read."""
    error: str = ""
    next_attempt: str = ""


def deliver(
    receiver: Receiver,
    outbox: Outbox,
    post: Post,
    clock: Callable[[], datetime],
    stopped: threading.Event | None = None,
) -> Delivered:
    """(1) Sends what a receiver lacks, until all is sent or an attempt fails."""
    sent = 0
    while waiting := outbox.waiting(receiver):
        for number, stored in enumerate(waiting):
            if stopped is not None and stopped.is_set():
                return Delivered(receiver.name, sent, len(waiting) - number)
            failed = _attempt(receiver, stored, outbox, post, clock)
            if failed is not None:
                error, due = failed
                return Delivered(receiver.name, sent, len(waiting) - number, error, instant(due))
            sent += 1
    return Delivered(receiver.name, sent, 0)


def _attempt(
    receiver: Receiver,
    stored: Stored,
    outbox: Outbox,
    post: Post,
    clock: Callable[[], datetime],
) -> tuple[str, datetime] | None:
    """(2) None, or why an attempt failed and when the next one is due."""
    answer = post(receiver, stored.id, stored.body, clock())
    if answer.ok:
        outbox.sent(receiver.name, stored)
        return None
    standing = outbox.standing(receiver.name)
    failures = 1 + (standing.failures if standing else 0)
    due = clock() + timedelta(seconds=max(pause_after(failures), answer.pause))
    outbox.failed(receiver.name, failures, due, answer.why)
    return answer.why, due


def pause_after(failures: int) -> float:
    """(2) The seconds before the next attempt."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, MAX_DOUBLED))


def deliver_all(
    chosen: Receivers, outbox: Outbox, post: Post, clock: Callable[[], datetime]
) -> list[Delivered]:
    """(3) One round for every receiver, whenever its next attempt is due."""
    with ThreadPoolExecutor(max(1, len(chosen.all))) as pool:
        return list(pool.map(lambda each: deliver(each, outbox, post, clock), chosen.all))


def try_out(
    receiver: Receiver, post: Post, now: LogState, at: datetime, project: str, server: str | None
) -> str:
    """Sends an event of its own type. Returns why that failed; empty where it did not."""
    data = place_of(now, project, server).data(now.size)
    tried = event(TEST, [receiver.name, instant(at)], at, data)
    answer = post(receiver, tried.id, tried.body, at)
    return "" if answer.ok else answer.why


# -- Following -------------------------------------------------------------------------------------
@dataclass
class Following:
    """Sends until it is stopped."""

    read: Callable[[], LogState]
    outbox: Outbox
    chosen: Receivers
    project: str
    post: Post
    clock: Callable[[], datetime]
    say: Callable[[str], None]
    stopped: threading.Event = field(default_factory=threading.Event)
    _now: LogState | None = None
    _busy: set[str] = field(default_factory=set)
    _said: dict[str, str] = field(default_factory=dict)
    """Receiver to its last error, so that each is said once."""

    def run(self) -> None:
        """Looks at the log and starts what is due, every `LOOK_SECONDS`. Raises what `look` raises,
        but for `LATER`.
        """
        while not self.stopped.is_set():
            self._look()
            for receiver in self.chosen.all:
                self._start(receiver)
            self.stopped.wait(LOOK_SECONDS)

    def _look(self) -> None:
        try:
            now = self.read()
            if self._now is None or self._now.size != now.size:
                self._now = now  # a state keeps what it has read and verified
            look(self._now, self.clock(), self.outbox, self.chosen, self.project)
            self._tell("log", "")
        except LATER as error:
            self._tell("log", error.found)

    def _start(self, receiver: Receiver) -> None:
        """(3) A thread of its own, which ends with the process: a kill loses nothing."""
        standing = self.outbox.standing(receiver.name)
        is_early = (
            standing is not None
            and standing.not_before is not None
            and self.clock() < standing.not_before
        )
        if receiver.name in self._busy or is_early:
            return
        self._busy.add(receiver.name)
        threading.Thread(target=self._deliver, args=(receiver,), daemon=True).start()

    def _deliver(self, receiver: Receiver) -> None:
        try:
            done = deliver(receiver, self.outbox, self.post, self.clock, self.stopped)
            self._tell(receiver.name, done.error)
        except CountersignError as error:
            self._tell(receiver.name, error.found)
        finally:
            self._busy.discard(receiver.name)

    def _tell(self, name: str, error: str) -> None:
        if self._said.get(name, "") != error:
            self.say(f"{name}: {error or 'answers again'}")
        self._said[name] = error
