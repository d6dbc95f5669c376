"""A governed world with its registry: a signed policy, a registered version, and a real server in
front of both.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from governance.attest.digests import manifest
from governance.attest.predicates import Artifact, Registration
from governance.log import evidence
from governance.machine.machine import Machine, signer
from governance.registry.mlflow import open_registry
from governance.registry.port import Version, VersionRequest
from tests.governance.governed import Governed, authorize, empty
from tests.governance.registry.tables import add_tables
from tests.governance.story import MODEL, tell
from tests.ports import free_port
from tests.warm import CODE, warmed

PASSWORD = "correct horse battery"
REPO = Path(__file__).parent.parent.parent.parent


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    text: str

    @property
    def value(self) -> Any:
        return json.loads(self.text)

    @property
    def message(self) -> str:
        """MLflow's error message, or the text."""
        try:
            return str(self.value.get("message", self.text))
        except (ValueError, AttributeError):
            return self.text


@dataclass
class Server:
    """A running `countersign server`, or any other of MLflow's."""

    uri: str
    process: subprocess.Popen[bytes]
    log: Path
    user: str = "admin"
    password: str = PASSWORD
    headers: dict[str, str] = field(default_factory=dict)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        kind: str = "application/octet-stream",
    ) -> Answer:
        """One request; a path without leading slash is below `/api/2.0/mlflow/`."""
        url = self.uri + (path if path.startswith("/") else f"/api/2.0/mlflow/{path}")
        data = raw if raw is not None else (json.dumps(body).encode() if body is not None else None)
        request = urllib.request.Request(url, data=data, method=method, headers=dict(self.headers))
        if data is not None:
            request.add_header("Content-Type", "application/json" if raw is None else kind)
        if self.user:
            token = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                return Answer(answer.status, answer.read().decode(errors="replace"))
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read().decode(errors="replace"))

    def post(self, path: str, **body: Any) -> Answer:
        return self.ask("POST", path, body)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(120)


@dataclass
class Place:
    """Where the world stands."""

    scene: Governed
    folder: Path
    database: str
    """As the server's log and registry."""

    @property
    def machine(self) -> Machine:
        return self.scene.story.machine

    @property
    def artifacts(self) -> Path:
        return self.machine.artifact_root

    def environ(self, **more: str) -> dict[str, str]:
        """Of the server's process."""
        return {
            **os.environ,
            **self.machine.environ,
            "COUNTERSIGN_LOG": self.database,
            "COUNTERSIGN_ADMIN_PASSWORD": PASSWORD,
            "PYTHONPATH": str(REPO),
            **more,
        }


def place(
    folder: Path, people: str = "", project: str = MODEL, models: str = "", **environ: str
) -> Place:
    """Policies signed by their owners, stages told, one version in the log; nothing in the registry
    yet.
    """
    scene = empty(folder, people=people, project=project, models=models, **environ)
    authorize(scene)
    here = Place(scene, folder, scene.story.machine.log_uri)
    tell(scene.story)
    scene.story.now = lambda: datetime.now(UTC)  # type: ignore[method-assign]  # a server decides by its own clock
    return here


def register(
    here: Place,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    stage: str = "sft",
    model: str = MODEL,
) -> Version:
    """A stage's model as a version, through the server as the pipeline does it; and its
    registration in the log.
    """
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", server.user)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", server.password)
    story = here.scene.story
    folder = story.root / f"models/{stage}/model"
    files = manifest(folder)
    registry = open_registry(replace(here.machine, registry_uri=server.uri))
    version = registry.register(
        VersionRequest(
            model,
            folder,
            story.models[stage],
            files,
            f"register {model}",
            tags={"pipeline.stage": stage},
        )
    )
    said = Registration(
        model=model,
        version=version.number,
        stage=stage,
        tier="limited",
        model_digest=story.models[stage],
        files=files,
        chain=[],
        policy=story.policies.digest,
        run=story.run({"registry_run": version.run_id}),
    )
    subject = Artifact(role="model", name=f"models/{stage}/model", sha256=story.models[stage])
    evidence.record(story.log, signer(here.machine), "registration", [subject], said)
    registry.set_alias(model, "candidate", version.number)
    return version


def start(
    here: Place, *more: str, ready: str = "/health", is_new: bool = False, **environ: str
) -> Server:
    """`countersign server`, when it answers; raises with what it said where it ends instead. With
    modules of its own (`PYTHONPATH`) it starts cold: a warm process has imported the others. One
    that `is_new` makes MLflow's tables itself; the others find them.
    """
    port = free_port()
    if not is_new and here.database.startswith("sqlite:///"):
        add_tables(Path(here.database.removeprefix("sqlite:///")), here.artifacts)
    program, env = sys.executable, here.environ(**environ)
    if "PYTHONPATH" not in environ:
        program, env = warmed("python", env)
    command = [program, "-c", CODE, "server", "--port", str(port), *more]
    log = here.folder / f"server-{port}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=here.scene.story.root, env=env, stdout=out, stderr=out
        )
    server = Server(f"http://127.0.0.1:{port}", process, log)
    wait(server, ready)
    return server


class NotStarted(Exception):
    """The server ended; `code` and what it said."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(said)
        self.code, self.said = code, said


def wait(server: Server, ready: str = "/health") -> None:
    until = time.monotonic() + 300
    while time.monotonic() < until:
        if server.process.poll() is not None:
            raise NotStarted(server.process.returncode, server.log.read_text(encoding="utf-8"))
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"{server.uri}{ready}", timeout=10),
        ):
            return
        time.sleep(0.1)
    server.process.kill()
    raise NotStarted(-1, server.log.read_text(encoding="utf-8"))


@contextlib.contextmanager
def serving(here: Place, *more: str, is_new: bool = False, **environ: str) -> Iterator[Server]:
    """A server for as long as a block runs."""
    server = start(here, *more, is_new=is_new, **environ)
    try:
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.stop()


__all__ = [
    "MODEL",
    "PASSWORD",
    "Answer",
    "NotStarted",
    "Place",
    "Server",
    "place",
    "register",
    "serving",
    "start",
]
