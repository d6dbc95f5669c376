"""Records on disk and their texts: equal bytes, every text reachable and replaceable, honest
counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.base.errors import InputError
from governance.log import merkle
from pipelines.kinds import KINDS
from pipelines.records import (
    ROW_GROUP,
    Excluded,
    RecordWriter,
    Text,
    data_counts,
    kind_of,
    read_excluded,
    read_records,
    replace_texts,
    texts,
    write_excluded,
    write_records,
)


def said(*contents: str) -> list[dict[str, str]]:
    return [
        {"role": "user" if at % 2 == 0 else "assistant", "content": text}
        for at, text in enumerate(contents)
    ]


def common(at: int) -> dict[str, Any]:
    return {
        "id": f"{at:032x}",
        "split": "test" if at % 3 == 0 else "train",
        "file": "a.jsonl",
        "row": at + 1,
    }


CONTENT: dict[str, Any] = {
    "conversation": {"messages": said("Hi", "Hello", "")},
    "preference": {"prompt": said("Q"), "chosen": said("good"), "rejected": said("bad", "worse")},
    "unpaired": {"prompt": said("Q"), "completion": said("A"), "label": True},
    "prompt": {"prompt": said("Q"), "answer": "42"},
    "rated": {
        "prompt": said("Q"),
        "completions": [said("a", "b"), [], said("c")],
        "ratings": [{"rater": "r", "value": 1.0}],
    },
}


def table(kind: str, n: int = 5) -> pa.Table:
    return pa.Table.from_pylist(
        [{**common(at), **CONTENT[kind]} for at in range(n)], schema=KINDS[kind].schema
    )


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
    ("kind", "expected"),
    {
        "conversation": ["messages[0].content", "messages[1].content", "messages[2].content"],
        "preference": [
            "prompt[0].content",
            "chosen[0].content",
            "rejected[0].content",
            "rejected[1].content",
        ],
        "unpaired": ["prompt[0].content", "completion[0].content"],
        "prompt": ["prompt[0].content", "answer"],
        "rated": [
            "prompt[0].content",
            "completions[0][0].content",
            "completions[0][1].content",
            "completions[2][0].content",
        ],
    }.items(),
)
def test_every_text_is_named(kind: str, expected: list[str]) -> None:
    found = list(texts(table(kind, 3), kind))
    assert [one.field for one in found if one.row == 1] == expected
    assert {one.row for one in found} == {0, 1, 2}
    sliced = list(texts(table(kind, 3).slice(1, 1).combine_chunks().to_batches()[0], kind))
    assert [one.text for one in sliced] == [one.text for one in found if one.row == 1]


def test_a_null_answer_is_no_text() -> None:
    rows = [{**common(0), "prompt": said("Q"), "answer": None}]
    assert list(texts(pa.Table.from_pylist(rows, schema=KINDS["prompt"].schema), "prompt")) == [
        Text(0, "prompt[0].content", "Q")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_replacing_changes_the_named_text_and_nothing_else(kind: str) -> None:
    before = table(kind, ROW_GROUP + 2)
    places = [
        (one.row, one.field)
        for one in texts(before, kind)
        if one.row in (0, ROW_GROUP - 1, ROW_GROUP + 1)
    ]
    for place in places:
        after = replace_texts(before, kind, {place: "NEW"})
        changed = {
            (new.row, new.field): new.text
            for old, new in zip(texts(before, kind), texts(after, kind), strict=True)
            if old != new
        }
        assert changed == {place: "NEW"}
        assert after.select(["id", "split", "file", "row"]) == before.select(
            ["id", "split", "file", "row"]
        )


contents = st.lists(st.text(max_size=8), max_size=3)


@given(st.lists(st.lists(contents, max_size=3), min_size=1, max_size=6), st.data())
def test_replacing_texts_of_lists_of_lists_agrees_with_plain_python(
    answers: list[list[list[str]]], data: Any
) -> None:
    rows = [
        {
            **common(at),
            "prompt": said("Q"),
            "completions": [said(*one) for one in row],
            "ratings": [],
        }
        for at, row in enumerate(answers)
    ]
    before = pa.Table.from_pylist(rows, schema=KINDS["rated"].schema)
    places = [(one.row, one.field) for one in texts(before, "rated")]
    chosen = data.draw(st.lists(st.sampled_from(places), unique=True))
    after = {
        (one.row, one.field): one.text
        for one in texts(replace_texts(before, "rated", dict.fromkeys(chosen, "NEW")), "rated")
    }
    assert after == {
        (one.row, one.field): "NEW" if (one.row, one.field) in chosen else one.text
        for one in texts(before, "rated")
    }


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
