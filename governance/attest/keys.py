"""Keys: who signed. Ed25519 by default; whatever securesystemslib signs and verifies is welcome.

A key is identified by what it is: sha256 of its SubjectPublicKeyInfo, never by a name someone
chose, so that one key cannot pass for two. Keys made on this machine are written once, atomically,
0600. Nothing here asks a question on the terminal by itself: a service's key that wants a
passphrase is refused, and a person's is opened with what the caller's `ask` gives.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey
from securesystemslib import signer as vendor
from securesystemslib.exceptions import Error as VendorError
from securesystemslib.signer import CryptoSigner, Signature, SSlibKey

from governance.attest import sshagent
from governance.base.errors import ConfigError, CountersignError, StorageError, VerificationError
from governance.base.storage import home_expanded

Ask = Callable[[str], str]
"""Asks the person at the terminal for a secret, by this prompt."""
AGENT = "ssh-agent:"
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
                self._key.verify_signature(Signature(self.keyid, signature.hex()), payload)
        except (VendorError, InvalidSignature, CryptoError):
            raise VerificationError(
                f"the signature by key {self.keyid[:16]} does not verify", where=where
            ) from None

    @cached_property
    def _ed25519(self) -> VerifyKey | None:
        """The key as it verifies fastest, and most strictly: logs hold a million signatures by a
        few keys.
        """
        return VerifyKey(self._raw) if self._raw is not None else None

    @property
    def raw(self) -> bytes:
        """The 32 bytes of an Ed25519 key. Raises `ConfigError` for other kinds."""
        if self._raw is None:
            raise ConfigError(
                "this key is not an Ed25519 key", where=f"key {self.keyid[:16]}", expected="Ed25519"
            )
        return self._raw

    @property
    def line(self) -> str:
        """As a line of OpenSSH, without comment."""
        kind = int.from_bytes(self._ssh[:4], "big")
        return f"{self._ssh[4 : 4 + kind].decode()} {base64.b64encode(self._ssh).decode()}"

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` shows it: what people compare on the telephone."""
        return sshagent.fingerprint(self._ssh)


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
            return _public(serialization.load_pem_public_key(data))
        if data.startswith((b"sk-", b"ssh-rsa", b"ssh-dss")):
            raise ConfigError(f"a key of kind {_word(data)}", expected="Ed25519", fix=MAKE_ONE)
        return _public(serialization.load_ssh_public_key(data))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"not a public key: {_first_line(error)}",
            expected="PEM, or a line like `ssh-ed25519 AAAA...`",
        ) from None


def private_signer(data: bytes, where: str) -> Signer:
    """A signer from an unencrypted private key, PEM PKCS#8 or OpenSSH; `where` names it. Raises
    `ConfigError`.
    """
    try:
        return _private(data, None, where)
    except _Protected:
        raise ConfigError(
            "the private key is protected by a passphrase",
            where=where,
            expected="a key that needs no answer from a terminal",
            fix=(
                "use a KMS signer, or a key without passphrase in a file only this account can read"
            ),
        ) from None


def person_signer(
    address: str,
    environ: Mapping[str, str],
    ask: Ask | None,
    public: str = "",
    setting: str = "COUNTERSIGN_KEY",
) -> Signer:
    """The signer at an address: a key file, `ssh-agent:KEY`, or the URI of a KMS or HSM, with its
    public key.

    `ask` opens a key that is protected by a passphrase; None where there is nobody to ask. KEY
    names a key of the agent by fingerprint, comment or public key file; `setting` names the
    variable in errors. Raises `ConfigError`.
    """
    if address.startswith(AGENT):
        return _agent_signer(address.removeprefix(AGENT), environ)
    scheme = address.partition(":")[0]
    if scheme == "env" or scheme in vendor.SIGNER_FOR_URI_SCHEME:
        if scheme not in ("file", "file2"):
            return signer_from_uri(address, environ, public, setting)
        address = address.partition(":")[2]
    path = home_expanded(address)
    data = _read(path)
    if data.startswith((b"ssh-", b"ecdsa-", b"sk-", b"-----BEGIN PUBLIC KEY")):
        raise ConfigError(
            "this is a public key, which signs nothing",
            where=str(path),
            fix=f"give the private key's file, or {AGENT}{path} where the agent holds it",
        )
    if b"PRIVATE KEY-----" in data[:100]:
        _check_private(path)
    try:
        return _private(data, None, str(path))
    except _Protected:
        if ask is None:
            raise ConfigError(
                "the key wants a passphrase, and there is no terminal to ask on",
                where=str(path),
                fix=f"ssh-add {path}, then use --key {AGENT}{path}.pub",
            ) from None
    prompt = f"Passphrase for {path}: "
    for _ in range(_TRIES):
        try:
            return _private(data, ask(prompt).encode(), str(path))
        except _Protected:
            prompt = f"Not that one. Passphrase for {path}: "
    raise ConfigError(f"none of {_TRIES} passphrases is the right one", where=str(path))


def _check_private(path: Path) -> None:
    """As ssh: a person's key that others can read is theirs, too. Raises `ConfigError`."""
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise ConfigError(
            f"others can read or write this private key (mode {mode:04o}), so they can sign in your"
            " name",
            where=str(path),
            expected="a file for its owner alone, mode 0600",
            fix=(
                f"chmod 600 {path}; where others may have read it, have it replaced: countersign"
                " rotate"
            ),
        )


MAX_KEY = 64 << 10
MAKE_ONE = "make one with: ssh-keygen -t ed25519"
_TRIES = 3
"""How often a passphrase is asked for, as ssh does."""


class _Protected(Exception):
    """The key wants a passphrase, or another one."""


def _private(data: bytes, passphrase: bytes | None, where: str) -> Signer:
    """Raises `_Protected` or `ConfigError`."""
    try:
        if b"OPENSSH PRIVATE KEY" in data:
            key: PrivateKeyTypes = serialization.load_ssh_private_key(data, password=passphrase)
        else:
            key = serialization.load_pem_private_key(data, password=passphrase)
        return _VendorSigner(_public(key.public_key()), CryptoSigner(key))
    except TypeError:
        raise _Protected from None
    except (ValueError, UnsupportedAlgorithm, AttributeError) as error:
        if passphrase is not None:  # libraries word a wrong passphrase in several ways
            raise _Protected from None
        raise ConfigError(
            f"not a private key: {_first_line(error)}",
            where=where,
            expected="PEM (PKCS#8) or OpenSSH",
        ) from None


def _agent_signer(name: str, environ: Mapping[str, str]) -> Signer:
    """The key of the agent that `name` means: a fingerprint, a comment, or a public key file."""
    held = sshagent.identities(environ)
    path = home_expanded(name)
    blob = _public_blob(path) if name and path.is_file() else None
    found = [one for one in held if name in (one.fingerprint, one.comment) or one.blob == blob]
    if not name and len(held) == 1:
        found = held
    if len(found) != 1:
        shown = (
            "; ".join(f"{one.fingerprint} {one.comment}" for one in held)
            or "nothing: ssh-add YOUR_KEY"
        )
        told = (
            f"{len(found)} keys of the agent are called {name!r}"
            if found
            else f"the agent holds no key {name!r}"
        )
        told = told if name else f"the agent holds {len(held)} keys, and none is named"
        raise ConfigError(
            told, where=sshagent.WHERE, expected=f"one of: {shown}", fix=f"--key {AGENT}SHA256:..."
        )
    (identity,) = found
    if identity.kind != "ssh-ed25519":
        raise ConfigError(
            f"{identity.comment or identity.fingerprint} is a key of kind {identity.kind}",
            where=sshagent.WHERE,
            expected="ssh-ed25519",
            fix=f"{MAKE_ONE}, have it enrolled (countersign rotate), and add it to the agent",
        )
    return _AgentSigner(public_key(identity.line), identity.blob, environ)


def _public_blob(path: Path) -> bytes | None:
    """The wire form of the key in an OpenSSH public key file."""
    words = _read(path).split()
    try:
        return base64.b64decode(words[1], validate=True) if len(words) > 1 else None
    except ValueError:
        return None


def signer_from_uri(
    uri: str, environ: Mapping[str, str], public_pem: str = "", setting: str = "COUNTERSIGN_SIGNER"
) -> Signer:
    """The signer a URI names: `env:NAME` (PEM in a variable), `file2:PATH`, or a securesystemslib
    URI of a KMS or HSM.

    A KMS or HSM signer needs `public_pem`, so that what it signs is checked here before it is used.
    """
    scheme, _, rest = uri.partition(":")
    if scheme == "env":
        return private_signer(_variable(rest, environ), where=f"environment variable {rest}")
    if scheme in ("file", "file2"):
        return private_signer(_read(Path(rest)), where=rest)
    if scheme not in vendor.SIGNER_FOR_URI_SCHEME:
        known = ", ".join(sorted({"env", *vendor.SIGNER_FOR_URI_SCHEME}))
        raise ConfigError(
            f"no signer of kind {scheme!r}", where=setting, expected=f"one of {known}"
        )
    if not public_pem:
        raise ConfigError(
            "the public key of this signer is not known",
            where=f"signer {scheme}:",
            fix=f"set {setting}_PUBLIC to the file of its public key (PEM)",
        )
    public = public_key(public_pem)
    try:
        signer = vendor.Signer.from_priv_key_uri(uri, public._key)
    except Exception as error:  # noqa: BLE001 - vendors have no common base class
        raise ConfigError(
            f"cannot open the signer: {_first_line(error)}", where=f"signer {scheme}:"
        ) from None
    return _VendorSigner(public, signer)


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
class _Known:
    """A signer whose public key is known."""

    _public: PublicKey

    @property
    def keyid(self) -> str:
        return self._public.keyid

    @property
    def public_pem(self) -> str:
        return self._public.pem


@dataclass(frozen=True)
class _AgentSigner(_Known):
    """A key that stays in an `ssh-agent`."""

    _blob: bytes = field(repr=False)
    _environ: Mapping[str, str] = field(repr=False)

    def sign(self, payload: bytes) -> bytes:
        signature = sshagent.sign(self._environ, self._blob, payload)
        self._public.verify(signature, payload)
        return signature


@dataclass(frozen=True)
class _VendorSigner(_Known):
    """A securesystemslib signer under our key id; every signature is checked before it is handed
    out.
    """

    _signer: vendor.Signer = field(repr=False)

    def sign(self, payload: bytes) -> bytes:
        try:
            signature = bytes.fromhex(self._signer.sign(payload).signature)
        except Exception as error:  # noqa: BLE001 - vendors have no common base class
            raise StorageError(
                f"the signer did not sign: {_first_line(error)}",
                where=f"key {self.keyid[:16]}",
                fix="check the signer's address and access",
            ) from None
        self._public.verify(signature, payload)
        return signature


def _public(key: PublicKeyTypes) -> PublicKey:
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pem = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()
    raw = key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else None
    keyid = hashlib.sha256(der).hexdigest()
    line = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return PublicKey(
        keyid, pem, SSlibKey.from_crypto(key, keyid=keyid), raw, base64.b64decode(line.split()[1])
    )


def _variable(name: str, environ: Mapping[str, str]) -> bytes:
    if not environ.get(name, "").strip():
        raise ConfigError(
            "the signer's key is not there",
            where=f"environment variable {name}",
            expected="a private key in PEM",
            fix="set it, or leave COUNTERSIGN_SIGNER away, so that a development key signs",
        )
    return environ[name].replace("\\n", "\n").strip().encode() + b"\n"


def start_of(path: Path) -> bytes:
    """A key file's bytes, and of what is none, as a device without end, no more than a key has.
    Raises `OSError`.
    """
    with path.open("rb") as file:
        return file.read(MAX_KEY)


def _read(path: Path) -> bytes:
    try:
        return start_of(path)
    except FileNotFoundError:
        fix = (
            f"ls ~/.ssh shows your keys; {MAKE_ONE}; `ssh-add -l` lists those of an agent:"
            f" {AGENT}SHA256:..."
        )
        raise ConfigError("no such key file", where=str(path), fix=fix) from None
    except (OSError, ValueError) as error:  # of a null byte, too
        told = error.strerror if isinstance(error, OSError) else "no path"
        raise StorageError(f"the key cannot be read: {told}", where=str(path)) from None


def _create(path: Path) -> None:
    """Writes a new key beside its place, then links it there: whole or not at all, and the first of
    two wins.
    """
    data = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with os.fdopen(
                os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
            ) as file:
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


def _word(data: bytes) -> str:
    """The first word of a public key line."""
    return data.split(maxsplit=1)[0][:40].decode("ascii", "replace")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
