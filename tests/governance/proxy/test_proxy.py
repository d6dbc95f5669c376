"""A proxy in front of real servers on private copies, under traffic, while the alias moves."""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from governance.proxy.run import Serving
from governance.proxy.servers import Server
from tests.governance.governed import RULES, Governed, governed
from tests.governance.proxy.world import (
    ABORT_POLLS,
    CHAT,
    SCRIPTED,
    count_polls,
    made,
    promoted,
    proxy,
    rolled_back,
    two_versions,
    until,
)

pytestmark = pytest.mark.slow
AT_ONCE = 30


@dataclass(frozen=True)
class Seen:
    """One answer, as its caller saw it."""

    began: float
    status: int
    named: str
    """The digest in the header."""
    true: tuple[str, ...]
    """The digests of the folder that the server read, in each part of the answer."""
    code: str = ""


async def ask(client: httpx.AsyncClient, *, delay: float = 0.0, stream: bool = False) -> Seen:
    """One request. Raises where it is lost."""
    began = time.monotonic()
    answer = await client.post(CHAT, json={"model": "x", "delay": delay, "stream": stream})
    named = answer.headers.get("x-countersign-digest", "")
    if answer.status_code != 200:
        return Seen(began, answer.status_code, named, (), answer.json()["error"]["code"])
    if not stream:
        return Seen(began, 200, named, (answer.json()["choices"][0]["message"]["content"],))
    parts = answer.text.strip().split("\n\n")
    assert parts.pop() == "data: [DONE]"
    digests = tuple(json.loads(part.removeprefix("data: "))["digest"] for part in parts)
    assert len(digests) == 5, "a stream is not whole"
    return Seen(began, 200, named, digests)


class Traffic:
    """Callers who each ask again as soon as they are answered."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client, self.seen, self.over = client, list[Seen](), False
        self._callers = [asyncio.ensure_future(self._call(number)) for number in range(AT_ONCE)]

    async def _call(self, number: int) -> None:
        chance = random.Random(number)
        while not self.over:
            stream = chance.random() < 0.3
            delay = chance.random() * (0.05 if stream else 0.3)
            self.seen.append(await ask(self.client, delay=delay, stream=stream))
            if self.seen[-1].status != 200:
                await asyncio.sleep(0.1)

    async def end(self) -> list[Seen]:
        """Lets everybody finish. Raises where a request was lost."""
        self.over = True
        await asyncio.gather(*self._callers)
        return self.seen


def serves(serving: Serving, digest: str) -> bool:
    """Whether a ready server has these bytes, and no other is there."""
    backends = serving.fleet.backends
    return list(backends) == [digest] and backends[digest].ready


def test_no_request_is_lost_and_none_is_answered_by_other_bytes(scene: Governed) -> None:
    """A promotion, a rollback and an incident under traffic."""
    first, second = two_versions(scene)

    async def happen() -> None:
        async with proxy(scene) as (client, serving):
            traffic = Traffic(client)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(promoted, scene)
            await until(lambda: second in serving.fleet.backends)
            await until(lambda: serving.fleet.backends[second].ready)
            switched = time.monotonic()
            await asyncio.sleep(0.5)
            await asyncio.to_thread(rolled_back, scene, "2", first)
            back = time.monotonic()
            reads = count_polls(serving)
            await until(lambda: serving.fleet.verdict().allowed[0].digest == first)
            aborted, used = time.monotonic(), reads[0]
            await until(lambda: serves(serving, first))
            await asyncio.sleep(0.5)
            scene.story.models["sft"] = first  # what the incident is about
            await asyncio.to_thread(scene.incident, "2", "open")
            await until(lambda: not serving.fleet.verdict().allowed)
            stopped = time.monotonic()
            await asyncio.sleep(0.3)
            seen = await traffic.end()
        answered = [one for one in seen if one.status == 200]
        assert all(set(one.true) == {one.named} for one in answered), "the header is not true"
        assert {one.named for one in answered} == {first, second}
        # after the switch the new version answers, until the rollback
        between = [one.named for one in answered if switched < one.began < back]
        assert set(between) == {second}
        # after the rollback was read, nothing comes from what it took back
        assert used <= ABORT_POLLS
        assert not [one for one in answered if one.began > aborted and one.named == second]
        # nobody was refused before the incident, and everybody was after it
        assert [one for one in seen if one.began < stopped and one.status not in (200, 503)] == []
        refused = [one for one in seen if one.status == 503]
        assert {one.code for one in refused} == {"INCIDENT_OPEN"}
        assert not [one for one in answered if one.began > stopped]
        assert [one for one in refused if one.began > stopped]

    asyncio.run(happen())


@pytest.mark.nightly
def test_without_a_handover_requests_wait_for_the_new_version(tmp_path: Path) -> None:
    scene = governed(tmp_path, RULES + "serving: {handover_minutes: 0}\n")
    first, second = two_versions(scene)

    async def happen() -> None:
        async with proxy(scene) as (client, serving):
            traffic = Traffic(client)
            await asyncio.sleep(0.2)
            await asyncio.to_thread(promoted, scene)
            await until(lambda: serving.fleet.verdict().allowed[0].digest == second)
            known = time.monotonic()
            await until(lambda: second in serving.fleet.backends)
            await until(lambda: serving.fleet.backends[second].ready)
            seen = await traffic.end()
        assert {one.status for one in seen} == {200}
        assert {one.named for one in seen if one.began > known} == {second}
        assert {one.named for one in seen if one.began <= known} >= {first}

    asyncio.run(happen())


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """One version with files, champion; read only."""
    scene = governed(tmp_path_factory.mktemp("once"))
    made(scene, "2")
    scene.released("2")
    return scene


@pytest.fixture
def released(once: Governed, tmp_path: Path) -> Governed:
    """A copy of it."""
    return once.copy(tmp_path / "copy")


def test_answers_are_passed_on_as_they_are(released: Governed) -> None:
    """Routes, errors, headers, the state; and a server that ended is started again."""

    async def happen() -> None:
        async with proxy(released) as (client, serving):
            digest = released.story.models["sft"]
            answer = await client.post(
                CHAT, json={"model": "support-desk", "status": 418}, headers={"x-mine": "1"}
            )
            assert (answer.status_code, answer.json()["model"]) == (418, "support-desk")
            assert answer.json()["seen"] == {"x-mine": "1"}
            assert answer.headers.get_list("x-countersign-digest") == [digest]  # not the server's
            assert answer.headers["x-countersign-version"] == "support-desk/2"
            assert answer.headers["x-countersign-bytes"] == "verified"
            entry = int(answer.headers["x-countersign-entry"])
            assert released.story.log.entry(entry).kind == "promotion"
            (model,) = (await client.get("/v1/models")).json()["data"]
            assert model["id"] == digest
            for method, path in (("POST", "/v1/load_lora_adapter"), ("GET", CHAT), ("GET", "/")):
                answer = await client.request(method, path)
                code = answer.json()["error"]["code"]
                assert (answer.status_code, code) == (404, "ROUTE_UNKNOWN")
            large = await client.post(CHAT, content=b" " * ((16 << 20) + 1))
            assert (large.status_code, large.json()["error"]["code"]) == (413, "BODY_TOO_LARGE")
            health = (await client.get("/readyz")).json()
            assert health["ready"] and health["versions"][0]["digest"] == digest
            assert health["log"]["entries"] == released.story.log.size()
            await ends(client, serving)

    asyncio.run(happen())


async def ends(client: httpx.AsyncClient, serving: Serving) -> None:
    """The server dies while it answers: its caller is told, and the next one waits for another."""
    (backend,) = serving.fleet.backends.values()
    lost = await client.post(CHAT, json={"end": True})
    assert (lost.status_code, lost.json()["error"]["code"]) == (502, "BACKEND_NOT_READY")
    assert (await ask(client)).status == 200
    assert backend.leases == 0


@pytest.mark.nightly
def test_nothing_is_served_by_a_proxy_that_follows_no_log(released: Governed) -> None:
    async def happen() -> None:
        with pytest.raises(ZeroDivisionError):
            async with proxy(released) as (_, serving):
                serving.follower.poll = lambda known: 1 // 0  # type: ignore[method-assign,assignment,return-value]
                await until(lambda: serving._server is not None and serving._server.should_exit)

    asyncio.run(happen())


HOSTILE = {
    "a host that is none": b"POST /v1/chat/completions HTTP/1.1\r\nhost: [\r\n",
    "a query": b"POST /v1/chat/completions?a=%20%0d%0a/../x HTTP/1.1\r\nhost: x\r\n",
    "another address": b"POST http://elsewhere/v1/chat/completions HTTP/1.1\r\nhost: x\r\n",
    "a way out": b"POST /v1/chat/completions/../../load_model HTTP/1.1\r\nhost: x\r\n",
    "headers of the connection": b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
    b"connection: close, x-mine\r\nx-mine: 1\r\nexpect: 100-continue\r\n",
    "no HTTP": b"\x16\x03\x01\r\n",
}


async def raw(port: int, head: bytes) -> bytes:
    """The answer to bytes that no client library would send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head + b"content-length: 2\r\nconnection: close\r\n\r\n{}")
    answer = await asyncio.wait_for(reader.read(), 180)
    writer.close()
    return answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")


def test_what_callers_do_reaches_nothing_else_and_breaks_nothing(released: Governed) -> None:
    """They send nonsense, or leave in the middle of a stream."""

    async def happen() -> None:
        async with proxy(released) as (client, serving):
            found = {row: await raw(client.base_url.port or 0, HOSTILE[row]) for row in HOSTILE}
            status = {row: answer.split(b"\r\n")[0].split(b" ")[1] for row, answer in found.items()}
            assert status["a way out"] == b"404" and status["no HTTP"] == b"400"
            others = {row: status[row] for row in HOSTILE if row not in ("a way out", "no HTTP")}
            assert set(others.values()) <= {b"200", b"400", b"404"}, status
            assert b'"x-mine"' not in found["headers of the connection"]
            assert (await ask(client)).status == 200
            (backend,) = serving.fleet.backends.values()
            assert backend.leases == 0
            with pytest.raises(httpx.ReadTimeout):
                asked = {"stream": True, "delay": 1000}
                await client.post(CHAT, json=asked, timeout=httpx.Timeout(60, read=0.3))
            await until(lambda: backend.leases == 0)

    asyncio.run(happen())


def test_a_server_gets_no_secret_and_its_copy_goes_away(
    released: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment of the server, as its own process sees it."""
    shown = tmp_path / "environment"
    program = f"env > {shown}; pwd >> {shown}; exec {' '.join(SCRIPTED.command)}"
    server = Server("shown", ("/bin/sh", "-c", program))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    async def happen() -> None:
        async with proxy(released, server=server) as (client, _):
            assert (await ask(client)).status == 200
            assert list(tmp_path.glob("countersign-model-*"))

    asyncio.run(happen())
    assert not list(tmp_path.glob("countersign-model-*"))
    text = shown.read_text()
    assert "HF_HUB_OFFLINE=1" in text and "COUNTERSIGN" not in text and "CI_KEY" not in text


def test_a_copy_that_is_not_the_registered_model_is_never_served(
    released: Governed, capsys: pytest.CaptureFixture[str]
) -> None:
    (weights,) = released.story.machine.artifact_root.rglob("*.safetensors")
    weights.write_bytes(weights.read_bytes() + b"\0")

    async def happen() -> None:
        with pytest.raises(AssertionError, match="it did not happen"):
            async with proxy(released, ready_within=2.0):
                pytest.fail("it serves")

    asyncio.run(happen())
    assert "content changed" in capsys.readouterr().out
