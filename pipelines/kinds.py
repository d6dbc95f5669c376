"""The five kinds of dataset and their Arrow schemas. Every stage after ingest works on these
shapes.

To add a kind: an entry in `KINDS`, a normaliser per source shape in `pipelines.sources.shapes`, and
its name in `pipelines.params.Kind`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

ROLES = ("system", "user", "assistant", "tool")
"""The roles of messages, by TRL's names. Roles in source files are mapped to them."""

MESSAGE = pa.struct(
    [
        pa.field("role", pa.string(), nullable=False),
        pa.field("content", pa.string(), nullable=False),
    ]
)
"""One turn of a conversation, TRL's conversational format."""

MESSAGES = pa.list_(pa.field("element", MESSAGE, nullable=False))
"""A conversation or a part of one, in order."""

COMPLETIONS = pa.list_(pa.field("element", MESSAGES, nullable=False))
"""Several answers to one prompt."""

RATING = pa.struct(
    [
        pa.field("rater", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
    ]
)
"""One rater's judgement: a score, or the number of the preferred answer (1-based), 0 for a tie."""

COMMON = (
    pa.field("id", pa.string(), nullable=False),
    pa.field("split", pa.string(), nullable=False),
    pa.field("file", pa.string(), nullable=False),
    pa.field("row", pa.int64(), nullable=False),
)
"""Columns of every kind: the id (an HMAC of the content), the split (derived from the id), and the
place in the source (1-based).
"""


@dataclass(frozen=True)
class Kind:
    """The columns of a kind of record."""

    name: str
    schema: pa.Schema
    message_columns: tuple[str, ...]
    """Columns holding one list of messages."""
    completion_columns: tuple[str, ...] = ()
    """Columns holding several lists of messages."""
    text_columns: tuple[str, ...] = ()
    """Columns holding plain text that may be null."""

    @cached_property
    def content_columns(self) -> tuple[str, ...]:
        """The columns that determine a record's id, in schema order."""
        common = {field.name for field in COMMON}
        return tuple(name for name in self.schema.names if name not in common)


def _messages(*names: str) -> list[pa.Field]:
    return [pa.field(name, MESSAGES, nullable=False) for name in names]


def _schema(*fields: pa.Field) -> pa.Schema:
    return pa.schema([*COMMON, *fields])


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        # A raw text (pre-training) is a conversation of one `assistant` message: what the model is
        # to produce.
        Kind("conversation", _schema(*_messages("messages")), ("messages",)),
        Kind(
            "preference",
            _schema(*_messages("prompt", "chosen", "rejected")),
            ("prompt", "chosen", "rejected"),
        ),
        Kind(
            "unpaired",
            _schema(
                *_messages("prompt", "completion"), pa.field("label", pa.bool_(), nullable=False)
            ),
            ("prompt", "completion"),
        ),
        Kind(
            "prompt",
            _schema(*_messages("prompt"), pa.field("answer", pa.string())),
            ("prompt",),
            text_columns=("answer",),
        ),
        Kind(
            "rated",
            _schema(
                *_messages("prompt"),
                pa.field("completions", COMPLETIONS, nullable=False),
                pa.field(
                    "ratings", pa.list_(pa.field("element", RATING, nullable=False)), nullable=False
                ),
            ),
            ("prompt",),
            completion_columns=("completions",),
        ),
    )
}
"""Kind name to kind."""
