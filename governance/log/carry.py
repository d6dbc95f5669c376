"""Statements carried from one log to another, unchanged: a laptop's run into the team's log, or the
team's into a copy.

1. Envelopes are copied byte for byte, in order. A statement that the target has is not repeated.
2. The target's verifier checks each statement: who signed it, and whether they may sign it there.
   A refused statement is listed, and the others are still carried.
3. Statements that mean something in their own log only stay behind: its origin and policies, the
   history of its registry, and approvals, waivers and incidents that name it.
4. Each statement is carried whole or not at all. After an interruption, carry again: the rest
   follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from governance.attest.envelope import unverified
from governance.attest.predicates import KINDS
from governance.base.errors import InputError, RefusedError, VerificationError
from governance.base.progress import Bar
from governance.log.api import MAX_ENVELOPE, Verifier
from governance.log.port import Entry, Log

NOT_COPIED = frozenset(kind.name for kind in KINDS.values() if kind.not_copied)
"""(3)"""
Outcome = Literal["carried", "there", "refused"]


@dataclass(frozen=True)
class CarriedEntry:
    """What became of one statement."""

    index: int
    """In the source."""
    kind: str
    outcome: Outcome
    target: int | None
    """Its index in the target; None where the target does not have it, and in a dry run."""
    reason: str = ""


@dataclass
class Transfer:
    """What became of the statements that were reached."""

    statements: list[CarriedEntry] = field(default_factory=list)
    stayed: int = 0
    """Statements of kinds that stay behind."""

    def count(self, outcome: Outcome) -> int:
        """How many had this outcome."""
        return sum(1 for statement in self.statements if statement.outcome == outcome)


def carry(
    source: Log,
    target: Log,
    verify: Verifier,
    transfer: Transfer,
    *,
    dry_run: bool = False,
    bar: Bar | None = None,
) -> None:
    """Carries every statement that the target accepts. `transfer` records each one, also where
    this raises. `bar` shows the progress.
    """
    for entry in source.entries():
        if bar is not None:
            bar.advance()
        statement, _ = unverified(entry.envelope, where=f"entry {entry.index}")
        predicate = statement.get("predicate")
        names_its_log = isinstance(predicate, dict) and predicate.get("log") is not None
        if entry.kind in NOT_COPIED or names_its_log:
            transfer.stayed += 1
        else:
            transfer.statements.append(_carry_entry(entry, target, verify, dry_run))


def _carry_entry(entry: Entry, target: Log, verify: Verifier, dry_run: bool) -> CarriedEntry:
    present = next(_same_statement(entry, target), None)
    if present is not None:
        return CarriedEntry(entry.index, entry.kind, "there", present.index)
    try:
        if len(entry.envelope) > MAX_ENVELOPE:
            raise InputError(f"the statement has more than {MAX_ENVELOPE} bytes")
        filing = verify(entry.envelope)
        if filing.kind != entry.kind:
            raise VerificationError(f"it is of kind {filing.kind}, but filed under {entry.kind}")
        if dry_run:
            return CarriedEntry(entry.index, filing.kind, "carried", None)
        appended = target.append(entry.envelope, filing)
    except (RefusedError, VerificationError, InputError) as error:
        return CarriedEntry(entry.index, entry.kind, "refused", None, error.found)
    outcome: Outcome = "carried" if appended.envelope == entry.envelope else "there"
    return CarriedEntry(entry.index, entry.kind, outcome, appended.index)


def _same_statement(entry: Entry, target: Log) -> Iterator[Entry]:
    """(1) The latest entry of its scope, if that has the same identity. A decision can change and
    change back, so for decisions also any earlier entry with the same bytes.
    """
    latest = target.latest(entry.scope)
    if latest is not None and latest.identity == entry.identity:
        yield latest
    if entry.scope != entry.identity:
        yield from (
            candidate
            for candidate in target.by_kind([entry.kind])
            if candidate.envelope == entry.envelope
        )
