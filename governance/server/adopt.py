"""A registry that one machine used alone becomes the server's.

The addresses of runs and versions name a folder on this machine's disk. A server gives the same
files through the write-once store: `file:///ROOT/x` becomes `mlflow-artifacts:/x`. The bytes stay
where they are.
"""

from __future__ import annotations

from pathlib import Path

from governance.base.errors import StorageError

SERVED = "mlflow-artifacts:/"
COLUMNS = (
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)


def adopt(engine_uri: str, root: Path) -> int:
    """Rewrites the addresses below `root` in one transaction. Returns the number of changed
    rows.
    """
    import sqlalchemy
    from sqlalchemy import text

    prefix = root.absolute().as_uri().rstrip("/") + "/"
    engine = sqlalchemy.create_engine(engine_uri)
    changed = 0
    try:
        with engine.begin() as connection:
            tables = set(sqlalchemy.inspect(connection).get_table_names())
            if "experiments" not in tables:
                return 0
            values = {
                "prefix": prefix,
                "size": len(prefix),
                "served": SERVED,
                "root": prefix.rstrip("/"),
            }
            changed += connection.execute(
                text(
                    "UPDATE experiments SET artifact_location = :served || CAST(experiment_id AS"
                    " VARCHAR(20)) WHERE artifact_location = :root OR substr(artifact_location, 1,"
                    " :size) = :prefix"
                ),
                values,
            ).rowcount
            for table, column in COLUMNS:
                if table in tables:
                    statement = (
                        f"UPDATE {table} SET {column} = :served || substr({column}, :size + 1)"  # noqa: S608
                        f" WHERE substr({column}, 1, :size) = :prefix"
                    )
                    changed += connection.execute(text(statement), values).rowcount
    except sqlalchemy.exc.SQLAlchemyError as error:
        first = str(error).splitlines()[0][:200]
        raise StorageError(
            f"the registry's addresses cannot be rewritten: {first}", where=str(root)
        ) from None
    finally:
        engine.dispose()
    return int(changed)
