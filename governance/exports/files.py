"""Writes the files of an export: all of them, or none."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from governance.base.errors import ConfigError, StorageError
from governance.base.storage import write_atomic
from governance.exports.catalog import Document


def write(folder: Path, documents: Sequence[Document]) -> list[Path]:
    """Writes all documents below `folder`, or none of them. Raises `StorageError`."""
    refuse_sealed(folder)
    targets = [folder / document.path for document in documents]
    staged = [path.with_name(f".{path.name}.{secrets.token_hex(8)}") for path in targets]
    try:
        for target, temporary, document in zip(targets, staged, documents, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():
                raise IsADirectoryError(21, "is a folder", str(target))
            write_atomic(temporary, document.data)
        for target, temporary in zip(targets, staged, strict=True):
            temporary.replace(target)
    except (OSError, StorageError) as error:
        found = error.found if isinstance(error, StorageError) else f"cannot be written: {error}"
        fix = "give -o FOLDER with enough space that this account may write to"
        raise StorageError(found, where=str(folder), fix=fix) from None
    finally:
        for temporary in staged:
            if temporary.parent.is_dir():
                temporary.unlink(missing_ok=True)
    return targets


def refuse_sealed(folder: Path) -> None:
    """Refuses to write into a model folder, whose content is fixed by its digest. Raises
    `ConfigError`.
    """
    folder = folder.resolve()
    for place in (folder, *folder.parents):
        if place.is_dir() and any(place.glob("*.safetensors")):
            found = "this is a model folder; its content is fixed by its digest"
            raise ConfigError(found, where=str(place), fix="give -o FOLDER outside of it")
