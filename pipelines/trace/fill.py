"""Reads into the index what it does not have yet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from governance.attest.predicates import Ingest
from governance.base.errors import InputError
from governance.base.progress import Progress
from pipelines.record_ids import Key
from pipelines.trace.files import Content, Files, Part, contents_of
from pipelines.trace.index import MEMBERS, Index, Rows
from pipelines.trace.steps import Step
from pipelines.trace.words import Words


def fill(
    index: Index, files: Files, steps: Collection[Step], words: Words | None, progress: Progress
) -> set[str]:
    """Adds the members of every content of these steps that is here; with `words`, their words
    too. Returns the sha256 of contents with a file of another form, which are not added.
    """
    from pipelines.trace.reading import rows_of  # imports pyarrow

    known = before = index.places()
    known = dict(before)
    odd = _fill(index, files, contents_of(steps), MEMBERS, rows_of, known, progress)
    if words is not None:

        def read(part: Part, role: str) -> Rows:
            return words_of(part, words)

        odd |= _fill(index, files, with_words(steps, words), words.task, read, known, progress)
    if known != before:
        index.keep_places(known)
    index.commit()
    return odd


def fill_redacted(
    index: Index, files: Files, steps: Iterable[Step], key: Key, progress: Progress
) -> str:
    """Adds which records of these steps are not as they were ingested under the key; the task."""
    from pipelines.trace.reading import redacted

    task, known = f"redacted {key.key_id}", index.places()
    contents = {
        content: names for content, names in contents_of(steps).items() if content.role == "records"
    }

    def read(part: Part, role: str) -> Rows:
        return redacted(part, key)

    _fill(index, files, contents, task, read, known, progress)
    index.commit()
    return task


def with_words(steps: Iterable[Step], words: Words) -> dict[Content, set[str]]:
    """The contents in which words are looked for: all records; for subjects those as ingested, from
    which the scan takes out what it finds.
    """
    chosen = (
        step
        for step in steps
        if isinstance(step.statement.predicate, Ingest) or not words.ingested_only
    )
    return {each: names for each, names in contents_of(chosen).items() if each.role == "records"}


def words_of(part: Part, words: Words) -> Rows:
    """The words of a shard."""
    from pipelines.trace.reading import tables

    found = (pair for table, kind in tables(part) for pair in words.found(table, kind))
    return Rows(words=list(dict.fromkeys(found)))


def _fill(
    index: Index,
    files: Files,
    contents: Mapping[Content, Collection[str]],
    task: str,
    read: Callable[[Part, str], Rows],
    known: dict[tuple[str, str], str],
    progress: Progress,
) -> set[str]:
    odd: set[str] = set()
    done = index.contents(task)
    missing = {each: names for each, names in contents.items() if each.sha256 not in done}
    if not missing:
        return odd
    with progress.bar(len(missing), f"index of records: {task.partition(' ')[0]}") as bar:
        for content, parts in files.found(missing, known):
            try:
                for part in parts:
                    if index.lacks(part.sha256, task):
                        index.add(part.sha256, task, read(part, content.role))
                index.complete(content.sha256, [part.sha256 for part in parts], task)
            except InputError:
                odd.add(content.sha256)
            bar.advance()
    return odd
