"""Compares a model folder with its registered manifest: these files, these bytes, nothing else.

1. First the manifest: its digest is the registered one. Every path in it is relative, of an allowed
   kind, and the same on every system.
2. Then the names in the folder: nothing extra, nothing missing, no links, only files.
3. Then the bytes: size and sha256 of every file, and its content fits its name
   (`governance.models.files`).
4. A loader loads a copy that nobody else writes (`take`), and compares this copy with the manifest.
   A change of the folder during or after the copy is found in the copy, or is not in it.

`check` describes a folder at one moment. The caller must keep others from writing to it, or use
`take`.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from governance.attest import digests
from governance.attest.predicates import ModelFile
from governance.base.errors import InputError, StorageError, VerificationError
from governance.models import weights
from governance.models.files import collisions, content_fault, path_fault

CHUNK = 1 << 20

Fetch = Callable[[ModelFile, Path], None]
"""Writes one file of a manifest to a path. Raises where there is no such file."""


@dataclass(frozen=True)
class Fault:
    """Why a folder is not the model: one reason about one file, or about the folder (`.`)."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def check(
    folder: Path, files: Sequence[ModelFile], digest: str, *, configs: bool = True
) -> list[Fault]:
    """Every fault of `folder` as the model of this manifest and digest; empty without one.

    `configs`: see `governance.models.files.content_fault`.
    """
    return (
        check_manifest(files, digest)  # (1)
        or check_names(folder, files)  # (2)
        or [*check_bytes(folder, files, configs=configs)]  # (3)
    )


def enforce(folder: Path, files: Sequence[ModelFile], digest: str, *, configs: bool = True) -> None:
    """As `check`. Raises `VerificationError` with every fault."""
    refuse(check(folder, files, digest, configs=configs), str(folder))


def refuse(faults: Sequence[Fault], where: str) -> None:
    """Raises `VerificationError` with the faults, if there are any."""
    if faults:
        listed = "\n  ".join(str(fault) for fault in faults[:20])
        more = f"\n  and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise VerificationError(
            f"these are not the registered model's files\n  {listed}{more}",
            where=where,
            expected="every file of its manifest, byte for byte, and nothing else",
            fix="take the model from the registry again; never load it as it is",
        )


def check_manifest(files: Sequence[ModelFile], digest: str) -> list[Fault]:
    """(1) The faults of the manifest itself."""
    faults = [Fault(file.path, reason) for file in files if (reason := path_fault(file.path))]
    faults += [Fault(file.path, f"a size of {file.size} bytes") for file in files if file.size < 0]
    pairs = () if faults else collisions(file.path for file in files)
    faults += [Fault(path, f"is one path with {other} on some systems") for other, path in pairs]
    if not files:
        faults.append(Fault(".", "the manifest names no file"))
    if not faults and digests.manifest_digest(files) != digest:
        faults.append(Fault(".", f"the manifest is not the one of model {digest[:12]}"))
    return faults


def check_names(folder: Path, files: Sequence[ModelFile]) -> list[Fault]:
    """(2) The extra, missing and linked files of the folder. Reads no file."""
    try:
        present = set(digests.paths(folder))
    except InputError as error:
        return [Fault(_within(folder, error.where), error.found)]
    expected = {file.path for file in files}
    faults = [Fault(path, "missing") for path in sorted(expected - present)]
    faults += [Fault(path, "not in the manifest") for path in sorted(present - expected)]
    for path in sorted(present):
        try:
            links = (folder / path).stat(follow_symlinks=False).st_nlink
        except OSError as error:
            faults.append(Fault(path, f"cannot be read: {error.strerror}"))
        else:
            faults += (
                [Fault(path, "a hard link: it can be written by another name")] if links > 1 else []
            )
    return faults


def check_bytes(
    folder: Path, files: Sequence[ModelFile], *, configs: bool = True
) -> Iterator[Fault]:
    """(3) The files with other bytes, or with content that does not fit the name."""
    for file in files:
        path = folder / file.path
        try:
            size = path.stat().st_size
            digest = (
                digests.sha256_file(path) if size == file.size else ""
            )  # a file with holes takes hours to hash
        except (OSError, InputError) as error:
            yield Fault(file.path, f"cannot be read: {error}")
            continue
        if (size, digest) != (file.size, file.sha256):
            difference = (
                f"sha256 {digest[:12]} for {file.sha256[:12]}"
                if digest
                else f"{size} bytes for {file.size}"
            )
            yield Fault(file.path, f"content changed: {difference}")
        elif reason := content_fault(path, configs=configs):
            yield Fault(file.path, reason)
    try:
        weights.check_index(folder)
    except InputError as error:
        yield Fault(_within(folder, error.where), error.found)


def take(
    files: Sequence[ModelFile], digest: str, fetch: Fetch, into: Path, *, configs: bool = True
) -> None:
    """(4) Fetches the files of a manifest into the new folder `into` and compares them with it.

    Only this account can read the folder, and its files are read-only before the check. Raises
    `VerificationError`.
    """
    refuse(check_manifest(files, digest), "the registered manifest")
    try:
        into.mkdir(mode=0o700)
        for file in files:
            target = into / file.path
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fetch(file, target)
            target.chmod(0o400)
        enforce(into, files, digest, configs=configs)
    except OSError as error:
        discard(into)
        raise StorageError(
            f"cannot be written: {error.strerror or error}", where=str(into)
        ) from None
    except BaseException:
        discard(into)
        raise


def discard(folder: Path) -> None:
    """Removes a folder that `take` made."""
    shutil.rmtree(folder, ignore_errors=True)


def from_folder(folder: Path) -> Fetch:
    """Copies files from a folder. It follows no link and reads no more than the expected size."""

    def fetch(file: ModelFile, target: Path) -> None:
        descriptor = _open_below(folder, file.path)
        with os.fdopen(descriptor, "rb") as source, _new(target) as copy:
            left = file.size + 1  # one byte more shows that it has grown
            while left and (data := source.read(min(CHUNK, left))):
                copy.write(data)
                left -= len(data)

    return fetch


def copied(
    folder: Path, files: Sequence[ModelFile], digest: str, into: Path, *, configs: bool = True
) -> None:
    """As `take`, from a folder. The names in that folder are compared with the manifest, too."""
    refuse(check_names(folder, files), str(folder))
    take(files, digest, from_folder(folder), into, configs=configs)


def _open_below(folder: Path, path: str) -> int:
    """Opens a regular file, each folder of the path relative to the one before. Returns the
    descriptor. Raises `VerificationError`.
    """
    *folders, name = path.split("/")
    folder_descriptor = -1
    try:
        folder_descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in folders:
            following = os.open(
                part,
                os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC,
                dir_fd=folder_descriptor,
            )
            os.close(folder_descriptor)
            folder_descriptor = following
        descriptor = os.open(
            name,
            os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC,
            dir_fd=folder_descriptor,
        )
    except OSError as error:
        raise VerificationError(
            f"cannot be read: {error.strerror}", where=f"{folder}/{path}"
        ) from None
    finally:
        if folder_descriptor >= 0:
            os.close(folder_descriptor)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise VerificationError("not a regular file", where=f"{folder}/{path}")
    return descriptor


def _new(target: Path) -> BinaryIO:
    return os.fdopen(
        os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb"
    )


def _within(folder: Path, where: str) -> str:
    """The path relative to the folder."""
    return where.removeprefix(str(folder)).lstrip("/") or "."
