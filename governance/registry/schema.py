"""Puts a prepared SQLite database's tables into another one, all at once or not at all.

MLflow makes its tables by some sixty migrations, each of them final: a kill among them leaves a
database that can neither be used nor be finished. So they are made in a file of their own first and
copied in one transaction, beside whatever stands there already (our log).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

BUSY_SECONDS = 30.0
_TRANSACTION = ("BEGIN TRANSACTION;", "COMMIT;")
"""What `iterdump` puts around the statements."""


def has_table(database: Path, table: str) -> bool:
    """Whether `database` exists and has that table. Raises `sqlite3.Error`."""
    if not database.exists():
        return False
    with closing(sqlite3.connect(database, timeout=BUSY_SECONDS)) as connection:
        return _has(connection, table)


def install_tables(template: Path, target: Path, marker: str) -> None:
    """Copies all tables, rows, indexes and triggers of `template` into `target`. Does nothing where
    `target` has the table `marker`. Raises `sqlite3.Error`.
    """
    with (
        closing(sqlite3.connect(template)) as source,
        closing(sqlite3.connect(target, timeout=BUSY_SECONDS, isolation_level=None)) as connection,
    ):
        connection.execute("BEGIN IMMEDIATE")  # closing rolls back what is not committed
        if _has(connection, marker):
            return
        for statement in source.iterdump():
            if statement not in _TRANSACTION:
                connection.execute(statement)
        connection.execute("COMMIT")


@contextmanager
def unsynced() -> Iterator[None]:
    """Databases opened meanwhile do not wait for the disk: for one that is thrown away unless it is
    whole.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def hurry(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")

    event.listen(Engine, "connect", hurry)
    try:
        yield
    finally:
        event.remove(Engine, "connect", hurry)


def _has(connection: sqlite3.Connection, table: str) -> bool:
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(query, (table,)).fetchone() is not None
