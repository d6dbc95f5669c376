"""What holds of a bundle. Nothing in it is believed; nothing but it is read: no clock, no file, no
network.

1. Its form is canonical and closed, and its seal fits (`governance.bundle.form`).
2. Every entry is in the tree of the checkpoint, at its index.
3. Entry 0, and no other, is the origin; the checkpoint names it, and is signed by the key in force
   at its size.
4. Every envelope is signed by a key that the log's own policies, or its origin, name; what its
   signer had no right to say at that position is set aside and told.
5. The version's registration counts, its files add up to its digest, and every statement that it
   and its packet rest on is here, under the digest by which they name it.
6. Every decision that moved a governed alias to this version is made again, from what stood before
   it: what was asked, under which policies, and whether it was allowed.
7. Each file is the one of its digest. Which an approval or a signed report names is told; the
   others are attachments.
8. A pin that was brought along fits: leaf hash of entry 0, id of the checkpoint key, or an older
   checkpoint.

What no bundle shows: that nothing was left out of it. See `limits`.
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
"""Kinds that anybody known may record: people decide whether policies count, a packet follows from
the log, and a refusal, an accepted call or a report gives nothing.
"""


def verify_bundle(data: bytes, pins: TrustAnchors, *, where: str = "bundle") -> BundleReport:
    """Verifies a file's bytes. Findings are not raised."""
    told = BundleReport()
    try:
        bundle = read(data, where=where)
        told = replace(told, model=bundle.model, version=bundle.version)
        return _verify(bundle, pins)
    except CountersignError as error:
        return replace(told, broken=str(error).replace("\n  ", "; "))
    except (
        ValueError,
        RecursionError,
    ) as error:  # a date that is none, a chain without end: signed, and yet nonsense
        return replace(told, broken=f"{where}: a statement cannot be read ({type(error).__name__})")


def _verify(bundle: Bundle, pins: TrustAnchors) -> BundleReport:
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
    established, grown_from = _established(log, pins, head, authority, leaf)  # (8)
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
    """Policies that were recorded, whoever signed them; read once, and only where somebody asks."""

    authority: Authority

    @cached_property
    def keys(self) -> dict[str, str]:
        """Key id to PEM of everybody they name."""
        found: dict[str, str] = {}
        for _, _, files in self.authority.recorded:
            with suppress(CountersignError):  # what cannot be read names nobody
                found.update(policies_of(dict(files)).keys if files else {})
        return found


def _open(log: BundleLog, index: int, ring: KeyRing, recorded: _Recorded) -> Evidence:
    """(4) An entry by a key that is known: of the policies ever in force, or of policies that were
    only recorded.
    """
    entry = log.entry(index)
    try:
        return open_entry(entry, ring)[0]
    except UnknownKeyError:
        return open_entry(entry, KeyRing(ring.development, {**ring.service, **recorded.keys}))[0]


def _established(
    log: BundleLog, pins: TrustAnchors, head: Checkpoint, authority: Authority, leaf: bytes
) -> tuple[str | None, int | None]:
    """What ties this log to something the verifier brought along; a pin that does not fit is an
    error.
    """
    keys = [public_key(pem).keyid for _, pem in authority.checkpoint_keys]
    established = None
    if pins.origin is not None:
        if pins.origin not in (leaf.hex(), keys[0]):
            raise VerificationError(
                f"the log begins with {leaf.hex()} and its checkpoints are signed by {keys[0]}",
                expected=pins.origin,
                where="the pinned origin",
            )
        established = "the origin given"
    if pins.checkpoint is None:
        return established, None
    where = "the older checkpoint"
    old = parse_checkpoint(pins.checkpoint, where=where)[0]
    if old.origin != head.origin:
        raise VerificationError(
            f"it is of another log, {old.origin}", expected=head.origin, where=where
        )
    signed_in_turn(pins.checkpoint, authority.checkpoint_keys, where)
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
    """(4) What was said without the right to say it."""
    for item in items:
        if isinstance(item.predicate, Signed):
            if authority.speaker(item) is None:
                who = f"{item.predicate.principal} as {item.predicate.role}"
                yield Aside(
                    item.index,
                    item.kind,
                    f"the key was not {who}'s at that entry, or the role was not theirs",
                )
        elif item.kind not in FREE and not authority.may_sign(
            item.kind, item.keyid, item.development, item.index
        ):
            yield Aside(
                item.index,
                item.kind,
                f"{_whose(item, authority)} might not sign `{item.kind}` at that entry",
            )


def _time(item: Evidence) -> str:
    said = item.predicate
    return str(said.at if isinstance(said, Signed) else said.run.finished)
