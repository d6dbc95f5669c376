"""Public keys: who signed. Ed25519 by default; other kinds through securesystemslib.

A key's id is sha256 of its SubjectPublicKeyInfo, never a name that somebody chose: one key has one
id. Private keys: `governance.machine.signers`.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

from governance.base.errors import ConfigError, VerificationError

MAKE_ONE = "make one with: ssh-keygen -t ed25519"


class Signer(Protocol):
    """Signs. Where the private key is kept is the signer's own matter."""

    @property
    def keyid(self) -> str: ...

    @property
    def public_pem(self) -> str: ...

    def sign(self, payload: bytes) -> bytes: ...


@dataclass(frozen=True)
class PublicKey:
    """A public key in its one normal form."""

    keyid: str
    """sha256 of the SubjectPublicKeyInfo in DER, hexadecimal."""
    pem: str
    vendor_key: PublicKeyTypes = field(repr=False, compare=False)
    _ssh: bytes = field(repr=False, compare=False)
    """In SSH's wire format."""

    def verify(self, signature: bytes, payload: bytes, where: str = "") -> None:
        """Raises `VerificationError` unless this key signed exactly `payload`; `where` names what
        is verified.
        """
        try:
            if self._ed25519 is not None:
                self._ed25519.verify(payload, signature)
            else:
                _verify_other(self.vendor_key, self.keyid, signature, payload)
        except (ValueError, CryptoError):
            raise VerificationError(
                f"the signature by key {self.keyid[:16]} does not verify", where=where
            ) from None

    @cached_property
    def _ed25519(self) -> VerifyKey | None:
        """libsodium verifies in two thirds of OpenSSL's time and refuses weak keys. A log can hold
        a million signatures.
        """
        if not isinstance(self.vendor_key, Ed25519PublicKey):
            return None
        return VerifyKey(self.vendor_key.public_bytes_raw())

    @property
    def raw(self) -> bytes:
        """The 32 bytes of an Ed25519 key. Raises `ConfigError` for other kinds."""
        if not isinstance(self.vendor_key, Ed25519PublicKey):
            raise ConfigError(
                "this key is not an Ed25519 key", where=f"key {self.keyid[:16]}", expected="Ed25519"
            )
        return self.vendor_key.public_bytes_raw()

    @property
    def line(self) -> str:
        """As a line of OpenSSH, without comment."""
        kind_length = int.from_bytes(self._ssh[:4], "big")
        kind = self._ssh[4 : 4 + kind_length].decode()
        return f"{kind} {base64.b64encode(self._ssh).decode()}"

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` shows it: what people compare on the telephone."""
        return fingerprint(self._ssh)


@lru_cache(maxsize=1024)
def public_key(text: str) -> PublicKey:
    """A public key from PEM or from an OpenSSH line (`ssh-ed25519 AAAA... comment`). Raises
    `ConfigError`.
    """
    data = text.strip().encode()
    if b"PRIVATE KEY-----" in data[:100]:
        raise ConfigError(
            "not a public key: this is the private one", fix="give its .pub file, and keep this one"
        )
    try:
        if data.startswith(b"-----BEGIN"):
            return public_key_of(serialization.load_pem_public_key(data))
        if data.startswith((b"sk-", b"ssh-rsa", b"ssh-dss")):
            kind = data.split(maxsplit=1)[0][:40].decode("ascii", "replace")
            raise ConfigError(f"a key of kind {kind}", expected="Ed25519", fix=MAKE_ONE)
        return public_key_of(serialization.load_ssh_public_key(data))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"not a public key: {first_line(error)}",
            expected="PEM, or a line like `ssh-ed25519 AAAA...`",
        ) from None


def public_key_of(key: PublicKeyTypes) -> PublicKey:
    """A key of the cryptography library in its one normal form. Raises `ValueError` for a kind that
    cannot be verified.
    """
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    der = key.public_bytes(serialization.Encoding.DER, form)
    pem = key.public_bytes(serialization.Encoding.PEM, form).decode()
    line = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    keyid = hashlib.sha256(der).hexdigest()
    if not isinstance(key, Ed25519PublicKey):
        vendor_key(key, keyid)  # raises ValueError for a kind that cannot be verified
    return PublicKey(keyid, pem, key, base64.b64decode(line.split()[1]))


def fingerprint(blob: bytes) -> str:
    """`SHA256:` and the digest of a public key in SSH's wire format, as OpenSSH shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def vendor_key(key: PublicKeyTypes, keyid: str) -> Any:
    """The key as securesystemslib has it. Raises `ValueError` for a kind that it cannot verify."""
    from securesystemslib.signer import SSlibKey  # imported on first use: it is slow

    return SSlibKey.from_crypto(key, keyid=keyid)


def _verify_other(key: PublicKeyTypes, keyid: str, signature: bytes, payload: bytes) -> None:
    """Verifies a signature that is not Ed25519's. Raises `ValueError`."""
    from securesystemslib.exceptions import Error
    from securesystemslib.signer import Signature

    try:
        vendor_key(key, keyid).verify_signature(Signature(keyid, signature.hex()), payload)
    except Error as error:
        raise ValueError(str(error)) from None


def first_line(error: Exception) -> str:
    """The first line of an error's text, cut at 200 characters."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
