"""Generated records: what is kept, what is dropped and why; by endpoints and by models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from governance.attest.requests import EndpointRef
from governance.base.progress import Bar
from governance.policy.constitution import Constitution, Templates
from pipelines.generation import speakers
from pipelines.generation.endpoint import Endpoint
from pipelines.generation.replies import Replies
from pipelines.generation.speakers import Elsewhere
from pipelines.generation.work import Made, Work
from pipelines.params import Generate
from tests.pipelines.generation.peer import Peer, peer, said

CONSTITUTION = Constitution.model_validate(
    {
        "title": "Two principles",
        "principles": [
            {"name": "short", "text": "The answer is short."},
            {"name": "kind", "text": "The answer is kind, even to {people} in a hurry."},
        ],
    }
)
PROMPTS = [
    {"id": f"{at:032x}", "prompt": [{"role": "user", "content": f"question {at}"}]}
    for at in range(12)
]


def row(**changes: Any) -> Generate:
    fields = {
        "kind": "pairs", "prompts": "tickets", "constitution": "two", "generator": "sft",
        "judge": "sft", "seed": 4, "max_new_tokens": 8, **changes,
    }  # fmt: skip
    return Generate.model_validate(fields)


def elsewhere(server: Peer, folder: Path, settings: Generate) -> Elsewhere:
    ref = EndpointRef(name="frontier", url=server.uri, model="m")
    endpoint = Endpoint(ref, Replies(folder), {}, Bar(None, 0, ""))
    return Elsewhere(endpoint, CONSTITUTION.templates, settings)


def work(settings: Generate) -> Work:
    return Work(settings, CONSTITUTION, "a" * 64, "b" * 64)


def model(body: dict[str, Any], judges: Any) -> str:
    """A draft that its seed determines; a critique; a revision; or what `judges` says."""
    last = body["messages"][-1]["content"]
    if last.startswith("Compare two answers"):
        return str(judges(last))
    if "falls short" in last:
        return "too long"
    return "revised" if "critique" in last else f"draft {body['seed']}"


def generated(folder: Path, settings: Generate, judges: Any, prompts: Any = PROMPTS) -> Made:
    with peer(lambda body, before: (200, {}, said(model(body, judges)))) as server:
        asked = elsewhere(server, folder, settings)
        made = Made()
        doing = work(settings)
        tasks = doing.tasks(prompts, made)
        if settings.kind == "pairs":
            doing.compare(tasks, asked, asked, made)
        else:
            doing.revise(tasks, asked, asked, made)
    return made


def honest(question: str) -> str:
    """Prefers the draft of the higher number, wherever it stands."""
    first, second = (int(part.split()[0]) for part in question.split("draft ")[1:])
    return "A" if first > second else "B"


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
