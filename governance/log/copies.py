"""Copies of a log: entries appended under the checkpoint of the log that they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from governance.base.errors import StorageError
from governance.log.checkpoint import parse_checkpoint, sign_checkpoint
from governance.log.port import Entry, Execute, OtherEntriesError, check_size
from governance.log.sql import SqlLog, check_continuous, insert, size_of, state_of, write_head


def extend(
    log: SqlLog,
    entries: Iterable[tuple[Entry, Sequence[str]]],
    note: str | None = None,
    check: Callable[[SqlLog], None] | None = None,
) -> None:
    """Appends entries, each with its subjects, in one transaction, under `note` or a checkpoint
    of our own.

    For copies of a log. The entries must follow those that are there and give the root of the
    note, or nothing is changed. The caller verifies the note's signature in `check`, which gets
    the extended log; an error that it raises undoes everything.
    """
    if log.signer is None and note is None:
        raise StorageError("this log was opened for reading", where=log.where)
    with log.writing() as execute:
        size = size_of(execute)
        check_continuous(execute, size)
        for entry, subjects in entries:
            check_size(size, entry.index)
            insert(execute, entry, subjects)
            size += 1
        state = state_of(execute, log.project, size)
        if note is None and log.signer is not None:
            note = sign_checkpoint(state, log.signer)
        if note is None or parse_checkpoint(note)[0] != state:
            raise OtherEntriesError("the entries are not those of the checkpoint", where=log.where)
        write_head(execute, note)
        if check is not None:
            check(_TransactionLog(log, execute))


class _TransactionLog(SqlLog):
    """A log as one transaction sees it. It can be read until the transaction ends."""

    def __init__(self, log: SqlLog, execute: Execute) -> None:
        super().__init__(log.database, log.project)
        self._execute = execute

    @contextmanager
    def reading(self) -> Iterator[Execute | None]:
        yield self._execute
