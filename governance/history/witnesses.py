"""Whether witnesses outside the operator have seen this very log, as a verifier's policy asks.

A forged history can have every signature of the operator. It cannot have the cosignature of a
witness who has seen the true one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from governance.attest.envelope import unverified
from governance.base.errors import VerificationError
from governance.base.time import instant
from governance.log import merkle
from governance.log.checkpoint import parse_checkpoint
from governance.log.notes import Note, parse_note
from governance.log.port import Log
from governance.policy.authority import Authority
from governance.policy.policies import Policies
from governance.policy.witnesses import (
    Cosignature,
    Requirement,
    cosignatures,
    fresh,
    log_requirement,
    requirement,
)


@dataclass(frozen=True)
class Witnessed:
    """What a witness has cosigned of this log."""

    witness: str
    key: str
    """Key id."""
    size: int
    """Entries that it has seen."""
    at: str


def contains(log: Log, note: Note) -> bool:
    """Whether a cosigned checkpoint is one of this log: its tree contains the one that was
    cosigned.
    """
    head = parse_checkpoint(log.checkpoint())[0]
    if note.origin != head.origin or note.size > head.size:
        return False
    try:
        proof = log.consistency_proof(note.size, head.size)
        merkle.verify_consistency(note.size, head.size, note.root, head.root, proof)
    except VerificationError:
        return False
    return True


def recorded(log: Log) -> list[str]:
    """The notes in the log's own entries, and those beside it. Nothing is verified."""
    notes = list(log.cosigned())
    for entry in log.by_kind(["cosigned"]):
        predicate = unverified(entry.envelope, where=f"entry {entry.index}")[0].get("predicate")
        listed = predicate.get("notes") if isinstance(predicate, dict) else None
        notes += [note for note in listed or () if isinstance(note, str)]
    return notes


def check_recorded(log: Log, log_name: str) -> None:
    """Raises `VerificationError` for a recorded checkpoint that names this log and that it does not
    contain: a decision rests on it, as if witnesses had seen this log. Other notes do not count.
    """
    for entry in log.by_kind(["cosigned"]):
        where = f"entry {entry.index}"
        predicate = unverified(entry.envelope, where=where)[0].get("predicate")
        listed = predicate.get("notes") if isinstance(predicate, dict) else None
        for text in listed or ():
            note = _readable(text)
            if note is not None and note.origin == log_name and not contains(log, note):
                found = "a cosigned checkpoint is not one of this log"
                raise VerificationError(found, where=where)


def _readable(text: object) -> Note | None:
    try:
        return parse_note(text) if isinstance(text, str) else None
    except VerificationError:
        return None


def seen_by(log: Log, authority: Authority, required: Requirement) -> list[Cosignature]:
    """The last cosignature of each witness about a checkpoint that this log contains."""
    own = [pem for _, pem in authority.checkpoint_keys]
    fitting: list[str] = []
    for made in _each(log, authority, required, own):
        if made.note.text not in fitting and contains(log, made.note):
            fitting.append(made.note.text)
    return cosignatures(fitting, required.witnesses, authority.log_name, own)


def _each(
    log: Log, authority: Authority, required: Requirement, own: Sequence[str]
) -> list[Cosignature]:
    """The last cosignature of each witness in each note."""
    return [
        made
        for note in recorded(log)
        for made in cosignatures([note], required.witnesses, authority.log_name, own)
    ]


def check_witnesses(
    log: Log,
    authority: Authority,
    trusted: Requirement | None,
    at: datetime | None,
    *,
    model: str | None = None,
    until: int = 0,
) -> tuple[Witnessed, ...]:
    """What witnesses have seen. Raises `VerificationError` where these are fewer than required.

    Two requirements hold: that of the policies in force, and `trusted`, the verifier's own. Where
    both name other witnesses, those of the verifier must have seen the entry that put the present
    policies in force; then the present ones count. `at`: the verifier's time, by which cosignatures
    must be fresh; None where the log is judged as it was. `model`: the tier of this model says how
    many; by default, the tier that asks for most. `until`: how many entries they must have seen.
    """
    period = authority.in_force
    present = _present(period.policies, model)
    if trusted is not None and trusted.quorum and trusted != present:
        changed = max(period.start, period.signed_at or 0)
        known = seen_by(log, authority, trusted)
        after_change = [one for one in known if one.size > changed]
        is_changed_by_owners = period.start > 0 and present.quorum > 0
        if not (is_changed_by_owners and len(after_change) >= trusted.quorum):
            _check_quorum(known, trusted, at, until)
    if present.quorum:
        _check_quorum(seen_by(log, authority, present), present, at, until)
    return witnessed(log, authority, trusted, model=model)


def witnessed(
    log: Log, authority: Authority, trusted: Requirement | None, *, model: str | None = None
) -> tuple[Witnessed, ...]:
    """What witnesses have seen: those of the policies in force, else those of the verifier. How
    many there are is not checked.
    """
    present = _present(authority.in_force.policies, model)
    required = trusted if trusted is not None and not present.quorum else present
    return tuple(_witnessed(one) for one in seen_by(log, authority, required))


def _present(policies: Policies | None, model: str | None) -> Requirement:
    if policies is None:
        return Requirement()
    if model is None:
        return log_requirement(policies.rules)
    return requirement(policies.rules, policies.tier_of(model))


def _check_quorum(
    seen: Sequence[Cosignature], required: Requirement, at: datetime | None, until: int
) -> None:
    counted = fresh(seen, at, required.grace) if at is not None else list(seen)
    counted = [one for one in counted if one.size >= until]
    if len(counted) < required.quorum:
        wanted = f", of {until} entries" if until else ""
        known = [f"{one.witness}: {one.size} entries, {instant(one.at)}" for one in seen]
        raise VerificationError(
            "too few witnesses have cosigned this log",
            expected=f"{required.words}{wanted}; found: {'; '.join(known) or 'none'}",
            where="the log's checkpoint",
            fix="countersign witness request on the log's machine; if the witnesses refuse, or the"
            " server does not give their cosignatures, ask them: the history may be forged",
        )


def _witnessed(made: Cosignature) -> Witnessed:
    return Witnessed(made.witness, made.keyid, made.size, instant(made.at))
