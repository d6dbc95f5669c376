"""What somebody asks about records, and which records these are.

1. Exactly one of four is asked for: a record id, a list of ids, a text, a subject.
2. What was asked for is never repeated: neither texts nor subjects. `-` reads them from stdin.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from governance.base.errors import ConfigError, InputError
from pipelines.plain_text import plain_subject, plain_text
from pipelines.project import open_project
from pipelines.record_ids import load_key
from pipelines.trace.files import Files
from pipelines.trace.index import Index
from pipelines.trace.steps import Step
from pipelines.trace.words import Words

ID = re.compile(r"[0-9a-f]{12,32}")
Kind = Literal["record", "file", "text", "subject"]


@dataclass(frozen=True)
class Asked:
    """What was asked for."""

    by: Kind
    beginnings: tuple[str, ...] = ()
    """Of record ids."""
    value: str = ""
    """A text or a subject. It is never shown."""


@dataclass(frozen=True)
class Check:
    """What reading the files found."""

    complete: bool
    lacking: list[str]
    """Records that the index does not have, or not everywhere where they are."""
    not_read: list[str]
    """Steps whose files are not here."""


def asked_for(
    record: str | None, text: str | None, subject: str | None, listed: str | None
) -> Asked:
    """(1), (2) Raises `ConfigError`, which never quotes what was given."""
    if sum(each is not None for each in (record, text, subject, listed)) != 1:
        raise ConfigError("one question at a time", expected="RECORD, --text, --subject or --file")
    if record is not None:
        return Asked("record", (_id(record, "RECORD"),))
    if listed is not None:
        rows = _given(listed, "--file").splitlines() if listed == "-" else _rows(Path(listed))
        ids = [
            _id(row.strip(), f"--file, line {number}")
            for number, row in enumerate(rows, start=1)
            if row.strip()
        ]
        if not ids:
            raise ConfigError("the list has no record ids", where="--file")
        return Asked("file", tuple(dict.fromkeys(ids)))
    by: Kind = "text" if text is not None else "subject"
    value = _given(text if text is not None else subject or "", f"--{by}")
    plain = plain_text(value) if by == "text" else plain_subject(value)
    if not plain:
        raise ConfigError(f"an empty {by}", where=f"--{by}")
    return Asked(by, value=value)


def _given(value: str, where: str) -> str:
    text = sys.stdin.read() if value == "-" else value
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError("not UTF-8", where=where) from None
    return text


def _rows(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        found = f"the list cannot be read ({type(error).__name__})"
        raise InputError(found, where=str(path)) from None


def _id(given: str, where: str) -> str:
    if not ID.fullmatch(given):
        expected = "12 to 32 hexadecimal digits"
        raise ConfigError("not a record id", where=where, expected=expected)
    return given


def words_for(asked: Asked, stack: ExitStack) -> Words | None:
    """What is looked up by its HMAC."""
    if asked.by not in ("text", "subject"):
        return None
    from pipelines.pii.decides import inputs_digest
    from pipelines.pii.engine import PlainEngine
    from pipelines.pii.search import Search
    from pipelines.trace.words import Subjects, Texts

    project = open_project(Path.cwd(), os.environ)
    key = load_key(project.root, project.params.records)
    if asked.by == "text":
        return Texts(key)
    policy, root = project.policies.pii, project.root

    def opened() -> Search:
        cache = project.machine.state / "cache" / "pii.sqlite"
        return stack.enter_context(Search(PlainEngine(policy, root), cache, key.secret))

    return Subjects(key, inputs_digest(policy, root), opened)


def ids_of(index: Index, asked: Asked, words: Words | None) -> set[str]:
    """The records that the index names."""
    if words is not None:
        return set(index.with_word(words.key(asked.value)))
    return {record for beginning in asked.beginnings for record in index.ids(beginning)}


def checked(
    index: Index,
    files: Files,
    chosen: Sequence[Step],
    asked: Asked,
    words: Words | None,
    ids: Collection[str],
) -> Check:
    """The index beside the files."""
    from pipelines.trace.exhaustive import holding, read

    named = holding(files, chosen, words, asked.value) if words else set()
    done = read(files, chosen, (*asked.beginnings, *ids, *named))
    found = {member.record for member in done.members}
    indexed = {
        member for member in index.members({*ids, *found}) if member.content in done.contents
    }
    differing = {member.record for member in done.members ^ indexed}
    lacking = sorted(differing | (named - set(ids)))
    not_read = [
        step.statement.predicate.stage for step in chosen if step.digest not in done.contents
    ]
    return Check(not lacking, lacking, not_read)
