"""The MLflow adapter against real stores: SQLite in every run, a real server in the slow ones."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from governance.attest.digests import manifest, manifest_digest
from governance.base.errors import CountersignError, StorageError
from governance.registry.failures import translated
from governance.registry.mlflow import MlflowRegistry, open_registry
from governance.registry.port import DatasetLink, RunRequest, VersionRequest
from tests.governance.registry.place import Server, wait
from tests.governance.registry.tables import with_tables
from tests.governance.registry.told import Place, check, tell
from tests.ports import free_port


@pytest.fixture
def bare(tmp_path: Path) -> Place:
    """Nothing is there."""
    return Place(f"sqlite:///{tmp_path}/state/desk.db", tmp_path / "state" / "artifacts")


@pytest.fixture
def place(bare: Place, mlflow_tables: Path) -> Place:
    """MLflow's tables are there."""
    with_tables(mlflow_tables, Path(bare.registry_uri.removeprefix("sqlite:///")))
    return bare


@pytest.fixture
def request_of(tmp_path: Path) -> VersionRequest:
    """A small model folder with what stands beside it."""
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "sub" / "weights.safetensors").write_bytes(b"\0" * 64)
    (tmp_path / "chain.json").write_text('{"chain": []}')
    files = manifest(folder)
    return VersionRequest(
        model="support-desk",
        folder=folder,
        digest=manifest_digest(files),
        files=files,
        run_name="register",
        description="grpo",
        tags={"pipeline.stage": "grpo"},
        params={"learning_rate": 1e-4},
        metrics={"greedy_exact": 0.5},
        datasets=[DatasetLink("desk_sft", "cd" * 32, "training", 3000)],
        attachments={"evidence/lineage.json": tmp_path / "chain.json"},
    )


def raw(registry: MlflowRegistry) -> object:
    """MLflow's own client, to look at what was written."""
    return registry._client


def test_the_same_bytes_are_the_same_version(place: Place, request_of: VersionRequest) -> None:
    registry = open_registry(place)
    first = registry.register(request_of)
    again = open_registry(place).register(replace(request_of, description="other words"))
    other = registry.register(replace(request_of, digest="0" * 64))
    assert (first.number, again.number, other.number) == ("1", "1", "2")
    assert first.digest == request_of.digest
    assert registry.find("support-desk", request_of.digest) == first
    assert registry.find("support-desk", "1" * 64) is None
    assert registry.versions("unheard-of") == []


def test_a_version_opens_in_mlflow(
    place: Place, request_of: VersionRequest, tmp_path: Path
) -> None:
    registry = open_registry(place)
    version = registry.register(request_of)
    registry.set_alias("support-desk", "candidate", version.number)
    (tmp_path / "page.html").write_text("<p>")
    registry.attach(version, {"report/support-desk-1.html": tmp_path / "page.html"})
    client = raw(registry)
    stored = Path(client.download_artifacts(version.run_id, ""))  # type: ignore[attr-defined]
    assert manifest(stored / "model") == list(request_of.files)
    assert (stored / "evidence" / "lineage.json").read_text() == '{"chain": []}'
    assert (stored / "report" / "support-desk-1.html").exists()
    shown = client.get_model_version("support-desk", "1")  # type: ignore[attr-defined]
    assert Path(shown.source.removeprefix("file://")) == stored / "model"
    assert shown.run_id == version.run_id
    assert registry.versions("support-desk")[0].aliases == ("candidate",)


def test_a_registration_that_was_killed_leaves_no_version(
    place: Place, request_of: VersionRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = open_registry(place)
    with monkeypatch.context() as patch:
        patch.setattr(MlflowRegistry, "_create_version", _killed)
        with pytest.raises(KeyboardInterrupt):
            registry.register(request_of)
    assert registry.versions("support-desk") == []
    assert registry.register(request_of).number == "1"


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
def test_tables_are_made_in_one_step_beside_what_is_there(bare: Place) -> None:
    path = Path(bare.registry_uri.removeprefix("sqlite:///"))
    path.parent.mkdir()
    with sqlite3.connect(path) as ours:
        ours.execute("CREATE TABLE countersign_entries (n INTEGER)")
        ours.execute("INSERT INTO countersign_entries VALUES (7)")
    said: list[str] = []
    open_registry(bare, say=said.append)
    open_registry(bare, say=said.append)
    with sqlite3.connect(path) as both:
        assert both.execute("SELECT n FROM countersign_entries").fetchone() == (7,)
        assert both.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
    assert len(said) == 1
    assert [entry.name for entry in path.parent.iterdir()] == ["desk.db"]


@pytest.mark.slow
def test_nothing_is_printed_and_nothing_is_left_in_the_folder(tmp_path: Path) -> None:
    script = (
        "from tests.governance.registry.told import Place; from pathlib import Path\nfrom"
        " governance.registry.mlflow import open_registry; from governance.registry.port import"
        f" RunRequest\nplace = Place('sqlite:///{tmp_path}/s/d.db',"
        f" Path('{tmp_path}/s/artifacts'))\nwith open_registry(place).runs.run(RunRequest('train@sft',"
        " {'a': 1})) as run: run.metrics(1, {'loss': 1.0})\n"
    )
    folder = tmp_path / "cwd"
    folder.mkdir()
    root = str(Path(__file__).parent.parent.parent.parent)
    environ = {**os.environ, "PYTHONPATH": root, "PYTHONWARNINGS": "default"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout + done.stderr == ""
    assert list(folder.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("http://127.0.0.1:9", "nothing listens there"),
        ("sqlite:////proc/nowhere/desk.db", "No such file"),
        ("sqlite:///{tmp}/junk.db", "file is not a database"),
        ("nonsense://x", "registry cannot be used"),
    ],
)
def test_a_registry_that_cannot_be_used_is_one_clear_sentence(
    tmp_path: Path, uri: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "junk.db").write_bytes(b"junk" * 1000)
    with pytest.raises(StorageError) as raised:
        open_registry(Place(uri.format(tmp=tmp_path), tmp_path / "artifacts"))
    assert sentence in raised.value.found
    assert raised.value.fix


def test_an_account_without_the_right_is_told_whom_to_ask() -> None:
    class Said(Exception):
        __module__ = "mlflow.exceptions"

    told = (
        "endpoint /api/2.0/mlflow/runs/create failed with error code 403 != 200. Response body:"
        " 'Permission denied'"
    )
    asks = r"no right to do that there\s+next: have an administrator"
    with pytest.raises(StorageError, match=asks), translated("https://models.example.org"):
        raise Said(told)


def test_a_password_in_an_address_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(CountersignError) as raised:
        open_registry(Place("http://ann:hunter2@127.0.0.1:9", tmp_path))
    assert "hunter2" not in str(raised.value)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A real `mlflow server`."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    command += [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/server.db",
        "--artifacts-destination",
        str(tmp_path / "remote"),
    ]
    environ = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environ, stdout=log, stderr=log, start_new_session=True
        )
    uri = f"http://127.0.0.1:{port}"
    try:
        wait(Server(uri, process, tmp_path / "server.log"))
        yield uri, process
    finally:
        process.terminate()
        process.wait(300)


@pytest.mark.slow
def test_a_server_by_address_does_the_same(
    server: tuple[str, subprocess.Popen[bytes]], tmp_path: Path, request_of: VersionRequest
) -> None:
    uri, process = server
    place = Place(uri, tmp_path / "unused")
    registry = open_registry(place)
    check(uri, *tell(registry.runs))
    version = registry.register(request_of)
    registry.set_alias("support-desk", "candidate", version.number)
    assert open_registry(place).register(request_of).aliases == ("candidate",)
    assert registry.where(version) == f"{uri}/#/models/support-desk/versions/1"
    stored = Path(raw(registry).download_artifacts(version.run_id, "model", str(tmp_path)))  # type: ignore[attr-defined]
    assert manifest(stored) == list(request_of.files)
    assert not (tmp_path / "unused").exists()
    run = registry.runs.start(RunRequest("train@sft"))
    process.terminate()
    process.wait(300)
    run.metrics(1, {"loss": 1.0})
    run.end("FINISHED")
    assert run.problem and "nothing listens there" in run.problem
