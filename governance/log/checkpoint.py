"""Signed checkpoints of the log: C2SP tlog-checkpoint in a C2SP signed note
(https://c2sp.org/tlog-checkpoint).

    countersign/support-desk/0123456789abcdef     the origin: project, and the beginning of entry
                                                  0's leaf hash
    42                                            entries
    base64 of the root hash

    — countersign/support-desk/0123... base64     one line per signature; witnesses may add theirs

Lines by keys that are not known here are left alone, so that witnesses and timestamp authorities
can add theirs; the log's own key must have signed.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from governance.attest.keys import Signer
from governance.base.errors import VerificationError
from governance.log.notes import root_hash, sign_note, split_note, verify_note

_ORIGIN = re.compile(r"countersign/[a-z][a-z0-9_-]{0,62}/[0-9a-f]{16}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")


@dataclass(frozen=True)
class Checkpoint:
    """The state of a log: everything in it follows from the root."""

    origin: str
    size: int
    root: bytes


def origin_of(project: str, first_leaf: bytes) -> str:
    """The name of a log: its project, and entry 0, which no other log has."""
    return f"countersign/{project}/{first_leaf.hex()[:16]}"


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> str:
    """The checkpoint as a signed note, under the name of its origin."""
    return sign_note(body_of(checkpoint), signer)


def signed_in_turn(note: str, keys: Sequence[tuple[int, str]], where: str) -> Checkpoint:
    """The checkpoint, if the key in force at its size signed it. Raises `VerificationError`.

    `keys`: from which entry on which public key (PEM) signs.
    """
    checkpoint, _ = parse_checkpoint(note, where=where)
    verify_note(note, keys_in_turn(keys, checkpoint.size), where)
    return checkpoint


def keys_in_turn(keys: Sequence[tuple[int, str]], size: int) -> list[str]:
    """The public keys (PEM) that may sign a log of this size: the one in force, and the one before
    where the key changed at the last entry.
    """
    used = [(start, key_pem) for start, key_pem in keys if start < size] or list(keys[:1])
    changed_last = len(used) > 1 and used[-1][0] == size - 1
    return [key_pem for _, key_pem in used[-2 if changed_last else -1 :]]


def parse_checkpoint(
    note: str, *, where: str = "checkpoint"
) -> tuple[Checkpoint, list[tuple[str, bytes]]]:
    """The checkpoint and its signature lines (name, key hash and signature), nothing verified
    yet.
    """
    body, signatures = split_note(note, "checkpoint", where)
    if len(body) != 3:
        raise VerificationError(
            "not a checkpoint",
            where=where,
            expected="a C2SP signed note: origin, size, root, signatures",
        )
    origin, size, root = body
    if not _ORIGIN.fullmatch(origin) or not _SIZE.fullmatch(size):
        raise VerificationError("not a checkpoint of a Countersign log", where=where)
    return Checkpoint(origin, int(size), root_hash(root, where)), signatures


def body_of(checkpoint: Checkpoint) -> str:
    """The note but for its signatures."""
    return f"{checkpoint.origin}\n{checkpoint.size}\n{base64.b64encode(checkpoint.root).decode()}\n"
