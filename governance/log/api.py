"""A log over HTTP, the server's side, as plain functions: what is asked, what is answered, and the
limits of both.

1. Reading is for whoever the server lets in; nothing read here has to be believed: it comes with
   proofs.
2. Appending asks a `Verifier`, which refuses what the signer may not say and files the rest.
3. What was said once is not said again by sending the same bytes: everybody who reads the log has
   them.
4. An append is answered with a receipt: the place of the entry, a proof that it is there, a signed
   checkpoint.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from governance.base.errors import InputError
from governance.log import merkle
from governance.log.checkpoint import Checkpoint, parse_checkpoint
from governance.log.port import Entry, Filing, Log, always_append

MAX_ENVELOPE = 1 << 20
MAX_ENTRIES = 1000
MAX_PAGE = 8 << 20
"""Bytes of envelopes in one answer; one entry is always given."""

Verifier = Callable[[bytes], Filing]
"""Verifies an envelope, and that its signer may say this here; what to file it under. Raises
`CountersignError`.
"""


@dataclass(frozen=True)
class Receipt:
    """That an entry is in the log: everything needed to show it later, with the log's public key
    and nothing else.
    """

    index: int
    size: int
    leaf_hash: str
    proof: tuple[str, ...]
    """Hashes, hexadecimal: `governance.log.merkle.verify_inclusion`."""
    checkpoint: str

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "proof": list(self.proof)}

    def verify(self) -> Checkpoint:
        """The checkpoint, if the entry is under its root; that the right key signed it is the
        caller's to verify.
        """
        state, _ = parse_checkpoint(self.checkpoint, where="the receipt's checkpoint")
        proof = [bytes.fromhex(step) for step in self.proof]
        merkle.verify_inclusion(
            bytes.fromhex(self.leaf_hash), self.index, state.size, proof, state.root
        )
        return state


def read_receipt(value: object) -> Receipt:
    """A receipt from JSON. Raises `InputError`."""
    try:
        if not isinstance(value, dict) or set(value) != {
            "index",
            "size",
            "leaf_hash",
            "proof",
            "checkpoint",
        }:
            raise ValueError
        numbers = (value["index"], value["size"])
        if any(type(number) is not int or not 0 <= number < 1 << 53 for number in numbers):
            raise ValueError
        if not isinstance(value["checkpoint"], str):
            raise ValueError
        receipt = Receipt(
            *numbers, str(value["leaf_hash"]), tuple(value["proof"]), value["checkpoint"]
        )
        for digest in (receipt.leaf_hash, *receipt.proof):
            if len(bytes.fromhex(digest)) != 32:
                raise ValueError
    except (ValueError, TypeError):
        raise InputError(
            "not a receipt of a Countersign log",
            expected="index, size, leaf_hash, proof, checkpoint",
        ) from None
    return receipt


def append(
    log: Log, verifier: Verifier, envelope: bytes, expected_size: int | None = None
) -> Receipt:
    """Appends what the verifier lets through, or finds what is there already."""
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
        entry.index, size, entry.leaf_hash.hex(), tuple(step.hex() for step in proof), note
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
