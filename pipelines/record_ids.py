"""Record ids: HMACs of a record's content under the project's record key. They name a record
without revealing it.

The key stays with the data: never in git, log or report. Without a key, a fixed development key is
used. It is public and marked as such wherever record ids are reported.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from governance.base.errors import ConfigError
from pipelines.kinds import EXTRA, PARTS, TOOLS, TURNS
from pipelines.params import RecordKey, Splits

DEVELOPMENT = "development"

RATER = re.compile(r"rater_[0-9a-f]{8}")
"""A rater's name in records."""

_ENCODER = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
)


@dataclass(frozen=True)
class Key:
    """The key that makes record ids."""

    key_id: str
    """`development`, or the first half of the key's digest, which is safe to publish."""
    secret: bytes = field(repr=False)

    def record_id(self, kind: str, content: str) -> str:
        """The id of a record from its `canonical` content. The same content always gives the same
        id.
        """
        return self._mac(f"record\n{kind}\n{content}")

    def rater_name(self, rater: str) -> str:
        """A rater's name in records. A name that has this form already stays, so that votes which
        were imported keep theirs.
        """
        if RATER.fullmatch(rater):
            return rater
        return f"rater_{self._mac(f'rater {rater}')[:8]}"

    def number(self, purpose: str, below: int) -> int:
        """A number below a bound that follows from the purpose. Nobody guesses it without the
        key.
        """
        mac = hmac.digest(self.secret, f"number\n{purpose}".encode(), "sha256")
        return int.from_bytes(mac, "big") % below

    def _mac(self, text: str) -> str:
        return hmac.digest(self.secret, text.encode("utf-8"), "sha256").hex()[:32]


def identity(kind: str, columns: Mapping[str, Any]) -> str:
    """The `canonical` content of a record of a kind, from its content columns."""
    content = identifying(columns)
    if kind == "rated":
        content["ratings"] = [
            {**rating, "value": _plain(rating["value"])} for rating in content["ratings"]
        ]
    return canonical(content)


def _plain(number: float) -> int | float:
    """Whole numbers as RFC 8785 writes them."""
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def canonical(content: dict[str, Any]) -> str:
    """The content as RFC 8785 JSON. For text, booleans and whole numbers Python's own writer gives
    the same.
    """
    return _ENCODER.encode(content)


def identifying(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a record without the parts that it does not have, so that a new part changes
    no id of a record without it.
    """
    return {
        name: _without_parts(value)
        for name, value in content.items()
        if value is not None or name not in _NEWER
    }


def _without_parts(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_parts(item) for item in value]
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if item is not None or key not in PARTS}
    return value


_NEWER = frozenset({TOOLS, TURNS, EXTRA})
"""Columns that came after the first release. `answer` is in an id even where it is null."""


def key_id_of(secret: bytes) -> str:
    """Identifies a key without revealing it."""
    return hashlib.sha256(b"countersign record key\n" + secret).hexdigest()[:16]


def load_key(root: Path, records: RecordKey) -> Key:
    """The key that params.yaml names. Raises `ConfigError` if it is missing or has another id."""
    if records.key == DEVELOPMENT:
        if records.key_id != DEVELOPMENT:
            found, where = "a key_id without its key", "params.yaml: records"
            raise ConfigError(found, where=where, expected="key: FILE")
        text = b"countersign development record key: public, no secret"
        return Key(DEVELOPMENT, hashlib.sha256(text).digest())
    secret = read_key(root / records.key)
    if key_id_of(secret) != records.key_id:
        raise ConfigError(
            f"the record key has the id {key_id_of(secret)}",
            where="params.yaml: records.key_id",
            expected=records.key_id,
            fix="restore the key of the existing ids; another key_id changes every record id",
        )
    return Key(records.key_id, secret)


LONGEST = 100
"""Characters of a key file that are read."""


def read_key(path: Path) -> bytes:
    """The 32 bytes of a key file. Raises `ConfigError`."""
    fix = "get the key from the person who keeps the data, or make one: countersign record-key"
    try:
        with path.open(encoding="ascii") as stream:
            text = stream.read(LONGEST).strip()
    except (OSError, UnicodeDecodeError) as error:
        found = f"the record key cannot be read ({type(error).__name__})"
        raise ConfigError(found, where=str(path), fix=fix) from None
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        expected = "64 hexadecimal digits"
        raise ConfigError("not a record key", where=str(path), expected=expected, fix=fix)
    return bytes.fromhex(text)


def split_of(record_id: str, splits: Splits) -> str:
    """The split of a record, from its id alone."""
    place = int(record_id[:13], 16) / 16**13
    if place < splits.train:
        return "train"
    return "validation" if place < splits.train + splits.validation else "test"
