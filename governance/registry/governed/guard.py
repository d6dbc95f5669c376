"""The second check: what SQLAlchemy is about to write to the registry's tables.

1. Only a flush that the stores permit (`governor.permitting`) writes a row of a governed model, or
   of one that looks like it. A rename appears here as another `name` of a row.
2. A statement that writes these tables outside a flush, in bulk or as text, is refused. MLflow has
   none, and its rows cannot be judged.

This holds for every session on the registry's database in this process. A program that opens the
database itself is not stopped. `governance.release.reconcile` finds what it did.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import sqlalchemy
from mlflow.store.model_registry.dbmodels.models import (
    SqlModelVersion,
    SqlModelVersionTag,
    SqlRegisteredModel,
    SqlRegisteredModelAlias,
    SqlRegisteredModelTag,
)
from sqlalchemy import event
from sqlalchemy.orm import Session

from governance.base.errors import CountersignError
from governance.registry.governed.answers import answer
from governance.registry.governed.governor import Governor, is_permitted
from governance.registry.governed.names import Names

ROWS = (
    SqlRegisteredModel,
    SqlModelVersion,
    SqlModelVersionTag,
    SqlRegisteredModelTag,
    SqlRegisteredModelAlias,
)
TABLES = tuple(row.__tablename__ for row in ROWS)
_TABLE = re.compile(rf"\b(?:{'|'.join(TABLES)})\b", re.IGNORECASE)
_VERB = re.compile(
    r"\b(?:insert|update|delete|replace|merge|alter|create|drop|truncate|copy)\b", re.IGNORECASE
)
_flushing: ContextVar[int] = ContextVar("countersign_flushing", default=0)


def install(engine: Any, governor: Governor) -> None:
    """Guards every session on `engine`, and the engine itself. Once per engine."""
    if getattr(engine, "_countersign_guard", None) is not None:
        return
    engine._countersign_guard = governor

    def before_flush(session: Any, _: Any, __: Any) -> None:
        if session.bind is engine:
            _judge(_rows(session), governor)
            _flushing.set(_flushing.get() + 1)

    def after_flush(session: Any, _: Any) -> None:
        if session.bind is engine:
            _flushing.set(max(0, _flushing.get() - 1))

    def before_cursor_execute(_: Any, __: Any, statement: str, *___: Any) -> None:
        if not _flushing.get() and _TABLE.search(statement) and _VERB.search(statement):
            reason = "only MLflow's own methods write the registry's tables"
            raise answer(governor.refuse("sql", "", reason, ""))

    def after_rollback(session: Any) -> None:
        if session.bind is engine:
            _flushing.set(0)

    event.listen(Session, "before_flush", before_flush)
    event.listen(Session, "after_flush", after_flush)
    event.listen(Session, "after_rollback", after_rollback)
    event.listen(engine, "before_cursor_execute", before_cursor_execute)


def _judge(rows: Iterable[tuple[str, Any]], governor: Governor) -> None:
    """(1)"""
    names: Names | None = None
    for name, row in rows:
        if is_permitted(name):
            continue
        try:
            names = names or governor.snapshot().names
            if not names.is_governed(name) and names.resembles(name) is None:
                continue
            kind = type(row).__name__.removeprefix("Sql")
            reason = f"a {kind} of a governed model is not written this way"
            error: CountersignError = governor.refuse("write", name, reason, "")
        except CountersignError as found:
            error = found
        raise answer(error)


def _rows(session: Any) -> Iterator[tuple[str, Any]]:
    """The registry's rows that a flush would write, with each name that the row has or had."""
    for row in [*session.new, *session.dirty, *session.deleted]:
        if not isinstance(row, ROWS) or (row in session.dirty and not session.is_modified(row)):
            continue
        history = sqlalchemy.inspect(row).attrs.name.history
        values = {*(history.added or ()), *(history.unchanged or ()), *(history.deleted or ())}
        for name in values or {getattr(row, "name", "")}:
            yield str(name), row
