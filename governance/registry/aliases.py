"""The row of an alias in MLflow's registry, read and moved within a transaction of the log.

MLflow's own setter opens another session and has no compare-and-swap. Here the row moves together
with its entry, and only from the version that was decided on. Table `registered_model_aliases`
(MLflow 3).
"""

from __future__ import annotations

from governance.base.errors import ConflictError, StorageError
from governance.log.port import Execute

WORKSPACE = "default"
"""MLflow's name for the workspace of a server that has no others."""
_HOLDER = (
    "SELECT version FROM registered_model_aliases WHERE workspace = ? AND name = ? AND alias = ?"
)
_TAKE = "DELETE FROM registered_model_aliases WHERE workspace = ? AND name = ? AND alias = ?"
_GIVE = "INSERT INTO registered_model_aliases (workspace, name, alias, version) VALUES (?, ?, ?, ?)"
_KNOWN = "SELECT 1 FROM model_versions WHERE workspace = ? AND name = ? AND version = ?"


def holder(execute: Execute, model: str, alias: str) -> str | None:
    """The version that holds the alias in the registry; None where none does."""
    rows = execute(_HOLDER, (WORKSPACE, model, alias))
    return str(rows[0][0]) if rows else None


def move(
    execute: Execute, model: str, alias: str, from_version: str | None, to_version: str | None
) -> None:
    """Moves, gives or takes away an alias. Raises `ConflictError` where another version holds
    it.
    """
    held = holder(execute, model, alias)
    if held != from_version:
        raise ConflictError(
            f"the registry gives {alias} of {model} to version {held or 'none'}",
            expected=f"version {from_version or 'none'}, as the log says",
            fix=(
                "countersign verify names the difference; somebody moved the alias behind the log's"
                " back"
            ),
        )
    if to_version is not None and not execute(_KNOWN, (WORKSPACE, model, int(to_version))):
        raise StorageError(
            f"the registry has no version {to_version} of {model}", fix="countersign verify"
        )
    key = (WORKSPACE, model, alias)
    execute(_TAKE, key)
    if to_version is not None:
        execute(_GIVE, (*key, int(to_version)))
