"""The five kinds of dataset and their Arrow schemas. Every stage after ingest works on these
shapes.

To add a kind: an entry in `KINDS`, a normaliser per source shape in `pipelines.sources.shapes`, and
its name in `pipelines.params.Kind`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from governance.base.errors import ConfigError, did_you_mean

ROLES = ("system", "user", "assistant", "tool")
"""The roles of messages, by TRL's names. Roles in source files are mapped to them."""


def _required(name: str, type_: pa.DataType) -> pa.Field:
    return pa.field(name, type_, nullable=False)


MESSAGE = pa.struct([_required("role", pa.string()), _required("content", pa.string())])
"""One turn of a conversation, TRL's conversational format."""

MESSAGES = pa.list_(_required("element", MESSAGE))
"""A conversation or a part of one, in order."""

COMPLETIONS = pa.list_(_required("element", MESSAGES))
"""Several answers to one prompt."""

RATING = pa.struct([_required("rater", pa.string()), _required("value", pa.float64())])
"""One rater's judgement: a score, or the number of the preferred answer (1-based), 0 for a tie."""

COMMON = (
    _required("id", pa.string()),
    _required("split", pa.string()),
    _required("file", pa.string()),
    _required("row", pa.int64()),
)
"""Columns of every kind: the id (an HMAC of the content), the split (derived from the id), and the
place in the source (1-based).
"""


@dataclass(frozen=True)
class Kind:
    """The columns of a kind of record."""

    name: str
    message_columns: tuple[str, ...]
    """Columns holding one list of messages."""
    completion_columns: tuple[str, ...] = ()
    """Columns holding several lists of messages."""
    text_columns: tuple[str, ...] = ()
    """Columns holding plain text that may be null."""
    other_columns: tuple[pa.Field, ...] = ()

    @cached_property
    def content(self) -> list[pa.Field]:
        """The columns that determine a record's id."""
        return [
            *(_required(name, MESSAGES) for name in self.message_columns),
            *(_required(name, COMPLETIONS) for name in self.completion_columns),
            *(pa.field(name, pa.string()) for name in self.text_columns),
            *self.other_columns,
        ]

    @cached_property
    def schema(self) -> pa.Schema:
        """The schema of a records file."""
        return pa.schema([*COMMON, *self.content])

    @property
    def content_columns(self) -> tuple[str, ...]:
        """The names of the columns that determine a record's id, in schema order."""
        return tuple(field.name for field in self.content)


_RATINGS = _required("ratings", pa.list_(_required("element", RATING)))

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        # A raw text (pre-training) is a conversation of one `assistant` message: what the model is
        # to produce.
        Kind("conversation", ("messages",)),
        Kind("preference", ("prompt", "chosen", "rejected")),
        Kind("unpaired", ("prompt", "completion"), (), (), (_required("label", pa.bool_()),)),
        Kind("prompt", ("prompt",), text_columns=("answer",)),
        Kind("rated", ("prompt",), ("completions",), (), (_RATINGS,)),
    )
}
"""Kind name to kind."""


def suite_mistake(kinds: Mapping[str, str], name: str, kind: str, where: str) -> ConfigError | None:
    """The mistake that no quality suite has this name, or that it is for another kind of dataset.
    `kinds` has the kind of each suite.
    """
    if kinds.get(name) == kind:
        return None
    fitting = sorted(suite for suite in kinds if kinds[suite] == kind)
    found = f"there is no quality suite {name!r}"
    if name in kinds:
        found = f"the quality suite {name!r} is for {kinds[name]}"
    known = ", ".join(fitting) or "there is none yet"
    expected = f"a suite in policies/quality/ for {kind}: {known}"
    return ConfigError(found, where=where, expected=expected, fix=did_you_mean(name, fitting))
