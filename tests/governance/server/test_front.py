"""The front of several projects: a request reaches the project that it names, as it came, or none."""

from __future__ import annotations

import json
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from governance.base.errors import ConfigError, StorageError
from governance.machine.machine import machine
from governance.server import several
from governance.server.front import Front
from governance.server.settings import Settings
from tests.ports import free_port


class Echo:
    """A project's server that tells what it was asked."""

    def __init__(self, name: str) -> None:
        self.name, self.asked = name, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        told = {
            "project": self.name,
            "method": scope["method"],
            "target": (scope["raw_path"] + b"?" + scope["query_string"]).decode(),
            "headers": [[a.decode(), b.decode()] for a, b in scope["headers"]],
            "client": scope["client"][0] if scope["client"] else None,
            "body": len(body),
        }
        breaks = scope["path"] == "/breaks"
        answer = json.dumps(told).encode()
        headers = [(b"x-of", self.name.encode()), (b"connection", b"x-hop"), (b"x-hop", b"1")]
        length = len(answer) + (10 if breaks else 0)
        headers.append((b"content-length", str(length).encode()))
        await send({"type": "http.response.start", "status": 207, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


@contextmanager
def _running(app: Any, **where: Any) -> Iterator[None]:
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_level="critical", forwarded_allow_ips=where.pop("trusts", None),
            **where,
        )
    )  # fmt: skip
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a front with the projects `desk` and `claims`, and `gone`, whose server does not run."""
    with tempfile.TemporaryDirectory() as folder:
        sockets = {name: Path(folder) / name for name in ("desk", "claims", "gone")}
        here = free_port()
        with (
            _running(Echo("desk"), uds=str(sockets["desk"]), trusts="*"),
            _running(Echo("claims"), uds=str(sockets["claims"]), trusts="*"),
            _running(Front(sockets), host="127.0.0.1", port=here, trusts="none"),
        ):
            yield here


def _sent(port: int, lines: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """A request, byte for byte: status, headers and body of the answer."""
    text = lines.strip("\n").replace("\n", "\r\n") + "\r\nHost: h\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(text.encode() + body)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    head, _, rest = answer.partition(b"\r\n\r\n")
    first, *fields = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)}
    return int(first.split()[1]), headers, rest


def _told(port: int, lines: str, body: bytes = b"") -> Any:
    status, headers, answer = _sent(port, lines, body)
    assert status == 207, (status, answer)
    told = json.loads(answer)
    assert headers["x-of"] == told["project"] and "x-hop" not in headers
    return told


@pytest.mark.parametrize(
    ("target", "project", "passed"),
    [
        ("/desk/", "desk", "/?"),
        ("/claims/a/b?c=d&e=/desk/", "claims", "/a/b?c=d&e=/desk/"),
        ("/claims/../desk/x", "claims", "/../desk/x?"),
        ("/claims/%2e%2e/desk/%2F?%00", "claims", "/%2e%2e/desk/%2F?%00"),
        ("/claims//desk/x", "claims", "//desk/x?"),
        ("/claims/;/..;/desk", "claims", "/;/..;/desk?"),
    ],
)
def test_the_first_part_of_the_path_names_the_project(
    port: int, target: str, project: str, passed: str
) -> None:
    told = _told(port, f"GET {target} HTTP/1.1")
    assert (told["project"], told["target"]) == (project, passed)


@pytest.mark.parametrize(
    "target",
    ["/", "//desk/x", "/DESK/x", "/%64esk/x", "/desk%2fx", "/nosuch/x", "/./desk/x", "/desk;/x",
     "http://h/desk/x", "/des/k", "/desk\\x"],
)  # fmt: skip
def test_anything_else_is_no_project(port: int, target: str) -> None:
    status, _, answer = _sent(port, f"GET {target} HTTP/1.1")
    assert status == 404 and b"no such project" in answer and b"claims" not in answer


def test_the_address_without_a_slash_leads_below_the_project(port: int) -> None:
    status, headers, _ = _sent(port, "GET /desk HTTP/1.1")
    assert (status, headers["location"]) == (308, "/desk/")


@pytest.mark.parametrize(
    ("framing", "body", "size"),
    [
        ("Content-Length: 5", b"12345", 5),
        ("Transfer-Encoding: chunked", b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n", 7),
        ("Content-Length: 3000000", b"x" * 3_000_000, 3_000_000),
    ],
)
def test_a_body_arrives_whole(port: int, framing: str, body: bytes, size: int) -> None:
    told = _told(port, f"PUT /desk/f HTTP/1.1\n{framing}", body)
    assert (told["method"], told["body"]) == ("PUT", size)


def test_headers_pass_but_for_those_about_the_way(port: int) -> None:
    told = _told(
        port,
        "GET /desk/ HTTP/1.1\nAuthorization: Basic eA==\nX-Own: 1\nX-Own: 2\nKeep-Alive: 5\n"
        "X-Forwarded-For: 10.0.0.1\nX-Forwarded-Host: evil\nForwarded: for=10.0.0.1\nX-Real-IP: 9\n"
        "Origin: https://evil.example",
    )
    headers = told["headers"]
    assert ["authorization", "Basic eA=="] in headers and ["host", "h"] in headers
    assert [value for name, value in headers if name == "x-own"] == ["1", "2"]
    assert ["origin", "https://evil.example"] in headers
    names = {name for name, _ in headers}
    assert not names & {"keep-alive", "forwarded", "x-real-ip", "x-forwarded-host", "connection"}
    assert told["client"] == "127.0.0.1"  # as the front sees it


def test_a_client_cannot_have_a_checked_header_left_out(port: int) -> None:
    text = "GET /desk/ HTTP/1.1\nOrigin: https://evil.example\nConnection: origin, host, x-own"
    headers = _told(port, f"{text}\nX-Own: 1")["headers"]
    names = {name for name, _ in headers}
    assert {"origin", "host"} <= names and "x-own" not in names


def test_one_length_is_passed_on_where_a_client_names_two(port: int) -> None:
    text = "POST /desk/ HTTP/1.1\nContent-Length: 9\nTransfer-Encoding: chunked"
    told = _told(port, text, b"2\r\nab\r\n0\r\n\r\n")
    assert told["body"] == 2
    assert "content-length" not in {name for name, _ in told["headers"]}


@pytest.mark.parametrize("target", ["/desk/", "/desk/x:443", "/claims/"])
def test_no_tunnel_leads_through(port: int, target: str) -> None:
    status, _, _ = _sent(port, f"CONNECT {target} HTTP/1.1")
    assert status == 405


def test_a_project_whose_server_is_away_is_told(port: int) -> None:
    status, _, answer = _sent(port, "GET /gone/ HTTP/1.1")
    assert status == 503 and b"try again" in answer
    assert _told(port, "GET /desk/ HTTP/1.1")["project"] == "desk"


def test_an_answer_that_breaks_off_is_not_whole_for_the_client_either(port: int) -> None:
    status, headers, answer = _sent(port, "GET /desk/breaks HTTP/1.1")
    assert status == 207 and len(answer) < int(headers["content-length"])


def _served(tmp_path: Path, **environ: str) -> several.Served:
    here = machine("desk", {"COUNTERSIGN_HOME": str(tmp_path), **environ})
    settings = Settings(
        database=here.log_uri, artifacts=here.artifact_root, state=here.state / "server",
        host="127.0.0.1", port=free_port(), allowed_hosts=("h",), origins=(), project="desk",
    )  # fmt: skip
    return several.Served(here, settings)


def test_one_password_for_all_administrators_is_refused(tmp_path: Path) -> None:
    served = _served(tmp_path, COUNTERSIGN_ADMIN_PASSWORD="correct horse battery")
    with pytest.raises(ConfigError, match="the same in every project"):
        several.serve_several({"desk": served}, served.settings, print)


def test_settings_reach_another_process_as_they_are(tmp_path: Path) -> None:
    settings = _served(tmp_path).settings
    assert several.FORM.validate_json(several.FORM.dump_json(settings)) == settings


@pytest.mark.slow
def test_nothing_is_served_where_a_project_cannot_start(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """There is no log yet."""
    served = _served(tmp_path)
    with pytest.raises(StorageError, match="the server of project desk ended"):
        several.serve_several({"desk": served}, served.settings, print)
    assert "[desk]" in (said := capfd.readouterr().err) and "there is no log" in said
