"""Files of every format: findings point at the planted values, what is written holds none of them
and all else, and what cannot be read is named.
"""

from __future__ import annotations

import csv
import io
import json
import random
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.policy.data import PiiPolicy
from pipelines.pii import documents, scan_files
from pipelines.pii.documents import SUFFIXES, Source
from pipelines.pii.engine import PlainEngine, Span
from pipelines.pii.scan_files import FilesScan, Scanned
from pipelines.pii.search import Found, Search
from tests.conftest import ROOT
from tests.pipelines.policies import pii

MAIL = "tom.miller@example.com"
CARD = 4111111111111111
STAYS = {"action": "allow", "reason": "public"}
POLICY = pii(
    entities={
        "URL": STAYS,
        "DATE_TIME": STAYS,
        "CREDIT_CARD": {"action": "drop"},
        "API_KEY": {"action": "block"},
    },
    recognizers=[
        {"name": "keys", "entity": "API_KEY", "patterns": [{"name": "hf", "regex": r"\bhf_\w{30}"}]}
    ],
)
KEY = f"hf_{'a' * 30}"
ENGINE = PlainEngine(POLICY, ROOT)


def scan(
    path: Path, target: Path | None = None, policy: PiiPolicy = POLICY, **more: Any
) -> tuple[Scanned, list[dict[str, Any]]]:
    file = Scanned(Source(path.name, SUFFIXES[path.suffix], path=path, **more), target)
    found: list[dict[str, Any]] = []
    with Search(ENGINE, None, b"key") as search:
        FilesScan(policy, search, b"key", found.append).run([file])
    return file, found


def file_of(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


# --- every format ---------------------------------------------------------------------------------

Row = tuple[str, str]


def jsonl(path: Path, rows: Sequence[Row]) -> None:
    path.write_text("".join(f"{json.dumps(nested(row))}\n" for row in rows))


def json_list(path: Path, rows: Sequence[Row]) -> None:
    path.write_text(json.dumps([nested(row) for row in rows], indent=1, ensure_ascii=False))


def csv_file(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", newline="") as stream:
        csv.writer(stream, delimiter=";").writerows([("body", "more"), *rows])


def parquet(path: Path, rows: Sequence[Row]) -> None:
    pq.write_table(pa.Table.from_pylist([nested(row) for row in rows]), path, row_group_size=2)


def text(path: Path, rows: Sequence[Row]) -> None:
    path.write_text("\n\n".join("\n".join(row) for row in rows))


def nested(row: Row) -> dict[str, Any]:
    return {"body": row[0], "more": {"odd key": [row[1]], "name": None}}


WRITERS = {
    ".jsonl": jsonl,
    ".json": json_list,
    ".csv": csv_file,
    ".parquet": parquet,
    ".txt": text,
}


def place(suffix: str, rows: Sequence[Row], at: int, part: int) -> tuple[int, str, int]:
    """Row, field, and where the text begins in the record's."""
    if suffix == ".txt":
        begin = len(rows[at][0]) + 1 if part else 0
        return 1 + 3 * at, "text", begin
    if suffix == ".csv":
        before = sum(1 + "".join(row).count("\n") for row in rows[:at])
        return 2 + before, ("body", "more")[part], 0
    return at + 1, ("body", "more[0][0]")[part], 0


AROUND = st.lists(
    st.sampled_from(['said "yes", ', "Größe; ", "\U0001f642 ", "line,\n", "tab\t", "a ", "\\ "]),
    max_size=4,
).map("".join)
VALUE = st.integers(1, 99).map(lambda number: f"user{number}@example.com")
TEXT = st.tuples(AROUND, st.one_of(st.just("nothing"), VALUE), AROUND)
ROWS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5)


@pytest.mark.parametrize("suffix", WRITERS)
@settings(max_examples=20, deadline=None)
@given(rows=ROWS)
def test_findings_point_at_the_values_and_none_is_left_in_what_was_written(
    suffix: str, rows: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("scan")
    texts = [tuple("".join([a, value, " ", b]) for a, value, b in row) for row in rows]
    if suffix == ".txt":  # a line break may end the paragraph
        texts = [tuple(one.replace("\n", " ") for one in row) for row in texts]
    path = folder / f"in{suffix}"
    WRITERS[suffix](path, texts)
    expected = Counter[tuple[Any, ...]]()
    for at, row in enumerate(rows):
        for part, (around, value, _) in enumerate(row):
            if "@" in value:
                line, field, begin = place(suffix, texts, at, part)
                start = begin + len(around)
                expected[at + 1 + (suffix == ".csv"), line, field, start, start + len(value)] += 1

    done, found = scan(path, folder / f"out{suffix}")

    mails = [one for one in found if one["entity_type"] == "EMAIL_ADDRESS"]
    keys = ("record", "row", "field", "start", "end")
    assert Counter(tuple(one[key] for key in keys) for one in mails) == expected
    assert {one["recognizer"] for one in mails} <= {"EmailRecognizer"}
    assert done.found["EMAIL_ADDRESS"] == expected.total() and not done.problem_count
    assert done.written == len(rows) + (suffix == ".csv") and not done.refused
    again, left = scan(folder / f"out{suffix}")
    assert again.records == done.records and not again.problem_count
    assert not [one for one in left if POLICY.entity(one["entity_type"]).action != "allow"]
    assert not any(
        value.encode() in (folder / f"out{suffix}").read_bytes()
        for row in rows
        for _, value, _ in row
        if "@" in value
    )


@pytest.mark.parametrize("suffix", WRITERS)
def test_what_is_not_found_stays_as_it_was(suffix: str, tmp_path: Path) -> None:
    rows = [('Größe, "a"; b\nc', "x"), (f"to {MAIL}", "y")]
    path, out = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    WRITERS[suffix](path, rows)
    scan(path, out)
    WRITERS[suffix](path, [rows[0], ("to <EMAIL_ADDRESS>", "y")])
    assert values(out) == values(path)
    assert out.stat().st_mode & 0o777 == 0o600


def values(path: Path) -> Any:
    match path.suffix:
        case ".jsonl":
            return [json.loads(line) for line in path.read_text().splitlines()]
        case ".json":
            return json.loads(path.read_text())
        case ".csv":
            return list(csv.reader(io.StringIO(path.read_text()), delimiter=";"))
        case ".parquet":
            return pq.read_table(path).to_pylist()
    return path.read_text()


def test_the_types_of_parquet_are_kept_and_numbers_become_null(tmp_path: Path) -> None:
    table = pa.table(
        {
            "bytes": pa.array([MAIL.encode(), b"\xff\xfe"]),
            "born": pa.array([date(1990, 1, 2), None]),
            "nano": pa.array([1, 1234567891], pa.timestamp("ns")),
            "kind": pa.array([MAIL, "b"]).dictionary_encode(),
            "pairs": pa.array([[("k", MAIL)], []], pa.map_(pa.string(), pa.string())),
            "share": pa.array([float("nan"), 0.5]),
            "card": pa.array([CARD, 1], pa.int64()),
        }
    )
    path, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(table, path)
    redacted = POLICY.model_copy(
        update={"entities": {**POLICY.entities, "CREDIT_CARD": POLICY.default}}
    )
    done, _ = scan(path, out, redacted)
    assert done.written == 2
    written = pq.read_table(out)
    assert written.schema.types == table.schema.types
    assert written.column("bytes").to_pylist() == [b"<EMAIL_ADDRESS>", b"\xff\xfe"]
    assert written.column("kind").to_pylist() == ["<EMAIL_ADDRESS>", "b"]
    assert written.column("pairs").to_pylist() == [[("k", "<EMAIL_ADDRESS>")], []]
    assert written.column("nano") == table.column("nano")
    assert written.column("card").to_pylist() == [None, 1]


# --- what policy says -----------------------------------------------------------------------------


def test_drop_leaves_the_record_out_and_block_writes_nothing(tmp_path: Path) -> None:
    rows = [{"a": "fine"}, {"a": f"card {CARD}"}, {"a": f"pay {CARD} or {MAIL}"}]
    path = file_of(tmp_path, "a.json", json.dumps(rows))
    done, _ = scan(path, tmp_path / "out.json")
    assert (done.written, done.left_out) == (1, {"dropped by policy": 2})
    assert json.loads((tmp_path / "out.json").read_text()) == rows[:1]

    blocked = file_of(tmp_path, "b.jsonl", f'{{"a": "{MAIL}"}}\n{{"a": "{KEY}"}}\n')
    done, _ = scan(blocked, tmp_path / "b.out")
    assert done.refused == {"API_KEY is blocked": 1} and not done.written
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.jsonl", "out.json"]


def test_a_file_in_which_something_remains_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_files, "redact", lambda text, *_: f"{text} ")
    done, _ = scan(file_of(tmp_path, "a.txt", f"to {MAIL}\n"), tmp_path / "out.txt")
    assert done.refused == {"EMAIL_ADDRESS remains after treatment": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_name_of_a_parquet_column_that_is_personal_refuses_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({MAIL: ["x"], "b": ["y"]}), path)
    done, found = scan(path, tmp_path / "out.parquet")
    assert done.refused == {"a name of a column holds personal data": 1}
    assert {one["field"] for one in found} == {"[0].key"} and MAIL not in json.dumps(found)


def test_the_first_row_of_a_csv_file_and_keys_of_json_are_searched(tmp_path: Path) -> None:
    path = file_of(tmp_path, "a.csv", f"{MAIL},b\nx,{MAIL}\n{MAIL},y\n")
    done, found = scan(path, tmp_path / "out.csv")
    mails = [one for one in found if one["entity_type"] == "EMAIL_ADDRESS"]
    assert [(one["row"], one["field"]) for one in mails] == [(1, "[0].key"), (2, "b"), (3, "[0]")]
    assert (tmp_path / "out.csv").read_text().startswith("<EMAIL_ADDRESS>,b\n")
    path = file_of(tmp_path, "b.jsonl", json.dumps({MAIL: {"x": MAIL}, "b": 1}))
    done, found = scan(path, tmp_path / "out.jsonl")
    assert {one["field"] for one in found} == {"[0].key", "[0][0]"} and done.written == 1
    assert values(tmp_path / "out.jsonl") == [{"<EMAIL_ADDRESS>": {"x": "<EMAIL_ADDRESS>"}, "b": 1}]


def test_a_text_that_could_not_be_searched_is_a_problem_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(self: Search, texts: Sequence[str]) -> list[Found]:
        return [Found(problem="too slow") if "slow" in one else Found() for one in texts]

    monkeypatch.setattr(Search, "find", find)
    done, _ = scan(file_of(tmp_path, "a.txt", "slow\n\nfine\n"), tmp_path / "out.txt")
    assert done.problems == ["a.txt:1: text: too slow"]
    assert (tmp_path / "out.txt").read_text() == "fine\n"


# --- what cannot be read --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "problem", "records"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": \n{"a": 2}\n', "a.jsonl:2: not valid JSON at column", 3),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xff"}\n7\n', "a.jsonl:2: character", 3),
        ("a.jsonl", '{"a": 1, "a": 2}\n', "a.jsonl:1: an object has the same key twice", 1),
        ("a.jsonl", '{"a": NaN}\n', "a.jsonl:1: nested too deeply, a number", 1),
        ("a.jsonl", f"{'[' * 5000}\n1\n", "a.jsonl:1: nested too deeply", 2),
        ("a.jsonl", f"{'x' * 100}\n1\n", "a.jsonl:1: 101 characters, at most", 2),
        ("a.txt", f"fine\n{'x' * 100}\nfine\n", "a.txt:2: 101 characters, at most", 3),
        ("a.json", '[{"a": 1},\n {"a": }]', "a.json:2: not valid JSON", 1),
        ("a.json", '[{"a": 1},\n {"a": 2}', "a.json:2: the list was cut off", 2),
        ("a.json", '[{"a": 1}\n {"a": 2}]', "a.json:2: no value, no comma", 1),
        ("a.json", '[1] 2', "a.json:1: text after the end", 1),
        ("a.json", '[{"a": 1, "a": 2}, 3]', "a.json:1: an object has the same key twice", 2),
        ("a.csv", 'a,b\n1,"2', "a.csv:2: not valid CSV", 1),
        ("a.csv", b"a,b\n1,\xff\n2,3\n", "a.csv:2: character", 3),
        ("a.csv", f"a,b\n{'x' * 100}\n", "a.csv:2: a line of 50 characters", 1),
        ("a.parquet", b"PAR1 no", "a.parquet: not a readable Parquet file", 0),
        ("a.txt", b"\xff\xfea\0", "a.txt: this is utf-16", 0),
        ("a.csv", "", "a.csv: no records: the file is empty", 0),
        ("a.jsonl", "", "a.jsonl: no records: the file is empty", 0),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    name: str, content: str | bytes, problem: str, records: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(documents, "MAX_ROW", 50 if b"xxx" in str(content).encode() else 1 << 20)
    done, _ = scan(file_of(tmp_path, name, content))
    assert done.problem_count == 1 and done.problems[0].startswith(problem)
    assert done.records == records


@pytest.mark.parametrize("step", [1, 7, 1 << 18])
def test_json_is_decoded_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(documents, "STEP", step)
    rows = [{"a": "x" * 30, "n": 12345}, 123, "text \\u00e9", [], None, True, {"b": [1.5, -2]}]
    path = file_of(tmp_path, "a.json", f"\n {json.dumps(rows)} \n")
    done, _ = scan(path)
    assert (done.records, done.problems) == (7, [])
    one = file_of(tmp_path, "b.json", json.dumps({"data": rows}, indent=2))
    assert scan(one)[0].records == 1
    lines = file_of(tmp_path, "c.json", "\n".join(map(json.dumps, rows)))
    assert scan(lines, tmp_path / "out.json")[0].written == 7
    assert [json.loads(line) for line in (tmp_path / "out.json").read_text().splitlines()] == rows


def test_characters_that_an_encoding_lacks_are_written_as_escapes(tmp_path: Path) -> None:
    path = file_of(tmp_path, "a.jsonl", json.dumps({"a": "\u20ac \ud800 \u00e9", "b": MAIL}))
    out = tmp_path / "out.jsonl"
    assert scan(path, out, encoding="latin-1")[0].written == 1
    assert json.loads(out.read_bytes()) == {"a": "\u20ac \ud800 \u00e9", "b": "<EMAIL_ADDRESS>"}


def test_a_paragraph_ends_at_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "PARAGRAPH", 20)
    path = file_of(tmp_path, "a.txt", f"0123456789\n0123456789\nto {MAIL}\n")
    done, found = scan(path)
    assert done.records == 2
    assert [
        (one["row"], one["start"]) for one in found if one["entity_type"] == "EMAIL_ADDRESS"
    ] == [(3, 3)]


def test_bytes_that_are_no_text_count_for_a_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "ROWS_BYTES", 40_000)
    monkeypatch.setattr(scan_files, "BATCH_BYTES", 100_000)
    path, calls = tmp_path / "a.parquet", list[int]()
    images = [b"\xff" + random.Random(at).randbytes(10_000) for at in range(50)]
    pq.write_table(pa.table({"image": images, "text": ["x"] * 50}), path)

    def find(self: Search, texts: Sequence[str]) -> list[Found]:
        calls.append(len(texts))
        return [Found() for _ in texts]

    monkeypatch.setattr(Search, "find", find)
    done, _ = scan(path)
    assert done.records == 50 and max(calls) <= 13


def test_memory_does_not_grow_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is searched at once is bounded, whatever the size."""
    monkeypatch.setattr(scan_files, "BATCH", 1000)
    sizes = []

    def find(self: Search, texts: Sequence[str]) -> list[Found]:
        sizes.append(sum(map(len, texts)))
        return [Found((Span(0, 1, "PERSON", 0.9),)) for _ in texts]

    monkeypatch.setattr(Search, "find", find)
    scan(file_of(tmp_path, "a.jsonl", '{"a": "xxxxxxxxxxxxxxxxxxxx"}\n' * 2000))
    assert len(sizes) > 20 and max(sizes) < 1100
