"""The server's side of a log over HTTP, as plain functions with their limits.

1. Every account of the server may read. Clients check the entries against the signed checkpoint.
2. Before an append a `Verifier` checks the signer's rights and gives the filing of the entry.
3. A statement that is in the log already is not appended again, whatever the bytes of its
   signature are, because every reader of the log could send it.
4. The answer to an append is a receipt: the entry's index, a proof that it is in the log, and a
   signed checkpoint.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, Protocol

from pydantic import Base64Bytes, Field

from governance.base.errors import (
    BusyError,
    ConfigError,
    ConflictError,
    CountersignError,
    InputError,
    RefusedError,
    UnsignedError,
    VerificationError,
)
from governance.base.model import Model, Sha256
from governance.log.notes import MAX_BYTES as MAX_NOTE
from governance.log.port import Entry, Filing, Log, same_statement

MAX_ENVELOPE = 1 << 20
MAX_ENTRIES = 1000
MAX_PAGE = 8 << 20
"""Bytes of envelopes in one answer; one entry is always given."""

STATUS: dict[type[CountersignError], int] = {
    ConflictError: 409,
    BusyError: 503,
    UnsignedError: 503,
    RefusedError: 403,
    VerificationError: 422,
    InputError: 400,
    ConfigError: 400,
}
"""Maps the families of errors that the server names to the status of the answer. The first that
fits counts. Any other error is the server's own trouble: 500, without its text.
"""


class Verifier(Protocol):
    """Verifies an envelope, its signer's right to make the statement here, and the account that
    sends it.
    """

    def __call__(self, envelope: bytes, account: str | None = None) -> Filing:
        """The entry's filing. `account`: None where the statement is not sent over HTTP. Raises
        `CountersignError`.
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


class Page(Model):
    """The answer to `entries`, as the client reads it."""

    start: Count
    entries: list[Base64Bytes]
    """Envelopes."""


class Cosigned(Model):
    """The answer to `cosigned`."""

    notes: Annotated[list[Annotated[str, Field(max_length=MAX_NOTE)]], Field(max_length=32)]


def append(
    log: Log,
    verifier: Verifier,
    envelope: bytes,
    expected_size: int | None = None,
    account: str | None = None,
) -> Receipt:
    """Appends an envelope that the verifier accepts from this account, or finds its entry. The
    entry's receipt.
    """
    if not 0 < len(envelope) <= MAX_ENVELOPE:
        raise InputError(f"an envelope of {len(envelope)} bytes", expected=f"1 to {MAX_ENVELOPE}")
    filing = verifier(envelope, account)
    entry = same_statement(log, envelope, filing)
    if entry is None:
        entry = log.append(envelope, filing, expected_size=expected_size)
    return receipt(log, entry)


def receipt(log: Log, entry: Entry) -> Receipt:
    """The receipt of an entry under the log's present checkpoint."""
    size, note = log.head()
    proof = [step.hex() for step in log.inclusion_proof(entry.index, size)]
    leaf_hash = entry.leaf_hash.hex()
    return Receipt(index=entry.index, size=size, leaf_hash=leaf_hash, proof=proof, checkpoint=note)


def entries(log: Log, start: int, limit: int) -> dict[str, Any]:
    """Envelopes from `start`, as many as are there, asked for and within the limits."""
    if start < 0 or limit < 1:
        expected = "a start from 0 and a limit from 1"
        raise InputError(f"entries from {start}, {limit} of them", expected=expected)
    page, _ = log.page(start, start + min(limit, MAX_ENTRIES))
    envelopes: list[str] = []
    room = MAX_PAGE
    for entry in page:
        room -= len(entry.envelope)
        if room < 0 and envelopes:
            break
        envelopes.append(base64.b64encode(entry.envelope).decode())
    return {"start": start, "entries": envelopes}
