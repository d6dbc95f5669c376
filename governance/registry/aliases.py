"""The registry's alias rows, written in the transaction of a log entry: `governance.promotion.Aliases`.

Compare and swap: the row must be what the log says it was, or nothing is written and the entry is undone with it.
"""

from __future__ import annotations

from governance.errors import ConflictError
from governance.log.port import Execute

WORKSPACE = "default"
"""MLflow's only workspace where workspaces are off, as on a governed server."""
_ROW = "workspace = ? AND name = ? AND alias = ?"
_READ = f"SELECT version FROM registered_model_aliases WHERE {_ROW}"  # noqa: S608 - no value in it
_VERSION = "SELECT current_stage FROM model_versions WHERE workspace = ? AND name = ? AND version = ?"
_INSERT = "INSERT INTO registered_model_aliases (workspace, name, alias, version) VALUES (?, ?, ?, ?)"
_UPDATE = f"UPDATE registered_model_aliases SET version = ? WHERE {_ROW} AND version = ?"  # noqa: S608
_DELETE = f"DELETE FROM registered_model_aliases WHERE {_ROW} AND version = ?"  # noqa: S608
_DELETED_STAGE = "Deleted_Internal"


class RegistryAliases:
    """See the module's docstring."""

    def move(self, execute: Execute, model: str, alias: str, from_version: str | None, to_version: str | None) -> None:
        """Moves an alias from who held it to who is to hold it; None: nobody. Raises `ConflictError`."""
        where = (WORKSPACE, model, alias)
        held = execute(_READ, where)
        found = str(held[0][0]) if held else None
        if found != from_version:
            raise ConflictError(
                f"in the registry {alias} of {model} is at version {found or 'none'}",
                expected=f"{from_version or 'none'}, as the log says",
                fix="countersign verify shows what moved it; nothing was changed",
            )
        if to_version is not None:
            _check_version(execute, model, to_version)
        if to_version is None and found is not None:
            execute(_DELETE, (*where, int(found)))
        elif to_version is not None and found is None:
            execute(_INSERT, (*where, int(to_version)))
        elif to_version is not None and found is not None and found != to_version:
            execute(_UPDATE, (int(to_version), *where, int(found)))


def _check_version(execute: Execute, model: str, version: str) -> None:
    rows = execute(_VERSION, (WORKSPACE, model, int(version))) if version.isdecimal() else []
    if not rows or rows[0][0] == _DELETED_STAGE:
        raise ConflictError(
            f"the registry has no version {version} of {model}",
            expected="the version that the log registered",
            fix="countersign verify shows the difference; nothing was changed",
        )
