"""A batch of records as flat sequences of messages and as normalised texts: the basis of all
features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import json_texts
from pipelines.kinds import KINDS, ROLES, TURNS
from pipelines.shards import ROW_GROUP

Column = np.ndarray[Any, Any]
"""One value per record (or per message, where a docstring says so)."""

SYSTEM, USER, ASSISTANT, TOOL = range(len(ROLES))

MESSAGE, SEQUENCE, PART, ROLE = "\x1e", "\x1c", "\x1d", "\x1f"
"""Separators in joined texts: of messages, of several answers, of columns, and of role and content.
"""


@dataclass(frozen=True)
class Turns:
    """Sequences of messages: sequence s holds messages bounds[s] to bounds[s+1] and belongs to
    record owner[s].
    """

    owner: Column
    bounds: Column
    roles: Column
    """Index in `ROLES`, per message."""
    contents: pa.Array
    """All texts of each message, one after the other."""
    answers: pa.Array
    """The same without what the assistant thought: the text and the calls of tools."""

    @cached_property
    def sizes(self) -> Column:
        """Messages per sequence."""
        return np.diff(self.bounds)

    @cached_property
    def sequence(self) -> Column:
        """The sequence of every message."""
        return np.repeat(np.arange(len(self.owner)), self.sizes)

    @cached_property
    def record(self) -> Column:
        """The record of every message."""
        return self.owner[self.sequence]

    def edge(self, last: bool) -> Column:
        """The role of the first or last message, per sequence; -1 where it has none."""
        filled = self.sizes > 0
        edge = np.full(len(self.owner), -1)
        edge[filled] = self.roles[(self.bounds[1:] - 1 if last else self.bounds[:-1])[filled]]
        return edge


def _turns(column: pa.ChunkedArray, nested: bool) -> Turns:
    array = pa.concat_arrays(column.chunks)
    owner = np.arange(len(array))
    if nested:
        owner = np.repeat(owner, pc.list_value_length(array).to_numpy())
        array = array.flatten()
    bounds = array.offsets.to_numpy().astype(np.int64)
    messages = array.values.slice(bounds[0], bounds[-1] - bounds[0])
    roles = plain(pc.index_in(messages.field("role"), value_set=pa.array(ROLES)))
    answers = _joined(messages, ("content", "tool_calls"))
    others = ("thinking", "name", "tool_call_id")
    has_others = any(messages.field(part).null_count < len(messages) for part in others)
    contents = _joined(messages, ("content", "tool_calls", *others)) if has_others else answers
    return Turns(owner, bounds - bounds[0], roles, contents, answers)


def _joined(messages: pa.StructArray, parts: Sequence[str]) -> pa.Array:
    """The given parts of each message as one text. The content alone where there are no others."""
    columns = [messages.field(part) for part in parts]
    present = [column for column in columns if column.null_count < len(column)]
    if len(present) < 2:
        return messages.field("content")
    return pc.binary_join_element_wise(*present, "\n", null_handling="skip")


INVISIBLE = (
    r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\p{Cf}\x{34f}\x{115f}\x{1160}\x{17b4}\x{17b5}\x{180b}-\x{180f}"
    r"\x{3164}\x{fe00}-\x{fe0f}\x{ffa0}\x{e0100}-\x{e01ef}]+"
)
"""Control characters that are not white space, and what Unicode calls default ignorable: invisible
in a text.
"""

SPACE = r"[\s\x0b\x{85}\p{Z}]+"


def normal_form(texts: pa.Array) -> pa.Array:
    """NFKC, lower case, white space as one space, nothing invisible: equal if two people would call
    the texts equal.
    """
    seen = pc.replace_substring_regex(texts, pattern=INVISIBLE, replacement="")
    folded = pc.utf8_lower(pc.utf8_normalize(seen, form="NFKC"))
    return pc.utf8_trim_whitespace(
        pc.replace_substring_regex(folded, pattern=SPACE, replacement=" ")
    )


def normal_texts(texts: list[str]) -> list[str]:
    """Texts in normal form."""
    normal: list[str] = normal_form(pa.array(texts, pa.string())).to_pylist()
    return normal


def fingerprints(texts: Iterable[str]) -> Column:
    """64 bits of the BLAKE2b digest of each text."""
    digests = [hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest() for text in texts]
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


@dataclass(frozen=True)
class Records:
    """A batch of records of one kind, with intermediate results that several features need."""

    table: pa.Table
    kind: str

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def parts(self) -> dict[str, Turns]:
        """Column to its messages."""
        nested = KINDS[self.kind].completion_columns
        names = (*KINDS[self.kind].message_columns, *nested)
        return {name: _turns(self.table.column(name), nested=name in nested) for name in names}

    @property
    def first(self) -> str:
        """The column that begins the record."""
        return "messages" if self.kind == "conversation" else "prompt"

    @cached_property
    def answers(self) -> list[Turns]:
        """What comes after the prompt: chosen and rejected, a completion, or several."""
        return [turns for name, turns in self.parts.items() if name != self.first]

    @cached_property
    def normal(self) -> dict[str, pa.Array]:
        """Column to the normalised contents of its messages."""
        return {name: normal_form(turns.contents) for name, turns in self.parts.items()}

    def answers_of(self, name: str) -> pa.Array:
        """The normalised messages of a column without what the assistant thought."""
        turns = self.parts[name]
        same = turns.answers is turns.contents
        return self.normal[name] if same else normal_form(turns.answers)

    @cached_property
    def reference(self) -> pa.Array:
        """The normalised reference answer of a prompt, or null."""
        return normal_form(pa.concat_arrays(self.table.column("answer").chunks))

    @cached_property
    def answer(self) -> list[str]:
        """The answer to learn from, as it stands: the last message of the assistant, without what
        it thought. The chosen one of two; of a prompt, its reference. "" where there is none.
        """
        if self.kind == "prompt":
            return [text or "" for text in self.table.column("answer").to_pylist()]
        turns = self.parts[{"conversation": "messages", "preference": "chosen"}.get(
            self.kind, "completion")]  # fmt: skip
        return self._last(turns, ASSISTANT)

    @cached_property
    def question(self) -> list[str]:
        """The last message of the user before the answer, as it stands. "" where there is none."""
        return self._last(self.parts[self.first], USER)

    @cached_property
    def asks_once(self) -> Column:
        """Whether the user speaks once, so that nothing said before explains the question."""
        turns = self.parts[self.first]
        once: Column = np.bincount(turns.record[turns.roles == USER], minlength=len(self)) == 1
        return once

    @cached_property
    def wanted(self) -> Column:
        """Whether the answer is one to learn: unless it is labelled unwanted, or empty."""
        wanted = np.array([bool(text.strip()) for text in self.answer], dtype=bool)
        if self.kind == "unpaired":
            wanted &= plain(self.table.column("label").combine_chunks()).astype(bool)
        return wanted

    def _last(self, turns: Turns, role: int) -> list[str]:
        texts, found = turns.answers.to_pylist(), [""] * len(self)
        for at in np.flatnonzero(turns.roles == role):
            found[turns.record[at]] = texts[at] or ""
        return found

    def per_record(self, turns: Turns, values: Column) -> Column:
        """The sum of `values` (one per message) of each record."""
        return np.bincount(turns.record, weights=values, minlength=len(self))

    def joined(self, name: str) -> pa.Array:
        """Each sequence of a column as one text of roles and normalised contents."""
        turns = self.parts[name]
        codes = pa.array(turns.roles.astype(np.int8)).cast(pa.string())
        messages = pc.binary_join_element_wise(codes, self.normal[name], ROLE)
        return pc.binary_join(_lists(turns.bounds, messages), MESSAGE)

    @cached_property
    def whole(self) -> list[str]:
        """Each record as one text, without ratings."""
        texts = [self._whole(name) for name in self.parts]
        if self.kind == "unpaired":
            texts.append(pa.concat_arrays(self.table.column("label").chunks).cast(pa.string()))
        if self.kind == "prompt":
            texts.append(pc.fill_null(self.reference, PART))
        joined = pc.binary_join_element_wise(*texts, *self.beside, PART, null_handling="skip")
        whole: list[str] = joined.to_pylist()
        return whole

    @property
    def beside(self) -> list[pa.Array]:
        """The columns of JSON with their names: tools, further turns, extra ones. Null where a
        record has none, so that its text is the same in every batch.
        """
        names = KINDS[self.kind].json_columns
        columns = [pa.concat_arrays(self.table.column(name).chunks) for name in names]
        return [
            pc.binary_join_element_wise(pa.scalar(name), column, ROLE)
            for name, column in zip(names, columns, strict=True)
            if column.null_count < len(column)
        ]

    def _whole(self, name: str) -> pa.Array:
        if name not in KINDS[self.kind].completion_columns:
            return self.joined(name)
        per_record = np.bincount(self.parts[name].owner, minlength=len(self))
        bounds = np.concatenate([[0], np.cumsum(per_record)])
        return pc.binary_join(_lists(bounds, self.joined(name)), SEQUENCE)

    @cached_property
    def prompts(self) -> list[str]:
        """The prompt: everything up to the user's last message, without system messages. Empty if
        there is none.
        """
        turns, texts = self.parts[self.first], self.normal[self.first].to_pylist()
        prompts = []
        for low, high in pairwise(turns.bounds.tolist()):
            roles = turns.roles[low:high]
            questions = np.flatnonzero(roles == USER)
            end = questions[-1] + 1 if len(questions) else 0
            kept = [at for at in range(end) if roles[at] != SYSTEM]
            prompts.append(MESSAGE.join(f"{roles[at]}{ROLE}{texts[low + at]}" for at in kept))
        return self._with_turns(prompts)

    def _with_turns(self, prompts: list[str]) -> list[str]:
        """The prompts with the user's further turns, where records have some."""
        if self.kind != "prompt" or self.table.column(TURNS).null_count == len(self):
            return prompts
        turns = [json_texts.loads(text or "[]") for text in self.table.column(TURNS).to_pylist()]
        bounds = np.cumsum([0, *map(len, turns)]).tolist()
        flat = pa.array([text for several in turns for text in several], pa.string())
        texts = normal_form(flat).to_pylist()
        return [
            MESSAGE.join([prompt, *(f"{USER}{ROLE}{text}" for text in texts[low:high])])
            for prompt, (low, high) in zip(prompts, pairwise(bounds), strict=True)
        ]


def _lists(bounds: Column, values: pa.Array) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(bounds.astype(np.int32)), values)


def batches(table: pa.Table, kind: str) -> Iterator[Records]:
    """A table in batches of bounded size."""
    for start in range(0, table.num_rows, ROW_GROUP):
        yield Records(table.slice(start, ROW_GROUP), kind)


def plain(array: pa.Array) -> Column:
    """An Arrow array as numpy's."""
    values: Column = array.to_numpy(zero_copy_only=False)
    return values


def objects(values: list[Any]) -> Column:
    """A column of Python objects, for `combine`."""
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column
