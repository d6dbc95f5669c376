"""A witness as a process of its own."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from governance.attest.keys import Signer
from governance.log.notes import VerifierKey, read_vkey
from governance.witness.book import Book
from governance.witness.service import WitnessServer
from tests.conftest import ROOT

MAIN = [sys.executable, "-c", "from pipelines.cli import main; main()", "witness"]


@dataclass
class Answer:
    status: int
    text: str
    type: str


class Witness:
    """`countersign witness serve` in a folder of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.port = 0
        self.process: subprocess.Popen[str] | None = None
        self.run("init", name)
        self.start()

    def run(self, *words: str) -> str:
        command = [*MAIN, *words]
        return subprocess.run(
            [*command, "--folder", str(self.folder)],
            cwd=ROOT, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*MAIN, "serve", "--folder", str(self.folder), "--listen", f"127.0.0.1:{self.port}"],
            cwd=ROOT, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        stream: IO[str] | None = self.process.stderr
        assert stream is not None
        begun = []
        while not (serving := re.search(r"http://[^ ]*:([0-9]+) until", "".join(begun[-1:]))):
            line = stream.readline()
            assert line, begun
            begun.append(line)
        self.port = int(serving[1])
        self.key: VerifierKey = read_vkey(begun[0].split()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, origin: str, key: str) -> None:
        self.run("add", origin, key)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def ask(self, method: str, path: str, body: bytes = b"") -> Answer:
        host = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(host.hostname), host.port, timeout=60)
        connection.request(method, path, body)
        answer = connection.getresponse()
        kind = answer.headers.get("Content-Type", "")
        text = answer.read().decode()
        connection.close()
        return Answer(answer.status, text, kind)


@contextmanager
def in_thread(
    folder: Path, name: str, signer: Signer, clock: Callable[[], int], port: int = 0
) -> Iterator[WitnessServer]:
    """A witness in a thread of the test, with a clock of its own. Port 0: any that is free."""
    book = Book(folder)
    if not book.path.exists():
        book.begin(name)
    with WitnessServer(("127.0.0.1", port), book, signer, clock, lambda _: None) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        server.shutdown()


@contextmanager
def witness(folder: Path, name: str) -> Iterator[Witness]:
    process = Witness(folder, name)
    try:
        yield process
    finally:
        process.kill()
