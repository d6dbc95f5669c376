"""Records on disk and their texts: equal bytes, every text reachable and replaceable, honest
counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from governance.base.errors import InputError
from governance.log import merkle
from pipelines.kinds import KINDS
from pipelines.records import (
    ROW_GROUP,
    Excluded,
    RecordWriter,
    data_counts,
    kind_of,
    read_excluded,
    read_records,
    write_excluded,
    write_records,
)
from tests.pipelines.every_kind import table


@pytest.mark.parametrize("kind", KINDS)
def test_records_come_back_as_they_were_written(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "records.parquet"
    write_records(path, table(kind), kind)
    assert read_records(path).to_pylist() == table(kind).to_pylist()
    assert kind_of(read_records(path)) == kind


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_do_not_depend_on_chunks_slices_or_the_way_of_writing(
    tmp_path: Path, kind: str
) -> None:
    whole = table(kind, ROW_GROUP + 7)
    parts = pa.concat_tables([whole.slice(0, 3), whole.slice(3, 4000), whole.slice(4003)])
    write_records(tmp_path / "a", whole, kind)
    write_records(tmp_path / "b", parts, kind)
    with RecordWriter(tmp_path / "c", kind) as writer:
        for record in whole.to_pylist():
            writer.add(record)
    write_records(tmp_path / "d", read_records(tmp_path / "a"), kind)
    assert len({(tmp_path / name).read_bytes() for name in "abcd"}) == 1


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("cut off", lambda path: path.write_bytes(path.read_bytes()[:-20])),
        ("not Parquet", lambda path: path.write_text("hello")),
        ("another schema", lambda path: pq.write_table(pa.table({"id": ["1"]}), path)),
        ("absent", lambda path: path.unlink()),
    ],
)
def test_what_is_no_records_file_is_an_input_error(tmp_path: Path, name: str, damage: Any) -> None:
    path = tmp_path / "records.parquet"
    write_records(path, table("prompt"), "prompt")
    damage(path)
    with pytest.raises(InputError, match=r"records\.parquet"):
        read_records(path)


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


def test_counts_add_up_and_roots_bind_the_ids_whatever_their_order() -> None:
    excluded = [
        Excluded(None, "a", 7, "", "ROW_UNREADABLE", ""),
        Excluded("9", "a", 8, "", "DUPLICATE", ""),
    ]
    counts = data_counts(7, table("prompt"), excluded)
    assert counts.records_in == counts.records_out + sum(counts.excluded.values())
    assert counts.splits == {"train": 3, "test": 2}
    ids = sorted(table("prompt").column("id").to_pylist())
    assert (
        counts.records_root == merkle.root_of(merkle.leaf_hash(one.encode()) for one in ids).hex()
    )
    turned = table("prompt").take(pa.array([4, 2, 0, 1, 3]))
    assert data_counts(7, turned, excluded[::-1]) == counts
    assert data_counts(7, table("prompt", 4), excluded).records_root != counts.records_root
    assert data_counts(7, table("prompt"), excluded[:1]).excluded_root != counts.excluded_root
