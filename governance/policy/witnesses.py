"""Which cosignatures of the log's checkpoints count, as policy names witnesses and a quorum.

1. A cosignature counts if it verifies by the key that policy names, and is about this log. Keys are
   counted, not names. The log's own checkpoint keys are no witnesses.
2. The last cosignature of each witness is judged by its own time: not older than the grace period,
   and not in the future. So they may be about different sizes of the log.
3. That a cosigned checkpoint is one of this log is for the caller to verify, from the log's tree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from governance.attest.keys import public_key
from governance.base.errors import VerificationError
from governance.log.notes import Note, VerifierKey, cosigned_at, parse_note
from governance.policy.rules import Rules, Tier

CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far a witness's clock may be ahead."""


@dataclass(frozen=True)
class Requirement:
    """What policy asks of witnesses."""

    witnesses: tuple[VerifierKey, ...] = ()
    quorum: int = 0
    grace: timedelta = timedelta()

    @property
    def names(self) -> str:
        """The witnesses, for messages."""
        return ", ".join(witness.name for witness in self.witnesses)

    @property
    def words(self) -> str:
        """What is required, for messages."""
        hours = round(self.grace.total_seconds() / 3600)
        return f"cosignatures by {self.quorum} of {self.names}, not older than {hours} h"


@dataclass(frozen=True)
class Cosignature:
    """One witness's cosignature of a checkpoint."""

    witness: str
    keyid: str
    at: datetime
    note: Note

    @property
    def size(self) -> int:
        """How many entries the witness saw."""
        return self.note.size


def requirement(rules: Rules, tier: Tier | None) -> Requirement:
    """What policy asks for the models of a tier."""
    keys = tuple(witness.verifier for witness in rules.witnesses)
    grace = timedelta(hours=rules.witness_grace_hours)
    return Requirement(keys, tier.witnesses if tier else 0, grace)


def log_requirement(rules: Rules) -> Requirement:
    """What policy asks for a log as a whole: the most that any tier asks for."""
    most = max(rules.tiers.values(), key=lambda tier: tier.witnesses, default=None)
    return requirement(rules, most)


def cosignatures(
    notes: Iterable[str], witnesses: Collection[VerifierKey], log: str, own_keys: Collection[str]
) -> list[Cosignature]:
    """(1) The last cosignature of each witness. A note that cannot be read or verified does not
    count.

    `log`: the log's name in its checkpoints; a witness may serve another log whose name only ends
    alike. `own_keys`: the log's checkpoint keys (PEM).
    """
    own = {public_key(pem).keyid for pem in own_keys}
    last: dict[str, Cosignature] = {}
    for text in notes:
        with suppress(VerificationError):
            note = parse_note(text)
            if note.origin != log:
                continue
            for witness in witnesses:
                known = last.get(witness.key.keyid)
                made = None if witness.key.keyid in own else _made(note, witness)
                if made is not None and (known is None or known.at < made.at):
                    last[witness.key.keyid] = made
    return list(last.values())


def _made(note: Note, witness: VerifierKey) -> Cosignature | None:
    with suppress(VerificationError):
        seconds = cosigned_at(note, witness)
        if seconds is not None:
            at = datetime.fromtimestamp(seconds, UTC)
            return Cosignature(witness.name, witness.key.keyid, at, note)
    return None


def fresh(made: Iterable[Cosignature], at: datetime, grace: timedelta) -> list[Cosignature]:
    """(2) The cosignatures that count at a time."""
    return [one for one in made if at - grace <= one.at <= at + CLOCK_TOLERANCE]
