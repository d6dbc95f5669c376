"""The rows of models, versions, aliases and runs in MLflow's tables (MLflow 3).

1. Read in one snapshot, by SQL, because MLflow's own methods leave out deleted rows. The rows are
   not trusted: `governance.release.reconcile` compares them with the log.
2. Written within a transaction of the log, so that a row and its entry commit together. MLflow's
   own methods commit by themselves and have no compare-and-swap.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from governance.base.errors import ConflictError, StorageError
from governance.log.port import Execute
from governance.log.sql import Database
from governance.registry.port import DIGEST_TAG

WORKSPACE = "default"
"""MLflow's name for the workspace of a server that has no others."""
DELETED_STAGE = "Deleted_Internal"
NO_STAGE = (None, "None")
TABLES = (
    "registered_models",
    "model_versions",
    "model_version_tags",
    "registered_model_aliases",
    "runs",
)
_VERSIONS = """
SELECT v.name, v.version, COALESCE(v.source, ''), COALESCE(v.run_id, ''), v.current_stage, t.value,
  COALESCE(v.storage_location, v.source, '')
FROM model_versions v LEFT JOIN model_version_tags t
  ON t.workspace = v.workspace AND t.name = v.name AND t.version = v.version AND t.key = ?
WHERE v.workspace = ? ORDER BY v.name, v.version"""
_ALIASES = """
SELECT name, alias, version FROM registered_model_aliases WHERE workspace = ?
ORDER BY name, alias"""
_RUN = "SELECT 1 FROM runs WHERE run_uuid = ? AND lifecycle_stage = 'active'"
_GIVE = "INSERT INTO registered_model_aliases (workspace, name, alias, version) VALUES (?, ?, ?, ?)"
_OF_ALIAS = "WHERE workspace = ? AND name = ? AND alias = ?"
_MAKE = """
INSERT INTO model_versions (workspace, name, version, creation_time, last_updated_time, description,
  source, storage_location, run_id, run_link, current_stage, status)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'None', 'READY')"""
_TAG = (
    "INSERT INTO model_version_tags (workspace, name, version, key, value) VALUES (?, ?, ?, ?, ?)"
)
_OF_VERSION = "WHERE workspace = ? AND name = ? AND version = ?"
_RETAG = f"""{_TAG}
ON CONFLICT (workspace, name, version, key) DO UPDATE SET value = excluded.value"""


@dataclass(frozen=True)
class VersionRow:
    """One version in the registry."""

    model: str
    version: str
    source: str
    run_id: str
    stage: str | None
    digest: str | None
    """As its tag says."""
    location: str
    """The address from which MLflow loads it; MLflow's pages show `source` instead."""

    @property
    def deleted(self) -> bool:
        """MLflow keeps the row of a deleted version, and nothing in it."""
        return self.stage == DELETED_STAGE


@dataclass(frozen=True)
class AliasRow:
    """One alias in the registry."""

    model: str
    alias: str
    version: str


@dataclass(frozen=True)
class Rows:
    """The registry at one moment."""

    models: frozenset[str]
    versions: tuple[VersionRow, ...]
    aliases: tuple[AliasRow, ...]
    runs: frozenset[str]
    """Of the runs that were asked for, those that are there and not deleted."""


@dataclass(frozen=True)
class NewVersion:
    """A version to be made, before it has a number."""

    model: str
    source: str
    run_id: str
    run_link: str | None = None
    description: str | None = None
    tags: dict[str, str] = field(default_factory=dict)


def read_rows(database: Database, runs: Collection[str]) -> Rows | None:
    """(1) The rows of the one workspace that a governed server has; None where MLflow has no
    tables.
    """
    with database.snapshot() as execute:
        if execute is None or not database.has(execute, *TABLES):
            return None
        names = execute("SELECT name FROM registered_models", ())
        models = frozenset(str(name) for (name,) in names)
        versions = execute(_VERSIONS, (DIGEST_TAG, WORKSPACE))
        version_rows = tuple(VersionRow(*_texts(row)) for row in versions)
        aliases = execute(_ALIASES, (WORKSPACE,))
        alias_rows = tuple(AliasRow(*_texts(row)) for row in aliases)
        active = frozenset(run for run in runs if execute(_RUN, (run,)))
        return Rows(models, version_rows, alias_rows, active)


def _texts(row: tuple[Any, ...]) -> list[Any]:
    """SQLite can hold a value of any type in any column."""
    return [None if value is None else str(value) for value in row]


def alias_holder(execute: Execute, model: str, alias: str) -> str | None:
    """(2) The version that holds the alias in the registry; None where none does."""
    query = f"SELECT version FROM registered_model_aliases {_OF_ALIAS}"  # noqa: S608
    rows = execute(query, (WORKSPACE, model, alias))
    return str(rows[0][0]) if rows else None


def move_alias(
    execute: Execute, model: str, alias: str, from_version: str | None, to_version: str | None
) -> None:
    """(2) Moves, gives or takes away an alias. Raises `ConflictError` where another version holds
    it.
    """
    held = alias_holder(execute, model, alias)
    if held != from_version:
        found = f"the registry gives {alias} of {model} to version {held or 'none'}"
        expected = f"version {from_version or 'none'}, as the log says"
        raise ConflictError(found, expected=expected, fix="countersign verify")
    key = (WORKSPACE, model, alias)
    execute(f"DELETE FROM registered_model_aliases {_OF_ALIAS}", key)  # noqa: S608
    if to_version is None:
        return
    known = "SELECT 1 FROM model_versions WHERE workspace = ? AND name = ? AND version = ?"
    if not execute(known, (WORKSPACE, model, int(to_version))):
        found = f"the registry has no version {to_version} of {model}"
        raise StorageError(found, fix="countersign verify")
    execute(_GIVE, (*key, int(to_version)))


def newest_version(execute: Execute, model: str) -> int:
    """(2) The highest number of any version, deleted ones too; 0 where there is none."""
    query = "SELECT MAX(version) FROM model_versions WHERE workspace = ? AND name = ?"
    return int(execute(query, (WORKSPACE, model))[0][0] or 0)


def make_version(execute: Execute, new: NewVersion, number: int, at: datetime) -> None:
    """(2) Makes the version with this number, the next one. Raises `ConflictError` where the number
    is taken.
    """
    if newest_version(execute, new.model) != number - 1:
        raise ConflictError(f"version {number} of {new.model} is there already", fix="try again")
    created = int(at.timestamp() * 1000)
    touch = "UPDATE registered_models SET last_updated_time = ? WHERE workspace = ? AND name = ?"
    execute(touch, (created, WORKSPACE, new.model))
    key = (WORKSPACE, new.model, number)
    places = (new.description, new.source, new.source, new.run_id, new.run_link)
    execute(_MAKE, (*key, created, created, *places))
    for name, value in new.tags.items():
        execute(_TAG, (*key, name, value))


def is_shown(
    execute: Execute, model: str, version: str, description: str, tags: Mapping[str, str]
) -> bool | None:
    """(2) Whether a version's page has this description and these tags; None where there is no such
    version.
    """
    key = (WORKSPACE, model, int(version))
    rows = execute(f"SELECT description FROM model_versions {_OF_VERSION}", key)  # noqa: S608
    if not rows:
        return None
    found = execute(f"SELECT key, value FROM model_version_tags {_OF_VERSION}", key)  # noqa: S608
    return rows[0][0] == description and tags.items() <= {str(k): v for k, v in found}.items()


def show_version(
    execute: Execute, model: str, version: str, description: str, tags: Mapping[str, str]
) -> None:
    """(2) Writes what a version's page shows: its description, and tags of ours."""
    key = (WORKSPACE, model, int(version))
    execute(f"UPDATE model_versions SET description = ? {_OF_VERSION}", (description, *key))  # noqa: S608
    for name, value in sorted(tags.items()):
        execute(_RETAG, (*key, name, value))
