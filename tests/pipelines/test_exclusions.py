"""What was erased comes back through no ingest: under another dataset name, from another file, in
another order, written otherwise, beside other records.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.base.errors import ConfigError, InputError
from pipelines import exclusions
from pipelines.exclusions import Excluding, Listed
from pipelines.kinds import KINDS
from pipelines.params import Dataset
from pipelines.record_ids import Key
from pipelines.shards import read_records
from pipelines.sources.ingest import ingest
from pipelines.texts import texts
from tests.conftest import examples

KEY, OTHER = Key("a" * 16, b"k" * 32), Key("b" * 16, b"o" * 32)
DATASET = Dataset(kind="conversation", source="source.jsonl", suite="x", held_out="x")
WORDS = st.sampled_from(["where", "is", "my", "parcel", "Anna", "Weber", "12", "555 0188", "é"])
RECORDS = st.lists(
    st.lists(WORDS, min_size=1, max_size=6).map(" ".join), min_size=2, max_size=8, unique=True
)


def excluding(*entries: str) -> Excluding:
    fields = {"reference": "c", "by": "record", "record_key": KEY.key_id, "salt": "0" * 64}
    lists = [Listed.model_validate({**fields, "entries": [*entries]})] if entries else []
    return Excluding(KEY, "0" * 64, lists)


def row(question: str) -> dict[str, Any]:
    said = [("user", question), ("assistant", "I look it up.")]
    return {"messages": [{"role": role, "content": text} for role, text in said]}


def read(folder: Path, name: str, content: str, erased: Excluding) -> tuple[set[str], list[str]]:
    """The ids that an ingest keeps, and those that it leaves out as erased."""
    source = folder / name
    source.write_text(content, encoding="utf-8")
    target = folder / f"{name}.records"
    tally, counts = ingest(source, DATASET, KEY, target, erased=erased)
    left_out = [one.id or "" for one in tally.excluded if one.reason == "ERASED"]
    assert counts.excluded.get("ERASED", 0) == len(left_out)
    assert counts.records_in == counts.records_out + sum(counts.excluded.values())
    return set(read_records(target)["id"].to_pylist()), left_out


@given(questions=RECORDS, data=st.data())
@examples(10)
def test_an_erased_record_never_returns(
    questions: list[str], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("ingest")
    lines = [json.dumps(row(question)) for question in questions]
    whole, _ = read(folder, "first.jsonl", "\n".join(lines), excluding())
    chosen = data.draw(st.lists(st.sampled_from(sorted(whole)), min_size=1, unique=True))
    if set(chosen) == whole:
        chosen = chosen[1:] or []
    erased = excluding(*exclusions.of_records(KEY, chosen))
    shuffled = data.draw(st.permutations(questions))
    further = [*shuffled, shuffled[0], "something else"]  # twice, and beside another record
    spaced = "\n".join(
        json.dumps(dict(reversed(row(each).items())), indent=None, separators=(" ,  ", " :  "))
        for each in further
    )
    array = json.dumps([row(each) for each in further], indent=3, ensure_ascii=False)
    for name, content in (("renamed.jsonl", spaced), ("other.json", array)):
        kept, left_out = read(folder, name, content, erased)
        assert kept.isdisjoint(chosen) and whole - set(chosen) <= kept
        assert set(left_out) == set(chosen)


@pytest.mark.parametrize(
    ("value", "having", "lacking"),
    [
        ("Anna Weber", ["ask ANNA  weber.", "anna-weber@x.org", "Ａｎｎａ Weber"], ["Anna Webers", "Weber, Anna"]),
        ("anna@x.org", ["to Anna@X.ORG now", "<anna@x.org>"], ["anna@x.organ", "joanna@x.org"]),
        ("+1 (212) 555-0188", ["1 212 555 0188", "12125550188", "call +1-212-555-0188!"], ["212 555 0188", "912125550188"]),
        ("AB 12", ["no ab-12", "AB\n12"], ["AB 123", "AB12"]),
    ],
)  # fmt: skip
def test_a_value_is_found_however_it_is_written(
    value: str, having: list[str], lacking: list[str]
) -> None:
    erased = excluding(exclusions.of_subject(KEY, value))
    assert [erased.has_text(text) for text in having] == [True] * len(having)
    assert [erased.has_text(text) for text in lacking] == [False] * len(lacking)


def test_a_text_is_found_whatever_its_case_and_white_space() -> None:
    erased = excluding(exclusions.of_text(KEY, "Where is  my parcel?"))
    assert erased.has_text(" where IS\nmy parcel? ") and not erased.has_text("Where is my parcel")


def test_the_texts_of_a_record_are_those_of_a_table() -> None:
    call = json.dumps([{"name": "find", "arguments": {"who": "Jane", "at": [3, "here"]}}])
    message = {"role": "assistant", "content": "so", "thinking": "hm", "tool_calls": call}
    message |= {"name": None, "tool_call_id": None}
    extra = {"tools": json.dumps([{"name": "find"}]), "turns": json.dumps(["and then?"])}
    content: dict[str, dict[str, Any]] = {
        "conversation": {"messages": [message], "tools": extra["tools"]},
        "prompt": {"prompt": [message], "answer": "42", **extra, "extra": json.dumps({"a": "b"})},
        "rated": {"prompt": [message], "completions": [[message], [message]], "ratings": []},
    }
    for kind, one in content.items():
        common = {"id": "0" * 32, "split": "train", "file": "f", "row": 1}
        table = pa.Table.from_pylist([{**common, **one}], schema=KINDS[kind].schema)
        expected = sorted(each.text for each in texts(table, kind))
        assert sorted(exclusions.texts_of(one, kind)) == expected, kind


def test_each_entry_is_in_the_root_and_the_salt_too(tmp_path: Path) -> None:
    entries = [*exclusions.of_records(KEY, ["a" * 32, "b" * 32]), exclusions.of_text(KEY, "x")]
    made, known = exclusions.listed(tmp_path, KEY, "c", "record", entries)
    roots = {made.root}
    for entry in entries:
        roots.add(made.model_copy(update={"entries": [x for x in entries if x != entry]}).root)
    roots.add(made.model_copy(update={"salt": "1" * 64}).root)
    assert len(roots) == 5 and not known
    exclusions.append(tmp_path, made)
    assert exclusions.listed(tmp_path, KEY, "c", "record", entries[:1]) == (made, True)
    more, known = exclusions.listed(tmp_path, KEY, "c", "text", [exclusions.of_text(KEY, "y")])
    assert set(more.entries) > set(made.entries) and not known
    exclusions.append(tmp_path, more)
    stated = exclusions.excluding(tmp_path, KEY).stated
    assert stated is not None and set(stated.roots) == {made.root, more.root} and stated.count == 4
    assert exclusions.excluding(tmp_path, OTHER).stated is None


def test_a_file_that_is_none_stops_the_ingest(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / exclusions.FILE).write_text('{"entries": []}\n')
    with pytest.raises(ConfigError, match="not a list of exclusions"):
        exclusions.excluding(tmp_path, KEY)


def test_a_source_of_erased_records_alone_says_so(tmp_path: Path) -> None:
    erased = excluding(exclusions.of_subject(KEY, "Anna Weber"))
    with pytest.raises(InputError, match="ERASED"):
        read(tmp_path, "all.jsonl", json.dumps(row("Anna Weber asks")), erased)
