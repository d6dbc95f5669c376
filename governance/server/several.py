"""Serves several projects under one address: a process for each project, and a front.

1. Each project is a governed server of its own: its database with log and registry, its policies,
   accounts, keys and files. So an alias and its log entry commit together, and a statement belongs
   to one log, exactly as with one project. No process opens two of them.
2. Nothing is served before every project's server has passed its checks.
3. A project's server that ends later is started again; meanwhile its address answers 503, and the
   other projects are served.
4. SIGTERM and SIGINT stop all of them. A project's server ends with the process that started it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter

from governance.base.errors import ConfigError, CountersignError, StorageError
from governance.machine.machine import Machine
from governance.machine.machine import machine as make_machine
from governance.server.run import Say, check_port, serve
from governance.server.settings import PASSWORD, SECRET_KEY, Settings

AGAIN_SECONDS = 5.0
"""Before a server that ended is started again."""
PATIENCE = 300.0
"""For a server to begin, with MLflow's tables to be made."""
STOP_SECONDS = 20.0
Process = subprocess.Popen[bytes]
FORM = TypeAdapter(Settings)
"""The settings as one line of JSON."""


@dataclass(frozen=True)
class Served:
    """One project's server."""

    machine: Machine
    settings: Settings

    @property
    def name(self) -> str:
        """The project's name."""
        return self.machine.project


def serve_several(served: Mapping[str, Served], front: Settings, say: Say) -> None:
    """Runs until SIGTERM or SIGINT. `front`: where it listens. Raises `BusyError` where another
    process listens there, and `StorageError` where a project's server does not start.
    """
    _check_passwords(served)
    check_port(front)
    folder = Path(tempfile.mkdtemp(prefix="countersign-"))  # for this account only
    sockets = {name: folder / f"{number}.sock" for number, name in enumerate(served)}
    placed = {
        name: replace(each, settings=replace(each.settings, socket=sockets[name]))
        for name, each in served.items()
    }
    processes: dict[str, Process] = {}
    ending = threading.Event()
    try:
        for name, each in placed.items():
            processes[name] = _begin(each)
        _wait_for_all(processes, sockets)
        watch = threading.Thread(
            target=_keep_up, args=(placed, processes, ending, say), daemon=True
        )
        watch.start()
        say(f"serving    {len(served)} projects below {front.address}/ until SIGTERM")
        _listen(sockets, front)
    finally:
        ending.set()
        _stop(processes)
        shutil.rmtree(folder, ignore_errors=True)


def _check_passwords(served: Mapping[str, Served]) -> None:
    """Raises `ConfigError` where one password would make the administrator of one project that of
    all.
    """
    for each in served.values():
        for name in ("COUNTERSIGN_ADMIN_PASSWORD", PASSWORD, SECRET_KEY):
            if each.machine.environ.get(name):
                found = f"{name} would be the same in every project"
                file = each.settings.state / "admin-password"
                fix = f"unset it: each project has a password of its own, in {file} and so on"
                raise ConfigError(found, where="--projects", fix=fix)


def _listen(sockets: Mapping[str, Path], front: Settings) -> None:
    import uvicorn

    from governance.server.front import Front

    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn ends on it, and raises it again
    uvicorn.run(
        Front(sockets),
        host=front.host,
        port=front.port,
        log_level="warning",
        lifespan="on",
        server_header=False,
        date_header=False,  # the project's server sends one
        timeout_graceful_shutdown=10,
    )


def _begin(served: Served) -> Process:
    """A process of its own: it shares no memory, environment or working folder with the others."""
    machine = served.machine
    machine.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", f"from {__name__} import main; main()"],
        # the same code as here, whatever is installed elsewhere
        env={**machine.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        cwd=machine.state,  # the policies of a working folder are those of one project
        stdin=subprocess.PIPE,
    )
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):  # it ended at once; its exit code tells
            process.stdin.write(FORM.dump_json(served.settings) + b"\n")
            process.stdin.flush()
    return process


def main() -> None:
    """The process of one project's server. Its input has the settings; at its end, the process that
    started it is gone.
    """
    settings = FORM.validate_json(sys.stdin.readline())
    machine = make_machine(settings.project, os.environ)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    say = partial(_say, machine.project)
    try:
        pin = os.environ.get("COUNTERSIGN_ORIGIN") or None
        serve(settings, machine, pin, os.environ, say)
    except CountersignError as error:
        say(str(error))
        sys.exit(error.exit_code)


def _say(name: str, text: str) -> None:
    print(f"[{name}] {text}", file=sys.stderr, flush=True)


def _end_with_parent() -> None:
    while os.read(0, 1):  # not through `sys.stdin`, whose lock would be held at the end
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _wait_for_all(processes: Mapping[str, Process], sockets: Mapping[str, Path]) -> None:
    """(2)"""
    until = time.monotonic() + PATIENCE
    waiting = set(processes)
    while waiting:
        for name in sorted(waiting):
            code = processes[name].poll()
            if code is not None:
                found = f"the server of project {name} ended (exit code {code})"
                raise StorageError(found, fix="read above what it said; nothing is served")
            if _answers(sockets[name]):
                waiting.discard(name)
        if time.monotonic() > until:
            raise StorageError(f"no answer within {PATIENCE:.0f} s by: {', '.join(waiting)}")
        time.sleep(0.1)


def _answers(place: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(place))
        return True
    return False


def _keep_up(
    served: Mapping[str, Served],
    processes: dict[str, Process],
    ending: threading.Event,
    say: Say,
) -> None:
    """(3)"""
    while not ending.wait(AGAIN_SECONDS):
        for name, each in served.items():
            code = processes[name].poll()
            if code is not None and not ending.is_set():
                say(f"[{name}] its server ended (exit code {code}) and is started again")
                if each.settings.socket is not None:
                    each.settings.socket.unlink(missing_ok=True)
                processes[name] = _begin(each)


def _stop(processes: Mapping[str, Process]) -> None:
    for process in processes.values():
        process.terminate()
    until = time.monotonic() + STOP_SECONDS
    for process in processes.values():
        try:
            process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()
