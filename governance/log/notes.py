"""C2SP signed notes, verifier keys and cosignatures, for checkpoints of any log.

    ORIGIN                       the log's name
    42                           entries
    base64 of the root hash      perhaps more lines, which are signed as well

    — NAME base64                one line per signature: four bytes of the key's hash, then it

A witness states with a cosignature (cosignature/v1): at this time, this is the largest checkpoint
of this log that I have seen, and it contains all earlier ones. The log's own signature (Ed25519)
and a cosignature have different types, so one never passes as the other.

Sources: https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint,
https://c2sp.org/tlog-cosignature.
"""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from governance.attest.envelope import decoded, encoded
from governance.attest.keys import PublicKey, Signer, public_key
from governance.base.errors import ConfigError, VerificationError

MAX_BYTES = 1 << 16
MAX_SIGNATURES = 64
MAX_TIME = 1 << 37
"""Seconds since 1970: in the year 6325, so that every time is a date of the calendar."""
LOG_KEY: Literal[1] = 1
WITNESS_KEY: Literal[4] = 4
"""The types of signature: Ed25519 over the note, and cosignature/v1."""
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_VKEY = re.compile(r"([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)")
_DER = bytes.fromhex("302a300506032b6570032100")
"""What stands before the 32 bytes of an Ed25519 key in its SubjectPublicKeyInfo (RFC 8410)."""


@dataclass(frozen=True)
class VerifierKey:
    """The name and public key under which somebody signs notes; its text is a C2SP vkey."""

    name: str
    key: PublicKey
    kind: Literal[1, 4]

    @property
    def hash(self) -> bytes:
        """What a signature line begins with."""
        return key_hash(self.name, self.key, self.kind)

    def __str__(self) -> str:
        key = encoded(bytes([self.kind]) + self.key.raw)
        return f"{self.name}+{self.hash.hex()}+{key}"


@dataclass(frozen=True)
class Note:
    """A checkpoint with its signature lines. Nothing is verified."""

    body: str
    """All lines that are signed."""
    origin: str
    size: int
    root: bytes
    signatures: tuple[tuple[str, bytes], ...]
    """Name; key hash and signature."""
    text: str
    """The note as it came."""

    def by(self, key: VerifierKey) -> list[bytes]:
        """The signatures that claim to be by this key."""
        return [
            blob[4:] for name, blob in self.signatures if (name, blob[:4]) == (key.name, key.hash)
        ]


def key_hash(name: str, key: PublicKey, kind: int) -> bytes:
    """C2SP signed note: first four bytes of SHA-256(name, newline, type, key)."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + key.raw).digest()[:4]


def is_name(text: str) -> bool:
    """Whether a text can be the name of a key."""
    return bool(text) and text.isprintable() and not re.search(r"[\s+]", text)


def read_vkey(text: str, where: str = "vkey") -> VerifierKey:
    """A verifier key from `NAME+HASH+BASE64`. Raises `ConfigError`."""
    match = _VKEY.fullmatch(text.strip())
    try:
        raw = decoded(match[3], where) if match else b""
    except VerificationError:
        raw = b""
    if match is None or not is_name(match[1]) or len(raw) != 33 or raw[0] not in (1, 4):
        expected = "NAME+HASH+BASE64 with an Ed25519 key (https://c2sp.org/signed-note)"
        raise ConfigError("not a verifier key", where=where, expected=expected)
    key = VerifierKey(match[1], ed25519_key(raw[1:]), LOG_KEY if raw[0] == 1 else WITNESS_KEY)
    if key.hash.hex() != match[2]:
        found = "the hash of the verifier key does not fit its name and key"
        raise ConfigError(found, where=where, expected=key.hash.hex())
    return key


def ed25519_key(raw: bytes) -> PublicKey:
    """The key with these 32 bytes. Raises `ConfigError`."""
    der = base64.b64encode(_DER + raw).decode()
    return public_key(f"-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n")


def parse_note(text: str, where: str = "checkpoint") -> Note:
    """A checkpoint of any log as a signed note. Raises `VerificationError`."""
    if len(text) > MAX_BYTES:
        raise VerificationError("too large to be a checkpoint", where=where)
    body, gap, tail = text.rpartition("\n\n")
    fields, lines = body.split("\n"), tail.split("\n")
    control = any(unicodedata.category(char) == "Cc" and char != "\n" for char in text)
    is_note = bool(gap) and lines[-1] == "" and 2 <= len(lines) <= MAX_SIGNATURES + 1
    is_checkpoint = len(fields) >= 3 and all(fields) and bool(_SIZE.fullmatch(fields[1]))
    if control or not is_note or not is_checkpoint:
        raise VerificationError(
            "not a checkpoint",
            where=where,
            expected="a C2SP signed note: origin, size, root, signatures",
        )
    origin, size, root = fields[:3]
    digest = root_hash(root, where)
    if int(size) >= 1 << 63:
        raise VerificationError("the size is too large", where=where)
    signatures = tuple(signature_line(line, where) for line in lines[:-1])
    return Note(f"{body}\n", origin, int(size), digest, signatures, text)


def split_note(note: str, what: str, where: str) -> tuple[list[str], list[tuple[str, bytes]]]:
    """The lines of a signed note's text and its signature lines (name, key hash and signature),
    nothing verified yet. Raises `VerificationError`.
    """
    if len(note) > MAX_BYTES:
        raise VerificationError(f"too large to be a {what}", where=where)
    text, gap, tail = note.partition("\n\n")
    lines = tail.split("\n")
    if not gap or lines[-1] != "" or not 2 <= len(lines) <= MAX_SIGNATURES + 1:
        expected = "a C2SP signed note: text, empty line, signatures"
        raise VerificationError(f"not a {what}", where=where, expected=expected)
    return text.split("\n"), [signature_line(line, where) for line in lines[:-1]]


def root_hash(text: str, where: str) -> bytes:
    """The hash in a line of a note. Raises `VerificationError`."""
    digest = decoded(text, where)
    if len(digest) != 32:
        raise VerificationError("the root is not 32 bytes", where=where)
    return digest


def signature_line(line: str, where: str) -> tuple[str, bytes]:
    """Name, and key hash with signature, of one line. Raises `VerificationError`."""
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "\u2014" or not is_name(parts[1]):
        raise VerificationError("a signature line is malformed", where=where)
    blob = decoded(parts[2], where)
    if len(blob) < 5:
        raise VerificationError("a signature line is too short", where=where)
    return parts[1], blob


def is_signed_by_log(note: Note, keys: Iterable[VerifierKey], where: str = "checkpoint") -> bool:
    """Whether one of the log's keys signed the note. Raises `VerificationError` where a signature
    line of such a key does not verify.
    """
    signatures = [(key, signature) for key in keys for signature in note.by(key)]
    for key, signature in signatures:
        key.key.verify(signature, note.body.encode(), where)
    return bool(signatures)


def sign_note(body: str, signer: Signer) -> str:
    """A C2SP signed note (https://c2sp.org/signed-note), signed under the name in its first
    line.
    """
    name = body.partition("\n")[0]
    key = public_key(signer.public_pem)
    signature = key_hash(name, key, LOG_KEY) + signer.sign(body.encode())
    return f"{body}\n\u2014 {name} {encoded(signature)}\n"


def verify_note(note: str, key_pems: Sequence[str], where: str) -> None:
    """Raises `VerificationError` unless one of the keys signed the note, once, under the name in
    its first line.
    """
    *others, last = key_pems
    for key_pem in others:
        with suppress(VerificationError):
            _verify_signature(note, key_pem, where)
            return
    _verify_signature(note, last, where)


def _verify_signature(note: str, key_pem: str, where: str) -> None:
    (name, *_), signatures = split_note(note, "signed note", where)
    key = public_key(key_pem)
    own_hash = key_hash(name, key, LOG_KEY)
    own = [blob[4:] for line, blob in signatures if (line, blob[:4]) == (name, own_hash)]
    if len(own) != 1:
        problem = "signed twice by one key" if own else "not signed by this log's checkpoint key"
        raise VerificationError(problem, where=where)
    key.verify(own[0], note.partition("\n\n")[0].encode() + b"\n", where)


def cosignature(note: Note, name: str, signer: Signer, seconds: int) -> str:
    """A witness's signature line, with its newline. `seconds`: since 1970."""
    key = VerifierKey(name, public_key(signer.public_pem), WITNESS_KEY)
    signature = signer.sign(_cosigned(note, seconds))
    blob = key.hash + seconds.to_bytes(8, "big") + signature
    return f"\u2014 {name} {encoded(blob)}\n"


def cosigned_at(note: Note, witness: VerifierKey, where: str = "cosignature") -> int | None:
    """When this witness cosigned the note, in seconds since 1970; its last time, if it did so
    several times; None where it did not. Raises `VerificationError` where a line of its key does
    not verify.
    """
    times: list[int] = []
    for blob in note.by(witness):
        seconds = int.from_bytes(blob[:8], "big")
        if len(blob) != 72 or seconds >= MAX_TIME:
            raise VerificationError("not a cosignature", where=where)
        witness.key.verify(blob[8:], _cosigned(note, seconds), where)
        times.append(seconds)
    return max(times, default=None)


def _cosigned(note: Note, seconds: int) -> bytes:
    """What a cosignature signs."""
    return f"cosignature/v1\ntime {seconds}\n{note.body}".encode()
