"""The receiver of docs/events.md: a process of its own, before an address that answers as Slack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

from governance.events import client
from governance.events.derive import Place
from governance.events.event import TYPES, event
from governance.events.receivers import Receiver
from tests.conftest import ROOT
from tests.governance.events.receiving import KEY, SECRET
from tests.http_servers import http_servers
from tests.ports import free_port

PLACE = Place("support-desk", "ab" * 32, "https://models.example.org")


class Slack(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        text = self.rfile.read(int(self.headers["Content-Length"]))
        status = server.answers.pop(0) if server.answers else 200
        if status == 200:
            server.texts.append(json.loads(text)["text"])
        self.send_response(status)
        self.send_header("Retry-After", "9")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextmanager
def running(slack: str) -> Iterator[str]:
    """The script; its address."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-S", str(ROOT / "docs" / "slack_receiver.py"), str(port)],
        env={"DESK_SECRET": SECRET, "SLACK_URL": slack, "PATH": os.environ["PATH"]},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.kill()
        process.wait()


def post(url: str, number: int, key: bytes = KEY, at: datetime | None = None) -> client.Answer:
    data = PLACE.data(42, entry=41, model="support-desk", version="3", codes=["APPROVAL_MISSING"])
    made = event("promotion.refused", [str(number)], datetime.now(UTC), data)
    receiver = Receiver("slack", url, (key,))
    return client.post(receiver, made.id, made.body, at or datetime.now(UTC))


def test_an_event_becomes_one_line_in_slack() -> None:
    with http_servers(Slack) as begun:
        slack = begun(texts=[], answers=[429, 500])
        with running(slack.uri) as url:
            end = time.monotonic() + 30
            while "connected" in (answer := post(url, 1)).why and time.monotonic() < end:
                time.sleep(0.05)
            assert (answer.why, answer.pause) == ("status 503", 9.0), "Slack asks to wait"
            assert post(url, 1).why == "status 503" and slack.texts == []
            assert post(url, 1).ok and post(url, 1).ok, "the second time it is known"
            line = "promotion.refused support-desk/3 APPROVAL_MISSING (entry 41)"
            assert slack.texts == [
                f"{line} https://models.example.org/#/models/support-desk/versions/3"
            ]
            assert post(url, 2, key=bytes(32)).why == "status 401"
            assert post(url, 2, at=datetime(2020, 1, 1, tzinfo=UTC)).why == "status 401"
            assert len(slack.texts) == 1


def test_the_page_lists_every_type() -> None:
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    for kind, meaning in TYPES.items():
        assert f"| `{kind}` | {meaning} |" in page
