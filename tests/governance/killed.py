"""Processes that are killed before a statement reaches the database of the log."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from governance.base.errors import CountersignError
from governance.log import sqlite

try:
    from psycopg import Connection as Postgres
except ImportError:  # the extra `server` is not installed: no test reaches PostgreSQL
    Postgres = None

WRITES = re.compile(r"BEGIN IMMEDIATE|BEGIN .*READ WRITE")


def in_child(action: Callable[[], object]) -> int:
    """Runs `action` in a forked process; how it ended: 0, minus the signal, or 10 + the exit code
    of its error.
    """
    child = os.fork()
    if child == 0:
        code = 99
        try:
            action()
            code = 0
        except CountersignError as error:
            code = 10 + error.exit_code
            with contextlib.suppress(
                OSError
            ):  # standard error may be a file, and files may be full
                os.write(2, f"{error}\n".encode())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextlib.contextmanager
def dying(moment: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In here, this process ends before its statement number `moment` reaches the database."""
    left = [moment]

    def seen(_: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    with _telling(seen, monkeypatch):
        yield


@contextlib.contextmanager
def dying_at_write(moment: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In here, a process ends before statement number `moment` of its writing transactions reaches
    the database.
    """
    left, writing = [moment], [False]

    def seen(statement: str) -> None:
        writing[0] = writing[0] or WRITES.match(statement) is not None
        if not writing[0]:
            return
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        writing[0] = not statement.startswith(("COMMIT", "ROLLBACK"))

    with _telling(seen, monkeypatch):
        yield


@contextlib.contextmanager
def dying_at_step(moment: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In here, a process ends before step number `moment`: a statement of the database, or a file
    that is made, put on the disk, renamed or removed.
    """
    left = [moment]

    def seen(_: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def told(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*arguments: Any, **options: Any) -> Any:
            seen(name)
            return real(*arguments, **options)

        return call

    with _telling(seen, monkeypatch), monkeypatch.context() as patched:
        for name in ("open", "fsync", "replace", "unlink"):
            patched.setattr(os, name, told(name))
        yield


@contextlib.contextmanager
def _telling(seen: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In here, `seen` is told of each statement before it reaches the database."""
    real, ask = sqlite.connect, getattr(Postgres, "execute", None)

    def connect(path: Path, *, write: bool) -> sqlite3.Connection:
        connection = real(path, write=write)
        connection.set_trace_callback(seen)
        return connection

    def execute(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        seen(str(query))
        return ask(self, query, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(sqlite, "connect", connect)
        if Postgres is not None:
            patched.setattr(Postgres, "execute", execute)
        yield
