"""Verifies a bundle. Nothing in it is trusted, and nothing else is read: no clock, file or network.

1. Its form is canonical and closed, and its seal fits (`governance.bundle.form`).
2. Every entry is in the tree of the checkpoint, at its index.
3. Entry 0, and no other, is the origin. The checkpoint names it, and is signed by the key in force
   at its size.
4. Every envelope is signed by a key that the log's policies or its origin name. A statement whose
   signer had no right to make it at that position is set aside, and reported.
5. The version's registration counts. The digest of its file list is the model digest. The bundle
   holds every statement that the registration and the packet name by digest.
6. Every decision that moved a governed alias of this version is repeated from the entries before
   it: what was requested, under which policies, and whether it was allowed. Where nothing about the
   model is missing (9), so is every decision about its other versions: a rollback, or a comparison
   with the champion, rests on them.
7. Each file matches its digest. The report says which files an approval or a signed report names;
   the others are attachments.
8. A trust anchor fits: leaf hash of entry 0, id of the checkpoint key, or an older checkpoint.
9. Nothing about the model is missing: the bundle holds the whole log, or exactly the entries that
   the log's signed index of the model counts (`governance.log.model_index`). Older bundles have no
   index. They verify, and their report says that completeness is not shown.
10. Where policy asks for witnesses, as many have cosigned a checkpoint that contains every entry of
   the bundle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum

from governance.attest.digests import manifest_digest
from governance.attest.keys import public_key
from governance.attest.predicates import (
    CANDIDATE,
    KINDS,
    Approval,
    Origin,
    Packet,
    Promotion,
    Registration,
    Signed,
    SignedReport,
)
from governance.base.errors import CountersignError, VerificationError
from governance.base.time import instant_of
from governance.bundle.form import Bundle, read
from governance.bundle.log import BundleLog
from governance.gates.checks.context import ReleaseContext
from governance.gates.checks.votes import packet_votes
from governance.history import lineage, packet
from governance.history.state import LogState
from governance.history.verify import LogReport, TrustAnchors, establish, verify_growth
from governance.history.votes import distinct
from governance.history.witnesses import check_witnesses
from governance.log import merkle
from governance.log.checkpoint import Checkpoint, origin_of, parse_checkpoint, signed_in_turn
from governance.log.evidence import Evidence, KeyRing, open_entry, origin
from governance.log.model_index import WHERE, verified_index
from governance.log.notes import parse_note
from governance.policy.authority import Authority, read_authority
from governance.policy.policies import policies_of
from governance.release import promotion
from governance.release.retrospect import Repeat, made_again

FREE = ("origin", "policy", "packet", "refusal", "call", "report", "cosigned", "rules")
"""Kinds that any known key may record: people decide whether policies count, a packet follows from
the log, a cosigned checkpoint shows itself, the log's own machine raises the version of its rules,
and a refusal, an accepted call or a report gives no rights.
"""


class Completeness(StrEnum):
    """(9) What shows that nothing about the model is missing."""

    WHOLE = "whole log"
    INDEX = "index"
    NOT_SHOWN = "not shown"


@dataclass(frozen=True)
class Move:
    """A decision about an alias and this model."""

    entry: int
    action: str
    version: str
    alias: str
    allowed: bool
    again: Repeat | None
    """The result of making it again; None for another version, where the bundle does not show that
    its evidence is here.
    """


@dataclass(frozen=True)
class Aside:
    """An entry that does not count."""

    entry: int
    kind: str
    reason: str


@dataclass(frozen=True)
class BundledFile:
    """A file in the bundle."""

    name: str
    sha256: str
    shown_to: tuple[str, ...]
    """Who approved with this page; empty for an attachment that no approval names."""
    signed_by: tuple[str, ...] = ()
    """Who signed it, as a report or its JSON twin."""


@dataclass(frozen=True)
class BundleReport(LogReport):
    """The result. `entries` are those in the bundle; each is proven to be in the log."""

    model: str = ""
    version: str = ""
    model_digest: str = ""
    size: int = 0
    """Entries of the log, by the checkpoint."""
    names: dict[str, int] = field(default_factory=dict)
    """Signers by name, or development key, to entries."""
    as_of: str = ""
    """When the last statement in the bundle was made, by its signer's clock. Open and expired are
    judged at that time.
    """
    policy: str = ""
    """Digest of the policies in force."""
    policy_signed_by: tuple[str, ...] = ()
    packet: str | None = None
    packet_entry: int | None = None
    packet_changed: tuple[str, ...] = ()
    """What changed since the packet was frozen."""
    statements: int = 0
    """How many statements the version rests on. The bundle holds all of them."""
    approvals_wanted: int = 0
    counted: tuple[tuple[str, str], ...] = ()
    """People and roles that count towards it, each once."""
    rejected: tuple[tuple[int, str, str], ...] = ()
    """Entry, person and role of each rejection that stands."""
    incidents: tuple[tuple[int, str, str], ...] = ()
    """Entry, person and reason of each incident that is open on the model's bytes."""
    not_counted: tuple[str, ...] = ()
    """Why other approvals of the packet do not count."""
    moves: tuple[Move, ...] = ()
    aside: tuple[Aside, ...] = ()
    files: tuple[BundledFile, ...] = ()
    pages_missing: tuple[str, ...] = ()
    """Digests of review pages that approvals name and that are not in the bundle."""
    limits: tuple[str, ...] = ()
    completeness: Completeness = Completeness.NOT_SHOWN

    @property
    def complete(self) -> bool:
        """Whether it is shown that nothing about the model is missing."""
        return self.shows_all_of(self.model)

    def shows_all_of(self, model: str) -> bool:
        """Whether it is shown that nothing about a model is missing. A bundle can hold some entries
        of another model, whose data or bytes are the same.
        """
        by_index = self.completeness is Completeness.INDEX and model == self.model
        return by_index or self.completeness is Completeness.WHOLE


def verify_bundle(data: bytes, anchors: TrustAnchors, *, where: str = "bundle") -> BundleReport:
    """Verifies a file's bytes. The report names the first thing that does not verify; nothing is
    raised.
    """
    report = BundleReport("", 0)
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
    _verify_cosigned(log, head)
    first = origin(log)
    if [entry.index for entry in log.by_kind(["origin"])] != [0]:  # (3)
        raise VerificationError("an origin, and one only, begins a log", where="entry 0")
    leaf = log.entry(0).leaf_hash
    if head.origin != origin_of(first.project, leaf):
        raise VerificationError(f"the checkpoint is of another log: {head.origin}", where="entry 0")
    authority = read_authority(log)
    signed_in_turn(bundle.checkpoint, authority.checkpoint_keys, "the checkpoint")
    completeness = _completeness(log, head, authority)  # (9)
    ring = _key_ring(first, authority)
    versions = authority.rule_versions
    statements = [  # (4)
        open_entry(entry, ring, strict=versions.strict_at(entry.index))[0]
        for entry in log.entries()
    ]
    established, grown_from = establish(anchors, first, authority, leaf), None  # (8)
    if anchors.checkpoint is not None:
        grown_from = verify_growth(log, anchors.checkpoint, head, authority)
        established = established or f"the older checkpoint, of {grown_from} entries"
    until = statements[-1].index + 1
    witnessed = check_witnesses(
        log, authority, anchors.witnesses, None, model=bundle.model, until=until
    )  # (10)
    names = Counter(_signer_name(statement, authority) for statement in statements)
    last = statements[-1].predicate
    report = BundleReport(
        model=bundle.model,
        version=bundle.version,
        project=first.project,
        size=head.size,
        entries=len(statements),
        kinds=dict(sorted(Counter(statement.kind for statement in statements).items())),
        names=dict(names.most_common()),
        first=leaf.hex(),
        root=head.root.hex(),
        checkpoint=bundle.checkpoint,
        checkpoint_key=public_key(first.checkpoint_key).keyid,
        origin=established,
        grown_from=grown_from,
        witnessed=witnessed,
        as_of=str(last.at if isinstance(last, Signed) else last.run.finished),
        policy=authority.in_force.digest,
        policy_signed_by=authority.in_force.signers,
        aside=tuple(_aside(statements, authority)),
        completeness=completeness,
    )
    report = _with_version(report, promotion.state(log), statements, bundle)
    return replace(report, limits=_limits(report))


def _verify_tree(log: BundleLog, head: Checkpoint) -> None:
    for entry in log.bundle.entries:
        proof = [bytes.fromhex(step) for step in entry.proof]
        try:
            merkle.verify_inclusion(
                log.entry(entry.index).leaf_hash, entry.index, head.size, proof, head.root
            )
        except VerificationError as error:
            raise VerificationError(error.found, where=f"entry {entry.index}") from None


def _completeness(log: BundleLog, head: Checkpoint, authority: Authority) -> Completeness:
    """(9) Raises `VerificationError` for an index of something else, or of other entries."""
    bundle = log.bundle
    if not bundle.index:
        return Completeness.WHOLE if log.complete else Completeness.NOT_SHOWN
    index = verified_index(bundle.index, authority.checkpoint_keys)
    expected = (head.origin, bundle.model, head.size)
    if (index.origin, index.model, index.size) != expected:
        found = f"it is of {index.model} in {index.origin}, at {index.size} entries"
        of_bundle = f"{bundle.model} in {head.origin}, at {head.size} entries"
        raise VerificationError(found, expected=of_bundle, where=WHERE)
    if len(bundle.entries) != index.entries:
        found = f"the bundle has {len(bundle.entries)} of {index.entries} entries about the model"
        raise VerificationError(found, where=WHERE, fix="ask its maker for a complete bundle")
    if merkle.root_of(entry.leaf_hash for entry in log.entries()) != index.root:
        found = "the entries about the model are not those that it counts"
        raise VerificationError(found, where=WHERE, fix="ask its maker for a complete bundle")
    return Completeness.INDEX


def _verify_cosigned(log: BundleLog, head: Checkpoint) -> None:
    """(10) Every cosigned checkpoint is one of this log."""
    for seen in log.bundle.cosigned:
        where = "a cosigned checkpoint"
        note = parse_note(seen.note, where)
        if note.origin != head.origin:
            raise VerificationError("it is of another log", where=where)
        proof = [bytes.fromhex(step) for step in seen.proof]
        try:
            merkle.verify_consistency(note.size, head.size, note.root, head.root, proof)
        except VerificationError as error:
            raise VerificationError(error.found, where=where) from None


def _key_ring(first: Origin, authority: Authority) -> KeyRing:
    """(4) The keys that the origin or any policies in the log name, whoever signed them."""
    ring = KeyRing(frozenset(first.development_keys), authority.keys)
    recorded: dict[str, str] = {}
    for index, _, files in authority.recorded:
        with suppress(CountersignError):  # unreadable policies name nobody
            strict = authority.rule_versions.strict_at(index)
            recorded |= policies_of(dict(files), strict=strict).keys if files else {}
    recorded = {keyid: pem for keyid, pem in recorded.items() if keyid not in ring.known}
    return KeyRing(ring.development, {**recorded, **ring.service})


def _aside(statements: Sequence[Evidence], authority: Authority) -> Iterator[Aside]:
    """(4) Statements whose signer had no right to make them."""
    for statement in statements:
        if isinstance(statement.predicate, Signed):
            if authority.speaker(statement) is None:
                who = f"{statement.predicate.principal} as {statement.predicate.role}"
                why = f"at that entry, {who} had no right to say this"
                yield Aside(statement.index, statement.kind, why)
        elif statement.kind not in FREE and not _may_make(statement, authority):
            who = _signer_name(statement, authority)
            why = f"at that entry, {who} had no right to sign `{statement.right}`"
            yield Aside(statement.index, statement.kind, why)


def _may_make(statement: Evidence, authority: Authority) -> bool:
    if not KINDS[statement.kind].granted:
        return authority.admits(statement)
    return authority.may_sign(
        statement.right, statement.keyid, statement.development, statement.index
    )


def _with_version(
    report: BundleReport, now: LogState, statements: Sequence[Evidence], bundle: Bundle
) -> BundleReport:
    """Steps 5 to 7, from entries that are proven to be in the log. Raises `VerificationError`."""
    registration = now.registration(report.model, report.version)
    registered: Registration = registration.predicate
    twice = now.timeline.registered_twice.get((report.model, report.version), ())
    if twice:
        raise VerificationError(
            "the version was registered with different bytes, and policy owners settled none",
            where=f"entries {', '.join(str(statement.index) for statement in twice)}",
            fix=f"countersign approve registration {twice[0].digest[:12]}",
        )
    if manifest_digest(registered.files) != registered.model_digest:
        found = "the files it lists do not add up to its digest"
        raise VerificationError(found, where=f"entry {registration.index}")
    left_out = {statement.entry for statement in report.aside}
    carried = {
        (statement.kind, statement.digest)
        for statement in statements
        if statement.index not in left_out
    }
    named = {(link.role, link.sha256) for link in registered.chain}
    _require(named, carried, registration)
    version = (report.model, report.version, registered.model_digest)
    frozen = packet.latest(now.evidence, now.authority, *version)
    if frozen is not None:
        content: Packet = frozen.predicate
        stages = {(step.kind, step.statement) for step in content.stages}
        _require(stages | {("waiver", digest) for digest in content.waivers}, carried, frozen)
        named |= stages
        report = _with_packet(report, now, frozen)
    try:
        moves = tuple(_moves(now, report))
    except VerificationError as error:
        if not report.not_counted:
            raise
        why = f"{error.found}; {'; '.join(report.not_counted)}"
        raise VerificationError(why, expected=error.expected, where=error.where) from None
    votes = [vote for vote in statements if lineage.subject(vote, "packet") == report.packet]
    pages = dict.fromkeys(page for vote in votes if (page := _page(vote)))
    carried_files = {file.sha256 for file in bundle.files}
    opened = now.timeline.open_incidents(registered.model_digest)
    return replace(
        report,
        model_digest=registered.model_digest,
        incidents=tuple(
            (opening.index, opening.predicate.principal, opening.predicate.reason)
            for opening in opened
        ),
        statements=len(named),
        moves=moves,
        files=tuple(_files(bundle, statements, now.authority)),
        pages_missing=tuple(page for page in pages if page not in carried_files),
    )


def _require(
    named: set[tuple[str, str]], carried: set[tuple[str, str]], statement: Evidence
) -> None:
    missing = sorted(named - carried)
    if missing:
        kind, digest = missing[0]
        found = f"it rests on a statement that is missing or does not count: {kind} {digest}"
        raise VerificationError(found, where=f"entry {statement.index}, {statement.kind}")


def _with_packet(report: BundleReport, now: LogState, frozen: Evidence) -> BundleReport:
    """The packet today, and people's votes on it."""
    report = replace(report, packet=lineage.subject(frozen, "packet"), packet_entry=frozen.index)
    if now.authority.in_force.policies is None:
        return replace(report, not_counted=("the log does not carry the policies in force",))
    alias, at = now.authority.policies.main_alias, instant_of(report.as_of)
    request = promotion.ask(now, "promote", report.model, report.version, alias)
    context = ReleaseContext.of(request, now.authority, now.evidence, at)
    votes, not_counted = packet_votes(context)
    changed = packet.differing(frozen, now.view, now.authority, evidence=now.evidence, at=at)
    approvals = [vote for vote in votes if vote[2].predicate.decision == "approve"]
    return replace(
        report,
        packet_changed=tuple(changed),
        approvals_wanted=context.tier.approvals if context.tier else 0,
        counted=tuple(distinct(approvals)),
        rejected=tuple(
            (vote.index, name, role)
            for name, role, vote in votes
            if vote.predicate.decision == "reject"
        ),
        not_counted=tuple(dict.fromkeys(set_aside.text for set_aside in not_counted)),
    )


def _moves(now: LogState, report: BundleReport) -> Iterator[Move]:
    """(6) Every decision about an alias of this model whose signer had the right to make it."""
    for decision in now.view.all(Promotion):
        move = decision.predicate
        if move.model == report.model:
            is_repeated = move.version == report.version or report.complete
            again = made_again(now, decision) if is_repeated else None
            what = (move.action, move.version, move.alias, move.allowed)
            yield Move(decision.index, *what, again)


def _files(
    bundle: Bundle, statements: Sequence[Evidence], authority: Authority
) -> Iterator[BundledFile]:
    """(7) Each file with the people who approved with it and those who signed it as a report."""
    for file in bundle.files:
        shown: dict[str, None] = {}
        signed: dict[str, None] = {}
        for statement in statements:
            predicate = statement.predicate
            if _page(statement) == file.sha256:
                shown[predicate.principal] = None
            reports = isinstance(predicate, SignedReport)
            if reports and file.sha256 in (predicate.page, predicate.twin):
                signed[_signer_name(statement, authority)] = None
        yield BundledFile(file.name, file.sha256, tuple(shown), tuple(signed))


def _signer_name(statement: Evidence, authority: Authority) -> str:
    """The principal whose key signed a statement; else a name for the key."""
    person = authority.principal(statement.keyid, statement.index)
    if person is not None:
        return person.name
    return "a development key" if statement.development else f"key {statement.keyid[:12]}"


def _page(statement: Evidence) -> str | None:
    return statement.predicate.page if isinstance(statement.predicate, Approval) else None


def _limits(report: BundleReport) -> tuple[str, ...]:
    """What this bundle cannot show. A governed move that others must be relied on for is named."""
    moved = [
        move.entry
        for move in report.moves
        if move.allowed and move.again is Repeat.SAME and move.alias != CANDIDATE
    ]
    completeness = {
        Completeness.WHOLE: (
            f"It holds all {report.size} entries of its checkpoint: nothing logged until then is"
            " left out."
        ),
        Completeness.INDEX: (
            f"It holds the {report.entries} of {report.size} entries that concern {report.model},"
            " as the log's checkpoint key signed. You rely on that key that no other entry does."
            " A bundle made with --whole holds all of them."
        ),
        Completeness.NOT_SHOWN: (
            f"COMPLETENESS IS NOT SHOWN: it holds {report.entries} of the log's {report.size}"
            " entries, and no index signed by the log. What the other"
            f" {report.size - report.entries} say is not shown: a rejection, revocation, incident"
            " or policy may be among them. Ask for a new bundle, or for the log."
        ),
    }[report.completeness]
    if not report.complete and moved:
        completeness += (
            " The release service says nothing in the full log spoke against the move at entry"
            f" {moved[-1]}. This partial bundle cannot prove that."
        )
    others = [str(move.entry) for move in report.moves if move.again is None]
    not_repeated = (
        f"Not repeated: the decisions about other versions, at entries {', '.join(others)}."
        if others
        else f"Repeated: every decision about an alias of {report.model} that holds what was asked."
    )
    return (
        completeness,
        f"{not_repeated} Decisions of gates are not repeated as they were logged: each decision"
        " about a governed alias decides the gates of its chain again.",
        f"Nothing after entry {report.size - 1} is known here: ask for a newer bundle, or the log.",
        "Whoever holds the checkpoint key, or held it before it was replaced, could show you"
        " another log than others. Compare the root with theirs, or bring a checkpoint that you"
        " got elsewhere (--checkpoint).",
        "A valid signature shows who stated something, not that it is true. The model's files"
        " are not in the bundle: countersign verify-model compares them with the registration.",
    )
