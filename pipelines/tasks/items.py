"""The texts of a task's items that must not be in training data.

1. The items are those of the split that is evaluated. Items of other splits are examples for the
   model, and may be trained on.
2. A question is a text of a field that `doc_to_text` names; in lists and objects, which often hold
   the choices, a text of eight words or more. Where it names no field of an item, every text is
   one.
3. All other texts count as answers: targets, choices, worked solutions.
4. An item that cannot be read stops the check.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.base.errors import InputError
from pipelines.features.leaks import LONG_PROMPT
from pipelines.tasks.definition import Task, read


@dataclass(frozen=True)
class Items:
    """(2), (3) The texts of all items."""

    questions: frozenset[str]
    answers: frozenset[str]


def read_items(root: Path, name: str) -> Items:
    """The texts of the task `name` of the project at `root`. Raises `ConfigError`, `InputError`."""
    task = read(root, name)
    named = fields_of(task.doc_to_text)
    questions, answers = set[str](), set[str]()
    for item in _items(root, task):
        asked = named & item.keys() or item.keys()
        for field, value in item.items():
            texts = set(_texts(value))
            found = {text for text in texts if field in asked and _asks(text, value)}
            questions |= found
            answers |= texts - found
    return Items(frozenset(questions), frozenset(answers))


def fields_of(doc_to_text: str) -> frozenset[str]:
    """The names that a template uses. A template that is one name is the field of that name, as the
    library has it.
    """
    import jinja2
    from jinja2 import meta
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    if doc_to_text.isidentifier():
        return frozenset({doc_to_text})
    try:
        return frozenset(
            meta.find_undeclared_variables(ImmutableSandboxedEnvironment().parse(doc_to_text))
        )
    except jinja2.TemplateError:
        return frozenset()  # (2) then every text is a question


def _items(root: Path, task: Task) -> Iterator[dict[str, Any]]:
    """(1), (4)"""
    file = root / task.dataset_kwargs.files[task.split or ""]
    try:
        items = list(READERS[task.dataset_path](file))
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        found = f"the items cannot be read as {task.dataset_path} ({type(error).__name__})"
        raise InputError(found, where=str(file.relative_to(root))) from None
    wrong = next((at for at, item in enumerate(items, 1) if not isinstance(item, dict)), None)
    if wrong is not None or not items:
        found = f"item {wrong} is no object" if wrong else "there is no item"
        raise InputError(found, where=str(file.relative_to(root)))
    yield from items


def _json(file: Path) -> Iterable[Any]:
    """A list, or one value on each line. Raises `ValueError`."""
    text = file.read_text(encoding="utf-8-sig")
    if text.lstrip()[:1] == "[":
        listed: list[Any] = json.loads(text)
        return listed
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def _csv(file: Path) -> Iterable[Any]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream, strict=True))


def _parquet(file: Path) -> Iterable[Any]:
    import pyarrow.parquet as pq

    rows: list[Any] = pq.read_table(file).to_pylist()  # its errors are of ValueError or OSError
    return rows


READERS: dict[str, Callable[[Path], Iterable[Any]]] = {
    "json": _json,
    "csv": _csv,
    "parquet": _parquet,
}
"""`dataset_path` to the reader of its files."""


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for member in value.values():
            yield from _texts(member)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from _texts(member)


def _asks(text: str, value: Any) -> bool:
    return isinstance(value, str) or len(text.split()) >= LONG_PROMPT
