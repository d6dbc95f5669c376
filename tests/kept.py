"""What tests keep from one to the next: compiled code, and the hashes of what is installed.

A state folder compiles its modules and hashes each installed file once, which is six CPU-seconds and
more. Each test has a state folder of its own, so these two parts of it lie in one folder for all
tests. Both are kept under what they depend on: the digest of a source, the status of a file.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

KEPT = Path(tempfile.gettempdir()) / f"countersign-tests-{os.getuid()}"
PARTS = ("bytecode", "installed")


def share(home: Path) -> None:
    """These parts of a state folder are those of all tests."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in PARTS:
        (KEPT / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            (home / name).symlink_to(KEPT / name)
