"""Features: one scenario table per kind, and what features need to know of other records."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from governance.base.errors import ConfigError
from pipelines.features import turns
from pipelines.features.leaks import Around, HeldOut
from pipelines.features.table import FEATURES, compute, rows
from pipelines.kinds import KINDS
from tests.conftest import ROOT
from tests.pipelines.tables import answer, conversations, said, table


def feature(name: str, records: pa.Table, kind: str = "conversation", **around: Any) -> list[Any]:
    return list(compute([records], kind, [name], Around(**around)).columns()[name].tolist())


# --- conversations --------------------------------------------------------------------------------

TOOL_SAID = {"role": "tool", "content": "1", "name": "f"}
SYSTEM, TOOL = ("system", "Be kind."), ("tool", "42")

CONVERSATIONS = [
    # messages, what should hold of them
    (
        said("a", "b"),
        {
            "roles_alternate": True,
            "starts_with_user": True,
            "ends_with_assistant": True,
            "messages": 2,
        },
    ),
    (
        [*said(SYSTEM), *said("a", "b")],
        {"roles_alternate": True, "starts_with_user": True, "messages": 3},
    ),
    (said("a", "b", "c"), {"roles_alternate": True, "ends_with_assistant": False}),
    (said(("assistant", "a"), ("user", "b")), {"roles_alternate": True, "starts_with_user": False}),
    (said("a", ("user", "b"), ("assistant", "c")), {"roles_alternate": False}),
    (said("a", "b", SYSTEM), {"roles_alternate": False}),
    (
        said("a", "b", TOOL, TOOL, ("assistant", "c")),
        {"roles_alternate": True, "ends_with_assistant": True},
    ),
    (said("a", ""), {"empty_texts": 1, "characters": 1, "words": 1}),
    (said("a", " \n\u00a0"), {"empty_texts": 1}),
    (said("two words", "and  three\nmore"), {"empty_texts": 0, "words": 5, "characters": 24}),
    (said("a\x00b", "lost \ufffd bytes\ttab\n"), {"control_characters": 2}),
    (
        [],
        {"messages": 0, "empty_texts": 1, "starts_with_user": False, "ends_with_assistant": False},
    ),
    (answer("raw text"), {"roles_alternate": True, "ends_with_assistant": True, "empty_texts": 0}),
]


@pytest.mark.parametrize(("messages", "expected"), CONVERSATIONS)
def test_conversations(messages: list[dict[str, str]], expected: dict[str, Any]) -> None:
    others = [said("x", "y"), messages, said("p", "q")]
    found = compute([conversations(*others)], "conversation", expected, Around()).columns()
    assert {name: column[1] for name, column in found.items()} == expected


def test_a_duplicate_is_a_later_record_that_says_the_same() -> None:
    records = conversations(
        said("Hello  there", "B"),
        said("hello there", "b"),
        said("hello", "there b"),
        said("ﬁne", "x"),
        said("fine", "X"),
    )
    assert feature("duplicate", records) == [False, True, False, False, True]


CALL = '[{"name":"f","arguments":{"to":"x"}}]'


def calling(calls: str = CALL, **more: str) -> list[dict[str, str]]:
    return [*said("Q"), {"role": "assistant", "content": "", "tool_calls": calls, **more}]


def test_a_call_is_text_and_thinking_is_no_answer() -> None:
    thought = [*said("Q"), {"role": "assistant", "content": "", "thinking": "Hm."}]
    records = conversations(calling(), calling(thinking="Hm."), thought, said("Q", ""))
    assert feature("empty_texts", records) == [0, 0, 1, 1]
    assert feature(
        "roles_alternate", conversations([*calling(), TOOL_SAID, *said("", "A")[1:]])
    ) == [True]


def test_records_that_differ_in_one_part_are_no_duplicates() -> None:
    others = [calling(CALL.replace("x", "y")), calling(thinking="T"), said("Q", "f")]
    assert feature("duplicate", conversations(calling(), *others, calling())) == [
        False, False, False, False, True,
    ]  # fmt: skip
    prompts = [{"prompt": said("Q")}, {"prompt": said("Q"), "turns": '["R"]'},
        {"prompt": said("Q"), "tools": '["R"]'}, {"prompt": said("Q")}]  # fmt: skip
    assert feature("duplicate", table("prompt", *prompts), "prompt") == [False, False, False, True]


def test_a_further_turn_is_part_of_the_prompt() -> None:
    held_out = table("prompt", {"prompt": said("Q"), "turns": '["R"]'})
    again = table("prompt", {"prompt": said("q"), "turns": '["r"]'}, {"prompt": said("Q")})
    around = HeldOut([held_out], "prompt")
    assert feature("leaks_held_out", again, "prompt", held_out=around) == [True, False]


def test_who_says_it_is_part_of_what_is_said() -> None:
    assert feature(
        "duplicate", conversations(said("a", "b"), said(("assistant", "a"), ("user", "b")))
    ) == [
        False,
        False,
    ]


def test_near_duplicates_share_most_of_their_words() -> None:
    text = (
        "the quick brown fox jumps over the lazy dog and then goes home to sleep for a long long"
        " night of rest"
    )
    records = conversations(
        said(text, "ok"), said(text.replace("quick", "swift"), "ok"), said("something else", "ok")
    )
    assert feature("near_duplicate", records, similarity=0.7) == [False, True, False]
    assert feature("near_duplicate", records, similarity=0.99) == [False, False, False]


def test_the_language_is_told() -> None:
    german = said("Wo ist mein Paket geblieben?", "Es ist leider noch unterwegs zu Ihnen.")
    english = said("Where is my parcel now?", "It is unfortunately still on its way to you.")
    assert feature(
        "language_expected", conversations(german, english, said("?", "!")), language="en"
    ) == [
        False,
        True,
        True,
    ]
    with pytest.raises(ConfigError, match="names no language"):
        feature("language_expected", conversations(german))


# --- leaks ----------------------------------------------------------------------------------------

LONG = "My new router keeps losing the connection to the network"
HELD_OUT = HeldOut(
    [
        table(
            "prompt",
            {"prompt": said("What is 2 + 2?"), "answer": "4"},
            {"prompt": [*said(SYSTEM), *said(LONG)], "answer": "restart"},
            {"prompt": said("one", "two", "three"), "answer": "x"},
        )
    ],
    "prompt",
)

LEAKS = [
    (said("What is 2 + 2?", "4"), True),
    (said("WHAT is  2 + 2?", "4"), True),
    (said("W\u200bhat\u00a0is \u00ad2 +\u3164 2\ufe0f?\x07", "4"), True),
    (said("Wh\u0430t is 2 + 2?", "4"), False),  # a letter of another script: not seen
    (said("hi", "You said: " + LONG.replace("o", "o\u2060")), True),
    (said("What is 2 + 2?", "4", "And 3 + 3?", "6"), True),
    (said("What is 2 + 3?", "5"), False),
    (said("one", "two", "three", "four"), True),
    (said("one", "two"), False),
    (said(LONG, "restart it"), True),
    (said(f"Hello. {LONG}. Thanks.", "restart it"), True),
    (said("hi", f"You said: {LONG.upper()}"), True),
    (answer(f"raw text with {LONG}"), True),
    (said("My new router keeps losing the connection to the wall", "ok"), False),
    (said("one two three", "2 + 2"), False),
]


@pytest.mark.parametrize(("messages", "leaks"), LEAKS)
def test_leaks_into_the_held_out_dataset(messages: list[dict[str, str]], leaks: bool) -> None:
    assert feature(
        "leaks_held_out", conversations(said("x", "y"), messages), held_out=HELD_OUT
    ) == [False, leaks]


def test_a_held_out_dataset_does_not_leak_into_itself() -> None:
    assert feature("leaks_held_out", conversations(said("What is 2 + 2?", "4"))) == [False]


def test_leaks_between_splits_are_taken_from_training() -> None:
    rows = [
        ("train", "Ask A"),
        ("train", "ask b"),
        ("test", "ask a"),
        ("test", "ask c"),
        ("validation", "ask b"),
    ]
    records = table(
        "prompt", *({"split": split, "prompt": said(text), "answer": "x"} for split, text in rows)
    )
    assert feature("leaks_split", records, "prompt") == [True, True, False, False, False]


# --- pairs, labels, references --------------------------------------------------------------------


def pair(chosen: Any, rejected: Any, prompt: str = "p") -> dict[str, Any]:
    return {
        "prompt": said(prompt),
        "chosen": answer(chosen) if isinstance(chosen, str) else chosen,
        "rejected": answer(rejected) if isinstance(rejected, str) else rejected,
    }


PAIRS = [
    (
        pair("good", "bad one"),
        {"chosen_equals_rejected": False, "chosen_longer": 0.0, "shortest_answer": 4},
    ),
    (pair("Same ", "same"), {"chosen_equals_rejected": True, "chosen_longer": 1.0}),
    (pair("four", "char"), {"chosen_longer": 0.5}),
    (pair("good", ""), {"empty_texts": 1, "shortest_answer": 0}),
    (pair([], "bad"), {"empty_texts": 1, "ends_with_assistant": False}),
    (
        pair(said("other question", "good"), "bad"),
        {"answers_start_with_assistant": False, "roles_alternate": False},
    ),
    (pair("good", said(("assistant", "bad"), ("user", "why?"))), {"ends_with_assistant": False}),
    (
        {**pair("good", "bad"), "prompt": said("a", "b")},
        {"ends_with_user": False, "roles_alternate": False},
    ),
]


@pytest.mark.parametrize(("row", "expected"), PAIRS)
def test_pairs(row: dict[str, Any], expected: dict[str, Any]) -> None:
    found = compute(
        [table("preference", pair("x", "y"), row)], "preference", expected, Around()
    ).columns()
    assert {name: column[1] for name, column in found.items()} == expected


def test_contradictions_are_judgements_the_other_way_round() -> None:
    pairs = table(
        "preference",
        pair("a", "b"),
        pair("B", "a"),
        pair("b", "a", "other"),
        pair("a", "a"),
        pair("a", "b"),
    )
    assert feature("contradicted", pairs, "preference") == [False, True, False, False, True]
    rows = [("good", True), ("good", False), ("bad", False), ("bad", False)]
    labelled = table(
        "unpaired",
        *({"prompt": said("p"), "completion": answer(a), "label": label} for a, label in rows),
    )
    assert feature("contradicted", labelled, "unpaired") == [False, True, False, False]
    assert feature("duplicate", labelled, "unpaired") == [False, False, False, True]
    assert feature("label", labelled, "unpaired") == [1.0, 0.0, 0.0, 0.0]


def test_reference_answers() -> None:
    rows = table("prompt", *({"prompt": said("p"), "answer": text} for text in ("4", None, " ")))
    assert feature("has_answer", rows, "prompt") == [True, False, False]
    assert feature("empty_texts", rows, "prompt") == [0, 0, 1]
    assert feature("duplicate", rows, "prompt") == [False, False, False]


# --- ratings --------------------------------------------------------------------------------------


def rated(values: list[float], answers: int = 2) -> dict[str, Any]:
    ratings = [{"rater": f"rater_{at}", "value": value} for at, value in enumerate(values)]
    return {
        "prompt": said("p"),
        "completions": [answer(f"a{at}") for at in range(answers)],
        "ratings": ratings,
    }


def test_ratings() -> None:
    rows = table(
        "rated",
        rated([1, 1, 2]),
        rated([0, 1, 2]),
        rated([]),
        rated([3, 1]),
        rated([1.5]),
        rated([7.5], answers=1),
    )
    found = compute(
        [rows], "rated", ["raters", "ratings_valid", "rater_majority"], Around()
    ).columns()
    assert found["raters"].tolist() == [3, 3, 0, 2, 1, 1]
    assert found["ratings_valid"].tolist() == [True, True, True, False, False, True]
    np.testing.assert_allclose(found["rater_majority"], [2 / 3, 1 / 3, np.nan, 0.5, 1, 1])


def test_alpha_stands_in_every_row() -> None:
    rows = table("rated", rated([1, 1]), rated([2, 2]), rated([1, 2]))
    assert len({round(value, 6) for value in feature("rater_alpha", rows, "rated")}) == 1
    scores = table("rated", *(rated([value, value], answers=1) for value in (1, 2, 3.5)))
    assert feature("rater_alpha", scores, "rated") == [1.0, 1.0, 1.0]
    assert np.isnan(feature("rater_alpha_low", scores, "rated")).all(), "too few for an interval"


def test_the_lower_bound_lies_below_alpha_and_nearer_the_more_was_rated() -> None:
    few = [rated([1, 1]), rated([2, 2]), rated([1, 2]), rated([2, 2]), rated([1, 1])] * 4
    gaps = []
    for records in (few, few * 25):
        alpha, low = (
            feature(name, table("rated", *records), "rated")[0]
            for name in ("rater_alpha", "rater_alpha_low")
        )
        gaps.append(alpha - low)
    assert 0.02 < gaps[1] < gaps[0] / 3


def test_the_lower_bound_is_that_of_the_worse_kind_of_rating() -> None:
    compared = [rated([1, 1]), rated([2, 2])] * 10
    scores = [rated([1, 2], answers=1), rated([2, 1], answers=1)] * 10
    low = feature("rater_alpha_low", table("rated", *compared, *scores), "rated")[0]
    assert low < 0


# --- the table ------------------------------------------------------------------------------------

ROWS: dict[str, list[dict[str, Any]]] = {
    "conversation": [
        {"messages": said("a", "b")},
        {"messages": said("What is 2 + 2?", "4")},
        {"messages": said("a", "b")},
    ],
    "preference": [pair("a", "b"), pair("b", "a"), pair("a", "b"), pair("c", "c")],
    "unpaired": [
        {"prompt": said("p"), "completion": answer("a"), "label": at % 2 == 0} for at in range(4)
    ],
    "prompt": [{"prompt": said("p"), "answer": text} for text in ("a", None, "a")],
    "rated": [rated([1, 1]), rated([1, 2]), rated([2, 2]), rated([1, 1])],
}


@pytest.mark.parametrize("kind", KINDS)
def test_batches_make_no_difference(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    optional = {"near_duplicate", "language_expected"}
    names = [name for name, one in FEATURES.items() if kind in one.kinds and name not in optional]
    records = pa.concat_tables([table(kind, *ROWS[kind])] * 3)
    whole = compute([records], kind, names, Around(HELD_OUT)).columns()
    monkeypatch.setattr(turns, "ROW_GROUP", 2)
    tables = [records.slice(0, 5), records.slice(5)]
    parts = compute(tables, kind, names, Around(HELD_OUT)).columns()
    for name in names:
        np.testing.assert_array_equal(whole[name], parts[name], err_msg=name)
        assert len(whole[name]) == records.num_rows
        assert whole[name].dtype != object


@pytest.mark.parametrize("kind", KINDS)
def test_no_records_have_features_too(kind: str) -> None:
    names = [
        name for name, one in FEATURES.items() if kind in one.kinds and name != "language_expected"
    ]
    assert all(
        len(column) == 0
        for column in compute([table(kind)], kind, names, Around()).columns().values()
    )


def test_a_feature_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigError, match="a conversation has no feature chosen_longer, wrods"):
        compute(
            [conversations(said("a", "b"))],
            "conversation",
            ["words", "chosen_longer", "wrods"],
            Around(),
        )


def test_the_page_names_every_feature() -> None:
    page = (ROOT / "docs" / "quality.md").read_text(encoding="utf-8")
    for name, kinds, says in rows():
        assert f"| `{name}` | {kinds} | {says} |\n" in page
