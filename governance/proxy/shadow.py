"""Copies of requests for the new version of a shadow rollout. Nobody sees what it answers.

1. A copy is sent beside the request, which never waits for it. The copy's answer is read to its end
   and dropped; only what it says of itself is counted (`answers`).
2. At most `MOST_COPIES` are under way, of at most `MAX_BODY` bytes each. What is beyond that, or
   comes before the new version's server is ready, is not copied, and counted as dropped.
3. Both versions are counted by the same requests: a pair counts once both answers ended, and not at
   all where the caller left, or another version than the holder answered.
4. A copy that takes longer than `COPY_SECONDS` failed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from governance.proxy.answers import Reader, counted, ended, reader_of
from governance.proxy.choice import Caller, is_copied
from governance.proxy.connections import BrokenError, Connections, Exchange, UnreachedError
from governance.proxy.fleet import Fleet, Lease
from governance.proxy.observing import Observer
from governance.proxy.permission import Canary, Held
from governance.proxy.tally import End, Observed

MOST_COPIES = 32
MAX_BODY = 1 << 20
COPY_SECONDS = 300.0
Send = Callable[[Connections, str], Awaitable[Exchange]]
"""Sends the copy over these connections to the server at an address."""


@dataclass
class Pair:
    """(3) One request that both versions answer."""

    observer: Observer
    canary: Canary
    holder: Held
    caller: str = field(repr=False)
    """The hash of the caller."""
    began: float
    old: Observed | None = None
    new: Observed | None = None

    def answered(self, held: Held, seen: Observed) -> None:
        """The caller's request ended."""
        if held.digest == self.holder.digest and seen.end != "left":
            self.old = seen
            self._count()

    def copied(self, end: End, reader: Reader | None = None) -> None:
        """The copy ended."""
        self.new = counted(self.began, end, reader)
        self._count()

    def _count(self) -> None:
        rolling = self.observer.rolling
        if rolling is None or self.old is None or self.new is None:
            return
        rolling.add(self.canary, self.holder, self.caller, self.old)
        rolling.add(self.canary, self.canary.held, self.caller, self.new)


@dataclass
class Copies:
    """The copies of one proxy that are under way."""

    fleet: Fleet
    observer: Observer
    _connections: Connections = field(default_factory=Connections)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def copy(self, lease: Lease, caller: Caller, body: bytes, send: Send) -> Pair | None:
        """(1), (2) Copies a request that the holder is about to get, if it is one of the share."""
        canary = lease.verdict.canary
        if canary is None or not is_copied(canary, caller, self.fleet.key):
            return None
        is_busy = len(self._tasks) >= MOST_COPIES or len(body) > MAX_BODY
        new = None if is_busy else self.fleet.lease_copy(lease.verdict)
        if new is None:
            self.observer.copies["dropped"] += 1
            return None
        self.observer.copies["sent"] += 1
        holder = lease.verdict.allowed[0]
        pair = Pair(self.observer, canary, holder, caller.name, time.monotonic())
        task = asyncio.ensure_future(self._copied(pair, new, send))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: new.end())  # also of a task that never began
        return pair

    async def close(self) -> None:
        """Ends what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._connections.close()

    async def _copied(self, pair: Pair, lease: Lease, send: Send) -> None:
        try:
            async with asyncio.timeout(COPY_SECONDS):
                exchange = await send(self._connections, lease.url)
                try:
                    reader = reader_of(exchange.headers)
                    async for chunk in exchange.body:
                        reader.feed(chunk)
                finally:
                    await exchange.close()
            pair.copied(ended(exchange.status), reader)
        except (UnreachedError, BrokenError):
            self.fleet.failed(lease.backend)
            pair.copied("failed")
        except Exception:  # noqa: BLE001 - whatever its server does, no caller notices
            pair.copied("failed")
