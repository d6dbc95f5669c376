"""Everything that is installed, by the sha256 of each file: what a stage's imports could read.

A distribution's RECORD says what its files were when it was installed. This module reads the files.

1. Each folder of Python's path counts with every file, whether a distribution lists it or not:
   modules, libraries, `.pth` files, `sitecustomize.py`. So do the standard library and the
   interpreter. Compiled files (`__pycache__`) do not: no stage reads them (`pipelines.boot`).
2. Of a folder that a `.pth` file added, code counts (Python files, extension modules): it may be a
   checkout with data beside the code.
3. A file is hashed again when its path, size, inode, time of change or time of its content is
   another. Programs cannot set the time of change (`st_ctime`); root can, with the clock of the
   machine. A file that changed within the last seconds is hashed again at the next run.
4. The hashes are kept in the state of this machine. What another account can write there is not
   read.
5. A file that changed since this process began may have been another one when it was imported. It
   counts as altered.
6. A worker (`pipelines.workers`) does not list the folders again. What its parent found still holds
   if no folder and no file has another status. A worker looks only at the folders and at the files
   that it loaded or that Python opened for it, unless it has a library that opens files itself.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from governance.attest.digests import sha256_bytes
from governance.base.storage import write_state
from pipelines import boot

COMPILED = "__pycache__"
APART = frozenset({COMPILED, "site-packages", "dist-packages"})
"""Folders of the standard library that are not part of it."""
RUNNING = "/proc/self/exe"
"""On Linux, the program of this process."""
MAPS = "/proc/self/maps"
"""On Linux, the files in its memory."""
CODE = (*SOURCE_SUFFIXES, *EXTENSION_SUFFIXES)
RECENT_NANOSECONDS = 2_000_000_000
"""A clock of the file system has ticks; a file that is so young may change within one."""
MOST_NAMED = 100
"""At most so many altered files are named."""

Status = tuple[int, int, int, int]
"""Size, time of the content, inode, time of change."""
NOTHING: Status = (0, 0, 0, 0)
"""Of a link to nothing. What has it never counts as unchanged."""


@dataclass(frozen=True)
class Installed:
    """What is installed."""

    digest: str
    """sha256 over the lines `NAME\\0SHA256`, sorted by name."""
    altered: tuple[str, ...]
    """Files that are not those that their distribution recorded, or that changed since this process
    began.
    """


Files = dict[str, list[tuple[str, Status]]]
"""Name of a folder to path and status of each file below. No class: there are tens of thousands."""
Named = dict[str, tuple[str, Status]]
"""Name to path and status."""
PROGRAM = "python"
"""The interpreter's name among `Files`."""


@dataclass(frozen=True)
class Snapshot:
    """(6) What was installed when a process took it."""

    installed: Installed
    roots: dict[str, str]
    """Python's path, as `_folders`."""
    folders: dict[str, Status]
    files: dict[str, Status]
    """By path."""
    settled: bool
    """Whether each file was old enough for its next change to show (3)."""

    def still_holds(self, used: Iterable[str]) -> bool:
        """Whether no file was added, removed or replaced since, and these files are the same."""
        files = {path: self.files[path] for path in used if path in self.files}
        return _are(self.folders) and _are(files)

    def is_still_whole(self) -> bool:
        """Whether a new snapshot would find the same."""
        same_path = self.settled and self.roots == _folders()
        return same_path and _are(self.folders) and _are(self.files)


_TAKEN: list[Snapshot] = []
"""(6) The one of the process that this one was forked from."""
_OPENED: set[str] = set()
"""What Python has opened in this process since then, and in those that it was forked from."""
OPENS_ITSELF = frozenset({"torch", "tokenizers", "onnxruntime"})
"""Modules that open files without Python's knowledge, or start processes that do."""


def take_snapshot(state: Path) -> None:
    """(6) Takes the snapshot that forks of this process use."""
    if not _TAKEN:  # a hook cannot be taken away
        sys.addaudithook(_note)
    _TAKEN[:] = [snapshot(state)]
    _OPENED.clear()  # those that were hashed just now; of earlier ones, (5)


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    """Keeps the path of each file that Python opens: https://peps.python.org/pep-0578/."""
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        _OPENED.add(os.fsdecode(arguments[0]))


def still_installed(state: Path) -> Installed:
    """(6) As `installed`."""
    is_seen = OPENS_ITSELF.isdisjoint(sys.modules)
    for taken in _TAKEN:
        if taken.still_holds(_used()) if is_seen else taken.is_still_whole():
            return taken.installed
    return installed(state)


def _used() -> set[str]:
    """The files that this process loaded, has in its memory, or had opened by Python."""
    opened = set(map(os.path.abspath, _OPENED))
    return {*boot.LOADED, *mapped(), *opened, *map(os.path.realpath, opened)}


def mapped() -> set[str]:
    """Programs and libraries in this process's memory; empty where the system does not tell."""
    try:
        lines = Path(MAPS).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return set()
    fields = (line.split(maxsplit=5) for line in lines)
    return {each[5] for each in fields if len(each) == 6 and each[5].startswith("/")}


def installed(state: Path) -> Installed:
    """What is installed now. `state`: the folder in which hashes are kept from run to run."""
    return snapshot(state).installed


def snapshot(state: Path) -> Snapshot:
    """As `installed`, with what is needed to see whether it still holds."""
    roots = _folders()
    identity = sha256_bytes(repr(sorted(roots.items())).encode("utf-8", "surrogateescape"))
    kept = state / "installed" / f"{identity}.json"
    began = time.time_ns()
    folders: dict[str, Status] = {}
    found = _all_files(roots, folders)
    files = dict(chain.from_iterable(found.values()))
    latest = max(status[3] for status in files.values())
    known, key = _known(kept), _key(found)
    settled = known.get("key") == key
    if not settled:
        again = _read_again(roots, _by_name(roots, found), state / "installed" / identity)
        known = {"key": key, **again}
        settled = not _is_young(latest, began)
        if settled:
            write_state(kept, orjson.dumps(known))
    altered, since = set(known["altered"]), boot.STARTED
    if latest > since > 0:
        named = _by_name(roots, found).items()
        altered |= set(sorted(name for name, (_, last) in named if last[3] > since)[:MOST_NAMED])
    now = Installed(known["digest"], tuple(sorted(altered)))
    return Snapshot(now, roots, folders, files, settled)


def _key(found: Files) -> str:
    """Differs where a path or a status does. Where the system lists a folder in another order, too:
    that costs time only.
    """
    made = hashlib.sha256()
    for name, files in found.items():
        paths, statuses = "\0".join(path for path, _ in files), [status for _, status in files]
        made.update(f"{name}\0{len(files)}\0{paths}\0".encode("utf-8", "surrogateescape"))
        made.update(orjson.dumps(statuses))
    return made.hexdigest()


def _read_again(folders: dict[str, str], files: Named, kept: Path) -> dict[str, Any]:
    """Digest and altered files. Only what changed since the last time is hashed."""
    began = time.time_ns()
    hashes = _hashes(files, _known(kept))
    old = {name: status for name, (_, status) in files.items() if not _is_young(status[3], began)}
    entries = {name: [*status, hashes[name]] for name, status in old.items()}
    write_state(kept, orjson.dumps(entries))
    altered = sorted(_not_as_recorded(folders, hashes))[:MOST_NAMED]
    return {"digest": _digest(hashes), "altered": altered}


def _digest(hashes: dict[str, str]) -> str:
    """As `Installed.digest`."""
    lines = "".join(f"{name}\0{digest}\n" for name, digest in sorted(hashes.items()))
    return sha256_bytes(lines.encode("utf-8", "surrogateescape"))


def _is_young(changed: int, now: int) -> bool:
    """(3)"""
    return changed > now - RECENT_NANOSECONDS


def _known(path: Path) -> dict[str, Any]:
    """(4)"""
    try:
        status = path.stat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            return {}
        known = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


# --- which files ----------------------------------------------------------------------------------


def _folders() -> dict[str, str]:
    """(1) Name to folder of Python's path; one that lies in another counts with that one."""
    names = {sysconfig.get_path(name): name for name in ("platlib", "purelib", "stdlib")}
    found: dict[str, str] = {}
    for number, entry in enumerate(sys.path):
        folder = str(Path(entry or ".").absolute())
        if Path(folder).is_dir() and folder not in found.values():
            found[names.get(folder, f"path{number}")] = folder
    standard = found.get("stdlib", "")
    inner = f"{standard}{os.sep}lib-dynload"
    return {name: folder for name, folder in found.items() if not standard or folder != inner}


def _all_files(folders: dict[str, str], seen: dict[str, Status]) -> Files:
    """Every file. Adds each folder that was looked into to `seen`."""
    program = os.path.realpath(RUNNING if Path(RUNNING).exists() else sys.executable)
    found = {PROGRAM: [(program, _status(Path(program).stat()))]}
    for name, folder in folders.items():
        apart = APART if name == "stdlib" else frozenset({COMPILED})
        found[name] = _files(folder, apart, seen)
        if name.startswith("path"):  # only code
            start = len(folder) + 1
            found[name] = [file for file in found[name] if _is_code(file[0][start:])]
    return found


def _by_name(folders: dict[str, str], found: Files) -> Named:
    """Every file by its name: that of its folder, and its path below."""
    named = {PROGRAM: found[PROGRAM][0]}
    for name, folder in folders.items():
        start = len(folder) + 1
        named.update((f"{name}/{path[start:]}", (path, status)) for path, status in found[name])
    return named


def _is_code(inner: str) -> bool:
    """(2)"""
    return inner.endswith(CODE) and not inner.startswith(".")


def _files(folder: str, apart: frozenset[str], seen: dict[str, Status]) -> list[tuple[str, Status]]:
    """Every file below a folder. Links are followed, each one once on a way down. Adds to `seen`
    what a later walk could find to be another folder, or no folder.
    """
    found = []
    folders: list[tuple[str, frozenset[str]]] = [(folder, frozenset())]
    while folders:
        here, links = folders.pop()
        seen[here] = _status(os.stat(here))  # noqa: PTH116 - for thousands of folders
        with os.scandir(here) as scan:
            entries = list(scan)
        for entry in entries:
            try:
                if not entry.is_dir():
                    found.append((entry.path, _status(entry.stat())))
                elif entry.name not in apart:
                    target = {os.path.realpath(entry.path)} if entry.is_symlink() else set()
                    if target & links:
                        seen[entry.path] = _status(entry.stat())
                    else:
                        folders.append((entry.path, links | target))
            except FileNotFoundError:  # a link to nothing, or gone by now
                seen[entry.path] = NOTHING
    return found


def _status(status: os.stat_result) -> Status:
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns


def _are(statuses: dict[str, Status]) -> bool:
    """Whether each path has this status."""
    try:
        return all(_status(os.stat(path)) == status for path, status in statuses.items())  # noqa: PTH116
    except OSError:
        return False


# --- their hashes ---------------------------------------------------------------------------------


def _hashes(files: Named, known: dict[str, Any]) -> dict[str, str]:
    """(3) Name to sha256."""
    hashes: dict[str, str] = {}
    unknown = []
    for name, file in files.items():
        *status, digest = known.get(name, (None,))
        if tuple(status) == file[1] and isinstance(digest, str):
            hashes[name] = digest
        else:
            unknown.append(name)
    with ThreadPoolExecutor() as pool:
        found = pool.map(_hash, (files[name][0] for name in unknown), chunksize=64)
        hashes.update(zip(unknown, found, strict=True))
    return hashes


def _hash(path: str) -> str:
    """sha256 of a file. One that cannot be read counts as such: it cannot be imported either."""
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return "unreadable"


def _not_as_recorded(folders: dict[str, str], hashes: dict[str, str]) -> Iterator[str]:
    """Files whose distribution recorded another digest. Of what no distribution lists, nothing is
    known.

    https://packaging.python.org/en/latest/specifications/recording-installed-packages/
    """
    for name, folder in folders.items():
        for record in Path(folder).glob("*.dist-info/RECORD"):
            for path, digest in _recorded(record):
                file = f"{name}/{path}"
                if file in hashes and hashes[file] != digest:
                    yield file


def _recorded(record: Path) -> Iterator[tuple[str, str]]:
    with record.open(encoding="utf-8", newline="") as stream:
        for row in csv.reader(stream):
            if len(row) == 3 and row[1].startswith("sha256="):
                text = row[1].removeprefix("sha256=")
                yield row[0], base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).hex()
