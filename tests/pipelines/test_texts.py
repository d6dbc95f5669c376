"""The texts of records: each part is reachable and replaceable, and nothing else changes."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import json_texts
from pipelines.kinds import KINDS
from pipelines.shards import ROW_GROUP
from pipelines.texts import Text, replace_texts, texts
from tests.pipelines.every_kind import common, said, table


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


# --- parts ----------------------------------------------------------------------------------------

CALL = [{"id": "i", "name": "f", "arguments": {"to": "anna", "cc": {"id": 7, "x": [1.5, None]}}}]
TALK: list[dict[str, Any]] = [
    {"role": "user", "content": "Q"},
    {"role": "assistant", "content": "", "thinking": "T", "tool_calls": json_texts.dumps(CALL)},
    {"role": "tool", "content": "1", "name": "f", "tool_call_id": "i"},
]
SCHEMA = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"to": {}}}}}]
PROMPT = {
    "prompt": TALK,
    "answer": "A",
    "tools": json_texts.dumps(SCHEMA),
    "turns": json_texts.dumps(["Q2", "Q3"]),
    "extra": json_texts.dumps({"tests": "assert f", "limits": {"seconds": 3}}),
}
PLACES = {
    "prompt[0].content": "Q",
    "prompt[1].content": "",
    "prompt[2].content": "1",
    "prompt[1].thinking": "T",
    "prompt[1].tool_calls[0].id": "i",
    "prompt[1].tool_calls[0].name": "f",
    "prompt[1].tool_calls[0].arguments[0].key": "to",
    "prompt[1].tool_calls[0].arguments[0]": "anna",
    "prompt[1].tool_calls[0].arguments[1].key": "cc",
    "prompt[1].tool_calls[0].arguments[1].id": "7",
    "prompt[1].tool_calls[0].arguments[1][1].key": "x",
    "prompt[1].tool_calls[0].arguments[1][1][0]": "1.5",
    "prompt[2].name": "f",
    "prompt[2].tool_call_id": "i",
    "answer": "A",
    "tools[0].type": "function",
    "tools[0].function.name": "f",
    "tools[0].function.parameters.properties[0].key": "to",
    "turns[0]": "Q2",
    "turns[1]": "Q3",
    "extra.tests": "assert f",
    "extra.limits[0].key": "seconds",
    "extra.limits[0]": "3",
}


def of_prompts(*rows: dict[str, Any]) -> pa.Table:
    made = [{**common(at), **row} for at, row in enumerate(rows)]
    return pa.Table.from_pylist(made, schema=KINDS["prompt"].schema)


def test_every_part_has_its_place_and_no_place_has_a_key_of_the_data() -> None:
    found = {one.field: one.text for one in texts(of_prompts(PROMPT), "prompt")}
    assert found == PLACES


@pytest.mark.parametrize("place", PLACES)
def test_replacing_one_part_changes_nothing_else(place: str) -> None:
    before = of_prompts(PROMPT, PROMPT)
    after = replace_texts(before, "prompt", {(1, place): "NEW"})
    assert after.slice(0, 1) == before.slice(0, 1)
    found = {one.field: one.text for one in texts(after, "prompt") if one.row == 1}
    assert found == {**PLACES, place: "NEW"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def planted(value: Any, draw: Any, mark: str) -> Any:
    """The value with a mark as a key or a text somewhere in it."""
    if isinstance(value, dict) and value:
        at = draw(st.sampled_from(sorted(value)))
        if draw(st.booleans()):
            return {mark if key == at else key: member for key, member in value.items()}
        return {**value, at: planted(value[at], draw, mark)}
    if isinstance(value, list) and value:
        at = draw(st.integers(0, len(value) - 1))
        return [planted(item, draw, mark) if n == at else item for n, item in enumerate(value)]
    return mark


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=3), JSON, st.data())
def test_what_is_planted_anywhere_is_found_and_replaced_and_nothing_else_changes(
    arguments: dict[str, Any], extra: Any, data: st.DataObject
) -> None:
    mark = "+49 30 901820"
    call = {"name": "f", "arguments": planted(arguments, data.draw, mark)}
    if not isinstance(call["arguments"], dict):
        call["arguments"] = {mark: 1}
    tests = planted(extra, data.draw, mark)
    row = {
        "prompt": [{"role": "assistant", "content": "", "tool_calls": json_texts.dumps([call])}],
        "extra": json_texts.dumps({"tests": tests}),
    }
    before = of_prompts(row)
    places = [(one.row, one.field) for one in texts(before, "prompt") if one.text == mark]
    assert len(places) == 2
    assert not any(mark in field for _, field in places)
    after = replace_texts(before, "prompt", dict.fromkeys(places, "<PHONE>")).to_pylist()[0]
    marked, new = (json.dumps(text) for text in (mark, "<PHONE>"))
    for old, made in (
        (row["prompt"][0]["tool_calls"], after["prompt"][0]["tool_calls"]),  # type: ignore[index]
        (row["extra"], after["extra"]),
    ):
        assert json.loads(made) == json.loads(str(old).replace(marked, new))


def test_two_keys_that_become_one_text_are_both_kept() -> None:
    row = {**PROMPT, "extra": json_texts.dumps({"tests": {"a@b.de": 1, "c@d.de": 2}})}
    places = {(0, f"extra.tests[{at}].key"): "<EMAIL>" for at in (0, 1)}
    after = replace_texts(of_prompts(row), "prompt", places).column("extra")[0].as_py()
    assert json.loads(after) == {"tests": {"<EMAIL>": 1, "<EMAIL>_2": 2}}


def test_values_nested_too_deeply_are_refused() -> None:
    value: Any = []
    for _ in range(json_texts.MAX_DEPTH + 1):
        value = [value]
    with pytest.raises(ValueError, match="levels"):
        json_texts.dumps(value)
