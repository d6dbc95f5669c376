"""Keys that follow from a byte, the forms they come in, and a service that keeps one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import SSHCertificateBuilder, SSHCertificateType
from securesystemslib.signer import CryptoSigner, Signature

from governance.attest import canonical
from governance.attest.keys import Signer
from governance.log.checkpoint import Checkpoint, signed_in_turn
from governance.machine.signers import private_signer

PEM, RAW = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
PLAIN = serialization.NoEncryption()
P256 = ec.derive_private_key(7, ec.SECP256R1())
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""n of P-256."""
ED = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CERTIFICATE = (
    SSHCertificateBuilder()
    .public_key(ED.public_key())
    .serial(1)
    .type(SSHCertificateType.USER)
    .key_id(b"ada")
    .valid_principals([b"ada"])
    .valid_after(1)
    .valid_before(2)
    .sign(ED)
    .public_bytes()
    .decode()
)
"""It expired in 1970."""
EARLIER: dict[str, Any] = {
    "RSA": rsa.generate_private_key(65537, 2048),
    "P-384": ec.generate_private_key(ec.SECP384R1()),
}
"""Kinds of keys that earlier logs can have."""


def unchecked_line(number: int, sign: int = 0) -> str:
    """An Ed25519 key by its y coordinate, which no library has checked."""
    raw = (number | sign << 255).to_bytes(32, "little")
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + raw
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}"


WEAK = unchecked_line(1)
"""A key of small order: one signature verifies for many texts."""


def text_of(key: Any) -> str:
    """The public key as PEM."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return str(key.public_key().public_bytes(PEM, form).decode())


def line_of(key: Any) -> str:
    """The public key as a line of OpenSSH."""
    form = serialization.PublicFormat.OpenSSH
    return str(key.public_key().public_bytes(serialization.Encoding.OpenSSH, form).decode())


def pem(private: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return private.private_bytes(PEM, RAW, PLAIN)


def stranger(seed: int = 9) -> Signer:
    """Somebody whom no log knows."""
    return private_signer(pem(Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32))), "test")


def with_other_signature(
    envelope: bytes, change: Callable[[bytes], bytes] = lambda old: old[:-1] + bytes([old[-1] ^ 1])
) -> bytes:
    """The same statement with other bytes as its signature, as a reader of the log can write it."""
    value = json.loads(envelope)
    (signature,) = value["signatures"]
    changed = change(base64.b64decode(signature["sig"]))
    signature["sig"] = base64.b64encode(changed).decode()
    return canonical.dumps(value)


def twin(signature: bytes) -> bytes:
    """The other valid ECDSA signature of the same bytes, which needs no private key."""
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, ORDER - s)


ONE, TWO = stranger(1), stranger(2)


class Service(CryptoSigner):
    """A service as securesystemslib sees it; its address says how it behaves."""

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri, public_key, secrets_handler=None):  # type: ignore[no-untyped-def]
        signer = cls(Ed25519PrivateKey.from_private_bytes(bytes(32)), public_key)
        signer.behaviour = priv_key_uri.partition(":")[2]
        return signer

    def sign(self, payload: bytes) -> Signature:
        if self.behaviour == "down":
            raise ConnectionError("connection refused")
        return super().sign(b"something else" if self.behaviour == "wrong" else payload)


def checkpoint_of(note: str, key_pem: str) -> Checkpoint:
    """A checkpoint that this key signed. Raises `VerificationError`."""
    return signed_in_turn(note, [(0, key_pem)], "checkpoint")
