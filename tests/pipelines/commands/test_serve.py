"""`countersign serve` as its user runs it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from governance.base.errors import CountersignError
from governance.proxy import servers
from pipelines.commands.serve import command
from tests.conftest import ROOT
from tests.governance.governed import Governed, governed
from tests.governance.proxy.world import SCRIPTED, made
from tests.governance.story import MODEL
from tests.ports import free_port

NAME = f"{MODEL}@champion"
HELD = " ".join(SCRIPTED.command)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """One version with files, champion by a decision; read only."""
    found = governed(tmp_path_factory.mktemp("once"))
    made(found, "2")
    found.released("2")
    return found


@pytest.fixture
def scene(once: Governed, tmp_path: Path) -> Governed:
    """A copy of it, to go on with."""
    return once.copy(tmp_path)


def invoke(scene: Governed, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    monkeypatch.chdir(scene.story.root)
    for name, value in scene.story.machine.environ.items():
        monkeypatch.setenv(name, value)
    return CliRunner().invoke(command, list(arguments)).exception


ARGUMENTS: dict[str, tuple[tuple[str, ...], int]] = {
    "a version by its number": ((f"{MODEL}/2",), 2),
    "no name": ((MODEL,), 2),
    "the latest": ((f"{MODEL}@latest",), 2),
    "an alias that nobody holds": ((f"{MODEL}@challenger", "--server", HELD), 3),
    "an unknown model": (("other@champion", "--server", HELD), 3),
    "no server": ((NAME, "--server", "llama"), 2),
    "a server that is not there": ((NAME, "--server", "nowhere {folder} {port}"), 2),
    "no backend": ((NAME, "--backend", "localhost:80"), 2),
    "an account in an address": ((NAME, "--backend", "https://a:b@localhost"), 2),
    "two backends of a version": (
        (NAME, "--backend", "1=https://a", "--backend", "1=https://b"),
        2,
    ),
    "a backend elsewhere, unencrypted": ((NAME, "--backend", "http://a.example"), 2),
    "another log": ((NAME, "--server", HELD, "--origin", "0" * 64), 5),
}


@pytest.mark.parametrize("row", ARGUMENTS)
def test_what_it_cannot_serve_is_an_error(
    row: str, once: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, code = ARGUMENTS[row]
    error = invoke(once, monkeypatch, *arguments)
    assert isinstance(error, CountersignError) and error.exit_code == code, error


def test_an_incident_that_is_open_already_is_a_refusal(
    scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.incident("2", "open")
    error = invoke(scene, monkeypatch, NAME, "--server", HELD)
    assert isinstance(error, CountersignError) and error.exit_code == 4
    assert "INCIDENT_OPEN" in str(error)


def test_a_server_that_is_not_installed_is_an_error_with_the_next_step(
    once: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "find_spec", lambda name: None)
    error = invoke(once, monkeypatch, NAME)
    assert error.exit_code == 2 and "[serve]" in error.fix
    monkeypatch.setenv("PATH", "/nonexistent")
    assert invoke(once, monkeypatch, NAME, "--server", "vllm").exit_code == 2


def test_a_port_that_is_taken_is_an_error(scene: Governed, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        error = invoke(scene, monkeypatch, NAME, "--server", HELD, "--port", port)
    assert isinstance(error, CountersignError) and error.exit_code == 7


def ask(
    port: int, path: str, body: dict[str, Any] | None = None
) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of an answer."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data)
    try:
        with urllib.request.urlopen(request, timeout=180) as answer:
            return answer.status, dict(answer.headers), json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), json.load(error)


def wait(condition: Callable[[], bool]) -> None:
    """Until it holds."""
    end = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_the_process_serves_until_it_is_told_to_stop(scene: Governed) -> None:
    """On a private copy, by a server of its own; an incident stops it; nothing stays behind."""
    port = free_port()
    environ = {**os.environ, **scene.story.machine.environ, "PYTHONPATH": str(ROOT)}
    environ |= {"TMPDIR": str(scene.story.root), "COUNTERSIGN_PROJECT": MODEL}
    arguments = ["serve", NAME, "--server", HELD, "--port", str(port), "--poll", "0.2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", *arguments],
        cwd=scene.story.root,
        env=environ,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    assert any("serving    support-desk/2" in line for line in lines)
    status, headers, body = ask(port, "/v1/chat/completions", {"model": MODEL})
    digest = scene.story.models["sft"]
    assert (status, body["choices"][0]["message"]["content"]) == (200, digest)
    assert headers["x-countersign-digest"] == digest
    assert ask(port, "/readyz")[0] == 200
    scene.incident("2", "open")
    wait(lambda: ask(port, "/readyz")[0] == 503)
    status, _, body = ask(port, "/v1/chat/completions", {"model": MODEL})
    assert (status, body["error"]["code"]) == (503, "INCIDENT_OPEN")
    assert ask(port, "/healthz")[0] == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(180) == 0
    process.stderr.close()
    assert not list(scene.story.root.glob("countersign-model-*"))


@pytest.mark.nightly
def test_its_server_ends_with_a_process_that_is_killed(scene: Governed) -> None:
    port = free_port()
    environ = {**os.environ, **scene.story.machine.environ, "PYTHONPATH": str(ROOT)}
    arguments = ["serve", NAME, "--server", HELD, "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", *arguments],
        cwd=scene.story.root,
        env={**environ, "COUNTERSIGN_PROJECT": MODEL},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    line = next(line for line in iter(process.stderr.readline, "") if " by http" in line)
    behind = int(line.rpartition(":")[2])
    assert ask(behind, "/health")[0] == 200
    process.kill()
    process.wait()
    process.stderr.close()

    def is_gone() -> bool:
        try:
            return ask(behind, "/health")[0] == 0
        except OSError:
            return True

    wait(is_gone)
