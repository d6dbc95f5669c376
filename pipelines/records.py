"""Reads, writes and counts records: `records.parquet` and `excluded.jsonl` of every data
stage.

The same table always gives the same bytes, however it is chunked in memory. Nothing here prints
text.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from governance.attest.predicates import DataCounts
from governance.base.errors import InputError
from pipelines.kinds import KINDS

ROW_GROUP = 4096
"""Rows per Parquet row group and per batch. This bounds memory and keeps 32-bit text offsets far
from overflow.
"""

KIND_KEY = b"countersign.kind"
"""Schema metadata key of the kind of a records file."""

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, order=True)
class Excluded:
    """One excluded record and the reason. Never holds record text."""

    id: str | None
    """The record's id, or None if the row never became a record."""
    file: str
    row: int
    """1-based row in the source file."""
    field: str
    reason: str
    """A code of `governance.attest.codes`."""
    detail: str
    """Types, lengths and counts; never record text."""


# --- files ----------------------------------------------------------------------------------------


class RecordWriter:
    """Writes records of one kind in row groups of `ROW_GROUP`. Equal records give equal bytes."""

    def __init__(self, path: Path, kind: str) -> None:
        self._schema = KINDS[kind].schema.with_metadata({KIND_KEY: kind.encode()})
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(
            path, self._schema, compression="zstd", compression_level=3, version="2.6"
        )
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, failure: type[BaseException] | None, *rest: object) -> None:
        if failure is None:
            self._flush()
        self._writer.close()

    def add(self, record: dict[str, Any]) -> None:
        """Adds one record, with all columns of its kind."""
        self._rows.append(record)
        if len(self._rows) == ROW_GROUP:
            self._flush()

    def add_table(self, table: pa.Table) -> None:
        """Adds all records of a table. The writer must be used for nothing else."""
        for start in range(0, table.num_rows, ROW_GROUP):
            part = table.slice(start, ROW_GROUP).select(self._schema.names).cast(self._schema)
            self._writer.write_table(part.combine_chunks(), row_group_size=ROW_GROUP)

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(
                pa.Table.from_pylist(self._rows, schema=self._schema), row_group_size=ROW_GROUP
            )
        self._rows = []


def write_records(path: Path, table: pa.Table, kind: str) -> None:
    """Writes `table` as the records of `kind`; equal tables give equal bytes."""
    with RecordWriter(path, kind) as writer:
        writer.add_table(table)


def read_records(path: Path) -> pa.Table:
    """The records at `path`; their schema must be that of the kind they name. Raises
    `InputError`.
    """
    fix = "`countersign repro` writes it again"
    try:
        table = pq.read_table(path, memory_map=False)
    except FileNotFoundError:
        raise InputError("no such file", where=str(path), fix=fix) from None
    except (pa.ArrowException, OSError) as error:
        found = f"not a readable records file ({type(error).__name__})"
        raise InputError(found, where=str(path), fix=fix) from None
    kind = KINDS.get((table.schema.metadata or {}).get(KIND_KEY, b"").decode("utf-8", "replace"))
    if kind is None or not table.schema.equals(kind.schema, check_metadata=False):
        found = "not a records file of a known kind"
        raise InputError(found, where=str(path), expected=", ".join(KINDS), fix=fix)
    return table


def kind_of(table: pa.Table) -> str:
    """The kind of a table that `read_records` returned."""
    return str((table.schema.metadata or {})[KIND_KEY].decode())


def exclusions(table: pa.Table, reasons: Mapping[int, tuple[str, str, str]]) -> list[Excluded]:
    """The excluded records of a table; `reasons` has the (field, reason, detail) of each row."""
    rows = sorted(reasons)
    sources = table.select(["id", "file", "row"]).take(pa.array(rows, pa.int64())).to_pylist()
    return [
        Excluded(**source, field=field, reason=reason, detail=detail)
        for source, (field, reason, detail) in zip(
            sources, [reasons[row] for row in rows], strict=True
        )
    ]


def write_excluded(path: Path, excluded: Sequence[Excluded]) -> None:
    """One JSON object a line, in source order."""
    ordered = sorted(excluded, key=lambda record: astuple(record)[1:5])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for record in ordered:
            stream.write(json.dumps(asdict(record), sort_keys=True, ensure_ascii=False) + "\n")


def read_excluded(path: Path) -> list[Excluded]:
    """Reads what `write_excluded` wrote. Raises `InputError`."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        return [Excluded(**json.loads(line)) for line in lines if line]
    except (OSError, ValueError, TypeError) as error:
        found = f"not a readable list of excluded records ({type(error).__name__})"
        raise InputError(found, where=str(path)) from None


# --- counts ---------------------------------------------------------------------------------------


def data_counts(records_in: int, table: pa.Table, excluded: Sequence[Excluded]) -> DataCounts:
    """The figures and Merkle roots of a data stage's statement. in = out + excluded."""
    return counts_of(
        records_in, table.column("id").to_pylist(), table.column("split").to_pylist(), excluded
    )


def counts_of(
    records_in: int, ids: Sequence[str], splits: Sequence[str], excluded: Sequence[Excluded]
) -> DataCounts:
    """The same as `data_counts`, from the ids and splits of the records that were kept."""
    by_split = Counter(splits)
    return DataCounts(
        records_in=records_in,
        records_out=len(ids),
        excluded=dict(sorted(Counter(record.reason for record in excluded).items())),
        splits={name: by_split[name] for name in SPLITS if name in by_split},
        records_root=_root(ids),
        excluded_root=_root(
            f"{record.id or ''} {record.file}:{record.row} {record.reason}" for record in excluded
        ),
    )


def _root(leaves: Iterable[str]) -> str:
    """RFC 6962 Merkle tree root over the sorted leaves, as UTF-8."""
    from governance.log import merkle

    return merkle.root_of(merkle.leaf_hash(leaf.encode("utf-8")) for leaf in sorted(leaves)).hex()
