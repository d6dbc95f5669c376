"""Workers of a plain `dvc repro`: its first stage starts a parent process, later stages find it.

1. The parent belongs to one DVC process. Its socket lies in a private folder that is named after
   this process (id and time of its start), the Python and the packages.
2. The parent ends with DVC, and then removes the folder.
3. Only one process can make the folder, and only that one starts a parent. Whoever finds the folder
   without a parent runs the stage cold.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from pipelines import isolation
from pipelines.process import RUN, is_dvc
from pipelines.workers import client, start

ABOVE = 4
"""DVC is at most so many processes above a stage: shells may stand between."""


def serve(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Runs a stage in a worker and ends as the worker ends. Returns if the stage has to start cold.
    Raises `ConfigError` for an environment that no stage may get.
    """
    if "DVC_STAGE" not in environ or RUN in environ or not start.wanted(environ):
        return
    try:
        dvc = _dvc()
        if dvc is None:
            return
        folder = Path(tempfile.gettempdir()) / f"countersign-{_name(dvc)}"
        address = f"{folder}/socket"
        if start.fits(address) and _is_made(folder) and not _start(dvc, address, environ):
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return
    client.run(address, list(arguments), dict(environ))


def _is_made(folder: Path) -> bool:
    """(3)"""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return False
    return True


def _start(dvc: int, address: str, environ: Mapping[str, str]) -> bool:
    """(2) Starts the parent, with a descriptor that shows when DVC has ended."""
    descriptor = os.pidfd_open(dvc)
    try:
        if _dvc() != dvc:  # it has ended, and its id may be another process's
            return False
        return start.parent(Path.cwd(), environ, address, ends_with=descriptor) is not None
    finally:
        os.close(descriptor)


def _dvc() -> int | None:
    """The DVC process that this one runs under."""
    pid = os.getppid()
    for _ in range(ABOVE):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "surrogateescape")
        if is_dvc(command.split("\0")):
            return pid
        pid = int(_status(pid)[1])
        if pid <= 1:
            break
    return None


def _name(dvc: int) -> str:
    """(1)"""
    parts = [dvc, _status(dvc)[19], os.geteuid(), sys.executable, *isolation.packages()]
    return sha256("\0".join(map(str, parts)).encode("utf-8", "surrogateescape")).hexdigest()[:24]


def _status(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name: [0] state, [1] parent, [19] time of start."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return text.rpartition(")")[2].split()
