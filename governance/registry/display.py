"""Hyperparameters as text for a registry's pages: flat, bounded in length, without secrets."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

VALUE_LENGTH = 500

_SECRET_WORDS = frozenset(
    {
        "password",
        "passwd",
        "passphrase",
        "secret",
        "secrets",
        "credential",
        "credentials",
        "authorization",
    }
)
_SECRET_ENDS = (
    "api_key",
    "apikey",
    "access_key",
    "private_key",
    "secret_key",
    "auth_key",
    "token",
    "auth",
)
_TEXT_TOKENS = (
    "bos",
    "eos",
    "pad",
    "unk",
    "sep",
    "cls",
    "mask",
    "image",
    "video",
    "audio",
    "start",
    "end",
    "stop",
)
"""Tokens of a vocabulary, as in `pad_token`; they are no secrets."""
_CREDENTIALS_IN_URL = re.compile(r"(?<=://)[^/\s@]+@")


def is_secret(name: str) -> bool:
    """Whether a parameter of this name holds something that must not be shown. In doubt it does."""
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("-", "_").replace(".", "_")
    if set(plain.split("_")) & _SECRET_WORDS:
        return True
    return plain.endswith(_SECRET_ENDS) and not plain.endswith(
        tuple(f"{word}_token" for word in _TEXT_TOKENS)
    )


def param_texts(params: Mapping[str, Any]) -> dict[str, str]:
    """Name to text. Mappings are flattened by dots, other values written as JSON, long ones
    shortened.
    """
    texts: dict[str, str] = {}
    for name, value in params.items():
        if is_secret(name):
            continue
        if isinstance(value, Mapping) and value:
            texts |= {f"{name}.{key}": text for key, text in param_texts(value).items()}
        else:
            text = (
                value
                if isinstance(value, str)
                else json.dumps(_without_secrets(value), sort_keys=True, default=str)
            )
            texts[_name(name)] = shortened(without_credentials(text), VALUE_LENGTH)
    return texts


def without_credentials(text: str) -> str:
    """`text` with the user name and password of every address in it left out."""
    return _CREDENTIALS_IN_URL.sub("...@", text)


def place_of(address: str) -> str:
    """An address of somebody else's as a record may repeat it: no account, no signature or token
    after a `?`.
    """
    place, mark, _ = address.partition("?")
    scheme, gap, rest = place.partition("://")
    _, at, host = rest.rpartition("@")
    return shortened(
        f"{scheme}{gap}{'...@' if at else ''}{host}{'?...' if mark else ''}", VALUE_LENGTH
    )


def shortened(text: str, length: int) -> str:
    """`text`, or its beginning and the digest of all of it where it is longer than `length`."""
    if len(text) <= length:
        return text
    note = f"... ({len(text)} characters, sha256 {hashlib.sha256(text.encode()).hexdigest()[:16]})"
    return text[: length - len(note)] + note


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            str(key): _without_secrets(member)
            for key, member in value.items()
            if not is_secret(str(key))
        }
    if isinstance(value, list | tuple):
        return [_without_secrets(member) for member in value]
    return value


def _name(name: str) -> str:
    """A name MLflow accepts: letters, digits and `_-. /:`."""
    return re.sub(r"[^A-Za-z0-9_\-. /:]", "_", name)[:250]
