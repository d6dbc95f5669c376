"""Statements carried from one log to another: a laptop's run into the team's log, or a colleague's
copy of a log back into it.

1. A statement that names the target is copied byte for byte. Another statement names another log,
   and counts there only. Whoever signed it can state it for the target too, so it is signed again
   if this machine's key signed it, which is verified first. If not, it is refused, and its signer
   must carry it.
2. They are carried in order. A statement that the target has is not repeated.
3. The target's verifier checks each statement: who signed it, and whether they may sign it there.
   A refused statement is listed, and the others are still carried.
4. Statements that mean something in their own log only stay behind: its origin and policies, the
   history of its registry, and what people sign.
5. Each statement is carried whole or not at all. After an interruption, carry again: the rest
   follows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from governance.attest.envelope import sign_statement, unverified, verify_envelope
from governance.attest.keys import Signer
from governance.attest.predicates import KINDS, Signed
from governance.base.errors import InputError, RefusedError, VerificationError
from governance.base.progress import Bar
from governance.log import evidence
from governance.log.api import MAX_ENVELOPE, Verifier
from governance.log.port import Entry, Log, same_statement

NOT_COPIED = frozenset(
    kind.name for kind in KINDS.values() if kind.not_copied or issubclass(kind.model, Signed)
)
"""(4) The kinds that stay behind, unless they name the target."""
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
    signer: Signer,
    transfer: Transfer,
    *,
    dry_run: bool = False,
    bar: Bar | None = None,
) -> None:
    """Carries every statement that the target accepts. `transfer` records each one, also where
    this raises. `bar` shows the progress.
    """
    here = target.entry(0).leaf_hash.hex()
    for entry in source.entries():
        if bar is not None:
            bar.advance()
        predicate = unverified(entry.envelope, where=f"entry {entry.index}")[0].get("predicate")
        is_named = isinstance(predicate, dict) and predicate.get("log") == here
        if entry.kind == "origin" or (entry.kind in NOT_COPIED and not is_named):
            transfer.stayed += 1
            continue
        own = None if is_named else signer
        transfer.statements.append(_carry_entry(entry, target, verify, own, dry_run))


def _signed_again(entry: Entry, target: Log, signer: Signer) -> bytes:
    """(1) The statement for the target, if this machine's key signed it; else the envelope as it
    is. The source may be anybody's: what only names the key is not signed. Raises
    `VerificationError`.
    """
    where = f"entry {entry.index}"
    statement, keyid = unverified(entry.envelope, where=where)
    if keyid != signer.keyid:
        return entry.envelope
    # the form that earlier versions accepted: it is signed in today's
    verify_envelope(entry.envelope, {keyid: signer.public_pem}, where=where, strict=False)
    evidence.parse_statement(statement, where)
    statement["predicate"]["log"] = target.entry(0).leaf_hash.hex()
    return sign_statement(statement, signer)


def _carry_entry(
    entry: Entry, target: Log, verify: Verifier, signer: Signer | None, dry_run: bool
) -> CarriedEntry:
    try:
        envelope = _signed_again(entry, target, signer) if signer else entry.envelope
        present = _present(entry, envelope, target)
        if present is not None:
            return CarriedEntry(entry.index, entry.kind, "there", present.index)
        if len(envelope) > MAX_ENVELOPE:
            raise InputError(f"the statement has more than {MAX_ENVELOPE} bytes")
        filing = verify(envelope)
        if filing.kind != entry.kind:
            raise VerificationError(f"it is of kind {filing.kind}, but filed under {entry.kind}")
        if dry_run:
            return CarriedEntry(entry.index, filing.kind, "carried", None)
        appended = target.append(envelope, filing)
    except (RefusedError, VerificationError, InputError) as error:
        return CarriedEntry(entry.index, entry.kind, "refused", None, error.found)
    outcome: Outcome = "carried" if appended.envelope == envelope else "there"
    return CarriedEntry(entry.index, entry.kind, outcome, appended.index)


def _present(entry: Entry, envelope: bytes, target: Log) -> Entry | None:
    """(2) The latest entry of its scope, if that has the same identity. A decision can change and
    change back, so otherwise any earlier entry with the same statement.
    """
    latest = target.latest(entry.scope)
    if latest is not None and latest.identity == entry.identity:
        return latest
    return same_statement(target, envelope, evidence.filed_under(envelope))
