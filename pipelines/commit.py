"""What the current commit contains, read so that nothing in `.git` but the commit itself decides.

git's own comparison trusts its index (`assume-unchanged`, `skip-worktree`), variables (`GIT_DIR`),
replaced objects and settings. This module reads objects only, and checks each one.

1. `.git` is looked for at the project's folder and above it. No variable and no setting moves it.
2. A commit, tree or file is identified by the hash of its bytes, computed here. An object that does
   not have its own id is an error.
3. Files are compared by their bytes (`known_files`). No filter, attribute or line ending applies.
4. A tree is kept in memory under its id, which the hash of its bytes has proven.

The object format: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from pipelines import known_files

ALGORITHMS = {40: "sha1", 64: "sha256"}
"""Length of an object's id in hexadecimal characters to the hash that makes it."""
SAFE = (
    *("--no-optional-locks", "--no-replace-objects", "--literal-pathspecs"),
    *("-c", "core.commitGraph=false", "-c", "core.fsmonitor=false"),
    *("-c", f"core.hooksPath={os.devnull}"),
)
SECONDS = 60
"""How long git may take."""
_LINK, _FOLDER, _FILE = "120000", "40000", "100"
_TREES: dict[str, list[tuple[str, str, str]]] = {}
"""(4)"""


class UnreadableError(Exception):
    """git cannot tell, or what it tells does not have its own id."""


@dataclass(frozen=True)
class Blob:
    """A file of a commit."""

    id: str
    mode: str

    def is_at(self, path: str) -> bool:
        """Whether the file at `path` has these bytes. A link is compared by its target."""
        try:
            found = os.lstat(path)
            mode = found.st_mode
            if self.mode == _LINK:
                return stat.S_ISLNK(mode) and self._id(_target(path)) == self.id
            if not self.mode.startswith(_FILE) or not stat.S_ISREG(mode):
                return False
            return known_files.digest(path, f"git {len(self.id)}", self._id, found) == self.id
        except OSError:
            return False

    def _id(self, content: bytes) -> str:
        """The id that these bytes have in the same repository."""
        return object_id("blob", content, ALGORITHMS[len(self.id)])


@dataclass(frozen=True)
class Commit:
    """The current commit, as far as it lies at and below the project's folder."""

    id: str
    files: dict[str, Blob]
    """POSIX path relative to the project's folder to file. A submodule is a file of no bytes."""


def _target(link: str) -> bytes:
    return os.fsencode(Path(link).readlink())


def object_id(kind: str, content: bytes, algorithm: str) -> str:
    """The id that git gives to an object."""
    header = f"{kind} {len(content)}\0".encode()
    return hashlib.new(algorithm, header + content, usedforsecurity=True).hexdigest()


def read_commit(root: Path) -> Commit:
    """The commit that is checked out at `root`. Raises `UnreadableError`."""
    top = _top(root)
    try:
        return _read(root.resolve(), top)
    except OSError as error:
        raise UnreadableError("git does not run") from error


def _read(root: Path, top: Path) -> Commit:
    process = subprocess.Popen(
        _command(top, "cat-file", "--batch"),
        cwd=top,
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert process.stdin and process.stdout  # noqa: S101 - for the type checker
        try:
            objects = _Objects(process.stdin, process.stdout)
            commit, content = objects.named("HEAD^{commit}", "commit")
            tree = _tree_of(content)
            for name in root.relative_to(top).parts:
                tree = _below(objects, tree, name)
            return Commit(commit, dict(_files(objects, tree, "")))
        finally:
            process.kill()


def untracked(root: Path, commit: Commit) -> set[str]:
    """Files below `root` that the commit does not have and no ignore rule names. Raises
    `UnreadableError`. The index is not asked: an entry in it does not make a file committed.
    """
    top = _top(root)
    options = (f"--work-tree={top}", "ls-files", "-z", "--others", "--exclude-standard")
    with TemporaryDirectory() as folder:
        more = {"HOME": os.environ.get("HOME", ""), "GIT_INDEX_FILE": f"{folder}/none"}
        listed = _git(root, *options, top=top, environ=more)
    names = {name for name in listed.decode("utf-8", "surrogateescape").split("\0") if name}
    return names - commit.files.keys()


def _top(root: Path) -> Path:
    """(1)"""
    root = root.resolve()
    for folder in (root, *root.parents):
        if (folder / ".git").exists():
            return folder
    raise UnreadableError("no work tree")


def _command(top: Path, *arguments: str) -> list[str]:
    return ["git", f"--git-dir={top / '.git'}", *SAFE, *arguments]


def _environment() -> dict[str, str]:
    """Only where programs are: every variable of git is left out."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }


def _git(
    cwd: Path, *arguments: str, top: Path | None = None, environ: dict[str, str] | None = None
) -> bytes:
    try:
        done = subprocess.run(
            _command(top or cwd, *arguments),
            cwd=cwd,
            env={**_environment(), **(environ or {})},
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnreadableError("git does not run") from error
    if done.returncode:
        raise UnreadableError("git cannot tell")
    return done.stdout


class _Objects:
    """(2) Objects from `git cat-file --batch`, each checked."""

    def __init__(self, requests: IO[bytes], answers: IO[bytes]) -> None:
        self._requests, self._answers = requests, answers

    def read(self, id_: str, kind: str) -> bytes:
        found, content = self.named(id_, kind)
        if found != id_:
            raise UnreadableError(f"{kind} {id_} has another id")
        return content

    def named(self, name: str, kind: str) -> tuple[str, bytes]:
        """Id and bytes of the object that git finds for a name."""
        self._requests.write(f"{name}\n".encode())
        self._requests.flush()
        header = self._answers.readline().split()
        if len(header) != 3 or header[1] != kind.encode() or not header[2].isdigit():
            raise UnreadableError(f"no {kind} {name}")
        id_, content = header[0].decode("ascii", "replace"), self._answers.read(int(header[2]))
        self._answers.read(1)  # the line's end
        if len(id_) not in ALGORITHMS or object_id(kind, content, ALGORITHMS[len(id_)]) != id_:
            raise UnreadableError(f"{kind} {id_} has other bytes")
        return id_, content


def _tree_of(commit: bytes) -> str:
    field, _, id_ = commit.partition(b"\n")[0].partition(b" ")
    if field != b"tree" or len(id_) not in ALGORITHMS:
        raise UnreadableError("the commit names no tree")
    return id_.decode("ascii", "replace")


def _entries(objects: _Objects, tree: str) -> list[tuple[str, str, str]]:
    """(4) Mode, name and id of each entry of a tree."""
    if tree not in _TREES:
        _TREES[tree] = list(_read_tree(objects, tree))
    return _TREES[tree]


def _read_tree(objects: _Objects, tree: str) -> Iterator[tuple[str, str, str]]:
    content, size = objects.read(tree, "tree"), len(tree) // 2
    while content:
        header, _, content = content.partition(b"\0")
        mode, _, name = header.partition(b" ")
        id_, content = content[:size].hex(), content[size:]
        yield mode.decode("ascii", "replace"), name.decode("utf-8", "surrogateescape"), id_


def _below(objects: _Objects, tree: str, name: str) -> str:
    for mode, entry, id_ in _entries(objects, tree):
        if (mode, entry) == (_FOLDER, name):
            return id_
    raise UnreadableError("the commit does not have the project's folder")


def _files(objects: _Objects, tree: str, prefix: str) -> Iterator[tuple[str, Blob]]:
    for mode, name, id_ in _entries(objects, tree):
        if mode == _FOLDER:
            yield from _files(objects, id_, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", Blob(id_, mode)
