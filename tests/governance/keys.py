"""Keys that follow from a byte, the forms they come in, and a service that keeps one."""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner, Signature

from governance.attest.keys import Signer
from governance.machine.signers import private_signer

PEM, RAW = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
PLAIN = serialization.NoEncryption()


def pem(private: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return private.private_bytes(PEM, RAW, PLAIN)


def stranger(seed: int = 9) -> Signer:
    """Somebody whom no log knows."""
    return private_signer(pem(Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32))), "test")


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
