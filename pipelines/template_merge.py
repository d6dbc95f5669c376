"""Merges a newer template into a project, three ways: the template that it was made from, the newer
one, and the project's files.

| the template's file | the project's file | result |
|---|---|---|
| is the same | anything | as it is |
| changed | as the template had it | the new one |
| changed | edited | both changes (`git merge-file`), or a conflict, marked as git marks it |
| changed or removed | deleted | stays deleted |
| new | not there | added |
| new | there, with other content | a conflict |
| removed | as the template had it | removed |
| removed | edited | as it is |
"""

from __future__ import annotations

import difflib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from governance.base.errors import ConfigError, InputError, StorageError
from governance.base.storage import write_atomic
from pipelines.template_record import RECORD, TemplateRecord, current, read

How = Literal["added", "updated", "merged", "conflict", "removed", "kept"]
MARKS = ("<<<<<<< ", "=======", ">>>>>>> ")
"""How git begins the lines around a conflict."""


@dataclass(frozen=True)
class Change:
    """What happens to one file."""

    path: str
    how: How
    before: str | None
    """The text of the project's file; None if there is none."""
    after: str | None
    """Its text after the merge; None if there is none then."""

    @property
    def diff(self) -> str:
        """The change as a unified diff; empty if nothing changes."""
        before, after = _lines(self.before), _lines(self.after)
        made = difflib.unified_diff(before, after, f"a/{self.path}", f"b/{self.path}")
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in made)


@dataclass(frozen=True)
class Newer:
    """A newer template and what it changes in a project."""

    old: TemplateRecord
    new: TemplateRecord
    changes: list[Change]

    @property
    def conflicts(self) -> list[str]:
        """The files that a person must finish."""
        return [change.path for change in self.changes if change.how == "conflict"]

    def document(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "recipe": self.new.recipe,
            "from": self.old.version,
            "to": self.new.version,
            "files": [
                {"path": change.path, "how": change.how, "diff": change.diff}
                for change in self.changes
            ],
            "conflicts": self.conflicts,
        }

    def lines(self) -> Iterator[str]:
        """For people: a line for each file, then the diffs."""
        versions = f"{self.new.recipe} {self.old.version} -> {self.new.version}"
        yield f"TEMPLATE  {versions}: {len(self.changes)} files"
        width = max((len(change.path) for change in self.changes), default=0)
        for change in self.changes:
            yield f"  {change.path:<{width}}  {_WORDS[change.how]}"
        yield from (change.diff.rstrip("\n") for change in self.changes if change.diff)

    def write(self, root: Path) -> None:
        """Writes the files, then the record: a run that was stopped is done again from the start.
        Raises `StorageError`.
        """
        for change in self.changes:
            _write(root / change.path, change)
        (root / RECORD).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(root / RECORD, self.new.dumps())


def newer(root: Path) -> Newer | None:
    """The installed version's template, where it differs from the one that the project at `root`
    was made from. None if it does not, or if the project has no record. Raises `ConfigError` or
    `InputError`.
    """
    old = read(root)
    if old is None:
        return None
    new = current(old.recipe, old.name)
    return Newer(old, new, merge(root, old, new)) if new != old else None


def merge(root: Path, old: TemplateRecord, new: TemplateRecord) -> list[Change]:
    """What the newer template changes in the project at `root`, sorted by path. Writes nothing.

    Raises `ConfigError` or `InputError` for a file that cannot be merged.
    """
    labels = ("yours", f"template {old.version}", f"template {new.version}")
    changes = []
    for path in sorted(old.files.keys() | new.files.keys()):
        base, theirs = old.files.get(path), new.files.get(path)
        if base != theirs:
            change = _of_file(path, _text(root, path), base, theirs, labels)
            if change.before != change.after or change.how == "kept":
                changes.append(change)
    return changes


def _write(path: Path, change: Change) -> None:
    try:
        if change.after is None and change.before is not None:
            path.unlink()
        elif change.after is not None and change.after != change.before:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, change.after.encode())
    except OSError as error:
        found = f"cannot be written: {error.strerror or error}"
        raise StorageError(found, where=str(path)) from None


def _of_file(
    path: str, mine: str | None, base: str | None, theirs: str | None, labels: tuple[str, str, str]
) -> Change:
    if theirs is None:
        if mine == base:
            return Change(path, "removed", mine, None)
        return Change(path, "kept" if mine is not None else "removed", mine, mine)
    if mine is None:
        return Change(path, "kept", None, None) if base else Change(path, "added", None, theirs)
    if mine in (base, theirs):
        return Change(path, "updated", mine, theirs)
    if any(line.startswith(MARKS[::2]) for line in mine.splitlines()):
        fix = "edit the file, then run `countersign upgrade` again"
        raise ConfigError("an earlier conflict is still marked in it", where=path, fix=fix)
    text, conflicts = _merged(mine, base or "", theirs, labels)
    return Change(path, "conflict" if conflicts else "merged", mine, text)


def _merged(mine: str, base: str, theirs: str, labels: tuple[str, str, str]) -> tuple[str, bool]:
    """The merged text, and whether it has conflicts."""
    with TemporaryDirectory() as folder:
        names = ("mine", "base", "theirs")
        for name, text in zip(names, (mine, base, theirs), strict=True):
            Path(folder, name).write_bytes(text.encode())
        named = [word for label in labels for word in ("-L", label)]
        try:
            done = subprocess.run(
                ["git", "merge-file", "-p", *named, *names],
                cwd=folder,
                env={"PATH": os.environ.get("PATH", os.defpath), "GIT_CONFIG_NOSYSTEM": "1"},
                capture_output=True,
                check=False,
            )
        except OSError:
            raise ConfigError("git is not installed", fix="install it: it merges files") from None
    if not 0 <= done.returncode < 128:  # otherwise, the number of conflicts
        reason = done.stderr.decode("utf-8", "replace").strip()[:200]
        raise ConfigError(f"git cannot merge: {reason}", fix="merge the file by hand")
    return done.stdout.decode(), done.returncode > 0


def _text(root: Path, name: str) -> str | None:
    """A file of the project. Raises `InputError` for what is no text file in the project."""
    path = root / name
    try:
        if any(part.is_symlink() for part in (path, *path.parents) if root in part.parents):
            found = "it is a link, and the template has a file there"
            raise InputError(found, where=name, fix="put a file in its place")
        return path.read_bytes().decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise InputError(f"it cannot be read: {reason}", where=name) from None


def _lines(text: str | None) -> list[str]:
    return (text or "").splitlines(keepends=True)


_WORDS: dict[How, str] = {
    "added": "added",
    "updated": "updated; you had not changed it",
    "merged": "merged with your changes",
    "conflict": "CONFLICT: both changed the same lines",
    "removed": "removed; you had not changed it",
    "kept": "kept as you have it; the template changed or removed it",
}
