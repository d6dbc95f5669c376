"""MLflow's tables, made once for all tests: its sixty migrations take seconds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.kept import KEPT
from tests.project import one_at_a_time, session_folder


@pytest.fixture(scope="session")
def mlflow_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry that nobody has used, for all workers of a test run; read only."""
    from governance.registry.mlflow import prepare_sqlite  # tests of the core never need it

    folder = session_folder(tmp_path_factory) / "mlflow-tables"
    with one_at_a_time(folder):
        path = folder / "registry.db"
        prepare_sqlite(path, folder / "artifacts", lambda text: None)
    return path


def with_tables(template: Path, database: Path) -> None:
    """Adds them to a database, beside what stands there."""
    from governance.log.sqlite import SqliteDatabase
    from governance.registry.mlflow import TABLE
    from governance.registry.schema import install_tables

    database.parent.mkdir(parents=True, exist_ok=True)
    install_tables(template, SqliteDatabase(database), TABLE)


def add_tables(database: Path, artifacts: Path) -> None:
    """As a server makes them at its first start, where they are not there yet. Kept from one test
    run to the next, for each version of MLflow.
    """
    from governance.registry.mlflow import TABLE, prepare_sqlite

    has_tables = "SELECT 1 FROM sqlite_master WHERE name = ?"
    with closing(sqlite3.connect(database)) as there:
        if there.execute(has_tables, (TABLE,)).fetchone():
            return
    folder = KEPT / f"mlflow-{version('mlflow')}"
    with one_at_a_time(folder):
        prepare_sqlite(folder / "registry.db", folder / "artifacts", lambda text: None)
    with_tables(folder / "registry.db", database)
    with closing(sqlite3.connect(database)) as there, there:
        location = f"{artifacts.absolute().as_uri()}/0"
        there.execute("UPDATE experiments SET artifact_location = ?", (location,))
