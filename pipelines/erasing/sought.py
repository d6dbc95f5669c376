"""What an erasure looks for in files, and whether a file holds it.

1. A shard of records holds it by the id of a record. Any other Parquet file holds it by a text.
2. Any other file holds it by an id. A list of left-out records does not: it keeps ids with the
   reason, and no text.
3. Any file holds it by the bytes of a text or value, plain or as JSON or CSV writes them. A text
   that a record that stays has, too, is not looked for.
4. Of many texts, the longest `MOST` are looked for as bytes.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from governance.base.model import Model
from pipelines.exclusions import Excluding
from pipelines.shards import KIND_KEY
from pipelines.texts import texts
from pipelines.trace.files import Part
from pipelines.trace.reading import tables

SHORTEST = 12
"""Characters of a text that is looked for. A shorter one stands in other files by chance."""
MOST = 200
"""(4)"""
PARQUET = b"PAR1"
BATCH = 1024
ID = re.compile(rb"[0-9a-f]{32}")


class Values(Model):
    """What is looked for, as the journal keeps it."""

    ids: list[str]
    texts: list[str]
    values: list[str]
    """What was asked for, where that is a text or a subject."""


@dataclass(frozen=True)
class Sought:
    """The same, to look with."""

    values: Values
    excluding: Excluding
    """The list of the erasure alone."""

    @cached_property
    def ids(self) -> frozenset[str]:
        """The ids of the records."""
        return frozenset(self.values.ids)

    @cached_property
    def forms(self) -> list[bytes]:
        """(3), (4)"""
        longest = sorted(self.values.texts, key=len, reverse=True)[:MOST]
        cases = [
            each
            for value in self.values.values
            for each in (value, value.lower(), value.upper(), value.title())
        ]
        return sorted({form for text in (*longest, *cases) for form in _forms(text)})

    @property
    def count(self) -> int:
        """How many texts and values are looked for."""
        return len({*self.values.texts, *self.values.values}) + len(self.ids)

    def in_file(self, path: Path) -> bool:
        """Whether a file holds any of it. A file that vanishes meanwhile holds nothing."""
        try:
            if not path.stat().st_size:
                return False
            with (
                path.open("rb") as stream,
                mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
            ):
                if data[:4] == PARQUET:
                    return self._in_parquet(path)
                return self._in_bytes(data) or (self._has_id(data) and not self._is_list(data))
        except FileNotFoundError:
            return False

    def _in_parquet(self, path: Path) -> bool:
        """(1)"""
        try:
            file = pq.ParquetFile(path)
            if KIND_KEY in (file.schema_arrow.metadata or {}):
                return self._in_ids(file.read(["id"]))
            return any(map(self._in_batch, file.iter_batches(BATCH)))
        except pa.ArrowException:
            return False

    def _in_ids(self, table: pa.Table) -> bool:
        return bool(pc.any(pc.is_in(table["id"], pa.array(self.ids, pa.string()))).as_py())

    def _in_batch(self, batch: pa.RecordBatch) -> bool:
        known = frozenset(self.values.texts)
        for text in _strings(batch.to_pylist()):
            if text in known or text in self.ids or self.excluding.has_text(text):
                return True
        return False

    def _in_bytes(self, data: mmap.mmap) -> bool:
        """(3)"""
        return any(data.find(form) >= 0 for form in self.forms)

    def _has_id(self, data: mmap.mmap | bytes) -> bool:
        if len(self.ids) <= MOST:
            return any(data.find(each.encode()) >= 0 for each in self.ids)
        return any(match[0].decode() in self.ids for match in ID.finditer(data))

    def _is_list(self, data: mmap.mmap) -> bool:
        """(2) Whether each line with an id says why the record was left out."""
        data.seek(0)
        return all(_is_left_out(line) for line in iter(data.readline, b"") if self._has_id(line))


def _is_left_out(line: bytes) -> bool:
    try:
        row = json.loads(line)
    except ValueError:
        return False
    return isinstance(row, dict) and bool(row.get("reason"))


def own_texts(parts: Sequence[Part], ids: Collection[str]) -> list[str]:
    """(3) The texts that only these records have, in shards that have any of them."""
    mine: set[str] = set()
    for record, text in _texts(parts):
        if record in ids and len(text) >= SHORTEST:
            mine.add(text)
    for record, text in _texts(parts):
        if record not in ids:
            mine.discard(text)
    return sorted(mine)


def _texts(parts: Iterable[Part]) -> Iterator[tuple[str, str]]:
    for part in parts:
        for table, kind in tables(part):
            ids = table["id"].to_pylist()
            yield from ((ids[one.row], one.text) for one in texts(table, kind))


def _forms(text: str) -> Iterator[bytes]:
    quoted = (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    for form in (text, *quoted, text.replace('"', '""')):
        yield form.encode("utf-8", "surrogatepass")


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for member in value.values():
            yield from _strings(member)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
