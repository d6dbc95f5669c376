"""Every part that can send a password or token: to the server that it is for, never along a redirect,
never unencrypted to another machine.
"""

from __future__ import annotations

import ast
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from governance.base.errors import ConfigError, CountersignError
from governance.log.http_client import Client, same_origin
from governance.log.mirror import Server
from governance.machine.machine import machine
from governance.machine.projects import listed
from governance.registry import rest
from governance.registry.rest import RegistryServer
from governance.registry.served_runs import ServedRuns
from tests.conftest import ROOT
from tests.http_servers import http_servers

NAME, PASSWORD = "ann", "secret of ann"
ACCOUNT = {"COUNTERSIGN_USER": NAME, "COUNTERSIGN_PASSWORD": PASSWORD}

LIBRARIES = {
    *("urllib.request", "http.client", "requests", "httpx", "httpcore", "aiohttp", "urllib3"),
    *("mlflow.tracking", "huggingface_hub", "datasets", "websockets"),
}
"""Libraries that send HTTP requests."""

CLIENTS = {
    "governance/events/client.py": "posts events to receivers of the machine; no accounts, no redirects",
    "governance/log/http_client.py": "the one client; `SENDERS` asks by it",
    "governance/registry/mlflow.py": "MLflow's client: below, against a real redirect",
    "governance/proxy/connections.py": "passes requests on to the servers that the operator named, encrypted; no redirects",
    "governance/proxy/launching.py": "asks these servers whether they are ready; sends no account",
    "governance/server/front.py": "passes requests on to a process of its own, over its own socket",
    "pipelines/hub.py": "the Hub's address is checked here before the two stages below download",
    "pipelines/generation/endpoint.py": "asks only endpoints that policy permits; no redirects, keys for one URL",
    "pipelines/tasks/scores.py": "makes `datasets` of rows in memory and of local files",
    "pipelines/training/vllm.py": "asks the one server that the machine names; no redirects, no keys",
    "pipelines/stages/fetch.py": "downloads within `hub_errors`",
    "pipelines/stages/import_base.py": "downloads within `hub_errors`",
    "pipelines/loader.py": "switches the Hub's network off",
    "pipelines/training/dataset.py": "`datasets` as tables of this process; training has no network",
    "pipelines/training/fit.py": "as pipelines/training/dataset.py",
}
"""Module that imports one of them, and why no account goes astray there."""


def imported(path: Path) -> set[str]:
    """The modules that a file imports."""
    found = set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def uses_network(path: Path) -> bool:
    return any(
        name == library or name.startswith(f"{library}.")
        for name in imported(path)
        for library in LIBRARIES
    )


def test_every_module_that_can_send_a_request_is_in_the_table() -> None:
    files = (
        path for package in ("governance", "pipelines") for path in (ROOT / package).rglob("*.py")
    )
    assert {path.relative_to(ROOT).as_posix() for path in files if uses_network(path)} == {*CLIENTS}


@pytest.mark.parametrize("name", [name for name, why in CLIENTS.items() if "hub_errors" in why])
def test_downloads_of_the_hub_check_its_address(name: str) -> None:
    assert "pipelines.hub.hub_errors" in imported(ROOT / name)


# --- redirects ------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """Sends every request to `target`, or answers `{}` where there is none; keeps the accounts."""

    def do_GET(self) -> None:
        self.server.accounts.append(self.headers.get("Authorization"))  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        target = self.server.target  # type: ignore[attr-defined]
        self.send_response(307 if target else 200)
        if target:
            self.send_header("Location", f"{target}{self.path}")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def serve() -> Iterator[Callable[[str], Any]]:
    """Starts a server that redirects to an address, if it has one."""
    with http_servers(Handler) as begun:
        yield lambda target="": begun(target=target, accounts=[])


def mlflow_client(uri: str) -> None:
    from governance.registry.mlflow import _client

    _client(machine("desk", {"COUNTERSIGN_REGISTRY": uri})).search_registered_models()


SENDERS: dict[str, Callable[[str], object]] = {
    "the log": lambda uri: Server(uri, NAME, PASSWORD).ask("GET", "log/head"),
    "the registry": lambda uri: RegistryServer(uri, ACCOUNT).check_account(),
    "runs": lambda uri: ServedRuns(uri, ACCOUNT).experiment("desk", 0),
    "any other": lambda uri: Client(uri, (NAME, PASSWORD)).ask("POST", "x", 100, b"{}"),
}
"""What sends an account, and one call of it."""


@pytest.mark.parametrize("name", SENDERS)
@pytest.mark.parametrize("elsewhere", [True, False])
def test_no_redirect_is_followed(name: str, elsewhere: bool, serve: Callable[..., Any]) -> None:
    thief = serve()
    server = serve(thief.uri)
    if not elsewhere:
        server.target = server.uri
    with suppress(CountersignError, Exception):
        SENDERS[name](server.uri)
    assert len(server.accounts) == 1 and server.accounts[0].startswith("Basic ")
    assert thief.accounts == []


@pytest.mark.slow
def test_mlflows_client_follows_no_redirect_and_reads_no_other_account(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from mlflow.exceptions import MlflowException

    for variable, value in ACCOUNT.items():
        monkeypatch.setenv(variable, value)
    for variable in ("NETRC", "MLFLOW_ALLOW_HTTP_REDIRECTS", "MLFLOW_TRACKING_USERNAME"):
        monkeypatch.setenv(variable, "")  # what the client sets is taken back
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "")
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login eve password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    thief = serve()
    server = serve(thief.uri)
    with pytest.raises(MlflowException):
        mlflow_client(server.uri)
    assert thief.accounts == [] and server.accounts
    sent = b64encode(f"{NAME}:{PASSWORD}".encode()).decode()
    assert set(server.accounts) == {f"Basic {sent}"}


# --- whose account --------------------------------------------------------------------------------

SAME: dict[str, tuple[str, str, bool]] = {
    "paths": ("https://a.example/one", "https://A.example:443/two", True),
    "schemes": ("https://a.example", "http://a.example", False),
    "ports": ("https://a.example", "https://a.example:8443", False),
    "hosts": ("https://a.example", "https://a.example.org", False),
    "an account in it": ("https://a.example", "https://a.example@b.example", False),
    "a port that is none": ("https://a.example:x", "https://a.example:x", False),
    "no server": ("sqlite:////a", "sqlite:////a", False),
}


@pytest.mark.parametrize("name", SAME)
def test_one_server_is_one_scheme_host_and_port(name: str) -> None:
    one, other, same = SAME[name]
    assert same_origin(one, other) is same_origin(other, one) is same


def test_the_account_of_the_log_is_for_its_server_alone() -> None:
    environ = {**ACCOUNT, "COUNTERSIGN_LOG": "https://a.example/one"}
    assert rest.account("https://a.example/two", environ) == (NAME, PASSWORD)
    assert rest.account("https://b.example", environ) is None


FLEET = """\
projects:
  one: {log: "https://a.example/one"}
  two: {log: "https://b.example/two"}
  three: {log: "https://b.example/three", user: bob, password_file: three}
  four: {log: "https://a.example/four", user: dan, password_variable: FOUR}
  five: {log: "sqlite:////five.db"}
"""


def accounts(file: Path, environ: Mapping[str, str]) -> dict[str, tuple[str, str] | None]:
    """Project to the account that its log and its registry are asked with."""
    found = {}
    for name, each in listed(file, environ).items():
        found[name] = rest.account(each.registry_uri, each.environ)
    return found


def test_each_project_of_a_fleet_has_its_own_account(tmp_path: Path) -> None:
    file, password = tmp_path / "projects.yaml", tmp_path / "three"
    file.write_text(FLEET)
    password.write_text("secret of bob\n")
    password.chmod(0o600)
    environ = {**ACCOUNT, "COUNTERSIGN_HOME": str(tmp_path), "FOUR": "secret of dan"}
    given = {
        "one": None,
        "two": None,
        "three": ("bob", "secret of bob"),
        "four": ("dan", "secret of dan"),
        "five": None,
    }
    assert accounts(file, environ) == given, "the account of the environment is for no server"
    environ["COUNTERSIGN_LOG"] = "https://a.example/elsewhere"
    assert accounts(file, environ) == {**given, "one": (NAME, PASSWORD)}
    mlflow = {"MLFLOW_TRACKING_USERNAME": "eve", "MLFLOW_TRACKING_PASSWORD": "x"}
    for name, each in listed(file, {**environ, **mlflow}).items():
        assert ("MLFLOW_TRACKING_USERNAME" in each.environ) is (name == "one")

    password.chmod(0o640)
    with pytest.raises(ConfigError, match="others can read"):
        listed(file, environ)
    password.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        listed(file, environ)


WRONG: dict[str, tuple[str, str]] = {
    "a password without a user": ("{log: 'https://a.example', password_file: x}", "user"),
    "a user without a password": ("{log: 'https://a.example', user: ann}", "one of"),
    "two passwords": (
        "{log: 'https://a.example', user: ann, password_file: x, password_variable: Y}",
        "one of",
    ),
    "no server": ("{log: 'sqlite:////x.db', user: ann, password_file: x}", "on a server"),
    "an unset variable": ("{log: 'https://a.example', user: ann, password_variable: Y}", "in Y"),
    "a password in the file": ("{log: 'https://a.example', user: ann, password: x}", "password"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_row_with_half_an_account_is_refused(name: str, tmp_path: Path) -> None:
    row, says = WRONG[name]
    file = tmp_path / "projects.yaml"
    file.write_text(f"projects:\n  one: {row}\n")
    with pytest.raises(CountersignError, match=says):
        listed(file, {"COUNTERSIGN_HOME": str(tmp_path)})


def test_a_token_of_the_hub_travels_encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.hub import hub_errors

    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.example")
    asked = []
    with (
        pytest.raises(ConfigError, match="the token would be sent unencrypted"),
        hub_errors("a/b", "0" * 40, "params.yaml"),
    ):
        asked.append("http")
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example")
    with hub_errors("a/b", "0" * 40, "params.yaml"):
        asked.append("https")
    assert asked == ["https"]
