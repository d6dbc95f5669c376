"""A real ssh-agent of the tests' own, and keys that ssh-keygen made."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

needs_ssh = pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="no OpenSSH here")


def make(path: Path, passphrase: str = "", kind: str = "ed25519", comment: str = "ada@laptop") -> Path:
    """A key made by ssh-keygen."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", comment, "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def add(environ: dict[str, str], *paths: Path) -> None:
    for path in paths:
        subprocess.run(["ssh-add", "-q", str(path)], check=True, env={**os.environ, **environ})


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of an ssh-agent of our own."""
    path = Path("/tmp") / f"cs-agent-{os.getpid()}-{tmp_path.name[-20:]}.sock"  # a socket's path is short
    started = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    environ = {"SSH_AUTH_SOCK": str(path)}
    for _ in range(200):
        if path.exists():
            break
        threading.Event().wait(0.02)
    yield environ
    started.terminate()
    started.wait()
    path.unlink(missing_ok=True)
