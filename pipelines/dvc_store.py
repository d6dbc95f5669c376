"""DVC's cache and remotes, for reading single objects by their id. Remotes are DVC's own.

1. Each file is compared with its id while it is copied: a spoiled object of the cache counts as
   missing there, and one of a remote as missing there.
2. What a remote has is fetched to a scratch folder. The cache does not change.
3. DVC's messages are not shown; its errors become reasons.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from governance.attest.predicates import DvcObject
from governance.base.errors import CountersignError, InputError, StorageError, unknown
from pipelines.dvc_errors import translated
from pipelines.paths import is_inside

FOLDER = ".dir"
QUIET = ("dvc", "dvc_data", "dvc_objects", "fsspec", "asyncio")
_BLOCK = 1 << 20


class NotThereError(Exception):
    """The object is in no place that was asked."""


@dataclass(frozen=True)
class Place:
    """A cache, or what was fetched from a remote."""

    name: str
    files: Any
    """DVC's `HashFileDB`."""

    def file(self, md5: str) -> Path | None:
        """The file of an object, if it has the object's bytes."""
        path = Path(self.files.oid_to_path(md5))
        return path if path.is_file() and _md5(path) == md5.removesuffix(FOLDER) else None


@dataclass(frozen=True)
class Store:
    """The cache of a project, and a remote: `remote`, or the project's default."""

    repo: Any
    """DVC's `Repo`."""
    remote: str | None
    scratch: Path
    """An empty folder for what is fetched."""

    @cached_property
    def cache(self) -> Place:
        """DVC's cache on this machine."""
        return Place("cache", self.repo.cache.local)

    @cached_property
    def fetched(self) -> Place:
        """What was fetched."""
        from dvc.fs import localfs
        from dvc_data.hashfile.db import get_odb

        made: Any = get_odb(localfs, str(self.scratch), hash_name="md5")  # type: ignore[no-untyped-call, unused-ignore]
        return Place("remote", made)

    def has(self, wanted: DvcObject) -> bool:
        """Whether the cache has the object with all its files, by their names: no byte is read."""
        listed = self.cache.file(wanted.md5) if wanted.md5.endswith(FOLDER) else None
        if wanted.md5.endswith(FOLDER) and listed is None:
            return False
        ids = _files(listed).values() if listed else [wanted.md5]
        return all(Path(self.cache.files.oid_to_path(md5)).is_file() for md5 in ids)

    def cached(self, wanted: DvcObject) -> dict[str, Path]:
        """The files of an object in the cache, by their paths below it; `.` is the object itself
        where it is a file. Raises `InputError` where the cache does not have all of them.
        """
        try:
            found = self._found([wanted.md5], remote=False)
            if not wanted.md5.endswith(FOLDER):
                return {".": found[wanted.md5]}
            files = _files(found[wanted.md5])
            paths = self._found(set(files.values()), remote=False)
        except NotThereError:
            raise InputError("DVC's cache does not have it", where=wanted.path) from None
        return {name: paths[md5] for name, md5 in files.items()}

    def take(self, wanted: DvcObject, target: Path, *, remote: bool) -> None:
        """Writes an object to `target`, from the cache, or also from the remote. Raises
        `NotThereError`, or `CountersignError` if the remote cannot be asked.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        if not wanted.md5.endswith(FOLDER):
            shutil.copyfile(self._found([wanted.md5], remote)[wanted.md5], target)
            return
        files = _files(self._found([wanted.md5], remote)[wanted.md5])
        found = self._found(set(files.values()), remote)
        target.mkdir()
        for name, md5 in files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found[md5], target / name)

    def _found(self, ids: Collection[str], remote: bool) -> dict[str, Path]:
        """(1) Id to file, of all ids."""
        places = [self.cache, self.fetched]
        found = {md5: path for md5 in ids for path in [_first(places, md5)] if path}
        missing = set(ids) - found.keys()
        if missing and remote:
            self._fetch(missing)
            found |= {md5: path for md5 in missing if (path := self.fetched.file(md5))}
        if len(found) < len(set(ids)):
            raise NotThereError
        return found

    def _fetch(self, ids: Collection[str]) -> None:
        """(2)"""
        from dvc_data.hashfile.hash_info import HashInfo
        from dvc_data.hashfile.transfer import transfer

        if self.remote is None and not self.repo.config["core"].get("remote"):
            raise InputError("there is no default one; `dvc remote add -d NAME URL` sets it")
        with quiet():
            try:
                source = self.repo.cloud.get_remote_odb(self.remote, "fetch")
                wanted = {HashInfo("md5", md5) for md5 in ids}
                files = self.fetched.files
                transfer(source, files, wanted, cache_odb=files)
            except FileNotFoundError:
                return  # it does not have a list of files
            except Exception as error:
                raise _reason(error) from error


@contextmanager
def store(root: Path, remote: str | None, scratch: Path) -> Iterator[Store]:
    """The cache and remote of the project at `root`. Raises `ConfigError` for an unknown remote,
    and DVC's errors as ours.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        repo = Repo(str(root))
    except DvcException as error:
        raise translated(error) from error
    with repo:
        remotes = sorted(repo.config["remote"])
        if remote is not None and remote not in remotes:
            raise unknown("DVC remote", remote, remotes, "--remote")
        yield Store(repo, remote, scratch)


def _first(places: list[Place], md5: str) -> Path | None:
    return next(filter(None, (place.file(md5) for place in places)), None)


def _files(listing: Path) -> dict[str, str]:
    """Name to id, of DVC's list of a folder's files. Raises `InputError` for one that is none, or
    that names a file outside the folder.
    """
    try:
        rows = json.loads(listing.read_bytes())
        files = {row["relpath"]: row["md5"] for row in rows}
        hexadecimal = all(int(md5, 16) >= 0 and len(md5) == 32 for md5 in files.values())
    except (ValueError, TypeError, KeyError):
        files, hexadecimal = {}, False
    if not hexadecimal or not all(is_inside(name) for name in files):
        raise InputError("DVC's list of a folder is not one", where=str(listing))
    return files


def _md5(path: Path) -> str:
    made = hashlib.md5(usedforsecurity=False)  # DVC's id; sha256 proves
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            made.update(block)
    return made.hexdigest()


@contextmanager
def quiet() -> Iterator[None]:
    """(3)"""
    levels = {name: logging.getLogger(name).level for name in QUIET}
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _reason(error: Exception) -> CountersignError:
    """An error of DVC, or of the library of a remote."""
    ours = translated(error)
    if type(ours) is CountersignError:
        found = f"the remote cannot be read: {type(error).__name__}"
        return StorageError(found, fix="`dvc fetch` shows more")
    return ours
