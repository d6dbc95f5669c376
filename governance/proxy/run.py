"""Runs the proxy: verifies, starts, follows the log, and listens until a signal.

Everything is verified before anything is started, as the verifying loader does. Where the log or
policy stops serving already, nothing is started.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import uvicorn

from governance.attest.requests import refusal
from governance.base.errors import (
    BusyError,
    ConfigError,
    CountersignError,
    RefusedError,
    StorageError,
)
from governance.history.rollouts import percent
from governance.history.state import LogState
from governance.proxy import permission, recording, servers, split_key
from governance.proxy.app import application
from governance.proxy.fleet import Fleet, Say
from governance.proxy.following import Follower
from governance.proxy.launching import Directory, Launcher
from governance.proxy.observing import Observer
from governance.proxy.permission import Held, Knowledge, Verdict
from governance.proxy.recording import Recorder
from governance.proxy.rolling import observed
from governance.proxy.searching import Searching
from governance.release.serving import parse

OBSERVE_SECONDS = 5.0
"""Between two times that open windows are stored: what a kill can lose."""
SEND_SECONDS = 20.0
"""For the last windows, when the proxy is stopped."""
END_SECONDS = 30
"""For requests that are being answered when the proxy is stopped."""


@dataclass(frozen=True)
class Settings:
    """Where the proxy listens, and how patient it is."""

    host: str
    port: int
    poll: float
    """Seconds between two readings of the log."""
    hold: float
    """Seconds that a request waits for a server that starts."""


# -- The whole -------------------------------------------------------------------------------------
@dataclass
class Serving:
    """The proxy of one alias."""

    follower: Follower
    settings: Settings
    known: Knowledge
    say: Say
    observer: Observer = field(default_factory=lambda: Observer(_now))
    recorder: Recorder | None = None
    """Where policy monitors."""
    searching: Searching | None = None
    """Where policy has answers searched."""
    fleet: Fleet = field(init=False)
    _told: str = ""
    _unsent: str = ""
    _server: uvicorn.Server | None = None

    def stop(self) -> None:
        """Ends `run`, after the requests that are being answered."""
        if self._server is not None:
            self._server.should_exit = True

    async def follow(self) -> None:
        """Reads the log until it is cancelled."""
        while True:
            await asyncio.sleep(self.settings.poll)
            self.fleet.learn(await asyncio.to_thread(self.follower.poll, self.fleet.known))
            rolling = self.observer.rolling
            if rolling is not None and not rolling.fits(self.fleet.verdict().canary):
                self._follow_rollout()
            self._tell(self.fleet.verdict())

    async def observe(self) -> None:
        """Stores windows, closes those that are over, and sends them, until it is cancelled."""
        while True:
            await asyncio.sleep(OBSERVE_SECONDS)
            try:
                if self.observer.windows is not None:
                    self.observer.windows.tick(self.fleet.verdict().allowed, self.observer.clock())
                self._follow_rollout()
                await self.send()
            except StorageError as error:
                self._tell_unsent(str(error))

    def _follow_rollout(self) -> None:
        """Windows of a rollout begin and end with its share."""
        if self.observer.rolling is not None:
            try:
                self.observer.rolling.follow(self.fleet.verdict().canary, self.observer.clock())
            except StorageError as error:
                self._tell_unsent(str(error))

    async def send(self) -> None:
        """Appends closed windows to the log. What fails waits."""
        windows, recorder = self.observer.windows, self.recorder
        if windows is None or recorder is None:
            return
        for window in windows.unsent():
            try:
                windows.sent(window, await asyncio.to_thread(recorder.record, window))
            except CountersignError as error:
                self._tell_unsent(str(error))
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                self._tell_unsent(f"internal error: {type(error).__name__}")
                return
        if await self._send_rollout(recorder):
            self._tell_unsent("")

    async def _send_rollout(self, recorder: Recorder) -> bool:
        """The same for windows of rollouts, and what is due then; whether nothing waits."""
        rolling = self.observer.rolling
        if rolling is None:
            return True
        for window in rolling.unsent():
            try:
                done = await asyncio.to_thread(recorder.record_rollout, window)
                if done:
                    self.say(f"rollout    {done}: what was observed demands it")
                is_recorded = True
            except RefusedError as error:
                self.say(f"rollout    not recorded: {error}")
                is_recorded = False
            except CountersignError as error:
                self._tell_unsent(str(error))
                return False
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                self._tell_unsent(f"internal error: {type(error).__name__}")
                return False
            rolling.settled(window, recorded=is_recorded)
        return True

    async def _end_observing(self) -> None:
        """The windows of this process end, and are in the log where it can be reached."""
        windows = self.observer.windows
        if windows is None:
            return
        try:
            windows.stop(self.observer.clock())
            if self.observer.rolling is not None:
                self.observer.rolling.stop(self.observer.clock())
            await asyncio.wait_for(self.send(), SEND_SECONDS)
        except TimeoutError:
            self._tell_unsent("the log did not answer in time")
        except StorageError as error:
            self._tell_unsent(str(error))
        finally:
            windows.close()

    def _tell_unsent(self, reason: str) -> None:
        if reason and reason != self._unsent:
            self.say(f"monitoring not in the log yet: {reason}")
        self._unsent = reason

    async def run(self, listener: socket.socket) -> None:
        """Serves until a signal."""
        name = f"{self.follower.model}@{self.follower.alias}"
        config = uvicorn.Config(
            application(self.fleet, name, self.observer),
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,  # the server's answer has one
            timeout_graceful_shutdown=END_SECONDS,
        )
        self.fleet.arrange()
        self._tell(self.fleet.verdict())
        if self.observer.windows is not None:
            self.observer.windows.resume(self.fleet.verdict().allowed, self.observer.clock())
        self._server = uvicorn.Server(config)
        following = asyncio.ensure_future(self.follow())
        following.add_done_callback(lambda _: self.stop())  # nothing is served unfollowed
        observing = [asyncio.ensure_future(self.observe())]
        if self.searching is not None:
            search = self.searching.run(self.observer.searched)
            observing.append(asyncio.ensure_future(search))
        try:
            await self._server.serve([listener])
        finally:
            following.cancel()
            for task in observing:
                task.cancel()
            await asyncio.wait(observing)
            await self._end_observing()
            await self.fleet.close()
        with suppress(asyncio.CancelledError):
            await following

    def _tell(self, now: Verdict) -> None:
        """Says what changed."""
        may = ", ".join(held.name for held in now.allowed)
        why = "; ".join(f"{each.code} {each.subject}" for each in now.findings)
        unread = (
            f"; the log was not read: {self.fleet.known.unreached}" if now.log != "current" else ""
        )
        served = f"may serve {may}" if may else f"serves nothing: {why}"
        text = f"{served}{self._told_of_rollout(now)}{unread}"
        if text != self._told:
            self._told = text
            self.say(f"log        {self.fleet.known.said.size} entries: {text}")

    def _told_of_rollout(self, now: Verdict) -> str:
        """Its share, why it has none, and whether this proxy observes it."""
        canary = self.fleet.known.said.canary
        if canary is None:
            return ""
        if now.canary is None:
            codes = ", ".join(dict.fromkeys(each.code for each in canary.held.against))
            return f"; the rollout to {canary.held.name} has no share here: {codes or 'not now'}"
        is_observed = self.observer.rolling is not None and observed(canary)
        unseen = "" if is_observed else "; its windows are not recorded here (docs/rollouts.md)"
        if canary.shadow:
            share = percent(canary.weight)
            return f"; requests of {share} of the callers are copied to {canary.held.name}{unseen}"
        return f"; {percent(canary.weight)} of the callers get {canary.held.name}{unseen}"


def serve(
    follower: Follower,
    start: Callable[[Held], Launcher | Directory],
    settings: Settings,
    say: Say,
    search: Callable[[], Sequence[str]],
) -> None:
    """Runs the proxy until SIGTERM or SIGINT. Raises before it listens, if a check fails.
    `search`: the command of the process that searches answers (`searching`).
    """
    now, known = follower.begin()
    found = permission.verdict(known, known.confirmed)
    if not found.allowed:
        what = f"serving {follower.model}@{follower.alias}"
        raise RefusedError(refusal(what, list(found.findings)))
    with _listener(settings) as listener:
        served = (follower.model, follower.alias)
        begun = recording.begin(follower.machine, now, served, settings.port, _now)
        windows, recorder = begun or (None, None)
        rolling = recording.rolling(follower.machine, now, windows) if windows else None
        searching = _searching(now, say, search) if windows else None
        observer = Observer(_now, windows, rolling, searching)
        serving = Serving(follower, settings, known, say, observer, recorder, searching)
        serving.fleet = Fleet(
            known,
            start(found.allowed[0]).start,
            follower.seconds,
            say,
            split_key.kept(follower.machine.state),
            settings.hold,
        )
        say(f"origin     {now.log.entry(0).leaf_hash.hex()}")
        say(f"listening  http://{settings.host}:{listener.getsockname()[1]} until SIGTERM")
        for number in (
            signal.SIGTERM,
            signal.SIGINT,
        ):  # uvicorn ends on them and raises them
            signal.signal(number, lambda *_: None)
        asyncio.run(serving.run(listener))


def _searching(now: LogState, say: Say, command: Callable[[], Sequence[str]]) -> Searching | None:
    """The search of answers; None where policy wants none. Raises what `command` raises."""
    policies = now.authority.in_force.policies
    rules = policies.rules.monitoring if policies is not None else None
    if policies is None or rules is None or rules.search is None:
        return None
    environ = servers.environment(os.environ)
    draw = random.SystemRandom().random
    return Searching(command(), environ, policies.pii, rules.search.share, draw, say)


def alias_of(name: str) -> tuple[str, str]:
    """Model and alias of MODEL@ALIAS. Raises `ConfigError`."""
    model, _, alias = parse(name)
    if alias is None:
        found, expected = (
            f"{name[:120]!r} names no alias",
            "MODEL@ALIAS, e.g. support-desk@champion",
        )
        raise ConfigError(
            found, expected=expected, fix="a version by its number moves by no decision"
        )
    return model, alias


def steady() -> float:
    """Seconds of a clock that nobody turns back."""
    return time.monotonic()


def _now() -> datetime:
    return datetime.now(UTC)


def _listener(settings: Settings) -> socket.socket:
    """Raises `BusyError` where another process listens there already."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=2048)
        # head and body of an answer are two writes; each connection inherits this
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        found = f"the proxy cannot listen on {settings.host}:{settings.port}: {error.strerror}"
        raise BusyError(found, fix="stop what listens there, or set another --port") from None
