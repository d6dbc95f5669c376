"""The port of the log: signed statements in order, never rewritten. Each store has an adapter.

Invariants every adapter keeps:
1. entries are numbered from 0 without gaps, and never change;
2. entry 0 is the only `origin`; appending an origin to a log that has one returns entry 0;
3. an append is whole or has not happened: entry, index, tree nodes and checkpoint together;
4. two appends never interleave; the same `identity` appended again to a `scope` whose latest entry
   it is already returns that entry; and so does a statement that is in the log already, byte for
   byte and by the same key, whatever the bytes of its signature are: readers of the log could send
   an old one again;
5. the checkpoint always covers exactly the entries there are;
6. with `expected_size`, an append happens on exactly that many entries or raises `ConflictError`;
7. what `also` writes commits with the entry or not at all. With `also` a new entry is always
   written; with `Filing.again` even for a statement with the identity of the latest one;
8. an entry that is read is in the tree of the checkpoint, or reading raises `VerificationError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from governance.attest.envelope import payload_of
from governance.base.errors import ConflictError, VerificationError

ORIGIN_SCOPE = "origin"
CHANGED = "the entry's bytes are not those that were logged"

Execute = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]
"""Runs one SQL statement, placeholders written `?`, in the transaction of an append; its rows, if
it has any.
"""
Also = Callable[[Execute], None]
"""What happens together with an append; what it raises undoes the append."""


class OtherEntriesError(VerificationError):
    """The entries do not give the root that their checkpoint signs. Exit code 5."""


@dataclass(frozen=True)
class Entry:
    """One entry. Everything else follows from the envelope and makes look-ups fast."""

    index: int
    envelope: bytes
    leaf_hash: bytes
    """RFC 6962 hash of the envelope's bytes."""
    identity: str
    """What makes two statements the same: see `governance.log.evidence.identity_of`."""
    scope: str
    """Within what the latest entry counts."""
    kind: str


@dataclass(frozen=True)
class Derived:
    """What an adapter keeps beside an entry; all of it follows from the entries, and
    `governance.history.verify` compares.
    """

    subjects: frozenset[str]
    """The digests it can be found by."""
    nodes: frozenset[tuple[int, int, bytes]]
    """The nodes of the tree that it completed: level, position, hash."""


@dataclass(frozen=True)
class Filing:
    """What the log stores beside an envelope so that the entry can be found. All of it follows
    from the envelope; `governance.log.evidence.filed_under` reads it.
    """

    identity: str
    scope: str
    kind: str
    subjects: tuple[str, ...]
    """The sha256 it can be found by."""
    again: bool = False
    """Whether it becomes an entry of its own although the latest one has the same identity."""


class Log(Protocol):
    """A log that can be read and, where this machine holds the checkpoint key, appended to."""

    @property
    def where(self) -> str:
        """Where it stands, as errors name it: no account, no password."""

    def append(
        self,
        envelope: bytes,
        filing: Filing,
        *,
        expected_size: int | None = None,
        also: Also | None = None,
    ) -> Entry:
        """Appends, or finds what is there already (4).

        `also` is called after the entry was written, and may use tables that stand in the same
        database.
        """

    def size(self) -> int:
        """Number of entries."""

    def entry(self, index: int) -> Entry:
        """One entry. Raises `VerificationError` where there is none."""

    def entries(self, start: int = 0) -> Iterator[Entry]:
        """Entries from `start`, in order."""

    def by_subject(self, sha256: str) -> list[Entry]:
        """Entries whose statement has this subject, in order."""

    def by_kind(self, kinds: Sequence[str]) -> Iterator[Entry]:
        """Entries of these kinds that are there when the first is asked for, in order."""

    def latest(self, scope: str) -> Entry | None:
        """The latest entry of a scope."""

    def checkpoint(self) -> str:
        """The signed note over all entries; empty where there are none."""

    def head(self) -> tuple[int, str]:
        """Number of entries and checkpoint, of one moment."""

    def cosigned(self) -> list[str]:
        """The notes that witnesses cosigned, the last of each, as they are kept beside the log.
        Nothing is verified.
        """

    def derived(self, start: int, end: int) -> dict[int, Derived]:
        """What is kept beside entries [start, end), by index."""

    def page(self, start: int, end: int) -> tuple[list[Entry], dict[int, Derived]]:
        """Entries [start, end) as far as they are there, and what is kept beside them, of one
        moment.
        """

    def as_stored(self) -> Log:
        """The same log for a reader who verifies everything: its entries are given as they are
        stored, and not compared with the tree first.
        """

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """See `governance.log.merkle`."""

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """See `governance.log.merkle`."""


def same_statement(log: Log, envelope: bytes, filing: Filing) -> Entry | None:
    """The first entry with this statement, byte for byte and by the same key (4); None where the
    log has none.
    """
    entries = log.by_subject(filing.subjects[0]) if filing.subjects else []
    return first_same(entries, envelope, filing.identity)


def first_same(entries: Iterable[Entry], envelope: bytes, identity: str) -> Entry | None:
    """The first of these entries with the same statement. The identity contains the key."""
    alike = [entry for entry in entries if entry.identity == identity]
    payload = payload_of(envelope) if alike else b""
    return next((entry for entry in alike if payload_of(entry.envelope) == payload), None)


def check_size(found: int, expected: int | None) -> None:
    """(6) Raises `ConflictError` where a log has not the size that was decided on."""
    if expected is not None and found != expected:
        raise ConflictError(
            f"the log has {found} entries",
            expected=f"{expected}, on which this was decided",
            fix="decide again",
        )
