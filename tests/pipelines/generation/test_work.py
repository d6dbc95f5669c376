"""Generated records: what is kept, what is dropped and why; by endpoints and by models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from governance.policy.constitution import Templates
from pipelines.generation import speakers
from pipelines.generation.work import Made
from tests.pipelines.generation.asking import PROMPTS, elsewhere, generated, honest, row, work
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
