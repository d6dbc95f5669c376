"""A witness over HTTP: https://c2sp.org/tlog-witness, `add-checkpoint`, by the standard library.

    POST /add-checkpoint          cosigns a checkpoint
    GET  /checkpoint/SHA256       the last checkpoint that was cosigned, by the sha256 of its origin

1. Nobody has an account: the log's signature on the checkpoint is what counts.
2. A request has a declared length of at most `MAX_BODY` bytes and takes at most `SECONDS`. At most
   `CONNECTIONS` are open at a time; a proxy with TLS in front can limit addresses.
3. An error of this machine is 503, without its text.
"""

from __future__ import annotations

import hashlib
import socket
import socketserver
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

from governance.attest.keys import Signer
from governance.base.errors import BusyError, CountersignError
from governance.log.notes import MAX_BYTES
from governance.witness.book import MAX_PROOF, Answer, Book

MAX_BODY = MAX_BYTES + 64 * (MAX_PROOF + 1)
SECONDS = 20.0
CONNECTIONS = 64
ADD = "/add-checkpoint"
LAST = "/checkpoint/"
Say = Callable[[str], None]


class WitnessServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Serves a book until it is stopped. Raises `BusyError` where it cannot listen."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = CONNECTIONS

    def __init__(
        self,
        address: tuple[str, int],
        book: Book,
        signer: Signer,
        clock: Callable[[], int],
        say: Say,
    ) -> None:
        self.book, self.signer, self.clock, self.say = book, signer, clock, say
        self._open = threading.BoundedSemaphore(CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        try:
            super().__init__(address, _Handler)
        except OSError as error:
            found = f"the witness cannot listen on {address[0]}:{address[1]}: {error.strerror}"
            raise BusyError(found, fix="stop what listens there, or set another port") from None

    @property
    def url(self) -> str:
        """Its address on this machine."""
        host, port = self.server_address[:2]
        return f"http://[{host!s}]:{port}" if ":" in str(host) else f"http://{host!s}:{port}"

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """(2) Answers one connection, and ends it when its time is up."""
        if not self._open.acquire(blocking=False):
            self.shutdown_request(request)
            return
        timer = threading.Timer(SECONDS, _end, (request,))
        timer.daemon = True
        timer.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            timer.cancel()
            self._open.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke off is nothing to report."""


def _end(request: socket.socket) -> None:
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: WitnessServer
    protocol_version = "HTTP/1.1"
    server_version = "countersign-witness"
    sys_version = ""
    timeout = SECONDS

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        is_number = length.isascii() and length.isdigit() and len(length) < 10
        if self.path != ADD:
            self._reply(Answer(404, "POST /add-checkpoint\n"), close=True)
        elif not is_number or self.headers.get("Transfer-Encoding"):
            self._reply(Answer(411, "the length of the request is missing\n"), close=True)
        elif int(length) > MAX_BODY:
            self._reply(Answer(413, f"at most {MAX_BODY} bytes\n"), close=True)
        else:
            body = self.rfile.read(int(length))
            if len(body) == int(length):
                self._reply(self._guarded(lambda: self._cosign(body)))

    def do_GET(self) -> None:
        self._reply(self._guarded(self._last), close=True)

    def _cosign(self, body: bytes) -> Answer:
        server = self.server
        answer = server.book.add_checkpoint(body, server.signer, server.clock)
        if answer.status in (409, 422):
            server.say(f"refused    {answer.status} {answer.text.strip()}")
        return answer

    def _last(self) -> Answer:
        if self.path.startswith(LAST):
            for origin, known in self.server.book.logs().items():
                if known.note and self.path == LAST + origin_digest(origin):
                    return Answer(200, known.note)
        return Answer(404, "no such checkpoint\n")

    def _guarded(self, work: Callable[[], Answer]) -> Answer:
        try:
            return work()
        except CountersignError as error:  # (3)
            self.server.say(f"failed     {type(error).__name__}: {error}")
            return Answer(503, "the witness cannot answer now\n")

    def _reply(self, answer: Answer, *, close: bool = False) -> None:
        body = answer.text.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(body)))
        if close:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: who asks is nobody's matter."""


def origin_digest(origin: str) -> str:
    """sha256 of a log's origin, in hexadecimal."""
    return hashlib.sha256(origin.encode()).hexdigest()
