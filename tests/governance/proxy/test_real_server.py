"""A model that a real pipeline registered, served as its user would serve it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from typing import Any

import pytest

from tests.governance.proxy.world import SCRIPTED
from tests.ports import free_port
from tests.project import Project

pytestmark = pytest.mark.nightly
SERVERS = {"scripted": " ".join(SCRIPTED.command), "transformers": "transformers"}
PATIENCE = 600.0
"""Seconds for a server to load the model, however busy the machine is."""


def ask(port: int, path: str, body: dict[str, Any] | None = None) -> tuple[Any, bytes]:
    """Headers and body of an answer."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return answer.headers, answer.read()


def wait(port: int) -> None:
    """Until the proxy is ready."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            ask(port, "/readyz")
        except OSError:  # nothing listens, or 503
            time.sleep(0.5)
        else:
            return
    pytest.fail("the server did not become ready")


@pytest.mark.parametrize("server", SERVERS)
def test_a_registered_model_answers_through_the_proxy(server: str, small: Project) -> None:
    if server == "transformers" and find_spec("openai") is None:
        pytest.skip("`transformers serve` needs openai (the extra `serve`)")
    port = free_port()
    arguments = ("serve", "support-desk@candidate", "--server", SERVERS[server])
    process = small.start("countersign", *arguments, "--port", str(port), warm=False)
    try:
        wait(port)
        (version,) = small.versions()
        asked = {
            "model": "support-desk",
            "messages": [{"role": "user", "content": "Where is my parcel?"}],
            "max_tokens": 4,
        }
        headers, body = ask(port, "/v1/chat/completions", asked)
        assert headers["x-countersign-digest"] == version[2]
        assert headers["x-countersign-bytes"] == "verified"
        assert json.loads(body)["choices"][0]["message"]["content"] is not None
        headers, body = ask(port, "/v1/chat/completions", {**asked, "stream": True})
        assert headers["x-countersign-digest"] == version[2]
        assert body.startswith(b"data: ") and body.rstrip().endswith(b"data: [DONE]")
    finally:
        process.terminate()
        assert process.wait(60) == 0
