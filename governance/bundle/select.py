"""Puts a bundle together from a log: the entries that concern a model
(`governance.history.model_entries`), or all entries. The entries depend on the log alone: two
people get the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from governance.attest.envelope import Envelope
from governance.base.errors import ConflictError, InputError, StorageError, VerificationError
from governance.bundle.form import FORMAT, MAX_ENTRIES, Attached, Bundle, Growth, Item, Seen
from governance.history.model_entries import ModelEntries
from governance.history.state import state
from governance.history.witnesses import contains
from governance.log.checkpoint import parse_checkpoint
from governance.log.model_index import parse_index
from governance.log.notes import parse_note
from governance.log.port import Log


def bundle_of(
    log: Log,
    model: str,
    version: str,
    *,
    index: str = "",
    files: Sequence[Attached] = (),
    since: str | None = None,
    whole: bool = False,
) -> Bundle:
    """The bundle of MODEL/VERSION as the log stands. `index`: the model's signed index at this
    size; without one, and without `whole`, the bundle does not show that it is complete. `since`:
    an older checkpoint, to prove growth from.

    Raises `InputError` where the log has no such version.
    """
    size, note = log.head()
    state(log, size).registration(model, version)
    if index and parse_index(index).size != size:
        raise ConflictError("the log has grown while it was read", where=log.where, fix="try again")
    indexes = range(size) if whole else ModelEntries().of(log, model, size)
    if len(indexes) > MAX_ENTRIES:
        found = f"{len(indexes)} entries are too many for one file"
        raise StorageError(found, expected=f"at most {MAX_ENTRIES}", where=log.where)
    return Bundle(
        format=FORMAT,
        model=model,
        version=version,
        checkpoint=note,
        index="" if whole else index,
        entries=[_item(log, index, size) for index in indexes],
        files=sorted(files, key=lambda file: file.sha256),
        growth=_growth(log, since, size) if since is not None else None,
        cosigned=_cosigned(log, size),
    )


def _item(log: Log, index: int, size: int) -> Item:
    return Item(
        envelope=Envelope.model_validate_json(log.entry(index).envelope),
        index=index,
        proof=[step.hex() for step in log.inclusion_proof(index, size)],
    )


def _cosigned(log: Log, size: int) -> list[Seen]:
    """What witnesses cosigned of this log, as it is kept beside it."""
    seen: list[Seen] = []
    for note in sorted(log.cosigned()):
        with suppress(VerificationError):
            cosigned = parse_note(note)
            if cosigned.size <= size and contains(log, cosigned):
                proof = log.consistency_proof(cosigned.size, size)
                seen.append(Seen(note=note, proof=[step.hex() for step in proof]))
    return seen


def _growth(log: Log, since: str, size: int) -> Growth:
    old, _ = parse_checkpoint(since, where="the older checkpoint")
    if old.size > size:
        found = f"the older checkpoint counts {old.size} entries"
        raise InputError(found, expected=f"at most the {size} of this log")
    proof = [step.hex() for step in log.consistency_proof(old.size, size)]
    return Growth(proof=proof, size=old.size)
