"""The rows of a new version in MLflow's registry, written within a transaction of the log.

MLflow's own method commits by itself. A process that ends before the log's entry would leave a
version without a known author. Tables `model_versions`, `model_version_tags`, `registered_models`
(MLflow 3).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from governance.base.errors import ConflictError
from governance.log.port import Execute
from governance.registry.aliases import WORKSPACE

_NEWEST = "SELECT MAX(version) FROM model_versions WHERE workspace = ? AND name = ?"
_TOUCH = "UPDATE registered_models SET last_updated_time = ? WHERE workspace = ? AND name = ?"
_ROW = (
    "INSERT INTO model_versions (workspace, name, version, creation_time, last_updated_time,"
    " description, source, storage_location, run_id, run_link, current_stage, status) VALUES (?, ?,"
    " ?, ?, ?, ?, ?, ?, ?, ?, 'None', 'READY')"
)
_TAG = (
    "INSERT INTO model_version_tags (workspace, name, version, key, value) VALUES (?, ?, ?, ?, ?)"
)


@dataclass(frozen=True)
class NewVersion:
    """What somebody registers, before it has a number."""

    model: str
    source: str
    run_id: str
    run_link: str | None = None
    description: str | None = None
    tags: dict[str, str] = field(default_factory=dict)


def newest(execute: Execute, model: str) -> int:
    """The highest number of any version, deleted ones too; 0 where there is none."""
    return int(execute(_NEWEST, (WORKSPACE, model))[0][0] or 0)


def make(execute: Execute, new: NewVersion, number: int, at: datetime) -> None:
    """The version under this number, the next one. Raises `ConflictError` where somebody else has
    taken it.
    """
    if newest(execute, new.model) != number - 1:
        raise ConflictError(f"version {number} of {new.model} is there already", fix="try again")
    created = int(at.timestamp() * 1000)
    execute(_TOUCH, (created, WORKSPACE, new.model))
    key = (WORKSPACE, new.model, number)
    execute(
        _ROW,
        (*key, created, created, new.description, new.source, new.source, new.run_id, new.run_link),
    )
    for name, value in new.tags.items():
        execute(_TAG, (*key, name, value))
