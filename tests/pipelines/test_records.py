"""The texts of records, each reachable and replaceable, and honest counts."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from governance.attest.predicates import DataCounts
from governance.base.errors import InputError
from governance.log import merkle
from pipelines.records import (
    Excluded,
    counts_of,
    read_excluded,
    write_excluded,
)
from pipelines.shards import RecordWriter
from tests.pipelines.every_kind import table


def test_the_excluded_come_back_in_source_order(tmp_path: Path) -> None:
    some = [
        Excluded(None, "b.csv", 2, "", "ROW_UNREADABLE", "3 fields"),
        Excluded("1f", "a.csv", 9, "x", "DUPLICATE", ""),
    ]
    write_excluded(tmp_path / "e.jsonl", some)
    assert read_excluded(tmp_path / "e.jsonl") == [some[1], some[0]]
    (tmp_path / "e.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(InputError):
        read_excluded(tmp_path / "e.jsonl")


def test_counts_add_up_and_roots_bind_the_ids_whatever_their_order(tmp_path: Path) -> None:
    excluded = [
        Excluded(None, "a", 7, "", "ROW_UNREADABLE", ""),
        Excluded("9", "a", 8, "", "DUPLICATE", ""),
    ]

    def counted(records: pa.Table, left_out: list[Excluded]) -> DataCounts:
        with RecordWriter(tmp_path / "d", "prompt") as writer:
            writer.add_shard(records)
        return counts_of(7, writer, left_out)

    counts = counted(table("prompt"), excluded)
    assert counts.records_in == counts.records_out + sum(counts.excluded.values())
    assert counts.splits == {"train": 3, "test": 2}
    assert [shard.records for shard in counts.shards] == [5]
    ids = sorted(table("prompt").column("id").to_pylist())
    root = merkle.root_of(merkle.leaf_hash(one.encode()) for one in ids).hex()
    assert counts.records_root == counts.shards[0].records_root == root
    turned = counted(table("prompt").take(pa.array([4, 2, 0, 1, 3])), excluded[::-1])
    assert turned.model_copy(update={"shards": counts.shards}) == counts
    assert counted(table("prompt", 4), excluded).records_root != counts.records_root
    assert counted(table("prompt"), excluded[:1]).excluded_root != counts.excluded_root
