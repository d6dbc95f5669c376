"""A stage as a process: it ends with the run that started it, and only one runs at a time."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING

from governance.base.errors import BusyError
from pipelines import boot

if TYPE_CHECKING:
    import psutil

GRACE_SECONDS = 10
"""Seconds between SIGTERM and SIGKILL for a stage whose run has ended."""

PATIENCE_SECONDS = GRACE_SECONDS + 5.0
"""Seconds that a stage waits for another run of itself, which may be ending."""

RUN = "COUNTERSIGN_RUN"
"""Environment variable: the id of the process that DVC ends with, under `countersign repro`."""

SETTINGS = {
    "TOKENIZERS_PARALLELISM": "false",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
"""Settings that results or quiet output depend on. Libraries read them when they are imported."""


def settle(environ: MutableMapping[str, str], *, threads: int, network: bool) -> None:
    """Sets the variables that libraries read when they are imported."""
    environ.update(SETTINGS, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    if not network:
        environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")


@contextmanager
def exclusive(lock: Path, name: str) -> Iterator[None]:
    """Holds `lock` while the stage runs. Raises `BusyError` if another process holds it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as handle:
        until = time.monotonic() + PATIENCE_SECONDS
        while not _taken(handle):
            if time.monotonic() > until:
                fix = "wait until it ends, then run this again"
                raise BusyError(f"{name} is already running", where=str(lock), fix=fix)
            time.sleep(0.1)
        yield


def _taken(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def end_when_asked() -> Callable[[], None]:
    """From now on SIGTERM and Ctrl-C raise `SystemExit`, so that scratch files are removed.

    A library may swallow that exception: in a bare `except`, a finalizer or a callback. What this
    returns raises it again. It is called before anything is recorded.
    """
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        require_wanted()

    def require_wanted() -> None:
        if asked:
            sys.exit(128 + asked[0])

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    return require_wanted


def end_with_parent(environ: Mapping[str, str]) -> None:
    """Under DVC, ends this process when DVC ends, so that a killed `dvc repro` stops training."""
    if "DVC_STAGE" not in environ:
        return
    import psutil

    above = psutil.Process().parents()
    if boot.STARTER:
        try:
            starter = psutil.Process(boot.STARTER)
            above = [starter, *starter.parents()]
        except psutil.Error:  # it is gone already
            sys.exit(128 + signal.SIGTERM)
    dvc = next((number for number, process in enumerate(above) if _is_dvc(process)), 0)
    end_with(above[: dvc + 1])


def end_with(processes: Sequence[psutil.Process]) -> None:
    """Ends this process when one of these has ended. A thread watches them."""
    threading.Thread(target=_watch, args=(processes,), daemon=True).start()


def is_dvc(command: Sequence[str]) -> bool:
    """Whether this is the command line of DVC: `dvc`, `python -m dvc`, or ours that runs it."""
    return any("dvc" in Path(part).name for part in command[:4])


def _is_dvc(process: psutil.Process) -> bool:
    import psutil

    try:
        return is_dvc(process.cmdline())
    except psutil.Error:  # it is gone, or not ours
        return False


def _runs(process: psutil.Process) -> bool:
    """Whether the process runs. A zombie does not; in a container nobody may reap it."""
    import psutil

    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _watch(processes: Sequence[psutil.Process]) -> None:
    while all(_runs(process) for process in processes):
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
