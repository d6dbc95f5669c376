"""Keys are what they are, not what they are called; none asks a question."""

from __future__ import annotations

import hashlib
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME

from governance.attest import keys
from governance.base.errors import ConfigError, CountersignError, StorageError, VerificationError
from governance.machine import signers
from tests.governance.keys import PEM, PLAIN, RAW, Service, pem


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


def test_other_kinds_of_keys_sign_too(tmp_path: Path) -> None:
    """KMS and HSM often have ECDSA only."""
    signer = signers.private_signer(pem(ec.generate_private_key(ec.SECP256R1())), "x")
    keys.public_key(signer.public_pem).verify(signer.sign(b"payload"), b"payload")
    with pytest.raises(ConfigError, match="not an Ed25519 key"):
        _ = keys.public_key(signer.public_pem).raw


NO_PUBLIC_KEYS = {
    "nothing": "",
    "words": "hello",
    "a private key": pem(Ed25519PrivateKey.generate()).decode(),
    "half a line": "ssh-ed25519 AAAA",
    "DSA": (
        dsa.generate_private_key(2048)
        .public_key()
        .public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    ),
}


@pytest.mark.parametrize("text", NO_PUBLIC_KEYS.values(), ids=NO_PUBLIC_KEYS.keys())
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not a public key"):
        keys.public_key(text)


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
    with pytest.raises(VerificationError):
        keys.public_key(line).verify(crafted, b"payload")
