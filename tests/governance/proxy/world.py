"""A governed log with files of its versions, and a proxy in front of scripted servers."""

from __future__ import annotations

import asyncio
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx

from governance.proxy import launching, recording, run
from governance.proxy.fleet import Fleet
from governance.proxy.following import Follower
from governance.proxy.observing import Observer
from governance.proxy.run import Serving
from governance.proxy.searching import Searching
from governance.proxy.servers import Server
from tests.governance.governed import Governed
from tests.governance.story import MODEL

SCRIPTED = Server(
    "scripted", (sys.executable, "-m", "tests.governance.proxy.scripted", "{folder}", "{port}")
)
ROOT = Path(__file__).parents[3]
CHAT = "/v1/chat/completions"
ABORT_POLLS = 2
"""Readings of the log within which an abort takes effect: one that was under way, and the next."""
SPLIT = b"s" * 32
"""The secret that splits callers."""


FIRST, SECOND = "2", "3"
"""Versions with files on this machine. The scene's version 1 has none."""


def made(scene: Governed, version: str) -> str:
    """Trains and registers a version, with its files where the registry of this machine has them;
    its digest.
    """
    run_id = f"{int(version):032x}"
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.98)
    scene.story.register("sft", version, run_id=run_id)
    target = scene.story.machine.artifact_root / run_id / "artifacts" / "model"
    shutil.copytree(scene.story.root / "models/sft/model", target)
    return scene.story.models["sft"]


def two_versions(scene: Governed) -> tuple[str, str]:
    """The first version is released, the second may be: their digests."""
    first = made(scene, FIRST)
    scene.released(FIRST)
    second = made(scene, SECOND)
    frozen = scene.freeze(SECOND)
    scene.approve("ada", "ml-lead", frozen)
    scene.approve("ben", "risk", frozen)
    return first, second


def promoted(scene: Governed, version: str = SECOND) -> None:
    """The approved version gets the alias."""
    scene.table.held[MODEL, "champion"] = str(scene.held())
    scene.request(version)
    scene.consume(version)


def rolled_back(scene: Governed, version: str, digest: str) -> None:
    """The alias goes back."""
    scene.table.held[MODEL, "champion"] = str(scene.held())
    request = scene.request(version, action="rollback", model_digest=digest)
    scene.approve("ben", "risk", request, "promotion")
    assert scene.consume(version).action == "rollback"


def follower(
    scene: Governed,
    seconds: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] | None = None,
) -> Follower:
    """Follows the champion of the scene's log. `now`: the wall clock."""
    clock = now or (lambda: scene_time(scene))
    return Follower(scene.story.machine, MODEL, "champion", None, None, clock, seconds)


def scene_time(scene: Governed) -> datetime:
    """A moment after everything that was said."""
    return datetime(2027, 1, 1, tzinfo=UTC)


@asynccontextmanager
async def proxy(
    scene: Governed,
    *,
    poll: float = 0.1,
    hold: float = 180.0,
    server: Server = SCRIPTED,
    seconds: Callable[[], float] = time.monotonic,
    ready_within: float = 180.0,
    clock: Callable[[], datetime] | None = None,
    now: Callable[[], datetime] | None = None,
    search: Searching | None = None,
) -> AsyncIterator[tuple[httpx.AsyncClient, run.Serving]]:
    """A proxy that follows the champion, and a client of it. `clock`: it records windows where policy
    monitors. `now`: the wall clock by which rollouts are open. `search`: searches its answers.
    """
    follows = follower(scene, seconds, now)
    begun_with, known = follows.begin()
    said: list[str] = []
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    launcher = launching.Launcher(
        scene.story.machine, "champion", server, environ, lambda now, served: None,
        follows.clock,
    )  # fmt: skip
    listener = socket.create_server(("127.0.0.1", 0))
    settings = run.Settings("127.0.0.1", 0, poll, hold)
    serving = run.Serving(follows, settings, known, said.append)
    if clock is not None:
        begun = recording.begin(scene.story.machine, begun_with, (MODEL, "champion"), 0, clock)
        assert begun is not None
        rolling = recording.rolling(scene.story.machine, begun_with, begun[0])
        serving.observer, serving.recorder = Observer(clock, begun[0], rolling, search), begun[1]
        serving.searching = search
    serving.fleet = Fleet(known, launcher.start, seconds, said.append, SPLIT, hold=hold, poll=0.05)
    server_task = asyncio.ensure_future(serving.run(listener))
    port = listener.getsockname()[1]
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=240, limits=limits, trust_env=False
        ) as client:
            await until(
                lambda: any(each.ready for each in serving.fleet.backends.values()), ready_within
            )
            yield client, serving
    except BaseException:
        print("\n".join(said))
        raise
    finally:
        serving.stop()
        await server_task


async def until(condition: Callable[[], bool], seconds: float = 180.0) -> None:
    """Waits until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.02)


def count_polls(serving: Serving) -> list[int]:
    """Counts the readings of the log from now on."""
    count, poll = [0], serving.follower.poll

    def counted(known):  # type: ignore[no-untyped-def]
        count[0] += 1
        return poll(known)

    serving.follower.poll = counted  # type: ignore[method-assign]
    return count
