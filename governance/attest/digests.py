"""Files and folders by sha256.

A folder's digest covers a closed world: every file in it by path, size and content, so that one
file more, less or changed gives another digest. What cannot be described that way is refused:
symbolic links, devices, FIFOs, sockets, empty folders, and names that are odd on some system (not
Unicode, control or invisible characters, backslashes, two names that differ in case or normal form
only). `governance.models` says which files a model folder may contain.
"""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from governance.attest import canonical
from governance.attest.predicates import ModelFile
from governance.base.errors import CountersignError, InputError

SHORTEST = 8
"""The shortest prefix that may name a digest, in characters."""
MAX_FILES = 100_000
MAX_LEVELS = 32


def sha256_bytes(data: bytes) -> str:
    """sha256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """sha256 of a regular file's content. Raises `InputError`."""
    return _hash(path, follow=True)[0]


def manifest(folder: Path) -> list[ModelFile]:
    """Every file below `folder`, by POSIX path in code point order. Raises `InputError` for what is
    refused.
    """
    return [_entry(folder, folder / path) for path in paths(folder)]


def paths(folder: Path) -> list[str]:
    """The POSIX path of every file below `folder`, in code point order, unread. Raises as
    `manifest`.
    """
    if not folder.is_dir():
        raise InputError("no such folder", where=str(folder))
    files = [path.relative_to(folder).as_posix() for path in _walk(folder, folder, MAX_LEVELS)]
    if not files:
        raise InputError("the folder is empty", where=str(folder), expected="at least one file")
    return sorted(files)


def manifest_digest(files: Sequence[ModelFile]) -> str:
    """sha256 over the RFC 8785 form of a manifest, in the order of its paths."""
    ordered = sorted(files, key=lambda file: file.path)
    return sha256_bytes(canonical.dumps([file.model_dump(mode="json") for file in ordered]))


def tree_digest(folder: Path) -> str:
    """The digest of a folder: that of its manifest."""
    return manifest_digest(manifest(folder))


def digest_of(path: Path) -> str:
    """The digest of a file, or of a folder."""
    return tree_digest(path) if path.is_dir() else sha256_file(path)


def difference(expected: Sequence[ModelFile], found: Sequence[ModelFile]) -> list[str]:
    """In words, how `found` differs from `expected`: one line per file missing, added or
    changed.
    """
    expected_files = {file.path: file for file in expected}
    found_files = {file.path: file for file in found}
    missing = sorted(expected_files.keys() - found_files.keys())
    extra = sorted(found_files.keys() - expected_files.keys())
    both = sorted(expected_files.keys() & found_files.keys())
    changed = [path for path in both if expected_files[path] != found_files[path]]
    return [
        *(f"{path}: missing" for path in missing),
        *(f"{path}: not in the manifest" for path in extra),
        *(f"{path}: content changed" for path in changed),
    ]


def _entry(folder: Path, path: Path) -> ModelFile:
    digest, size = _hash(path, follow=False)
    return ModelFile(path=path.relative_to(folder).as_posix(), size=size, sha256=digest)


def _walk(root: Path, folder: Path, levels: int) -> Iterator[Path]:
    """Regular files below `folder`; the first odd thing raises."""
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(folder, error) from None
    if levels == 0 or len(entries) > MAX_FILES:
        limits = f"at most {MAX_LEVELS} levels, {MAX_FILES} files"
        raise InputError("the folder is too deep or too full", where=str(folder), expected=limits)
    if not entries and folder != root:
        raise InputError("empty folder", where=str(folder), fix="remove it: no manifest names it")
    _refuse_names(folder, [entry.name for entry in entries])
    for entry in entries:
        if entry.is_symlink():
            fix = (
                "copy what it points to; where DVC made it: `dvc config cache.type"
                " reflink,hardlink,copy`, then `dvc checkout --relink`"
            )
            raise InputError("symbolic link", where=entry.path, fix=fix)
        if entry.is_dir():
            yield from _walk(root, Path(entry.path), levels - 1)
        elif entry.is_file():
            yield Path(entry.path)
        else:
            found = "neither file nor folder (device, FIFO or socket)"
            raise InputError(found, where=entry.path, fix="remove it")


def _refuse_names(folder: Path, names: list[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        refused = [char for char in name if char == "\\" or unicodedata.category(char) in _ODD]
        if refused:
            codes = ", ".join(f"U+{ord(char):04X}" for char in refused)
            where = f"{folder}/{ascii(name)[1:-1]}"
            raise InputError(f"odd character in a file name: {codes}", where=where, fix="rename it")
        folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
        if folded in seen:
            found = f"{seen[folded]!r} and {name!r} are one name on some systems"
            raise InputError(found, where=str(folder), fix="rename one of them")
        seen[folded] = name


_ODD = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories no name may have: control, invisible, surrogate (not UTF-8), private,
unassigned, line ends.
"""


def _hash(path: Path, *, follow: bool) -> tuple[str, int]:
    """sha256 and size of the bytes read. O_NONBLOCK so that a FIFO in the file's place cannot hang
    us.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise InputError("not a regular file", where=str(path))
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return digest, file.tell()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> CountersignError:
    if isinstance(error, FileNotFoundError):
        return InputError("no such file", where=str(path))
    return InputError(f"cannot be read: {error.strerror or error}", where=str(path))
