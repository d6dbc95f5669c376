"""What one file of a dataset says of records: ids, places in sources, reasons, parents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from governance.base.errors import InputError
from pipelines.kinds import KINDS
from pipelines.record_ids import Key, identity
from pipelines.shards import KIND_KEY
from pipelines.trace.files import Part
from pipelines.trace.index import Rows

BATCH = 1000
"""Records that are Python objects at a time."""

PLACE = ("file", "row")
"""Columns that files of older versions may lack."""


def rows_of(part: Part, role: str) -> Rows:
    """The members and parents that a file names. Raises `InputError` for one of another form."""
    try:
        data = part.read()
        if role == "records":
            return Rows(members=list(_members(data)))
        lines = [json.loads(line) for line in data.decode().split("\n") if line]
        if role == "lineage":
            pairs = [(bytes.fromhex(row["id"]), bytes.fromhex(row["parent"])) for row in lines]
            return Rows(parents=pairs)
        if role == "answers":
            lines = [row for row in lines if row.get("id")]
        return Rows(members=[_listed(row) for row in lines])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        found = f"not readable as {role} ({type(error).__name__})"
        raise InputError(found, where=str(part.path)) from None


def tables(part: Part) -> Iterator[tuple[pa.Table, str]]:
    """The records of a shard with their kind; nothing where it has no texts of a known kind."""
    try:
        file = pq.ParquetFile(pa.BufferReader(part.read()))
        kind = (file.schema_arrow.metadata or {}).get(KIND_KEY, b"").decode()
        forms = (KINDS[kind].schema, KINDS[kind].labelled_schema) if kind in KINDS else ()
        if any(file.schema_arrow.equals(form, check_metadata=False) for form in forms):
            yield file.read(), kind
    except (pa.ArrowException, OSError, ValueError) as error:
        found = f"not readable as records ({type(error).__name__})"
        raise InputError(found, where=str(part.path)) from None


def redacted(part: Part, key: Key) -> Rows:
    """The records of a shard that are not as they were ingested: their content has another id."""
    found = []
    for table, kind in tables(part):
        columns = ["id", *KINDS[kind].content_columns]
        for batch in table.select(columns).to_batches(max_chunksize=BATCH):
            for row in batch.to_pylist():
                record = row.pop("id")
                if key.record_id(kind, identity(kind, row)) != record:
                    found.append(bytes.fromhex(record))
    return Rows(redacted=found)


def _members(data: bytes) -> Iterator[tuple[bytes, str, int, str]]:
    file = pq.ParquetFile(pa.BufferReader(data))
    table = file.read(["id", *(name for name in PLACE if name in file.schema_arrow.names)])
    ids = map(bytes.fromhex, table["id"].to_pylist())
    if table.num_columns == 1:
        for record in ids:
            yield record, "", 0, ""
        return
    places = (table[name].to_pylist() for name in PLACE)
    for record, name, row in zip(ids, *places, strict=True):
        yield record, name, row, ""


def _listed(row: dict[str, Any]) -> tuple[bytes, str, int, str]:
    """A left-out record, or an item of stored answers. A row that never became a record has no
    id.
    """
    place = str(row.get("file", "")), int(row.get("row", 0)), str(row.get("reason", ""))
    return bytes.fromhex(row["id"] or ""), *place
