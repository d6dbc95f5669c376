"""Puts a prepared SQLite database's tables into another one, all at once or not at all.

MLflow makes its tables by some sixty migrations, and commits each of them. If it is killed between
two, the database can neither be used nor be completed. So the tables are made in a file of their
own first and copied in one transaction, beside what is there already (our log).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from governance.log.sql import Database

_TRANSACTION = ("BEGIN TRANSACTION;", "COMMIT;")
"""What `iterdump` puts around the statements."""


def install_tables(template: Path, target: Database, marker: str) -> None:
    """Copies all tables, rows, indexes and triggers of `template` into `target`. Does nothing where
    `target` has the table `marker`.
    """
    with closing(sqlite3.connect(template)) as source, target.transaction() as execute:
        if not target.has(execute, marker):
            for statement in source.iterdump():
                if statement not in _TRANSACTION:
                    execute(statement, ())


@contextmanager
def unsynced() -> Iterator[None]:
    """Databases that SQLAlchemy opens here do not wait for the disk. Use it only for a database
    that is thrown away if it is incomplete.
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
