"""Generation by a vLLM server: its address is the machine's, and it is asked before a training
begins. No vLLM runs here: a server of the test answers as `vllm serve` does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from governance.base.errors import ConfigError, CountersignError, OfflineError
from pipelines.training import fit, vllm
from pipelines.training.modelfolder import load_tokenizer
from tests.http_servers import http_servers
from tests.pipelines import tiny

SERVER = {"use_vllm": True, "vllm_mode": "server"}
WHERE = "params.yaml: stages.grpo"


class Handler(BaseHTTPRequestHandler):
    """What the server's attribute `answers` has for a path; a callable gets the request's body."""

    def do_GET(self) -> None:
        self.answer(b"")

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body: bytes) -> None:
        server: Any = self.server
        known = server.answers.get(self.path.partition("?")[0])
        content = known(json.loads(body)) if callable(known) else known
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(404 if known is None else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """That of a small model."""
    from pipelines.shards import read_records
    from pipelines.training import tokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    records = read_records(tiny.records(folder, "conversation"))
    made = tokenizer.train(records.to_pydict(), 300)
    made.save_pretrained(folder / "model")
    return load_tokenizer(folder / "model")


@pytest.fixture
def serve(tokenizer: Any) -> Iterator[Callable[..., str]]:
    """Starts a server of this model, with other answers for some paths; returns its address."""

    def tokens(body: dict[str, Any]) -> dict[str, Any]:
        assert (body["model"], body["add_special_tokens"]) == ("parent", False)
        return {"tokens": tokenizer(body["prompt"], add_special_tokens=False)["input_ids"]}

    answers: dict[str, Any] = {
        "/health": b"",
        "/server_info": {"vllm_config": {}},
        "/v1/models": {"data": [{"id": "parent"}]},
        "/tokenize": tokens,
        "/version": {"version": "0.28.0"},
    }
    with http_servers(Handler) as begun:
        yield lambda **other: str(begun(answers=answers | other).uri)


def test_a_fitting_server_is_named_by_engine_mode_and_version(
    serve: Callable[..., str], tokenizer: Any
) -> None:
    found = vllm.asked(serve(), tokenizer)
    assert found == {"engine": "vllm", "mode": "server", "version": "0.28.0"}


@pytest.mark.parametrize("version", [None, {"version": "<script>"}, [], {}])
def test_a_server_that_says_no_version_has_none(
    version: Any, serve: Callable[..., str], tokenizer: Any
) -> None:
    assert vllm.asked(serve(**{"/version": version}), tokenizer)["version"] == "unknown"


UNFIT: list[tuple[str, Any, str]] = [
    ("/tokenize", {"tokens": [1, 2, 3]}, "it serves another model"),
    ("/tokenize", None, "/tokenize: status 404"),
    ("/server_info", None, "VLLM_SERVER_DEV_MODE=1"),
    ("/v1/models", {"data": [{"id": "parent"}, {"id": "adapter"}]}, "does not serve one model"),
    ("/v1/models", {"data": "parent"}, "does not serve one model"),
    ("/v1/models", b"<html>", "no JSON object"),
    ("/health", None, "/health: status 404"),
    ("/server_info", b"x" * (vllm.MAX_REPLY + 1), "too large"),
]


@pytest.mark.parametrize(("path", "answer", "found"), UNFIT)
def test_a_server_that_cannot_serve_the_training_is_refused(
    path: str, answer: Any, found: str, serve: Callable[..., str], tokenizer: Any
) -> None:
    url = serve(**{path: answer})
    with pytest.raises(ConfigError, match=found) as told:
        vllm.asked(url, tokenizer)
    assert url not in str(told.value) and "html" not in str(told.value)


def test_a_server_that_is_not_there_is_named_by_its_variable(tokenizer: Any) -> None:
    with pytest.raises(OfflineError, match=vllm.VARIABLE) as told:
        vllm.asked("http://127.0.0.1:9", tokenizer)
    assert told.value.exit_code == 8 and "127.0.0.1" not in str(told.value)


@pytest.mark.parametrize(
    "given",
    [
        *("", "gpu-1:8000", "http://gpu-1", "ftp://gpu-1:8000", "http://gpu-1:8000/v1"),
        *("http://user:secret@gpu-1:8000", "http://gpu-1:8000?key=secret", "http://[gpu:8000"),
        "http://gpu-1:secret",
    ],
)
def test_an_address_that_is_none_is_a_mistake_before_a_run(given: str) -> None:
    (mistake,) = vllm.missing(SERVER, WHERE, {vllm.VARIABLE: given})
    assert mistake.exit_code == 2 and vllm.VARIABLE in str(mistake)
    assert "secret" not in str(mistake)


def test_only_a_training_by_a_server_needs_an_address() -> None:
    for trainer in ({}, {"use_vllm": True}, {"vllm_mode": "server"}):
        assert not list(vllm.missing(trainer, WHERE, {}))
    assert not list(vllm.missing(SERVER, WHERE, {vllm.VARIABLE: "http://gpu-1:8000/"}))
    (mistake,) = vllm.mistakes({"vllm_mode": "remote"}, f"{WHERE}.trainer")
    assert "vllm_mode" in str(mistake)


def test_the_trainer_gets_the_address_and_the_parameters_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.training import arguments
    from pipelines.training.methods import METHODS

    monkeypatch.setenv(vllm.VARIABLE, "http://gpu-1:8000")
    wanted = tiny.objective("grpo", rewards=("route_exact",), **SERVER)
    plan = tiny.plan(tmp_path / "work", wanted, tmp_path, tmp_path)
    config = fit._config(plan, METHODS["grpo"], evaluates=False)
    assert (config.vllm_mode, config.vllm_server_base_url) == ("server", "http://gpu-1:8000")
    assert "gpu-1" not in json.dumps(arguments.effective(config), default=str)
    assert "gpu-1" not in wanted.text


@pytest.mark.parametrize("mode", vllm.MODES)
def test_without_vllm_here_the_training_says_so(mode: str, tmp_path: Path) -> None:
    from importlib.util import find_spec

    if find_spec("vllm"):
        pytest.skip("vLLM is installed")
    wanted = tiny.objective("grpo", rewards=("route_exact",), use_vllm=True, vllm_mode=mode)
    plan = tiny.plan(tmp_path / "work", wanted, tmp_path, tmp_path)
    with pytest.raises(CountersignError, match="vllm is not installed"):
        fit.fit(plan, lambda step, steps, signals: None)
