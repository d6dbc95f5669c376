"""Paths of artifacts as callers give them, checked after every decoding, and against what stands on
the disk.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from governance.base.errors import RefusedError

RESERVED = (".artifact.uploading.", ".incoming")
"""Beginnings of names that are the server's own."""
MAX_DECODINGS = 8
MAX_NAME, MAX_PATH = 255, 2048
"""Bytes of a name, as file systems have it, and of a path below the root."""


def checked(path: str) -> PurePosixPath:
    """The path, relative to the artifact root; empty for the root itself. Raises `RefusedError`."""
    if _decoded(path) != path:
        raise _refused(path, "it is percent-encoded, and means another path to whoever decodes it")
    if path.startswith("/") or "\\" in path or ":" in path:
        raise _refused(path, "it is absolute, or holds a backslash or a colon")
    parts = [part for part in path.split("/") if part]
    if any(set(part) == {"."} for part in parts):
        raise _refused(path, "it leaves its folder")
    if any(unicodedata.category(char).startswith("C") for char in path):
        raise _refused(path, "it holds characters that nobody sees")
    if any(part != part.strip() or part.startswith(RESERVED) for part in parts):
        raise _refused(path, "a part of it is reserved, or begins or ends with space")
    if any(len(part.encode()) > MAX_NAME for part in parts) or len(path.encode()) > MAX_PATH:
        raise _refused(path, "it is longer than any file's")
    return PurePosixPath(*parts)


def without_links(root: Path, relative: PurePosixPath) -> Path:
    """The file or folder below `root`, no part of it a link, a device or a pipe. Raises
    `RefusedError`.
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


def _decoded(path: str) -> str:
    for _ in range(MAX_DECODINGS):
        once = unquote(path)
        if once == path:
            break
        path = once
    return path


def _refused(path: str, why: str) -> RefusedError:
    return RefusedError(
        f"the path {path[:300]!r} is refused: {why}", fix="give a plain relative path"
    )
