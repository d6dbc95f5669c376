"""Keys are what they are, not what they are called; none asks a question."""

from __future__ import annotations

import base64
import hashlib
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner

from governance.attest import keys
from governance.base.errors import ConfigError, CountersignError, StorageError, VerificationError
from governance.bundle import standalone_verifier
from governance.machine import signers
from governance.machine.signers import private_signer
from tests.governance.keys import (
    CERTIFICATE,
    EARLIER,
    ED,
    ORDER,
    P256,
    PEM,
    PLAIN,
    RAW,
    Service,
    line_of,
    pem,
    text_of,
)
from tests.governance.keys import unchecked_line as y


@pytest.fixture
def private() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def openssh(private: Ed25519PrivateKey) -> bytes:
    return private.private_bytes(PEM, serialization.PrivateFormat.OpenSSH, PLAIN)


def test_a_key_has_one_id_in_all_its_forms(private: Ed25519PrivateKey) -> None:
    line = (
        private.public_key()
        .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        .decode()
    )
    signer = signers.private_signer(pem(private), "x")
    assert keys.public_key(signer.public_pem).line == line
    forms = [
        signer.public_pem,
        f"  {signer.public_pem}\n\n",
        line,
        f"{line} ada@laptop",
        f"{line} somebody else\n",
    ]
    assert {keys.public_key(form).keyid for form in forms} == {signer.keyid}
    assert {keys.public_key(form).pem for form in forms} == {signer.public_pem}
    assert (
        signer.keyid == "a050837d85070582ccf7394b0988847cc312cb88259b894899f6f239cf1791a5"
    )  # sha256 of its DER


def test_a_signature_is_of_one_payload_by_one_key(private: Ed25519PrivateKey) -> None:
    signer = signers.private_signer(openssh(private), "x")
    key, other = (
        keys.public_key(signer.public_pem),
        keys.public_key(signers.private_signer(pem(Ed25519PrivateKey.generate()), "x").public_pem),
    )
    signature = signer.sign(b"payload")
    key.verify(signature, b"payload")
    for verifier, bad, payload in [
        (key, signature, b"payloaD"),
        (key, signature[:-1] + bytes([signature[-1] ^ 1]), b"payload"),
        (key, signature[:-1], b"payload"),
        (key, b"", b"payload"),
        (other, signature, b"payload"),
    ]:
        with pytest.raises(VerificationError):
            verifier.verify(bad, payload)


def der(*numbers: int) -> bytes:
    """Strict DER of a sequence of integers below 128 bytes, written by hand."""
    parts = [_integer(number) for number in numbers]
    return bytes([0x30, sum(map(len, parts))]) + b"".join(parts)


def _integer(number: int) -> bytes:
    data = number.to_bytes(number.bit_length() // 8 + 1, "big")
    return bytes([2, len(data)]) + data


FIXED = P256.sign(b"payload", ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
SIGNED = keys.public_key(text_of(P256)).in_one_form(FIXED)
R, S = decode_dss_signature(SIGNED)
assert R >> 255, "so that its first byte in DER is a zero, which some leave out"
OTHER_FORMS: dict[str, bytes] = {
    # after Wycheproof's ecdsa_secp256r1_sha256_test: each is another form of a right signature
    "the twin (r, n - s)": der(R, ORDER - S),
    "a zero before r": bytes([0x30, SIGNED[1] + 1, 2, SIGNED[3] + 1, 0]) + SIGNED[4:],
    "the length in two bytes": bytes([0x30, 0x81]) + SIGNED[1:],
    "the length of r in two bytes": bytes([0x30, SIGNED[1] + 1, 2, 0x81]) + SIGNED[3:],
    "an indefinite length": bytes([0x30, 0x80]) + SIGNED[2:] + b"\0\0",
    "a byte behind it": SIGNED + b"\0",
    "a byte behind s, within it": bytes([0x30, SIGNED[1] + 1]) + SIGNED[2:] + b"\0",
    "a third integer": bytes([0x30, SIGNED[1] + 3]) + SIGNED[2:] + b"\x02\x01\x00",
    "a set": b"\x31" + SIGNED[1:],
    "r + n": der(R + ORDER, S),
    "s + n": der(R, S + ORDER),
    "r without its first zero": bytes([0x30, SIGNED[1] - 1, 2, 0x20]) + SIGNED[5:],
    "r of 0": der(0, S),
    "s of 0": der(R, 0),
    "r and s of 0": der(0, 0),
    "r of n": der(ORDER, S),
    "s of n": der(R, ORDER),
    "raw (r, s), as JOSE has it": R.to_bytes(32, "big") + S.to_bytes(32, "big"),
    "nothing": b"",
    "an empty sequence": b"\x30\0",
    "cut short": SIGNED[:-1],
}


def verifies(text: str, signature: bytes) -> bool:
    """Whether both verifiers accept a signature of `payload`. They must agree."""
    second_key = standalone_verifier.load(text)[1]
    try:
        keys.public_key(text).verify(signature, b"payload")
    except VerificationError:
        with pytest.raises(standalone_verifier.UNREADABLE):
            standalone_verifier.verify_signature(second_key, signature, b"payload")
        return False
    standalone_verifier.verify_signature(second_key, signature, b"payload")
    return True


def test_an_ecdsa_signature_has_one_form_only() -> None:
    assert verifies(text_of(P256), SIGNED)
    twin = OTHER_FORMS["the twin (r, n - s)"]
    P256.public_key().verify(twin, b"payload", ec.ECDSA(hashes.SHA256()))
    for name, signature in OTHER_FORMS.items():
        assert signature != SIGNED and not verifies(text_of(P256), signature), name


@given(st.binary(max_size=80) | st.integers(0, len(SIGNED) * 8 - 1))
def test_no_other_bytes_are_an_ecdsa_signature(other: bytes | int) -> None:
    if isinstance(other, int):
        number = int.from_bytes(SIGNED, "big") ^ 1 << other
        other = number.to_bytes(len(SIGNED), "big")
    assert not verifies(text_of(P256), other)


@given(st.integers(1, ORDER - 1), st.binary(max_size=40))
@settings(max_examples=30, deadline=None)
def test_both_verifiers_accept_what_we_sign(secret: int, payload: bytes) -> None:
    """Half of what an ECDSA signer gives has an s above n/2."""
    private = ec.derive_private_key(secret, ec.SECP256R1())
    signature = private_signer(pem(private), "x").sign(payload)
    assert decode_dss_signature(signature)[1] <= ORDER // 2
    _, key = standalone_verifier.load(text_of(private))
    standalone_verifier.verify_signature(key, signature, payload)


def test_an_ecdsa_key_signs_no_checkpoint() -> None:
    with pytest.raises(ConfigError, match="not an Ed25519 key"):
        _ = keys.public_key(text_of(P256)).raw


def test_earlier_logs_keep_their_keys_and_signatures() -> None:
    """`strict=False` verifies as earlier versions did. Nothing new is accepted in this way."""
    for private in EARLIER.values():
        key = keys.earlier_key(text_of(private))
        signature = bytes.fromhex(CryptoSigner(private).sign(b"payload").signature)
        key.verify(signature, b"payload", strict=False)
        for payload, strict in ((b"payloaD", False), (b"payload", True)):
            with pytest.raises(VerificationError):
                key.verify(signature, payload, strict=strict)
        with pytest.raises(ConfigError, match="a key of kind"):
            private_signer(pem(private), "here")
    twin = OTHER_FORMS["the twin (r, n - s)"]
    keys.public_key(text_of(P256)).verify(twin, b"payload", strict=False)


def _block(data: bytes) -> str:
    text = base64.encodebytes(data).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{text}-----END PUBLIC KEY-----\n"


def _der(text: str) -> bytes:
    return base64.b64decode("".join(text.splitlines()[1:-1]))


FIELD = 2**255 - 19
ORDER_8 = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
SMALL = (0, 1, FIELD - 1, ORDER_8, FIELD - ORDER_8, FIELD, FIELD + 1)
COMPRESSED_DER = bytes.fromhex(
    "3039301306072a8648ce3d020106082a8648ce3d030107032200"
) + P256.public_key().public_bytes(
    serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
)
NO_PUBLIC_KEYS = {
    "nothing": "",
    "words": "hello",
    "a private key": pem(ED).decode(),
    "half a line": "ssh-ed25519 AAAA",
    "DSA": text_of(dsa.generate_private_key(2048)),
    "RSA": text_of(EARLIER["RSA"]),
    "RSA, a line": line_of(EARLIER["RSA"]),
    "P-384": text_of(EARLIER["P-384"]),
    "P-384, a line": line_of(EARLIER["P-384"]),
    "P-521": text_of(ec.generate_private_key(ec.SECP521R1())),
    "secp256k1": text_of(ec.generate_private_key(ec.SECP256K1())),
    "X25519": text_of(X25519PrivateKey.generate()),
    "Ed448": text_of(Ed448PrivateKey.generate()),
    "a security key": "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t ada",
    "an expired certificate": CERTIFICATE,
    "the body of a certificate": CERTIFICATE.replace("-cert-v01@openssh.com", "", 1),
    "two lines": f"{line_of(ED)}\n{line_of(P256)}",
    "the same line twice": f"{line_of(ED)}\n{line_of(ED)}",
    "a line and words": f"{line_of(ED)} ada\nben",
    "lines by a separator of Unicode": f"{line_of(ED)} ada\u2028{line_of(P256)}",
    "a key in the comment": f"{line_of(ED)} {line_of(P256)}",
    "a block in the comment": f"{line_of(ED)} {text_of(P256)}".replace("\n", " "),
    "options": f"no-pty {line_of(ED)}",
    "options with text": f'command="ls" {line_of(ED)}',
    "a certificate authority": f"cert-authority {line_of(ED)}",
    "another kind in front": line_of(ED).replace("ssh-ed25519", "ecdsa-sha2-nistp256"),
    "a line with more in it": y(5)[:-4] + "AAAA" + y(5)[-4:],
    "two blocks": text_of(ED) + text_of(P256),
    "text before a block": "ada\n" + text_of(ED),
    "text behind a block": text_of(ED) + "ada",
    "a line behind a block": text_of(ED) + line_of(P256),
    "a header in a block": text_of(ED).replace("KEY-----\n", "KEY-----\nProc-Type: 4\n\n", 1),
    "a compressed point": _block(COMPRESSED_DER),
    "bytes behind the DER": _block(_der(text_of(ED)) + b"\0"),
    "PKCS#1": EARLIER["RSA"].public_key().public_bytes(PEM, PublicFormat.PKCS1).decode(),
    "y of p + 3, not canonical": y(FIELD + 3),
    "no point": y(2),
    **{f"small order: {n}, {sign}": y(n, sign) for n in SMALL for sign in (0, 1)},
}


@pytest.mark.parametrize("text", NO_PUBLIC_KEYS.values(), ids=NO_PUBLIC_KEYS.keys())
def test_what_is_no_public_key_is_refused(text: str) -> None:
    """By both verifiers, and wherever a key can be given."""
    with pytest.raises(ConfigError):
        keys.public_key(text)
    with pytest.raises(standalone_verifier.UNREADABLE):
        standalone_verifier.load(text)


def test_a_certificate_is_refused_with_what_to_give_instead() -> None:
    with pytest.raises(ConfigError, match=r"certificate is not a public key[\s\S]*\.pub file"):
        keys.public_key(CERTIFICATE)


def test_a_key_is_made_once_and_for_this_account_only(tmp_path: Path) -> None:
    first = signers.stored_signer(tmp_path / "state" / "keys", "development")
    assert signers.stored_signer(tmp_path / "state" / "keys", "development").keyid == first.keyid
    made = list((tmp_path / "state" / "keys").iterdir())
    assert [path.name for path in made] == ["development.pem"]
    assert stat.S_IMODE(made[0].stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "state" / "keys").stat().st_mode) == 0o700
    assert signers.stored_signer(tmp_path / "state" / "keys", "checkpoint").keyid != first.keyid


def test_processes_that_start_together_share_the_key(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom governance.machine import signers\n"
        "print(signers.stored_signer(Path(sys.argv[1]), 'development').keyid)"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    ids = {process.communicate()[0].strip() for process in started}
    assert ids == {signers.stored_signer(tmp_path, "development").keyid}
    assert [path.name for path in tmp_path.iterdir()] == ["development.pem"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="COUNTERSIGN_HOME"):
        signers.stored_signer(tmp_path / "keys", "development")


def test_unattended_signers_need_no_answer(private: Ed25519PrivateKey, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(openssh(private))
    text = pem(private).decode()
    environ = {"CI_KEY": text, "ONE_LINE": text.replace("\n", "\\n")}
    expected = signers.private_signer(pem(private), "x").keyid
    for uri in ("env:CI_KEY", "env:ONE_LINE", f"file2:{tmp_path / 'key.pem'}"):
        assert signers.signer_from_uri(uri, environ).keyid == expected


def protected(tmp_path: Path) -> str:
    key = Ed25519PrivateKey.generate()
    locked = key.private_bytes(PEM, RAW, serialization.BestAvailableEncryption(b"secret"))
    (tmp_path / "locked.pem").write_bytes(locked)
    return f"file2:{tmp_path / 'locked.pem'}"


def test_a_signer_that_cannot_be_opened_is_named_without_its_secret(tmp_path: Path) -> None:
    environ = {
        "EMPTY": "",
        "WRONG": "-----BEGIN PRIVATE KEY-----\nsecretsecret\n-----END PRIVATE KEY-----",
    }
    cases = [
        ("env:MISSING", "environment variable MISSING"),
        ("env:EMPTY", "environment variable EMPTY"),
        ("env:WRONG", "environment variable WRONG"),
        (f"file2:{tmp_path}/none.pem", "no such key file"),
        (protected(tmp_path), "passphrase"),
        ("awskms:alias/desk", "COUNTERSIGN_SIGNER_PUBLIC"),
        ("nonsense:x", "no signer of kind"),
        ("nonsense", "no signer of kind"),
    ]
    for uri, says in cases:
        with pytest.raises(ConfigError) as error:
            signers.signer_from_uri(uri, environ)
        assert says in str(error.value), uri
        assert "secretsecret" not in str(error.value)


def test_a_service_signs_by_its_address_and_is_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "testkms", Service)
    public = signers.private_signer(
        pem(Ed25519PrivateKey.from_private_bytes(bytes(32))), "x"
    ).public_pem
    (tmp_path / "public.pem").write_text(public)
    environ = {"COUNTERSIGN_SIGNER_PUBLIC": str(tmp_path / "public.pem")}
    signer = signers.signer_from_uri("testkms:good", environ)
    keys.public_key(public).verify(signer.sign(b"payload"), b"payload")
    failures: dict[str, type[CountersignError]] = {"wrong": VerificationError, "down": StorageError}
    for behaviour, error in failures.items():
        with pytest.raises(error):
            signers.signer_from_uri(f"testkms:{behaviour}", environ).sign(b"payload")
    other = signers.private_signer(pem(Ed25519PrivateKey.generate()), "x").public_pem
    (tmp_path / "public.pem").write_text(other)
    with pytest.raises(ConfigError, match="cannot open the signer"):
        signers.signer_from_uri("testkms:good", environ)


def test_a_signature_without_a_nonce_is_none(private: Ed25519PrivateKey) -> None:
    """R is the neutral element: OpenSSL takes it, a strict verifier does not."""
    order = 2**252 + 27742317777372353535851937790883648493
    digest = bytearray(hashlib.sha512(private.private_bytes_raw()).digest()[:32])
    digest[0] &= 248
    digest[31] = digest[31] & 127 | 64
    public, identity = private.public_key(), bytes([1, *bytes(31)])
    hashed = hashlib.sha512(identity + public.public_bytes_raw() + b"payload").digest()
    scalar = int.from_bytes(hashed, "little") * int.from_bytes(digest, "little") % order
    crafted = identity + scalar.to_bytes(32, "little")
    public.verify(crafted, b"payload")
    line = public.public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    ).decode()
    assert not verifies(line, crafted)


def test_an_ed25519_signature_has_one_form_only(private: Ed25519PrivateKey) -> None:
    """S + L is the same number modulo the order L (RFC 8032, 5.1.7)."""
    order = 2**252 + 27742317777372353535851937790883648493
    signature = private.sign(b"payload")
    assert verifies(line_of(private), signature)
    s = int.from_bytes(signature[32:], "little") + order
    assert not verifies(line_of(private), signature[:32] + s.to_bytes(32, "little"))
    assert not verifies(line_of(private), signature + b"\0")
