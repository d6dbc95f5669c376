"""Published test vectors of the formats that signatures rest on: RFC 8032, DSSE, RFC 8785."""

from __future__ import annotations

import struct

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance.attest import canonical, envelope, keys
from governance.base.errors import VerificationError
from governance.machine.signers import private_signer

# RFC 8032, 7.1: secret key, public key, message, signature
ED25519 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701c"
        "f9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0"
        "f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f76098"
        "4dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]
ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the group of Ed25519."""


def _signer(secret: str) -> keys.Signer:
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret))
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private_signer(pem, "x")


@pytest.mark.parametrize(("secret", "public", "message", "signature"), ED25519)
def test_signatures_are_those_of_rfc_8032(
    secret: str, public: str, message: str, signature: str
) -> None:
    signer = _signer(secret)
    key = keys.public_key(signer.public_pem)
    assert key.raw.hex() == public
    assert signer.sign(bytes.fromhex(message)).hex() == signature
    key.verify(bytes.fromhex(signature), bytes.fromhex(message))


@pytest.mark.parametrize(("secret", "public", "message", "signature"), ED25519)
def test_a_signature_has_one_form(secret: str, public: str, message: str, signature: str) -> None:
    """RFC 8032, 5.1.7: S + L signs the same and is refused."""
    key = keys.public_key(_signer(secret).public_pem)
    first, second = bytes.fromhex(signature)[:32], bytes.fromhex(signature)[32:]
    malleable = first + (int.from_bytes(second, "little") + ORDER).to_bytes(32, "little")
    with pytest.raises(VerificationError):
        key.verify(malleable, bytes.fromhex(message))


def test_the_encoding_that_is_signed_is_that_of_dsse() -> None:
    """DSSE, protocol.md: "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body, lengths in bytes."""
    kind = b"application/vnd.in-toto+json"
    for body in (b"", b"hello world", "gr\u00fc\u00dfe".encode(), b"x" * 1000):
        expected = b"DSSEv1 28 " + kind + b" " + str(len(body)).encode() + b" " + body
        assert envelope.pae(body) == expected


# RFC 8785, appendix B: the bits of a double, and its form; those beyond 2**53 are integers that
# no reader keeps exactly, and are refused here.
NUMBERS = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555554", "333333333.33333325"),
    ("41b3de4355555555", "333333333.3333333"),
    ("41b3de4355555556", "333333333.3333334"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]


@pytest.mark.parametrize(("bits", "form"), NUMBERS)
def test_numbers_have_the_form_of_rfc_8785(bits: str, form: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    if value.is_integer() and abs(value) >= 2**53 and "e" not in form:
        with pytest.raises(VerificationError):
            canonical.dumps(value)
        return
    assert canonical.dumps(value) == form.encode()
    assert canonical.loads(form.encode()) == value
