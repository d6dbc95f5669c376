"""Copies of requests in a shadow rollout: who is copied, what is dropped, and what is counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from governance.attest.predicates import Guardrail
from governance.attest.predicates.rollouts import WHOLE
from governance.policy.monitoring import MonitoringRules
from governance.policy.serving import ServingRules
from governance.proxy import permission, shadow
from governance.proxy.choice import Caller
from governance.proxy.connections import BrokenError, Connections
from governance.proxy.fleet import Backend, Fleet, Lease
from governance.proxy.observing import Observer
from governance.proxy.permission import Canary, Held
from governance.proxy.permission import Said as LogSaid
from governance.proxy.rolling import RolloutWindows
from governance.proxy.shadow import Copies, Pair
from governance.proxy.tally import Observed, Said
from governance.proxy.windows import Terms, Windows

T0 = datetime(2027, 1, 1, tzinfo=UTC)
OLD, NEW = Held("m", "1", "a", 1), Held("m", "2", "b", 2)
ERRORS = Guardrail(metric="errors", worse="higher", low=0, high=1, margin=0.05)
ANSWER, FAILED = Observed("answered", 500, Said(characters=3)), Observed("failed", 9)
FORMER = replace(OLD, version="0", digest="z")
CALLER = Caller({}, b'{"user": "ann"}')


def at(minutes: int) -> datetime:
    return T0 + timedelta(minutes=minutes)


class Running:
    """A server that is there."""

    url, verified = "http://127.0.0.1:1", True

    async def is_ready(self) -> bool:
        return True

    def has_ended(self) -> bool:
        return False

    async def stop(self) -> None:
        pass


class World:
    """A fleet whose servers are ready, and what is observed of it."""

    def __init__(self, folder: Path, weight: int = WHOLE, *, is_shadow: bool = True) -> None:
        self.canary = Canary(NEW, "x", weight, 600.0, (ERRORS,), at(60), is_shadow)
        said = LogSaid(3, (OLD,), None, (), ServingRules(), self.canary)
        known = permission.begin(said, 0.0)
        self.fleet = Fleet(known, self._start, lambda: 1.0, lambda _: None, b"k" * 32)
        for held in (OLD, NEW):
            self.fleet.backends[held.digest] = Backend(held, Running(), ready=True)
        terms = Terms("c" * 64, MonitoringRules(window_minutes=10))
        self.rolling = RolloutWindows(Windows(folder / "windows.db", "5" * 32, terms, at(0)))
        self.rolling.follow(self.canary, at(0))
        self.observer = Observer(lambda: at(0), rolling=self.rolling)
        self.copies = Copies(self.fleet, self.observer)
        self.go = asyncio.Event()

    async def _start(self, _: object) -> Running:
        return Running()

    def lease(self) -> Lease:
        """The holder's server, for the caller's own request."""
        return Lease(self.fleet.backends["a"], Running.url, True, OLD, self.fleet.verdict())

    async def send(self, _: Connections, url: str) -> Any:
        """The new version answers as soon as it may."""
        assert url == Running.url
        await self.go.wait()

        async def body() -> AsyncIterator[bytes]:
            yield b'{"choices": [{"message": {"content": "abc"}}]}'

        async def close() -> None:
            pass

        headers = [(b"content-type", b"application/json")]
        return SimpleNamespace(status=200, headers=headers, body=body(), close=close)

    async def broken(self, _: Connections, __: str) -> Any:
        raise BrokenError("it ended")

    def counted(self) -> dict[str, tuple[int, float]]:
        """Of errors: requests and sum of each side, in the window that ends now."""
        self.rolling.stop(at(1))
        (window,) = self.rolling.unsent()
        arms = window.metrics["errors"]
        return {"old": (arms.old.count, arms.old.total), "new": (arms.new.count, arms.new.total)}


async def settled() -> None:
    """Lets every task that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_pair_counts_once_both_ended_and_is_no_use_of_the_new_version(tmp_path: Path) -> None:
    async def happen() -> None:
        world = World(tmp_path)
        pair = world.copies.copy(world.lease(), CALLER, b"{}", world.send)
        assert pair is not None and world.fleet.backends["b"].leases == 1
        pair.answered(OLD, ANSWER)  # the caller does not wait for the copy
        await settled()
        assert pair.new is None
        world.go.set()
        await settled()
        assert pair.new is not None and pair.new.said == Said(3, False, None, None)
        assert world.fleet.backends["b"].leases == 0
        assert not world.observer.sums, "a copy counted as use"
        assert world.counted() == {"old": (1, 0.0), "new": (1, 0.0)}
        assert world.observer.copies == {"sent": 1, "dropped": 0}

    asyncio.run(happen())


def test_a_copy_that_breaks_off_is_an_error_of_the_new_version(tmp_path: Path) -> None:
    async def happen() -> None:
        world = World(tmp_path)
        pair = world.copies.copy(world.lease(), CALLER, b"{}", world.broken)
        assert pair is not None
        await settled()
        pair.answered(OLD, ANSWER)
        assert world.counted() == {"old": (1, 0.0), "new": (1, 1.0)}
        assert not world.fleet.backends["b"].ready, "its server is looked at again"
        assert world.copies.copy(world.lease(), CALLER, b"{}", world.send) is None
        assert world.observer.copies == {"sent": 1, "dropped": 1}

    asyncio.run(happen())


def test_what_is_too_much_is_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "MOST_COPIES", 2)

    async def happen() -> None:
        world = World(tmp_path)
        pairs = [world.copies.copy(world.lease(), CALLER, b"{}", world.send) for _ in range(5)]
        assert [pair is not None for pair in pairs] == [True, True, False, False, False]
        assert world.observer.copies == {"sent": 2, "dropped": 3}
        await world.copies.close()
        assert world.fleet.backends["b"].leases == 0
        large = bytes(shadow.MAX_BODY + 1)
        assert world.copies.copy(world.lease(), CALLER, large, world.send) is None

    asyncio.run(happen())


def test_a_copy_that_takes_too_long_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "COPY_SECONDS", 0.001)

    async def happen() -> None:
        world = World(tmp_path)
        pair = world.copies.copy(world.lease(), CALLER, b"{}", world.send)
        await asyncio.sleep(0.05)
        assert pair is not None and pair.new is not None and pair.new.end == "failed"

    asyncio.run(happen())


def test_nobody_is_copied_in_a_live_rollout_or_outside_the_share(tmp_path: Path) -> None:
    async def happen() -> None:
        live = World(tmp_path / "live", is_shadow=False)
        assert live.copies.copy(live.lease(), CALLER, b"{}", live.send) is None
        world = World(tmp_path / "shadow", weight=1)
        assert world.copies.copy(world.lease(), CALLER, b"{}", world.send) is None
        assert world.observer.copies == {"sent": 0, "dropped": 0}

    (tmp_path / "live").mkdir()
    (tmp_path / "shadow").mkdir()
    asyncio.run(happen())


PAIRS: dict[str, tuple[Observed, Observed, bool]] = {
    "both answered": (ANSWER, ANSWER, True),
    "the holder failed": (FAILED, ANSWER, True),
    "the caller left": (Observed("left", 3), ANSWER, False),
}


@pytest.mark.parametrize("row", PAIRS)
def test_both_sides_count_the_same_requests(row: str, tmp_path: Path) -> None:
    old, new, is_counted = PAIRS[row]
    world = World(tmp_path)
    pair = Pair(world.observer, world.canary, OLD, "ann", 0.0)
    pair.copied(new.end)
    pair.answered(OLD, old)
    assert [count for count, _ in world.counted().values()] == [int(is_counted)] * 2


def test_what_another_version_than_the_holder_answered_is_no_comparison(tmp_path: Path) -> None:
    world = World(tmp_path)
    pair = Pair(world.observer, world.canary, OLD, "ann", 0.0)
    pair.copied("answered")
    pair.answered(FORMER, ANSWER)
    assert world.counted() == {"old": (0, 0.0), "new": (0, 0.0)}
