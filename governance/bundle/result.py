"""What verification of a bundle finds, and what no bundle shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from governance.attest.predicates import CANDIDATE
from governance.history.verify import LogReport, SignedBy
from governance.release.retrospect import SAME

ELSEWHERE = "not made again here: the bundle is about another version"


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
class BundledFile:
    """A file in the bundle."""

    name: str
    sha256: str
    shown_to: tuple[str, ...]
    """Who signed having seen it; empty for an attachment that no approval names."""
    signed_by: tuple[str, ...] = ()
    """Who signed it, as a report or its JSON twin."""


@dataclass(frozen=True)
class BundleReport:
    """What verification found. `broken` is the first thing that does not verify."""

    model: str = ""
    version: str = ""
    model_digest: str = ""
    project: str = ""
    size: int = 0
    """Entries of the log, by the checkpoint."""
    entries: int = 0
    """BundledFile here, each proven."""
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
    """When the last statement here was made, by its own clock: what is open or expired is judged as
    of then.
    """
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
    files: tuple[BundledFile, ...] = ()
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


def limits(report: BundleReport) -> tuple[str, ...]:
    """What this bundle cannot show, in words."""
    out = report.size - report.entries
    told = [
        (
            f"It holds all {report.size} entries of its checkpoint: nothing that was logged until"
            " then is left out."
            if report.complete
            else (
                f"It holds {report.entries} of the log's {report.size} entries. What the other"
                f" {out} say is not shown: that no rejection, revocation, incident or policy is"
                " among them is the word of whoever made the bundle. The log shows it, or a bundle"
                " made with --whole; and two people who make it anew get the same entries."
            )
        )
    ]
    moved = [
        move.entry
        for move in report.moves
        if move.allowed and move.again == SAME and move.alias != CANDIDATE
    ]
    if moved and not report.complete:
        told.append(
            f"The service that moved an alias at entry {moved[-1]} decided on the whole log before"
            " that entry; that nothing there stood against it, its signature states and this"
            " bundle does not prove."
        )
    return (
        *told,
        f"Nothing after entry {report.size - 1} is known here: ask for a newer bundle, or the log.",
        (
            "Whoever holds the checkpoint key, or held it before it was replaced, could show you"
            " another log than others: compare the root with theirs, or bring a checkpoint from"
            " another hand (--checkpoint)."
        ),
        (
            "A valid signature says who stated something, not that it is true. The model's own"
            " files are not here: countersign verify-model compares them with the registration."
        ),
    )


def as_log_report(report: BundleReport) -> LogReport:
    """The same as `governance.history.verify` says it of a log, for readers that ask for that."""
    return LogReport(
        project=report.project,
        entries=report.entries,
        kinds=report.kinds,
        signers=tuple(
            SignedBy(name, name == "a development key", count)
            for name, count in report.signers.items()
        ),
        first=report.first,
        root=report.root,
        checkpoint=report.checkpoint,
        checkpoint_key=report.checkpoint_key,
        origin=report.origin,
        grown_from=report.grown_from,
        broken=report.broken,
    )
