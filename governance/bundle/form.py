"""The file: one JSON object in RFC 8785 form, closed at every level, sealed by a digest of it all.

1. A value has one byte form, and nothing is ignored: if any bit changes, reading fails.
2. Envelopes are JSON objects in it. Their canonical form is the bytes that were logged.
3. The seal detects accidents. Whoever alters a bundle can seal it again; `check` detects that.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.attest.envelope import Envelope
from governance.base.errors import InputError, VerificationError
from governance.base.model import Model, Sha256, Slug, empty
from governance.log.notes import MAX_BYTES as MAX_NOTE

FORMAT = "https://countersign.dev/bundle/v1"
MAX_BYTES = canonical.MAX_BYTES
MAX_ENTRIES = 20_000
MAX_FILES = 64
MAX_PROOF = 64

Proof = Annotated[list[Sha256], Field(max_length=MAX_PROOF)]
Index = Annotated[int, Field(ge=0, le=canonical.MAX_INTEGER)]


class Item(Model):
    """One entry of the log, and the proof that it is in the tree of the checkpoint."""

    envelope: Envelope
    index: Index
    proof: Proof
    """RFC 6962 audit path, from the leaf up."""


class Attached(Model):
    """A file, named by its digest: a review page that an approval names, or a report."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    sha256: Sha256
    text: str
    """UTF-8; the digest is over these bytes."""


class Growth(Model):
    """The proof that the log holds all entries of an older checkpoint, unchanged."""

    proof: Annotated[list[Sha256], Field(max_length=2 * MAX_PROOF)]
    """RFC 6962 consistency proof."""
    size: Index
    """Entries of the older checkpoint."""


class Seen(Model):
    """A checkpoint that a witness cosigned, and the proof that the log contains it."""

    note: Annotated[str, Field(max_length=MAX_NOTE)]
    """C2SP signed note with the witness's line (https://c2sp.org/tlog-cosignature)."""
    proof: Annotated[list[Sha256], Field(max_length=2 * MAX_PROOF)]
    """RFC 6962 consistency proof, from the note's size to that of the bundle's checkpoint."""


class Bundle(Model):
    """Everything in the file except the seal."""

    format: Literal["https://countersign.dev/bundle/v1"]
    model: Slug
    version: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,9}$")]
    checkpoint: str
    """The signed note over the whole log; witnesses may have added lines."""
    entries: Annotated[list[Item], Field(min_length=1, max_length=MAX_ENTRIES)]
    """By index, ascending."""
    files: Annotated[list[Attached], Field(max_length=MAX_FILES)]
    """By digest, ascending."""
    growth: Growth | None
    index: str = Field("", exclude_if=empty)
    """The signed index of the model (`governance.log.model_index`): it shows that no entry is
    missing. Absent from older bundles, and from those that hold the whole log.
    """
    cosigned: Annotated[list[Seen], Field(max_length=32)] = Field([], exclude_if=empty)
    """What witnesses cosigned; the member is absent where none did."""


def write(bundle: Bundle) -> bytes:
    """The file's bytes."""
    body = bundle.model_dump()
    return canonical.dumps({**body, "seal": _seal(body)})


def read(data: bytes, *, where: str = "bundle") -> Bundle:
    """The bundle of a file. Only its form and its seal are verified. Raises `VerificationError`."""
    value = canonical.loads_canonical(data, where=where)
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise VerificationError("not a bundle", expected=f"format {FORMAT}", where=where)
    seal = value.pop("seal", None)
    try:
        bundle = Bundle.model_validate(value, strict=True)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))[:120]
        found = f"does not follow the format at {place!r}"
        raise VerificationError(found, expected=FORMAT, where=where) from None
    if bundle.model_dump() != value:  # an absent member has one form
        raise VerificationError("a member is there that says nothing", where=where)
    if seal != _seal(value):
        found = "the seal does not match its content: something was changed or left out"
        raise VerificationError(found, where=where)
    _check_order([entry.index for entry in bundle.entries], "entries", where)
    _check_order([file.sha256 for file in bundle.files], "files", where)
    for file in bundle.files:
        if sha256_bytes(file.text.encode()) != file.sha256:
            raise VerificationError("its text does not match its digest", where=f"file {file.name}")
    return bundle


def content(path: Path) -> bytes:
    """A file's bytes, at most one more than a bundle may have. Raises `InputError`."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None


def _seal(body: dict[str, Any]) -> str:
    return sha256_bytes(canonical.dumps(body))


def _check_order(values: list[Any], what: str, where: str) -> None:
    if any(left >= right for left, right in pairwise(values)):
        raise VerificationError(f"{what} are not in order, or one is there twice", where=where)
