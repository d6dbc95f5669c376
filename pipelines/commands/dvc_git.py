"""Git's index as DVC asks for it. DVC reads all of it for each output of a stage that ran, to see
whether git tracks that output; here it is read once per change. The answers are the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

Status = tuple[int, int, int, int]
"""Size, inode, time of the content, time of change. Git replaces the file to change it."""


def install() -> None:
    """From now on, DVC in this process asks that way."""
    from scmrepo.git.backend.dulwich import DulwichBackend

    slow = DulwichBackend.is_tracked
    kept: dict[tuple[str, Status], frozenset[bytes]] = {}

    def is_tracked(self: Any, path: str) -> bool:
        index = self.repo.index_path()
        try:
            key = index, _status(index)
        except OSError:
            return bool(slow(self, path))
        if key not in kept:
            kept.clear()
            kept[key] = frozenset(_with_folders(self.repo.open_index()))
        place = os.path.relpath(path, self.root_dir).replace(os.sep, "/")
        return place.encode() in kept[key]

    backend: Any = DulwichBackend
    backend.is_tracked = is_tracked


def _status(path: str) -> Status:
    status = os.stat(path)  # noqa: PTH116
    return status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def _with_folders(paths: Iterable[bytes]) -> Iterator[bytes]:
    """Each file, and each folder that it lies in."""
    for path in paths:
        place = path
        while place:
            yield place
            place = place.rpartition(b"/")[0]
