"""A server on this machine that speaks OpenAI's protocol, for tests: it answers as it is told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

Answered = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""


def said(text: Any, reason: str = "stop") -> bytes:
    """The body of a reply."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    return json.dumps({"choices": [{**choice, "finish_reason": reason}]}).encode()


@dataclass
class Peer:
    """What the server answers, and what it was asked."""

    answer: Callable[[dict[str, Any], int], Answered]
    """From a request's body, and how many requests came before it."""
    drip: float = 0
    """Seconds between two bytes of a reply."""
    uri: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)


def text(reply: str) -> Callable[[dict[str, Any], int], Answered]:
    """Always the same text."""
    return lambda body, before: (200, {}, said(reply))


@contextmanager
def peer(answer: Callable[[dict[str, Any], int], Answered], drip: float = 0) -> Iterator[Peer]:
    """The server while it runs."""
    made, lock = Peer(answer, drip), Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                before = len(made.asked)
                made.asked.append(body)
                made.keys.append(self.headers.get("Authorization"))
            found = (
                made.answer(body, before) if self.path == "/v1/chat/completions" else (404, {}, b"")
            )
            status, headers, data = found
            with suppress(OSError):
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                for at in range(0, len(data), 1 if made.drip else len(data)):
                    time.sleep(made.drip)
                    self.wfile.write(data[at : at + 1] if made.drip else data)
                    self.wfile.flush()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.uri = f"http://127.0.0.1:{server.server_port}/v1"
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
