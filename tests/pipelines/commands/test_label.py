"""`countersign label`: from two evaluated models to a dataset of votes, and to its agreement."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from governance.attest.digests import sha256_file
from governance.policy.labelling import Labelling
from pipelines.labelling import tasks
from pipelines.shards import read_records
from tests.pipelines.labelling.made import label_studio
from tests.project import Project

pytestmark = pytest.mark.slow


@pytest.fixture
def project(small: Project, tmp_path: Path) -> Project:
    return small.copy(tmp_path)


def test_the_round_trip(project: Project) -> None:
    folder = project.root / "labels"
    (project.root / "guide.md").write_text("Take the right route.\n", encoding="utf-8")
    export = ("label", "export", "base", "sft", "labels", "--n", "8")
    done = project.countersign(*export, "--guideline", "guide.md", "--json")
    assert done.code == 0, done.out
    told = json.loads(done.out)
    opened = tasks.read(folder)
    assert told["items"] == len(opened.tasks) > 1
    evaluated = {item.predicate.model for item in project.evidence("evaluate")}
    assert {model.sha256 for model in opened.sample.models} <= evaluated
    assert "base" not in (folder / tasks.TASKS).read_text(encoding="utf-8")
    for rater in (1, 2):
        rows = label_studio(folder, ["left"] * told["items"], rater)
        (project.root / f"{rater}.json").write_text(json.dumps(rows), encoding="utf-8")
    files = ("1.json", "2.json", "--out", "rated.jsonl", "--votes", "votes.jsonl")
    done = project.countersign("label", "import", "labels", *files, "--json")
    assert done.code == 0, done.out
    told = json.loads(done.out)
    card = Labelling.model_validate(YAML(typ="safe").load("\n".join(told["datacard"]))["labelling"])
    assert card.sampling and card.sampling.population == opened.sample.population_sha256
    assert card.guideline and card.guideline.sha256 == sha256_file(project.root / "guide.md")
    assert told["rated"] == told["items"] and list(told["raters"].values()) == [told["items"]] * 2
    columns = ("--item", "item", "--rater", "rater", "--value", "vote")
    agreed = project.countersign("agreement", "votes.jsonl", *columns, "--json")
    assert agreed.code == 0, agreed.out
    added = project.countersign("add", "rated.jsonl", "--name", "people")
    assert added.code == 0, added.out
    ingested = project.countersign("stage", "ingest", "people")
    assert ingested.code == 0, ingested.out
    kept = read_records(project.root / "data/ingested/people/records").to_pylist()
    raters = {rating["rater"] for record in kept for rating in record["ratings"]}
    assert raters == set(told["raters"])
    again = project.countersign("label", "import", "labels", *files)
    assert again.code == 2 and "there already" in again.out


def test_what_cannot_be_compared_is_refused(project: Project) -> None:
    refused = [
        (("export", "base", "nosuch", "labels"), 2),
        (("export", "base", "sft", "labels", "--metric", "nosuch"), 2),
        (("export", "base", "sft", "labels", "--how", "sampled"), 3),
        (("export", "base", "sft", "policies"), 2),
        (("export", "base", "sft", "labels", "--guideline", "nosuch.md"), 3),
        (("import", "nosuch", "--out", "x.jsonl"), 3),
        (("page", "nosuch", "--rater", "Ann"), 3),
    ]
    for arguments, code in refused:
        done = project.countersign("label", *arguments)
        assert (done.code, "Traceback" in done.out) == (code, False), done.out
    assert not (project.root / "labels").exists()
