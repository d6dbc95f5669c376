"""Deletes the files of a retired version. No other file of a registered version is ever deleted.

Row, log and evidence stay: they show what it was, where it came from and who retired it. Copies
elsewhere (DVC's cache and remotes, other machines) are not deleted.
"""

from __future__ import annotations

import shutil

from governance.base.errors import RefusedError, StorageError
from governance.history.state import LogState
from governance.machine.machine import Machine
from governance.release.artifacts import in_artifact_root

BESIDE = ("model", "adapter")
"""Folders in the run's artifacts that hold weights."""


def delete_files(
    now: LogState, machine: Machine, model: str, version: str, dry_run: bool = False
) -> list[str]:
    """Deletes the files of a retired version from this machine's registry. Returns the folders.

    Raises `RefusedError` if the version is not retired, `StorageError` if the disk refuses.
    """
    if (model, version) not in now.timeline.retirements:
        raise RefusedError(
            f"{model}/{version} was not retired, so its files stay",
            fix=f"countersign retire {model}/{version} --reason ...",
        )
    folder = in_artifact_root(machine.artifact_root)(now.registration(model, version).predicate)
    folders = [folder.parent / name for name in BESIDE] if folder else []
    present = [path for path in folders if path.is_dir()]
    for path in () if dry_run else present:
        try:
            shutil.rmtree(path)
        except OSError as error:
            found = f"cannot be deleted: {error.strerror or error}"
            raise StorageError(found, where=str(path)) from None
    return [str(path) for path in present]
