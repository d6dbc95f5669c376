"""Atomic writes, and disk failures as `StorageError`."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from governance.base.errors import StorageError

_ROOM = "free some space, then run this again: nothing half-written was kept"
_RIGHT = "give this account the right to read and write there, then run this again"
SYMPTOMS = {
    "No space left on device": _ROOM,
    "Disk quota exceeded": _ROOM,
    "File too large": _ROOM,
    "database or disk is full": _ROOM,
    "disk I/O error": _ROOM,
    "PytorchStreamWriter failed writing": _ROOM,
    "Read-only file system": _RIGHT,
    "Permission denied": _RIGHT,
    "Operation not permitted": _RIGHT,
    "attempt to write a readonly database": _RIGHT,
    "unable to open database file": _RIGHT,
}
"""Part of a system's or library's message about a disk failure, and what to do."""


def disk_failure(error: BaseException) -> StorageError | None:
    """The disk failure that caused a library's error; None where the cause is another one.

    Only the symptom of a foreign error is reported: its message may quote a record.
    """
    for cause in _causes(error):
        symptom = next((candidate for candidate in SYMPTOMS if candidate in str(cause)), None)
        if symptom is not None:
            where = str(getattr(cause, "filename2", None) or getattr(cause, "filename", None) or "")
            return StorageError(symptom, where=where, fix=SYMPTOMS[symptom])
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, each once."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        yield cause
        cause = cause.__cause__ or cause.__context__


def home_expanded(text: str) -> Path:
    """A path whose `~` is the home folder; as it is where there is no such home."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Writes beside the target, then replaces it in one step. Raises `StorageError`."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        try:
            with os.fdopen(
                os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb"
            ) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot be written: {error.strerror or error}", where=str(path)
        ) from None


@contextmanager
def writing_state(path: Path) -> Iterator[None]:
    """Makes the folder of a file of this machine's state, for this account only. Failures of the
    block become `StorageError`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        yield
    except (OSError, StorageError) as error:
        reason = error.found if isinstance(error, StorageError) else error.strerror
        raise StorageError(
            f"this machine's state cannot be written: {reason}",
            where=str(path),
            fix="free the disk, or set COUNTERSIGN_HOME to a folder that this account can write",
        ) from None


def write_state(path: Path, data: bytes) -> None:
    """Writes a file of this machine's state, which only this account can read. Raises
    `StorageError`.
    """
    with writing_state(path):
        write_atomic(path, data, mode=0o600)
