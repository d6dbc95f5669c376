"""Signers: where private keys are, and how they sign. Key files, `ssh-agent`, variables,
and KMS and HSM by securesystemslib.

1. Every signature is verified with its public key before it is returned.
2. A key made on this machine is written once, atomically, with mode 0600.
3. Nothing here opens a terminal. A service's key with a passphrase is refused. A person's key is
   opened with what the caller's `ask` returns.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from governance.attest.keys import (
    MAKE_ONE,
    PublicKey,
    Signer,
    first_line,
    public_key,
    public_key_of,
)
from governance.base.errors import ConfigError, CountersignError, StorageError
from governance.base.storage import home_expanded, write_atomic, writing_state
from governance.machine import sshagent
from governance.machine.sshagent import Identity

Ask = Callable[[str], str]
"""Asks the person at the terminal for a secret; the argument is the prompt."""
AGENT = "ssh-agent:"
DEVELOPMENT, CHECKPOINT, MODEL_SIGNING = "development", "checkpoint", "model_signing"
MAX_KEY = 64 << 10
_TRIES = 3
"""How often a passphrase is asked for, as ssh does."""
_FILE_SCHEMES = ("file", "file2")


@dataclass(frozen=True)
class _CheckedSigner:
    """A signer whose public key is known; every signature is verified before it is returned."""

    _public: PublicKey
    _sign: Callable[[bytes], bytes] = field(repr=False)

    @property
    def keyid(self) -> str:
        return self._public.keyid

    @property
    def public_pem(self) -> str:
        return self._public.pem

    def sign(self, payload: bytes) -> bytes:
        try:
            signature = self._sign(payload)
        except CountersignError:
            raise
        except Exception as error:  # noqa: BLE001 - vendors have no common base class
            found = f"the signer did not sign: {first_line(error)}"
            raise StorageError(found, fix="check its address and access") from None
        signature = self._public.in_one_form(signature)
        self._public.verify(signature, payload)
        return signature


def private_signer(data: bytes, where: str, ask: Ask | None = None) -> Signer:
    """A signer from a private key, PEM PKCS#8 or OpenSSH; `where` names it. `ask` opens a key with
    a passphrase; None where there is nobody to ask. Raises `ConfigError`.
    """
    passphrase, prompt = None, f"Passphrase for {where}: "
    for attempt in range(_TRIES + 1):
        with suppress(_Protected):
            return _private(data, passphrase, where)
        if ask is None:
            found = "the private key has a passphrase, and there is no terminal to ask on"
            fix = f"use a KMS signer, a key without passphrase, or ssh-add FILE and {AGENT}FILE.pub"
            raise ConfigError(found, where=where, fix=fix)
        if attempt < _TRIES:
            passphrase = ask(prompt).encode()
            prompt = f"Wrong passphrase. Passphrase for {where}: "
    raise ConfigError(f"{_TRIES} wrong passphrases", where=where)


def person_signer(
    address: str, environ: Mapping[str, str], ask: Ask | None, setting: str = "COUNTERSIGN_KEY"
) -> Signer:
    """The signer at an address: a key file, `ssh-agent:KEY`, or the URI of a KMS or HSM.

    `ask` opens a key that is protected by a passphrase; None where there is nobody to ask. KEY
    names a key of the agent by fingerprint, comment or public key file. `setting`: see
    `signer_from_uri`. Raises `ConfigError`.
    """
    if address.startswith(AGENT):
        held = sshagent.identities(environ)
        return _held_by_agent(_agent_identity(address.removeprefix(AGENT), held), environ)
    scheme, _, rest = address.partition(":")
    if scheme in _FILE_SCHEMES:
        address = rest
    elif scheme == "env" or (rest and scheme in schemes()):
        return signer_from_uri(address, environ, setting)
    path = home_expanded(address)
    data = _read(path)
    if data.startswith((b"ssh-", b"ecdsa-", b"sk-", b"-----BEGIN PUBLIC KEY")):
        fix = f"give the private key's file, or {AGENT}{path} where the agent holds it"
        raise ConfigError("this is a public key, which cannot sign", where=str(path), fix=fix)
    if b"PRIVATE KEY-----" in data[:100]:
        _check_private(path)
    return private_signer(data, str(path), ask)


def _check_private(path: Path) -> None:
    """Refuses a person's key that others can read, as ssh does. Raises `ConfigError`."""
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        found = f"others can read or write this private key (mode {mode:04o})"
        fix = f"chmod 600 {path}; if others may have read it, replace it: countersign rotate"
        raise ConfigError(found, where=str(path), fix=fix)


class _Protected(Exception):
    """The key wants a passphrase, or another one."""


def _private(data: bytes, passphrase: bytes | None, where: str) -> Signer:
    """Raises `_Protected` or `ConfigError`."""
    try:
        if b"OPENSSH PRIVATE KEY" in data:
            key: PrivateKeyTypes = serialization.load_ssh_private_key(data, password=passphrase)
        else:
            key = serialization.load_pem_private_key(data, password=passphrase)
        public = public_key_of(key.public_key())
        if isinstance(key, ec.EllipticCurvePrivateKey):
            by_key, scheme = key, ec.ECDSA(hashes.SHA256())
            return _CheckedSigner(public, lambda payload: by_key.sign(payload, scheme))
        if isinstance(key, Ed25519PrivateKey):
            return _CheckedSigner(public, key.sign)
        raise ValueError(type(key).__name__)
    except ConfigError as error:
        error.where = where
        raise
    except TypeError:
        raise _Protected from None
    except (ValueError, UnsupportedAlgorithm, AttributeError) as error:
        if passphrase is not None:  # libraries report a wrong passphrase in several ways
            raise _Protected from None
        found = f"not a private key: {first_line(error)}"
        raise ConfigError(found, where=where, expected="PEM (PKCS#8) or OpenSSH") from None


def _held_by_agent(identity: Identity, environ: Mapping[str, str]) -> Signer:
    if identity.kind != "ssh-ed25519":
        found = f"{identity.comment or identity.fingerprint} is a key of kind {identity.kind}"
        fix = f"{MAKE_ONE}, have it enrolled (countersign rotate), and add it to the agent"
        raise ConfigError(found, where=sshagent.WHERE, fix=fix)
    public = public_key(identity.line)
    return _CheckedSigner(public, lambda payload: sshagent.sign(environ, identity.blob, payload))


def _agent_identity(name: str, held: list[Identity]) -> Identity:
    """The one key of the agent that `name` means: a fingerprint, a comment, or a public key file;
    without a name, the only one it holds.
    """
    path = home_expanded(name)
    words = _read(path).split() if name and path.is_file() else []
    line = b" ".join(words[:2]).decode("ascii", "replace")
    matches = [key for key in held if name in (key.fingerprint, key.comment) or key.line == line]
    candidates = matches if name else held
    if len(candidates) == 1:
        return candidates[0]
    if not name:
        problem = f"the agent holds {len(held)} keys, and none is named"
    elif matches:
        problem = f"{len(matches)} keys of the agent are called {name!r}"
    else:
        problem = f"the agent holds no key {name!r}"
    known = "; ".join(f"{key.fingerprint} {key.comment}" for key in held)
    expected = f"one of: {known or 'nothing: ssh-add YOUR_KEY'}"
    fix = f"--key {AGENT}SHA256:..."
    raise ConfigError(problem, where=sshagent.WHERE, expected=expected, fix=fix)


def signer_from_uri(
    uri: str, environ: Mapping[str, str], setting: str = "COUNTERSIGN_SIGNER"
) -> Signer:
    """The signer a URI names: `env:NAME` (PEM in a variable), `file2:PATH`, or a securesystemslib
    URI of a KMS or HSM.

    `setting`: the variable with the URI. `{setting}_PUBLIC` names the file of the public key of a
    KMS or HSM, so that its signatures are verified here before use.
    """
    scheme, _, rest = uri.partition(":")
    if scheme == "env":
        where, text = f"environment variable {rest}", environ.get(rest, "").replace("\\n", "\n")
        if not text.strip():
            fix = "set it, or unset COUNTERSIGN_SIGNER, so that a development key signs"
            raise ConfigError("the signer's key is missing", where=where, fix=fix)
        return private_signer(text.strip().encode() + b"\n", where)
    if scheme in _FILE_SCHEMES:
        return private_signer(_read(Path(rest)), where=rest)
    if scheme not in schemes():
        known = ", ".join(sorted({"env", *schemes()}))
        found = f"no signer of kind {scheme!r}"
        raise ConfigError(found, where=setting, expected=f"one of {known}")
    path = environ.get(f"{setting}_PUBLIC", "")
    where = f"signer {scheme}:"
    if not path:
        fix = f"set {setting}_PUBLIC to the file of its public key (PEM)"
        raise ConfigError("the public key of this signer is not known", where=where, fix=fix)
    public = public_key(read_public(path, f"{setting}_PUBLIC"))
    from securesystemslib.signer import Signer as VendorSigner
    from securesystemslib.signer import SSlibKey

    key = SSlibKey.from_crypto(public.vendor_key, keyid=public.keyid)
    try:
        return _CheckedSigner(public, _by_vendor(VendorSigner.from_priv_key_uri(uri, key)))
    except Exception as error:  # noqa: BLE001 - vendors have no common base class
        raise ConfigError(f"cannot open the signer: {first_line(error)}", where=where) from None


def read_public(path: str, setting: str) -> str:
    """The public key file that a setting names. Raises `ConfigError`."""
    try:
        return start_of(home_expanded(path)).decode("utf-8")
    except (OSError, ValueError) as error:
        found = f"the signer's public key cannot be read: {error}"
        raise ConfigError(found, where=setting) from None


def model_signer(folder: Path) -> Signer:
    """The ECDSA P-256 key with which this machine signs models for OpenSSF Model Signing, made on
    first use. Raises `StorageError`.
    """
    path = folder / f"{MODEL_SIGNING}.pem"
    if not path.exists():
        _create(path, ec.generate_private_key(ec.SECP256R1()))
    return private_signer(_read(path), where=str(path))


def stored_signer(folder: Path, name: str) -> Signer:
    """The Ed25519 key `name` of this machine, made on first use. Raises `StorageError`."""
    path = folder / f"{name}.pem"
    if not path.exists():
        _create(path, Ed25519PrivateKey.generate())
    return private_signer(_read(path), where=str(path))


def start_of(path: Path) -> bytes:
    """At most `MAX_KEY` bytes of a file, so that a device without end is not read whole. Raises
    `OSError`.
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
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise StorageError(f"the key cannot be read: {reason}", where=str(path)) from None


def _create(path: Path, key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> None:
    """Writes a new key beside its place, then links it there: whole or not at all, and the first of
    two processes wins.
    """
    data = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with writing_state(path):
        write_atomic(temporary, data, mode=0o600)
        try:
            with suppress(FileExistsError):
                path.hardlink_to(temporary)
        finally:
            temporary.unlink()
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def schemes() -> set[str]:
    """The URI schemes that securesystemslib has a signer for."""
    from securesystemslib.signer import SIGNER_FOR_URI_SCHEME

    return set(SIGNER_FOR_URI_SCHEME)


def _by_vendor(signer: Any) -> Callable[[bytes], bytes]:
    return lambda payload: bytes.fromhex(signer.sign(payload).signature)
