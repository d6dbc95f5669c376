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
from governance.log.port import Entry, Log, Said

STAY = frozenset(kind.name for kind in KINDS.values() if kind.stays)
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
    """Where it stands in the target; None where it does not, or would after a dry run."""
    reason: str = ""


@dataclass
class Transfer:
    """What became of all of them, as far as it went."""

    statements: list[CarriedEntry] = field(default_factory=list)
    stayed: int = 0
    """Statements of kinds that stay behind."""

    def count(self, outcome: Outcome) -> int:
        """How many had this outcome."""
        return sum(1 for one in self.statements if one.outcome == outcome)


def carry(
    source: Log,
    target: Log,
    verify: Verifier,
    made: Transfer,
    *,
    dry_run: bool = False,
    bar: Bar | None = None,
) -> None:
    """Carries what can be carried; `made` says how far it came even where this raises, `bar`
    meanwhile.
    """
    for entry in source.entries():
        if bar is not None:
            bar.advance()
        if entry.kind in STAY or _is_bound(entry):
            made.stayed += 1
        else:
            made.statements.append(_one(entry, target, verify, dry_run))


def _is_bound(entry: Entry) -> bool:
    """Whether a person said it to this log alone."""
    said = unverified(entry.envelope, where=f"entry {entry.index}")[0].get("predicate")
    return isinstance(said, dict) and said.get("log") is not None


def _one(entry: Entry, target: Log, verify: Verifier, dry_run: bool) -> CarriedEntry:
    known = next(_same(entry, target), None)
    if known is not None:
        return CarriedEntry(entry.index, entry.kind, "there", known.index)
    try:
        said = _judged(entry, verify)
        if dry_run:
            return CarriedEntry(entry.index, said.kind, "carried", None)
        put = target.append(
            entry.envelope,
            identity=said.identity,
            scope=said.scope,
            subjects=said.subjects,
            kind=said.kind,
        )
    except (RefusedError, VerificationError, InputError) as error:
        return CarriedEntry(entry.index, entry.kind, "refused", None, error.found)
    outcome: Outcome = "carried" if put.envelope == entry.envelope else "there"
    return CarriedEntry(entry.index, entry.kind, outcome, put.index)


def _judged(entry: Entry, verify: Verifier) -> Said:
    if len(entry.envelope) > MAX_ENVELOPE:
        raise InputError(
            f"a statement of {len(entry.envelope)} bytes", expected=f"at most {MAX_ENVELOPE}"
        )
    said = verify(entry.envelope)
    if said.kind != entry.kind:
        raise VerificationError(f"it is filed under {entry.kind}, and is of kind {said.kind}")
    return said


def _same(entry: Entry, target: Log) -> Iterator[Entry]:
    """(1) The same bytes; and, but for decisions that may change and change back, the same thing
    said.
    """
    latest = target.latest(entry.scope)
    if latest is not None and (latest.identity == entry.identity):
        yield latest
    if entry.scope != entry.identity:
        yield from (one for one in target.by_kind([entry.kind]) if one.envelope == entry.envelope)
