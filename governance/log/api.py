"""The server's side of a log over HTTP, as plain functions with their limits.

1. Every account of the server may read. Answers come with proofs, so nobody has to trust them.
2. Before an append a `Verifier` checks the signer's rights and gives the filing of the entry.
3. An envelope that is in the log already is not appended again, because every reader of the log
   could send it.
4. The answer to an append is a receipt: the entry's index, a proof that it is in the log, and a
   signed checkpoint.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field, ValidationError

from governance.base.errors import InputError
from governance.base.model import Model, Sha256
from governance.log import merkle
from governance.log.checkpoint import Checkpoint, parse_checkpoint
from governance.log.port import Entry, Filing, Log, always_append

MAX_ENVELOPE = 1 << 20
MAX_ENTRIES = 1000
MAX_PAGE = 8 << 20
"""Bytes of envelopes in one answer; one entry is always given."""

Verifier = Callable[[bytes], Filing]
"""Verifies an envelope and its signer's right to make the statement here. Gives the entry's filing.
Raises `CountersignError`.
"""


Count = Annotated[int, Field(strict=True, ge=0, lt=1 << 53)]


class Receipt(Model):
    """The proof that an entry is in the log. To verify it later, only the log's public key is
    needed.
    """

    index: Count
    size: Count
    leaf_hash: Sha256
    proof: list[Sha256]
    """Hashes, hexadecimal: `governance.log.merkle.verify_inclusion`."""
    checkpoint: str

    def verify(self) -> Checkpoint:
        """The checkpoint, if the entry is under its root. The caller verifies its signature."""
        state, _ = parse_checkpoint(self.checkpoint, where="the receipt's checkpoint")
        proof = [bytes.fromhex(step) for step in self.proof]
        merkle.verify_inclusion(
            bytes.fromhex(self.leaf_hash), self.index, state.size, proof, state.root
        )
        return state


def read_receipt(value: object) -> Receipt:
    """A receipt from JSON. Raises `InputError`."""
    try:
        return Receipt.model_validate(value)
    except ValidationError:
        raise InputError(
            "not a receipt of a Countersign log",
            expected="index, size, leaf_hash, proof, checkpoint",
        ) from None


def append(
    log: Log, verifier: Verifier, envelope: bytes, expected_size: int | None = None
) -> Receipt:
    """Appends an envelope that the verifier accepts, or finds its entry. The entry's receipt."""
    if not 0 < len(envelope) <= MAX_ENVELOPE:
        raise InputError(f"an envelope of {len(envelope)} bytes", expected=f"1 to {MAX_ENVELOPE}")
    filing = verifier(envelope)
    same = (entry for entry in log.by_subject(filing.subjects[0]) if entry.envelope == envelope)
    entry = next(same, None) or log.append(
        envelope,
        identity=filing.identity,
        scope=filing.scope,
        subjects=filing.subjects,
        kind=filing.kind,
        expected_size=expected_size,
        also=always_append if filing.again else None,
    )
    return receipt(log, entry)


def receipt(log: Log, entry: Entry) -> Receipt:
    """The receipt of an entry under the log's present checkpoint."""
    size, note = log.head()
    proof = log.inclusion_proof(entry.index, size)
    return Receipt(
        index=entry.index,
        size=size,
        leaf_hash=entry.leaf_hash.hex(),
        proof=[step.hex() for step in proof],
        checkpoint=note,
    )


def entries(log: Log, start: int, limit: int) -> dict[str, Any]:
    """Envelopes from `start`, as many as are there, asked for and within the limits."""
    if start < 0 or limit < 1:
        raise InputError(
            f"entries from {start}, {limit} of them", expected="a start from 0 and a limit from 1"
        )
    page, _ = log.page(start, start + min(limit, MAX_ENTRIES))
    envelopes: list[str] = []
    room = MAX_PAGE
    for entry in page:
        room -= len(entry.envelope)
        if room < 0 and envelopes:
            break
        envelopes.append(base64.b64encode(entry.envelope).decode())
    return {"start": start, "entries": envelopes}


def read_entries(value: object, start: int) -> list[bytes]:
    """The envelopes of an answer by `entries`. Raises `InputError`."""
    try:
        if (
            not isinstance(value, dict)
            or value["start"] != start
            or not isinstance(value["entries"], list)
        ):
            raise ValueError
        return [base64.b64decode(text, validate=True) for text in value["entries"]]
    except (binascii.Error, ValueError, TypeError, KeyError):
        raise InputError(f"not a page of entries from {start}") from None


def proof(log: Log, index: int, size: int) -> dict[str, Any]:
    """The inclusion proof of an entry in the log as it was at `size`."""
    if not 0 <= index < size or size > log.size():
        raise InputError(
            f"no entry {index} in a log of {size}", expected=f"a size up to {log.size()}"
        )
    return {
        "index": index,
        "size": size,
        "proof": [step.hex() for step in log.inclusion_proof(index, size)],
    }


def growth(log: Log, old: int, new: int) -> dict[str, Any]:
    """The consistency proof between two sizes of the log."""
    if not 0 <= old <= new or new > log.size():
        raise InputError(f"no growth from {old} to {new}", expected=f"sizes up to {log.size()}")
    return {
        "old": old,
        "new": new,
        "proof": [step.hex() for step in log.consistency_proof(old, new)],
    }
