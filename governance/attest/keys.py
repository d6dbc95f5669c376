"""Public keys: who signed. Two schemes, and each signature has exactly one form.

1. Ed25519 (RFC 8032): S is below the order, and neither key nor R is a point of small order.
2. ECDSA P-256 with SHA-256 (FIPS 186-5): DER of (r, s), with s at most half the order n. Without
   this limit anybody could turn (r, s) into the second valid signature (r, n - s).

Logs from before this rule may have other kinds of keys (`earlier_key`) and other forms of
signatures (`PublicKey.verify` with `strict=False`). They count only where those logs have them.

A key's id is sha256 of its SubjectPublicKeyInfo, never a name that somebody chose: one key has one
id. Private keys: `governance.machine.signers`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

from governance.base.errors import ConfigError, VerificationError

MAKE_ONE = "make one with: ssh-keygen -t ed25519"
KINDS = "Ed25519, or ECDSA P-256"
_SSH_KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256")
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----\s([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----")
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_FIELD = 2**255 - 19
"""The prime of Ed25519's field."""
_D = -121665 * pow(121666, -1, _FIELD) % _FIELD
"""The constant of Ed25519's curve: y^2 - x^2 = 1 + d x^2 y^2 (RFC 8032, 5.1)."""
_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER = frozenset({0, 1, _FIELD - 1, _ORDER_8, _FIELD - _ORDER_8})
"""y of the points whose order divides 8. Anybody can sign for such a key."""
_EARLIER_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}
"""The curves of earlier logs, and the hash that was used with each."""


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

    def verify(
        self, signature: bytes, payload: bytes, where: str = "", *, strict: bool = True
    ) -> None:
        """Raises `VerificationError` unless this key signed exactly `payload`; `where` names what
        is verified. `strict=False`: kinds of keys and forms of signatures of earlier logs, too.
        """
        try:
            if self._ed25519 is not None:
                self._ed25519.verify(payload, signature)
            elif strict:
                _verify_p256(self.vendor_key, signature, payload)
            else:
                _verify_earlier(self.vendor_key, signature, payload)
        except (ValueError, CryptoError, InvalidSignature):
            raise VerificationError(
                f"the signature by key {self.keyid[:16]} does not verify", where=where
            ) from None

    def in_one_form(self, signature: bytes) -> bytes:
        """A signature that a service made, in the one form that `verify` accepts. Half of the
        signatures of an ECDSA service have an s above half the order.
        """
        if not isinstance(self.vendor_key, ec.EllipticCurvePublicKey):
            return signature
        try:
            r, s = decode_dss_signature(signature)
        except ValueError:
            return signature  # `verify` refuses it
        return encode_dss_signature(r, min(s, _P256_ORDER - s)) if s < _P256_ORDER else signature

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
    """The public key in a text: one PEM block, or one OpenSSH line (`ssh-ed25519 AAAA... comment`),
    and nothing beside it. Raises `ConfigError`.
    """
    text = text.strip()
    _refuse_private(text)
    try:
        return public_key_of(_of_pem(text) if text.startswith("-----") else _of_line(text))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(error) from None


@lru_cache(maxsize=1024)
def earlier_key(text: str) -> PublicKey:
    """The public key in a text of an earlier log, which could have other kinds of keys. To be used
    where such a key is only named or replaced, or with `PublicKey.verify`, which refuses it for
    anything new. Raises `ConfigError`.
    """
    _refuse_private(text.strip())
    data = text.strip().encode()
    try:
        if data.startswith(b"-----BEGIN"):
            key = serialization.load_pem_public_key(data)
        elif data.startswith((b"sk-", b"ssh-rsa", b"ssh-dss")):
            raise _other_kind(data.split(maxsplit=1)[0][:40].decode("ascii", "replace"))
        else:
            key = serialization.load_ssh_public_key(data)
        curve = key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else None
        if curve not in _EARLIER_HASHES and not isinstance(
            key, Ed25519PublicKey | rsa.RSAPublicKey
        ):
            raise _other_kind(_kind_of(key))
        return _normal(key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(error) from None


def public_key_of(key: PublicKeyTypes) -> PublicKey:
    """A key of the cryptography library in its one normal form. Raises `ConfigError` for a kind
    that is not accepted, and for a weak key.
    """
    if isinstance(key, Ed25519PublicKey):
        _check_point(key.public_bytes_raw())
    elif not _is_p256(key):
        raise _other_kind(_kind_of(key))
    return _normal(key)


def fingerprint(blob: bytes) -> str:
    """`SHA256:` and the digest of a public key in SSH's wire format, as OpenSSH shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def first_line(error: Exception) -> str:
    """The first line of an error's text, cut at 200 characters."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _of_pem(text: str) -> PublicKeyTypes:
    """The key of one PEM block. Raises `ValueError`."""
    block = _PEM.fullmatch(text)
    if block is None:
        raise ValueError("other or more than one PEM block of type PUBLIC KEY")
    der = base64.b64decode("".join(block[1].split()), validate=True)
    key = serialization.load_der_public_key(der)
    if _der(key) != der:
        raise ValueError("its DER is not in the one canonical form")
    return key


def _of_line(text: str) -> PublicKeyTypes:
    """The key of one line of OpenSSH. Raises `ValueError` or `ConfigError`."""
    if len(text.splitlines()) > 1:
        raise ConfigError("more than one line", expected="one public key", fix="give one key")
    kind, blob, *comment = [*text.split(), "", ""]
    if kind.endswith("-cert-v01@openssh.com"):
        fix = "give the key that it certifies: the .pub file whose name does not end in -cert.pub"
        raise ConfigError("an OpenSSH certificate is not a public key", expected=KINDS, fix=fix)
    if kind not in _SSH_KINDS:
        if kind.startswith(("ssh-", "ecdsa-", "sk-")):
            raise _other_kind(kind[:40])
        raise ValueError("it does not begin with the kind of a key")
    if any(word.startswith(("AAAA", "-----")) for word in comment):
        raise ConfigError("a second key in the comment", expected="one public key")
    key = serialization.load_ssh_public_key(f"{kind} {blob}".encode())
    if _ssh_line(key) != f"{kind} {blob}":
        raise ValueError("it is not in the one canonical form")
    return key


def _check_point(raw: bytes) -> None:
    """Raises `ConfigError` for an Ed25519 key that is weak, or is no point in canonical form."""
    y = int.from_bytes(raw, "little") & (1 << 255) - 1
    x_squared = (y * y - 1) * pow(_D * y * y + 1, -1, _FIELD) % _FIELD
    is_on_curve = pow(x_squared, (_FIELD - 1) // 2, _FIELD) in (0, 1)
    if y >= _FIELD or y in _SMALL_ORDER or not is_on_curve:
        raise ConfigError("a weak Ed25519 key", expected="a key that ssh-keygen made", fix=MAKE_ONE)


def _is_p256(key: PublicKeyTypes) -> bool:
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)


def _verify_p256(key: PublicKeyTypes, signature: bytes, payload: bytes) -> None:
    """Raises `ValueError` or `InvalidSignature`."""
    if not isinstance(key, ec.EllipticCurvePublicKey) or not _is_p256(key):
        raise ValueError("a kind of key that is no longer accepted")
    r, s = decode_dss_signature(signature)
    if s > _P256_ORDER // 2 or encode_dss_signature(r, s) != signature:
        raise ValueError("a signature that has another form")
    key.verify(signature, payload, ec.ECDSA(hashes.SHA256()))


def _verify_earlier(key: PublicKeyTypes, signature: bytes, payload: bytes) -> None:
    """As earlier versions verified: RSA by RSASSA-PSS, and ECDSA in any form. Raises `ValueError`
    or `InvalidSignature`.
    """
    if isinstance(key, rsa.RSAPublicKey):
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
        key.verify(signature, payload, pss, hashes.SHA256())
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, payload, ec.ECDSA(_EARLIER_HASHES[key.curve.name]()))
    else:
        raise ValueError("a kind of key that was never accepted")


def _normal(key: PublicKeyTypes) -> PublicKey:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = key.public_bytes(serialization.Encoding.PEM, form).decode()
    keyid = hashlib.sha256(_der(key)).hexdigest()
    return PublicKey(keyid, pem, key, base64.b64decode(_ssh_line(key).split()[1]))


def _der(key: PublicKeyTypes) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.DER, form)


def _ssh_line(key: PublicKeyTypes) -> str:
    form = serialization.PublicFormat.OpenSSH
    return key.public_bytes(serialization.Encoding.OpenSSH, form).decode()


def _kind_of(key: PublicKeyTypes) -> str:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECDSA {key.curve.name}"
    return type(key).__name__.removesuffix("PublicKey")


def _other_kind(kind: str) -> ConfigError:
    return ConfigError(f"a key of kind {kind}", expected=KINDS, fix=MAKE_ONE)


def _no_key(error: Exception) -> ConfigError:
    expected = "one PEM block PUBLIC KEY, or one line like `ssh-ed25519 AAAA...`"
    return ConfigError(f"not a public key: {first_line(error)}", expected=expected)


def _refuse_private(text: str) -> None:
    if "PRIVATE KEY-----" in text[:100]:
        raise ConfigError(
            "not a public key: this is the private one", fix="give its .pub file, and keep this one"
        )
