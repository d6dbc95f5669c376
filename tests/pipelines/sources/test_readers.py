"""Reading files: every row by its place, every defect by its name, whole-file damage as one clear
error.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.base.errors import ConfigError, CountersignError, InputError
from pipelines.sources import readers
from pipelines.sources.plain_names import plain_file, plain_name
from pipelines.sources.readers import read_rows, source_files

SECRET = "zanzibar"
"""A text that no message may repeat."""


def rows(
    tmp_path: Path, name: str, content: bytes | str, encoding: str = "utf-8"
) -> list[tuple[int, Any]]:
    """(row, value or reason) of a file with this content."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return [
        (row.row, row.problem.reason if row.problem else row.value)
        for row in read_rows(path, encoding)
    ]


GOOD = [{"a": "one\ntwo"}, {"a": 'drei, "vier" é 你好 \u2028'}]

FORMS: dict[str, tuple[str, str]] = {
    "JSON Lines": ("x.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in GOOD)),
    "JSON Lines, escaped, CRLF": ("x.ndjson", "\r\n".join(map(json.dumps, GOOD)) + "\r\n"),
    "JSON Lines with a BOM": ("x.jsonl", "\ufeff" + "\n".join(map(json.dumps, GOOD))),
    "JSON array": ("x.json", json.dumps(GOOD, indent=2)),
    "JSON array on one line, with a BOM": ("x.json", "\ufeff" + json.dumps(GOOD)),
    "JSON object with data": ("x.json", json.dumps({"version": [1], "data": GOOD})),
    "JSON object with one list": ("x.json", json.dumps({"version": 1, "rows": GOOD})),
    "JSON Lines called .json": ("x.json", "\n".join(map(json.dumps, GOOD))),
    "CSV with quoted line breaks": (
        "x.csv",
        'a\r\n"one\ntwo"\r\n"drei, ""vier"" é 你好 \u2028"\r\n',
    ),
    "CSV with a BOM": ("x.csv", '\ufeffa\n"one\ntwo"\n"drei, ""vier"" é 你好 \u2028"\n'),
    "TSV": ("x.tsv", 'a\tb\n"one\ntwo"\t1\n"drei, ""vier"" é 你好 \u2028"\t2\n'),
    "CSV with semicolons": ("x.csv", 'a;b\n"one\ntwo";1\n"drei, ""vier"" é 你好 \u2028";2\n'),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_rows(tmp_path: Path, form: str) -> None:
    assert [value["a"] for _, value in rows(tmp_path, *FORMS[form])] == [row["a"] for row in GOOD]


def test_parquet_is_read_with_its_nested_values(tmp_path: Path) -> None:
    given = [
        {"messages": [{"role": "user", "content": "x"}], "label": None},
        {"messages": [], "label": True},
    ]
    pq.write_table(pa.Table.from_pylist(given), tmp_path / "x.parquet")
    assert [row.value for row in read_rows(tmp_path / "x.parquet")] == given


ODD_PARQUET: dict[str, pa.Array] = {
    "a date after the year 9999": pa.array([1, 9_999_999], pa.int32()).cast(pa.date32()),
    "a time after the year 9999": pa.array([1, 2**60], pa.int64()).cast(pa.timestamp("us")),
    "an object that names a field twice": pa.StructArray.from_arrays(
        [pa.array([1, 2])] * 2, names=["x", "x"]
    ),
    "text that is not UTF-8": pa.Array.from_buffers(
        pa.string(), 2, pa.array([b"a", b"\xff"]).buffers()
    ),
}


@pytest.mark.parametrize("odd", ODD_PARQUET)
def test_a_parquet_value_that_python_cannot_hold_is_told_as_that(tmp_path: Path, odd: str) -> None:
    pq.write_table(pa.table({"a": ODD_PARQUET[odd]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"x\.parquet"):
        list(read_rows(tmp_path / "x.parquet"))


ROW_DEFECTS: dict[str, tuple[str, str | bytes, list[tuple[int, Any]]]] = {
    "broken line": (
        "x.jsonl",
        '{"a": 1}\n{"a": \n{"a": 3}\n',
        [(1, {"a": 1}), (2, "ROW_UNREADABLE"), (3, {"a": 3})],
    ),
    "blank lines are nothing": (
        "x.jsonl",
        '\n{"a": 1}\n   \n{"a": 2}',
        [(2, {"a": 1}), (4, {"a": 2})],
    ),
    "a list, a number, text": (
        "x.jsonl",
        '[1]\n3\n"x"\n',
        [(1, "ROW_NOT_OBJECT"), (2, "ROW_NOT_OBJECT"), (3, "ROW_NOT_OBJECT")],
    ),
    "a list within the list": (
        "x.json",
        '[{"a": 1}, [2], null]',
        [(1, {"a": 1}), (2, "ROW_NOT_OBJECT"), (3, "ROW_NOT_OBJECT")],
    ),
    "repeated key": (
        "x.jsonl",
        '{"a": 1, "a": 2}\n{"a": {"b": 1, "b": 2}}\n',
        [(1, "KEY_REPEATED"), (2, "KEY_REPEATED")],
    ),
    "repeated key in an array": (
        "x.json",
        '[{"a": 1, "a": 2}, {"a": 3}]',
        [(1, "KEY_REPEATED"), (2, {"a": 3})],
    ),
    "Latin-1 in one line": (
        "x.jsonl",
        b'{"a": "caf\xe9"}\n{"a": 1}\n',
        [(1, "ROW_ENCODING"), (2, {"a": 1})],
    ),
    "Latin-1 in one CSV row": (
        "x.csv",
        b"a\ncaf\xe9\ntea\n",
        [(2, "ROW_ENCODING"), (3, {"a": "tea"})],
    ),
    "nested without end": (
        "x.jsonl",
        '{"a": ' + "[" * 100000 + "\n" + '{"a": 1}\n',
        [(1, "ROW_UNREADABLE"), (2, {"a": 1})],
    ),
    "a number of 5000 digits": (
        "x.jsonl",
        '{"a": ' + "9" * 5000 + '}\n{"a": 1}\n',
        [(1, "ROW_UNREADABLE"), (2, {"a": 1})],
    ),
    "NUL bytes, far into text": (
        "x.jsonl",
        b" " * 5000 + b'\n\0\0\0\n{"a": 1}\n',
        [(2, "ROW_UNREADABLE"), (3, {"a": 1})],
    ),
    "too few fields": (
        "x.csv",
        "a,b\n1\n1,2\n1,2,3\n",
        [(2, "ROW_UNREADABLE"), (3, {"a": "1", "b": "2"}), (4, "ROW_UNREADABLE")],
    ),
    "rows after a quoted line break": (
        "x.csv",
        'a,b\n"1\n1",2\n3\n',
        [(2, {"a": "1\n1", "b": "2"}), (4, "ROW_UNREADABLE")],
    ),
}


@pytest.mark.parametrize("defect", ROW_DEFECTS)
def test_a_defect_of_a_row_is_named_and_the_rows_after_it_are_read(
    tmp_path: Path, defect: str
) -> None:
    name, content, expected = ROW_DEFECTS[defect]
    assert rows(tmp_path, name, content) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x.jsonl", "x.csv"])
def test_a_line_of_50_mb_is_left_out_and_the_next_is_read(tmp_path: Path, name: str) -> None:
    long = "y" * (50 << 20)
    content = f'{{"a": "{long}"}}\n{{"a": "b"}}\n' if name == "x.jsonl" else f"a\n{long}\nb\n"
    found = rows(tmp_path, name, content)
    assert [value for _, value in found] == ["ROW_TOO_LONG", {"a": "b"}]


FILE_DEFECTS: dict[str, tuple[str, str | bytes, str]] = {
    "JSONL cut off": ("x.jsonl", '{"a": 1}\n{"a": "zanz', r"x\.jsonl:2: .*cut off"),
    "array cut off between rows": ("x.json", '[{"a": 1},\n{"a": 2}', r"x\.json:2: .*cut off"),
    "array cut off within a row": (
        "x.json",
        '[{"a": 1},\n{"a": "zanzibar',
        r"x\.json:2: .*cut off",
    ),
    "array without a comma": ("x.json", '[{"a": 1}\n{"a": 2}]', r"x\.json:2: no comma"),
    "broken JSON": ("x.json", '[{"a": 1},\n{"a" zanzibar}]', r"x\.json:2: not valid JSON"),
    "object without a list": ("x.json", '{"a": 1}', "object with 0 lists"),
    "object with two lists": ("x.json", '{"train": [], "test": []}', "object with 2 lists"),
    "JSON in Latin-1": ("x.json", b'[{"a": "caf\xe9"}]', "encoding"),
    "UTF-16": ("x.jsonl", '{"a": 1}\n'.encode("utf-16"), "this is utf-16"),
    "gzip": ("x.jsonl", b"\x1f\x8b\x08\x00zanzibar", "this is gzip"),
    "CSV within quotes": ("x.csv", 'a,b\n1,"zanzibar\n', "cut off"),
    "CSV, column twice": ("x.csv", "a,b,a\n1,2,3\n", "column named twice: a"),
    "CSV without header": ("x.csv", "\n1,2\n", "no header"),
    "Parquet that is none": ("x.parquet", b"PAR1zanzibar", "not a readable Parquet"),
    "empty Parquet": ("x.parquet", b"", "not a readable Parquet"),
    "no reader": ("x.xlsx", b"zanzibar", r"no reader for \.xlsx"),
}


@pytest.mark.parametrize("defect", FILE_DEFECTS)
def test_a_damaged_file_is_one_clear_error_without_its_text(tmp_path: Path, defect: str) -> None:
    name, content, match = FILE_DEFECTS[defect]
    with pytest.raises(InputError, match=match) as caught:
        rows(tmp_path, name, content)
    assert caught.value.exit_code == 3 and SECRET not in str(caught.value)


def test_a_file_in_another_encoding_is_read_when_it_is_named(tmp_path: Path) -> None:
    assert rows(tmp_path, "x.jsonl", '{"a": "café"}\n'.encode("cp1252"), "cp1252") == [
        (1, {"a": "café"})
    ]
    assert rows(tmp_path, "x.jsonl", '{"a": "café"}\n'.encode("utf-16"), "utf-16") == [
        (1, {"a": "café"})
    ]
    with pytest.raises(ConfigError, match="no encoding"):
        rows(tmp_path, "x.jsonl", "{}", "utf-99")


def test_problems_tell_place_and_type_but_no_text(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(f'{{"{SECRET} @": 1, "{SECRET} @": 2}}\n{SECRET}\n"{SECRET}"\n')
    told = [f"{row.problem.field} {row.problem.detail}" for row in read_rows(path) if row.problem]
    assert len(told) == 3 and not any(SECRET in one for one in told)


def test_a_folder_gives_its_data_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a/z.csv", "LICENSE", "README.md", "a.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert [name for name, _ in source_files(tmp_path)] == ["a.parquet", "a/z.csv", "b.jsonl"]


@pytest.mark.parametrize("found", ["absent", "empty folder"])
def test_a_source_that_is_not_there_is_an_input_error(tmp_path: Path, found: str) -> None:
    with pytest.raises(InputError):
        source_files(tmp_path / "nowhere" if found == "absent" else tmp_path)


def test_field_names_that_could_be_personal_are_not_repeated() -> None:
    assert plain_name("prompt[0].content") == "prompt[0].content"
    assert {plain_name("anna@example.com"), plain_name("x" * 65), plain_name(3)} == {"(odd name)"}
    assert plain_name("response_20261122") == "response_20261122"
    numbers = ("4111 1111 1111 1111", "DE89370400440532013000", "0171-1234567", "123-45-6789")
    people = ("Wilhelmina Quorvath", "anna.weber", "Anna Weber's notes")
    assert {plain_name(one) for one in (*numbers, *people)} == {"(odd name)"}
    for name in ("Customer Name", "Chosen Response", "messages.name", "reward_model_score"):
        assert plain_name(name) == name


def test_file_names_that_could_be_personal_are_numbers(tmp_path: Path) -> None:
    plain = ("data (1).jsonl", "train-00000-of-00003-a1b2c3.parquet", "shards/2024-01-05.jsonl")
    assert [plain_file(name, 2) for name in plain] == list(plain)
    odd = ("Anna Weber.jsonl", "anna.weber@example.com.jsonl", "0171 1234567.jsonl")
    assert {plain_file(name, 2) for name in odd} == {"file 2.jsonl"}


@settings(deadline=None)
@given(st.binary(max_size=80), st.sampled_from(list(readers.READERS)))
def test_no_bytes_whatever_raise_anything_but_our_errors(
    tmp_path_factory: Any, content: bytes, suffix: str
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / f"x{suffix}"
    path.write_bytes(content)
    with contextlib.suppress(CountersignError):
        assert all(isinstance(row.value, dict) for row in read_rows(path))
