"""DVC's remotes: what an erasure deletes there, and what it could not read.

1. An object of a remote on a file system here is read like a file of the cache.
2. Of any other remote, the objects go whose ids the project or its cache had. What else it has is
   counted as not read.
3. A remote that does not answer is named, and the erasure goes on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from governance.base.errors import CountersignError, StorageError
from governance.base.model import Model
from pipelines.dvc_store import quiet, store
from pipelines.erasing.sought import Sought


class Object(Model):
    """An object that is to be deleted."""

    remote: str
    oid: str


@dataclass
class Remotes:
    """What an erasure finds in the remotes."""

    objects: list[Object] = field(default_factory=list)
    not_read: int = 0
    """(2)"""
    unreachable: list[str] = field(default_factory=list)
    """(3) Their names."""


def names(root: Path) -> list[str]:
    """The remotes of a project."""
    try:
        with store(root, None, root) as kept:
            return sorted(kept.repo.config["remote"])
    except CountersignError:
        return []


def planned(root: Path, sought: Sought, ids: Collection[str]) -> Remotes:
    """The objects with these ids in every remote, and those that hold what is sought."""
    found = Remotes()
    for name in names(root):
        with store(root, name, root) as kept, quiet():
            try:
                _look(kept.repo, name, sought, ids, found)
            except Exception:  # noqa: BLE001 - each kind of remote has errors of its own library
                found.unreachable.append(name)
    return found


def _look(repo: Any, name: str, sought: Sought, ids: Collection[str], found: Remotes) -> None:
    objects = repo.cloud.get_remote_odb(name)
    local = objects.fs.protocol == "local"
    if local and not Path(objects.path).exists():
        raise FileNotFoundError(name)
    for oid in list(objects.all()):
        if oid in ids or (local and sought.in_file(Path(objects.oid_to_path(oid)))):
            found.objects.append(Object(remote=name, oid=oid))
        elif not local:
            found.not_read += 1


def delete(root: Path, wanted: Sequence[Object]) -> None:
    """Deletes objects; those that are gone by now are left out. Raises `StorageError`."""
    for name in sorted({each.remote for each in wanted}):
        with store(root, name, root) as kept, quiet():
            try:
                objects = kept.repo.cloud.get_remote_odb(name)
                for each in wanted:
                    if each.remote == name and objects.exists(each.oid):
                        objects.fs.remove(objects.oid_to_path(each.oid))
            except Exception as error:  # noqa: BLE001 - as above
                found = f"remote {name}: objects cannot be deleted ({type(error).__name__})"
                fix = "make it reachable, then run this again: it goes on where it stopped"
                raise StorageError(found, fix=fix) from None


def holding(root: Path, sought: Sought) -> Iterator[tuple[str, Path]]:
    """(1) The files of remotes here that hold what is sought, with the remote's name."""
    for name in names(root):
        with store(root, name, root) as kept, quiet():
            objects = kept.repo.cloud.get_remote_odb(name)
            if objects.fs.protocol == "local" and Path(objects.path).exists():
                paths = [Path(objects.oid_to_path(oid)) for oid in objects.all()]
                yield from ((name, path) for path in paths if sought.in_file(path))
