"""A real ssh-agent of the tests' own, and keys that ssh-keygen made."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

needs_ssh = pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="no OpenSSH here")


def make(
    path: Path, passphrase: str = "", kind: str = "ed25519", comment: str = "ada@laptop"
) -> Path:
    """A key made by ssh-keygen."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", comment, "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def add(environ: dict[str, str], *paths: Path) -> None:
    for path in paths:
        subprocess.run(["ssh-add", "-q", str(path)], check=True, env={**os.environ, **environ})


@pytest.fixture
def agent() -> Iterator[dict[str, str]]:
    """The environment of an ssh-agent of our own."""
    with tempfile.TemporaryDirectory(
        prefix="agent-"
    ) as folder:  # a socket's path is short, pytest's are not
        path = Path(folder) / "socket"
        started = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.PIPE)
        try:
            assert started.stdout is not None
            assert b"SSH_AUTH_SOCK" in started.stdout.readline()  # told when it listens
            yield {"SSH_AUTH_SOCK": str(path)}
        finally:
            started.terminate()
            started.communicate()
