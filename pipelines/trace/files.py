"""The files that evidence names and that hold record ids, and where they are on this machine: in
the project, or in DVC's cache, where older versions stay.

A file counts only with the sha256 of the evidence. Nothing is copied or fetched.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from governance.attest.digests import manifest, manifest_digest, sha256_bytes, sha256_file
from governance.attest.predicates import DvcObject, Registration
from governance.attest.predicates.parts import ModelFile
from governance.base.errors import CountersignError, InputError
from governance.history.state import LogState
from pipelines import dvc_lock
from pipelines.dvc_store import Store, store
from pipelines.trace.steps import Step, artifact

BESIDE = ("excluded", "lineage")
"""Roles of files with record ids, beside the records."""


Place = tuple[str, str]
"""An object of DVC or the state of a file, and the name that was looked at in it."""
Known = MutableMapping[Place, str]
"""What is at a place, by sha256."""


@dataclass(frozen=True, order=True)
class Content:
    """A folder or file that evidence names."""

    sha256: str
    role: str
    """`records`, `excluded`, `lineage` or `answers`."""


@dataclass(frozen=True)
class Part:
    """A file of a content."""

    path: Path
    sha256: str

    def read(self) -> bytes:
        """Its bytes. Raises `InputError` if they are other ones by now."""
        data = self.path.read_bytes()
        if sha256_bytes(data) != self.sha256:
            raise InputError("the file changed while it was read", where=str(self.path))
        return data


def contents_of(steps: Iterable[Step]) -> dict[Content, set[str]]:
    """Every content of these steps to its names in the project."""
    found: dict[Content, set[str]] = defaultdict(set)
    for step in steps:
        for role in (step.role, *BESIDE):
            named = artifact(step.statement, role)
            if named is not None:
                found[Content(named.sha256, role)].add(named.name)
    return dict(found)


@dataclass(frozen=True)
class Files:
    """The files of a project's folder and of its DVC cache."""

    root: Path
    registered: Collection[DvcObject] = ()
    """What DVC keeps of registered versions."""

    @classmethod
    def of(cls, root: Path, now: LogState) -> Files:
        """Of a project with this log."""
        states = (each.predicate.dvc for each in now.evidence.all(Registration))
        return cls(root, [each for state in states if state for each in state.objects])

    @cached_property
    def objects(self) -> Collection[DvcObject]:
        """What DVC may have: of registered versions, and of the project's dvc.lock."""
        here = [
            DvcObject(path=item["path"], md5=item["md5"], size=0, stage=name)
            for name, entry in dvc_lock.read(self.root).items()
            for item in dvc_lock.items(entry, "outs")
        ]
        return {(each.md5, each.path): each for each in (*self.registered, *here)}.values()

    def found(
        self, wanted: Mapping[Content, Collection[str]], known: Known
    ) -> Iterator[tuple[Content, list[Part]]]:
        """The parts of each content that is here, the project's own first. What is hashed is added
        to `known`, and what is known to be something else is not hashed again.
        """
        left = dict(wanted)
        for name in sorted({name for names in wanted.values() for name in names}):
            yield from _at(name, self.root / name, left, known)
        yield from self._cached(left, known)

    def _cached(
        self, left: dict[Content, Collection[str]], known: Known
    ) -> Iterator[tuple[Content, list[Part]]]:
        asked = [each for each in self.objects if _unknown(each, left, known)] if left else []
        if not asked:
            return
        with suppress(CountersignError), store(self.root, None, self.root) as kept:
            for each in asked:
                yield from _in_object(each, kept, left, known)


def _at(
    name: str, path: Path, left: dict[Content, Collection[str]], known: Known
) -> Iterator[tuple[Content, list[Part]]]:
    """The contents that a file or folder of the project is; each is taken out of `left`."""
    try:
        place = _signature(path), name
        if not _may_be(place, left, known):
            return
        entries = manifest(path) if path.is_dir() else [_entry(name, name, path)]
        files = {entry.path: path / entry.path for entry in entries}
    except (CountersignError, OSError):
        return
    yield from _taken(place, entries, files, left, known)


def _signature(path: Path) -> str:
    """Another one after each change of a file, as far as its size and time say it."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    rows = [(str(file), stat.st_size, stat.st_mtime_ns) for file in files for stat in [file.stat()]]
    return sha256_bytes(repr(rows).encode())


def _in_object(
    wanted: DvcObject, kept: Store, left: dict[Content, Collection[str]], known: Known
) -> Iterator[tuple[Content, list[Part]]]:
    """The contents that this object of the cache holds."""
    names = {name for names in left.values() for name in names if _is_below(name, wanted.path)}
    with suppress(InputError, OSError):
        files = {
            (PurePosixPath(wanted.path) / name).as_posix(): path
            for name, path in (kept.cached(wanted).items() if names else ())
        }
        for name in sorted(names):
            below = {place: path for place, path in files.items() if _is_below(place, name)}
            entries = [_entry(place, name, path) for place, path in below.items()]
            paths = dict(zip((entry.path for entry in entries), below.values(), strict=True))
            if entries:
                yield from _taken((wanted.md5, name), entries, paths, left, known)


def _taken(
    place: Place,
    entries: list[ModelFile],
    files: Mapping[str, Path],
    left: dict[Content, Collection[str]],
    known: Known,
) -> Iterator[tuple[Content, list[Part]]]:
    """The contents that these files are; each is taken out of `left`."""
    is_file = entries[0].path == "."
    known[place] = sha256 = entries[0].sha256 if is_file else manifest_digest(entries)
    parts = [
        Part(files[entry.path], entry.sha256)
        for entry in entries
        if is_file or entry.path.endswith(".parquet")
    ]
    for content in [each for each, names in left.items() if place[1] in names]:
        if content.sha256 == sha256:
            del left[content]
            yield content, parts


def _unknown(each: DvcObject, left: Mapping[Content, Collection[str]], known: Known) -> bool:
    """Whether something that is wanted may be in an object."""
    names = {name for names in left.values() for name in names if _is_below(name, each.path)}
    return any(_may_be((each.md5, name), left, known) for name in names)


def _may_be(place: Place, left: Mapping[Content, Collection[str]], known: Known) -> bool:
    digests = {each.sha256 for each, names in left.items() if place[1] in names}
    return bool(digests) and known.get(place) in {None, *digests}


def _entry(place: str, name: str, path: Path) -> ModelFile:
    """A file below `name`; `.` where it is `name` itself."""
    relative = PurePosixPath(place).relative_to(name).as_posix()
    return ModelFile(path=relative, size=path.stat().st_size, sha256=sha256_file(path))


def _is_below(name: str, path: str) -> bool:
    return PurePosixPath(name).is_relative_to(path)
