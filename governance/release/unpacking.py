"""Writes a version's verified files into a folder: for programs that load a folder, and have no
verifying loader.

1. The files are copied into a folder that only this account can enter, and compared with the
   registration there (`governance.release.serving.private_copy`). Only then are they moved. Both
   folders are on one file system, so a move is a rename.
2. A folder that does not exist appears with all files at once.
3. A folder that exists may be where a volume is mounted, so it cannot be replaced as a whole. Its
   files are moved one by one. The file with which every loader begins is moved last, and removed
   first. So a process that is killed leaves no folder that loads.
4. What is in the folder stays there, and is a reason to refuse, unless the caller lets it be
   replaced. Only files that some registered version of the same model has under the same path are
   replaced, and copies that a killed process left (1). Anything else is refused.

The files are readable by every account afterwards, and writable by none but by changing their
mode. What happens to them later is not checked here.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from governance.attest.predicates import Registration
from governance.base.errors import InputError, StorageError
from governance.history.state import LogState
from governance.models.folder import Fetch
from governance.release.serving import COPY, Served, private_copy

FIRST_READ = ("config.json", "adapter_config.json")
"""Files with which loaders begin: of a model, and of an adapter."""
FOLDER_MODE, FILE_MODE = 0o755, 0o444


def replaceable(now: LogState, model: str) -> frozenset[str]:
    """(4) The paths of files of all registered versions of a model."""
    registrations = (statement.predicate for statement in now.view.all(Registration))
    return frozenset(
        file.path
        for registration in registrations
        if registration.model == model
        for file in registration.files
    )


def check_target(folder: Path, may_replace: frozenset[str] | None) -> None:
    """(4) Raises `InputError` unless the version can be written to `folder`.

    `may_replace`: paths that may be replaced; None where the folder has to be empty.
    """
    if not folder.exists() and not folder.is_symlink():
        if not folder.parent.is_dir():
            raise InputError("there is no such folder", where=str(folder.parent))
        return
    if folder.is_symlink() or not folder.is_dir():
        raise InputError("this is not a folder", where=str(folder), expected="a folder, or nothing")
    if may_replace is None:
        _check_empty(folder)
        return
    for path in _paths(folder):
        name = path.relative_to(folder).as_posix()
        is_ours = not path.is_symlink() and path.is_file() and name in may_replace
        if not is_ours:
            found = f"{name!r} is no file of a registered version of this model"
            raise InputError(found, where=str(folder), fix="name a folder of its own")


def unpack(
    served: Served, fetch: Fetch | Path, folder: Path, may_replace: frozenset[str] | None = None
) -> None:
    """Writes the verified files of a version to `folder`. Raises `VerificationError`, and what
    `check_target` raises. Nothing in `folder` is changed before the files are verified.
    """
    check_target(folder, may_replace)
    is_new = not folder.exists()
    try:
        with private_copy(served, fetch, folder.parent if is_new else folder) as copy:
            _open_to_readers(copy)
            if is_new:
                copy.rename(folder)  # (2)
            else:
                _replace(copy, folder)
    except OSError as error:
        found = f"cannot be written: {error.strerror or error}"
        raise StorageError(found, where=str(folder)) from None


def _check_empty(folder: Path) -> None:
    if any(folder.iterdir()):
        expected = "an empty folder, or a name that does not exist"
        fix = "name another folder; --replace replaces files of this model's versions"
        raise InputError("the folder is not empty", where=str(folder), expected=expected, fix=fix)


def _is_left_over(path: Path, folder: Path) -> bool:
    """Whether a killed process left it (1)."""
    return path.parent == folder and path.name.startswith(COPY) and not path.is_symlink()


def _paths(folder: Path) -> list[Path]:
    """Everything in the folder but folders, and but what killed processes left. Follows no link."""
    found: list[Path] = []
    waiting = [folder]
    while waiting:
        for path in waiting.pop().iterdir():
            if path.is_dir() and not path.is_symlink():
                waiting += [] if _is_left_over(path, folder) else [path]
            else:
                found.append(path)
    return found


def _open_to_readers(copy: Path) -> None:
    """The account of the program that loads it may be another one."""
    copy.chmod(FOLDER_MODE)
    for path in copy.rglob("*"):
        path.chmod(FOLDER_MODE if path.is_dir() else FILE_MODE)


def _replace(copy: Path, folder: Path) -> None:
    """(3) Moves the files of the copy to the folder, in place of what is there."""
    _each(_paths(folder), Path.unlink, begin_with=True)
    for path in list(folder.iterdir()):
        if path != copy.parent:  # empty folders, and what killed processes left
            shutil.rmtree(path)
    _each(_paths(copy), lambda path: _move(path, copy, folder), begin_with=False)


def _each(paths: list[Path], act: Callable[[Path], None], *, begin_with: bool) -> None:
    """Acts on every path: on those of `FIRST_READ` before the others, or after them."""
    for path in sorted(paths, key=lambda path: (path.name in FIRST_READ) != begin_with):
        act(path)


def _move(path: Path, copy: Path, folder: Path) -> None:
    target = folder / path.relative_to(copy)
    target.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    path.rename(target)
