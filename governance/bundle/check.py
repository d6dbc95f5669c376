"""Verifies a bundle. Nothing in it is trusted, and nothing else is read: no clock, file or network.

1. Its form is canonical and closed, and its seal fits (`governance.bundle.form`).
2. Every entry is in the tree of the checkpoint, at its index.
3. Entry 0, and no other, is the origin. The checkpoint names it, and is signed by the key in force
   at its size.
4. Every envelope is signed by a key that the log's policies or its origin name. A statement whose
   signer had no right to make it at that position is set aside, and reported.
5. The version's registration counts, its files add up to its digest, and every statement that it
   and its packet rest on is in the bundle, under the digest by which they name it.
6. Every decision that moved a governed alias to this version is repeated from the entries before
   it: what was requested, under which policies, and whether it was allowed.
7. Each file matches its digest. The report says which files an approval or a signed report names;
   the others are attachments.
8. A trust anchor fits: leaf hash of entry 0, id of the checkpoint key, or an older checkpoint.

No bundle shows that nothing was left out of it. See `limits`.
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
from governance.bundle.substance import substance
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
    """Verifies a file's bytes. What does not verify is in the report, and not raised."""
    known = BundleReport()
    try:
        bundle = read(data, where=where)
        known = replace(known, model=bundle.model, version=bundle.version)
        return _verify(bundle, anchors)
    except CountersignError as error:
        return replace(known, broken=str(error).replace("\n  ", "; "))
    except (ValueError, RecursionError) as error:  # signed nonsense: a bad date, an endless chain
        why = f"{where}: a statement cannot be read ({type(error).__name__})"
        return replace(known, broken=why)


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
    items = [_open(log, index, ring, recorded) for index in _indices(log)]  # (4)
    established, grown_from = _established(log, anchors, head, authority, leaf)  # (8)
    report = BundleReport(
        model=bundle.model,
        version=bundle.version,
        project=first.project,
        size=head.size,
        entries=len(items),
        kinds=dict(sorted(Counter(item.kind for item in items).items())),
        signers=dict(Counter(_whose(item, authority) for item in items).most_common()),
        first=leaf.hex(),
        root=head.root.hex(),
        checkpoint=bundle.checkpoint,
        checkpoint_key=public_key(first.checkpoint_key).keyid,
        origin=established,
        grown_from=grown_from,
        as_of=_time(items[-1]),
        policy=authority.in_force.digest,
        policy_signed_by=authority.in_force.signers,
        aside=tuple(_aside(items, authority)),
    )
    report = substance(report, promotion.state(log), items, bundle)
    return replace(report, limits=limits(report))


def _verify_tree(log: BundleLog, head: Checkpoint) -> None:
    for item in log.bundle.entries:
        proof = [bytes.fromhex(step) for step in item.proof]
        try:
            merkle.verify_inclusion(
                log.entry(item.index).leaf_hash, item.index, head.size, proof, head.root
            )
        except VerificationError as error:
            raise VerificationError(error.found, where=f"entry {item.index}") from None


def _indices(log: BundleLog) -> list[int]:
    return [item.index for item in log.bundle.entries]


@dataclass(frozen=True)
class _Recorded:
    """Policies that were recorded, whoever signed them. They are read once, and only if needed."""

    authority: Authority

    @cached_property
    def keys(self) -> dict[str, str]:
        """Key id to PEM of every principal that they name."""
        found: dict[str, str] = {}
        for _, _, files in self.authority.recorded:
            with suppress(CountersignError):  # unreadable policies name nobody
                found.update(policies_of(dict(files)).keys if files else {})
        return found


def _open(log: BundleLog, index: int, ring: KeyRing, recorded: _Recorded) -> Evidence:
    """(4) An entry signed by a known key: one of policies that were ever in force or recorded."""
    entry = log.entry(index)
    try:
        return open_entry(entry, ring)[0]
    except UnknownKeyError:
        return open_entry(entry, KeyRing(ring.development, {**ring.service, **recorded.keys}))[0]


def _established(
    log: BundleLog, anchors: TrustAnchors, head: Checkpoint, authority: Authority, leaf: bytes
) -> tuple[str | None, int | None]:
    """What ties this log to a trust anchor. An anchor that does not fit is an error."""
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


def _whose(item: Evidence, authority: Authority) -> str:
    person = authority.principal(item.keyid, item.index)
    if person is not None:
        return person.name
    return "a development key" if item.development else f"key {item.keyid[:12]}"


def _aside(items: Sequence[Evidence], authority: Authority) -> Iterator[Aside]:
    """(4) Statements whose signer had no right to make them."""
    for item in items:
        if isinstance(item.predicate, Signed):
            if authority.speaker(item) is None:
                who = f"{item.predicate.principal} as {item.predicate.role}"
                yield Aside(
                    item.index,
                    item.kind,
                    f"at that entry, {who} did not have this key or this role",
                )
        elif item.kind not in FREE and not authority.may_sign(
            item.kind, item.keyid, item.development, item.index
        ):
            yield Aside(
                item.index,
                item.kind,
                f"at that entry, {_whose(item, authority)} had no right to sign `{item.kind}`",
            )


def _time(item: Evidence) -> str:
    said = item.predicate
    return str(said.at if isinstance(said, Signed) else said.run.finished)
