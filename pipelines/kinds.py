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


def _required(name: str, type_: pa.DataType) -> pa.Field:
    return pa.field(name, type_, nullable=False)


PARTS = ("thinking", "tool_calls", "name", "tool_call_id")
"""What a message may have beside role and content; null where it has none.

`thinking` is what the assistant thought before its answer. `tool_calls` is the JSON text of a list
of `{"id"?, "name", "arguments": {...}}`. `name` and `tool_call_id` name the tool and the call that
a message of role `tool` answers.
"""

MESSAGE = pa.struct(
    [
        _required("role", pa.string()),
        _required("content", pa.string()),
        *(pa.field(part, pa.string()) for part in PARTS),
    ]
)
"""One turn of a conversation. The content is "" where an assistant only calls tools."""

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
    json_columns: tuple[str, ...] = ()
    """Columns holding the text of a JSON list or object that may be null. It is text, because Arrow
    would give each call of a tool the arguments of all others. Its order is the source's.
    """
    other_columns: tuple[pa.Field, ...] = ()
    label_columns: tuple[pa.Field, ...] = ()
    """Columns of datasets whose source says who labelled. They change no record's id."""

    @cached_property
    def content(self) -> list[pa.Field]:
        """The columns that determine a record's id."""
        return [
            *(_required(name, MESSAGES) for name in self.message_columns),
            *(_required(name, COMPLETIONS) for name in self.completion_columns),
            *(pa.field(name, pa.string()) for name in (*self.text_columns, *self.json_columns)),
            *self.other_columns,
        ]

    @cached_property
    def schema(self) -> pa.Schema:
        """The schema of a records file."""
        return pa.schema([*COMMON, *self.content])

    @cached_property
    def labelled_schema(self) -> pa.Schema:
        """The schema of a file of records that say who labelled them."""
        return pa.schema([*self.schema, *self.label_columns])

    @property
    def content_columns(self) -> tuple[str, ...]:
        """The names of the columns that determine a record's id, in schema order."""
        return tuple(field.name for field in self.content)


TOOLS = "tools"
"""Column of the tools that the assistant may call: a list of OpenAI's function schemas."""

TURNS = "turns"
"""Column of the user's further turns: a list of texts. Each is asked after the model has answered
what comes before it.
"""

EXTRA = "extra"
"""Column of what reward functions get beside the answer: an object of the fields that `extra` of
the dataset names in params.yaml.
"""

LABELS = (
    _required("chosen_share", pa.float64()),
    _required("rejected_share", pa.float64()),
    _required("raters", pa.int64()),
    pa.field("judge", pa.string()),
    pa.field("rubric", pa.string()),
)
"""Who preferred the chosen answer of a pair: the share of raters who chose it, and of those who
chose the other one (the rest found both equal); how many rated; where a model judged, its name, and
the sha256 of its rubric where the source gives one. The shares are soft labels.
"""

_RATINGS = _required("ratings", pa.list_(_required("element", RATING)))

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        # A raw text (pre-training) is a conversation of one `assistant` message: what the model is
        # to produce.
        Kind("conversation", ("messages",), json_columns=(TOOLS,)),
        Kind(
            "preference",
            ("prompt", "chosen", "rejected"),
            json_columns=(TOOLS,),
            label_columns=LABELS,
        ),
        Kind(
            "unpaired",
            ("prompt", "completion"),
            json_columns=(TOOLS,),
            other_columns=(_required("label", pa.bool_()),),
        ),
        Kind("prompt", ("prompt",), text_columns=("answer",), json_columns=(TOOLS, TURNS, EXTRA)),
        Kind("rated", ("prompt",), ("completions",), other_columns=(_RATINGS,)),
    )
}
"""Kind name to kind."""
