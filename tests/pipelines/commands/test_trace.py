"""countersign trace on a real project: a record, a text, a subject and a list lead to what has seen
them, in older versions too; who may not read a dataset learns nothing of it.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipelines.shards import read_records
from pipelines.trace.index import FILE
from tests.pipelines.policies import CLOSED
from tests.project import PROJECT, Project

PERSON = "anna.weber@example.com"


def asked(project: Project, *arguments: str, code: int = 0) -> dict[str, Any]:
    done = project.countersign("trace", *arguments, "--json")
    assert done.code == code, done.out
    found: dict[str, Any] = json.loads(done.out)
    return found


def given(project: Project, text: str, *arguments: str) -> dict[str, Any]:
    """Asked with a text on stdin."""
    done = subprocess.run(
        ["countersign", "trace", *arguments, "--json"],
        cwd=project.root, env=project.env(), input=text, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def results(found: dict[str, Any]) -> set[tuple[str, bool, str]]:
    """Step, whether it is its last one, and why it left the record out."""
    places = (place for one in found["records"] for place in one["places"])
    return {(place["step"], place["latest"], place["reason"]) for place in places}


@pytest.mark.slow
def test_every_question_leads_to_what_has_seen_the_record(
    before_registering: Project, tmp_path: Path
) -> None:
    project = before_registering.copy(tmp_path)
    source = project.root / "data/source/desk_sft.jsonl"
    rows = source.read_text().splitlines()
    (line,) = (number for number, row in enumerate(rows) if PERSON in row)
    text = json.loads(rows[line])["messages"][0]["content"]

    by_subject = asked(project, "--subject", PERSON.upper())
    (record,) = by_subject["records"]
    steps = {"ingest@desk_sft", "scan_pii@desk_sft", "check_quality@desk_sft"}
    assert results(by_subject) == {(step, True, "") for step in steps}
    assert {(one["file"], one["row"]) for one in record["places"]} == {(source.name, line + 1)}
    assert {user["what"] for user in by_subject["touched"]} == {"train@base", "train@sft"}
    listed = tmp_path / "list.txt"
    listed.write_text(f"{record['id']}\n\n")
    for arguments in ((record["id"][:12],), ("--file", str(listed)), ("--text", text)):
        found = asked(project, *arguments, "--exhaustive")
        assert found["records"] == by_subject["records"]
        assert found["touched"] == by_subject["touched"]
        assert found["exhaustive"] == {"complete": True, "lacking": [], "not_read": []}
    for option, value in (("--text", f"  {text}\n"), ("--subject", PERSON), ("--file", "")):
        found = given(project, value or record["id"], option, "-")
        assert found["records"] == by_subject["records"]
    (dropped,) = asked(project, "--subject", "4111 1111 1111 1111")["records"][:1]
    reasons = {(one["step"], one["reason"]) for one in dropped["places"]}
    assert reasons == {("ingest@desk_sft", ""), ("scan_pii@desk_sft", "PII_DROPPED")}
    assert asked(project, "0" * 32, code=3)["records"] == []
    assert asked(project, "--subject", "nobody@example.com")["records"] == []

    # The person's record is taken out of the source: older versions are in DVC's cache alone.
    source.write_text("".join(f"{row}\n" for row in rows if PERSON not in row))
    for stage in ("ingest", "scan_pii"):
        assert project.countersign("stage", stage, "desk_sft").code == 0
    index = project.home / PROJECT / FILE
    index.unlink()
    found = asked(project, "--subject", PERSON, "--exhaustive")
    assert found["exhaustive"]["complete"] and found["not_looked_up"] == []
    assert results(found) == {(step, step.startswith("check"), "") for step in steps}
    assert PERSON.encode() not in index.read_bytes()

    connection = sqlite3.connect(index)
    with connection:
        connection.execute("DELETE FROM word")
        connection.execute("DELETE FROM member WHERE record = ?", (bytes.fromhex(record["id"]),))
    connection.close()
    assert asked(project, "--subject", PERSON)["records"] == []
    spoiled = asked(project, "--subject", PERSON, "--exhaustive", code=5)
    assert spoiled["exhaustive"]["lacking"] == [record["id"]]


@pytest.mark.slow
def test_who_may_not_read_a_dataset_learns_nothing_of_it(small: Project, tmp_path: Path) -> None:
    project = small.copy(tmp_path)
    record = read_records(project.root / "data/ingested/desk_sft/records")["id"][0].as_py()
    assert asked(project, record)["records"]  # the index has it
    with (project.root / "policies/policy.yaml").open("a") as policy:
        policy.write(CLOSED)
    for arguments in ((record,), (record, "--exhaustive"), ("--subject", PERSON)):
        found = asked(project, *arguments, code=0 if "--subject" in arguments else 3)
        assert found["records"] == [] and found["touched"] == []
        assert {step["dataset"] for step in found["not_looked_up"]} == {"desk_sft"}
        assert record not in json.dumps(found)
    said = [each.predicate.command for each in project.evidence("read")]
    assert said == ["trace"]  # of the other dataset, once a day
    assert PERSON.encode() not in project.database.read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [(), ("a" * 12, "--subject", PERSON), ("not an id",), ("--subject", " - "), ("--text", " ")],
)
def test_one_question_at_a_time_and_what_is_given_is_not_repeated(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    done = Project(tmp_path, tmp_path / "home").countersign("trace", *arguments)
    assert done.code == 2, done.out
    assert PERSON not in done.out and "not an id" not in done.out
