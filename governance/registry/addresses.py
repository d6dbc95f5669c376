"""The addresses of files that MLflow keeps in its tables: where they point, and moving them.

MLflow writes absolute addresses. Two things move them: a server that takes over a registry, which
serves the same files by its own addresses; and a state folder that was moved or copied whole, in
which the database stands beside the files.
"""

from __future__ import annotations

from pathlib import Path

from governance.log.port import Execute
from governance.log.sql import Database
from governance.log.sqlite import SqliteDatabase
from governance.registry.rows import WORKSPACE

ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)
"""Tables and columns of MLflow that have addresses of files."""
_LOCATION = "SELECT artifact_location FROM experiments WHERE workspace = ? AND name = ?"


def prefix_of(root: Path) -> str:
    """How the addresses below a folder begin."""
    return root.absolute().as_uri().rstrip("/") + "/"


def moved_from(database: Database, project: str, root: Path) -> str | None:
    """How this registry's addresses begin, where they do not point below `root` though the files
    are there: the folder of database and files was moved, or copied whole. None where they do.
    """
    if not isinstance(database, SqliteDatabase) or not _beside(database, root):
        return None
    with database.snapshot() as execute:
        if execute is None or not database.has(execute, "experiments"):
            return None
        rows = execute(_LOCATION, (WORKSPACE, project))
    location = str(rows[0][0]).rstrip("/") + "/" if rows else ""
    return location if location.startswith("file:") and location != prefix_of(root) else None


def follow(database: Database, project: str, root: Path) -> int:
    """Lets the addresses of a moved registry point to its files again. Returns the number of
    changed rows.
    """
    before = moved_from(database, project, root)
    if before is None:
        return 0
    with database.transaction() as execute:
        return sum(
            replace(database, execute, table, column, before, prefix_of(root))
            for table, column in ADDRESSES
        )


def replace(
    database: Database, execute: Execute, table: str, column: str, before: str, after: str
) -> int:
    """Replaces the beginning of the addresses in one column; the folder itself counts, too. Returns
    the number of changed rows.
    """
    if not database.has(execute, table):
        return 0
    below = f"WHERE substr({column} || '/', 1, {len(before)}) = ?"
    count: int = execute(f"SELECT COUNT(*) FROM {table} {below}", (before,))[0][0]  # noqa: S608
    if count:
        path = f"substr({column}, {len(before) + 1})"
        moved = f"rtrim(? || {path}, '/')"
        execute(f"UPDATE {table} SET {column} = {moved} {below}", (after, before))  # noqa: S608
    return count


def _beside(database: SqliteDatabase, root: Path) -> bool:
    """Whether the files stand beside the database, so that both are moved together."""
    return root.is_dir() and root.absolute().parent == database.path.absolute().parent
