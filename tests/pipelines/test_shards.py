"""A dataset on disk: equal bytes however it is written, bounded shards, and a reader that notices
every other file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.attest import canonical, digests
from governance.base.errors import InputError
from governance.log import merkle
from pipelines import shards
from pipelines.kinds import KINDS
from pipelines.shards import (
    MANIFEST,
    ROW_GROUP,
    Manifest,
    RecordWriter,
    open_records,
    read_records,
    shard_name,
)
from tests.pipelines.every_kind import table
from tests.pipelines.tables import contents_of, write_records


def root(ids: list[str]) -> str:
    return merkle.root_of(merkle.leaf_hash(one.encode()) for one in sorted(ids)).hex()


def write_one_by_one(folder: Path, records: pa.Table, kind: str, size: int = 1) -> None:
    with RecordWriter(folder, kind) as writer:
        for record in records.to_pylist():
            writer.add(record, size)


def sizes(folder: Path) -> list[int]:
    return [shard.records for shard in open_records(folder).shards]


# --- writing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_records_come_back_as_they_were_written(tmp_path: Path, kind: str) -> None:
    write_records(tmp_path / "d", table(kind), kind, most=2)
    stored = open_records(tmp_path / "d", kind)
    assert (stored.kind, len(stored), sizes(tmp_path / "d")) == (kind, 5, [2, 2, 1])
    assert read_records(tmp_path / "d").to_pylist() == table(kind).to_pylist()
    ids = [one for part in stored.tables(["id"]) for one in part.column("id").to_pylist()]
    assert ids == table(kind).column("id").to_pylist()


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_do_not_depend_on_chunks_slices_or_the_way_of_writing(
    tmp_path: Path, kind: str
) -> None:
    whole = table(kind, ROW_GROUP + 7)
    parts = pa.concat_tables([whole.slice(0, 3), whole.slice(3, 4000), whole.slice(4003)])
    write_records(tmp_path / "a", whole, kind)
    write_records(tmp_path / "b", parts, kind)
    write_one_by_one(tmp_path / "c", whole, kind)
    write_records(tmp_path / "d", read_records(tmp_path / "a"), kind)
    first, *others = [contents_of(tmp_path / name) for name in "abcd"]
    assert all(other == first for other in others)


def test_the_manifest_says_what_the_shards_are(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    write_records(folder, table("prompt"), "prompt", most=3)
    said = json.loads((folder / MANIFEST).read_bytes())
    assert said["kind"] == "prompt"
    for shard, part in zip(said["shards"], open_records(folder).tables(), strict=True):
        assert shard == {
            "file": shard["file"],
            "sha256": digests.sha256_file(folder / shard["file"]),
            "records": part.num_rows,
            "records_root": root(part.column("id").to_pylist()),
        }
    assert [shard["file"] for shard in said["shards"]] == ["00000.parquet", "00001.parquet"]


def test_no_records_are_a_manifest_without_shards(tmp_path: Path) -> None:
    write_records(tmp_path / "d", table("prompt", 0), "prompt")
    assert list(contents_of(tmp_path / "d")) == [MANIFEST]
    assert read_records(tmp_path / "d").schema.equals(KINDS["prompt"].schema)


def bounded(monkeypatch: pytest.MonkeyPatch, records: int, size: int, of_file: int) -> None:
    monkeypatch.setattr(shards, "SHARD_RECORDS", records)
    monkeypatch.setattr(shards, "SHARD_BYTES", size)
    monkeypatch.setattr(shards, "FILE_RECORDS", of_file)


BOUNDS: dict[str, tuple[list[list[int]], list[int]]] = {
    # files, each with the sizes of its records; records of each shard
    "as many records as a shard may have": ([[1] * 9], [4, 4, 1]),
    "as many bytes as a shard may have": ([[60, 60, 60, 200, 1]], [2, 2, 1]),
    "a file that is large enough ends its shard": ([[1] * 3, [1] * 3], [3, 3]),
    "small files share a shard": ([[1], [1], [1], [1]], [3, 1]),
    "a small file after a large one": ([[1] * 3, [1], [1] * 3], [3, 4]),
    "a large file of which the last shard is small": ([[1] * 5, [1] * 3], [4, 1, 3]),
    "a shard that is full at the end of a file": ([[1] * 4, [1] * 2], [4, 2]),
}


@pytest.mark.parametrize("case", BOUNDS)
def test_a_shard_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    files, expected = BOUNDS[case]
    bounded(monkeypatch, 4, 100, 3)
    records = iter(table("prompt", 20).to_pylist())
    with RecordWriter(tmp_path / "d", "prompt") as writer:
        for file in files:
            for size in file:
                writer.add(next(records), size)
            writer.end_file()
    assert sizes(tmp_path / "d") == expected


ADDED: dict[str, tuple[tuple[int, int, int], int, int]] = {
    # records of the files a, b and c, of which b is added; shards before, and those that stay
    "between large files": ((7, 3, 8), 4, 4),
    "a small one, which the next file joins": ((7, 1, 8), 4, 2),
    "after a file whose last shard has room": ((6, 3, 7), 4, 4),
}


@pytest.mark.parametrize("case", ADDED)
def test_an_added_file_changes_only_its_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    (a, b, c), number, kept = ADDED[case]
    bounded(monkeypatch, 4, 100, 3)
    records = table("prompt", 30).to_pylist()
    files = {"a": records[:a], "b": records[10 : 10 + b], "c": records[20 : 20 + c]}

    def made(names: str) -> list[str]:
        with RecordWriter(tmp_path / names, "prompt") as writer:
            for name in names:
                for record in files[name]:
                    writer.add(record, 1)
                writer.end_file()
        return [shard.sha256 for shard in open_records(tmp_path / names).shards]

    before, after = made("ac"), made("abc")
    assert (len(before), len(set(before) & set(after))) == (number, kept)


@given(st.lists(st.text(max_size=6), max_size=40))
def test_the_root_is_over_the_sorted_ids(ids: list[str]) -> None:
    half = len(ids) // 2
    parts = [pa.array(ids[:half], pa.string()), pa.array(ids[half:], pa.string())]
    assert shards.records_root(parts) == root(ids)


def test_a_writer_that_fails_leaves_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), RecordWriter(tmp_path / "d", "prompt") as writer:
        writer.add_shard(table("prompt"))
        raise ZeroDivisionError
    with pytest.raises(InputError):
        open_records(tmp_path / "d")


# --- reading --------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_records(tmp_path / "d", table("prompt"), "prompt", most=3)
    return tmp_path / "d"


def rewritten(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """The manifest with a change, in its right form."""
    content = json.loads((folder / MANIFEST).read_bytes())
    change(content)
    (folder / MANIFEST).write_bytes(canonical.dumps(content))


def another_table(folder: Path, other: pa.Table) -> None:
    """The second shard has this content, and the manifest its digest."""
    path = folder / shard_name(1)
    pq.write_table(other, path)
    rewritten(folder, lambda said: said["shards"][1].update(sha256=digests.sha256_file(path)))


def shard_as(folder: Path, name: str) -> None:
    rewritten(folder, lambda said: said["shards"][1].update(file=name))


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "a shard is missing": (lambda d: (d / shard_name(1)).unlink(), "00001.parquet is missing"),
    "a file too many": (
        lambda d: (d / "00002.parquet").write_bytes(b""),
        "00002.parquet is not in its manifest",
    ),
    "other bytes": (
        lambda d: (d / shard_name(1)).write_bytes(b"x"),
        "other bytes than its manifest names",
    ),
    "shards swapped": (
        lambda d: (
            (d / shard_name(0)).rename(d / "x"),
            (d / shard_name(1)).rename(d / shard_name(0)),
            (d / "x").rename(d / shard_name(1)),
        ),
        "other bytes than its manifest names",
    ),
    "a folder in the place of a shard": (
        lambda d: ((d / shard_name(1)).unlink(), (d / shard_name(1)).mkdir()),
        "cannot be read",
    ),
    "no manifest": (lambda d: (d / MANIFEST).unlink(), "cannot be read"),
    "an empty manifest": (lambda d: (d / MANIFEST).write_bytes(b""), "not a manifest"),
    "a manifest of something else": (lambda d: (d / MANIFEST).write_bytes(b"[]"), "not a manifest"),
    "not canonical": (
        lambda d: (d / MANIFEST).write_bytes((d / MANIFEST).read_bytes() + b"\n"),
        "not in canonical form",
    ),
    "a member more": (lambda d: rewritten(d, lambda said: said.update(x=1)), "not a manifest"),
    "an unknown kind": (
        lambda d: rewritten(d, lambda said: said.update(kind="video")),
        "its kind is not known",
    ),
    "another kind": (
        lambda d: rewritten(d, lambda said: said.update(kind="rated")),
        "other columns than its kind has",
    ),
    "fewer records than it says": (
        lambda d: rewritten(d, lambda said: said["shards"][1].update(records=3)),
        "2 records",
    ),
    "a shard without records": (
        lambda d: rewritten(d, lambda said: said["shards"][1].update(records=0)),
        "not a manifest",
    ),
    "a file outside": (lambda d: shard_as(d, "../00001.parquet"), "not a manifest"),
    "an absolute path": (lambda d: shard_as(d, "/etc/passwd"), "not a manifest"),
    "a shard twice": (lambda d: shard_as(d, shard_name(0)), "not named by their positions"),
    "not Parquet": (
        lambda d: (
            (d / shard_name(1)).write_bytes(b"hello"),
            rewritten(
                d,
                lambda said: said["shards"][1].update(sha256=digests.sha256_bytes(b"hello")),
            ),
        ),
        "not a readable Parquet file",
    ),
    "other columns": (
        lambda d: another_table(d, pa.table({"id": ["1", "2"]})),
        "other columns than its kind has",
    ),
    "a shard that does not say its kind": (
        lambda d: another_table(d, table("prompt", 2)),
        "other columns than its kind has",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_another_folder_is_refused_and_told_why(folder: Path, case: str) -> None:
    spoil, told = WRONG[case]
    spoil(folder)
    with pytest.raises(InputError) as error:
        read_records(folder)
    assert told in error.value.found and "countersign repro" in error.value.fix
    assert error.value.where.startswith(str(folder))


def test_the_single_file_of_an_older_version_is_named(tmp_path: Path) -> None:
    pq.write_table(table("prompt"), tmp_path / "records.parquet")
    for path in (tmp_path / "records", tmp_path / "records.parquet"):
        with pytest.raises(InputError, match="one file") as error:
            open_records(path)
        assert "countersign repro" in error.value.fix
    with pytest.raises(InputError, match="no such folder"):
        open_records(tmp_path / "elsewhere")


def test_records_of_another_kind_than_wanted_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="records of kind prompt"):
        open_records(folder, "rated")


SMALL = table("prompt", 4)


@settings(max_examples=200)
@given(st.data())
def test_any_change_of_any_file_fails_or_is_another_digest(
    tmp_path_factory: pytest.TempPathFactory, data: Any
) -> None:
    folder = tmp_path_factory.mktemp("fuzz") / "d"
    write_records(folder, SMALL, "prompt", most=2)
    before = digests.tree_digest(folder)
    path = folder / data.draw(st.sampled_from(sorted(contents_of(folder))))
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    how = data.draw(st.sampled_from(["flip", "cut", "insert"]))
    if how == "flip":
        content[at] ^= data.draw(st.integers(1, 255))
    elif how == "cut":
        del content[at:]
    else:
        content[at:at] = data.draw(st.binary(min_size=1, max_size=4))
    path.write_bytes(bytes(content))
    assert digests.tree_digest(folder) != before
    try:
        assert read_records(folder).to_pylist() == SMALL.to_pylist(), "other records are read"
    except InputError:
        return
    assert path.name == MANIFEST, "the bytes of a shard are compared when it is read"
    assert [shard.records_root for shard in open_records(folder).shards] != [
        root(part.column("id").to_pylist()) for part in open_records(folder).tables()
    ], "only a root can differ unnoticed"


any_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["kind", "shards", "file", "x"]), inner, max_size=3)
    ),
)


@given(st.binary(max_size=60) | any_json.map(canonical.dumps))
def test_a_manifest_is_parsed_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("manifest")
    (folder / MANIFEST).write_bytes(content)
    try:
        stored = open_records(folder)
    except InputError:
        return
    said = Manifest(kind=stored.kind, shards=list(stored.shards))
    assert canonical.dumps(said.model_dump(mode="json")) == content
