"""Every file that may hold a record: of the project, DVC's cache and this machine's state.

A place says what a file is, and so whether it may be deleted: what the pipeline made is made again
from what is left. Sources are their owner's. What is neither is named, and stays.
"""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from governance.base.errors import CountersignError
from governance.machine.machine import Machine
from pipelines import paths
from pipelines.dvc_store import store
from pipelines.erasing.sought import Sought
from pipelines.params import Params

MADE = ("data/ingested", "data/scanned", "data/ready", "evaluations", "reports", "exports")
"""Folders of the project that stages and commands write."""
DELETED = frozenset({*MADE, "generated", "cache", "temporary", "index", "replies"})
"""Places whose files are deleted."""
SOURCE, OTHER = "source", "project"
NOT_READ = frozenset({".git", ".venv", "__pycache__", "node_modules"})
KEYS = "keys"


@dataclass(frozen=True, order=True)
class Held:
    """A file that holds something of what is looked for."""

    place: str
    path: Path


@dataclass
class Read:
    """How much was read."""

    files: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Places:
    """Where the files of one project are on this machine."""

    root: Path
    params: Params
    machine: Machine
    cache: Path
    """Of DVC."""

    @classmethod
    def of(cls, root: Path, params: Params, machine: Machine) -> Places:
        """The places of a project."""
        cache = root / ".dvc" / "cache"
        try:
            with store(root, None, root) as kept:
                cache = Path(kept.cache.files.path)
        except CountersignError:
            pass  # a project without DVC
        return cls(root, params, machine, cache)

    def holding(self, sought: Sought, read: Read) -> list[Held]:
        """The files that hold something of it."""
        found = []
        for place, path in self.files():
            read.files += 1
            read.bytes += path.stat().st_size if path.exists() else 0
            if sought.in_file(path):
                found.append(Held(place, path))
        return sorted(found)

    def files(self) -> Iterator[tuple[str, Path]]:
        """Every file with its place, each once."""
        done: set[str] = set()
        for path in _below(self.root, self.cache, self.machine.state, *self._temporary()):
            if str(path) not in done:
                done.add(str(path))
                yield self.place(path), path

    def place(self, path: Path) -> str:
        """What a file is."""
        if path.is_relative_to(self.cache):
            return "cache"
        if path.is_relative_to(self.machine.state):
            return self._of_state(path.relative_to(self.machine.state))
        in_project = path.is_relative_to(self.root)
        return self._of_project(path.relative_to(self.root)) if in_project else "temporary"

    def _of_project(self, path: Path) -> str:
        name = path.as_posix()
        if name.startswith(".dvc/tmp/"):
            return "temporary"
        if name in {paths.sample(each).as_posix() for each in self.params.generate}:
            return "generated"
        if any(path.is_relative_to(each) for each in self.sources):
            return SOURCE
        return next((made for made in MADE if name.startswith(f"{made}/")), OTHER)

    @property
    def sources(self) -> set[str]:
        """The files and folders that ingest reads, and where sources lie."""
        return {"data/source", *(each.source for each in self.params.datasets.values())}

    def whole(self) -> list[Path]:
        """Folders that are emptied: unfinished work may hold records in any form, and the index of
        records is made again from the files.
        """
        state = self.machine.state
        return [state / "scratch", state / "trace", self.root / ".dvc" / "tmp" / "countersign"]

    def _temporary(self) -> list[Path]:
        found = Path(tempfile.gettempdir()).glob("countersign-*")
        return sorted(path for path in found if path.stat().st_uid == os.getuid())

    @staticmethod
    def _of_state(path: Path) -> str:
        top = path.parts[0]
        named = {"scratch": "temporary", "trace": "index", "replies": "replies"}
        return named.get(top, "artifacts" if top in ("artifacts", "server") else "state")


def by_place(held: list[Held]) -> dict[str, int]:
    """How many files of each place."""
    counts: dict[str, int] = defaultdict(int)
    for each in held:
        counts[each.place] += 1
    return dict(sorted(counts.items()))


def _below(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        for top, names, files in os.walk(folder):
            names[:] = sorted(set(names) - NOT_READ - ({KEYS} if Path(top) == folder else set()))
            for name in sorted(files):
                path = Path(top) / name
                if path.is_file():
                    yield path
