"""The stored answers of a model: shown beside prompts, proven, and to those only who may read."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from governance.attest.digests import sha256_file
from governance.history.lineage import subject
from tests.project import Project

pytestmark = pytest.mark.slow
FILE = "evaluations/sft/answers.jsonl"


@pytest.fixture
def project(small: Project, tmp_path: Path) -> Project:
    return small.copy(tmp_path)


def test_answers_are_shown_beside_prompt_and_scores(project: Project) -> None:
    plain = project.countersign("answers", "sft", "--n", "2")
    assert plain.code == 0 and "no text is shown" in plain.out and "user" not in plain.out
    answer = project.countersign("answers", "sft", "--json", "--text", "--n", "2", "--skip", "1")
    told = json.loads(answer.out)
    statement = next(
        one for one in project.evidence("evaluate") if one.predicate.stage == "evaluate@sft"
    )
    assert (told["entry"], told["items"], len(told["shown"])) == (statement.index, 60, 2)
    assert told["sha256"] == subject(statement, "answers") == sha256_file(project.root / FILE)
    row = told["shown"][0]
    assert row["scores"] == {"greedy_exact": statement.predicate.scores["greedy_exact"][1]}
    assert row["prompt"][-1]["role"] == "user" and row["reference"] and row["answers"]["greedy"]
    version = json.loads(project.countersign("answers", "support-desk/1", "--json").out)
    assert version["sha256"] == told["sha256"] and "answers" not in version["shown"][0]

    (traced,) = json.loads(project.countersign("trace", row["id"], "--json").out)["records"]
    assert "evaluate@sft, answers" in {place["step"] for place in traced["places"]}

    shutil.rmtree(project.root / "data/ready/desk_eval/records")
    left = json.loads(project.countersign("answers", "sft", "--json", "--text").out)["shown"][0]
    assert "prompt" not in left and left["answers"]


def test_all_that_is_shown_is_cleaned_as_policy_says_now(project: Project) -> None:
    """A kind of value that the scan of prompts and the evaluation let stay."""
    shown = ("answers", "sft", "--json", "--text", "--n", "3")
    before = json.loads(project.countersign(*shown).out)["shown"]
    word = before[0]["prompt"][0]["content"].split()[0]

    def stricter(policy: Any) -> None:
        regex = f"{re.escape(word)}|{re.escape(before[0]['reference'].split()[0])}"
        pattern = {"name": "word", "regex": regex, "score": 1.0}
        policy["recognizers"].append(
            {"name": "words", "entity": "CASE_WORD", "patterns": [pattern]}
        )

    project.edit("policies/pii.yaml", stricter)
    (row, *_) = json.loads(project.countersign(*shown).out)["shown"]
    assert word not in row["prompt"][0]["content"]
    assert "<CASE_WORD_" in row["prompt"][0]["content"] and "<CASE_WORD_" in row["reference"]
    dropped = "CASE_WORD: {action: drop}\n  CREDIT_CARD:"
    project.replace("policies/pii.yaml", "CREDIT_CARD:", dropped)
    (row, *_) = json.loads(project.countersign(*shown).out)["shown"]
    assert row["prompt"][0]["content"] == row["reference"] == "WITHHELD"


def test_other_bytes_are_refused(project: Project) -> None:
    path = project.root / FILE
    path.chmod(0o644)
    path.write_text(path.read_text() + '{"id": "x", "greedy": ["planted"]}\n')
    done = project.countersign("answers", "sft", "--text")
    assert done.code == 5 and "planted" not in done.out, done.out
    verified = project.countersign("verify")
    assert verified.code == 5 and FILE in verified.out, verified.out
    path.unlink()
    assert project.countersign("answers", "sft").code == 3
    assert project.countersign("answers", "nobody").code == 2


@pytest.mark.parametrize(
    ("datasets", "models", "closed"),
    [
        ('{desk_eval: [], "*": [everybody]}', '{"*": [everybody]}', "dataset desk_eval"),
        ('{"*": [everybody]}', '{support-desk: [], "*": [everybody]}', "model support-desk"),
    ],
    ids=["the suite's dataset", "the model"],
)
def test_whoever_reads_needs_both_rights(
    datasets: str, models: str, closed: str, project: Project
) -> None:
    path = project.root / "policies" / "policy.yaml"
    path.write_text(f"{path.read_text()}\nreaders:\n  datasets: {datasets}\n  models: {models}\n")
    done = project.countersign("answers", "sft", "--text")
    assert done.code == 4 and f"READ_NOT_ALLOWED {closed}" in done.out, done.out
    assert not project.evidence("read")


def test_a_read_is_recorded_and_policy_can_forbid_answers(project: Project) -> None:
    path = project.root / "policies" / "policy.yaml"
    everybody = '{"*": [everybody]}'
    rows = f"\nreaders:\n  datasets: {everybody}\n  models: {everybody}\n"
    path.write_text(f"{path.read_text()}{rows}")
    assert project.countersign("answers", "sft").code == 0
    (read,) = project.evidence("read")
    assert read.predicate.command == "answers"
    assert {one.name for one in read.subjects} == {"desk_eval", "support-desk"}
    project.replace("policies/evaluation.yaml", "answers: redacted", "answers: none")
    assert project.countersign("answers", "sft").code == 4
