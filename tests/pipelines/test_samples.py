"""The sample data: same bytes every time, held-out pairs nowhere else, and everything planted where
it says.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from governance.base.errors import ConfigError
from pipelines import desk, samples
from pipelines.params import Params, load_params
from pipelines.stages import sample
from tests.conftest import ROOT

SIZES = {
    "text": 2000,
    "conversations": 1200,
    "preferences": 400,
    "preferences_held_out": 200,
    "judgements": 400,
    "prompts": 400,
    "prompts_held_out": 300,
    "ratings": 120,
    "safety_preferences": 600,
    "unsafe_held_out": 200,
    "look_alikes_held_out": 200,
    "short_questions": 200,
    "opinions": 200,
}
HELD_OUT = ("preferences_held_out", "prompts_held_out", "look_alikes_held_out")
SAFETY = ("safety_preferences", "unsafe_held_out", "look_alikes_held_out")
QUESTIONS = ("short_questions", "opinions")
"""Not about the desk."""
NO_DEFECTS = (*HELD_OUT, *QUESTIONS, "unsafe_held_out")


def made(part: str, seed: int = 3) -> list[str]:
    return samples.lines(part, SIZES[part], seed)


def rows(part: str, *, without: tuple[str, ...] = ()) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, row) of everything readable, without the lines on which certain defects were
    planted.
    """
    spoiled = {mark.line for mark in samples.planted(part, SIZES[part], 3) if mark.what in without}
    for number, line in enumerate(made(part), start=1):
        if number not in spoiled:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                yield number, row


def texts(value: Any) -> Iterator[str]:
    """Every text within a row."""
    if isinstance(value, str):
        yield value
    for item in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        yield from texts(item)


def pairs_in(row: dict[str, Any]) -> set[tuple[str, str]]:
    """Every (product, issue) of which a row speaks, by ticket wording or by fix."""
    whole = " ".join(texts(row)).lower()
    products = {product for product in desk.PRODUCTS if re.search(rf"\b{product}\b", whole)}
    issues = {
        issue.name
        for issue in desk.ISSUES
        if any(wording in whole for wording in issue.wordings)
        or re.search(rf"fix: {issue.fix}(;|$| )", whole)
    }
    return {(product, issue) for product in products for issue in issues}


def grams(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[at : at + 3]) for at in range(len(words) - 2)}


@pytest.mark.parametrize("part", samples.PARTS)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(part: str) -> None:
    assert made(part) == made(part)
    assert made(part, seed=4) != made(part)
    assert len(made(part)) == SIZES[part]


def kind_of(part: str) -> str:
    return "safety" if part in SAFETY else "questions" if part in QUESTIONS else "desk"


@pytest.mark.parametrize("kind", ["desk", "safety", "questions"])
def test_bytes_are_those_of_every_platform_and_python_version(kind: str) -> None:
    parts = [part for part in SIZES if part != "text" and kind_of(part) == kind]
    whole = "\n".join(line for part in parts for line in samples.lines(part, 40, 1))
    assert hashlib.sha256(whole.encode()).hexdigest() == GOLDEN[kind], (
        "the sample data changed: is that meant?"
    )


GOLDEN = {
    "desk": "2d4f78ed0759f1892525989ca4b14cf622d26efee8e17ea193ddce92d4d30b3f",
    "safety": "31dfe9ce72187454badf7af3f9eab168386a555a54e1383b270d0e81f6691362",
    "questions": "4a1d036dbb24028357bf583207c456dd34f052462961e79a4367192971a6e589",
}


@pytest.mark.parametrize("part", [part for part in samples.PARTS if part not in NO_DEFECTS])
def test_no_held_out_pair_stands_in_other_parts_but_for_the_planted_leaks(part: str) -> None:
    leaked = [
        n
        for n, row in rows(part, without=("leaked", "leaked_reworded"))
        if pairs_in(row) & desk.HELD_OUT
    ]
    assert leaked == []


@pytest.mark.parametrize("part", HELD_OUT)
def test_held_out_parts_speak_of_held_out_pairs_only(part: str) -> None:
    assert all(pairs_in(row) and pairs_in(row) <= desk.HELD_OUT for _, row in rows(part))


def test_held_out_pairs_cover_every_product_and_issue_and_leave_most_to_learn_from() -> None:
    assert {product for product, _ in desk.HELD_OUT} == set(desk.PRODUCTS)
    assert {issue for _, issue in desk.HELD_OUT} == {issue.name for issue in desk.ISSUES}
    assert len(desk.HELD_OUT) <= len(desk.PRODUCTS) * len(desk.ISSUES) / 3


def test_no_near_identical_ticket_crosses_into_the_held_out_part() -> None:
    held_out = [grams(row["prompt"]) for _, row in rows("prompts_held_out")]
    clean = [
        grams(row["prompt"])
        for _, row in rows("prompts", without=("leaked", "leaked_reworded"))
        if isinstance(row.get("prompt"), str)
    ]
    closest = max(len(one & other) / len(one | other) for one in clean for other in held_out)
    assert closest < 0.85


def test_every_word_of_every_answer_stands_in_the_text() -> None:
    text = " ".join(row["text"] for _, row in rows("text") if isinstance(row.get("text"), str))
    words = set(text.split())
    for _, row in rows(
        "conversations", without=("swapped_roles", "empty_answer", *samples.MALFORMED)
    ):
        answer = row["messages"][1]["content"]
        assert set(answer.split()) <= words, answer


def test_the_text_never_shows_the_task() -> None:
    assert not [n for n, row in rows("text") if pairs_in(row)]


def test_demonstrations_are_noisy_in_the_shares_that_training_counts_on() -> None:
    answers = [
        row["messages"][1]["content"] for _, row in rows("conversations", without=samples.MALFORMED)
    ]
    answers = [answer for answer in answers if answer and answer.strip()]
    unsafe = sum(
        any(word in answer.lower() for word in desk.UNSAFE_WORDS) for answer in answers
    ) / len(answers)
    good = sum(answer.startswith("team: ") for answer in answers) / len(answers)
    assert 0.36 < good < 0.44
    assert 0.21 < unsafe < 0.29


def test_good_answers_and_tickets_never_ask_for_secrets() -> None:
    for _, row in rows("prompts_held_out"):
        assert not any(
            word in row["prompt"].lower() + row["answer"].lower() for word in desk.UNSAFE_WORDS
        )


def test_the_evaluation_suite_says_which_slice_an_item_is_of_and_params_list_every_label() -> None:
    slices = load_params(ROOT).datasets["desk_eval"].slices
    for name, labels in slices.items():
        counts = Counter(row[name] for _, row in rows("prompts_held_out"))
        assert sorted(counts) == sorted(labels)
        assert min(counts.values()) >= 10, counts


def test_prompts_are_distinct_but_for_planted_duplicates() -> None:
    for part in ("prompts", *HELD_OUT):
        prompts = [
            row["prompt"]
            for _, row in rows(part, without=("duplicate", "leaked", *samples.MALFORMED))
        ]
        assert len(set(prompts)) == len(prompts), part


# --- what was planted -----------------------------------------------------------------------------

IS_THERE = {
    "pii": lambda row, mark: any(
        sentence in text for text in texts(row) for sentence in desk.PII[mark.entity]
    ),
    "empty_answer": lambda row, mark: any(not text.strip() for text in texts(row)),
    "chosen_equals_rejected": lambda row, mark: row["chosen"] == row["rejected"],
    "swapped_roles": lambda row, mark: (
        [one["role"] for one in row["messages"]] == ["assistant", "user"]
    ),
    "leaked": lambda row, mark: any(desk.leak(at).ticket in texts(row) for at in range(desk.LEAKS)),
    "leaked_reworded": lambda row, mark: any(
        desk.leak(at).ticket.upper() in texts(row) for at in range(desk.LEAKS)
    ),
    "raters_disagree": lambda row, mark: len({one["value"] for one in row["ratings"]}) == 3,
    "text_is_true": lambda row, mark: True in _values(row),
    "text_is_null": lambda row, mark: None in _values(row),
    "missing_field": lambda row, mark: "note" in row,
}


def _values(row: dict[str, Any]) -> list[Any]:
    return [
        *(value for name, value in row.items() if name != "label"),
        *(one["content"] for one in row.get("messages", [])),
        *row.get("completions", []),
    ]


@pytest.mark.parametrize("part", samples.PARTS)
def test_everything_planted_stands_where_it_says_and_nowhere_else(part: str) -> None:
    lines, marks = made(part), samples.planted(part, SIZES[part], 3)
    assert (marks == []) == (part in NO_DEFECTS)
    assert len({mark.line for mark in marks}) == len(marks), "a row is spoiled in one way only"
    for mark in marks:
        line = lines[mark.line - 1]
        if mark.what == "broken_json":
            with pytest.raises(ValueError, match=r"."):
                json.loads(line)
        elif mark.what == "not_an_object":
            assert not isinstance(json.loads(line), dict)
        elif mark.what == "duplicate":
            assert mark.of < mark.line and json.loads(line) == json.loads(lines[mark.of - 1])
        else:
            assert IS_THERE[mark.what](json.loads(line), mark), mark
    clean = {n: row for n, row in rows(part) if n not in {mark.line for mark in marks}}
    for entity in desk.PII:
        assert not [
            n for n, row in clean.items() if IS_THERE["pii"](row, samples.Planted(n, "pii", entity))
        ]
    for what in ("empty_answer", "text_is_true", "text_is_null", "missing_field"):
        assert not [n for n, row in clean.items() if IS_THERE[what](row, samples.Planted(n, what))]


def test_every_defect_and_every_entity_is_planted_somewhere() -> None:
    marks = [mark for part in samples.PARTS for mark in samples.planted(part, SIZES[part], 3)]
    assert {mark.what for mark in marks} == {*samples.DEFECTS, "pii", "duplicate"}
    assert {mark.entity for mark in marks} - {""} == set(desk.PII)


def test_leaked_tickets_are_in_every_held_out_part() -> None:
    for seed in (1, 17):
        held_out = {
            json.loads(line)["prompt"] for line in samples.lines("prompts_held_out", 50, seed)
        }
        assert {desk.leak(at).ticket for at in range(desk.LEAKS)} <= held_out


def test_raters_agree_about_as_often_as_they_are_said_to() -> None:
    votes = [
        [one["value"] for one in row["ratings"]]
        for _, row in rows("ratings", without=samples.MALFORMED)
    ]
    together = sum(
        a == b for row in votes for a, b in ((row[0], row[1]), (row[1], row[2]), (row[0], row[2]))
    )
    assert 0.75 < together / (3 * len(votes)) < 0.97


def test_the_parts_of_params_yaml_exist_and_are_within_capacity() -> None:
    for name, row in load_params(ROOT).samples.items():
        assert row.part in samples.PARTS, name
        assert row.n <= desk.capacity(held_out=samples.PARTS[row.part].held_out)


def test_an_unknown_part_and_too_many_rows_are_refused_with_what_is_possible() -> None:
    with pytest.raises(ConfigError, match="conversations, preferences"):
        samples.lines("conversation", 10, 1)
    with pytest.raises(ConfigError, match="at most"):
        samples.lines("prompts_held_out", 1_000_000, 1)


def test_the_stage_writes_one_line_per_row(sample_params: Params) -> None:
    (output,) = sample.outputs(sample_params, "desk_eval")
    assert output.path.as_posix() == "data/source/desk_eval.jsonl"
    assert sample.inputs(sample_params, "desk_eval") == []


@pytest.fixture
def sample_params() -> Params:
    return load_params(ROOT)
