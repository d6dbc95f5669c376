"""Known defects: one scenario table per feature, beside it what looks alike and is none."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pipelines.features.contamination import HeldOutForms
from pipelines.features.leaks import Around, HeldOut
from pipelines.features.table import compute
from tests.pipelines.tables import answer, conversations, said, table


def flags(name: str, *pairs: tuple[str, str], **around: Any) -> list[Any]:
    records = conversations(*(said(*pair) for pair in pairs))
    return list(compute([records], "conversation", [name], Around(**around)).columns()[name])


ALONE = [
    # feature, question, answer, what it says
    ("no_output", "Q", "No output", True),
    ("no_output", "Q", "<noinput>", True),
    ("no_output", "Q", "N/A.", True),
    ("no_output", "Q", "None of them is right.", False),
    ("no_output", "Q", "42", False),
    ("refusal", "Q", "I'm sorry, but I cannot help with that.", True),
    ("refusal", "Q", "The museum is sorry to close early.", False),
    ("truncated_answer", "Q", "These events led to a war that finally boiled over and", True),
    ("truncated_answer", "Q", "Use this:\n```python\nprint(1)", True),
    ("truncated_answer", "Q", "Use this:\n```python\nprint(1)\n```", False),
    (
        "truncated_answer", "Q",
        "The dog ran home after a long day and the cat slept upstairs all night while it rained",
        True,
    ),
    ("truncated_answer", "Q", "billing", False),
    ("truncated_answer", "Q", "1. Werewolf\n2. Charades\n3. Uno", False),
    (
        "truncated_answer", "Q",
        "I look forward to hearing from you about this matter very soon. Yours sincerely, Ann Lee",
        False,
    ),
    ("missing_input", "Edit the following sentence.", "Done.", True),
    ("missing_input", "Summarize the article below.", "It says so.", True),
    ("missing_input", "Edit the following sentence: he go home", "He goes home.", False),
    ("missing_input", "Edit the following sentence.\n\nHe go home.", "He goes home.", False),
    ("missing_input", "Write code that sorts a given list.", "sorted(x)", False),
    ("merged_instructions", "Q", "Yes.\n\n### Instruction: Name a fruit.", True),
    ("merged_instructions", "Q", "Yes.\n\nHuman: and now?", True),
    ("merged_instructions", "Q", "Ingredients: rice.\nInstructions: boil it.", False),
    ("unusable_link", "Describe the following image.", "A dog.", True),
    ("unusable_link", "Summarize https://example.org/news", "News.", True),
    ("unusable_link", "How do I open an image in Python?", "With a library.", False),
    ("code_missing", "Write a Python function that adds numbers.", "You add them.", True),
    ("code_missing", "Write a function that adds.", "def add(a, b): return a + b", False),
    ("code_missing", "Write a code of conduct.", "Be kind.", False),
]  # fmt: skip


@pytest.mark.parametrize(("name", "question", "text", "expected"), ALONE)
def test_a_defect_of_one_record(name: str, question: str, text: str, expected: bool) -> None:
    assert flags(name, ("other", "Fine."), (question, text)) == [False, expected]


def test_what_was_said_before_may_be_the_input() -> None:
    turns = said("He go home.", "What about it?", "Edit the given sentence.", "He goes home.")
    found = compute([conversations(turns)], "conversation", ["missing_input"], Around())
    assert found.columns()["missing_input"].tolist() == [False]


REFERENCES = [
    # worked solution, reference answer, what it says; None: nothing
    ("48+24 = 72\n#### 72", "72", 0),
    ("48+24 = 72\n#### 72", "#### 73", 1),
    ("So the answer is $1,200.", "$1200.00", 0),
    ("So the answer is 12.", "13 apples", 1),
    ("12 apples, in 3 boxes", "13", None),  # it names no result
    ("#### 72", "billing", None),
    ("#### 72", "between 70 and 75", None),
    ("540 miles in A.\nCorrect answer - B", "B", 0),
    ("Correct answer - B", "(C)", 1),
    ("It is the second.", "B", None),
    (None, "B", None),
]


@pytest.mark.parametrize(("solution", "reference", "expected"), REFERENCES)
def test_a_reference_is_verified(
    solution: str | None, reference: str, expected: int | None
) -> None:
    extra = json.dumps({"solution": solution, "other": "#### 5"})
    rows = [{"answer": reference, "extra": extra}, {"answer": reference}, {"answer": None}]
    records = table("prompt", *({"prompt": said("Q"), **row} for row in rows))
    name = "answer_differs_from_reference"
    first, *rest = compute([records], "prompt", [name], Around()).columns()[name]
    assert np.isnan(first) if expected is None else first == expected
    assert np.isnan(rest).all()


SUMS = [
    ("48/2 = <<48/2=24>>24 clips", 0),
    ("14*20=140 minutes", 1),
    ("$4200+$3000 = $8600", 1),
    ("it cost 10 x 1,248 = 11,480.", 1),
    ("2 + 3 * 4 = 14 and 2 + 3 * 4 = 20", 1),
    ("2/3 = 0.67, 2/3 = 0.66, 2/3=.7", 0),
    ("2/3 = 0.76", 1),
    ("1/0 = 5", 1),
    # what is no sum, or one that is read in two ways
    ("8 x 1 1/2 = 12", 0),
    ("25 / 1/3 = 75", 0),
    ("M + 4 + 2 = 8", 0),
    ("3*30 = 30 + M", 0),
    ("100/5 = 5A/5", 0),
    ("0900-0130 = 0730", 0),
    ("20% * 50 = 10", 0),
    ("set at 6:00+48=6:48", 0),
]


@pytest.mark.parametrize(("text", "wrong"), SUMS)
def test_sums_come_out(text: str, wrong: int) -> None:
    assert flags("wrong_sums", ("Q", text)) == [wrong]


def test_a_very_long_sum_takes_no_time() -> None:
    assert flags("wrong_sums", ("Q", "1+" * 20_000 + "1 = 3"), ("Q", "9" * 50_000 + "=1")) == [0, 0]


def test_the_share_of_one_answer() -> None:
    pairs = [("a", "Yes."), ("b", "yes. "), ("c", "No."), ("d", "")]
    assert flags("answer_share", *pairs) == pytest.approx([2 / 3, 2 / 3, 1 / 3, 0])
    rows = [("Yes.", True), ("Yes.", False), ("No.", True)]
    labelled = table(
        "unpaired",
        *({"prompt": said("q"), "completion": answer(a), "label": label} for a, label in rows),
    )
    found = compute([labelled], "unpaired", ["answer_share"], Around()).columns()["answer_share"]
    assert found.tolist() == [0.5, 0, 0.5], "what is unwanted is not learnt"


def test_mixed_forms() -> None:
    pairs = [("q", "One."), ("q", "Two."), ("q", "three"), ("q", "- four")]
    assert flags("form_share", *pairs) == [0.5, 0.5, 0.25, 0.25]


def test_another_language_than_most() -> None:
    english = ("Where is my parcel now?", "It is unfortunately still on its way to you.")
    german = ("Wo ist mein Paket geblieben?", "Es ist leider noch unterwegs zu Ihnen.")
    assert flags("other_language", english, german, english, ("?", "!")) == [
        False, True, False, False,
    ]  # fmt: skip


# --- contamination --------------------------------------------------------------------------------

QUESTION = "Natalia sold 48 clips in April and half as many in May, how many in all?"
REFERENCE = "She sold 24 clips in May, so that makes 72 clips in all."
HELD_OUT = HeldOut(
    [table("prompt", {"prompt": said(QUESTION), "answer": REFERENCE}, {"prompt": said("2 + 2")})],
    "prompt",
)

NEAR = [
    (QUESTION.replace("48", "96"), True),
    (QUESTION.replace("48", "96").replace("half", "twice"), False),
    (QUESTION.replace("Natalia", "Maria"), True),
    (QUESTION.upper(), True),
    ("3 + 5", True),
    ("How are you?", False),
]


@pytest.mark.parametrize(("question", "near"), NEAR)
def test_a_held_out_question_with_a_word_or_its_numbers_changed(question: str, near: bool) -> None:
    assert flags("near_held_out", ("other", "x"), (question, "x"), held_out=HELD_OUT) == [
        False, near,
    ]  # fmt: skip


def test_the_overlap_with_held_out_questions() -> None:
    words = QUESTION.split()
    half = " ".join(words[: len(words) // 2])
    pairs = [(QUESTION, "x"), (f"{half} and then?", "x"), ("other", f"You ask: {QUESTION}")]
    shares = flags("held_out_overlap", *pairs, ("no", "no"), held_out=HELD_OUT)
    assert shares[0] == shares[2] == 1
    assert 0.1 < shares[1] < 0.6
    assert shares[3] == 0


def test_a_reference_answer_in_a_training_answer() -> None:
    pairs = [("other", f"Well. {REFERENCE.upper()} Bye."), ("other", "She sold 24 clips in May.")]
    assert flags("quotes_held_out_answer", *pairs, held_out=HELD_OUT) == [True, False]


def test_the_forms_of_a_held_out_dataset_are_made_once() -> None:
    assert HELD_OUT.derived(HeldOutForms) is HELD_OUT.derived(HeldOutForms)


# --- preferences ----------------------------------------------------------------------------------


def pairs_of(name: str, *rows: tuple[str, str, str]) -> list[Any]:
    records = table(
        "preference",
        *(
            {"prompt": said(prompt), "chosen": answer(chosen), "rejected": answer(rejected)}
            for prompt, chosen, rejected in rows
        ),
    )
    return list(compute([records], "preference", [name], Around()).columns()[name])


def test_preferences_that_go_round() -> None:
    circle = [("p", "a", "b"), ("p", "b", "c"), ("p", "c", "a")]
    beside = [("p", "a", "d"), ("q", "a", "b"), ("q", "b", "c"), ("p", "e", "e")]
    assert pairs_of("in_cycle", *circle, *beside) == [True] * 3 + [False] * 4


def test_a_contradiction_but_for_punctuation() -> None:
    rows = [("p", "Yes, it is.", "No"), ("p", "no!", "Yes it is"), ("q", "No", "Yes it is")]
    assert pairs_of("near_contradicted", *rows) == [False, True, False]


def test_answers_with_the_same_words() -> None:
    rows = [("p", "a b c", "c, b a!"), ("p", "a b", "a c"), ("p", "a", "b"), ("p", "", "")]
    assert pairs_of("answers_alike", *rows) == [1, 0.5, 0, 1]


def test_results_that_differ() -> None:
    pairs = [("q", "#### 4"), ("q", "so the answer is 5."), ("r", "#### 4"), ("r", "the answer: 4"),
             ("s", "I think 4 or 5")]  # fmt: skip
    assert flags("result_disputed", *pairs) == [True, True, False, False, False]
    rows = [("#### 4", True), ("#### 4", False), ("#### 5", False)]
    labelled = table(
        "unpaired",
        *({"prompt": said("q"), "completion": answer(a), "label": label} for a, label in rows),
    )
    found = compute([labelled], "unpaired", ["result_disputed"], Around()).columns()
    assert found["result_disputed"].tolist() == [True, True, False]


# --- calls of tools -------------------------------------------------------------------------------

TOOLS = (
    '[{"type":"function","function":{"name":"weather","parameters":{"type":"object",'
    '"properties":{"city":{"type":"string"},"format":{"type":"string","pattern":"(a+)+$"}},'
    '"required":["city"],"additionalProperties":false}}}]'
)
CALLS = [
    ('[{"name":"weather","arguments":{"city":"Bonn"}}]', TOOLS, 0),
    ('[{"name":"weather","arguments":{"city":7}}]', TOOLS, 1),
    ('[{"name":"weather","arguments":{}},{"name":"time","arguments":{}}]', TOOLS, 2),
    ('[{"name":"weather","arguments":{"city":"B","unit":"C"}}]', TOOLS, 1),
    ('[{"name":"weather","arguments":{"city":"B","format":"' + "a" * 40 + '!"}}]', TOOLS, 0),
    ('[{"name":"weather","arguments":{"city":"B","format":1}}]', TOOLS, 1),
    ('[{"name":"weather","arguments":{"city":"Bonn"}}]', None, 1),
    ('[{"name":"f","arguments":{}}]', '[{"name":"f","parameters":{"type":"strange"}}]', 1),
    ('[{"name":"f","arguments":{}}]', '[{"name":"f","parameters":{"$ref":"http://x.test/s"}}]', 1),
    ('[{"name":"f","arguments":{}}]', '[{"name":"f"}]', 0),
]


@pytest.mark.parametrize(("calls", "tools", "wrong"), CALLS)
def test_calls_fit_the_tools_of_the_record(calls: str, tools: str | None, wrong: int) -> None:
    called = [*said("Q"), {"role": "assistant", "content": "", "tool_calls": calls}]
    rows = [{"messages": said("Q", "A")}, {"messages": called, "tools": tools}]
    found = compute([table("conversation", *rows)], "conversation", ["wrong_calls"], Around())
    assert found.columns()["wrong_calls"].tolist() == [0, wrong]
