"""The second check: what SQLAlchemy is about to write to the registry's tables.

1. Only a flush that the stores permit (`governor.permitting`) writes a row of a governed model, or
   of one that looks like it. A rename appears here as another `name` of a row.
2. A statement that writes these tables outside a flush, in bulk or as text, is refused. MLflow has
   none, and its rows cannot be judged.
3. A new model's name is an ASCII slug.
4. Only the server writes tags with its own prefixes, into any table of tags: of models, runs,
   experiments, traces, datasets and all others. This refusal is not recorded, because the
   transaction that it ends holds the database. The methods refuse first, and record.

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

from governance.base.errors import CountersignError, RefusedError
from governance.registry.governed.answers import answer
from governance.registry.governed.governor import Governor, is_permitted, writes_own_tags
from governance.registry.governed.names import Names, begins_with, is_slug
from governance.registry.governed.rules import OURS

ROWS = (
    SqlRegisteredModel,
    SqlModelVersion,
    SqlModelVersionTag,
    SqlRegisteredModelTag,
    SqlRegisteredModelAlias,
)
KEY_COLUMNS = {"input_tags": "name", "logged_model_tags": "tag_key"}
"""The column of a tag's key, in tables of MLflow where it is not `key`."""
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

    def before_cursor_execute(
        _: Any, __: Any, statement: str, ___: Any, context: Any, ____: bool
    ) -> None:
        _judge_tags(context)
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


def _judge_tags(context: Any) -> None:
    """(4)"""
    if writes_own_tags() or not (context and (context.isinsert or context.isupdate)):
        return
    table = getattr(getattr(context.compiled, "statement", None), "table", None)
    name = str(getattr(table, "name", ""))
    if not name.endswith("tags"):
        return
    column = KEY_COLUMNS.get(name, "key")
    # an INSERT of many rows numbers its parameters; an UPDATE names the table
    bound = re.compile(rf"(?:{name}_)?{column}(?:_m?\d+)?")
    for parameters in context.compiled_parameters:
        for parameter, key in parameters.items():
            if bound.fullmatch(parameter) and begins_with(str(key), OURS):
                reason = f"only the server writes the tag {str(key)[:100]!r}"
                raise answer(RefusedError(reason, where=name, fix="use another name"))


def _judge(rows: Iterable[tuple[str, Any]], governor: Governor) -> None:
    """(1)"""
    names: Names | None = None
    for name, row in rows:
        if is_permitted(name):
            continue
        try:
            names = names or governor.snapshot().names
            is_misnamed = _is_new_name(name, row) and not is_slug(name)  # (3)
            if not names.is_governed(name) and names.resembles(name) is None and not is_misnamed:
                continue
            kind = type(row).__name__.removeprefix("Sql")
            what = "with such a name" if is_misnamed else "of a governed model"
            reason = f"a {kind} {what} is not written this way"
            error: CountersignError = governor.refuse("write", name, reason, "")
        except CountersignError as found:
            error = found
        raise answer(error)


def _is_new_name(name: str, row: Any) -> bool:
    is_model = isinstance(row, SqlRegisteredModel)
    return is_model and name in sqlalchemy.inspect(row).attrs.name.history.added


def _rows(session: Any) -> Iterator[tuple[str, Any]]:
    """The registry's rows that a flush would write, with each name that the row has or had."""
    for row in [*session.new, *session.dirty, *session.deleted]:
        if not isinstance(row, ROWS) or (row in session.dirty and not session.is_modified(row)):
            continue
        history = sqlalchemy.inspect(row).attrs.name.history
        values = {*(history.added or ()), *(history.unchanged or ()), *(history.deleted or ())}
        for name in values or {getattr(row, "name", "")}:
            yield str(name), row
