"""`readers` in policy: what stages and commands read, and that nothing is given out against it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from governance.attest.predicates import Read
from governance.policy.readers import Content
from pipelines.params import load_params
from pipelines.reading import contents_of
from pipelines.shards import read_records
from tests.conftest import ROOT
from tests.project import Project

SFT, EVAL = Content("dataset", "desk_sft"), Content("dataset", "desk_eval")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("data/source/desk_sft.jsonl", {SFT}),
        ("data/ingested/desk_sft/records", {SFT}),
        ("data/ready/desk_eval/excluded.jsonl", {EVAL}),
        ("models/sft/model", {Content("model", "sft")}),
        ("models/grpo/model", {Content("model", "support-desk")}),
        ("evaluations/grpo/scores.jsonl", {Content("model", "support-desk")}),
        ("models/tiny/model", {Content("model", "tiny")}),
        ("gates/sft.json", set()),
        ("reports/register/support-desk.json", set()),
    ],
)
def test_what_a_file_of_the_project_is_the_content_of(path: str, expected: set[Content]) -> None:
    assert contents_of(load_params(ROOT), Path(path), None) == expected


def closing(project: Project, datasets: str, models: str = '{"*": [everybody]}') -> None:
    """Writes the table; an earlier one is replaced."""
    path = project.root / "policies" / "policy.yaml"
    text = path.read_text().partition("\nreaders:")[0]
    path.write_text(f"{text}\nreaders:\n  datasets: {datasets}\n  models: {models}\n")


@pytest.mark.slow
def test_nothing_is_given_out_against_policy(small: Project, tmp_path: Path) -> None:
    project = small.copy(tmp_path)

    def reads() -> list[Read]:
        return [each.predicate for each in project.evidence("read")]

    run: Callable[..., tuple[int, str]] = lambda *words: (  # noqa: E731
        (done := project.countersign(*words)).code,
        done.out,
    )
    closing(project, '{desk_sft: [], "*": [everybody]}')
    for words in (
        ("look", "desk_sft"),
        ("look", "desk_sft", "--json", "--text"),
        ("look", "desk_sft", "--left-out"),
        ("data", "support-desk/1", "--get", "out"),
        ("stage", "scan_pii", "desk_sft"),
        ("reproduce", "sft"),
        ("plan",),
    ):
        code, out = run(*words)
        assert (code, "READ_NOT_ALLOWED dataset desk_sft" in out) == (4, True), (words, out)
    assert not (project.root / "out").exists() and not reads()
    assert run("data", "support-desk/1")[0] == 0  # names only
    assert run("look", "desk_eval")[0] == 0
    (said,) = reads()
    assert (said.reader, said.command) == (None, "look")

    records = project.root / "data/ready/desk_sft/records"
    record = first_id(records)
    answer = json.loads(run("trace", record, "--json")[1])
    assert {row["dataset"] for row in answer["not_looked_up"]} == {"desk_sft"}
    assert answer["records"] == []

    away = records.rename(
        records.with_suffix(".away")
    )  # the list of left-out records is still here
    answer = json.loads(run("trace", record, "--json")[1])
    reasons = [row["reason"] for row in answer["not_looked_up"] if row["dataset"] == "desk_sft"]
    assert len(reasons) > 2 and set(reasons) == {"policy does not let you read it"}
    away.rename(records)

    closing(project, '{"*": [everybody]}', "{}")
    code, out = run("data", "support-desk/1", "--get", "out")
    assert code == 4 and "READ_NOT_ALLOWED model support-desk" in out and "model base" in out
    closing(project, '{"*": [everybody]}')
    before = len(reads())
    assert run("data", "support-desk/1", "--get", "out")[0] == 0
    assert len(reads()) == before + 1 and (project.root / "out").is_dir()
    assert json.loads(run("trace", record, "--json")[1])["touched"]
    assert project.countersign("verify").code == 0

    text = (project.root / "policies" / "policy.yaml").read_text()
    (project.root / "policies" / "policy.yaml").write_text(f"{text}  purpose: required\n")
    code, out = run("look", "desk_eval")
    assert code == 2 and "--purpose" in out
    assert run("look", "desk_eval", "--purpose", "false alarms")[0] == 0
    assert reads()[-1].purpose == "false alarms"


def first_id(records: Path) -> str:
    identity: str = read_records(records).column("id")[0].as_py()
    return identity


@pytest.mark.slow
def test_a_log_that_cannot_be_written_gives_nothing_out(small: Project, tmp_path: Path) -> None:
    project = small.copy(tmp_path)
    closing(project, '{"*": [everybody]}')
    database = next(project.home.rglob("countersign.db"))
    keys = database.parent / "keys" / "checkpoint.pem"
    moved = keys.rename(tmp_path / "checkpoint.pem")
    done = project.countersign("look", "desk_sft", "--text")
    assert done.code != 0 and "[[" not in done.out, done.out
    moved.rename(keys)
    assert project.countersign("look", "desk_sft", "--text").code == 0
