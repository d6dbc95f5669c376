"""countersign lineage --records on a real project says of every row what a walk over the files says;
who may not read a dataset learns nothing of its records.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipelines.kinds import KINDS
from pipelines.shards import open_records
from pipelines.trace.index import FILE
from tests.pipelines.policies import CLOSED
from tests.project import PROJECT, Project

VERSION = "support-desk/1"
KEPT_AT = ("ingested", "scanned", "ready")


def shown(project: Project, code: int = 0) -> list[dict[str, Any]]:
    done = project.countersign("lineage", VERSION, "--records", "--json")
    assert done.code == code, done.out
    return [json.loads(line) for line in done.out.splitlines()]


def contents(project: Project, step: str, name: str) -> dict[tuple[str, str, int], Any]:
    """Each record of a step with its content."""
    records = open_records(project.root / "data" / step / name / "records")
    columns = KINDS[records.kind].content_columns
    return {
        (row["id"], row["file"], row["row"]): [row[column] for column in columns]
        for table in records.tables()
        for row in table.to_pylist()
    }


def walked(project: Project, name: str) -> dict[tuple[str, str, int], tuple[str, str, bool | None]]:
    """Each row of a source: what became of it, why, and whether it was redacted."""
    found: dict[tuple[str, str, int], tuple[str, str, bool | None]] = {}
    for step in KEPT_AT:
        path = project.root / "data" / step / name / "excluded.jsonl"
        for line in path.read_text().splitlines():
            row = json.loads(line)
            place = (row["id"] or "", row["file"], row["row"])
            found[place] = ("left out", row["reason"], None)
    before, ready = contents(project, "ingested", name), contents(project, "ready", name)
    for place, content in ready.items():
        found[place] = ("in", "", content != before[place])
    assert set(before) <= set(found)
    return found


@pytest.mark.slow
def test_every_row_behind_a_version_is_shown(small: Project, tmp_path: Path) -> None:
    project = small.copy(tmp_path)
    head, *rows, end = shown(project)
    assert {one["dataset"] for one in head["datasets"]} == {"desk_sft", "desk_eval"}
    assert all(not step["not_looked_up"] for one in head["datasets"] for step in one["steps"])
    for one in head["datasets"]:
        mine = [row for row in rows if row["dataset"] == one["dataset"]]
        said = {
            (row["record"], row["file"], row["row"]): (row["state"], row["reason"], row["redacted"])
            for row in mine
        }
        assert said == walked(project, one["dataset"]) and len(said) == len(mine)
        assert len(mine) == one["steps"][0]["records_in"]
    states = Counter((row["state"], bool(row["redacted"])) for row in rows)
    assert states["in", True] and states["in", False] and states["left out", False]
    assert end == {"rows": len(rows), "differing": []}
    told = project.countersign("lineage", VERSION, "--records").out
    assert told.count("\n") > len(rows) and "PII_DROPPED" in told

    project.replace("params.yaml", "key_id: development", "key_id: '00'")
    assert project.countersign("lineage", VERSION, "--records").code == 2
    project.replace("params.yaml", "key_id: '00'", "key_id: development")
    (project.home / PROJECT / FILE).unlink()
    (project.root / "data/ready/desk_sft/excluded.jsonl").unlink()
    objects = project.root / ".dvc" / "cache"
    objects.rename(tmp_path / "elsewhere")
    head, *rows, _ = shown(project)
    (sft,) = (one for one in head["datasets"] if one["dataset"] == "desk_sft")
    assert [bool(step["not_looked_up"]) for step in sft["steps"]] == [False, False, True]
    states = Counter((row["dataset"], row["state"]) for row in rows)
    assert states["desk_sft", "not known"] and not states["desk_sft", "in"]
    assert states["desk_eval", "in"]

    with (project.root / "policies/policy.yaml").open("a") as policy:
        policy.write(CLOSED)
    head, *rows, _ = shown(project)
    (sft,) = (one for one in head["datasets"] if one["dataset"] == "desk_sft")
    assert {step["not_looked_up"] for step in sft["steps"]} == {"policy does not let you read it"}
    assert {row["dataset"] for row in rows} == {"desk_eval"}
    assert [each.predicate.command for each in project.evidence("read")] == ["lineage"]
