"""A folder that appears in one step: it is written beside its place, under a hidden name.

1. A process that is killed leaves the hidden folder. The next one for the same place removes it.
2. Whoever writes holds a lock on its folder, so nobody removes what another process still writes.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MARK = "unfinished"


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """An empty hidden folder beside `target`, which is removed at the end unless it was moved. What
    killed processes left there is removed first. Raises `OSError`.
    """
    _remove_abandoned(target)
    folder, handle = _made(target)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _made(target: Path) -> tuple[Path, int]:
    """(2) A new folder, and the handle that locks it."""
    while True:
        folder = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}.{MARK}")
        folder.mkdir(mode=0o755)
        with suppress(FileNotFoundError):  # another process took it for abandoned; once more
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            with suppress(OSError):  # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
            if folder.exists():
                return folder, handle
            os.close(handle)


def _remove_abandoned(target: Path) -> None:
    """(1)"""
    name = re.compile(rf"\.{re.escape(target.name[:100])}\.[0-9a-f]{{16}}\.{MARK}")
    for folder in target.parent.iterdir():
        if name.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
            with suppress(OSError):
                _remove_if_free(folder)


def _remove_if_free(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    finally:
        os.close(handle)
