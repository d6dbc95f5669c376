"""A stage as a process: it ends with the run that started it, and runs once at a time."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from governance.errors import BusyError

GRACE_SECONDS = 10
"""Between SIGTERM and SIGKILL for a stage whose run is gone."""

HASH_SEED = {"PYTHONHASHSEED": "0"}
"""What a result depends on and only takes effect before Python starts."""

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
"""What every stage's result or silence depends on, read by libraries when they are imported."""

DOWNLOADS = ("fetch", "import_base")
"""The stage families that may use the network."""


def settle(family: str, threads: int, environ: MutableMapping[str, str]) -> None:
    """Sets what libraries read when they are imported; starts this process again where Python itself must be told."""
    environ.update(SETTINGS, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    if family not in DOWNLOADS:
        environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
    if any(environ.get(name) != value for name, value in HASH_SEED.items()):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**environ, **HASH_SEED})  # noqa: S606


@contextmanager
def exclusive(lock: Path, name: str) -> Iterator[None]:
    """Holds `lock` while the stage runs. Raises `BusyError` when another process holds it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BusyError(f"{name} is running already", fix="wait for that run to end, then run this again") from None
        yield


def end_with_parent(environ: Mapping[str, str]) -> None:
    """Under DVC, ends this process when DVC is gone: a killed `dvc repro` leaves no training behind."""
    if "DVC_STAGE" not in environ:
        return
    import psutil

    above = psutil.Process().parents()
    watched = above[: next((i for i, p in enumerate(above) if _is_dvc(p)), 0) + 1]
    threading.Thread(target=_watch, args=(watched,), daemon=True).start()


def _is_dvc(process: object) -> bool:
    try:
        return any("dvc" in Path(part).name for part in process.cmdline()[:4])  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001  # psutil's own errors: the process is gone or not ours
        return False


def _watch(processes: list[object]) -> None:
    while all(process.is_running() for process in processes):  # type: ignore[attr-defined]
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
