"""The bytes of a retired version: the only files of a registered version that are ever deleted.

Row, log and evidence stay: what it was, from what it came and who let it go can be read for ever.
Copies elsewhere (DVC's cache and remotes, other machines, whoever loaded it) are not reached from
here.
"""

from __future__ import annotations

import shutil

from governance.base.errors import RefusedError, StorageError
from governance.history.state import LogState
from governance.machine.machine import Machine
from governance.models.artifacts import in_artifact_root

BESIDE = ("model", "adapter")
"""Folders below the run's artifacts that hold weights."""


def delete_files(
    now: LogState, machine: Machine, model: str, version: str, dry_run: bool = False
) -> list[str]:
    """Deletes what this machine's registry holds of a retired version; the folders, as text.

    Raises `RefusedError` for a version in service, `StorageError` where the disk refuses.
    """
    if (model, version) not in now.timeline.retirements:
        raise RefusedError(
            f"{model}/{version} was not retired, so its files stay",
            expected="a signed decision to retire it",
            fix=f"countersign retire {model}/{version} --reason ...",
        )
    folder = in_artifact_root(machine.artifact_root)(now.registration(model, version).predicate)
    gone = (
        [folder.parent / name for name in BESIDE if (folder.parent / name).is_dir()]
        if folder
        else []
    )
    for path in () if dry_run else gone:
        try:
            shutil.rmtree(path)
        except OSError as error:
            raise StorageError(
                f"cannot be deleted: {error.strerror or error}", where=str(path)
            ) from None
    return [str(path) for path in gone]
