"""A bundle read as a log. Its entries keep their indexes in the log that it was taken from.

1. It has the size of its checkpoint. Asking for an entry that it does not have is an error; lists
   omit such entries. This module cannot detect what was left out: see `governance.bundle.check`.
2. Kind, scope, identity and subjects of an entry are derived from its statement.
3. Nothing is verified here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NoReturn

from governance.attest.canonical import dumps_read
from governance.base.errors import StorageError, VerificationError
from governance.bundle.form import Bundle, Item
from governance.log import merkle
from governance.log.checkpoint import parse_checkpoint
from governance.log.evidence import filed_under
from governance.log.notes import parse_note
from governance.log.port import Derived, Entry


class BundleLog:
    """See `governance.log.port.Log`; for reading."""

    def __init__(self, bundle: Bundle, where: str = "bundle") -> None:
        """Raises `VerificationError` where an envelope holds no statement."""
        self.bundle, self.where = bundle, where
        self._size = parse_checkpoint(bundle.checkpoint, where="the bundle's checkpoint")[0].size
        self._entries: dict[int, Entry] = {}
        self._subjects: dict[int, frozenset[str]] = {}
        self._about: dict[str, list[Entry]] = {}
        for entry in bundle.entries:
            self._add(entry)

    @property
    def complete(self) -> bool:
        """Whether it carries every entry of the log."""
        return len(self._entries) == self._size

    def append(self, *_: object, **__: object) -> NoReturn:
        """Refused."""
        raise StorageError("a bundle cannot be appended to", where=self.where)

    def size(self) -> int:
        """Number of entries of the log, by the checkpoint."""
        return self._size

    def entry(self, index: int) -> Entry:
        """One entry. Raises `VerificationError` where it is not carried."""
        if index not in self._entries:
            raise VerificationError("the bundle does not have this entry", where=f"entry {index}")
        return self._entries[index]

    def entries(self, start: int = 0) -> Iterator[Entry]:
        """Those that are carried, from `start`, in order."""
        return (entry for index, entry in self._entries.items() if index >= start)

    def by_subject(self, sha256: str) -> list[Entry]:
        """Those whose statement has this subject, in order."""
        return list(self._about.get(sha256, ()))

    def by_kind(self, kinds: Sequence[str]) -> Iterator[Entry]:
        """Those of these kinds, in order."""
        return (entry for entry in self._entries.values() if entry.kind in kinds)

    def latest(self, scope: str) -> Entry | None:
        """The latest that is carried of a scope."""
        return next(
            (entry for entry in reversed(self._entries.values()) if entry.scope == scope), None
        )

    def checkpoint(self) -> str:
        """The signed note."""
        return self.bundle.checkpoint

    def head(self) -> tuple[int, str]:
        """Size and checkpoint."""
        return self._size, self.bundle.checkpoint

    def cosigned(self) -> list[str]:
        """The notes that are carried."""
        return [seen.note for seen in self.bundle.cosigned]

    def derived(self, start: int, end: int) -> dict[int, Derived]:
        """The subjects; the tree's nodes are not carried."""
        return {
            index: Derived(subjects, frozenset())
            for index, subjects in self._subjects.items()
            if start <= index < end
        }

    def page(self, start: int, end: int) -> tuple[list[Entry], dict[int, Derived]]:
        """Those of [start, end) that are carried."""
        entries = [entry for index, entry in self._entries.items() if start <= index < end]
        return entries, self.derived(start, end)

    def as_stored(self) -> BundleLog:
        """Itself: nothing is verified here."""
        return self

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """The proof carried with the entry, in the tree of the checkpoint only."""
        self.entry(index)
        if size != self._size:
            found = f"the bundle has no proof in a tree of {size}"
            raise VerificationError(found, where=f"entry {index}")
        carried = next(entry for entry in self.bundle.entries if entry.index == index)
        return [bytes.fromhex(step) for step in carried.proof]

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """The proof carried, or one made where all entries are; else `VerificationError`."""
        growth = self.bundle.growth
        if new == self._size and old in (0, new):
            return []
        if new == self._size and growth is not None and growth.size == old:
            return [bytes.fromhex(step) for step in growth.proof]
        for seen in self.bundle.cosigned:
            if new == self._size and parse_note(seen.note).size == old:
                return [bytes.fromhex(step) for step in seen.proof]
        if new == self._size and self.complete:
            return merkle.consistency_proof(old, new, self._node)
        raise VerificationError(
            f"the bundle has no proof that the log of {new} entries has grown from {old}",
            fix="ask for one that has it: countersign bundle MODEL/VERSION --since CHECKPOINT",
        )

    def _add(self, carried: Item) -> None:
        envelope = dumps_read(carried.envelope.model_dump())
        filing = filed_under(envelope, f"entry {carried.index}")
        leaf = merkle.leaf_hash(envelope)
        entry = Entry(carried.index, envelope, leaf, filing.identity, filing.scope, filing.kind)
        self._entries[carried.index] = entry
        self._subjects[carried.index] = frozenset(filing.subjects)
        for sha256 in self._subjects[carried.index]:
            self._about.setdefault(sha256, []).append(entry)

    def _node(self, level: int, position: int) -> bytes:
        """A node of the tree, where all entries are carried."""
        if level == 0:
            return self.entry(position).leaf_hash
        return merkle.node_hash(
            self._node(level - 1, 2 * position), self._node(level - 1, 2 * position + 1)
        )
