"""Puts a prepared SQLite database's tables into another one, all at once or not at all.

MLflow makes its tables by some sixty migrations, each of them final: a kill among them leaves a
database that can neither be used nor be finished. So they are made in a file of their own first and
copied in one transaction, beside whatever stands there already (our log).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BUSY_SECONDS = 30.0


def has_table(database: Path, table: str) -> bool:
    """Whether `database` exists and has that table. Raises `sqlite3.Error`."""
    if not database.exists():
        return False
    connection = sqlite3.connect(database, timeout=BUSY_SECONDS)
    try:
        return _has(connection, table)
    finally:
        connection.close()


def install_tables(template: Path, target: Path, marker: str) -> bool:
    """Copies all tables, rows, indexes and triggers of `template` into `target`.

    Does nothing where `target` has the table `marker`; returns whether it copied. Raises
    `sqlite3.Error`.
    """
    connection = sqlite3.connect(target, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        connection.execute("ATTACH DATABASE ? AS template", (str(template),))
        connection.execute("BEGIN IMMEDIATE")
        if _has(connection, marker):
            connection.execute("ROLLBACK")
            return False
        try:
            _copy(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return True
    finally:
        connection.close()


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
    query = "SELECT 1 FROM main.sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(query, (table,)).fetchone() is not None


def _copy(connection: sqlite3.Connection) -> None:
    query = (
        "SELECT type, name, sql FROM template.sqlite_master WHERE sql > '' AND name NOT LIKE"
        " 'sqlite%'"
    )
    objects = connection.execute(query).fetchall()
    for _, _, sql in (row for row in objects if row[0] == "table"):
        connection.execute(sql)
    for _, name, _ in (row for row in objects if row[0] == "table"):
        stored = connection.execute(
            "SELECT name FROM pragma_table_xinfo(?, 'template') WHERE hidden = 0", (name,)
        )
        columns = ", ".join(_quote(row[0]) for row in stored)
        rows = f"SELECT {columns} FROM template.{_quote(name)}"  # names from the database, quoted  # noqa: S608
        connection.execute(f"INSERT INTO main.{_quote(name)} ({columns}) {rows}")
    for _, _, sql in (row for row in objects if row[0] != "table"):
        connection.execute(sql)


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
