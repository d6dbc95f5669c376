"""Runs a training in the stage's own process, or in the processes of a launcher that the machine
names.

COUNTERSIGN_LAUNCH is a command to which `pipelines/boot.py pipelines.training.fit PLAN` is added:
`torchrun --nproc_per_node 2`, `accelerate launch --config_file fsdp.yaml`, or `srun torchrun
--nnodes 2 ...` for several nodes, which share the project's folder. Launcher and processes get the
environment of a stage (`pipelines.isolation`). `pipelines.training.fit` compares what the objective
names with what accelerate does: on CPU, accelerate silently ignores most of it.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from governance.base.errors import ConfigError, TrainingError
from pipelines import isolation
from pipelines.failures import RecordsRefusedError, StoppedError
from pipelines.training.callbacks import Listener
from pipelines.training.plan import (
    ARGUMENTS,
    FAILURE,
    PARENT,
    SIGNALS,
    Fitted,
    LaunchedError,
    Plan,
)

LAUNCH = "COUNTERSIGN_LAUNCH"
FIT = "pipelines.training.fit"
LOOK_SECONDS = 1.0
"""How often the signals of launched processes are read."""


def run(plan: Plan, listener: Listener, environ: Mapping[str, str]) -> Fitted:
    """Trains a plan. Raises `TrainingError`."""
    command = environ.get(LAUNCH, "").strip()
    if command:
        return _launched(plan, listener, command)
    from pipelines.training.fit import fit

    return fit(plan, listener)


def missing(processes: int, where: str, environ: Mapping[str, str]) -> Iterator[ConfigError]:
    """A launcher, where an objective wants several processes and the machine names none."""
    if processes > 1 and not environ.get(LAUNCH, "").strip():
        found, expected = f"{processes} processes, but no launcher", f"{LAUNCH} is set"
        fix = f"set it, e.g. to `torchrun --nproc_per_node {processes}`"
        yield ConfigError(found, where=f"{where}.processes", expected=expected, fix=fix)


def arguments_file(plan: Plan) -> Path:
    """Where the trainer writes its resolved arguments."""
    return plan.work / ARGUMENTS


def _launched(plan: Plan, listener: Listener, command: str) -> Fitted:
    path = plan.work / "plan.json"
    path.write_text(plan.model_dump_json(), encoding="utf-8")
    environ = isolation.environment(os.environ)
    launcher, *options = shlex.split(command)
    program = [_here(launcher), *options, str(isolation.script()), FIT, str(path)]
    failure = plan.work / FAILURE
    failure.unlink(missing_ok=True)
    signals = Signals(plan.work / SIGNALS, listener)
    this = f"{os.getpid()}@{socket.gethostname()}"
    code = _exit_code(program, {**environ, PARENT: this}, signals)
    if code != 0:
        raise _error(failure, f"the launcher ended with {code}", f"{LAUNCH}={command}")
    return Fitted.model_validate_json((plan.work / "fitted.json").read_text(encoding="utf-8"))


def _error(file: Path, otherwise: str, where: str) -> TrainingError:
    """The error that a launched process left in `file`, which is removed: it may name rows."""
    if not file.exists():
        return TrainingError(otherwise, where=where)
    error = LaunchedError.model_validate_json(file.read_text(encoding="utf-8"))
    file.unlink()
    if error.stopped is not None:
        refused = error.exit_code == RecordsRefusedError.exit_code
        kind = RecordsRefusedError if refused else StoppedError
        return kind(error.stopped, error.text, where)
    return TrainingError(error.text, where=where)


def _here(program: str) -> str:
    """The program in this Python's environment, if it has one of that name."""
    beside = Path(sys.executable).parent / program
    return str(beside) if beside.exists() else program


class Signals:
    """The signals that the first launched process writes to a file, one line a step."""

    def __init__(self, path: Path, listener: Listener) -> None:
        self._path = path
        self._listener = listener
        self._read = 0
        path.unlink(missing_ok=True)

    def pass_on(self) -> None:
        """Passes the lines that are new and complete to the listener."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._read += len(line)
                step, steps, signals = json.loads(line)
                self._listener(step, steps, signals)


def _exit_code(command: list[str], environ: Mapping[str, str], signals: Signals) -> int:
    """Runs the launcher. Its processes end with this one (see `pipelines.training.fit.main`)."""
    quiet = subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            command, env=dict(environ), stdin=quiet, stdout=quiet, stderr=quiet
        )
    except OSError as error:
        raise TrainingError(f"{command[0]}: {error.strerror}", where=LAUNCH) from None
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(LOOK_SECONDS)
                signals.pass_on()
                return code
            signals.pass_on()
    finally:
        process.terminate()
