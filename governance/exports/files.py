"""Writes the files of an export: all of them, or none."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from governance.base.errors import ConfigError, StorageError
from governance.exports.catalog import Document


def write(folder: Path, documents: Sequence[Document]) -> list[Path]:
    """Writes all documents below `folder`, or none of them. Raises `StorageError`."""
    refuse_sealed(folder)
    staged: list[tuple[Path, Path]] = []
    try:
        for document in documents:
            staged.append(_stage(folder / document.path, document.data))
        for temporary, target in staged:
            temporary.replace(target)
    except OSError as error:
        raise StorageError(
            f"cannot be written: {error.strerror or error}",
            where=str(folder),
            fix="give -o FOLDER with enough space that this account may write to",
        ) from None
    finally:
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)
    return [target for _, target in staged]


def _stage(target: Path, data: bytes) -> tuple[Path, Path]:
    """Writes the document to a temporary file beside its target."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        raise IsADirectoryError(21, "is a folder", str(target))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary, target


def refuse_sealed(folder: Path) -> None:
    """Refuses to write into a model folder, whose content is fixed by its digest. Raises
    `ConfigError`.
    """
    folder = folder.resolve()
    for place in (folder, *folder.parents):
        if place.is_dir() and any(place.glob("*.safetensors")):
            raise ConfigError(
                "this is a model folder; its content is fixed by its digest",
                where=str(place),
                fix="give -o FOLDER outside of it",
            )
