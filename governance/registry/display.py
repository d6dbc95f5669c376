"""Hyperparameters as text for a registry's pages: flat, bounded in length, without secrets."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

VALUE_LENGTH = 500

_SECRET_WORD = re.compile(
    r"(?:^|_)(?:password|passwd|passphrase|secrets?|credentials?|authorization)(?:_|$)"
)
_SECRET_END = re.compile(r"(?:api_?key|access_key|private_key|secret_key|auth_key|token|auth)\Z")
_TEXT_TOKEN = re.compile(
    r"(?:bos|eos|pad|unk|sep|cls|mask|image|video|audio|start|end|stop)_token\Z"
)
"""Tokens of a vocabulary, as in `pad_token`; they are no secrets."""
_CREDENTIALS_IN_URL = re.compile(r"(?<=://)[^/\s@]+@")


def is_secret(name: str) -> bool:
    """Whether a parameter of this name must not be shown. In doubt it must not."""
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("-", "_").replace(".", "_")
    if _SECRET_WORD.search(plain):
        return True
    return bool(_SECRET_END.search(plain)) and not _TEXT_TOKEN.search(plain)


def param_texts(params: Mapping[str, Any]) -> dict[str, str]:
    """Name to text. Mappings are flattened by dots, other values written as JSON, long ones
    shortened.
    """
    texts: dict[str, str] = {}
    for name, value in _without_secrets(params).items():
        if isinstance(value, Mapping) and value:
            texts |= {f"{name}.{key}": text for key, text in param_texts(value).items()}
        else:
            text = (
                value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
            )
            texts[_name(name)] = shortened(without_credentials(text), VALUE_LENGTH)
    return texts


def without_credentials(text: str) -> str:
    """The text without user name and password in its addresses."""
    return _CREDENTIALS_IN_URL.sub("...@", text)


def place_of(address: str) -> str:
    """A foreign address as a record may repeat it: without account, and without anything after a
    `?`, such as a signature or token.
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
