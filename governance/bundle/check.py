"""What holds of a bundle. Nothing in it is believed; nothing but it is read: no clock, no file, no network.

1. Its form is canonical and closed, and its seal fits (`governance.bundle.form`).
2. Every entry is in the tree of the checkpoint, at its index.
3. Entry 0, and no other, is the origin; the checkpoint names it, and is signed by the key in force at its size.
4. Every envelope is signed by a key that the log's own policies, or its origin, name; what its signer had no right to
   say at that position is set aside and told.
5. The version's registration counts, its files add up to its digest, and every statement that it and its packet rest
   on is here, under the digest by which they name it.
6. Every decision that moved a governed alias to this version is made again, from what stood before it: what was asked,
   under which policies, and whether it was allowed.
7. Each file is the one of its digest. Which an approval names is told; the others are attachments.
8. A pin that was brought along fits: leaf hash of entry 0, id of the checkpoint key, or an older checkpoint.

What no bundle shows: that nothing was left out of it. See `limits`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from governance import lineage, packet, promotion
from governance.authority import Authority, read_authority
from governance.bundle.form import Bundle, read
from governance.bundle.log import BundleLog
from governance.checks.context import ReleaseContext
from governance.checks.people import distinct, instant_of, packet_votes
from governance.digests import manifest_digest
from governance.envelope import UnknownKeyError
from governance.errors import CountersignError, VerificationError
from governance.evidence import Evidence, KeyRing, open_entry, origin
from governance.keys import public_key
from governance.log import merkle
from governance.log.checkpoint import Checkpoint, origin_of, parse_checkpoint, verify_checkpoint
from governance.policy import policies_of
from governance.predicates import Approval, Packet, Promotion, Registration, Signed
from governance.promotion import State
from governance.retrospect import decided_again
from governance.verify import Report as LogReport
from governance.verify import Signer

FREE = ("origin", "policy", "packet", "refusal")
"""Kinds that anybody known may record: people decide whether policies count, a packet follows from the log, and a
refusal gives nothing."""

SAME = "the same"
ELSEWHERE = "not made again here: the bundle is about another version"


@dataclass(frozen=True)
class Pins:
    """What the one who verifies brings along."""

    origin: str | None = None
    """Leaf hash of entry 0, or key id of the checkpoint key."""
    checkpoint: str | None = None
    """An older signed checkpoint of the same log."""


@dataclass(frozen=True)
class Move:
    """A decision about an alias and this model."""

    entry: int
    action: str
    version: str
    alias: str
    allowed: bool
    again: str
    """What came of making it again, or why it was not."""


@dataclass(frozen=True)
class Vote:
    """A person's last word on the packet."""

    entry: int
    name: str
    role: str
    decision: str


@dataclass(frozen=True)
class Aside:
    """An entry that does not count."""

    entry: int
    kind: str
    reason: str


@dataclass(frozen=True)
class Carried:
    """A file in the bundle."""

    name: str
    sha256: str
    shown_to: tuple[str, ...]
    """Who signed having seen it; empty for an attachment that no approval names."""


@dataclass(frozen=True)
class Report:
    """What verification found. `broken` is the first thing that does not verify."""

    model: str = ""
    version: str = ""
    model_digest: str = ""
    project: str = ""
    size: int = 0
    """Entries of the log, by the checkpoint."""
    entries: int = 0
    """Carried here, each proven."""
    kinds: dict[str, int] = field(default_factory=dict)
    signers: dict[str, int] = field(default_factory=dict)
    """Name, or development key, to entries."""
    first: str = ""
    """Leaf hash of entry 0: what the log is pinned by."""
    root: str = ""
    checkpoint: str = ""
    checkpoint_key: str = ""
    """Key id of the origin's."""
    origin: str | None = None
    """What establishes that this is the log you mean; None where nothing does."""
    grown_from: int | None = None
    """Entries of the older checkpoint that this log was shown to contain."""
    as_of: str = ""
    """When the last statement here was made, by its own clock: what is open or expired is judged as of then."""
    policy: str = ""
    """Digest of the policies in force."""
    policy_signed_by: tuple[str, ...] = ()
    packet: str | None = None
    packet_entry: int | None = None
    packet_changed: tuple[str, ...] = ()
    """What of the packet no longer is so."""
    statements: int = 0
    """That the version rests on, all of them here."""
    approvals_wanted: int = 0
    counted: tuple[tuple[str, str], ...] = ()
    """People and roles that count towards it, each once."""
    votes: tuple[Vote, ...] = ()
    not_counted: tuple[str, ...] = ()
    """Why other approvals of the packet do not."""
    moves: tuple[Move, ...] = ()
    aside: tuple[Aside, ...] = ()
    files: tuple[Carried, ...] = ()
    pages_missing: tuple[str, ...] = ()
    """Digests of review pages that approvals here name and that are not carried."""
    limits: tuple[str, ...] = ()
    broken: str | None = None

    @property
    def complete(self) -> bool:
        """Whether the whole log is here."""
        return 0 < self.size == self.entries

    @property
    def ok(self) -> bool:
        """Whether everything verifies and the origin is established."""
        return self.broken is None and self.origin is not None


def verify_bundle(data: bytes, pins: Pins, *, where: str = "bundle") -> Report:
    """Verifies a file's bytes. Findings are not raised."""
    told = Report()
    try:
        bundle = read(data, where=where)
        told = replace(told, model=bundle.model, version=bundle.version)
        return _verify(bundle, pins)
    except CountersignError as error:
        return replace(told, broken=str(error).replace("\n  ", "; "))
    except (ValueError, RecursionError) as error:  # a date that is none, a chain without end: signed, and yet nonsense
        return replace(told, broken=f"{where}: a statement cannot be read ({type(error).__name__})")


def _verify(bundle: Bundle, pins: Pins) -> Report:
    log = BundleLog(bundle)
    head = parse_checkpoint(bundle.checkpoint, where="the checkpoint")[0]
    _verify_tree(log, head)  # (2)
    first = origin(log)
    if [entry.index for entry in log.by_kind(["origin"])] != [0]:  # (3)
        raise VerificationError("an origin, and one only, begins a log", where="entry 0")
    leaf = log.entry(0).leaf_hash
    if head.origin != origin_of(first.project, leaf):
        raise VerificationError("the checkpoint is of another log", expected=head.origin, where="entry 0")
    authority = read_authority(log)
    signed_at(bundle.checkpoint, authority, "the checkpoint")
    ring = KeyRing(frozenset(first.development_keys), authority.keys)
    items = [_open(log, index, ring, authority) for index in _indices(log)]  # (4)
    established, grown_from = _established(log, pins, head, authority, leaf)  # (8)
    report = Report(
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
    report = _substance(report, log, items)
    return replace(report, limits=limits(report))


def signed_at(note: str, authority: Authority, where: str) -> Checkpoint:
    """A checkpoint by the key that was in force at its size; by the one before, if that gave way at its last entry."""
    size = parse_checkpoint(note, where=where)[0].size
    since = [(index, pem) for index, pem in authority.checkpoint_keys if index < size] or authority.checkpoint_keys[:1]
    if len(since) > 1 and since[-1][0] == size - 1:
        try:
            return verify_checkpoint(note, since[-2][1], where=where)
        except VerificationError:
            pass
    return verify_checkpoint(note, since[-1][1], where=where)


def _verify_tree(log: BundleLog, head: Checkpoint) -> None:
    for item in log.bundle.entries:
        proof = [bytes.fromhex(step) for step in item.proof]
        try:
            merkle.verify_inclusion(log.entry(item.index).leaf_hash, item.index, head.size, proof, head.root)
        except VerificationError as error:
            raise VerificationError(error.found, where=f"entry {item.index}") from None


def _indices(log: BundleLog) -> list[int]:
    return [item.index for item in log.bundle.entries]


def _open(log: BundleLog, index: int, ring: KeyRing, authority: Authority) -> Evidence:
    """(4) An entry by a key that is known: of the policies ever in force, or of policies that were only recorded."""
    entry = log.entry(index)
    try:
        return open_entry(entry, ring)[0]
    except UnknownKeyError:
        recorded: dict[str, str] = {}
        for _, _, files in authority.recorded:
            recorded.update(policies_of(dict(files)).keys if files else {})
        return open_entry(entry, KeyRing(ring.development, {**ring.service, **recorded}))[0]


def _established(
    log: BundleLog, pins: Pins, head: Checkpoint, authority: Authority, leaf: bytes
) -> tuple[str | None, int | None]:
    """What ties this log to something the verifier brought along; a pin that does not fit is an error."""
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
        raise VerificationError(f"it is of another log, {old.origin}", expected=head.origin, where=where)
    signed_at(pins.checkpoint, authority, where)
    if old.size > head.size:
        raise VerificationError(f"it counts {old.size} entries", expected=f"at most the {head.size} here", where=where)
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
                yield Aside(item.index, item.kind, f"the key was not {who}'s at that entry, or the role was not theirs")
        elif item.kind not in FREE and not authority.may_sign(item.kind, item.keyid, item.development, item.index):
            yield Aside(item.index, item.kind, f"{_whose(item, authority)} might not sign `{item.kind}` at that entry")


def _substance(report: Report, log: BundleLog, items: Sequence[Evidence]) -> Report:
    """(5), (6) and (7)."""
    now, at = promotion.state(log), instant_of(report.as_of)
    item = now.registration(report.model, report.version)
    registered: Registration = item.predicate
    if manifest_digest(registered.files) != registered.model_digest:
        raise VerificationError("the files it lists do not add up to its digest", where=f"entry {item.index}")
    here = {(one.kind, one.digest) for one in items}
    named = {(link.role, link.sha256) for link in registered.chain}
    _require(named, here, item)
    frozen = packet.latest(now.evidence, report.model, report.version, registered.model_digest)
    if frozen is not None:
        said: Packet = frozen.predicate
        stages = {(step.kind, step.statement) for step in said.stages}
        _require(stages | {("waiver", digest) for digest in said.waivers}, here, frozen)
        named |= stages
        report = _with_packet(report, now, frozen, at)
    return replace(
        report,
        model_digest=registered.model_digest,
        statements=len(named),
        moves=tuple(_moves(now, report.model, report.version)),
        files=tuple(_files(log.bundle, items)),
        pages_missing=_pages_missing(log.bundle, items, report.packet),
    )


def _require(named: set[tuple[str, str]], here: set[tuple[str, str]], item: Evidence) -> None:
    missing = sorted(named - here)
    if missing:
        kind, digest = missing[0]
        raise VerificationError(
            f"it rests on a statement that is not here: {kind} {digest}",
            where=f"entry {item.index}, {item.kind}",
        )


def _with_packet(report: Report, now: State, frozen: Evidence, at: datetime) -> Report:
    """The packet as it stands, and what people said of it."""
    report = replace(report, packet=lineage.subject(frozen, "packet"), packet_entry=frozen.index)
    if now.authority.in_force.policies is None:
        return replace(report, not_counted=("the log does not carry the policies in force",))
    alias = next(iter(now.authority.policies.rules.aliases), "champion")
    asked = promotion.ask(now, "promote", report.model, report.version, alias)
    context = ReleaseContext(
        asked.model, (asked.released,), now.authority.policies, now.evidence, at, asked.champion, alias,
        authority=now.authority, governed=True, asked=asked, rights=now.authority,
    )  # fmt: skip
    votes, not_counted = packet_votes(context)
    changed = packet.differing(frozen, now.view, now.authority, evidence=now.evidence, at=at)
    return replace(
        report,
        packet_changed=tuple(changed),
        approvals_wanted=context.tier.approvals if context.tier else 0,
        counted=tuple(distinct([vote for vote in votes if vote[2].predicate.decision == "approve"])),
        votes=tuple(Vote(item.index, name, role, item.predicate.decision) for name, role, item in votes),
        not_counted=tuple(not_counted),
    )


def _moves(now: State, model: str, version: str) -> Iterator[Move]:
    """(6) Every decision about an alias of this model whose signer might make it."""
    for item in now.view.all("promotion"):
        said: Promotion = item.predicate
        if said.model == model:
            again = _again(now, item) if said.version == version else ELSEWHERE
            yield Move(item.index, said.action, said.version, said.alias, said.allowed, again)


def _again(now: State, item: Evidence) -> str:
    """A decision made again. Raises `VerificationError` where a governed alias moved that should not have."""
    said: Promotion = item.predicate
    if said.asked is None:
        return "not made again: the statement does not hold what was asked"
    found = decided_again(now, item.index)
    if said.alias == "candidate" or not said.allowed:
        return SAME if found.same else f"another answer: {'; '.join(found.differences)}"
    where = f"entry {item.index}, promotion"
    if found.findings:
        codes = ", ".join(dict.fromkeys(one.code for one in found.findings))
        raise VerificationError(
            f"it allows what the rules in force did not allow: {codes}",
            expected="a decision that comes out the same when it is made again from what stood before it",
            where=where,
        )
    before = promotion.state(now.log, item.index)
    asked = promotion.ask(before, said.action, said.model, said.version, said.alias)
    fields = (said.model_digest, said.request, said.packet, said.from_version, said.policy)
    follows = (asked.released.sha256, asked.request, asked.packet, asked.from_version, before.authority.in_force.digest)
    if asked.model_dump(mode="json") != said.asked or fields != follows:
        raise VerificationError("it answers another question than the log asked at that entry", where=where)
    return SAME if found.same else f"allowed, too: {'; '.join(found.differences)}"


def _files(bundle: Bundle, items: Sequence[Evidence]) -> Iterator[Carried]:
    """(7)"""
    for file in bundle.files:
        shown = {item.predicate.principal: None for item in items if _page(item) == file.sha256}
        yield Carried(file.name, file.sha256, tuple(shown))


def _pages_missing(bundle: Bundle, items: Sequence[Evidence], frozen: str | None) -> tuple[str, ...]:
    carried = {file.sha256 for file in bundle.files}
    of_packet = (item for item in items if lineage.subject(item, "packet") == frozen)
    return tuple(dict.fromkeys(page for item in of_packet if (page := _page(item)) and page not in carried))


def _page(item: Evidence) -> str | None:
    return item.predicate.page if isinstance(item.predicate, Approval) else None


def _time(item: Evidence) -> str:
    said = item.predicate
    return str(said.at if isinstance(said, Signed) else said.run.finished)


def limits(report: Report) -> tuple[str, ...]:
    """What this bundle cannot show, in words."""
    out = report.size - report.entries
    told = [
        f"It holds all {report.size} entries of its checkpoint: nothing that was logged until then is left out."
        if report.complete
        else f"It holds {report.entries} of the log's {report.size} entries. What the other {out} say is not shown: "
        "that no rejection, revocation, incident or policy is among them is the word of whoever made the bundle. "
        "The log shows it, or a bundle made with --whole; and two people who make it anew get the same bytes."
    ]
    moved = [move.entry for move in report.moves if move.allowed and move.again == SAME and move.alias != "candidate"]
    if moved and not report.complete:
        told.append(
            f"The service that moved an alias at entry {moved[-1]} decided on the whole log before that entry; that "
            "nothing there stood against it, its signature states and this bundle does not prove."
        )
    return (
        *told,
        f"Nothing after entry {report.size - 1} is known here: ask for a newer bundle, or the log.",
        "Whoever holds the checkpoint key could show other people another log: compare the root with theirs, or bring "
        "a checkpoint from another hand (--checkpoint).",
        "A valid signature says who stated something, not that it is true. The model's own files are not here: "
        "countersign verify-model compares them with the registration.",
    )


def as_log_report(report: Report) -> LogReport:
    """The same as `governance.verify` says it of a log, for readers that ask for that."""
    return LogReport(
        project=report.project,
        entries=report.entries,
        kinds=report.kinds,
        signers=tuple(Signer(name, name == "a development key", count) for name, count in report.signers.items()),
        first=report.first,
        root=report.root,
        checkpoint=report.checkpoint,
        checkpoint_key=report.checkpoint_key,
        origin=report.origin,
        grown_from=report.grown_from,
        broken=report.broken,
    )
