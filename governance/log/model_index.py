"""The index of a model: how many entries of the log concern it, and the root over their hashes.

    countersign/support-desk/0123456789abcdef/model-index   the log's origin, and what this is
    support-desk                                            the model
    42                                                      entries of the log
    37                                                      entries that concern the model
    base64 of the root                                      RFC 6962, over their leaf hashes

    — countersign/support-desk/0123.../model-index base64

It is a C2SP signed note by the log's checkpoint key. Its name differs from the one of a checkpoint,
and its second line is no number, so that neither can be taken for the other.
`governance.history.model_entries` decides which entries concern a model.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from governance.attest.keys import Signer
from governance.base.errors import VerificationError
from governance.base.model import SLUG
from governance.log.checkpoint import keys_in_turn
from governance.log.notes import root_hash, sign_note, split_note, verify_note

SUFFIX = "/model-index"
WHERE = "the model's index"
_NUMBER = re.compile(r"[1-9][0-9]{0,15}")


@dataclass(frozen=True)
class ModelIndex:
    """What the log says of its own entries about one model."""

    origin: str
    """The log, as its checkpoints name it."""
    model: str
    size: int
    """Entries of the log."""
    entries: int
    """Those that concern the model."""
    root: bytes
    """Over the leaf hashes of these, in order."""


def sign_index(index: ModelIndex, signer: Signer) -> str:
    """The index as a signed note."""
    root = base64.b64encode(index.root).decode()
    lines = [f"{index.origin}{SUFFIX}", index.model, str(index.size), str(index.entries), root]
    return sign_note("".join(f"{line}\n" for line in lines), signer)


def parse_index(note: str) -> ModelIndex:
    """The index in a note; the signature is not verified. Raises `VerificationError`."""
    lines, _ = split_note(note, "model index", WHERE)
    if len(lines) != 5 or not lines[0].endswith(SUFFIX):
        expected = f"a signed note whose first line ends with {SUFFIX}"
        raise VerificationError("not a model index", where=WHERE, expected=expected)
    name, model, size, entries, root = lines
    if not re.fullmatch(SLUG, model):
        raise VerificationError("its second line is no model name", where=WHERE)
    if not _NUMBER.fullmatch(size) or not _NUMBER.fullmatch(entries):
        raise VerificationError("a number in it is malformed", where=WHERE)
    origin = name.removesuffix(SUFFIX)
    return ModelIndex(origin, model, int(size), int(entries), root_hash(root, WHERE))


def verified_index(note: str, keys: Sequence[tuple[int, str]]) -> ModelIndex:
    """The index, if the key in force at its size signed it. Raises `VerificationError`.

    `keys`: from which entry on which public key (PEM) signs.
    """
    index = parse_index(note)
    verify_note(note, keys_in_turn(keys, index.size), WHERE)
    return index
