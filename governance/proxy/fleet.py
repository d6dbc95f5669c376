"""The inference servers behind the proxy: one for each version that may be served.

1. A request takes a lease of a ready server. Whether its version may answer is asked at that
   moment, of the newest knowledge and the clock.
2. A version that holds the alias gets a server. Until it is ready, the version before it answers
   where the log permits that (`permission.Verdict.meanwhile`); else requests wait, at most
   `hold` seconds.
3. A server whose version lost the alias gets no new lease. It is stopped when its last lease ends,
   or after `DRAIN_SECONDS`.
4. A server whose version may not answer for another reason keeps running without leases, so that it
   answers again at once when an incident is closed or the log can be read.
5. A server that ends, or does not become ready, is started again, later each time.

Everything here runs in one event loop, so nothing changes between two `await`s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from governance.attest.findings import finding
from governance.attest.predicates import Finding
from governance.base.errors import CountersignError
from governance.proxy.choice import Caller, chosen
from governance.proxy.permission import Held, Knowledge, Verdict, verdict

DRAIN_SECONDS = 600.0
AGAIN_SECONDS = 2.0
"""Before the first restart; twice as long each time, up to `AGAIN_MOST`."""
AGAIN_MOST = 60.0
MAX_WAITING = 256
"""Requests that wait at a time. Their bodies are in memory."""
Say = Callable[[str], None]


class Running(Protocol):
    """A server that was started, or that somebody else runs."""

    @property
    def url(self) -> str:
        """Where it listens."""

    @property
    def verified(self) -> bool:
        """Whether this process started it on a copy that it verified."""

    async def is_ready(self) -> bool:
        """Whether it answers requests."""

    def has_ended(self) -> bool:
        """Whether it is gone."""

    async def stop(self) -> None:
        """Ends it and removes its copy."""


Start = Callable[[Held], Awaitable[Running]]
"""Starts the server of a version. Raises `CountersignError`."""


@dataclass(frozen=True)
class Refused:
    """Nothing may answer, or nothing can."""

    findings: tuple[Finding, ...]
    verdict: Verdict


@dataclass
class Backend:
    """The server of one version, and who uses it."""

    held: Held
    running: Running | None = None
    ready: bool = False
    leases: int = 0
    leaving: bool = False
    """(3) Whether it is about to be stopped."""
    keeping: asyncio.Task[None] | None = None

    @property
    def state(self) -> str:
        """In a word."""
        return "leaving" if self.leaving else "ready" if self.ready else "starting"


@dataclass
class Lease:
    """One request's use of a server."""

    backend: Backend
    url: str
    verified: bool
    held: Held
    verdict: Verdict
    _over: bool = False

    def end(self) -> None:
        """The request was answered, or broke off."""
        if not self._over:
            self._over = True
            self.backend.leases -= 1


@dataclass
class Fleet:
    """See the module's docstring."""

    known: Knowledge
    start: Start
    seconds: Callable[[], float]
    say: Say
    key: bytes = field(repr=False)
    """The secret by which a rollout splits callers."""
    hold: float = 30.0
    """Seconds that a request waits for a server."""
    poll: float = 0.2
    """Seconds between two looks at a server that is starting."""
    backends: dict[str, Backend] = field(default_factory=dict)
    """By digest."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _waiting: int = 0
    _leaving: set[asyncio.Task[None]] = field(default_factory=set)

    def verdict(self) -> Verdict:
        """What may be served now."""
        return verdict(self.known, self.seconds())

    def learn(self, known: Knowledge) -> None:
        """The log was read, or could not be."""
        self.known = known
        self.arrange()

    def arrange(self) -> None:
        """(2), (3) Starts what is missing and lets go what nobody needs."""
        now = self.verdict()
        copies = (now.canary.held,) if now.canary is not None and now.canary.shadow else ()
        for held in (*now.allowed, *copies):
            backend = self.backends.get(held.digest)
            if backend is None:
                self._begin(held)
            else:
                backend.held = held  # the same bytes by another move
        said = self.known.said
        needed = {held.digest for held in said.versions}
        if said.canary is not None:  # (4), also where something is against it
            needed.add(said.canary.held.digest)
        if now.meanwhile is not None:
            needed.add(now.meanwhile.digest)
        for digest in [digest for digest in self.backends if digest not in needed]:
            self._let_go(digest)
        self._wake()

    async def lease(self, caller: Caller) -> Lease | Refused:
        """(1) A server for a request, or why there is none."""
        until = self.seconds() + self.hold
        while True:
            now = self.verdict()
            if not now.allowed:
                return Refused(now.findings, now)
            backend = self._ready(now, caller)
            lease = _leased(backend, now) if backend is not None else None
            if lease is not None:
                return lease
            if self.seconds() >= until or self._waiting >= MAX_WAITING:
                return Refused((_not_ready(now.allowed[0]),), now)
            await self._wait(until - self.seconds())

    def lease_copy(self, now: Verdict) -> Lease | None:
        """A server of the new version of a shadow rollout; None where none is ready."""
        if now.canary is None or not now.canary.shadow or not self._answers(now.canary.held):
            return None
        return _leased(self.backends[now.canary.held.digest], now)

    def failed(self, backend: Backend) -> None:
        """A request could not be passed on: the server is looked at again before others are."""
        backend.ready = False

    async def close(self) -> None:
        """Stops everything, leases or not."""
        for digest in list(self.backends):
            self._let_go(digest, patience=0.0)
        if self._leaving:
            await asyncio.wait(self._leaving)

    # -- Leases ------------------------------------------------------------------------------------
    def _ready(self, now: Verdict, caller: Caller) -> Backend | None:
        """(2) The server that answers; None while none is ready."""
        for held in (chosen(now, caller, self.key), now.allowed[0]):
            if self._answers(held):
                return self.backends[held.digest]
        if now.meanwhile is not None and self._answers(now.meanwhile):
            return self.backends[now.meanwhile.digest]
        return None

    def _answers(self, held: Held) -> bool:
        backend = self.backends.get(held.digest)
        return backend is not None and backend.ready and not backend.leaving

    async def _wait(self, seconds: float) -> None:
        """Until something changes, or the time is over."""
        self._waiting += 1
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), max(seconds, 0.01))
        finally:
            self._waiting -= 1

    def _wake(self) -> None:
        """Lets those that wait look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    # -- Servers -----------------------------------------------------------------------------------
    def _begin(self, held: Held) -> None:
        backend = Backend(held)
        self.backends[held.digest] = backend
        backend.keeping = asyncio.get_running_loop().create_task(self._keep(backend))

    async def _keep(self, backend: Backend) -> None:
        """(5) Starts a server, and starts it again when it ended."""
        pause = AGAIN_SECONDS
        while not backend.leaving:
            name = backend.held.name
            self.say(f"starting   {name}")
            try:
                backend.running = await self.start(backend.held)
                if await self._until_ready(backend):
                    self.say(f"serving    {name} by {backend.running.url}")
                    pause = AGAIN_SECONDS
                    await self._while_running(backend)
                self.say(f"ended      the server of {name}; it is started again")
            except CountersignError as error:
                self.say(f"failed     {name}: {error}")
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                self.say(f"failed     {name}: {type(error).__name__}")
            await self._stop(backend)
            await asyncio.sleep(pause)
            pause = min(2 * pause, AGAIN_MOST)

    async def _until_ready(self, backend: Backend) -> bool:
        """Waits until it answers. False if it ended before."""
        running = backend.running
        while running is not None and not running.has_ended():
            if await running.is_ready():
                backend.ready = True
                self._wake()
                return True
            await asyncio.sleep(self.poll)
        return False

    async def _while_running(self, backend: Backend) -> None:
        """Until it ends. One that failed a request is ready again when it answers."""
        running = backend.running
        while running is not None and not running.has_ended():
            if not backend.ready and not await self._until_ready(backend):
                return
            await asyncio.sleep(self.poll)

    async def _stop(self, backend: Backend) -> None:
        backend.ready = False
        running, backend.running = backend.running, None
        if running is not None:
            await running.stop()

    def _let_go(self, digest: str, patience: float = DRAIN_SECONDS) -> None:
        """(3)"""
        backend = self.backends.pop(digest)
        backend.leaving = True
        task = asyncio.get_running_loop().create_task(self._leave(backend, patience))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _leave(self, backend: Backend, patience: float) -> None:
        until = self.seconds() + patience
        while backend.leases and self.seconds() < until:
            await asyncio.sleep(self.poll)
        if backend.keeping is not None:
            backend.keeping.cancel()
            with suppress(asyncio.CancelledError):
                await backend.keeping
        await self._stop(backend)
        self.say(f"stopped    {backend.held.name}")


def _leased(backend: Backend, now: Verdict) -> Lease | None:
    """A lease of a server; None while it does not run."""
    running = backend.running
    if running is None:
        return None
    backend.leases += 1
    return Lease(backend, running.url, running.verified, backend.held, now)


def _not_ready(held: Held) -> Finding:
    return finding("BACKEND_NOT_READY", held.name)
