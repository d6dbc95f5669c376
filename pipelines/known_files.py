"""Digests of files that are asked for again and again: each file is read once per change.

1. They are kept in memory: by this process, and by its forks.
2. A file is read again when its size, device, inode, time of content or time of change is another.
   Programs cannot set the time of change (`st_ctime`).
3. A file that changed within the last seconds is read each time: a clock of the file system has
   ticks, and it may change again within one.

For code, parameters and policies. Data and models are hashed where they are used.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

RECENT_NANOSECONDS = 2_000_000_000
"""(3)"""

Status = tuple[int, int, int, int, int]
"""Size, device, inode, time of content, time of change."""
_KNOWN: dict[tuple[str, str], tuple[Status, str]] = {}
"""Path and kind of digest to the file's status and its digest."""


def digest(
    path: str, kind: str, of: Callable[[bytes], str], found: os.stat_result | None = None
) -> str:
    """The digest that `of` gives for the file's bytes; `kind` names it. `found`: the file's status,
    where the caller has just asked for it. Raises `OSError`.
    """
    found = found or os.stat(path)  # noqa: PTH116 - for many files
    status = (
        found.st_size, found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns,
    )  # fmt: skip
    known = _KNOWN.get((path, kind))
    if known is not None and known[0] == status:
        return known[1]
    now = time.time_ns()
    with open(path, "rb") as stream:  # noqa: PTH123
        made = of(stream.read())
    if max(status[3:]) < now - RECENT_NANOSECONDS:
        _KNOWN[path, kind] = status, made
    return made
