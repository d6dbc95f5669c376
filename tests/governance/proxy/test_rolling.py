"""A rollout moves the traffic of a proxy in front of real servers: from nothing to everything, with
an incident in between, and back.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from governance.attest.predicates.rollouts import WHOLE
from governance.history.state import state
from governance.proxy import run
from governance.proxy.choice import Caller
from governance.proxy.run import Serving
from governance.rollout.split import Split, arm_of
from tests.governance.governed import KINDS, RULES, Governed, begun, principals
from tests.governance.proxy.world import (
    ABORT_POLLS,
    CHAT,
    FIRST,
    SECOND,
    SPLIT,
    count_polls,
    proxy,
    two_versions,
    until,
)
from tests.governance.rollout.rolling import ROLLOUTS, SERVICES, Recorded, recorded

pytestmark = pytest.mark.slow
CALLERS = 24
TENTH, HALF = 1_000, 5_000


@dataclass(frozen=True)
class Seen:
    """One answer, as its caller saw it."""

    user: str
    began: float
    ended: float
    status: int
    named: str
    """The digest in the header."""
    true: str
    """The digest of the folder that the server read."""
    version: str
    entry: int


class Traffic:
    """Callers with a name each, who ask again as soon as they are answered."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client, self.seen, self.over = client, list[Seen](), False
        self._callers = [asyncio.ensure_future(self._call(f"user {n}")) for n in range(CALLERS)]

    async def _call(self, user: str) -> None:
        while not self.over:
            began = time.monotonic()
            asked = {"model": "x", "user": user, "delay": 0.2}
            answer = await self.client.post(CHAT, json=asked)
            said = answer.headers
            self.seen.append(
                Seen(
                    user,
                    began,
                    time.monotonic(),
                    answer.status_code,
                    said.get("x-countersign-digest", ""),
                    answer.json()["choices"][0]["message"]["content"],
                    said.get("x-countersign-version", ""),
                    int(said.get("x-countersign-entry", 0)),
                )
            )

    async def end(self) -> list[Seen]:
        """Lets everybody finish. Raises where a request was lost."""
        self.over = True
        await asyncio.gather(*self._callers)
        return self.seen


@dataclass
class Phase:
    """A time during which the log said the same, and the share that it gave."""

    weight: int
    since: float
    until: float = float("inf")


class Told:
    """Changes the log under traffic, and waits until the proxy knows it."""

    def __init__(self, serving: Serving, traffic: Traffic, new: str) -> None:
        self.serving, self.traffic, self.new = serving, traffic, new
        self.phases = [Phase(0, time.monotonic())]

    async def happens(self, weight: int, change: Callable[[], object]) -> None:
        """A change after which the new version has this share."""
        reads = count_polls(self.serving)
        before = time.monotonic()
        await asyncio.to_thread(change)
        used = reads[0]
        await until(lambda: self._share() == weight)
        assert reads[0] - used <= ABORT_POLLS
        if weight:
            await until(lambda: self._is_ready())
        self.phases[-1].until = before
        self.phases.append(Phase(weight, time.monotonic()))
        await self.goes_on()

    async def goes_on(self) -> None:
        """Every caller asks and is answered in this phase."""
        await until(lambda: len({one.user for one in self._answered()}) == CALLERS)

    def _answered(self) -> list[Seen]:
        return [one for one in self.traffic.seen if one.began > self.phases[-1].since]

    def _share(self) -> int:
        canary = self.serving.fleet.verdict().canary
        return canary.weight if canary else 0

    def _is_ready(self) -> bool:
        backend = self.serving.fleet.backends.get(self.new)
        return backend is not None and backend.ready


def rolling(folder: Path) -> tuple[Governed, str, str]:
    """A champion and a version that may be rolled out: their digests."""
    scene = begun(folder, RULES + ROLLOUTS, principals(services=SERVICES))
    return (scene, *two_versions(scene))


def asked(tale: Recorded, old: str, new: str) -> None:
    """A rollout to everything, started with a tenth."""
    fields = {"from_version": FIRST, "from_digest": old, "to_version": SECOND, "to_digest": new}
    tale.asks(**fields, weights=[TENTH, HALF, WHOLE])


def again(tale: Recorded) -> Recorded:
    """After what others said."""
    assert tale.scene is not None
    tale.before = state(tale.scene.story.log)
    return tale


def test_a_rollout_moves_callers_and_an_incident_and_an_abort_end_it_at_once(
    tmp_path: Path,
) -> None:
    scene, old, new = rolling(tmp_path)
    tale = recorded(scene)
    asked(tale, old, new)

    async def happen() -> tuple[list[Seen], list[Phase], dict[str, object]]:
        async with proxy(scene, now=lambda: tale.at) as (client, serving):
            traffic = Traffic(client)
            told = Told(serving, traffic, new)
            await told.goes_on()
            await told.happens(TENTH, lambda: tale.steps("start"))
            health = (await client.get("/healthz")).json()["rollout"]
            await told.happens(HALF, lambda: tale.observes().steps("widen"))
            await told.happens(0, lambda: scene.incident(SECOND, "open"))
            barred = (await client.get("/healthz")).json()["rollout"]
            assert [each["code"] for each in barred["findings"]] == ["ROLLOUT_INCIDENT"]
            assert (barred["share_in_log"], barred["share"]) == ("50 %", "0 %")
            await told.happens(HALF, lambda: scene.incident(SECOND, "closed"))
            await told.happens(WHOLE, lambda: again(tale).observes().steps("widen"))
            await told.happens(0, lambda: tale.steps("abort"))
            assert (await client.get("/healthz")).json()["rollout"] is None
            return await traffic.end(), told.phases, health

    seen, phases, health = asyncio.run(happen())
    assert (health["version"], health["digest"]) == (f"support-desk/{SECOND}", new)
    assert (health["share"], health["findings"]) == ("10 %", [])
    assert {one.status for one in seen} == {200}, "a request was refused or lost"
    assert all(one.named == one.true for one in seen), "the header is not true"
    follows_the_log(scene, seen, phases, old, new)
    rollout = tale.rollout.request.digest
    for phase in phases:
        within = [one for one in seen if phase.since < one.began and one.ended < phase.until]
        assert len({one.user for one in within}) == CALLERS
        split = Split(rollout, phase.weight, shadow=False, key=SPLIT)
        for one in within:
            caller = Caller({}, b'{"user": "%s"}' % one.user.encode())
            assert one.named == (new if arm_of(caller.name, split) == "new" else old)


def follows_the_log(
    scene: Governed, seen: list[Seen], phases: list[Phase], old: str, new: str
) -> None:
    """Each answer names an entry about its bytes. The new version answered nobody who asked while
    the log gave it no share.
    """
    names = {old: f"support-desk/{FIRST}", new: f"support-desk/{SECOND}"}
    evidence = state(scene.story.log).evidence
    about = {
        statement.index: {subject.sha256 for subject in statement.subjects}
        for kind in ("promotion", "rollout_step")
        for statement in evidence.all(kind)
    }
    for one in seen:
        assert one.named in about[one.entry] and one.version == names[one.named]
    for phase in phases:
        began_in = [one for one in seen if phase.since < one.began < phase.until]
        if not phase.weight:
            assert {one.named for one in began_in} == {old}


def test_a_shadow_gets_copies_and_answers_nobody(tmp_path: Path) -> None:
    """Real servers: the new version answers the copies of the share, and no caller sees it."""
    scene, old, new = rolling(tmp_path)
    tale = recorded(scene)
    fields = {"from_version": FIRST, "from_digest": old, "to_version": SECOND, "to_digest": new}
    tale.asks(**fields, weights=[HALF], mode="shadow")
    tale.steps("start")
    split = Split(tale.rollout.request.digest, HALF, shadow=True, key=SPLIT)
    callers = [Caller({}, b'{"user": "user %d"}' % number) for number in range(CALLERS)]
    shared = [caller for caller in callers if arm_of(caller.name, split) == "new"]

    async def happen() -> None:
        async with proxy(scene, now=lambda: tale.at) as (client, serving):
            backends, copies = serving.fleet.backends, serving.observer.copies
            await until(lambda: new in backends and backends[new].ready)
            for number in range(CALLERS):
                answer = await client.post(CHAT, json={"user": f"user {number}", "delay": 0})
                assert answer.headers["x-countersign-digest"] == old
                assert answer.json()["choices"][0]["message"]["content"] == old
            await until(lambda: not backends[new].leases)
            assert copies == {"sent": len(shared), "dropped": 0} and 0 < len(shared) < CALLERS
            health = (await client.get("/healthz")).json()
            assert (health["rollout"]["mode"], health["rollout"]["copies"]) == ("shadow", copies)
            assert [each["version"] for each in health["versions"]] == [f"support-desk/{FIRST}"]
            assert (
                f'countersign_copies_total{{end="sent"}} {len(shared)}'
                in (await client.get("/metrics")).text
            )
            assert set(serving.observer.sums) == {old}, "copies counted as use"
            await asyncio.to_thread(tale.steps, "abort")
            await until(lambda: new not in backends)

    asyncio.run(happen())


class Clock:
    """A wall clock that is set."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at


@pytest.mark.nightly
def test_what_the_proxy_observes_aborts_a_harmful_rollout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new version fails its callers. The window is closed and recorded, automation aborts, and
    everybody gets the old version; a second process records nothing twice.
    """
    monkeypatch.setattr(run, "OBSERVE_SECONDS", 0.2)
    services = {
        "ci": [*KINDS, "monitoring", "rollout_window", "rollout_reaction"],
        "proxy": SERVICES["proxy"],
    }
    rules = f"{RULES}{ROLLOUTS}monitoring: {{window_minutes: 5}}\n"
    scene = begun(tmp_path, rules, principals(services=services))
    old, new = two_versions(scene)
    tale = recorded(scene)
    asked(tale, old, new)
    tale.steps("start")
    tale.observes().steps("widen")
    clock = Clock(tale.at)
    split = Split(tale.rollout.request.digest, HALF, shadow=False, key=SPLIT)

    async def minutes_pass(count: int) -> None:
        for _ in range(count):
            clock.at += timedelta(seconds=50)
            await asyncio.sleep(0.4)

    async def happen() -> None:
        async with proxy(scene, clock=clock, now=clock) as (client, serving):
            backends = serving.fleet.backends
            await until(lambda: new in backends and backends[new].ready)
            health = (await client.get("/healthz")).json()["rollout"]
            assert health["observed"] and health["share"] == "50 %"
            for number in range(160):
                body = {"user": f"user {number}"}
                caller = Caller({}, json.dumps(body).encode())
                fails = arm_of(caller.name, split) == "new"
                answer = await client.post(CHAT, json={**body, "status": 500 if fails else 200})
                assert answer.headers["x-countersign-digest"] == (new if fails else old)
            await minutes_pass(7)
            await until(lambda: serving.fleet.known.said.canary is None)
            answer = await client.post(CHAT, json=body)
            assert answer.headers["x-countersign-digest"] == old

    async def restarted() -> None:
        async with proxy(scene, clock=clock, now=clock):
            await minutes_pass(3)

    asyncio.run(happen())
    asyncio.run(restarted())
    found = state(scene.story.log).timeline.rollouts[tale.rollout.request.digest]
    assert [step.predicate.action for step in found.steps] == ["start", "widen", "abort"]
    errors = found.windows[-1].predicate.metrics["errors"]
    assert len(found.windows) == 2 and errors.old.count + errors.new.count == 160
    assert errors.old.total == 0 and errors.new.total == errors.new.count
