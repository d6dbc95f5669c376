"""Generated records: what is kept, what is dropped and why; by endpoints and by models."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from governance.policy.constitution import Templates
from pipelines.generation import speakers
from pipelines.generation.work import Made
from pipelines.stages import generate
from tests.pipelines.generation.asking import (
    PROMPTS,
    elsewhere,
    generated,
    honest,
    model,
    row,
    searched,
    work,
)
from tests.pipelines.generation.peer import peer, said


def test_a_judge_with_position_bias_is_dropped_and_counted(tmp_path: Path) -> None:
    made = generated(tmp_path, row(), lambda question: "A")
    assert made.rows == [] and made.dropped == {"INCONSISTENT": 12}


def test_a_judge_that_is_consistent_gives_pairs_that_name_what_they_were_made_from(
    tmp_path: Path,
) -> None:
    made = generated(tmp_path, row(), honest)
    assert made.counts.model_dump() == {"asked": 12, "kept": 12, "dropped": {}}
    for pair, prompt in zip(made.rows, PROMPTS, strict=True):
        assert int(pair["chosen"].split()[1]) > int(pair["rejected"].split()[1])
        assert pair["prompt"] == prompt["prompt"]
        lineage = pair["lineage"]
        assert lineage.keys() == {"parent", "principle", "template", "judge"}
        assert lineage["parent"] == prompt["id"] and lineage["judge"] == "b" * 64
    assert len({pair["lineage"]["principle"] for pair in made.rows}) == 2


@pytest.mark.parametrize(
    ("reply", "reason"),
    [("Both are fine.", "UNREADABLE"), ("", "UNREADABLE"), ("A cat sat", "UNREADABLE")],
)
def test_a_verdict_that_is_no_letter_is_dropped(tmp_path: Path, reply: str, reason: str) -> None:
    assert generated(tmp_path, row(limit=2), lambda _: reply).dropped == {reason: 12}


@pytest.mark.parametrize("reply", ["B", "**B**", "Answer: B.", " B\n"])
def test_letters_are_read_as_judges_write_them(reply: str) -> None:
    assert speakers._letter(reply) is False


def test_a_revision_is_the_answer_of_a_conversation(tmp_path: Path) -> None:
    made = generated(tmp_path, row(kind="revisions", principles=2), honest)
    assert len(made.rows) == 24
    messages = made.rows[0]["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert messages[-1]["content"] == "revised"


def test_prompts_with_tools_or_turns_are_dropped(tmp_path: Path) -> None:
    odd = [
        {**PROMPTS[0], "tools": "[{}]"},
        {**PROMPTS[1], "turns": '["more"]'},
        {**PROMPTS[2], "prompt": [{"role": "tool", "content": "42", "name": "add"}]},
    ]
    made = generated(tmp_path, row(), honest, [*odd, *PROMPTS[3:]])
    assert made.dropped == {"NOT_PLAIN": 3} and len(made.rows) == 9


def test_answers_that_are_empty_cut_off_or_equal_are_dropped(tmp_path: Path) -> None:
    bodies = {0: said(""), 1: said("half", "length"), 2: said("same")}

    def answer(body: dict[str, Any], before: int) -> tuple[int, dict[str, str], bytes]:
        number = int(body["messages"][-1]["content"].split()[1])
        return 200, {}, bodies[number]

    made, settings = Made(), row()
    with peer(answer) as server:
        asked, doing = elsewhere(server, tmp_path, settings), work(settings)
        doing.compare(doing.tasks(PROMPTS[:3], made), asked, asked, made)
    assert made.dropped == {"EMPTY": 1, "CUT_OFF": 1, "EQUAL": 1}


@pytest.mark.parametrize("place", ["draft", "critique", "revision", "verdict", "swapped"])
def test_a_record_that_an_endpoint_refuses_is_dropped(tmp_path: Path, place: str) -> None:
    """Of the record for question 3, one request is refused."""
    starts = {"critique": "falls short", "revision": "critique"}
    seen = Counter[str]()

    def answer(body: dict[str, Any], before: int) -> tuple[int, dict[str, str], bytes]:
        first, last = body["messages"][0]["content"], body["messages"][-1]["content"]
        is_third = "question 3\n" in f"{first}\n"
        at = "verdict" if last.startswith("Compare two answers") else "draft"
        at = next((name for name, text in starts.items() if text in last), at)
        seen[at] += is_third
        is_asked = at == place or (place == "swapped" and at == "verdict" and seen[at] == 2)
        return (400, {}, b"") if is_third and is_asked else (200, {}, said(model(body, honest)))

    settings = row(kind="revisions" if place in starts else "pairs")
    made = Made()
    with peer(answer) as server:
        asked, doing = elsewhere(server, tmp_path, settings), work(settings)
        tasks = doing.tasks(PROMPTS[:5], made)
        (doing.revise if place in starts else doing.compare)(tasks, asked, asked, made)
    assert made.dropped == {"REFUSED": 1} and len(made.rows) == 4


SECRETS = ("jane.doe@example.com", "4111 1111 1111 1111", "AKIAABCDEFGHIJKLMNOP")
"""What the default policy replaces, drops and blocks."""


def knows_too_much(body: dict[str, Any], before: int) -> tuple[int, dict[str, str], bytes]:
    """Drafts of the first three prompts hold a secret each, and the critique of the fourth one."""
    first, last = body["messages"][0]["content"], body["messages"][-1]["content"]
    number = int(first.split()[1]) if first.startswith("question") else -1
    if last.startswith("Compare two answers"):
        return 200, {}, said(honest(last))
    if "falls short" in last:
        return 200, {}, said(f"write to {SECRETS[0]}" if number == 3 else "too long")
    if "critique" in last:
        return 200, {}, said(f"revised by {SECRETS[0]}")
    secret = SECRETS[number] if number in range(3) else "nobody"
    return 200, {}, said(f"draft {body['seed'] % 997} by {secret}")


@pytest.mark.parametrize("kind", ["pairs", "revisions"])
def test_what_was_written_is_searched_before_it_is_sent(tmp_path: Path, kind: str) -> None:
    made, settings = Made(), row(kind=kind)
    with peer(knows_too_much) as server:
        asked = elsewhere(server, tmp_path, settings)
        doing = replace(work(settings), clean=searched)
        tasks = doing.tasks(PROMPTS[:6], made)
        (doing.compare if kind == "pairs" else doing.revise)(tasks, asked, asked, made)
    assert not any(secret in json.dumps(server.asked) for secret in SECRETS)
    assert made.dropped == {"PII_DROPPED": 1, "PII_BLOCKED": 1} and len(made.rows) == 4
    assert made.counts.redacted == {"EMAIL_ADDRESS": 2}
    assert generate.in_words(made.counts).endswith("replaced before sending: EMAIL_ADDRESS 2")
    kept = json.dumps(made.rows[0])
    assert "<EMAIL_ADDRESS_" in kept if kind == "pairs" else SECRETS[0] in kept


def test_other_prompts_change_nothing_of_a_record(tmp_path: Path) -> None:
    whole = generated(tmp_path, row(), honest).rows
    assert generated(tmp_path, row(), honest, PROMPTS[6:]).rows == whole[6:]


def test_what_an_answer_holds_is_no_place_of_a_template() -> None:
    filled = Templates().filled(
        "verdict", principle="p", conversation="{first}", first="{second}", second="x"
    )
    assert "Answer A:\n{second}\n" in filled and "Conversation:\n{first}\n" in filled


def test_a_template_has_exactly_its_places() -> None:
    for text in ("{principle}", "{principle} {answer} {other}"):
        with pytest.raises(ValueError, match="exactly the places"):
            Templates.model_validate({"critique": text})
