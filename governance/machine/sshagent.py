"""A client of `ssh-agent`: lists its keys, and asks it to sign. A key never leaves the agent.

Two requests of the protocol (draft-ietf-sshm-ssh-agent): the list of identities, and a signature.
Libraries for it (paramiko, asyncssh) implement all of SSH. Answers are read under strict limits,
because the agent is another program.
"""

from __future__ import annotations

import base64
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

from governance.attest.keys import fingerprint
from governance.base.errors import ConfigError, StorageError

ED25519 = b"ssh-ed25519"
_LIST, _LISTED, _SIGN, _SIGNED, _FAILURE = 11, 12, 13, 14, 5
_LONGEST = 256 << 10
"""The longest answer, in bytes, as OpenSSH has it."""
_PATIENCE = 120.0
"""Seconds: an agent may ask its owner first, or wait for a touch of a security key."""
WHERE = "ssh-agent"


@dataclass(frozen=True)
class Identity:
    """A key that an agent holds."""

    blob: bytes
    """The public key in SSH's wire format."""
    comment: str

    @property
    def kind(self) -> str:
        """The key's algorithm, e.g. `ssh-ed25519`."""
        return _string(BytesIO(self.blob)).decode("ascii", "replace")

    @property
    def fingerprint(self) -> str:
        """As `ssh-add -l` shows it."""
        return fingerprint(self.blob)

    @property
    def line(self) -> str:
        """As it stands in a public key file."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"


def identities(environ: Mapping[str, str]) -> list[Identity]:
    """The keys that the agent of SSH_AUTH_SOCK holds. Raises `ConfigError` where there is no
    agent.
    """
    answer = _ask(environ, bytes([_LIST]), _LISTED)
    pairs = [(_string(answer), _string(answer)) for _ in range(_number(answer))]
    return [Identity(blob, comment.decode("utf-8", "replace")) for blob, comment in pairs]


def sign(environ: Mapping[str, str], blob: bytes, data: bytes) -> bytes:
    """The raw 64 bytes of an Ed25519 signature over `data`. Raises `StorageError` where the agent
    does not sign.
    """
    request = bytes([_SIGN]) + _packed(blob) + _packed(data) + struct.pack(">I", 0)
    signature = BytesIO(_string(_ask(environ, request, _SIGNED)))
    kind, raw = _string(signature), _string(signature)
    if kind != ED25519 or len(raw) != 64:
        raise StorageError("the agent's signature is not an Ed25519 signature", where=WHERE)
    return raw


def _ask(environ: Mapping[str, str], request: bytes, expected: int) -> BinaryIO:
    """One request and the content of its answer, whose first byte is `expected`."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
            agent.settimeout(_PATIENCE)
            agent.connect(environ.get("SSH_AUTH_SOCK", ""))
            agent.sendall(_packed(request))
            with agent.makefile("rb") as stream:
                length = _number(stream)
                if not 1 <= length <= _LONGEST:
                    raise StorageError(f"the agent's answer has {length} bytes", where=WHERE)
                answer = _exactly(stream, length)
    except OSError as error:
        found, fix = f"no agent answers here: {error.strerror or error}", "eval $(ssh-agent)"
        raise ConfigError(found, where="SSH_AUTH_SOCK", fix=fix) from None
    if answer[0] != expected:
        found = "the agent refused" if answer[0] == _FAILURE else f"an answer of kind {answer[0]}"
        fix = "unlock it (ssh-add -X), allow the use of the key, or: ssh-add YOUR_KEY"
        raise StorageError(found, where=WHERE, fix=fix)
    return BytesIO(answer[1:])


def _packed(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _string(stream: BinaryIO) -> bytes:
    """A length-prefixed string of SSH's wire format."""
    return _exactly(stream, _number(stream))


def _number(stream: BinaryIO) -> int:
    return int.from_bytes(_exactly(stream, 4), "big")


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise StorageError("the agent's answer is cut short", where=WHERE)
    return data
