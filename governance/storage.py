"""Files that are whole or not there."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from governance.errors import StorageError


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Writes beside the target, then replaces it in one step. Raises `StorageError`."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror or error}", where=str(path)) from None
