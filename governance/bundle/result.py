"""The result of verifying a bundle, and what no bundle can show."""

from __future__ import annotations

from dataclasses import dataclass, field

from governance.attest.predicates import CANDIDATE
from governance.history.verify import LogReport
from governance.release.retrospect import Repeat


@dataclass(frozen=True)
class Move:
    """A decision about an alias and this model."""

    entry: int
    action: str
    version: str
    alias: str
    allowed: bool
    again: Repeat | None
    """The result of making it again; None for another version, whose evidence is not here."""


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
    votes: tuple[Vote, ...] = ()
    not_counted: tuple[str, ...] = ()
    """Why other approvals of the packet do not count."""
    moves: tuple[Move, ...] = ()
    aside: tuple[Aside, ...] = ()
    files: tuple[BundledFile, ...] = ()
    pages_missing: tuple[str, ...] = ()
    """Digests of review pages that approvals name and that are not in the bundle."""
    limits: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the bundle holds the whole log."""
        return 0 < self.size == self.entries


def limits(report: BundleReport) -> tuple[str, ...]:
    """What this bundle cannot show."""
    return (
        *_completeness(report),
        f"Nothing after entry {report.size - 1} is known here: ask for a newer bundle, or the log.",
        (
            "Whoever holds the checkpoint key, or held it before it was replaced, could show you"
            " another log than others. Compare the root with theirs, or bring a checkpoint that you"
            " got elsewhere (--checkpoint)."
        ),
        (
            "A valid signature shows who stated something, not that it is true. The model's files"
            " are not in the bundle: countersign verify-model compares them with the registration."
        ),
    )


def _completeness(report: BundleReport) -> tuple[str, ...]:
    """Whether anything may have been left out, and what follows for the last move."""
    if report.complete:
        return (
            f"It holds all {report.size} entries of its checkpoint: nothing logged until then is"
            " left out.",
        )
    partial = (
        f"It holds {report.entries} of the log's {report.size} entries; what the other"
        f" {report.size - report.entries} say is not shown. You rely on whoever made the bundle"
        " that no rejection, revocation, incident or policy is among them. To check, ask for the"
        " log or for a bundle made with --whole, or have a second person make the bundle: the"
        " entries must be the same."
    )
    moved = [
        move.entry
        for move in report.moves
        if move.allowed and move.again is Repeat.SAME and move.alias != CANDIDATE
    ]
    if not moved:
        return (partial,)
    return (
        partial,
        f"The release service says nothing in the full log spoke against the move at entry"
        f" {moved[-1]}. This partial bundle cannot prove that.",
    )
