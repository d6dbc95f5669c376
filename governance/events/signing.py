"""HMAC signatures of webhooks, as the Standard Webhooks specification 1.0.0 describes them
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).

The signature is over id, time and body: `v1,` and the base64 of HMAC-SHA256. The id is the same at
each attempt, the time is that of the attempt. While a secret is replaced, a message has one
signature by each secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from governance.base.errors import ConfigError

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64
"""Bytes of a secret."""
EXPECTED = f"{PREFIX} and the base64 of {SHORTEST} to {LONGEST} random bytes"
FIX = "make one: echo whsec_$(openssl rand -base64 32)"


def read_secrets(text: str, where: str) -> tuple[bytes, ...]:
    """The secrets of a text, separated by spaces. Raises `ConfigError`, which quotes none."""
    secrets = tuple(_secret(word, where) for word in text.split())
    if not secrets:
        raise ConfigError("there is no secret", where=where, expected=EXPECTED, fix=FIX)
    return secrets


def _secret(word: str, where: str) -> bytes:
    try:
        if not word.startswith(PREFIX):
            raise ValueError
        secret = base64.b64decode(word.removeprefix(PREFIX), validate=True)
    except (ValueError, binascii.Error):
        raise ConfigError("not a secret", where=where, expected=EXPECTED, fix=FIX) from None
    if not SHORTEST <= len(secret) <= LONGEST:
        found = f"the secret has {len(secret)} bytes"
        raise ConfigError(found, where=where, expected=EXPECTED, fix=FIX)
    return secret


def headers(id_: str, seconds: int, body: bytes, secrets: Sequence[bytes]) -> dict[str, str]:
    """The headers of one attempt. `seconds` since 1970."""
    signed = f"{id_}.{seconds}.".encode() + body
    digests = (hmac.new(secret, signed, hashlib.sha256).digest() for secret in secrets)
    signatures = (f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(signatures),
    }
