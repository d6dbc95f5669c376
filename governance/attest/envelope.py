"""DSSE envelopes: a statement and who signed exactly these bytes.

Order of verification (https://github.com/secure-systems-lab/dsse, protocol.md):
1. The envelope is read strictly. It must be in canonical form with exactly one signature, so that
   every changed byte is found, and nobody can add a second signature.
2. The signature is verified over the pre-authentication encoding of the payload's bytes as they
   came.
3. Only then the payload is parsed, once. It is never serialised again.
The caller decides whether the key may sign this statement.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from governance.attest import canonical
from governance.attest.keys import Signer, earlier_key
from governance.base.errors import VerificationError
from governance.base.model import Model

PAYLOAD_TYPE = "application/vnd.in-toto+json"


class Signature(Model):
    """One signature, by the key with this id (`governance.attest.keys`)."""

    keyid: str
    sig: str


class Envelope(Model):
    """The envelope's JSON. `payload` and `sig` are base64."""

    payload: str
    payloadType: str
    signatures: list[Signature]


@dataclass(frozen=True)
class Verified:
    """The content of a verified envelope."""

    statement: dict[str, Any]
    payload: bytes
    keyid: str
    """The key that signed."""
    canonical: bool
    """Whether the payload is certainly in canonical form
    (`governance.attest.canonical.loads_known`).
    """


def sign_statement(statement: dict[str, Any], signer: Signer) -> bytes:
    """The envelope of a statement, in canonical form."""
    return sign_payload(canonical.dumps(statement), signer)


def sign_payload(payload: bytes, signer: Signer) -> bytes:
    """The envelope of bytes that are a statement already."""
    signature = {"keyid": signer.keyid, "sig": encoded(signer.sign(pae(payload)))}
    return canonical.dumps(
        {"payload": encoded(payload), "payloadType": PAYLOAD_TYPE, "signatures": [signature]}
    )


def verify_envelope(
    data: bytes, keys: Mapping[str, str], *, where: str = "envelope", strict: bool = True
) -> Verified:
    """The statement, if one of `keys` (key id to PEM) signed it. `strict`: see
    `governance.attest.keys.PublicKey.verify`.
    """
    envelope, payload = _open(data, where)  # (1)
    (signature,) = envelope.signatures
    if signature.keyid not in keys:
        raise UnknownKeyError(f"signed by an unknown key ({signature.keyid[:16]})", where=where)
    key = earlier_key(keys[signature.keyid])
    if key.keyid != signature.keyid:
        raise VerificationError("a key stands under an id that is not its own", where=where)
    key.verify(decoded(signature.sig, where), pae(payload), where, strict=strict)  # (2)
    statement, is_canonical = _statement(payload, where)  # (3)
    return Verified(statement, payload, key.keyid, is_canonical)


def unverified(data: bytes, *, where: str = "envelope") -> tuple[dict[str, Any], str]:
    """The statement and key id of an envelope, not verified: to choose the keys that verify it."""
    envelope, payload = _open(data, where)
    return _statement(payload, where)[0], envelope.signatures[0].keyid


def payload_of(data: bytes, *, where: str = "envelope") -> bytes:
    """The bytes of an envelope's statement, not verified."""
    return _open(data, where)[1]


class UnknownKeyError(VerificationError):
    """No known key signed the envelope. Its statement counts as missing."""


def _open(data: bytes, where: str) -> tuple[Envelope, bytes]:
    # an envelope has no numbers: the model refuses them
    value, is_canonical = canonical.loads_known(data, where=where, numbers=False)
    try:
        envelope = Envelope.model_validate(value, strict=True)
    except ValueError:
        raise VerificationError("not a DSSE envelope", where=where) from None
    if not is_canonical and canonical.dumps(envelope.model_dump()) != data:
        raise VerificationError("not in canonical form", expected="RFC 8785", where=where)
    if envelope.payloadType != PAYLOAD_TYPE:
        raise VerificationError(
            f"payload type {envelope.payloadType[:80]!r}", expected=PAYLOAD_TYPE, where=where
        )
    if len(envelope.signatures) != 1:
        raise VerificationError(
            f"{len(envelope.signatures)} signatures", expected="exactly one", where=where
        )
    return envelope, decoded(envelope.payload, where)


def _statement(payload: bytes, where: str) -> tuple[dict[str, Any], bool]:
    statement, is_canonical = canonical.loads_known(payload, where=where)
    if not isinstance(statement, dict):
        raise VerificationError("the payload is no JSON object", where=where)
    return statement, is_canonical


def pae(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def encoded(data: bytes) -> str:
    """Base64 (RFC 4648, section 4)."""
    return base64.b64encode(data).decode()


def decoded(text: str, where: str) -> bytes:
    """Base64 in its one canonical form. Raises `VerificationError`."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data or encoded(data[-(len(data) % 3 or 3) :]) != text[-4:]:  # bits that nobody reads
        raise VerificationError("base64 is not in canonical form", where=where)
    return data
