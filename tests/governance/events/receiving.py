"""A receiver of webhooks in a thread: it verifies each signature, and answers as the test says."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from governance.events.event import Data, Event, event
from governance.events.outbox import Outbox
from governance.events.receivers import Receiver
from tests.governance.story import START

KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
ORIGIN = "ab" * 32
KINDS = ("promotion.done", "incident.opened", "gate.refused")


@dataclass
class Taken:
    """A receiver's state. Of each request it takes the next of `answers`; without one: 204."""

    answers: list[int | float | str] = field(default_factory=list)
    """A status; seconds to stay silent; an address to redirect to; `break`: the connection ends."""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    """All requests."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    """What was answered with a success."""
    retry_after: str = ""
    url: str = ""
    problems: list[str] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        return [body["id"] for body in self.bodies]

    @property
    def types(self) -> list[str]:
        return [body["type"] for body in self.bodies]

    def receiver(self, name: str = "desk", *patterns: str, since: int | None = 0) -> Receiver:
        return Receiver(name, self.url, (KEY,), patterns or ("*",), since)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        taken: Taken = self.server.taken  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        taken.requests.append((headers, body))
        if not verified(headers, body):
            taken.problems.append(headers.get("webhook-id", ""))
        answer = taken.answers.pop(0) if taken.answers else 204
        if isinstance(answer, float):
            time.sleep(answer)
            answer = 204
        if answer == "break":
            self.close_connection = True
            self.connection.close()
            return
        if isinstance(answer, int) and 200 <= answer < 300:
            taken.bodies.append(json.loads(body))
        self.send_response(307 if isinstance(answer, str) else answer)
        if isinstance(answer, str):
            self.send_header("Location", answer)
        if taken.retry_after:
            self.send_header("Retry-After", taken.retry_after)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def verified(headers: dict[str, str], body: bytes, key: bytes = KEY) -> bool:
    """The specification's rule, written once more."""
    signed = b".".join(
        [headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body]
    )
    mac = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return f"v1,{mac}" in headers["webhook-signature"].split(" ")


@contextmanager
def receiving(*answers: int | float | str) -> Iterator[Taken]:
    """A receiver at a free port."""
    taken = Taken(list(answers))
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.taken, server.handle_error = taken, lambda *_: None
    taken.url = f"http://127.0.0.1:{server.server_port}/hook"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield taken
    finally:
        server.shutdown()
        server.server_close()


def made(entry: int, kind: str = "promotion.done") -> Event:
    """An event of an entry."""
    data = Data(project="support-desk", origin=ORIGIN, entries=entry + 1, entry=entry)
    return event(kind, [str(entry)], START, data)


def grown(outbox: Outbox, size: int, receivers: Sequence[Receiver]) -> None:
    """The log has this size: each entry gives an event, as `sending.look` adds them."""
    since = outbox.begin(ORIGIN, size)
    new = [made(entry, KINDS[entry % 3]) for entry in range(since, size)]
    outbox.add(size, new, [], {}, receivers)
