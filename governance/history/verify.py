"""Verification of a log with nothing but public keys.

`verify_log` reads the log once, in parts that all cores share, and keeps a few hashes of it in
memory. It believes nothing that is stored beside the entries:
1. the entries present are those the signed checkpoint counts, numbered without gaps;
2. each entry's bytes are those whose hash is in the tree, signed by a known key, and follow their
   schema;
3. entry 0, and no other, is the origin;
4. what the log keeps beside an entry (identity, scope, kind, subjects, tree nodes) follows from the
   entry;
5. the root over all entries is the one the checkpoint signs, by the key the origin names, or one
   that a quorum put in its place;
6. an older checkpoint, kept elsewhere, is a prefix of this log.
It cannot tell whether this is the log you mean: `LogReport.origin` says what establishes that, if
anything. What a verified log still does not show stands in `LIMITS`.
"""

from __future__ import annotations

import gc
import os
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from governance.attest import canonical
from governance.attest.envelope import UnknownKeyError, Verified
from governance.attest.keys import public_key
from governance.attest.predicates import Origin
from governance.base.errors import VerificationError
from governance.log import merkle
from governance.log.checkpoint import Checkpoint, origin_of, parse_checkpoint, signed_in_turn
from governance.log.evidence import Evidence, KeyRing, identity_of, open_entry, origin, scope_of
from governance.log.merkle import Range
from governance.log.port import Derived, Entry, Log
from governance.log.sql import SqlLog
from governance.policy.authority import Authority, read_authority

if TYPE_CHECKING:  # imported where a log is verified in several processes
    from concurrent.futures import Future, ProcessPoolExecutor

PAGE = 1024
PART = 13
"""2**13 entries are a second's work: enough to be worth a process's time, little enough to share
evenly.
"""
CYCLES = 50_000
"""Objects more than before, until a process that verifies looks for cycles: some ten megabytes."""
AHEAD = 4
"""Parts that each process has before it."""
FEW = 2
"""Parts that are not worth starting processes for."""
_NODES = "the tree's nodes do not follow from the entries"
_NOTHING = Derived(frozenset(), frozenset())
LIMITS = (
    (
        "Someone with root on this machine can rewrite the database and its keys. Keep a checkpoint"
        " elsewhere (`countersign verify --write-checkpoint FILE`) and verify against it"
        " (`--checkpoint FILE`)."
    ),
    (
        "A valid signature shows who stated something, not that it is true. Evidence is"
        " self-attested unless it says otherwise."
    ),
    "This check cannot notice evidence that was never recorded; the gates do that.",
)


@dataclass(frozen=True)
class SignedBy:
    """A key, and how much of the log it signed."""

    keyid: str
    development: bool
    entries: int


@dataclass(frozen=True)
class LogReport:
    """What verification found. `broken` is the first thing that does not verify."""

    project: str
    entries: int
    """Verified, from entry 0."""
    kinds: dict[str, int] = field(default_factory=dict)
    signers: tuple[SignedBy, ...] = ()
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
class TrustAnchors:
    """What the verifier already trusts. Any of them establishes the log's origin."""

    origin: str | None = None
    """Leaf hash of entry 0, or key id of the checkpoint key."""
    checkpoint: str | None = None
    """An older signed checkpoint, kept elsewhere."""
    checkpoint_key: str | None = None
    """PEM; the key of this machine, where the log was begun here."""
    seen: Mapping[str, str] = field(default_factory=dict)
    """Checkpoints that this machine saw before, by where they are kept. They show that the log was
    not rolled back. They do not establish its origin.
    """


def verify_log(
    log: Log,
    project: str,
    service: Mapping[str, str],
    pins: TrustAnchors,
    *,
    part: int = PART,
    workers: int | None = None,
    counted: Callable[[int], None] = lambda entries: None,
) -> LogReport:
    """Verifies a log from entry 0 on. `service`: key id to PEM of the keys policies name. Findings
    are not raised.

    Parts of 2**`part` entries are verified by `workers` processes; by this one where there are few
    of them. `counted` is told how many entries each part had, once it verified.
    """
    seen = _Seen(Range())
    try:
        parts = partial(_parts, part=part, workers=workers, counted=counted)
        return _verify(log, project, service, pins, seen, parts)
    except VerificationError as error:
        return LogReport(project, seen.tree.size, dict(seen.kinds), broken=_words(error))


@dataclass
class _Seen:
    """What the pass over entries has gathered: hashes and counts, no entries."""

    tree: Range
    kinds: Counter[str] = field(default_factory=Counter)
    signers: Counter[str] = field(default_factory=Counter)
    above: frozenset[tuple[int, int, bytes]] = frozenset()
    """Of a part: the nodes kept beside its last entry that cover more than it."""
    broken: str | None = None
    """Of a part: what does not verify at the entry where its tree ends."""


_Parts = Callable[[Log, KeyRing, int], Generator[_Seen, None, None]]


def _verify(
    log: Log,
    project: str,
    service: Mapping[str, str],
    pins: TrustAnchors,
    seen: _Seen,
    parts: _Parts,
) -> LogReport:
    size, note = log.head()
    first = origin(log)
    if first.project != project:
        raise VerificationError(
            f"the log of project {first.project!r}", expected=repr(project), where="entry 0"
        )
    authority = _authority(log, size)
    named = service if isinstance(authority, VerificationError) else {**authority.keys, **service}
    ring = KeyRing(frozenset(first.development_keys), dict(named))
    with closing(parts(log, ring, size)) as found:
        for one in found:
            _join(seen, one)
    _verify_end(log, size, seen)
    if isinstance(authority, VerificationError):
        raise authority
    leaf = merkle.leaf_hash(log.entry(0).envelope)
    head = _verify_head(note, project, leaf, authority, seen.tree)
    established = _established(pins, first, authority, leaf)
    grown_from = None
    if pins.checkpoint is not None:
        grown_from = _verify_growth(log, pins.checkpoint, head, authority)
        established = established or f"the older checkpoint, of {grown_from} entries"
    for where, kept in pins.seen.items():
        _verify_growth(log, kept, head, authority, where)
    return LogReport(
        project=project,
        entries=size,
        kinds=dict(sorted(seen.kinds.items())),
        signers=tuple(
            SignedBy(keyid, ring.is_development(keyid), count)
            for keyid, count in seen.signers.most_common()
        ),
        first=leaf.hex(),
        root=head.root.hex(),
        checkpoint=note,
        checkpoint_key=public_key(authority.checkpoint_keys[-1][1]).keyid,
        origin=established,
        grown_from=grown_from,
    )


def _authority(log: Log, size: int) -> Authority | VerificationError:
    """Whom the log names; an error is kept until the entries were verified, which name what is
    wrong more exactly.
    """
    try:
        return read_authority(log, size)
    except VerificationError as error:
        return error


def _parts(
    log: Log,
    ring: KeyRing,
    size: int,
    *,
    part: int,
    workers: int | None,
    counted: Callable[[int], None],
) -> Generator[_Seen, None, None]:
    """Each part, verified, in order. Processes are started anew, not forked: a server has
    threads.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    verify_one = partial(_verify_part, log, ring, size, part)
    starts = range(0, size, 1 << part)
    workers = len(os.sched_getaffinity(0)) if workers is None else workers
    done = 0
    if workers > 1 and len(starts) > FEW and isinstance(log, SqlLog):
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _seldom) as pool:
            try:
                for found in _ahead(pool, verify_one, starts, AHEAD * workers):
                    done += 1
                    yield found
                    counted(found.tree.size - found.tree.start)
            except BrokenProcessPool:
                pass  # the system took one away, for its memory perhaps: this process goes on alone
            finally:
                pool.shutdown(cancel_futures=True)
    for found in map(verify_one, starts[done:]):
        yield found
        counted(found.tree.size - found.tree.start)


def _ahead(
    pool: ProcessPoolExecutor, verify_one: Callable[[int], _Seen], starts: range, most: int
) -> Generator[_Seen, None, None]:
    """Each in order, no more than `most` asked for before they are needed: for a row that somebody
    numbered 2**62, the executor's own `map` would ask for more parts than there is memory.
    """
    waiting: deque[Future[_Seen]] = deque()
    for start in starts:
        waiting.append(pool.submit(verify_one, start))
        if len(waiting) >= most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _seldom() -> None:
    """Cycles are looked for seldom, and not among what was there before: there are few, and it took
    a fifth of the time.
    """
    gc.freeze()
    gc.set_threshold(CYCLES)


def _verify_part(log: Log, ring: KeyRing, size: int, part: int, start: int) -> _Seen:
    """Verifies the entries from `start` to the end of its part."""
    seen = _Seen(Range(start))
    end = min(start + (1 << part), size)
    try:
        for at in range(start, end, PAGE):
            entries, kept = log.page(at, min(at + PAGE, end))
            for entry in entries:
                _verify_entry(entry, kept.get(entry.index, _NOTHING), ring, seen, part)
        if seen.tree.size != end:
            raise VerificationError(
                "the entries are not as many as the log says", where=f"entry {seen.tree.size}"
            )
    except VerificationError as error:
        seen.broken = _words(error)
    return seen


def _join(seen: _Seen, part: _Seen) -> None:
    """Puts a part behind those before it."""
    made = seen.tree.join(part.tree)
    seen.kinds.update(part.kinds)
    seen.signers.update(part.signers)
    if part.broken is not None:
        raise VerificationError(part.broken)
    if frozenset(made) != part.above:
        raise VerificationError(_NODES, where=f"entry {seen.tree.size - 1}")


def _verify_end(log: Log, size: int, seen: _Seen) -> None:
    """(1) No entry counted is missing, and nothing is kept for entries that are not there; the log
    may have grown.
    """
    _, before = log.page(-(1 << 63), 0)  # raises where an entry stands there
    extra = [*before, *(index for index in log.derived(size, 1 << 47) if index >= log.size())]
    if seen.tree.size != size or extra:
        raise VerificationError(
            "the entries are not as many as the log says", where=f"entry {seen.tree.size}"
        )


def _verify_entry(entry: Entry, derived: Derived, ring: KeyRing, seen: _Seen, part: int) -> None:
    index = seen.tree.size
    where = f"entry {index}"
    if entry.index != index:  # (1)
        raise VerificationError("the entry is missing", where=where)
    try:
        item, verified = open_entry(entry, ring)  # (2)
    except UnknownKeyError as error:
        raise VerificationError(
            error.found,
            where=where,
            expected="a development key of the log's origin, or a key that policies name",
            fix="verify in the project's folder, whose policies name the keys of its services",
        ) from None
    if (item.kind == "origin") != (index == 0):  # (3)
        raise VerificationError("an origin, and one only, begins a log", where=where)
    _verify_kept(entry, item, verified, derived)  # (4)
    made = seen.tree.completing(0, entry.leaf_hash)
    if made[-1][0] == part:  # the nodes above cover earlier parts, too: see `_join`
        seen.above = frozenset(node for node in derived.nodes if node[0] > part)
    if derived.nodes - seen.above != frozenset(made):
        raise VerificationError(_NODES, where=where)
    seen.tree.push(made)
    seen.kinds[item.kind] += 1
    seen.signers[item.keyid] += 1


def _verify_kept(entry: Entry, item: Evidence, verified: Verified, derived: Derived) -> None:
    """What an entry is found by must follow from it, or evidence could be hidden or misfiled."""
    dumps = partial(canonical.dumps_read, known=verified.canonical)
    identity = identity_of(verified.statement, item.keyid, dumps)
    kept = (entry.identity, entry.scope, entry.kind, derived.subjects)
    subjects = frozenset(subject.sha256 for subject in item.subjects)
    if kept != (identity, scope_of(item.kind, item.predicate, identity), item.kind, subjects):
        raise VerificationError(
            "what the log keeps to find this entry by does not follow from it",
            where=f"entry {entry.index}",
        )


def _verify_head(
    note: str, project: str, leaf: bytes, authority: Authority, tree: Range
) -> Checkpoint:
    """(5) The checkpoint is signed by the key in force, and its size and root are those of the
    entries.
    """
    where = "the log's checkpoint"
    head = signed_in_turn(note, authority.checkpoint_keys, where)
    if head.origin != origin_of(project, leaf):
        raise VerificationError("it is of another log", where=where)
    if head.size != tree.size:
        raise VerificationError(
            f"{tree.size} entries are there", expected=str(head.size), where=where
        )
    if head.root != tree.root():
        raise VerificationError("the entries are not those it was signed over", where=where)
    return head


def _verify_growth(
    log: Log, note: str, head: Checkpoint, authority: Authority, where: str = "the older checkpoint"
) -> int:
    """(6) The entries an older checkpoint counts."""
    old, _ = parse_checkpoint(note, where=where)
    if old.origin != head.origin:
        raise VerificationError(
            f"it is of another log, {old.origin}", expected=head.origin, where=where
        )
    signed_in_turn(note, authority.checkpoint_keys, where)
    if old.size > head.size:
        raise VerificationError(
            f"it counts {old.size} entries", expected=f"at most the {head.size} here", where=where
        )
    proof = log.consistency_proof(old.size, head.size)
    try:
        merkle.verify_consistency(old.size, head.size, old.root, head.root, proof)
    except VerificationError as error:
        raise VerificationError(error.found, where=where) from None
    return old.size


def _established(
    pins: TrustAnchors, first: Origin, authority: Authority, leaf: bytes
) -> str | None:
    """What ties this log to something the verifier brought along. A pin that does not fit is an
    error.
    """
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
        if public_key(pins.checkpoint_key).keyid not in {
            public_key(pem).keyid for _, pem in authority.checkpoint_keys
        }:
            raise VerificationError(
                "checkpoints are signed by a key that is not this machine's",
                expected=public_key(pins.checkpoint_key).keyid,
                where="entry 0",
            )
        return "the checkpoint key of this machine"
    return None


def _words(error: VerificationError) -> str:
    return str(error).replace("\n  ", "; ")
