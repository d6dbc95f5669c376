"""Texts and subjects in the form in which they are compared, and their HMACs.

1. A text is a whole text of a record, a subject a value that the scan finds: an address, a name, a
   number. `pipelines.plain_text` says how they are compared.
2. The index has HMACs under the project's record key. Nobody without the key can test a guess.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Protocol

import pyarrow as pa

from pipelines.pii.search import Search
from pipelines.plain_text import folded, has_letter, plain_subject, plain_text
from pipelines.record_ids import Key
from pipelines.shards import ROW_GROUP
from pipelines.texts import Text, texts


class Words(Protocol):
    """What of a record's texts is looked up."""

    @property
    def task(self) -> str:
        """By which key, and engine, HMACs were made."""
        ...

    @property
    def ingested_only(self) -> bool:
        """Whether only records as ingested have them: the scan takes them out."""
        ...

    def key(self, value: str) -> bytes:
        """The HMAC of a value."""
        ...

    def found(self, table: pa.Table, kind: str) -> Iterator[tuple[bytes, bytes]]:
        """HMAC and record id, of all that the records hold."""
        ...

    def matcher(self, value: str) -> Callable[[str], bool]:
        """Says whether a text holds the value, by reading it."""
        ...


def _hmac(key: Key, what: str, plain: str) -> bytes:
    """(2) Half of one, as record ids are."""
    return hmac.digest(key.secret, f"{what}\n{plain}".encode(), "sha256")[:16]


class Texts:
    """Whole texts."""

    ingested_only = False

    def __init__(self, key: Key) -> None:
        self._key = key
        self.task = f"texts {key.key_id}"

    def key(self, value: str) -> bytes:
        """See `Words`."""
        return _hmac(self._key, "text", plain_text(value))

    def found(self, table: pa.Table, kind: str) -> Iterator[tuple[bytes, bytes]]:
        """See `Words`."""
        ids = [bytes.fromhex(one) for one in table["id"].to_pylist()]
        for one in texts(table, kind):
            yield self.key(one.text), ids[one.row]

    def matcher(self, value: str) -> Callable[[str], bool]:
        """See `Words`."""
        wanted = plain_text(value)
        return lambda text: plain_text(text) == wanted


class Subjects:
    """What the scan finds, all of it: also what policy allows to stay.

    `decided_by`: digest of what decides the findings. `opened` gives the search; it is called once,
    and only if a text is to be searched, since it loads the engine.
    """

    ingested_only = True

    def __init__(self, key: Key, decided_by: str, opened: Callable[[], Search]) -> None:
        self._key, self._opened = key, cache(opened)
        self.task = f"subjects {key.key_id} {decided_by}"

    def key(self, value: str) -> bytes:
        """See `Words`."""
        return _hmac(self._key, "subject", plain_subject(value))

    def found(self, table: pa.Table, kind: str) -> Iterator[tuple[bytes, bytes]]:
        """See `Words`."""
        for start in range(0, table.num_rows, ROW_GROUP):
            yield from self._in_batch(table.slice(start, ROW_GROUP), kind)

    def _in_batch(self, batch: pa.Table, kind: str) -> Iterator[tuple[bytes, bytes]]:
        ids = [bytes.fromhex(one) for one in batch["id"].to_pylist()]
        places: list[Text] = list(texts(batch, kind))
        results = self._opened().find([one.text for one in places])
        for place, result in zip(places, results, strict=True):
            for span in result.spans:
                value = place.text[span.start : span.end]
                if plain_subject(value):
                    yield self.key(value), ids[place.row]

    def matcher(self, value: str) -> Callable[[str], bool]:
        """See `Words`. The value stands in the text as whole words."""
        plain = plain_subject(value)
        words, between = (
            (plain.split(), r"[\W_]+") if has_letter(plain) else (list(plain), r"[\W_]*")
        )
        inside = between.join(map(re.escape, words))
        pattern = re.compile(rf"(?<![^\W_]){inside}(?![^\W_])")
        return lambda text: bool(pattern.search(folded(text)))
