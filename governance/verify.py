"""Verification of a log, and of files at hand against it, with nothing but public keys.

`verify_log` believes nothing that is stored beside the entries:
1. the entries present are those the signed checkpoint counts, numbered without gaps;
2. each entry's bytes are those whose hash is in the tree, signed by a known key, and follow their schema;
3. entry 0, and no other, is the origin;
4. what the log keeps beside an entry (identity, scope, kind, subjects, tree nodes) follows from the entry;
5. the root over all entries is the one the checkpoint signs, by the key the origin names;
6. an older checkpoint, kept elsewhere, is a prefix of this log.
What it cannot tell is whether this is the log you mean: `Report.origin` says what establishes that, if
anything. What a verified log would still not show stands in `LIMITS`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from governance.envelope import UnknownKeyError
from governance.errors import VerificationError
from governance.evidence import Evidence, KeyRing, identity_of, key_ring, open_entry, origin, scope_of
from governance.keys import public_key
from governance.log import merkle
from governance.log.checkpoint import Checkpoint, origin_of, parse_checkpoint, verify_checkpoint
from governance.log.port import Derived, Entry, Log
from governance.predicates import Origin

PAGE = 256
LIMITS = (
    "Someone with root on this machine can rewrite the database and the keys in it: keep a checkpoint elsewhere "
    "(`countersign verify --write-checkpoint FILE`) and verify against it (`--checkpoint FILE`).",
    "A valid signature says who stated something, not that it is true: evidence is self-attested unless it says "
    "otherwise.",
    "Evidence that was never recorded cannot be missed here: the gates ask for what must be there.",
)


@dataclass(frozen=True)
class Signer:
    """A key, and how much of the log it signed."""

    keyid: str
    development: bool
    entries: int


@dataclass(frozen=True)
class Report:
    """What verification found. `broken` is the first thing that does not verify."""

    project: str
    entries: int
    """Verified, from entry 0."""
    kinds: dict[str, int] = field(default_factory=dict)
    signers: tuple[Signer, ...] = ()
    first: str = ""
    """Leaf hash of entry 0: what the log is pinned by."""
    root: str = ""
    checkpoint: str = ""
    checkpoint_key: str = ""
    """Key id."""
    origin: str | None = None
    """What establishes that this is the log you mean; None where nothing does."""
    grown_from: int | None = None
    """Entries of the older checkpoint that this log was shown to contain."""
    broken: str | None = None

    @property
    def ok(self) -> bool:
        """Whether everything verifies and the origin is established."""
        return self.broken is None and self.origin is not None


@dataclass(frozen=True)
class Pins:
    """What the one who verifies brings along: any of them establishes the log's origin."""

    checkpoint_key: str | None = None
    """PEM; the key of this machine, where the log was begun here."""
    origin: str | None = None
    """Leaf hash of entry 0, or key id of the checkpoint key."""
    checkpoint: str | None = None
    """An older signed checkpoint, kept elsewhere."""


def verify_log(log: Log, project: str, service: Mapping[str, str], pins: Pins) -> Report:
    """Verifies a log from entry 0 on. `service`: key id to PEM of the keys policies name. Findings are not raised."""
    seen = _Seen()
    try:
        return _verify(log, project, service, pins, seen)
    except VerificationError as error:
        return Report(project, len(seen.leaves), dict(seen.kinds), broken=str(error).replace("\n  ", "; "))


@dataclass
class _Seen:
    """What the pass over the entries has gathered so far."""

    leaves: list[bytes] = field(default_factory=list)
    last: dict[int, bytes] = field(default_factory=dict)
    """Level to the tree's latest complete node there."""
    kinds: Counter[str] = field(default_factory=Counter)
    signers: Counter[str] = field(default_factory=Counter)


def _verify(log: Log, project: str, service: Mapping[str, str], pins: Pins, seen: _Seen) -> Report:
    size, note = log.head()
    first = origin(log)
    if first.project != project:
        raise VerificationError(f"the log of project {first.project!r}", expected=repr(project), where="entry 0")
    ring = key_ring(log, service)
    for entry, derived in _pages(log, size):
        _verify_entry(entry, derived, ring, seen)
    _verify_end(log, size, seen)
    head = _verify_head(note, first, seen.leaves)
    established = _established(pins, first, seen.leaves[0])
    grown_from = None
    if pins.checkpoint is not None:
        grown_from = _verify_growth(log, pins.checkpoint, head, first)
        established = established or f"the older checkpoint, of {grown_from} entries"
    return Report(
        project=project,
        entries=size,
        kinds=dict(sorted(seen.kinds.items())),
        signers=tuple(Signer(keyid, ring.is_development(keyid), count) for keyid, count in seen.signers.most_common()),
        first=seen.leaves[0].hex(),
        root=head.root.hex(),
        checkpoint=note,
        checkpoint_key=public_key(first.checkpoint_key).keyid,
        origin=established,
        grown_from=grown_from,
    )


def _pages(log: Log, size: int) -> Iterator[tuple[Entry, Derived]]:
    """The entries counted, each with what is kept beside it."""
    entries = log.entries()
    for start in range(0, size, PAGE):
        end = min(start + PAGE, size)
        kept = log.derived(start, end)
        for entry in islice(entries, end - start):
            yield entry, kept.get(entry.index, Derived(frozenset(), frozenset()))


def _verify_end(log: Log, size: int, seen: _Seen) -> None:
    """(1) No entry counted is missing, and nothing is kept for entries that are not there; the log may have grown."""
    beyond = log.derived(size, 1 << 47)
    extra = [index for index in beyond if index >= log.size()]
    if len(seen.leaves) != size or extra:
        raise VerificationError("the entries are not as many as the log says", where=f"entry {len(seen.leaves)}")


def _verify_entry(entry: Entry, derived: Derived, ring: KeyRing, seen: _Seen) -> None:
    index = len(seen.leaves)
    where = f"entry {index}"
    if entry.index != index:  # (1)
        raise VerificationError("the entry is missing", where=where)
    try:
        item, statement = open_entry(entry, ring)  # (2)
    except UnknownKeyError as error:
        raise VerificationError(
            error.found,
            where=where,
            expected="a development key of the log's origin, or a key that policies name",
            fix="verify in the project's folder, whose policies name the keys of its services",
        ) from None
    if (item.kind == "origin") != (index == 0):  # (3)
        raise VerificationError("an origin, and one only, begins a log", where=where)
    _verify_kept(entry, item, statement, derived)  # (4)
    nodes = merkle.completed(entry.leaf_hash, index, lambda level, _: seen.last[level])
    if derived.nodes != frozenset(nodes):
        raise VerificationError("the tree's nodes do not follow from the entries", where=where)
    seen.last.update((level, value) for level, _, value in nodes)
    seen.leaves.append(entry.leaf_hash)
    seen.kinds[item.kind] += 1
    seen.signers[item.keyid] += 1


def _verify_kept(entry: Entry, item: Evidence, statement: dict[str, Any], derived: Derived) -> None:
    """What an entry is found by must follow from it, or evidence could be hidden or misfiled."""
    identity = identity_of(statement, item.keyid)
    kept = (entry.identity, entry.scope, entry.kind, derived.subjects)
    subjects = frozenset(subject.sha256 for subject in item.subjects)
    if kept != (identity, scope_of(item.kind, item.predicate, identity), item.kind, subjects):
        raise VerificationError(
            "what the log keeps to find this entry by does not follow from it", where=f"entry {entry.index}"
        )


def _verify_head(note: str, first: Origin, leaves: list[bytes]) -> Checkpoint:
    """(5) The checkpoint is signed by the origin's key, and its size and root are those of the entries."""
    where = "the log's checkpoint"
    head = verify_checkpoint(note, first.checkpoint_key, where=where)
    if head.origin != origin_of(first.project, leaves[0]):
        raise VerificationError("it is of another log", where=where)
    if head.size != len(leaves):
        raise VerificationError(f"{len(leaves)} entries are there", expected=str(head.size), where=where)
    if head.root != merkle.root_of(leaves):
        raise VerificationError("the entries are not those it was signed over", where=where)
    return head


def _verify_growth(log: Log, note: str, head: Checkpoint, first: Origin) -> int:
    """(6) The entries an older checkpoint counts."""
    where = "the older checkpoint"
    old, _ = parse_checkpoint(note, where=where)
    if old.origin != head.origin:
        raise VerificationError(f"it is of another log, {old.origin}", expected=head.origin, where=where)
    verify_checkpoint(note, first.checkpoint_key, where=where)
    if old.size > head.size:
        raise VerificationError(f"it counts {old.size} entries", expected=f"at most the {head.size} here", where=where)
    proof = log.consistency_proof(old.size, head.size)
    merkle.verify_consistency(old.size, head.size, old.root, head.root, proof)
    return old.size


def _established(pins: Pins, first: Origin, leaf: bytes) -> str | None:
    """What ties this log to something the verifier brought along. A pin that does not fit is an error."""
    key = public_key(first.checkpoint_key)
    if pins.origin is not None:
        if pins.origin not in (leaf.hex(), key.keyid):
            raise VerificationError(
                f"the log begins with {leaf.hex()} and its checkpoints are signed by {key.keyid}",
                expected=pins.origin,
                where="the pinned origin",
            )
        return "the origin given"
    if pins.checkpoint_key is not None:
        if public_key(pins.checkpoint_key).keyid != key.keyid:
            raise VerificationError(
                "checkpoints are signed by a key that is not this machine's",
                expected=public_key(pins.checkpoint_key).keyid,
                where="entry 0",
            )
        return "the checkpoint key of this machine"
    return None
