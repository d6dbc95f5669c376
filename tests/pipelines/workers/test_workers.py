"""Stages as forks of a process that has imported libraries: what they say, how they end, and when
they start cold instead.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest

from pipelines.optional import OF_NER, OF_TRAINING
from pipelines.process import exclusive
from pipelines.workers import client, parent, start, under_dvc
from pipelines.workers.libraries import (
    AFTER,
    GROUP_OF,
    GROUPS,
    MODELS,
    OF_SCANS,
    OF_TRAININGS,
    without,
)
from tests.conftest import rows
from tests.pipelines.policies import pii
from tests.project import BIN, Project, fresh, wait_for

COLD = client.COLD.decode().strip()


def test_every_family_with_libraries_exists() -> None:
    from pipelines import families

    assert set(GROUP_OF) <= set(families.names())
    assert set(GROUP_OF.values()) == set(GROUPS)
    assert set(AFTER) <= set(families.names()) - set(GROUP_OF)
    assert set(AFTER.values()) <= set(GROUPS)


@pytest.mark.parametrize(
    ("family", "running", "group", "started"),
    [
        ("gate", {0, 1, 2}, None, set()),
        ("ingest", set(), 0, {0, 1}),
        ("scan_pii", {0, 1}, 1, {2, 3}),
        ("check_quality", {0, 1, 2}, 2, {3}),
        ("train", {0, 1, 2, 3}, 3, set()),
        ("register", set(), None, set()),
        ("register", {0, 1, 2}, None, set()),
        ("register", {0, 1, 2, 3}, 3, set()),
        ("report", {3}, 3, set()),
    ],
)
def test_a_stage_is_a_fork_of_its_groups_process(
    family: str,
    running: set[int],
    group: int | None,
    started: set[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parent, "DEVICES", ())
    with socket.socket() as pair:
        first = parent.Parent(pair, {}, {}, groups=dict.fromkeys(running, pair))
        begun: set[int] = set()
        monkeypatch.setattr(first, "_start", lambda each, request: begun.add(each))
        request = parent.Request(pair, (), b"")
        assert first._group_for(["stage", family, "x"], request) == group
        assert begun == started
        assert first._group_for(["ready"], request) is None
        monkeypatch.setattr(parent, "DEVICES", ("/dev/null",))
        assert first._group_for(["stage", "register", "x"], request) is None, "torch is imported"


def test_libraries_are_imported_without_what_stages_hide() -> None:
    """With a model for names, Presidio needs torch."""
    model = pii(ner="transformers:models/ner")
    assert "torch" in without("presidio_analyzer", pii())
    assert "torch" not in without("presidio_analyzer", model)
    for name in (*OF_SCANS, "great_expectations"):
        assert without(name, pii())
    assert not any(name in without("great_expectations", pii()) for name in OF_NER)
    assert {name for name in MODELS if without(name, pii())} == set(OF_TRAININGS)
    assert {without(name, pii()) for name in OF_TRAININGS} == {OF_TRAINING}


@pytest.mark.parametrize(
    ("ner", "imported", "cold"),
    [
        ("name-list", {"presidio_analyzer"}, False),
        ("transformers:models/ner", {"presidio_analyzer"}, True),
        ("transformers:models/ner", {"presidio_analyzer", "torch"}, False),
        ("transformers:models/ner", set(), False),
    ],
)
def test_a_scan_with_a_model_runs_cold_if_presidio_was_imported_without_torch(
    ner: str, imported: set[str], cold: bool, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = project.root / "policies" / "pii.yaml"
    text = file.read_text(encoding="utf-8")
    assert "\nner: tagger\n" in text
    file.write_text(text.replace("\nner: tagger\n", f"\nner: {ner}\n"), encoding="utf-8")
    monkeypatch.chdir(project.root)
    for name in ("presidio_analyzer", "torch"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in imported:
        monkeypatch.setitem(sys.modules, name, sys)
    assert parent._needs_more(["stage", "scan_pii", "desk_eval"]) == cold


@pytest.mark.parametrize(
    ("quantize", "imported", "cold"),
    [(None, True, False), ("nf4", True, True), ("nf4", False, False)],
)
def test_a_quantised_training_runs_cold_if_peft_was_imported_without_bitsandbytes(
    quantize: str | None,
    imported: bool,
    cold: bool,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lora = {"r": 2, **({"quantize": quantize} if quantize else {})}
    project.edit("params.yaml", lambda params: params["stages"]["sft"].update(lora=lora))
    monkeypatch.chdir(project.root)
    monkeypatch.delitem(sys.modules, "peft", raising=False)
    if imported:
        monkeypatch.setitem(sys.modules, "peft", sys)
    assert parent._needs_more(["stage", "train", "sft"]) == cold


# --- the client -----------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A private folder with a `countersign` that answers for the cold run."""
    folder, beside = tmp_path / "private", tmp_path / "beside"
    folder.mkdir(mode=0o700)
    beside.mkdir()
    cold = beside / "countersign"
    cold.write_text('#!/bin/sh\necho "cold $*; PATH=$PATH"\nexit 7\n', encoding="utf-8")
    cold.chmod(0o755)
    yield folder


def ask(place: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [BIN / "python", "-I", "-S", client.__file__, str(place / "socket"), *arguments],
        env={"PATH": f"{place}{os.pathsep}{place.parent / 'beside'}", "COUNTERSIGN_DEBUG": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGHUP, signal.SIG_DFL),  # nohup ignores it
    )


def listening(place: Path, answer: Callable[[socket.socket], None]) -> threading.Thread:
    """A parent that accepts one client."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place / "socket"))
    listener.listen(1)

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, listener:
            received(connection)
            answer(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


def received(connection: socket.socket) -> list[str]:
    head, descriptors, _, _ = socket.recv_fds(connection, 4, 3)
    for descriptor in descriptors:
        os.close(descriptor)
    text = b""
    while len(text) < int.from_bytes(head, "big"):
        text += connection.recv(1 << 16)
    return text.decode().split("\0")


def starts_cold(asked: subprocess.Popen[str], *arguments: str) -> None:
    out, err = asked.communicate(timeout=60)
    assert asked.returncode == 7
    assert out.startswith(f"cold {' '.join(arguments)}; PATH=")
    assert "private" not in out
    assert err.strip() == (COLD if arguments[0] == "stage" else "")


def test_without_a_parent_a_stage_starts_cold(place: Path) -> None:
    starts_cold(ask(place, "stage", "gate", "x"), "stage", "gate", "x")


def test_a_stale_socket_starts_a_stage_cold(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place / "socket"))
    starts_cold(ask(place, "stage", "gate", "x"), "stage", "gate", "x")


def test_a_parent_that_ends_before_it_answers_starts_a_stage_cold(place: Path) -> None:
    thread = listening(place, lambda connection: None)
    starts_cold(ask(place, "stage", "gate", "x"), "stage", "gate", "x")
    thread.join(60)


def test_only_stages_are_asked_for(place: Path) -> None:
    starts_cold(ask(place, "status", "--json"), "status", "--json")


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_folder_that_others_can_enter_is_not_used(mode: int, place: Path) -> None:
    thread = listening(place, lambda connection: None)
    place.chmod(mode)
    starts_cold(ask(place, "stage", "gate", "x"), "stage", "gate", "x")
    assert thread.is_alive(), "nobody connected"


def test_a_link_to_a_folder_is_not_used(place: Path) -> None:
    place.rename(place.parent / "elsewhere")
    place.symlink_to(place.parent / "elsewhere")
    thread = listening(place, lambda connection: None)
    starts_cold(ask(place, "stage", "gate", "x"), "stage", "gate", "x")
    assert thread.is_alive(), "nobody connected"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another account")
def test_another_accounts_folder_is_not_used(place: Path) -> None:
    thread = listening(place, lambda connection: None)
    os.chown(place, 12345, 12345)
    starts_cold(ask(place, "stage", "gate", "x"), "stage", "gate", "x")
    assert thread.is_alive(), "nobody connected"


@pytest.mark.parametrize("status", [0, 4, 255, -signal.SIGTERM, -signal.SIGKILL])
def test_a_client_ends_as_its_worker_ended(status: int, place: Path) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(status.to_bytes(4, "big", signed=True))

    listening(place, answer)
    asked = ask(place, "stage", "gate", "x")
    assert asked.communicate(timeout=60) == ("", "")
    assert asked.returncode == status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_passed_on_and_never_followed_by_a_cold_run(
    number: signal.Signals, place: Path
) -> None:
    told: list[int] = []
    ready = threading.Event()

    def answer(connection: socket.socket) -> None:
        ready.set()
        told.extend(connection.recv(1))

    listening(place, answer)
    asked = ask(place, "stage", "gate", "x")
    assert ready.wait(60)
    asked.send_signal(number)
    assert asked.communicate(timeout=60) == ("", "")
    assert (asked.returncode, told) == (-number, [number])


# --- the parent -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return fresh(tmp_path_factory.mktemp("workers"))


@pytest.fixture
def project(first: Project, tmp_path: Path) -> Project:
    return first.copy(tmp_path)


def with_workers(project: Project) -> dict[str, str]:
    environ = project.env(COUNTERSIGN_DEBUG="1", PYTHONHASHSEED="0")
    return {name: value for name, value in environ.items() if name != start.SWITCH}


def stage(
    project: Project, environ: dict[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["countersign", "stage", *arguments],
        cwd=project.root,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_parent_serves_only_what_is_as_it_was(project: Project) -> None:
    """Another environment starts cold."""
    with start.workers(project.root, with_workers(project)) as environ:
        done = stage(project, environ, "sample", "desk_eval")
        assert (done.returncode, done.stderr) == (0, ""), "a worker"
        wrong = stage(project, environ, "sample", "nothing")
        assert wrong.returncode == 2
        assert "nothing" in wrong.stderr
        assert COLD not in wrong.stderr
        other = stage(project, {**environ, "LANG": "de_DE.UTF-8"}, "sample", "desk_eval")
        assert (other.returncode, other.stderr.strip()) == (0, COLD)
        hostile = stage(project, {**environ, "LD_PRELOAD": "/nothing.so"}, "sample", "desk_eval")
        assert hostile.returncode == 0
        again = stage(project, environ, "sample", "desk_eval")
        assert again.stderr == ""
    assert stage(project, environ, "sample", "desk_eval").returncode == 0, "without a parent"


def test_a_parent_forks_no_more_when_a_file_that_it_loaded_changes(tmp_path: Path) -> None:
    file, folder = tmp_path / "module.py", tmp_path / "site-packages"
    file.touch()
    folder.mkdir()
    loaded = {str(path): parent.status_of(str(path)) for path in (file, folder)}
    listener = socket.socket(socket.AF_UNIX)
    listener.close()
    served = parent.Parent(listener, {}, loaded)  # type: ignore[arg-type]
    assert served.is_unchanged()
    (folder / "another.py").touch()
    assert not served.is_unchanged()
    served.loaded.pop(str(folder))
    assert served.is_unchanged()
    os.utime(file, ns=(1, 1))
    assert not served.is_unchanged()
    file.unlink()
    assert not served.is_unchanged()


def test_a_parent_whose_files_changed_while_it_imported_serves_nobody() -> None:
    assert parent.loaded_files(time.time_ns())
    with pytest.raises(OSError, match="changed"):
        parent.loaded_files(0)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def held(project: Project) -> AbstractContextManager[None]:
    """While this lasts, the stage sample@desk_sft waits for its lock."""
    return exclusive(project.root / ".dvc/tmp/countersign/sample@desk_sft.lock", "a test")


def workers_of(first: psutil.Process) -> Iterator[psutil.Process]:
    """Its forks, without programs that it starts while it imports."""
    for each in first.children():
        with suppress(psutil.Error):
            if each.cmdline() == first.cmdline():
                yield each


def a_worker(first: psutil.Process) -> psutil.Process | None:
    """A fork that still is one after a moment. A program that is being started looks like a fork
    before it runs.
    """
    for each in workers_of(first):
        time.sleep(0.2)
        if each.pid in {other.pid for other in workers_of(first)}:
            return each
    return None


def the_parent() -> psutil.Process:
    below = psutil.Process().children(recursive=True)
    return next(each for each in below if "pipelines.workers.parent" in each.cmdline())


@pytest.mark.slow
@pytest.mark.parametrize("victim", rows(["client", "worker", "parent"], in_ci={"worker"}))
def test_a_kill_of_any_process_ends_the_stage_and_starts_no_wrong_one(
    victim: str, project: Project
) -> None:
    with held(project), start.workers(project.root, with_workers(project)) as environ:
        first = the_parent()
        asked = subprocess.Popen(
            ["countersign", "stage", "sample", "desk_sft"], cwd=project.root, env=environ,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        wait_for(lambda: a_worker(first) is not None, 60, "a worker runs")
        worker = a_worker(first)
        assert worker is not None
        {"client": psutil.Process(asked.pid), "worker": worker, "parent": first}[victim].kill()
        wait_for(lambda: not lives(worker.pid), 20, "the worker ends")
        if victim == "parent":
            wait_for(lambda: Path(f"/proc/{asked.pid}/cmdline").read_bytes().find(b"boot.py") > 0
                     or asked.poll() is not None, 60, "the stage starts cold")  # fmt: skip
            asked.terminate()
        _, err = asked.communicate(timeout=60)
        assert (COLD in err) == (victim == "parent")
        if victim != "parent":
            assert asked.returncode == -signal.SIGKILL
            assert stage(project, environ, "sample", "desk_eval").stderr == "", "others still run"
    assert not (project.root / "data/source/desk_sft.jsonl").exists()
    assert not lives(first.pid)


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment", rows(["before the fork", "in the stage"], in_ci={"before the fork"})
)
def test_ctrl_c_reaches_the_worker(moment: str, project: Project) -> None:
    with held(project), start.workers(project.root, with_workers(project)) as environ:
        first = the_parent()
        if moment == "before the fork":
            first.suspend()
        asked = subprocess.Popen(
            ["countersign", "stage", "sample", "desk_sft"], cwd=project.root, env=environ,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        if moment == "in the stage":
            wait_for(lambda: any(workers_of(first)), 60, "a worker runs")
        time.sleep(1.0)
        asked.send_signal(signal.SIGINT)
        first.resume()
        assert asked.communicate(timeout=60)[1].strip() == "stopped"
        assert asked.returncode == 130


@pytest.mark.slow
def test_a_parent_ends_with_the_run_that_started_it(project: Project, tmp_path: Path) -> None:
    script = (
        "import os, sys, time, pathlib\n"
        "from pipelines.workers import start\n"
        "with start.workers(pathlib.Path.cwd(), os.environ) as environ:\n"
        "    print(environ['PATH'].split(os.pathsep)[0], flush=True)\n"
        "    time.sleep(600)\n"
    )
    run = subprocess.Popen(
        [BIN / "python", "-P", "-c", script], cwd=project.root, env=with_workers(project),
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert run.stdout
    run.stdout.readline()
    first = psutil.Process(run.pid).children()[0]
    run.kill()
    run.wait()
    wait_for(lambda: not lives(first.pid), 30, "the parent ends")


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path is short enough for a socket's address."""
    with TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.slow
def test_stages_of_plain_dvc_are_workers_of_a_parent_that_ends_with_dvc(
    project: Project, short: Path
) -> None:
    done = subprocess.run(
        [BIN / "dvc", "repro", "ingest@desk_eval"], cwd=project.root,
        env={**with_workers(project), "TMPDIR": str(short)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Running stage 'ingest@desk_eval'" in done.stdout
    assert COLD not in done.stderr
    wait_for(lambda: not any(short.iterdir()), 30, "the parent ends and removes its folder")


@pytest.mark.slow
def test_a_folder_that_a_killed_parent_left_starts_stages_cold(
    project: Project, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_dvc, "_dvc", os.getpid)
    monkeypatch.setattr("tempfile.tempdir", str(short))
    (short / f"countersign-{under_dvc._name(os.getpid())}").mkdir(mode=0o700)
    environ = {**with_workers(project), "DVC_STAGE": "sample@desk_eval"}
    under_dvc.serve(["stage", "sample", "desk_eval"], environ)  # returns: no worker took it


def test_a_process_that_is_not_below_dvc_has_no_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_dvc, "_dvc", lambda: None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    under_dvc.serve(["stage", "sample", "x"], {"DVC_STAGE": "sample@x"})
    under_dvc.serve(["stage", "sample", "x"], {})
    assert not list(tmp_path.iterdir())


def said(project: Project) -> list[dict[str, Any]]:
    """Everything in the log but when and how it ran."""
    found = []
    for item in project.evidence():
        predicate = item.predicate.model_dump(mode="json")
        for name in ("run", "log", "at", "project_key", "development_keys", "checkpoint_key"):
            predicate.pop(name, None)
        for link in predicate.get("chain", ()):  # statements, which hold times
            link.pop("sha256")
        subjects = [each.model_dump() for each in item.subjects]
        found.append({"kind": item.kind, "subjects": subjects, **predicate})
    return found


@pytest.mark.nightly
def test_statements_about_data_are_those_of_cold_runs(first: Project, tmp_path: Path) -> None:
    warm, cold = first.copy(tmp_path / "warm"), first.copy(tmp_path / "cold")
    stages = [(name, "desk_eval") for name in ("sample", "ingest", "scan_pii", "check_quality")]
    stages.append(("import_base", "tiny"))
    with start.workers(warm.root, with_workers(warm)) as environ:
        for each in stages:
            done = stage(warm, environ, *each)
            assert (done.returncode, COLD in done.stderr) == (0, False), done.stderr
    for each in stages:
        assert stage(cold, with_workers(cold), *each).returncode == 0
    assert said(warm)[1:] == said(cold)[1:], "all but the origin"
    assert {item.kind for item in warm.evidence()} >= {"ingest", "scan", "quality", "base"}


@pytest.mark.nightly
def test_evidence_of_workers_equals_that_of_cold_runs(first: Project, tmp_path: Path) -> None:
    """Of every family: the same bytes, the same statements."""
    warm, cold = first.copy(tmp_path / "warm"), first.copy(tmp_path / "cold")
    logs = []
    for project, switch in ((warm, "on"), (cold, "off")):
        environ = {**with_workers(project), start.SWITCH: switch}
        done = subprocess.run(
            [BIN / "countersign", "repro"], cwd=project.root, env=environ, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert COLD not in done.stderr
        logs.append([each for each in said(project) if each["kind"] not in ("origin", "report")])
    assert [each["kind"] for each in logs[0]] == [each["kind"] for each in logs[1]]
    for one, other in zip(*logs, strict=True):
        assert one == other
