"""Checks paths of artifacts as callers give them: after every decoding, and on the disk."""

from __future__ import annotations

import os
import stat
import unicodedata
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from governance.base.errors import RefusedError

RESERVED = (".artifact.uploading.", ".incoming")
"""Beginnings of names that are the server's own."""
MAX_NAME, MAX_PATH = 255, 2048
"""Bytes of a name, as file systems have it, and of a path below the root."""


def checked(path: str) -> PurePosixPath:
    """The path, relative to the artifact root; empty for the root itself. Raises `RefusedError`."""
    if unquote(path) != path:  # it would be another path after the next decoding
        raise _refused(path, "it is percent-encoded")
    if path.startswith("/") or "\\" in path or ":" in path:
        raise _refused(path, "it is absolute, or has a backslash or a colon")
    parts = [part for part in path.split("/") if part]
    if any(set(part) == {"."} for part in parts):
        raise _refused(path, "it leaves its folder")
    if any(unicodedata.category(char).startswith("C") for char in path):
        raise _refused(path, "it has invisible characters")
    # some file systems take names in capitals for the same
    if any(part != part.strip() or part.casefold().startswith(RESERVED) for part in parts):
        raise _refused(path, "a part of it is reserved, or begins or ends with space")
    if any(len(part.encode()) > MAX_NAME for part in parts) or len(path.encode()) > MAX_PATH:
        raise _refused(path, "it is too long")
    return PurePosixPath(*parts)


def without_links(root: Path, relative: PurePosixPath) -> Path:
    """The file or folder below `root`. Raises `RefusedError` where a part of it is a link, a device
    or a pipe.
    """
    path = root
    for part in relative.parts:
        path = path / part
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            return root / relative
        except NotADirectoryError:
            raise _refused(str(relative), "a part of it is a file") from None
        if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            raise _refused(str(relative), "a part of it is a link or no plain file")
    return path


def _refused(path: str, why: str) -> RefusedError:
    return RefusedError(
        f"the path {path[:300]!r} is refused: {why}", fix="give a plain relative path"
    )
