"""Finds the shape of a file: the shape of a kind that fits most of the first rows, and its field
names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from governance.base.errors import InputError, unknown
from pipelines.kinds import TOOLS
from pipelines.sources import media, tools
from pipelines.sources.messages import messages_lost
from pipelines.sources.plain_names import plain_name
from pipelines.sources.readers import RowProblem
from pipelines.sources.shapes import MISSING, SHAPES, Fields, Record, Shape, beside, value_at

PROBE = 200
"""Number of rows that decide on a file's shape."""

NEAR = 0.75
"""Share of the best shape's rows: a shape that fits this many and is earlier in the table comes
first. A few rows without an answer do not turn questions and answers into plain text.
"""

RATER = re.compile(r"(annotator|annotation|rater|judge|rating|score|preference)(_?[0-9a-z]{1,2})?")
"""Names of columns with one rater's judgement each."""


@dataclass(frozen=True)
class Binding:
    """A shape with its field names in one file."""

    shape: Shape
    names: Mapping[str, str]
    """Slot to the field of the row."""
    raters: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    """Name of an extra column to the field of the row."""

    @cached_property
    def used(self) -> frozenset[str]:
        """Fields of the row that the shape uses."""
        names = (*self.names.values(), *self.raters, *self.extra.values())
        return frozenset((*names, *(name.split(".")[0] for name in names)))

    def lost(self, row: Mapping[str, Any]) -> set[str]:
        """Fields with a value that the record of this row does not keep: whole columns, parts of
        nested ones (`instances.1`), and members of messages (`messages.name`).
        """
        kept = frozenset((*self.names.values(), *self.raters, *self.extra.values()))
        lost = {name for name in row.keys() - self.used if row[name] is not None}
        for name in (row.keys() & self.used) - self._whole:
            lost |= set(messages_lost(row[name], name) if name in kept else _rest(row, name, kept))
        return lost

    @cached_property
    def _whole(self) -> frozenset[str]:
        """Fields that are kept as they are."""
        return frozenset((*self.extra.values(), self.names.get(TOOLS, "")))

    def record(self, row: Mapping[str, Any]) -> Record:
        """The record of a row. Raises `RowProblem`."""
        media.refuse(row)
        fields = Fields(row, self.names, self.raters, self.extra)
        record = self.shape.build(fields)
        _require_calls(record)
        return {**record, **beside(fields)}


def _require_calls(record: Record) -> None:
    """Raises `RowProblem` unless each answer of a tool has its call."""
    prompt = record.get("prompt", [])
    for column in ("messages", "prompt", "chosen", "rejected", "completion"):
        if column in record:
            before = [prompt] if column in ("chosen", "rejected", "completion") else []
            tools.require_answered(column, *before, record[column])
    for at, answer in enumerate(record.get("completions", [])):
        tools.require_answered(f"completions[{at}]", prompt, answer)


def _rest(value: Any, path: str, kept: Collection[str]) -> Iterator[str]:
    """What a nested value has beside the parts that are used."""
    inner = value[path] if "." not in path and isinstance(value, Mapping) else value
    members: Iterable[tuple[Any, Any]] = ()
    if isinstance(inner, Mapping):
        members = inner.items()
    elif isinstance(inner, list):
        members = enumerate(inner)
    for name, member in members:
        below = f"{path}.{name}"
        if below in kept or member is None:
            continue
        if any(used.startswith(f"{below}.") for used in kept):
            yield from _rest(member, below, kept)
        else:
            yield below


class NoShape(InputError):
    """No shape of a kind fits the rows."""

    row_problem: RowProblem | None = None
    """Why the first row does not fit the shape that takes most of its fields."""


def bind(
    kind: str,
    rows: Sequence[Mapping[str, Any]],
    given: Mapping[str, str],
    where: str = "",
    extra: Mapping[str, str] | None = None,
) -> Binding:
    """The shape that fits most of `rows`. Raises `InputError` or `ConfigError`.

    `given` names fields by hand, target to source. An empty source means that the target is not
    used. `extra` names fields that are kept as they are.
    """
    _check_given(kind, given, where)
    _check_extra(rows, extra or {}, where)
    columns = Counter(name for row in rows for name in row)
    candidates = [_bound(shape, columns, given) for shape in SHAPES[kind]]
    bindings = [replace(each, extra=extra or {}) for each in candidates if each is not None]
    scores = [sum(_fits(binding, row) for row in rows) for binding in bindings]
    if not any(scores):
        raise _no_shape(kind, bindings, rows, columns, where)
    enough = NEAR * max(scores)
    return next(binding for binding, score in zip(bindings, scores, strict=True) if score >= enough)


def fitting_kinds(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Kinds that fit at least half of `rows`, the most likely first; plain text comes last."""
    fitting: dict[str, bool] = {}
    for kind in ("rated", "preference", "unpaired", "conversation", "prompt"):
        try:
            binding = bind(kind, rows, {})
        except InputError:
            continue
        if 2 * sum(_fits(binding, row) for row in rows) >= len(rows):
            fitting[kind] = binding.shape.name == "text"
    return sorted(fitting, key=fitting.__getitem__)


def _check_given(kind: str, given: Mapping[str, str], where: str) -> None:
    slots = sorted({slot for shape in SHAPES[kind] for slot in (*shape.needs, *shape.takes)})
    for slot in given:
        if slot not in slots:
            raise unknown(f"field of {kind} records called", slot, slots, where)


def _check_extra(rows: Sequence[Mapping[str, Any]], extra: Mapping[str, str], where: str) -> None:
    """Raises `ConfigError` for an extra column whose field none of the rows has."""
    for source in extra.values():
        if rows and all(value_at(row, source) is MISSING for row in rows):
            raise unknown(
                "field", source, sorted({plain_name(name) for row in rows for name in row}), where
            )


def _bound(shape: Shape, columns: Mapping[str, int], given: Mapping[str, str]) -> Binding | None:
    """The shape with the column names of the file; None if a required one is missing."""
    names: dict[str, str] = {}
    if not set(given) <= {*shape.needs, *shape.takes}:
        return None
    for slot, known in (*shape.needs.items(), *shape.takes.items()):
        free = [name for name in known if name in columns and name not in given.values()]
        name = given.get(slot, next(iter(free), ""))
        if name:
            names[slot] = name
        elif slot in shape.needs:
            return None
    if not shape.raters:
        return Binding(shape, names)
    unused = set(columns) - set(names.values())
    raters = tuple(sorted(name for name in unused if RATER.fullmatch(name)))
    return Binding(shape, names, raters) if raters else None


def _fits(binding: Binding, row: Mapping[str, Any]) -> bool:
    try:
        binding.record(row)
    except RowProblem as problem:
        # These are defects of a row that has the shape, and must not make another shape look
        # better.
        return problem.reason in ("PROMPT_MISMATCH", "NO_COMPARISON", media.CODE)
    return True


def _no_shape(
    kind: str,
    bindings: list[Binding],
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, int],
    where: str,
) -> NoShape:
    """The error that lists the fields of the file and what a row of this kind needs."""
    found = ", ".join(sorted({plain_name(name) for name in columns})[:20]) or "no fields"
    row_problem, why = None, ""
    if bindings and rows:
        nearest = max(bindings, key=lambda binding: len(binding.used))
        try:
            nearest.record(rows[0])
        except RowProblem as problem:
            row_problem = problem
            why = f"; first row: {problem.reason} in {problem.field or 'the row'}, {problem.detail}"
    error = NoShape(
        f"rows with {found} have no known shape of kind {kind}{why}",
        where=where,
        expected="; or ".join(" + ".join(shape.needs) for shape in SHAPES[kind]),
        fix=(
            "name the fields in params.yaml, e.g. `fields: {prompt: question}`, or choose another"
            " kind"
        ),
    )
    error.row_problem = row_problem
    return error
