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
import binascii
import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from governance.attest.keys import PublicKey, Signer, public_key
from governance.base.errors import VerificationError

MAX_BYTES = 1 << 16
MAX_SIGNATURES = 64
_ED25519 = b"\x01"
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
    body = body_of(checkpoint)
    key = public_key(signer.public_pem)
    signature = _key_hash(checkpoint.origin, key) + signer.sign(body.encode())
    return f"{body}\n\u2014 {checkpoint.origin} {base64.b64encode(signature).decode()}\n"


def verify_checkpoint(note: str, key_pem: str, *, where: str = "checkpoint") -> Checkpoint:
    """The checkpoint, if the key signed it. Raises `VerificationError`."""
    checkpoint, lines = parse_checkpoint(note, where=where)
    key = public_key(key_pem)
    key_hash = _key_hash(checkpoint.origin, key)
    signatures = [
        blob[4:] for name, blob in lines if name == checkpoint.origin and blob[:4] == key_hash
    ]
    if len(signatures) != 1:
        problem = (
            "signed twice by one key" if signatures else "not signed by this log's checkpoint key"
        )
        raise VerificationError(problem, where=where)
    key.verify(signatures[0], body_of(checkpoint).encode(), where)
    return checkpoint


def signed_in_turn(note: str, keys: Sequence[tuple[int, str]], where: str) -> Checkpoint:
    """The checkpoint, if the key in force at its size signed it. Where the key changed at its last
    entry, the key before counts too.

    `keys`: from which entry on which public key (PEM) signs. Raises `VerificationError`.
    """
    size = parse_checkpoint(note, where=where)[0].size
    used = [(start, key_pem) for start, key_pem in keys if start < size] or keys[:1]
    start, key_pem = used[-1]
    if len(used) > 1 and start == size - 1:
        with suppress(VerificationError):
            return verify_checkpoint(note, used[-2][1], where=where)
    return verify_checkpoint(note, key_pem, where=where)


def parse_checkpoint(
    note: str, *, where: str = "checkpoint"
) -> tuple[Checkpoint, list[tuple[str, bytes]]]:
    """The checkpoint and its signature lines (name, key hash and signature), nothing verified
    yet.
    """
    if len(note) > MAX_BYTES:
        raise VerificationError("too large to be a checkpoint", where=where)
    head, gap, tail = note.partition("\n\n")
    body, lines = head.split("\n"), tail.split("\n")
    if not gap or len(body) != 3 or lines[-1] != "" or not 2 <= len(lines) <= MAX_SIGNATURES + 1:
        raise VerificationError(
            "not a checkpoint",
            where=where,
            expected="a C2SP signed note: origin, size, root, signatures",
        )
    origin, size, root = body
    if not _ORIGIN.fullmatch(origin) or not _SIZE.fullmatch(size):
        raise VerificationError("not a checkpoint of a Countersign log", where=where)
    digest = _base64(root, where)
    if len(digest) != 32:
        raise VerificationError("the root is not 32 bytes", where=where)
    return Checkpoint(origin, int(size), digest), [_signature(line, where) for line in lines[:-1]]


def _signature(line: str, where: str) -> tuple[str, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "\u2014" or not parts[1] or "+" in parts[1]:
        raise VerificationError("a signature line is malformed", where=where)
    blob = _base64(parts[2], where)
    if len(blob) < 5:
        raise VerificationError("a signature line is too short", where=where)
    return parts[1], blob


def body_of(checkpoint: Checkpoint) -> str:
    """The note but for its signatures."""
    return f"{checkpoint.origin}\n{checkpoint.size}\n{base64.b64encode(checkpoint.root).decode()}\n"


def _key_hash(name: str, key: PublicKey) -> bytes:
    """C2SP signed note: first four bytes of SHA-256(name, newline, type, key)."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + key.raw).digest()[:4]


def _base64(text: str, where: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data or base64.b64encode(data).decode() != text:
        raise VerificationError("base64 is not in canonical form", where=where)
    return data
