"""The witness as a process: the protocol over HTTP, and requests that are meant to hurt it."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from governance.log.notes import cosigned_at, parse_note
from governance.witness import service
from governance.witness.book import Book
from governance.witness.service import WitnessServer, origin_digest
from pipelines.cli import cli
from tests.governance.witness.logs import FORK, LOG, NAME, ORIGIN, TREE, WITNESS
from tests.governance.witness.served import Witness, witness


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Witness]:
    with witness(tmp_path / "witness", NAME) as process:
        process.add(ORIGIN, str(LOG))
        yield process


def test_a_witness_is_set_up_and_cosigns(served: Witness) -> None:
    answer = served.ask("POST", "/add-checkpoint", TREE.request(0, 9))
    assert answer.status == 200
    at = cosigned_at(parse_note(TREE.note(9) + answer.text), served.key)
    assert at is not None and abs(at - time.time()) < 60
    kept = served.ask("GET", f"/checkpoint/{origin_digest(ORIGIN)}")
    assert cosigned_at(parse_note(kept.text), served.key) == at
    answer = served.ask("POST", "/add-checkpoint", TREE.request(3, 12))
    assert (answer.status, answer.text, answer.type) == (409, "9\n", "text/x.tlog.size")
    shown = CliRunner().invoke(cli, ["witness", "logs", "--folder", str(served.folder)])
    assert shown.exit_code == 0 and f"{ORIGIN}: 9 entries" in shown.output


@pytest.mark.slow
def test_a_killed_witness_goes_on(served: Witness) -> None:
    assert served.ask("POST", "/add-checkpoint", TREE.request(0, 9)).status == 200
    served.kill()
    served.start()
    assert served.ask("POST", "/add-checkpoint", TREE.request(0, 9)).text == "9\n"
    assert served.ask("POST", "/add-checkpoint", TREE.request(9, 12)).status == 200


def test_a_split_view_is_shown_with_both_notes(served: Witness) -> None:
    served.ask("POST", "/add-checkpoint", TREE.request(0, 9))
    assert served.ask("POST", "/add-checkpoint", FORK.request(9, 14)).status == 422
    shown = CliRunner().invoke(cli, ["witness", "logs", "--folder", str(served.folder)])
    assert shown.exit_code == 5
    for note in (TREE.note(9), FORK.note(14)):
        assert note.splitlines()[2] in shown.output
    assert "the log signed two histories" in shown.output


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    folder = str(tmp_path / "witness")
    assert CliRunner().invoke(cli, ["witness", "init", NAME, "--folder", folder]).exit_code == 0
    (tmp_path / "witness" / "witness.pem").chmod(0o644)
    result = CliRunner().invoke(cli, ["witness", "key", "--folder", folder])
    assert "other accounts can read" in str(result.exception)


def test_a_lost_key_is_not_made_again(tmp_path: Path) -> None:
    folder = str(tmp_path / "witness")
    CliRunner().invoke(cli, ["witness", "init", NAME, "--folder", folder])
    (tmp_path / "witness" / "witness.pem").unlink()
    result = CliRunner().invoke(cli, ["witness", "serve", "--folder", folder])
    assert "key is missing" in str(result.exception)


# -- Requests that are meant to hurt ---------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WitnessServer]:
    monkeypatch.setattr(service, "SECONDS", 1.0)
    book = Book(tmp_path / "book")
    book.begin(NAME)
    book.add_log(ORIGIN, LOG)
    lines: list[str] = []
    address = ("127.0.0.1", 0)
    clock = lambda: int(time.time())  # noqa: E731
    with WitnessServer(address, book, WITNESS, clock, lines.append) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()


def ask(server: WitnessServer, method: str, path: str, body: bytes = b"", **headers: str):  # type: ignore[no-untyped-def]
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=20)  # type: ignore[misc]
    with contextlib.closing(connection):
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def raw(server: WitnessServer, data: bytes) -> bytes:
    with socket.create_connection(server.server_address[:2], timeout=20) as connection:  # type: ignore[arg-type]
        connection.sendall(data)
        received = b""
        while chunk := connection.recv(4096):
            received += chunk
        return received


def test_requests_that_are_too_large_or_have_no_length_are_refused(server: WitnessServer) -> None:
    head = b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\n"
    for lengths, status in (
        (b"Content-Length: 99999999\r\n", b"413"),
        (b"", b"411"),
        (b"Content-Length: -1\r\n", b"411"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", b"411"),
    ):
        assert raw(server, head + lengths + b"\r\n").split(b" ")[1] == status
    assert ask(server, "GET", "/")[0] == 404
    assert ask(server, "PUT", "/add-checkpoint", b"x")[0] == 501
    assert ask(server, "POST", "/add-checkpoint", b"x")[0] == 400


def test_slow_connections_end_and_others_are_answered(
    server: WitnessServer,
) -> None:
    slow = []
    for _ in range(20):
        connection = socket.create_connection(server.server_address[:2], timeout=20)  # type: ignore[arg-type]
        connection.sendall(b"POST /add-checkpoint HTTP/1.1\r\nContent-Le")
        slow.append(connection)
    assert ask(server, "POST", "/add-checkpoint", TREE.request(0, 9))[0] == 200
    started = time.monotonic()
    for connection in slow:
        with connection:
            while connection.recv(100):
                pass
    assert time.monotonic() - started < 15


def test_one_byte_at_a_time_is_cut_off_by_the_whole_time(server: WitnessServer) -> None:
    with socket.create_connection(server.server_address[:2], timeout=20) as connection:  # type: ignore[arg-type]
        started = time.monotonic()
        with pytest.raises(OSError):
            for _ in range(100):
                connection.sendall(b"P")
                time.sleep(0.2)
        assert time.monotonic() - started < 10


def test_the_failure_of_the_disk_is_503_without_its_text(
    server: WitnessServer,
) -> None:
    server.book.path.rename(server.book.path.with_suffix(".away"))
    status, text = ask(server, "POST", "/add-checkpoint", TREE.request(0, 9))
    assert (status, text) == (503, b"the witness cannot answer now\n")
