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

from governance.attest.keys import fingerprint
from governance.base.errors import ConfigError, StorageError

ED25519 = b"ssh-ed25519"
_LIST, _LISTED, _SIGN, _SIGNED, _FAILURE = 11, 12, 13, 14, 5
_LONGEST = 256 << 10
"""The longest answer, in bytes, as OpenSSH has it."""
_MOST = 2048
"""The most keys in an agent, as OpenSSH has it."""
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
        return _string(self.blob, 0)[0].decode("ascii", "replace")

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
    count = _number(answer, 1)
    if count > _MOST:
        raise StorageError(f"the agent claims to hold {count} keys", where=WHERE)
    held, offset = [], 5
    for _ in range(count):
        blob, offset = _string(answer, offset)
        comment, offset = _string(answer, offset)
        held.append(Identity(blob, comment.decode("utf-8", "replace")))
    return held


def sign(environ: Mapping[str, str], blob: bytes, data: bytes) -> bytes:
    """The raw 64 bytes of an Ed25519 signature over `data`. Raises `StorageError` where the agent
    does not sign.
    """
    request = bytes([_SIGN]) + _packed(blob) + _packed(data) + struct.pack(">I", 0)
    signature, _ = _string(_ask(environ, request, _SIGNED), 1)
    kind, offset = _string(signature, 0)
    raw, _ = _string(signature, offset)
    if kind != ED25519 or len(raw) != 64:
        raise StorageError("the agent's signature is not an Ed25519 signature", where=WHERE)
    return raw


def _ask(environ: Mapping[str, str], request: bytes, expected: int) -> bytes:
    """One request and its answer, whose first byte is `expected`."""
    path = environ.get("SSH_AUTH_SOCK", "")
    if not path:
        raise ConfigError(
            "no agent is running here",
            where="SSH_AUTH_SOCK",
            fix="eval $(ssh-agent), then: ssh-add YOUR_KEY",
        )
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
            agent.settimeout(_PATIENCE)
            agent.connect(path)
            agent.sendall(_packed(request))
            (length,) = struct.unpack(">I", _exactly(agent, 4))
            if not 1 <= length <= _LONGEST:
                raise StorageError(
                    f"an answer of {length} bytes", where=WHERE, expected=f"1 to {_LONGEST}"
                )
            answer = _exactly(agent, length)
    except OSError as error:
        raise ConfigError(
            f"the agent does not answer: {error.strerror or error}",
            where="SSH_AUTH_SOCK",
            fix="eval $(ssh-agent)",
        ) from None
    if answer[0] != expected:
        raise StorageError(
            "the agent refused" if answer[0] == _FAILURE else f"an answer of kind {answer[0]}",
            where=WHERE,
            fix=(
                "unlock it (ssh-add -X), allow the use of the key, or add it again: ssh-add"
                " YOUR_KEY"
            ),
        )
    return answer


def _exactly(agent: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        part = agent.recv(count - len(received))
        if not part:
            raise StorageError("the agent ended the connection", where=WHERE)
        received += part
    return received


def _packed(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _number(data: bytes, offset: int) -> int:
    if offset + 4 > len(data):
        raise StorageError("the agent's answer is cut short", where=WHERE)
    return int.from_bytes(data[offset : offset + 4], "big")


def _string(data: bytes, offset: int) -> tuple[bytes, int]:
    """A length-prefixed string of SSH's wire format, and where the next field begins."""
    length = _number(data, offset)
    end = offset + 4 + length
    if end > len(data):
        raise StorageError("the agent's answer is cut short", where=WHERE)
    return data[offset + 4 : end], end
