"""A dataset on disk: a folder of Parquet shards and their manifest.

1. A shard ends after `SHARD_RECORDS` records or `SHARD_BYTES` of content, and where a source file
   ends if the file or the shard has `FILE_RECORDS`. So a changed or added file leaves the shards
   after it as they are, unless files are small and share one. A later stage writes one shard for
   each shard that it read.
2. Where a shard ends depends on the records and their files alone. Equal records give equal bytes.
3. `manifest.json` has the kind and, for each shard, its sha256, its number of records, and the root
   over their ids. It is RFC 8785 JSON. Statements sign the digest of the folder, which covers it.
4. What is read has the bytes that the manifest names: a shard is hashed and decoded from the same
   bytes. A folder with more or fewer files is refused.
5. A reader holds one shard at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field, ValidationError

from governance.attest import canonical, digests
from governance.attest.predicates import Shard
from governance.base.errors import InputError, VerificationError
from governance.base.model import Model, empty
from pipelines.kinds import KINDS

ROW_GROUP = 4096
"""Records per Parquet row group and per batch. This bounds memory and keeps 32-bit text offsets far
from overflow.
"""

SHARD_RECORDS = 16 * ROW_GROUP
"""Records in a shard, at most."""

SHARD_BYTES = 64 << 20
"""Bytes of content after which a shard ends: canonical JSON, not compressed."""

FILE_RECORDS = ROW_GROUP
"""Files with fewer records share a shard, until it has so many."""

KIND_KEY = b"countersign.kind"
"""Schema metadata key of the kind of a shard."""

MANIFEST = "manifest.json"
AGAIN = "`countersign repro` writes it again"


class Manifest(Model):
    """What a folder of shards holds."""

    kind: str
    shards: list[Shard]
    """In order. Their files are named by their positions."""
    labelled: bool = Field(False, exclude_if=empty)
    """Whether they have the columns of who labelled."""


def shard_name(position: int) -> str:
    """The file of the shard at this position, from 0."""
    return f"{position:05}.parquet"


def schema_of(kind: str, *, labelled: bool) -> pa.Schema:
    """The schema of the shards of a dataset."""
    columns = KINDS[kind].labelled_schema if labelled else KINDS[kind].schema
    return columns.with_metadata({KIND_KEY: kind.encode()})


# --- writing --------------------------------------------------------------------------------------


class RecordWriter:
    """Writes records of one kind to a new folder, and the manifest when all are written."""

    def __init__(self, folder: Path, kind: str, *, labelled: bool = False) -> None:
        """`labelled`: the records say who labelled them."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._kind, self._labelled = folder, kind, labelled
        self._schema = schema_of(kind, labelled=labelled)
        self._file: pq.ParquetWriter | None = None
        self._pending: list[dict[str, Any]] = []
        self._records, self._bytes, self._of_file = 0, 0, 0
        self._ids: list[pa.Array] = []
        self._all_ids: list[pa.Array] = []
        self.shards: list[Shard] = []
        self.splits: Counter[str] = Counter()
        """Split to its number of records."""

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, failure: type[BaseException] | None, *rest: object) -> None:
        if failure is None:
            self._end_shard()
            manifest = Manifest(kind=self._kind, shards=self.shards, labelled=self._labelled)
            data = canonical.dumps(manifest.model_dump(mode="json"))
            (self._folder / MANIFEST).write_bytes(data)
        elif self._file is not None:
            self._file.close()

    def add(self, record: dict[str, Any], size: int) -> None:
        """Adds one record, with all columns of its kind and `size` bytes of content."""
        self._pending.append(record)
        self._records += 1
        self._bytes += size
        self._of_file += 1
        if len(self._pending) == ROW_GROUP:
            self._flush()
        if self._records == SHARD_RECORDS or self._bytes >= SHARD_BYTES:
            self._end_shard()

    def end_file(self) -> None:
        """Says that the source file of the records so far has no more."""
        if max(self._records, self._of_file) >= FILE_RECORDS:
            self._end_shard()
        self._of_file = 0

    def add_shard(self, table: pa.Table) -> None:
        """Adds the records of a table as a shard of their own; none where there are no records."""
        self._end_shard()
        for start in range(0, table.num_rows, ROW_GROUP):
            part = table.slice(start, ROW_GROUP).select(self._schema.names).cast(self._schema)
            self._write(part.combine_chunks())
        self._records = table.num_rows
        self._end_shard()

    def records_root(self) -> str:
        """The root over the ids of all records."""
        return records_root(self._all_ids)

    def _flush(self) -> None:
        if self._pending:
            self._write(pa.Table.from_pylist(self._pending, schema=self._schema))
        self._pending = []

    def _write(self, part: pa.Table) -> None:
        """Writes one row group."""
        if self._file is None:
            path = self._folder / shard_name(len(self.shards))
            self._file = pq.ParquetWriter(
                path, self._schema, compression="zstd", compression_level=3, version="2.6"
            )
        self._file.write_table(part, row_group_size=ROW_GROUP)
        self._ids += part.column("id").chunks
        self.splits.update(part.column("split").to_pylist())

    def _end_shard(self) -> None:
        self._flush()
        if self._file is None:
            return
        self._file.close()
        name = shard_name(len(self.shards))
        sha256 = digests.sha256_file(self._folder / name)
        root = records_root(self._ids)
        shard = Shard(file=name, sha256=sha256, records=self._records, records_root=root)
        self.shards.append(shard)
        self._all_ids += self._ids
        self._file, self._ids, self._records, self._bytes = None, [], 0, 0


def records_root(ids: Iterable[pa.Array]) -> str:
    """The RFC 6962 root over the sorted ids, as UTF-8."""
    from governance.log import merkle

    together = pa.concat_arrays([pa.array([], pa.string()), *ids]).cast(pa.large_string())
    order = pc.sort_indices(together)  # UTF-8 in the order of bytes is text in that of code points

    def leaves() -> Iterator[bytes]:
        for start in range(0, len(order), ROW_GROUP):
            for leaf in together.take(order.slice(start, ROW_GROUP)).to_pylist():
                yield merkle.leaf_hash(leaf.encode())

    return merkle.root_of(leaves()).hex()


# --- reading --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StoredRecords:
    """The records of a folder, by its manifest."""

    folder: Path
    kind: str
    shards: tuple[Shard, ...]
    labelled: bool = False
    """Whether they say who labelled them."""

    def __len__(self) -> int:
        return sum(shard.records for shard in self.shards)

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The records, shard by shard: all columns, or those named. Raises `InputError` where a
        shard is not what the manifest says.
        """
        for shard in self.shards:
            yield self._read(shard, columns)

    def table(self) -> pa.Table:
        """All records. For what needs the whole dataset at once."""
        schema = schema_of(self.kind, labelled=self.labelled)
        return pa.concat_tables([schema.empty_table(), *self.tables()])

    def _read(self, shard: Shard, columns: Sequence[str] | None) -> pa.Table:
        path = self.folder / shard.file
        try:
            data = path.read_bytes()
        except OSError as error:
            raise _unreadable(path, error) from None
        if (found := digests.sha256_bytes(data)) != shard.sha256:
            raise InputError(
                f"other bytes than its manifest names: sha256 {found[:12]}",
                expected=shard.sha256[:12],
                where=str(path),
                fix=AGAIN,
            )
        try:
            file = pq.ParquetFile(pa.BufferReader(data))
            self._require(path, shard, file)
            return file.read(columns)
        except (pa.ArrowException, OSError) as error:
            found = f"not a readable Parquet file ({type(error).__name__})"
            raise InputError(found, where=str(path), fix=AGAIN) from None

    def _require(self, path: Path, shard: Shard, file: pq.ParquetFile) -> None:
        """Raises `InputError` unless a shard has the columns of its kind and as many records as the
        manifest says.
        """
        schema, records = file.schema_arrow, file.metadata.num_rows
        same = schema.equals(schema_of(self.kind, labelled=self.labelled), check_metadata=False)
        if not same or (schema.metadata or {}).get(KIND_KEY) != self.kind.encode():
            found, expected = "other columns than its kind has", f"records of kind {self.kind}"
            raise InputError(found, expected=expected, where=str(path), fix=AGAIN)
        if records != shard.records:
            expected = f"{shard.records}, as its manifest says"
            raise InputError(f"{records} records", expected=expected, where=str(path), fix=AGAIN)


def open_records(folder: Path, kind: str | None = None) -> StoredRecords:
    """The records of a folder, which must be of this kind if one is given; its shards are not read
    yet. Raises `InputError`.
    """
    if not folder.is_dir():
        raise _not_there(folder)
    manifest = _manifest(folder / MANIFEST)
    if kind not in (None, manifest.kind):
        found, expected = f"records of kind {manifest.kind}", f"records of kind {kind}"
        raise InputError(found, expected=expected, where=str(folder), fix=AGAIN)
    named = {MANIFEST, *(shard.file for shard in manifest.shards)}
    here = {path.name for path in folder.iterdir()}
    if named != here:
        lines = [f"{name} is missing" for name in sorted(named - here)]
        lines += [f"{name} is not in its manifest" for name in sorted(here - named)]
        raise InputError(", ".join(lines[:3]), where=str(folder), fix=AGAIN)
    return StoredRecords(folder, manifest.kind, tuple(manifest.shards), manifest.labelled)


def of_split(table: pa.Table, split: str) -> pa.Table:
    """The records of a split."""
    return table.filter(pc.equal(table["split"], split))


def read_records(folder: Path) -> pa.Table:
    """All records of a folder. Raises `InputError`."""
    return open_records(folder).table()


def _not_there(folder: Path) -> InputError:
    if folder.is_file() or folder.with_suffix(".parquet").is_file():
        found = "the records are one file, as older versions of Countersign wrote it"
        expected = f"a folder of shards with {MANIFEST}"
        fix = "`countersign upgrade`, then `countersign repro`: it writes them again as shards"
        return InputError(found, expected=expected, where=str(folder), fix=fix)
    return InputError("no such folder", where=str(folder), fix=AGAIN)


def _manifest(path: Path) -> Manifest:
    """Parses a manifest. It names files by their positions only, so none is outside its folder."""
    try:
        data = path.read_bytes()
        value = canonical.loads(data, where=str(path))
        manifest = Manifest.model_validate(value)
        if canonical.dumps(value) != data:
            raise ValueError("it is not in canonical form")
        if manifest.kind not in KINDS:
            raise ValueError("its kind is not known")
        if [shard.file for shard in manifest.shards] != _names(len(manifest.shards)):
            raise ValueError("its files are not named by their positions")
    except OSError as error:
        raise _unreadable(path, error) from None
    except (VerificationError, ValidationError):
        raise InputError("not a manifest of shards", where=str(path), fix=AGAIN) from None
    except ValueError as error:
        found = f"not a manifest of shards: {error}"
        raise InputError(found, where=str(path), fix=AGAIN) from None
    return manifest


def _names(count: int) -> list[str]:
    return [shard_name(position) for position in range(count)]


def _unreadable(path: Path, error: OSError) -> InputError:
    found = f"cannot be read: {error.strerror or error}"
    return InputError(found, where=str(path), fix=AGAIN)
