"""A registry that one machine used alone becomes the server's.

The addresses of runs and versions name a folder on this machine's disk. A server gives the same
files through the write-once store: `file:///ROOT/x` becomes `mlflow-artifacts:/x`. The bytes stay
where they are.
"""

from __future__ import annotations

from pathlib import Path

from governance.log.sql import Database

SERVED = "mlflow-artifacts:/"
COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)


def adopt(database: Database, root: Path) -> int:
    """Rewrites the addresses below `root` in one transaction. Returns the number of changed
    rows.
    """
    prefix = root.absolute().as_uri().rstrip("/") + "/"
    changed = 0
    with database.transaction() as execute:
        for table, column in COLUMNS:
            if not database.has(execute, table):
                continue
            below = f"WHERE substr({column} || '/', 1, {len(prefix)}) = ?"
            path = f"substr({column}, {len(prefix) + 1})"
            if table == "experiments":  # its folder may be the root; the server's is a part of it
                path = "CAST(experiment_id AS VARCHAR(20))"
            changed += execute(f"SELECT COUNT(*) FROM {table} {below}", (prefix,))[0][0]  # noqa: S608
            statement = f"UPDATE {table} SET {column} = ? || {path} {below}"  # noqa: S608
            execute(statement, (SERVED, prefix))
    return int(changed)
