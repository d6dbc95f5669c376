"""Verification of a log with nothing but public keys.

`verify_log` reads the log once, in parts that several processes can share, and keeps only a few
hashes in memory. It checks everything that is stored beside the entries:
1. the entries present are those the signed checkpoint counts, numbered without gaps;
2. each entry's bytes are those whose hash is in the tree, signed by a known key, and follow their
   schema;
3. entry 0, and no other, is the origin;
4. what the log keeps beside an entry (identity, scope, kind, subjects, tree nodes) follows from the
   entry;
5. the root over all entries is the one the checkpoint signs, by the key the origin names, or one
   that a quorum put in its place;
6. an older checkpoint, kept elsewhere, is a prefix of this log;
7. as many witnesses as policy asks for have cosigned checkpoints that it contains, and it contains
   every cosigned checkpoint that an entry records.
It cannot tell whether this is the right log. `LogReport.origin` names what establishes that, if
anything does. `LIMITS` lists what verification does not show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from governance.attest import canonical
from governance.attest.envelope import UnknownKeyError, Verified
from governance.attest.keys import public_key
from governance.attest.predicates import Origin
from governance.base.errors import VerificationError
from governance.history.witnesses import (
    Witnessed,
    check_recorded,
    check_witnesses,
    witnessed,
)
from governance.log import merkle
from governance.log.checkpoint import Checkpoint, origin_of, parse_checkpoint, signed_in_turn
from governance.log.evidence import (
    Evidence,
    KeyRing,
    found_by,
    identity_of,
    open_entry,
    origin,
    scope_of,
)
from governance.log.merkle import Range
from governance.log.port import Derived, Entry, Log
from governance.log.rules import rule_versions
from governance.policy.authority import Authority, read_authority
from governance.policy.witnesses import Requirement

PAGE = 1024
PART = 13
"""A part has 2**13 entries, about one second of work: worth a process, and small enough to share
evenly.
"""
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
    """A key, and how many entries of the log it signed."""

    keyid: str
    development: bool
    entries: int


@dataclass(frozen=True)
class LogReport:
    """The result of a verification. `broken` is the first thing that does not verify."""

    project: str
    entries: int
    """How many entries verified, from entry 0."""
    kinds: dict[str, int] = field(default_factory=dict)
    signers: tuple[SignedBy, ...] = ()
    first: str = ""
    """Leaf hash of entry 0. A log is pinned by it."""
    root: str = ""
    checkpoint: str = ""
    checkpoint_key: str = ""
    """Key id."""
    origin: str | None = None
    """What establishes that this is the right log; None where nothing does."""
    grown_from: int | None = None
    """Entries of the older checkpoint that this log was shown to contain."""
    witnessed: tuple[Witnessed, ...] = ()
    """What witnesses have cosigned of it, by its own entries and what is kept beside them."""
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
    witnesses: Requirement | None = None
    """What the verifier's own policy asks of witnesses, whatever the log's policies say."""
    witnessed: bool = True
    """Whether the quorum of witnesses is required. It is not on the log's own machine, before that
    machine can ask them.
    """
    at: datetime | None = None
    """The verifier's time, by which cosignatures are judged; None: whatever their age."""
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
    run: Run | None = None,
    part: int = PART,
    counted: Callable[[int], None] = lambda entries: None,
    opened: dict[int, Evidence] | None = None,
) -> LogReport:
    """Verifies a log from entry 0 on. A failure is in the report (`broken`), not raised.

    `service`: key id to PEM of the keys that policies name. `run` verifies the parts of 2**`part`
    entries; this process does where there is none. `counted` is called with the number of entries
    of each verified part. `opened` receives the statement of each entry that this process verified.
    """
    seen = Seen(Range())
    try:
        return _verify(
            log, project, service, pins, seen, partial(_parts, run, part, counted, opened)
        )
    except VerificationError as error:
        return LogReport(project, seen.tree.size, dict(seen.kinds), broken=_words(error))


@dataclass
class Seen:
    """What the pass over a part of the entries has gathered: hashes and counts, no entries."""

    tree: Range
    kinds: Counter[str] = field(default_factory=Counter)
    signers: Counter[str] = field(default_factory=Counter)
    above: frozenset[tuple[int, int, bytes]] = frozenset()
    """Of a part: the nodes stored beside its last entry that cover more than this part."""
    broken: str | None = None
    """Of a part: what is wrong at the entry where its tree ends."""


Run = Callable[[Log, Callable[[int], Seen], range], Iterable[Seen]]
"""Verifies the parts of a log that begin at these entries: it returns what the function gives for
each of them, in their order.
"""


def _parts(
    run: Run | None,
    part: int,
    counted: Callable[[int], None],
    opened: dict[int, Evidence] | None,
    log: Log,
    ring: KeyRing,
    size: int,
) -> Iterator[Seen]:
    """The verified parts, in order."""
    verify_part = partial(_verify_part, log, ring, size, part, opened)
    starts = range(0, size, 1 << part)
    for verified in run(log, verify_part, starts) if run else map(verify_part, starts):
        yield verified
        counted(verified.tree.size - verified.tree.start)


def _verify(
    log: Log,
    project: str,
    service: Mapping[str, str],
    pins: TrustAnchors,
    seen: Seen,
    parts: Callable[[Log, KeyRing, int], Iterator[Seen]],
) -> LogReport:
    size, note = log.head()
    log = log.as_stored()
    log_origin = origin(log)
    if log_origin.project != project:
        raise VerificationError(
            f"the log of project {log_origin.project!r}", expected=repr(project), where="entry 0"
        )
    authority = _authority(log, size)
    named = service if isinstance(authority, VerificationError) else {**authority.keys, **service}
    ring = KeyRing(frozenset(log_origin.development_keys), dict(named))
    for verified_part in parts(log, ring, size):
        _join(seen, verified_part)
    _verify_end(log, size, seen)
    if isinstance(authority, VerificationError):
        raise authority
    leaf = merkle.leaf_hash(log.entry(0).envelope)
    head = _verify_head(note, project, leaf, authority, seen.tree)
    check_recorded(log, head.origin)
    established = establish(pins, log_origin, authority, leaf)
    grown_from = None
    if pins.checkpoint is not None:
        grown_from = verify_growth(log, pins.checkpoint, head, authority)
        established = established or f"the older checkpoint, of {grown_from} entries"
    for where, kept in pins.seen.items():
        verify_growth(log, kept, head, authority, where)
    if pins.witnessed:  # (7)
        seen_outside = check_witnesses(log, authority, pins.witnesses, pins.at)
    else:
        seen_outside = witnessed(log, authority, pins.witnesses)
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
        witnessed=seen_outside,
    )


def _authority(log: Log, size: int) -> Authority | VerificationError:
    """The authority of the log, or the error in reading it. The caller raises that error only after
    the entries verified, because their errors are more exact.
    """
    try:
        return read_authority(log, size)
    except VerificationError as error:
        return error


def _verify_part(
    log: Log, ring: KeyRing, size: int, part: int, opened: dict[int, Evidence] | None, start: int
) -> Seen:
    """Verifies the entries of the part that begins at `start`."""
    seen = Seen(Range(start))
    end = min(start + (1 << part), size)
    try:
        versions = rule_versions(log)
        for at in range(start, end, PAGE):
            entries, kept = log.page(at, min(at + PAGE, end))
            for entry in entries:
                strict = versions.strict_at(entry.index)
                derived = kept.get(entry.index, _NOTHING)
                statement = _verify_entry(entry, derived, ring, seen, part, strict)
                if opened is not None:
                    opened[entry.index] = statement
        if seen.tree.size != end:
            raise VerificationError(
                "the entries are not as many as the log says", where=f"entry {seen.tree.size}"
            )
    except VerificationError as error:
        seen.broken = _words(error)
    return seen


def _join(seen: Seen, part: Seen) -> None:
    """Appends a verified part to the parts before it. Raises `VerificationError`."""
    made = seen.tree.join(part.tree)
    seen.kinds.update(part.kinds)
    seen.signers.update(part.signers)
    if part.broken is not None:
        raise VerificationError(part.broken)
    if frozenset(made) != part.above:
        raise VerificationError(_NODES, where=f"entry {seen.tree.size - 1}")


def _verify_end(log: Log, size: int, seen: Seen) -> None:
    """(1) No counted entry is missing, and nothing is stored for entries that do not exist. The log
    may have grown meanwhile.
    """
    _, before = log.page(-(1 << 63), 0)  # raises if an entry has such a number
    extra = [*before, *(index for index in log.derived(size, 1 << 47) if index >= log.size())]
    if seen.tree.size != size or extra:
        raise VerificationError(
            "the entries are not as many as the log says", where=f"entry {seen.tree.size}"
        )


def _verify_entry(
    entry: Entry, derived: Derived, ring: KeyRing, seen: Seen, part: int, strict: bool
) -> Evidence:
    index = seen.tree.size
    where = f"entry {index}"
    if entry.index != index:  # (1)
        raise VerificationError("the entry is missing", where=where)
    try:
        statement, verified = open_entry(entry, ring, strict=strict)  # (2)
    except UnknownKeyError as error:
        raise VerificationError(
            error.found,
            where=where,
            expected="a development key of the log's origin, or a key that policies name",
            fix="verify in the project's folder, whose policies name the keys of its services",
        ) from None
    if (statement.kind == "origin") != (index == 0):  # (3)
        raise VerificationError("an origin, and one only, begins a log", where=where)
    _verify_kept(entry, statement, verified, derived)  # (4)
    made = seen.tree.completing(0, entry.leaf_hash)
    if made[-1][0] == part:  # higher nodes cover earlier parts, too: `_join` checks them
        seen.above = frozenset(node for node in derived.nodes if node[0] > part)
    if derived.nodes - seen.above != frozenset(made):
        raise VerificationError(_NODES, where=where)
    seen.tree.push(made)
    seen.kinds[statement.kind] += 1
    seen.signers[statement.keyid] += 1
    return statement


def _verify_kept(entry: Entry, statement: Evidence, verified: Verified, derived: Derived) -> None:
    """What the log stores to find an entry by must follow from the entry. Otherwise evidence could
    be hidden or misfiled.
    """
    dumps = partial(canonical.dumps_read, known=verified.canonical)
    identity = identity_of(verified.statement, statement.keyid, dumps)
    kept = (entry.identity, entry.scope, entry.kind, derived.subjects)
    found = found_by(statement.kind, statement.subjects, statement.keyid, verified.payload)
    scope = scope_of(statement.kind, statement.predicate, identity)
    if kept != (identity, scope, statement.kind, frozenset(found)):
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


def verify_growth(
    log: Log, note: str, head: Checkpoint, authority: Authority, where: str = "the older checkpoint"
) -> int:
    """(6) Checks that an older checkpoint is a prefix of this log. Returns its number of
    entries.
    """
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


def establish(
    pins: TrustAnchors, log_origin: Origin, authority: Authority, leaf: bytes
) -> str | None:
    """What establishes that this is the right log; None where nothing does. Raises
    `VerificationError` if a trust anchor does not fit.
    """
    key = public_key(log_origin.checkpoint_key)
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
