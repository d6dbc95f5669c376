"""Keys: who signed. Ed25519 by default; whatever securesystemslib signs and verifies is welcome.

A key is identified by what it is: sha256 of its SubjectPublicKeyInfo, never by a name someone chose,
so that one key cannot pass for two. Keys made on this machine are written once, atomically, 0600.
Nothing here asks a question on the terminal: a key that wants a passphrase is refused.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from securesystemslib import signer as vendor
from securesystemslib.exceptions import Error as VendorError
from securesystemslib.signer import CryptoSigner, Signature, SSlibKey

from governance.errors import ConfigError, CountersignError, StorageError, VerificationError

DEVELOPMENT, CHECKPOINT = "development", "checkpoint"


class Signer(Protocol):
    """Signs; where the private key is, is its own matter."""

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
    _key: SSlibKey = field(repr=False, compare=False)
    _raw: bytes | None = field(repr=False, compare=False)

    def verify(self, signature: bytes, payload: bytes, where: str = "") -> None:
        """Raises `VerificationError` unless this key signed exactly `payload`; `where` names what is verified."""
        try:
            self._key.verify_signature(Signature(self.keyid, signature.hex()), payload)
        except VendorError:
            raise VerificationError(f"the signature by key {self.keyid[:16]} does not verify", where=where) from None

    @property
    def raw(self) -> bytes:
        """The 32 bytes of an Ed25519 key. Raises `ConfigError` for other kinds."""
        if self._raw is None:
            raise ConfigError("this key is not an Ed25519 key", where=f"key {self.keyid[:16]}", expected="Ed25519")
        return self._raw


@lru_cache(maxsize=1024)
def public_key(text: str) -> PublicKey:
    """A public key from PEM or from an OpenSSH line (`ssh-ed25519 AAAA... comment`). Raises `ConfigError`."""
    data = text.strip().encode()
    try:
        if data.startswith(b"-----BEGIN"):
            return _public(serialization.load_pem_public_key(data))
        return _public(serialization.load_ssh_public_key(data))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"not a public key: {_first_line(error)}", expected="PEM, or a line like `ssh-ed25519 AAAA...`"
        ) from None


def private_signer(data: bytes, where: str) -> Signer:
    """A signer from an unencrypted private key, PEM PKCS#8 or OpenSSH; `where` names it. Raises `ConfigError`."""
    try:
        if b"OPENSSH PRIVATE KEY" in data:
            key: PrivateKeyTypes = serialization.load_ssh_private_key(data, password=None)
        else:
            key = serialization.load_pem_private_key(data, password=None)
        return _VendorSigner(CryptoSigner(key), _public(key.public_key()))
    except TypeError:
        raise ConfigError(
            "the private key is protected by a passphrase",
            where=where,
            expected="a key that needs no answer from a terminal",
            fix="use a KMS signer, or a key without passphrase in a file only this account can read",
        ) from None
    except (ValueError, UnsupportedAlgorithm, AttributeError) as error:
        raise ConfigError(
            f"not a private key: {_first_line(error)}", where=where, expected="PEM (PKCS#8) or OpenSSH"
        ) from None


def signer_from_uri(uri: str, environ: Mapping[str, str], public_pem: str = "") -> Signer:
    """The signer a URI names: `env:NAME` (PEM in a variable), `file2:PATH`, or a securesystemslib URI of a KMS or HSM.

    A KMS or HSM signer needs `public_pem`, so that what it signs is checked here before it is used.
    """
    scheme, _, rest = uri.partition(":")
    if scheme == "env":
        return private_signer(_variable(rest, environ), where=f"environment variable {rest}")
    if scheme in ("file", "file2"):
        return private_signer(_read(Path(rest)), where=rest)
    if scheme not in vendor.SIGNER_FOR_URI_SCHEME:
        known = ", ".join(sorted({"env", *vendor.SIGNER_FOR_URI_SCHEME}))
        raise ConfigError(f"no signer of kind {scheme!r}", where="COUNTERSIGN_SIGNER", expected=f"one of {known}")
    if not public_pem:
        raise ConfigError(
            "the public key of this signer is not known",
            where=f"signer {scheme}:",
            fix="set COUNTERSIGN_SIGNER_PUBLIC to the file of its public key (PEM), which policies/ must name too",
        )
    public = public_key(public_pem)
    try:
        signer = vendor.Signer.from_priv_key_uri(uri, public._key)
    except Exception as error:  # noqa: BLE001 (vendors have no common base: network, settings, arguments)
        raise ConfigError(f"cannot open the signer: {_first_line(error)}", where=f"signer {scheme}:") from None
    return _VendorSigner(signer, public)


def stored_signer(folder: Path, name: str) -> Signer:
    """The Ed25519 key `name` of this machine, made on first use. Raises `StorageError`."""
    path = folder / f"{name}.pem"
    if not path.exists():
        _create(path)
    return private_signer(_read(path), where=str(path))


def development_signer(keys: Path) -> Signer:
    """The key that signs evidence on a machine without ceremony: good for `candidate` only."""
    return stored_signer(keys, DEVELOPMENT)


@dataclass(frozen=True)
class _VendorSigner:
    """A securesystemslib signer under our key id; every signature is checked before it is handed out."""

    _signer: vendor.Signer = field(repr=False)
    _public: PublicKey

    @property
    def keyid(self) -> str:
        return self._public.keyid

    @property
    def public_pem(self) -> str:
        return self._public.pem

    def sign(self, payload: bytes) -> bytes:
        try:
            signature = bytes.fromhex(self._signer.sign(payload).signature)
        except Exception as error:  # noqa: BLE001 (as above)
            raise StorageError(
                f"the signer did not sign: {_first_line(error)}",
                where=f"key {self.keyid[:16]}",
                fix="check the signer's address and access",
            ) from None
        self._public.verify(signature, payload)
        return signature


def _public(key: PublicKeyTypes) -> PublicKey:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    raw = key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else None
    keyid = hashlib.sha256(der).hexdigest()
    return PublicKey(keyid, pem, SSlibKey.from_crypto(key, keyid=keyid), raw)


def _variable(name: str, environ: Mapping[str, str]) -> bytes:
    if not environ.get(name, "").strip():
        raise ConfigError(
            "the signer's key is not there",
            where=f"environment variable {name}",
            expected="a private key in PEM",
            fix="set it, or leave COUNTERSIGN_SIGNER away, so that a development key signs",
        )
    return environ[name].replace("\\n", "\n").strip().encode() + b"\n"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ConfigError("no such key file", where=str(path)) from None
    except OSError as error:
        raise StorageError(f"the key cannot be read: {error.strerror}", where=str(path)) from None


def _create(path: Path) -> None:
    """Writes a new key beside its place, then links it there: whole or not at all, and the first of two wins."""
    data = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _publish(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from None


def _publish(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def cannot_write(path: Path, error: OSError) -> CountersignError:
    """A failed write into this machine's state folder, as an error for people."""
    return StorageError(
        f"cannot be written: {error.strerror or error}",
        where=str(path),
        fix="free the disk, allow writing there, or set COUNTERSIGN_HOME to a folder of your own",
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
