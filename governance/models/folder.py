"""A model folder against its registered manifest: these files with these bytes, and nothing else.

1. The manifest is held first: its digest is the registered one, and every path in it is plain,
   relative, of a kind that only carries numbers and text, and one path on every system.
2. Then the folder's names: nothing extra, nothing missing, no link of any kind, nothing that is not
   a file.
3. Then the bytes: size and sha256 of every file, and that each is what its name says
   (`governance.models.files`).
4. Whoever loads a model loads a copy that nobody else writes (`take`), and holds that copy against
   the manifest. What changes in the folder after that, or while it is copied, is either found in
   the copy or not in it.

`check` says what a folder is at one moment; the caller must keep others from writing to it, or use
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


def check(folder: Path, files: Sequence[ModelFile], digest: str) -> list[Fault]:
    """Everything that keeps `folder` from being the model of this manifest and digest; empty where
    nothing does.
    """
    return (
        check_manifest(files, digest)  # (1)
        or check_names(folder, files)  # (2)
        or [*check_bytes(folder, files)]  # (3)
    )


def enforce(folder: Path, files: Sequence[ModelFile], digest: str) -> None:
    """As `check`. Raises `VerificationError` with every fault."""
    refuse(check(folder, files, digest), str(folder))


def refuse(faults: Sequence[Fault], where: str) -> None:
    """Raises `VerificationError` with every fault, if there is one."""
    if faults:
        told = "\n  ".join(str(fault) for fault in faults[:20])
        more = f"\n  and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise VerificationError(
            f"these are not the registered model's files\n  {told}{more}",
            where=where,
            expected="every file of its manifest, byte for byte, and nothing else",
            fix="take the model from the registry again; never load it as it is",
        )


def check_manifest(files: Sequence[ModelFile], digest: str) -> list[Fault]:
    """(1) What is wrong with a manifest, whatever the folder."""
    found = [Fault(file.path, reason) for file in files if (reason := path_fault(file.path))]
    found += [Fault(file.path, f"a size of {file.size} bytes") for file in files if file.size < 0]
    pairs = () if found else collisions(file.path for file in files)
    found += [Fault(two, f"is one path with {one} on some systems") for one, two in pairs]
    if not files:
        found.append(Fault(".", "the manifest names no file"))
    if not found and digests.manifest_digest(files) != digest:
        found.append(Fault(".", f"the manifest is not the one of model {digest[:12]}"))
    return found


def check_names(folder: Path, files: Sequence[ModelFile]) -> list[Fault]:
    """(2) What the folder holds besides, lacks, or holds in another form than a file of its own.
    Reads no file.
    """
    try:
        have = set(digests.paths(folder))
    except InputError as error:
        return [Fault(_within(folder, error.where), error.found)]
    want = {file.path for file in files}
    found = [Fault(path, "missing") for path in sorted(want - have)]
    found += [Fault(path, "not in the manifest") for path in sorted(have - want)]
    for path in sorted(have):
        try:
            links = (folder / path).stat(follow_symlinks=False).st_nlink
        except OSError as error:
            found.append(Fault(path, f"cannot be read: {error.strerror}"))
        else:
            found += (
                [Fault(path, "a hard link: it can be written by another name")] if links > 1 else []
            )
    return found


def check_bytes(folder: Path, files: Sequence[ModelFile]) -> Iterator[Fault]:
    """(3) Files whose bytes are others, or are not what the name says."""
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
            found = (
                f"sha256 {digest[:12]} for {file.sha256[:12]}"
                if digest
                else f"{size} bytes for {file.size}"
            )
            yield Fault(file.path, f"content changed: {found}")
        elif reason := content_fault(path):
            yield Fault(file.path, reason)
    try:
        weights.check_index(folder)
    except InputError as error:
        yield Fault(_within(folder, error.where), error.found)


def take(files: Sequence[ModelFile], digest: str, fetch: Fetch, into: Path) -> None:
    """(4) Fetches the files of a manifest into the new folder `into` and holds what arrived against
    it.

    The folder is this account's alone and closed for writing when the check begins. Raises
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
        enforce(into, files, digest)
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
    """Copies from a folder: no link is followed, on the way or at its end, and no more is read than
    is expected.
    """

    def fetch(file: ModelFile, target: Path) -> None:
        descriptor = _open_below(folder, file.path)
        with os.fdopen(descriptor, "rb") as source, _new(target) as copy:
            left = file.size + 1  # one byte more shows that it has grown
            while left and (data := source.read(min(CHUNK, left))):
                copy.write(data)
                left -= len(data)

    return fetch


def copied(folder: Path, files: Sequence[ModelFile], digest: str, into: Path) -> None:
    """`take` from a folder, whose own names are held against the manifest as well."""
    refuse(check_names(folder, files), str(folder))
    take(files, digest, from_folder(folder), into)


def _open_below(folder: Path, path: str) -> int:
    """A descriptor of a regular file, each step opened from the one before. Raises
    `VerificationError`.
    """
    *folders, name = path.split("/")
    at = -1
    try:
        at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in folders:
            following = os.open(
                part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at
            )
            os.close(at)
            at = following
        found = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    except OSError as error:
        raise VerificationError(
            f"cannot be read: {error.strerror}", where=f"{folder}/{path}"
        ) from None
    finally:
        if at >= 0:
            os.close(at)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise VerificationError("not a regular file", where=f"{folder}/{path}")
    return found


def _new(target: Path) -> BinaryIO:
    return os.fdopen(
        os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb"
    )


def _within(folder: Path, where: str) -> str:
    """A path as the folder knows it."""
    return where.removeprefix(str(folder)).lstrip("/") or "."
