"""Starts and ends the parent process of workers for one run."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines import isolation
from pipelines.process import PATIENCE_SECONDS
from pipelines.workers import client

SWITCH = "COUNTERSIGN_WORKERS"
"""Environment variable: `off` starts each stage cold."""
LONGEST = 100
"""Bytes in the address of a socket; the system takes 107."""
BACKLOG = 16
"""Clients that may wait for the parent's imports."""


@contextmanager
def workers(root: Path, environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yields the environment for DVC: with a `countersign` whose stages are workers, where that is
    possible. Raises `ConfigError` for an environment that no stage may get.
    """
    plain = dict(environ)
    if not wanted(environ):
        yield plain
        return
    with TemporaryDirectory(prefix="countersign-") as folder:
        address = f"{folder}/socket"
        started = parent(root, plain, address) if fits(address) else None
        if started is None:
            yield plain
            return
        script = Path(folder) / "countersign"
        command = [sys.executable, "-I", "-S", client.__file__, address]
        script.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n', encoding="utf-8")
        script.chmod(0o700)
        try:
            yield {**plain, "PATH": os.pathsep.join([folder, plain.get("PATH", os.defpath)])}
        finally:
            _end(started)


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether there can be workers here, and nobody has switched them off."""
    return sys.platform == "linux" and environ.get(SWITCH, "").strip().lower() != "off"


def fits(address: str) -> bool:
    """Whether the system takes this address of a socket."""
    return len(os.fsencode(address)) <= LONGEST


def parent(
    root: Path, environ: Mapping[str, str], address: str, ends_with: int | None = None
) -> subprocess.Popen[bytes] | None:
    """The parent, which listens at `address` at once; None if it cannot be started. It ends when
    its stdin ends; with `ends_with`, when the process of this descriptor has ended.
    """
    further = [] if ends_with is None else [ends_with]
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(address)
            listener.listen(BACKLOG)
            return subprocess.Popen(
                isolation.command(
                    "pipelines.workers.parent", *map(str, [listener.fileno(), *further])
                ),
                cwd=root,
                env=isolation.environment(environ),
                stdin=subprocess.DEVNULL if further else subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[listener.fileno(), *further],
                start_new_session=True,
            )
        except OSError:
            return None


def _end(parent: subprocess.Popen[bytes]) -> None:
    """Ends the parent. A worker that still runs has lost its client, and gets time to end."""
    if parent.stdin:
        parent.stdin.close()
    try:
        parent.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        parent.kill()
        parent.wait()
