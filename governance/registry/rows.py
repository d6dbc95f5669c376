"""The rows of models, versions, aliases and runs in the registry's tables. They are not trusted:
`governance.release.reconcile` compares them with the log.

They are read in one snapshot by SQL, because MLflow's own methods leave out deleted rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.base.errors import StorageError
from governance.log.sqlite import connect
from governance.registry.aliases import WORKSPACE
from governance.registry.port import DIGEST_TAG

Read = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]
"""Runs one SELECT, placeholders written `?`."""
DELETED_STAGE = "Deleted_Internal"
NO_STAGE = (None, "None")
_TABLES = (
    "registered_models",
    "model_versions",
    "model_version_tags",
    "registered_model_aliases",
    "runs",
)


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
    """Where MLflow sends whoever loads it: another column than the source that its pages show."""

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


def read_rows(read: Read, runs: Collection[str]) -> Rows:
    """The registry's rows of the one workspace that a governed server has."""
    versions = read(
        "SELECT v.name, v.version, v.source, v.run_id, v.current_stage, t.value, v.storage_location"
        " FROM model_versions v LEFT JOIN model_version_tags t ON t.workspace = v.workspace AND"
        " t.name = v.name AND t.version = v.version AND t.key = ? WHERE v.workspace = ? ORDER BY"
        " v.name, v.version",
        (DIGEST_TAG, WORKSPACE),
    )
    aliases = read(
        "SELECT name, alias, version FROM registered_model_aliases WHERE workspace = ? ORDER BY"
        " name, alias",
        (WORKSPACE,),
    )
    active = [
        run
        for run in sorted(runs)
        if read("SELECT 1 FROM runs WHERE run_uuid = ? AND lifecycle_stage = 'active'", (run,))
    ]
    return Rows(
        models=frozenset(str(row[0]) for row in read("SELECT name FROM registered_models", ())),
        versions=tuple(_version(row) for row in versions),
        aliases=tuple(
            AliasRow(str(name), str(alias), str(number)) for name, alias, number in aliases
        ),
        runs=frozenset(active),
    )


@contextmanager
def sqlite_reading(path: Path) -> Iterator[Read | None]:
    """Reading in one snapshot; None where the file, or a table of MLflow's in it, is not there."""
    if not path.exists():
        yield None
        return
    try:
        with closing(connect(path, write=False)) as connection:
            connection.execute("BEGIN")
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if not {str(row[0]) for row in tables}.issuperset(_TABLES):
                yield None
                return
            yield lambda statement, values: connection.execute(statement, tuple(values)).fetchall()
    except sqlite3.Error as error:
        raise StorageError(f"the registry cannot be read: {error}", where=str(path)) from None


@contextmanager
def postgres_reading(uri: str) -> Iterator[Read | None]:
    """As `sqlite_reading`, of PostgreSQL."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri.replace("postgresql://", "postgresql+psycopg://", 1))
    try:
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            if not set(sqlalchemy.inspect(connection).get_table_names()).issuperset(_TABLES):
                yield None
                return

            def read(statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
                result = connection.exec_driver_sql(statement.replace("?", "%s"), tuple(values))
                return [tuple(row) for row in result.fetchall()]

            yield read
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise StorageError(
            f"the registry cannot be read: {type(error).__name__}", where="PostgreSQL"
        ) from None
    finally:
        engine.dispose()


def _version(row: tuple[Any, ...]) -> VersionRow:
    name, number, source, run, stage, digest, location = row
    shown = str(source or "")
    return VersionRow(
        str(name), str(number), shown, str(run or ""), stage, digest, str(location or shown)
    )
