"""Verifies a bundle. Nothing in it is trusted, and nothing else is read: no clock, file or network.

1. Its form is canonical and closed, and its seal fits (`governance.bundle.form`).
2. Every entry is in the tree of the checkpoint, at its index.
3. Entry 0, and no other, is the origin. The checkpoint names it, and is signed by the key in force
   at its size.
4. Every envelope is signed by a key that the log's policies or its origin name. A statement whose
   signer had no right to make it at that position is set aside, and reported.
5. The version's registration counts. The digest of its file list is the model digest. The bundle
   holds every statement that the registration and the packet name by digest.
6. Every decision that moved a governed alias to this version is repeated from the entries before
   it: what was requested, under which policies, and whether it was allowed.
7. Each file matches its digest. The report says which files an approval or a signed report names;
   the others are attachments.
8. A trust anchor fits: leaf hash of entry 0, id of the checkpoint key, or an older checkpoint.

A bundle cannot show that nothing was left out of it. See `limits`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

from governance.attest.envelope import UnknownKeyError
from governance.attest.keys import public_key
from governance.attest.predicates import Signed
from governance.base.errors import CountersignError, VerificationError
from governance.bundle.form import Bundle, read
from governance.bundle.log import BundleLog
from governance.bundle.result import Aside, BundleReport, limits
from governance.bundle.substance import signer_name, substance
from governance.history.verify import TrustAnchors
from governance.log import merkle
from governance.log.checkpoint import Checkpoint, origin_of, parse_checkpoint, signed_in_turn
from governance.log.evidence import Evidence, KeyRing, open_entry, origin
from governance.policy.authority import Authority, read_authority
from governance.policy.policies import policies_of
from governance.release import promotion

FREE = ("origin", "policy", "packet", "refusal", "call", "report")
"""Kinds that any known key may record: people decide whether policies count, a packet follows from
the log, and a refusal, an accepted call or a report gives no rights.
"""


def verify_bundle(data: bytes, anchors: TrustAnchors, *, where: str = "bundle") -> BundleReport:
    """Verifies a file's bytes. The report names the first thing that does not verify; nothing is
    raised.
    """
    report = BundleReport()
    try:
        bundle = read(data, where=where)
        report = replace(report, model=bundle.model, version=bundle.version)
        return _verify(bundle, anchors)
    except CountersignError as error:
        return replace(report, broken=str(error).replace("\n  ", "; "))
    except (ValueError, RecursionError) as error:  # signed nonsense: a bad date, an endless chain
        broken = f"{where}: a statement cannot be read ({type(error).__name__})"
        return replace(report, broken=broken)


def _verify(bundle: Bundle, anchors: TrustAnchors) -> BundleReport:
    log = BundleLog(bundle)
    head = parse_checkpoint(bundle.checkpoint, where="the checkpoint")[0]
    _verify_tree(log, head)  # (2)
    first = origin(log)
    if [entry.index for entry in log.by_kind(["origin"])] != [0]:  # (3)
        raise VerificationError("an origin, and one only, begins a log", where="entry 0")
    leaf = log.entry(0).leaf_hash
    if head.origin != origin_of(first.project, leaf):
        raise VerificationError(
            "the checkpoint is of another log", expected=head.origin, where="entry 0"
        )
    authority = read_authority(log)
    signed_in_turn(bundle.checkpoint, authority.checkpoint_keys, "the checkpoint")
    ring = KeyRing(frozenset(first.development_keys), authority.keys)
    recorded = _Recorded(authority)
    statements = [_open(log, index, ring, recorded) for index in _indices(log)]  # (4)
    established, grown_from = _established(log, anchors, head, authority, leaf)  # (8)
    report = BundleReport(
        model=bundle.model,
        version=bundle.version,
        project=first.project,
        size=head.size,
        entries=len(statements),
        kinds=dict(sorted(Counter(statement.kind for statement in statements).items())),
        signers=dict(
            Counter(signer_name(statement, authority) for statement in statements).most_common()
        ),
        first=leaf.hex(),
        root=head.root.hex(),
        checkpoint=bundle.checkpoint,
        checkpoint_key=public_key(first.checkpoint_key).keyid,
        origin=established,
        grown_from=grown_from,
        as_of=_time(statements[-1]),
        policy=authority.in_force.digest,
        policy_signed_by=authority.in_force.signers,
        aside=tuple(_aside(statements, authority)),
    )
    report = substance(report, promotion.state(log), statements, bundle)
    return replace(report, limits=limits(report))


def _verify_tree(log: BundleLog, head: Checkpoint) -> None:
    for entry in log.bundle.entries:
        proof = [bytes.fromhex(step) for step in entry.proof]
        try:
            merkle.verify_inclusion(
                log.entry(entry.index).leaf_hash, entry.index, head.size, proof, head.root
            )
        except VerificationError as error:
            raise VerificationError(error.found, where=f"entry {entry.index}") from None


def _indices(log: BundleLog) -> list[int]:
    return [entry.index for entry in log.bundle.entries]


@dataclass(frozen=True)
class _Recorded:
    """Policies that were recorded, whoever signed them. They are read once, and only if needed."""

    authority: Authority

    @cached_property
    def keys(self) -> dict[str, str]:
        """Key id to PEM of every principal that they name."""
        keys: dict[str, str] = {}
        for _, _, files in self.authority.recorded:
            with suppress(CountersignError):  # unreadable policies name nobody
                keys.update(policies_of(dict(files)).keys if files else {})
        return keys


def _open(log: BundleLog, index: int, ring: KeyRing, recorded: _Recorded) -> Evidence:
    """(4) An entry whose key is named by the origin or by any policies in the log."""
    entry = log.entry(index)
    try:
        return open_entry(entry, ring)[0]
    except UnknownKeyError:
        return open_entry(entry, KeyRing(ring.development, {**ring.service, **recorded.keys}))[0]


def _established(
    log: BundleLog, anchors: TrustAnchors, head: Checkpoint, authority: Authority, leaf: bytes
) -> tuple[str | None, int | None]:
    """The trust anchor that fits this log, and the size of the older checkpoint.

    Raises `VerificationError` where an anchor does not fit.
    """
    keys = [public_key(pem).keyid for _, pem in authority.checkpoint_keys]
    established = None
    if anchors.origin is not None:
        if anchors.origin not in (leaf.hex(), keys[0]):
            raise VerificationError(
                f"the log begins with {leaf.hex()} and its checkpoints are signed by {keys[0]}",
                expected=anchors.origin,
                where="the given origin",
            )
        established = "the origin given"
    if anchors.checkpoint is None:
        return established, None
    where = "the older checkpoint"
    old = parse_checkpoint(anchors.checkpoint, where=where)[0]
    if old.origin != head.origin:
        raise VerificationError(
            f"it is of another log, {old.origin}", expected=head.origin, where=where
        )
    signed_in_turn(anchors.checkpoint, authority.checkpoint_keys, where)
    if old.size > head.size:
        raise VerificationError(
            f"it counts {old.size} entries", expected=f"at most the {head.size} here", where=where
        )
    proof = log.consistency_proof(old.size, head.size)
    merkle.verify_consistency(old.size, head.size, old.root, head.root, proof)
    return established or f"the older checkpoint, of {old.size} entries", old.size


def _aside(statements: Sequence[Evidence], authority: Authority) -> Iterator[Aside]:
    """(4) Statements whose signer had no right to make them."""
    for statement in statements:
        if isinstance(statement.predicate, Signed):
            if authority.speaker(statement) is None:
                who = f"{statement.predicate.principal} as {statement.predicate.role}"
                why = f"at that entry, {who} did not have this key or this role"
                yield Aside(statement.index, statement.kind, why)
        elif statement.kind not in FREE and not authority.may_sign(
            statement.kind, statement.keyid, statement.development, statement.index
        ):
            who = signer_name(statement, authority)
            why = f"at that entry, {who} had no right to sign `{statement.kind}`"
            yield Aside(statement.index, statement.kind, why)


def _time(statement: Evidence) -> str:
    predicate = statement.predicate
    return str(predicate.at if isinstance(predicate, Signed) else predicate.run.finished)
