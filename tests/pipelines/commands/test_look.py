"""What a steward sees of a scan, and what becomes of their judgement: counts, and no text."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from governance.attest.predicates import Judgement
from pipelines.pii.engine import Span
from pipelines.pii.sample import Shown, counted, draw
from tests.project import BIN, Project

MAIL = "anna.weber@example.org"


def shown(number: int, entity: str = "EMAIL_ADDRESS") -> Shown:
    text = f"write to {MAIL} about order {number}"
    return Shown("x.jsonl", number, "prompt", "redact", text, Span(9, 9 + len(MAIL), entity, 1.0))


def test_a_sample_is_drawn_by_its_seed() -> None:
    everything = [shown(number) for number in range(100)]
    sample = draw(everything, 10, 7)
    assert sample == draw(everything, 10, 7) != draw(everything, 10, 8)
    assert len(set(sample)) == 10 and len(draw(everything, 500, 1)) == 100


def test_only_counts_are_kept() -> None:
    everything = [shown(1), shown(2), shown(3), shown(4, "PERSON")]
    answers = [(everything[0], True), (everything[2], False)]
    assert counted(everything, answers) == {
        "EMAIL_ADDRESS": {"findings": 3, "correct": 1, "false_alarm": 1},
        "PERSON": {"findings": 1, "correct": 0, "false_alarm": 0},
    }


def typed(project: Project, answers: str, *words: str) -> tuple[int, str]:
    """`countersign ...` at a terminal where somebody types these answers."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [BIN / "countersign", *words],
        cwd=project.root,
        env=project.env(TERM="dumb"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.write(ours, answers.encode())
    said = b""
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        said += part
    os.close(ours)
    return process.wait(120), said.decode().replace("\r\n", "\n")


@pytest.mark.slow
def test_a_steward_looks_and_judges(small: Project, tmp_path: Path) -> None:
    project = small.copy(tmp_path)
    plain = project.countersign("look", "desk_sft", "--n", "2")
    assert plain.code == 0 and "no text is shown" in plain.out and "[[" not in plain.out
    answer = json.loads(project.countersign("look", "desk_sft", "--json").out)
    assert {"text", "written"}.isdisjoint(answer["shown"][0])
    texts = json.loads(project.countersign("look", "desk_sft", "--json", "--text").out)["shown"]
    values = [row["text"][row["start"] : row["end"]] for row in texts]
    redacted = [row for row in texts if row["action"] == "redact"]
    assert redacted and not [one for one in redacted if one["text"] == one["written"]]
    left = json.loads(project.countersign("look", "desk_sft", "--left-out", "--json").out)
    assert left["left_out"]["PII_DROPPED"] == 2 and sum(left["left_out"].values()) == len(
        left["shown"]
    )
    assert project.countersign("look", "desk_sft", "--judge").code == 2

    code, said = typed(
        project, "y\nn\ns\ny\ndesk_sft\n", "look", "desk_sft", "--judge", "--n", "4", "--seed", "3"
    )
    assert code == 0 and "signed by" in said and "[[" in said, said
    (statement,) = project.evidence("judgement")
    judged: Judgement = statement.predicate
    population = sum(answer["found"].values())
    assert (judged.seed, judged.sample, judged.findings) == (3, 4, population)
    counts = judged.entities.values()
    assert sum(each.correct for each in counts) == 2
    assert sum(each.false_alarm for each in counts) == 1
    envelope = project.log.entry(statement.index).envelope.decode()
    assert not [value for value in values if value in envelope or value in judged.model_dump_json()]

    made = project.countersign("report", "support-desk/1", "--json")
    (sample,) = next(row for row in json.loads(made.out)["datasets"] if row["name"] == "desk_sft")[
        "judged"
    ]
    assert sample["seed"] == 3 and sum(row["judged"] for row in sample["rows"]) == 3
    assert all(
        row["low"] <= row["correct"] / row["judged"] <= row["high"] for row in sample["rows"]
    )
    assert project.countersign("verify").code == 0
