"""The shapes that people's rows have: each becomes the record one expects, and each defect of a row
has its code.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from governance.attest.codes import CODES
from governance.base.errors import ConfigError, InputError
from pipelines.kinds import KINDS, ROLES
from pipelines.record_ids import identifying
from pipelines.sources.binding import bind, fitting_kinds
from pipelines.sources.messages import ROLE_NAMES
from pipelines.sources.readers import RowProblem
from pipelines.sources.shapes import SHAPES
from tests.conftest import ROOT

Row = dict[str, Any]


def user(text: str) -> Row:
    return {"role": "user", "content": text}


def bot(text: str) -> Row:
    return {"role": "assistant", "content": text}


CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"to": "x"}'}}


DATED = {"name": "f", "arguments": {"at": b"x"}}


def called(calls: str) -> Row:
    return {**bot(""), "tool_calls": calls}


def system(text: str) -> Row:
    return {"role": "system", "content": text}


def human(text: str) -> Row:
    return {"from": "human", "value": text}


def gpt(text: str) -> Row:
    return {"from": "gpt", "value": text}


TALK = [user("Q"), bot("A")]

CONVERSATIONS: dict[str, tuple[Row, list[Row]]] = {
    "messages": ({"messages": TALK}, TALK),
    "messages as JSON text, as in CSV files": ({"messages": json.dumps(TALK)}, TALK),
    "OpenAI's parts": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Q"}]}, bot("A")]},
        TALK,
    ),
    "a call of a tool": (
        {
            "messages": [
                user("Q"),
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "content": "1", "name": "f", "tool_call_id": "c1"},
                bot("A"),
            ],
            "tools": [{"type": "function", "function": {"name": "f"}}],
        },
        [
            user("Q"),
            called('[{"id":"c1","name":"f","arguments":{"to":"x"}}]'),
            {"role": "tool", "content": "1", "name": "f", "tool_call_id": "c1"},
            bot("A"),
        ],
    ),
    "ShareGPT": ({"conversations": [human("Q"), gpt("A")], "tools": "[]"}, TALK),
    "ShareGPT with a system text": (
        {"conversations": [human("Q"), gpt("A")], "system": "S"},
        [system("S"), *TALK],
    ),
    "ShareGPT with tools": (
        {
            "conversations": [
                human("Q"),
                {"from": "function_call", "value": '{"name": "f", "arguments": {"to": 1.0}}'},
                {"from": "observation", "value": "1"},
                gpt("A"),
            ],
            "tools": '[{"name": "f"}]',
        },
        [
            user("Q"),
            called('[{"name":"f","arguments":{"to":1.0}}]'),
            {"role": "tool", "content": "1"},
            bot("A"),
        ],
    ),
    "OpenAI's older call": (
        {
            "messages": [
                user("Q"),
                {"role": "assistant", "content": None, "function_call": {"name": "f"}},
                {"role": "function", "content": "1", "name": "f"},
                bot("A"),
            ],
            "functions": [{"name": "f"}],
        },
        [
            user("Q"),
            called('[{"name":"f","arguments":{}}]'),
            {"role": "tool", "content": "1", "name": "f"},
            bot("A"),
        ],
    ),
    "a text beside the call": (
        {"messages": [user("Q"), {**bot("Wait."), "tool_calls": [{"name": "f"}]}]},
        [user("Q"), {**bot("Wait."), "tool_calls": '[{"name":"f","arguments":{}}]'}],
    ),
    "thinking as a member": (
        {"messages": [user("Q"), {**bot("A"), "reasoning_content": "T"}]},
        [user("Q"), {**bot("A"), "thinking": "T"}],
    ),
    "thinking as a part": (
        {
            "messages": [
                user("Q"),
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "T"},
                        {"type": "text", "text": "A"},
                    ],
                },
            ]
        },
        [user("Q"), {**bot("A"), "thinking": "T"}],
    ),
    "thinking in the text, as DeepSeek writes it": (
        {"messages": [user("Q"), bot("<think>\nT\n</think>\n\nA")]},
        [user("Q"), {**bot("A"), "thinking": "T"}],
    ),
    "thinking in an answer of text": (
        {"prompt": "Q", "response": "<think>T</think>A"},
        [user("Q"), {**bot("A"), "thinking": "T"}],
    ),
    "thinking that is not closed is text": (
        {"messages": [user("Q"), bot("<think>T")]},
        [user("Q"), bot("<think>T")],
    ),
    "Alpaca": ({"instruction": "Q", "input": "", "output": "A"}, TALK),
    "Alpaca with a rendered text": (
        {"instruction": "Q", "input": "", "output": "A", "text": "Below is ..."},
        TALK,
    ),
    "Alpaca with everything": (
        {"instruction": "Q", "input": "I", "output": "A", "system": "S", "history": [["q", "a"]]},
        [system("S"), user("q"), bot("a"), user("Q\nI"), bot("A")],
    ),
    "prompt and completion": ({"prompt": "Q", "completion": "A"}, TALK),
    "prompt and completion as messages": ({"prompt": [user("Q")], "completion": [bot("A")]}, TALK),
    "prompt and response": ({"prompt": "Q", "response": "A"}, TALK),
    "question and answer": ({"question": "Q", "answer": "A"}, TALK),
    "input and output": ({"input": "Q", "output": "A"}, TALK),
    "AQuA": (
        {"question": "Q", "options": ["A)1", "B)2"], "rationale": "R", "correct": "B"},
        [user("Q\nA)1\nB)2"), bot("R")],
    ),
    "Self-Instruct": (
        {"instruction": "Q", "instances": [{"input": "I", "output": "A"}]},
        [user("Q\nI"), bot("A")],
    ),
    "transcript": ({"text": "\n\nHuman: Q\n\nAssistant: A"}, TALK),
    "text": ({"text": "T"}, [bot("T")]),
    "full_text": ({"full_text": "T", "spans": []}, [bot("T")]),
}

PAIR = {"prompt": [user("Q")], "chosen": [bot("A")], "rejected": [bot("B")]}
PREFERENCES: dict[str, Row] = {
    "texts": {"prompt": "Q", "chosen": "A", "rejected": "B"},
    "lists": {"prompt": [user("Q")], "chosen": [bot("A")], "rejected": [bot("B")]},
    "single messages": {"prompt": "Q", "chosen": bot("A"), "rejected": bot("B")},
    "the prompt again in both lists": {
        "prompt": "Q",
        "chosen": TALK,
        "rejected": [user("Q"), bot("B")],
    },
    "whole lists": {"chosen": TALK, "rejected": [user("Q"), bot("B")]},
    "transcripts": {
        "chosen": "\n\nHuman: Q\n\nAssistant: A",
        "rejected": "\n\nHuman: Q\n\nAssistant: B",
    },
    "LLaMA-Factory": {"conversations": [human("Q")], "chosen": gpt("A"), "rejected": gpt("B")},
    "Alpaca": {"instruction": "Q", "input": "", "chosen": "A", "rejected": "B"},
    "Stack Exchange": {"question": "Q", "response_j": "A", "response_k": "B"},
    "ranked answers": {"instruction": "Q", "input": "", "output": ["A", "x", "B"], "history": []},
}

LABELLED = {"prompt": [user("Q")], "completion": [bot("A")], "label": True}
UNPAIRED: dict[str, Row] = {
    "KTO messages": {"messages": TALK, "label": True},
    "texts": {"prompt": "Q", "completion": "A", "label": "true"},
    "numbers": {"instruction": "Q", "output": "A", "kto_tag": 1},
    "CSV": {"question": "Q", "response": "A", "label": "True"},
}

PROMPTS: dict[str, tuple[Row, str | None]] = {
    "prompt alone": ({"prompt": "Q", "type": "safe", "label": "safe"}, None),
    "question and answer": ({"question": "Q", "answer": "72"}, "72"),
    "an answer that is a number": ({"problem": "Q", "answer": 72}, "72"),
    "HumanEval": ({"task_id": "1", "prompt": "Q", "canonical_solution": "S", "test": "t"}, "S"),
    "messages": ({"messages": [user("Q")], "answer": "A"}, "A"),
    "messages with the answer": ({"messages": TALK}, "A"),
    "one turn": ({"question_id": 1, "turns": ["Q"]}, None),
    "a null answer": ({"prompt": "Q", "answer": None}, None),
}

RATED: dict[str, tuple[Row, int, list[tuple[str, float]]]] = {
    "our own": (
        {"prompt": "Q", "completions": ["A", "B"], "ratings": [{"rater": "x", "value": 2}]},
        2,
        [("x", 2.0)],
    ),
    "PandaLM": (
        {
            "instruction": "Q",
            "input": "",
            "response1": "A",
            "response2": "B",
            "annotator1": 1,
            "annotator2": 0,
            "annotator3": 2,
        },
        2,
        [("annotator1", 1.0), ("annotator2", 0.0), ("annotator3", 2.0)],
    ),
    "AlpacaEval": (
        {
            "instruction": "Q",
            "output_1": "A",
            "output_2": "B",
            "annotator": "gpt",
            "preference": 1.2,
        },
        2,
        [("gpt", 1.0)],
    ),
    "AlpacaEval, a tie": (
        {
            "instruction": "Q",
            "output_1": "A",
            "output_2": "B",
            "annotator": "gpt",
            "preference": 1.5,
        },
        2,
        [("gpt", 0.0)],
    ),
    "one rater silent": (
        {"prompt": "Q", "response1": "A", "response2": "B", "annotator1": None, "annotator2": "2"},
        2,
        [("annotator2", 2.0)],
    ),
    "scored alone": (
        {"prompt": "Q", "response": "A", "score_1": 3.5, "score_2": 4},
        1,
        [("score_1", 3.5), ("score_2", 4.0)],
    ),
}

EXPECTED: list[tuple[str, str, Row, Row]] = [
    *(
        ("conversation", name, row, {"messages": said})
        for name, (row, said) in CONVERSATIONS.items()
    ),
    *(("preference", name, row, PAIR) for name, row in PREFERENCES.items()),
    *(("unpaired", name, row, LABELLED) for name, row in UNPAIRED.items()),
    *(
        ("prompt", name, row, {"prompt": [user("Q")], "answer": answer})
        for name, (row, answer) in PROMPTS.items()
    ),
    *(
        (
            "rated",
            name,
            row,
            {
                "prompt": [user("Q")],
                "completions": [[bot("A")], [bot("B")]][:answers],
                "ratings": [{"rater": rater, "value": value} for rater, value in ratings],
            },
        )
        for name, (row, answers, ratings) in RATED.items()
    ),
]


def has_tools(row: Row) -> bool:
    return any(row.get(name) not in (None, "[]") for name in ("tools", "functions"))


@pytest.mark.parametrize(
    ("kind", "name", "row", "record"),
    EXPECTED,
    ids=[f"{kind}: {name}" for kind, name, _, _ in EXPECTED],
)
def test_a_row_becomes_the_record_one_expects(kind: str, name: str, row: Row, record: Row) -> None:
    made = bind(kind, [row], {}).record(row)
    tools = json.loads(made.pop("tools", "[]"))
    assert made == record
    assert tools == ([{"type": "function", "function": {"name": "f"}}] if has_tools(row) else [])
    full = {"id": "", "split": "", "file": "", "row": 1, **made}
    (stored,) = pa.Table.from_pylist([full], schema=KINDS[kind].schema).to_pylist()
    assert identifying(stored) == full


@pytest.mark.parametrize(
    ("kind", "name", "row", "record"),
    EXPECTED,
    ids=[f"{kind}: {name}" for kind, name, _, _ in EXPECTED],
)
def test_the_kind_is_among_those_guessed(kind: str, name: str, row: Row, record: Row) -> None:
    guessed = fitting_kinds([row])
    assert kind in guessed
    if kind in ("rated", "preference"):
        assert guessed[0] == kind


def test_text_is_guessed_only_where_nothing_else_fits() -> None:
    assert fitting_kinds([{"text": "T", "prompt": "Q"}]) == ["prompt", "conversation"]
    assert fitting_kinds([{"text": "T"}]) == ["conversation"]
    assert fitting_kinds([{"x": 1}]) == []


ROW_PROBLEMS: dict[str, tuple[str, Row, Row, str, str]] = {
    # name: kind, a good row that gives the shape, the bad row, code, field
    "field missing": (
        "preference",
        PAIR,
        {"prompt": "Q", "chosen": "A"},
        "FIELD_MISSING",
        "rejected",
    ),
    "true for text": (
        "preference",
        PREFERENCES["texts"],
        {"prompt": "Q", "chosen": True, "rejected": "B"},
        "FIELD_NOT_TEXT",
        "chosen",
    ),
    "null for text": ("conversation", {"text": "T"}, {"text": None}, "FIELD_NOT_TEXT", "text"),
    "NaN for text": (
        "conversation",
        {"text": "T"},
        {"text": float("nan")},
        "FIELD_NOT_TEXT",
        "text",
    ),
    "an image": (
        "conversation",
        {"messages": TALK},
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "MEDIA_NOT_SUPPORTED",
        "messages[0].content[0]",
    ),
    "a column of images": (
        "prompt",
        {"prompt": "Q"},
        {"prompt": "Q", "picture": [{"bytes": b"x", "path": None}]},
        "MEDIA_NOT_SUPPORTED",
        "picture",
    ),
    "a column of bytes": (
        "prompt",
        {"prompt": "Q"},
        {"prompt": "Q", "image": b"\x89PNG"},
        "MEDIA_NOT_SUPPORTED",
        "image",
    ),
    "a place for an image": (
        "conversation",
        {"messages": TALK},
        {"messages": [user("<image>What is it?"), bot("A")], "images": ["a.png"]},
        "MEDIA_NOT_SUPPORTED",
        "images",
    ),
    "arguments that are a list": (
        "conversation",
        {"messages": TALK},
        {"messages": [user("Q"), {**bot(""), "tool_calls": [{"name": "f", "arguments": [1]}]}]},
        "TOOL_CALL_MALFORMED",
        "messages[1].tool_calls[0].arguments",
    ),
    "a call that is text": (
        "conversation",
        {"conversations": [human("Q"), gpt("A")]},
        {"conversations": [human("Q"), {"from": "function_call", "value": "f(1)"}]},
        "TOOL_CALL_MALFORMED",
        "conversations[1].value",
    ),
    "a call with NaN": (
        "conversation",
        {"messages": TALK},
        {"messages": [{**bot(""), "tool_calls": [{"name": "f", "arguments": '{"a": NaN}'}]}]},
        "TOOL_CALL_MALFORMED",
        "messages[0].tool_calls[0].arguments",
    ),
    "two calls with one id": (
        "conversation",
        {"messages": TALK},
        {"messages": [user("Q"), {**bot(""), "tool_calls": [CALL, CALL]}]},
        "TOOL_CALL_UNMATCHED",
        "messages[1]",
    ),
    "an answer of a tool without its call": (
        "conversation",
        {"messages": TALK},
        {"messages": [user("Q"), {"role": "tool", "content": "1"}, bot("A")]},
        "TOOL_CALL_UNMATCHED",
        "messages[1]",
    ),
    "an answer to another call": (
        "preference",
        PREFERENCES["lists"],
        {
            "prompt": [user("Q"), {**bot(""), "tool_calls": [CALL]}],
            "chosen": [{"role": "tool", "content": "1", "tool_call_id": "c2"}, bot("A")],
            "rejected": [bot("B")],
        },
        "TOOL_CALL_UNMATCHED",
        "chosen[0]",
    ),
    "tools that are names": (
        "conversation",
        {"messages": TALK},
        {"messages": TALK, "tools": ["search"]},
        "TOOL_SCHEMA_MALFORMED",
        "tools[0]",
    ),
    "two different thinking texts": (
        "conversation",
        {"messages": TALK},
        {"messages": [user("Q"), {**bot("<think>T</think>A"), "reasoning": "U"}]},
        "MESSAGES_MALFORMED",
        "messages[1]",
    ),
    "null content": (
        "conversation",
        {"messages": TALK},
        {"messages": [{"role": "user", "content": None}]},
        "FIELD_NOT_TEXT",
        "messages[0].content",
    ),
    "unknown role": (
        "conversation",
        {"messages": TALK},
        {"messages": [{"role": "narrator", "content": "x"}]},
        "ROLE_UNKNOWN",
        "messages[0].role",
    ),
    "message without role": (
        "conversation",
        {"messages": TALK},
        {"messages": [{"content": "x"}]},
        "FIELD_MISSING",
        "messages[0].from",
    ),
    "no messages": (
        "conversation",
        {"messages": TALK},
        {"messages": []},
        "MESSAGES_MALFORMED",
        "messages",
    ),
    "messages that are text": (
        "conversation",
        {"messages": TALK},
        {"messages": "hello"},
        "MESSAGES_MALFORMED",
        "messages",
    ),
    "messages that are broken JSON": (
        "conversation",
        {"messages": TALK},
        {"messages": "[{"},
        "MESSAGES_MALFORMED",
        "messages",
    ),
    "history": (
        "conversation",
        CONVERSATIONS["Alpaca with everything"][0],
        {"instruction": "Q", "output": "A", "history": ["x"]},
        "MESSAGES_MALFORMED",
        "history[0]",
    ),
    "prompts differ": (
        "preference",
        PREFERENCES["transcripts"],
        {"chosen": "\n\nHuman: Q\n\nAssistant: A", "rejected": "\n\nHuman: R\n\nAssistant: B"},
        "PROMPT_MISMATCH",
        "rejected",
    ),
    "lists whose prompts differ": (
        "preference",
        PREFERENCES["whole lists"],
        {"chosen": TALK, "rejected": [user("R"), bot("B")]},
        "PROMPT_MISMATCH",
        "rejected",
    ),
    "no answer at the end": (
        "preference",
        PREFERENCES["transcripts"],
        {"chosen": "\n\nHuman: Q", "rejected": "\n\nHuman: Q\n\nAssistant: B"},
        "MESSAGES_MALFORMED",
        "chosen",
    ),
    "one ranked answer": (
        "preference",
        PREFERENCES["ranked answers"],
        {"instruction": "Q", "output": ["A"]},
        "NO_COMPARISON",
        "output",
    ),
    "label": (
        "unpaired",
        UNPAIRED["texts"],
        {"prompt": "Q", "completion": "A", "label": "maybe"},
        "LABEL_NOT_BOOLEAN",
        "label",
    ),
    "label null": (
        "unpaired",
        UNPAIRED["texts"],
        {"prompt": "Q", "completion": "A", "label": None},
        "LABEL_NOT_BOOLEAN",
        "label",
    ),
    "no turns": (
        "prompt",
        PROMPTS["one turn"][0],
        {"turns": []},
        "TURNS_UNANSWERED",
        "turns",
    ),
    "answer true": (
        "prompt",
        PROMPTS["question and answer"][0],
        {"question": "Q", "answer": True},
        "FIELD_NOT_TEXT",
        "answer",
    ),
    "rating NaN": (
        "rated",
        RATED["scored alone"][0],
        {"prompt": "Q", "response": "A", "score_1": float("nan")},
        "RATING_INVALID",
        "score_1",
    ),
    "rating true": (
        "rated",
        RATED["scored alone"][0],
        {"prompt": "Q", "response": "A", "score_1": True},
        "RATING_INVALID",
        "score_1",
    ),
    "rating in words": (
        "rated",
        RATED["scored alone"][0],
        {"prompt": "Q", "response": "A", "score_1": "good"},
        "RATING_INVALID",
        "score_1",
    ),
    "a rating that no float holds": (
        "rated",
        RATED["scored alone"][0],
        {"prompt": "Q", "response": "A", "score_1": 10**400},
        "RATING_INVALID",
        "score_1",
    ),
    "an answer that no float holds": (
        "prompt",
        {"prompt": "Q", "answer": 3},
        {"prompt": "Q", "answer": 10**400},
        "FIELD_NOT_TEXT",
        "answer",
    ),
    "a call with what JSON does not have": (
        "conversation",
        {"messages": [{"role": "user", "content": "Q"}]},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [DATED]}]},
        "TOOL_CALL_MALFORMED",
        "messages[0].tool_calls",
    ),
    "messages as text, nested without end": (
        "conversation",
        {"messages": [{"role": "user", "content": "Q"}]},
        {"messages": "[" * 100_000},
        "MESSAGES_MALFORMED",
        "messages",
    ),
    "nobody rated": (
        "rated",
        RATED["scored alone"][0],
        {"prompt": "Q", "response": "A", "score_1": None},
        "RATING_INVALID",
        "score_1, score_2",
    ),
    "a side that is not there": (
        "rated",
        RATED["one rater silent"][0],
        {"prompt": "Q", "response1": "A", "response2": "B", "annotator1": 3},
        "RATING_INVALID",
        "annotator1, annotator2",
    ),
    "one rater twice": (
        "rated",
        RATED["our own"][0],
        {
            "prompt": "Q",
            "completions": ["A", "B"],
            "ratings": [{"rater": "x", "value": 1}, {"rater": "x", "value": 2}],
        },
        "RATING_INVALID",
        "ratings",
    ),
}


@pytest.mark.parametrize("name", ROW_PROBLEMS)
def test_a_row_that_cannot_become_a_record_is_named_by_field_and_code(name: str) -> None:
    kind, good, bad, reason, field = ROW_PROBLEMS[name]
    binding = bind(kind, [good, good, bad], {})
    assert binding.record(good)
    with pytest.raises(RowProblem) as caught:
        binding.record(bad)
    assert (caught.value.reason, caught.value.field) == (reason, field)
    assert reason in CODES


def test_fields_can_be_named_by_hand_also_within_other_fields() -> None:
    row = {"ask": "Q", "told": [{"text": "A"}], "answer": "no"}
    binding = bind("conversation", [row], {"prompt": "ask", "completion": "told.0.text"})
    assert binding.record(row) == {"messages": TALK}
    assert binding.used >= {"ask", "told"} and "answer" not in binding.used
    assert bind(
        "prompt", [{"turns": ["Q", "R"], "reference": ["x"]}], {"prompt": "turns.0", "answer": ""}
    ).record({"turns": ["Q", "R"], "reference": ["x"]}) == {"prompt": [user("Q")], "answer": None}


def test_a_target_that_no_record_of_the_kind_has_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'prompt'"):
        bind("prompt", [{"q": "Q"}], {"promt": "q"}, "params.yaml: datasets.x.fields")


def test_rows_without_a_shape_say_what_is_there_and_what_is_needed() -> None:
    with pytest.raises(
        InputError, match=r"\(odd name\), uhr have no known shape of kind prompt"
    ) as caught:
        bind("prompt", [{"uhr": "1", "anna@example.com": "2"}], {}, "x.csv")
    assert "fields: {prompt: question}" in str(caught.value) and "example.com" not in str(
        caught.value
    )


def test_a_few_defects_do_not_change_the_shape_of_a_file() -> None:
    good = {"instruction": "Q", "input": "", "output": "A", "text": "rendered"}
    bad = [{**good, "output": None}, {"text": "rendered"}, {**good, "output": True}]
    binding = bind("conversation", [*bad, *[good] * 10], {})
    assert binding.shape.name == "question and answer"


def test_every_role_we_know_is_one_of_ours_and_every_shape_has_a_kind() -> None:
    assert set(ROLE_NAMES.values()) == set(ROLES)
    assert set(SHAPES) == set(KINDS)


def test_the_page_on_ones_own_data_lists_every_shape_and_no_other() -> None:
    told: dict[str, list[str]] = {kind: [] for kind in SHAPES}
    kind = ""
    page = (ROOT / "docs/your-own-data.md").read_text(encoding="utf-8")
    for line in page[page.index("| kind | shape |") :].splitlines()[2:]:
        if not line.startswith("|"):
            break
        first, shape = (cell.strip() for cell in line.split("|")[1:3])
        kind = first or kind
        told[kind].append(shape)
    assert told == {kind: [shape.name for shape in shapes] for kind, shapes in SHAPES.items()}
