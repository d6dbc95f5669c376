"""Keys of other kinds than Ed25519, and keys in a KMS or HSM: an adapter for securesystemslib.

securesystemslib is imported on first use. Its errors have no common base class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from governance.base.errors import ConfigError, StorageError, VerificationError


def schemes() -> set[str]:
    """The URI schemes that securesystemslib has a signer for."""
    from securesystemslib.signer import SIGNER_FOR_URI_SCHEME

    return set(SIGNER_FOR_URI_SCHEME)


def vendor_key(public_key: Any, keyid: str) -> Any:
    """The key as securesystemslib has it. Raises `ValueError` for a kind that it cannot verify."""
    from securesystemslib.signer import SSlibKey

    return SSlibKey.from_crypto(public_key, keyid=keyid)


def verify(public_key: Any, keyid: str, signature: bytes, payload: bytes, where: str) -> None:
    """Raises `VerificationError` unless this key signed exactly `payload`."""
    from securesystemslib.exceptions import Error
    from securesystemslib.signer import Signature

    try:
        signed = Signature(keyid, signature.hex())
        vendor_key(public_key, keyid).verify_signature(signed, payload)
    except Error:
        raise VerificationError(
            f"the signature by key {keyid[:16]} does not verify", where=where
        ) from None


def sign_with(private_key: Any) -> Callable[[bytes], bytes]:
    """Signs with a private key of any kind that securesystemslib knows. Raises `ValueError`."""
    from securesystemslib.signer import CryptoSigner

    return _sign(CryptoSigner(private_key), "the private key")


def open_signer(uri: str, public_key: Any, keyid: str) -> Callable[[bytes], bytes]:
    """Signs by the KMS or HSM that a URI names. Raises `ConfigError`."""
    from securesystemslib.signer import Signer

    where = f"signer {uri.partition(':')[0]}:"
    try:
        signer = Signer.from_priv_key_uri(uri, vendor_key(public_key, keyid))
    except Exception as error:  # noqa: BLE001 - vendors have no common base class
        raise ConfigError(f"cannot open the signer: {first_line(error)}", where=where) from None
    return _sign(signer, where)


def _sign(signer: Any, where: str) -> Callable[[bytes], bytes]:
    def sign(payload: bytes) -> bytes:
        try:
            return bytes.fromhex(signer.sign(payload).signature)
        except Exception as error:  # noqa: BLE001 - vendors have no common base class
            raise StorageError(
                f"the signer did not sign: {first_line(error)}",
                where=where,
                fix="check the signer's address and access",
            ) from None

    return sign


def first_line(error: Exception) -> str:
    """The first line of an error's text, cut at 200 characters."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
