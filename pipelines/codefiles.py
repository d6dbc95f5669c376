"""The code of this process: every file of the packages `governance` and `pipelines`, by sha256, and
whether it is the code of the commit.

1. The folders are those that this process imports from, wherever they are.
2. Every file counts, templates and tables too. Compiled files do not: no stage reads them
   (`pipelines.boot`).
3. What was imported must be what is on disk: `pipelines.boot` kept the digest of each file it
   compiled.
4. No ignore rule hides a file in these packages, in `policies/`, `rewards/`, `params.yaml`,
   `dvc.yaml` or `countersign.lock`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import governance
import pipelines
from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.attest.predicates import Code
from pipelines import boot, known_files
from pipelines.commit import Commit, UnreadableError, read_commit, untracked

COMPILED = "__pycache__"
NOT_COMPARED = frozenset({"dvc.lock"})
"""Files of the project that DVC writes during a run."""
OWN = ("policies", "rewards")
"""Folders of the project in which every file counts."""
REQUIRED = ("params.yaml", "dvc.yaml", "countersign.lock")
"""Files that decide what runs, and must be committed."""


@dataclass(frozen=True)
class Packages:
    """Both packages as they are on disk now."""

    folders: dict[str, Path]
    files: dict[str, str]
    """`PACKAGE/PATH` to sha256."""
    has_links: bool
    """Whether a file is a link."""

    @property
    def digest(self) -> str:
        """sha256 over the RFC 8785 form of `files`."""
        return sha256_bytes(canonical.dumps(self.files))

    def path(self, name: str) -> str:
        """The file on disk."""
        package, _, rest = name.partition("/")
        return f"{self.folders[package]}/{rest}"


def packages() -> Packages:
    """(1), (2)"""
    folders = {module.__name__: Path(module.__path__[0]) for module in (governance, pipelines)}
    found, has_links = {}, False
    for package, folder in folders.items():
        for entry in _files(str(folder)):
            name = entry.path[len(str(folder)) :].lstrip("/")
            found[f"{package}/{name}"] = _digest(entry)
            has_links |= entry.is_symlink()
    return Packages(folders, found, has_links)


def _digest(entry: os.DirEntry[str]) -> str:
    """sha256 of a file, or of the target's name if it is a link to a folder."""
    if entry.is_symlink() and entry.is_dir():
        return sha256_bytes(os.fsencode(os.readlink(entry.path)))  # noqa: PTH115
    return known_files.digest(entry.path, "sha256", sha256_bytes)


def code(root: Path, before: Code | None = None) -> Code:
    """The code of this process, the commit at `root`, and whether code, parameters or policies
    differ from it.

    `before` is the state when the work began: a change since then counts as a difference. So does
    everything that cannot be told.
    """
    root, here = root.absolute(), packages()
    try:
        commit = read_commit(root)
        same = not _differs(root, commit, here)
    except (UnreadableError, OSError):
        commit, same = None, False
    id_ = commit.id if commit else None
    if before is not None:
        same = same and not before.dirty and (before.commit, before.sources) == (id_, here.digest)
    sources = before.sources if before else here.digest
    return Code(commit=id_, dirty=not same or not _imported_from_disk(here), sources=sources)


def _differs(root: Path, commit: Commit, here: Packages) -> bool:
    return (
        any(_changed(root, commit))
        or any(name not in commit.files for name in REQUIRED)
        or bool(untracked(root, commit) - NOT_COMPARED)
        or any(_extra(root, commit, here))
        or any(_other_code(root, commit, here))
        or here.has_links
    )


def _changed(root: Path, commit: Commit) -> Iterator[str]:
    """Files of the commit that are missing here or have other bytes."""
    for name, blob in commit.files.items():
        if name not in NOT_COMPARED and not blob.is_at(f"{root}/{name}"):
            yield name


def _extra(root: Path, commit: Commit, here: Packages) -> Iterator[str]:
    """(4) Files that the commit does not have, whatever is ignored."""
    below = {folder for folder in here.folders.values() if folder.is_relative_to(root)}
    for folder in (*sorted(below), *(root / name for name in (*here.folders, *OWN))):
        for entry in _files(str(folder)):
            name = entry.path[len(str(root)) :].lstrip("/")
            if name not in commit.files:
                yield name


def _other_code(root: Path, commit: Commit, here: Packages) -> Iterator[str]:
    """Files of this process that differ from the package of that name in the commit. Those at the
    commit's own place are left to `_changed`.

    A package that the commit does not have is installed software: its digest alone identifies it.
    """
    for package in here.folders:
        committed = {name for name in commit.files if name.startswith(f"{package}/")}
        if not committed:
            continue
        imported = {name for name in here.files if name.startswith(f"{package}/")}
        yield from imported ^ committed
        if here.folders[package] != root / package:
            for name in imported & committed:
                if not commit.files[name].is_at(here.path(name)):
                    yield name


def _imported_from_disk(here: Packages) -> bool:
    """(3)"""
    on_disk = {here.path(name): digest for name, digest in here.files.items()}
    folders = tuple(f"{folder}{os.sep}" for folder in here.folders.values())
    return all(
        on_disk.get(path) == digest
        for path, digest in boot.LOADED.items()
        if path.startswith(folders)
    )


def _files(folder: str) -> Iterator[os.DirEntry[str]]:
    """Every file below a folder; a link counts as a file, also one to a folder."""
    try:
        with os.scandir(folder) as scan:
            entries = list(scan)
    except OSError:
        return
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
            yield entry
        elif entry.name != COMPILED:
            yield from _files(entry.path)
