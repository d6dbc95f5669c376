"""A registry server that means ill: what it answers is text, wherever it sends us, and however much
there is.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from governance.base.errors import ConfigError, CountersignError, StorageError
from governance.registry import rest
from governance.registry.rest import RegistryServer
from governance.registry.rows import Rows
from tests.http_servers import http_servers

ENVIRON = {"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "secret of ann"}


class Handler(BaseHTTPRequestHandler):
    """Answers as its server is told, and keeps what it is asked."""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))  # type: ignore[attr-defined]
        status, headers, body = self.server.answer(self.path)  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


Answer = Callable[[str], tuple[int, dict[str, str], bytes]]


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Any]]:
    with http_servers(Handler) as begun:
        yield lambda answer: begun(answer=answer, asked=[])


def _json(value: Any) -> Answer:
    return lambda path: (200, {}, json.dumps(value).encode())


def test_a_password_does_not_follow_where_a_server_sends_us(serve: Callable[[Answer], Any]) -> None:
    thief = serve(_json({}))
    server = serve(lambda path: (302, {"Location": f"{thief.uri}/x"}, b""))
    with pytest.raises(StorageError, match="302"):
        RegistryServer(server.uri, ENVIRON).check_account()
    assert server.asked and server.asked[0][1]
    assert thief.asked == []


GRANTS: dict[str, tuple[Any, str]] = {
    # what the server says of the account; what it may not write
    "no grant": ({"is_admin": False, "permissions": []}, "experiment 7 and registered_model desk"),
    "an administrator": ({"is_admin": True, "permissions": []}, ""),
    "both": ([("experiment", "7", "EDIT"), ("registered_model", "desk", "MANAGE")], ""),
    "all": ([("experiment", "*", "EDIT"), ("registered_model", "*", "EDIT")], ""),
    "the workspace": ([("workspace", "*", "MANAGE")], ""),
    "one only": ([("experiment", "7", "EDIT")], "registered_model desk"),
    "reading": (
        [("experiment", "7", "READ"), ("registered_model", "desk", "EDIT")],
        "experiment 7",
    ),
    "others": (
        [("experiment", "8", "EDIT"), ("registered_model", "help", "EDIT")],
        "experiment 7 and registered_model desk",
    ),
}


@pytest.mark.parametrize("row", GRANTS)
def test_an_account_that_may_not_write_is_known_before_a_run(
    row: str, serve: Callable[[Answer], Any]
) -> None:
    held, missing = GRANTS[row]
    if isinstance(held, list):
        names = ("resource_type", "resource_pattern", "permission")
        rows = [dict(zip(names, grant, strict=True)) for grant in held]
        held = {"is_admin": False, "permissions": rows}

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        found = held if "permissions" in path else {"experiment": {"experiment_id": "7"}}
        return 200, {}, json.dumps(found).encode()

    server = RegistryServer(serve(answer).uri, ENVIRON)
    if not missing:
        server.check_may_write("small", "desk")
        return
    with pytest.raises(StorageError, match=f"may not write to {missing} there") as caught:
        server.check_may_write("small", "desk")
    assert "docs/registry.md" in caught.value.fix


def test_what_is_not_there_yet_needs_no_right(serve: Callable[[Answer], Any]) -> None:
    none = json.dumps({"is_admin": False, "permissions": []}).encode()
    server = serve(lambda path: (200, {}, none) if "permissions" in path else (404, {}, b"{}"))
    RegistryServer(server.uri, ENVIRON).check_may_write("small", "desk")
    plain = serve(lambda path: (404, {}, b"not here"))  # MLflow without accounts
    RegistryServer(plain.uri, ENVIRON).check_may_write("small", "desk")


NONSENSE: dict[str, Any] = {
    "models that are text": {"registered_models": ["support-desk"]},
    "models that are none": {"registered_models": {"name": "x"}},
    "versions that are numbers": {"model_versions": [1], "registered_models": []},
    "tags that are text": {"model_versions": [{"tags": ["x"]}]},
    "aliases that are text": {"registered_model": {"aliases": ["champion"]}},
    "more and more": {"registered_models": [{"name": "x"}], "next_page_token": "again"},
}


@pytest.mark.parametrize("row", NONSENSE)
def test_an_answer_that_is_not_a_registrys_is_said_so(
    row: str, serve: Callable[[Answer], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "MAX_PAGES", 3)
    server = serve(_json(NONSENSE[row]))
    with pytest.raises(CountersignError, match=r"not a registry's|more than 3 pages"):
        RegistryServer(server.uri, ENVIRON).rows(["support-desk"], [])


def test_an_answer_nested_without_end_is_none(serve: Callable[[Answer], Any]) -> None:
    server = serve(lambda path: (200, {}, b"[" * 100_000))
    assert RegistryServer(server.uri, ENVIRON).rows(["support-desk"], []) == Rows(
        frozenset(), (), (), frozenset()
    )


@pytest.mark.parametrize(
    "uri", ["http://ann:hush@127.0.0.1", "http://ann:hush@127.0.0.1:1", "https://hush@host/x"]
)
def test_an_account_in_the_address_is_told_to_nobody(uri: str) -> None:
    with pytest.raises(ConfigError, match="not the address of a server") as error:
        RegistryServer(uri, ENVIRON).check_account()
    assert "hush" not in str(error.value)


def test_a_password_travels_readable_on_this_machine_only() -> None:
    known = {"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "hush"}
    assert (
        rest.account("http://127.0.0.1:5000", known)
        == rest.account("https://desk.example", known)
        == ("ann", "hush")
    )
    assert rest.account("http://desk.example", {}) is None
    with pytest.raises(ConfigError, match=r"sent unencrypted to desk\.example") as error:
        rest.account("http://desk.example:5000", known)
    assert "hush" not in str(error.value)


def test_what_speaks_no_http_is_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"220 mail\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(StorageError, match=r"no web server \(BadStatusLine\)"):
            RegistryServer(
                f"http://127.0.0.1:{listening.getsockname()[1]}", ENVIRON
            ).check_account()
        thread.join()


class Proxy(Handler):
    """Records whatever reaches it, CONNECT included."""

    def do_CONNECT(self) -> None:
        self.do_GET()

    do_POST = do_GET = Handler.do_GET


PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A proxy that the environment names for everything."""
    server: Any = HTTPServer(("127.0.0.1", 0), Proxy)
    server.answer, server.asked = lambda path: (502, {}, b""), []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in PROXIES:
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
    for name in ("no_proxy", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_no_proxy_sees_a_password_for_this_machine(
    serve: Callable[[Answer], Any], proxy: Any, name: str
) -> None:
    server = serve(lambda path: (200, {}, b"{}"))
    uri = server.uri.replace("127.0.0.1", name)
    RegistryServer(uri, ENVIRON).check_account()
    assert len(server.asked) == 1 and proxy.asked == []


def test_a_proxy_gets_no_password_for_another_machine(proxy: Any) -> None:
    """It is asked to pass TLS on, and the account is within."""
    with pytest.raises(StorageError, match="cannot be asked"):
        RegistryServer("https://registry.invalid", ENVIRON).check_account()
    assert proxy.asked == [("registry.invalid:443", None)]
    for environ in (ENVIRON, {"MLFLOW_TRACKING_TOKEN": "secret"}):
        with pytest.raises(ConfigError, match="unencrypted"):
            RegistryServer("http://registry.invalid", environ).check_account()
    assert len(proxy.asked) == 1


@pytest.mark.slow
def test_mlflows_client_asks_no_proxy_about_this_machine(
    serve: Callable[[Answer], Any], proxy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `open_registry` starts it: by requests, which reads the environment."""
    import requests

    from governance.log.http_client import bypass_proxies

    server = serve(lambda path: (200, {}, b"{}"))
    monkeypatch.setenv("NO_PROXY", "internal.example.org")
    environ = dict(os.environ)
    bypass_proxies(environ)
    assert environ["no_proxy"].split(",") == [
        "internal.example.org", "localhost", "127.0.0.1", "::1",
    ]  # fmt: skip
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, environ[name])
    for host in ("127.0.0.1", "localhost"):
        uri = server.uri.replace("127.0.0.1", host)
        assert requests.get(uri, auth=("ann", "secret"), timeout=10).status_code == 200
    assert proxy.asked == []
