"""Both databases of a log, and somebody who can write them past Countersign."""

from __future__ import annotations

import contextlib
import sqlite3

ADAPTERS = ["sqlite", "postgresql"]


def raw(address: str, *statements: str, guarded: bool = True) -> list[tuple[object, ...]]:
    """SQL behind the log's back, triggers and all or without them; the rows of the last
    statement.
    """
    if address.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(address.removeprefix("sqlite:///"))) as connection:
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            ).fetchall():
                if not guarded:
                    connection.execute(f"DROP TRIGGER {name}")
            rows = [connection.execute(statement).fetchall() for statement in statements][-1]
            connection.commit()
            return rows
    import psycopg

    with psycopg.connect(address) as database:
        if not guarded:
            database.execute("SET session_replication_role = replica")
        done = [database.execute(statement) for statement in statements][-1]
        return done.fetchall() if done.description else []
