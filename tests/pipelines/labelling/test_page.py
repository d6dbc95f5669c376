"""The local page: blind, by keyboard alone, for this machine only, and no vote is lost."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from governance.base.errors import InputError
from pipelines.labelling import page, votes
from pipelines.labelling.page import Desk
from tests.pipelines.labelling.made import KEY, exported

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
TOKEN = "the-token"


class Clock:
    """Ten seconds pass between any two looks."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 25, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=10)
        return self.now


def desk(folder: Path, rater: str = "Ann") -> Desk:
    return page.opened(exported(folder), folder, rater, KEY, Clock())


def client(one: Desk) -> Any:
    from starlette.testclient import TestClient

    return TestClient(page.application(one, TOKEN), base_url="http://127.0.0.1:1234")


def test_a_vote_is_for_the_text_that_the_rater_saw(tmp_path: Path) -> None:
    one = desk(tmp_path)
    seen = {}
    while (shown := one.shown())["item"]:
        seen[shown["item"]] = shown["left"]
        one.vote(shown["item"], "left")
    read = votes.read(one.path, one.folder, KEY)
    assert {vote.seconds for vote in read.votes} == {10.0}
    for record in votes.records(one.folder, read.votes, KEY):
        (rating,) = record["ratings"]
        assert record["completions"][rating["value"] - 1] in seen.values()
    assert {vote.shown_first for vote in read.votes} == {"left", "right"}
    assert "Ann" not in one.path.read_text() + one.path.name


def test_two_raters_see_the_sides_in_orders_of_their_own(tmp_path: Path) -> None:
    orders = {
        tuple(one.swapped(task) for task in one.folder.tasks)
        for one in (desk(tmp_path, rater) for rater in ("Ann", "Bo", "Cy"))
    }
    assert len(orders) > 1


def test_who_comes_back_goes_on_and_the_last_vote_counts(tmp_path: Path) -> None:
    one = desk(tmp_path)
    one.vote(one.shown()["item"], "tie")
    one.back()
    first = one.shown()["item"]
    one.vote(first, "left")
    one.path.write_bytes(one.path.read_bytes() + b'{"item": "cut of')
    again = desk(tmp_path)
    assert again.place == 1 and again.path == one.path
    again.vote(again.shown()["item"], "right")
    read = votes.read(again.path, again.folder, KEY).votes
    assert len(read) == 2 and "tie" not in {vote.choice for vote in read}


def test_a_vote_for_an_item_that_is_not_shown_is_refused(tmp_path: Path) -> None:
    one = desk(tmp_path)
    with pytest.raises(InputError):
        one.vote(one.folder.tasks[0].item, "left")
    one.shown()
    with pytest.raises(InputError):
        one.vote(one.folder.tasks[1].item, "left")
    assert not one.path.exists()


def test_only_this_machine_with_the_token_is_answered(tmp_path: Path) -> None:
    one = desk(tmp_path)
    with client(one) as asked:
        assert asked.get("/").status_code == asked.get("/?token=x").status_code == 403
        assert asked.get("/vote").status_code == 403
        assert asked.post("/vote", json={"back": True}).status_code == 403
        assert asked.get(f"/?token={TOKEN}", headers={"host": "evil.test"}).status_code == 400
        shown = asked.get(f"/?token={TOKEN}")
        assert shown.status_code == 200 and "question" not in shown.text
        assert "script-src 'nonce-" in shown.headers["content-security-policy"]


@pytest.mark.parametrize(
    "body",
    ["", "[", "7", '{"item": 1, "choice": "left"}', '{"item": "x", "choice": "up"}', "x" * 20_000],
)
def test_a_request_that_is_no_vote_is_refused_and_nothing_is_kept(
    body: str, tmp_path: Path
) -> None:
    one = desk(tmp_path)
    with client(one) as asked:
        asked.get("/vote", headers={"x-token": TOKEN})
        reply = asked.post("/vote", content=body, headers={"x-token": TOKEN})
    assert reply.status_code == 409 and reply.json()["error"]
    assert not one.path.exists()


# --- in a browser ---------------------------------------------------------------------------------


@contextmanager
def served(one: Desk) -> Iterator[str]:
    import uvicorn

    with socket.socket() as listening:
        listening.bind((page.LOCAL, 0))
        config = uvicorn.Config(page.application(one, TOKEN), log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://{page.LOCAL}:{listening.getsockname()[1]}/?token={TOKEN}"
        finally:
            server.should_exit = True
            thread.join()


async def press(profile: Path, keys: str, wanted: int, one: Desk) -> None:
    """Presses keys in Chromium through its DevTools protocol, each when the last one has counted."""
    import aiohttp

    port = (profile / "DevToolsActivePort").read_text().split()[0]
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json") as reply:
            (tab,) = [each for each in await reply.json() if each["type"] == "page"]
        async with session.ws_connect(tab["webSocketDebuggerUrl"]) as socket_:
            for number, key in enumerate(keys):
                await _until(lambda: one.since is not None)
                one_before = one.place
                for kind in ("keyDown", "keyUp"):
                    params = {"type": kind, "key": key, "text": key if kind == "keyDown" else ""}
                    call = {"id": number, "method": "Input.dispatchKeyEvent", "params": params}
                    await socket_.send_str(json.dumps(call))
                await _until(lambda before=one_before: one.place != before)
                await asyncio.sleep(0.2)  # the page shows the next item
    assert one.place == wanted


async def _until(true: Any) -> None:
    for _ in range(600):
        if true():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("nothing happened")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_the_page_works_by_keyboard_alone(tmp_path: Path) -> None:
    one = desk(tmp_path)
    profile = tmp_path / "profile"
    with served(one) as address:
        command = [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--remote-debugging-port=0", f"--user-data-dir={profile}", address,
        ]  # fmt: skip
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            asyncio.run(_pressed(profile, one))
        finally:
            browser.kill()
            browser.wait()
    assert [vote.choice for vote in votes.read(one.path, one.folder, KEY).votes].count("tie") == 1
    assert len(one.path.read_text().splitlines()) == 4


async def _pressed(profile: Path, one: Desk) -> None:
    await _until(lambda: (profile / "DevToolsActivePort").exists() and one.since is not None)
    await press(profile, "11b23", 3, one)
