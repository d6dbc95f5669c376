"""The same question answered from the files themselves, to say whether the index is complete."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from pipelines.texts import texts
from pipelines.trace.files import Content, Files, Part, contents_of
from pipelines.trace.fill import with_words
from pipelines.trace.index import Member
from pipelines.trace.reading import rows_of, tables
from pipelines.trace.steps import Step
from pipelines.trace.words import Words


@dataclass
class Read:
    """What was found by reading."""

    members: set[Member] = field(default_factory=set)
    contents: set[str] = field(default_factory=set)
    """The contents that were read, by sha256."""


def holding(files: Files, steps: Collection[Step], words: Words, value: str) -> set[str]:
    """The ids of records with a text that holds the value."""
    holds = words.matcher(value)
    parts = {
        part.sha256: part
        for _, found in files.found(with_words(steps, words), {})
        for part in found
    }
    return {record for part in parts.values() for record in _holding(part, holds)}


def _holding(part: Part, holds: Callable[[str], bool]) -> Iterator[str]:
    for table, kind in tables(part):
        ids = table["id"].to_pylist()
        yield from (ids[one.row] for one in texts(table, kind) if holds(one.text))


def read(files: Files, steps: Iterable[Step], beginnings: tuple[str, ...]) -> Read:
    """Where the records are whose ids begin so."""
    done = Read()
    known: dict[tuple[str, str], list[tuple[str, str, int, str]]] = {}
    for content, parts in files.found(contents_of(steps), {}):
        done.contents.add(content.sha256)
        for part in parts:
            key = (part.sha256, content.role)
            if key not in known:
                known[key] = list(_beginning(part, content, beginnings))
            for record, file, row, reason in known[key]:
                done.members.add(Member(record, content.sha256, file, row, reason))
    return done


def _beginning(
    part: Part, content: Content, beginnings: tuple[str, ...]
) -> Iterator[tuple[str, str, int, str]]:
    for record, file, row, reason in rows_of(part, content.role).members:
        name = record.hex()
        if name.startswith(beginnings):
            yield name, file, row, reason
