"""Names a process, and tells whether it has ended.

Process ids are reused, and each machine or container has its own. So a process is named by machine,
boot, process-id namespace, id and start time. It counts as ended only where that can be known: on
this machine, after a reboot or in this namespace.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil

SECONDS_OF_DOUBT = 2.0
"""Start times are computed from the clock; they may move a little when it is set."""


def this_process() -> str:
    """A name of this process that no other process has."""
    return "|".join([*_here(), str(os.getpid()), f"{psutil.Process().create_time():.0f}"])


def is_gone(name: str) -> bool:
    """Whether the process of that name (from `this_process`) has certainly ended. False where
    unknown.
    """
    parts = name.split("|")
    if len(parts) != 5 or not parts[3].isdigit() or not parts[4].isdigit():
        return False
    machine, boot, namespace = _here()
    if parts[0] != machine or not parts[1] or not boot:
        return False
    if parts[1] != boot:
        return True
    return parts[2] == namespace and not _runs(int(parts[3]), float(parts[4]))


def _runs(pid: int, started: float) -> bool:
    """Whether a process of that id and start time runs here. True where the system does not
    tell.
    """
    try:
        process = psutil.Process(pid)
        same = abs(float(process.create_time()) - started) <= SECONDS_OF_DOUBT
        return same and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def _here() -> tuple[str, str, str]:
    """This machine, its boot and this process-id namespace; empty where the system does not
    tell.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = str(int(psutil.boot_time()))
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return socket.gethostname(), boot, namespace
