"""An erasure on a real project: the impact, the signed entry, what is deleted and what is left, the
certificate; and the same end after a kill at any write.
"""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from governance.attest.predicates import Erased, Erasure
from governance.log.evidence import Evidence
from governance.machine.machine import log_to_add_to
from governance.machine.signers import private_signer
from governance.people.speaking import Speaker
from pipelines import exclusions
from pipelines.erasing import case
from pipelines.erasing.case import Plan
from pipelines.project import Project as Opened
from pipelines.project import open_project
from pipelines.record_ids import Key, load_key
from pipelines.shards import read_records
from pipelines.trace.question import Asked
from tests.conftest import rows
from tests.governance.governed import keypair
from tests.governance.killed import dying_at_step, in_child
from tests.pipelines.erasing.rehearsal import (
    CASE,
    DATA,
    PERSON,
    PIPELINE,
    SOURCE,
    erase,
    governed,
    impact,
    moved,
    person_rows,
    places_with,
    stages,
)
from tests.project import Project

pytestmark = pytest.mark.slow
CERTIFICATE = "exports/erasures/DSR-2026-17.dsse.json"
FOLDERS = ("data/ingested/desk_sft", "data/scanned/desk_sft", "data/ready/desk_sft")
STEPS = 66
"""Writes of an erasure, at least."""
LEFT = {SOURCE}
"""Where the person stands after an erasure: their owner's sources."""


@pytest.fixture(scope="module")
def made(before_training: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Data that was read, scanned and checked, in DVC's cache, in a governed log."""
    project = governed(before_training, tmp_path_factory.mktemp("erase"))
    stages(project, *DATA)
    return project


@pytest.fixture(scope="module")
def record(made: Project) -> str:
    """The id of the person's record."""
    found = json.loads(made.countersign("trace", "--subject", PERSON, "--json").out)
    (one,) = found["records"]
    identity: str = one["id"]
    return identity


def statements(project: Project) -> tuple[list[Evidence[Erasure]], list[Evidence[Erased]]]:
    return project.evidence("erasure"), project.evidence("erased")


def ids(project: Project) -> set[str]:
    return set(read_records(project.root / FOLDERS[0] / "records")["id"].to_pylist())


def test_an_erasure_from_its_impact_to_its_certificate(
    made: Project, record: str, tmp_path: Path
) -> None:
    project = moved(made, tmp_path)
    ((row, text),) = person_rows(project)
    question = json.loads(text)["messages"][0]["content"]
    remote, away = tmp_path / "remote", tmp_path / "away"
    for name, place in (("near", remote), ("far", away)):
        subprocess.run(
            ["dvc", "remote", "add", name, str(place)], cwd=project.root, env=project.env(),
            check=True, capture_output=True,
        )  # fmt: skip
    assert project.run("dvc", "push", "-r", "near", "data/ingested/desk_sft").code == 0
    objects = {path for path in remote.rglob("*") if path.is_file()}

    log = project.log.size()
    found = impact(project, "--subject", PERSON)
    assert project.log.size() == log and exclusions.read(project.root) == []
    assert found["counts"]["records"] == 1 and found["counts"]["contents"] == 3
    assert found["sources"] == [{"path": SOURCE, "rows": [row]}]
    assert found["not_removed"]["remote_unreachable"] == 1 and len(found["remote"]) == 1
    assert {each["place"] for each in found["files"]} >= {"cache", "source", *MADE}
    assert record not in json.dumps(found) and PERSON not in json.dumps(found)

    refused = erase(project, "--subject", PERSON, who="eve")
    assert refused.code == 4 and statements(project) == ([], [])
    before = ids(project)
    words = ("--subject", PERSON, "--backup", "tape of 2025")
    done = erase(project, *words, "--json")
    assert done.code == 0, done.out
    ((erasure,), (erased,)) = statements(project)
    said = erasure.predicate.model_dump_json() + erased.predicate.model_dump_json()
    assert record not in said and PERSON not in said and question not in said
    (listed,) = exclusions.read(project.root)
    assert [each.sha256 for each in erasure.subjects if each.role == "exclusions"] == [listed.root]
    assert len([each for each in erasure.subjects if each.role == "dataset"]) == 3
    assert record not in (project.root / exclusions.FILE).read_text()

    assert places_with(project, PERSON) == places_with(project, question) == LEFT
    assert places_with(project, record) == set()
    assert len({path for path in remote.rglob("*") if path.is_file()}) == len(objects) - 1
    left = erased.predicate.not_removed
    assert (left["backups"], left["remote_unreachable"], left["source_rows"]) == (1, 1, 1)
    assert erased.predicate.found["source"] == 1
    assert erased.predicate.removed["remote"] == 1 and erased.predicate.removed["cache"] >= 3
    assert not case.journal(opened(project), CASE).exists()

    certificate = project.root / CERTIFICATE
    assert project.countersign("verify", CERTIFICATE).code == 0
    other = certificate.with_name("other.json")
    other.write_bytes(project.log.entry(erasure.index).envelope)
    assert project.countersign("verify", str(other)).code == 5
    other.write_bytes(certificate.read_bytes().replace(b"A", b"B", 1))
    assert project.countersign("verify", str(other)).code == 5
    for name in ("DSR-2026-17.txt", "DSR-2026-17.html"):
        reading = certificate.with_name(name).read_text()
        assert "case DSR-2026/17" in reading and PERSON not in reading and record not in reading

    stages(project, *DATA)
    (project.root / SOURCE).rename(project.root / "data/source/renamed.jsonl")
    project.edit("params.yaml", lambda params: params["datasets"]["desk_sft"].update(
        source="data/source/renamed.jsonl"
    ))  # fmt: skip
    stages(project, *DATA)
    assert ids(project) == before - {record}
    ingest = project.evidence("ingest")[-1].predicate
    assert ingest.exclusions.roots == [listed.root] and ingest.counts.excluded["ERASED"] == 1
    reasons = (project.root / FOLDERS[0] / "excluded.jsonl").read_text()
    assert f'"id": "{record}"' in reasons and '"reason": "ERASED"' in reasons
    ends = json.loads(project.countersign("retention", "--json").out)["ends"]
    assert {("erasure", False), ("exclusions", False)} <= {(e["kind"], e["over"]) for e in ends}


MADE = ("data/ingested", "data/scanned", "data/ready")


def test_rows_are_taken_out_of_sources_where_that_is_asked(made: Project, tmp_path: Path) -> None:
    project = moved(made, tmp_path)
    before = (project.root / SOURCE).read_text().splitlines()
    ((row, text),) = person_rows(project)
    question = json.loads(text)["messages"][0]["content"]
    done = erase(project, "--text", f"  {question.upper()}", "--rewrite-sources")
    assert done.code == 0, done.out
    assert (project.root / SOURCE).read_text().splitlines() == [*before[: row - 1], *before[row:]]
    assert places_with(project, PERSON) == places_with(project, question) == set()
    said = statements(project)[1][0].predicate
    assert "source_rows" not in said.not_removed and said.removed["source_rows"] == 1


# --- a kill at any write ------------------------------------------------------------------------


def opened(project: Project) -> Opened:
    environ = {**os.environ, **project.env()}
    return open_project(project.root, environ)


def plan_of(project: Project, record: str) -> tuple[Opened, Key, Plan]:
    """What `countersign erase RECORD` would do."""
    from governance.commands.session import Call
    from pipelines.trace.looked_up import look_up

    here = opened(project)
    record_key = load_key(project.root, here.params.records)
    asked = Asked("record", (record,))
    found = look_up(Call(), asked, "erase", exhaustive=True)
    terms = case.Terms(CASE, "2099-01-31T23:59:59Z", rewrite=True, backups=())
    plan, _ = case.planned(here, record_key, asked, found, terms)
    return here, record_key, plan


def perform(project: Project, here: Opened, record_key: Key, plan: Plan) -> None:
    log = log_to_add_to(here.machine)
    signer = private_signer(keypair("ben")[0], "ben")
    author = Speaker("ben", "risk", signer, log.entry(0).leaf_hash.hex(), datetime.now(UTC))
    case.perform(here, record_key, log, author, case.begun(here, CASE) or plan)


@pytest.mark.parametrize("moment", rows(map(str, range(0, 120, 3)), in_ci={"45"}))
def test_a_killed_erasure_goes_on_and_ends_the_same(
    moment: str, made: Project, record: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = moved(made, tmp_path)
    for name, value in project.env(**project.environ).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(project.root)
    here, record_key, plan = plan_of(project, record)
    with dying_at_step(int(moment), monkeypatch):
        code = in_child(lambda: perform(project, here, record_key, plan))
    assert code == -9 or int(moment) > STEPS
    assert in_child(lambda: perform(project, here, record_key, plan)) == 0
    erasures, _ = statements(project)
    assert len(erasures) == 1 and not case.journal(here, CASE).exists()
    assert places_with(project, record) == places_with(project, PERSON) == set()
    assert len(exclusions.read(project.root)) == 1
    assert (project.root / CERTIFICATE).exists()


# --- models ---------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_the_pipeline_runs_again_without_the_record(
    before_registering: Project, tmp_path: Path
) -> None:
    project = governed(before_registering, tmp_path)
    stages(project, *PIPELINE)
    done = erase(project, "--subject", PERSON)
    assert done.code == 0, done.out
    (erasure,), (erased,) = statements(project)
    models = {each.name for each in erasure.subjects if each.role == "model"}
    assert models == {"train@base", "train@sft", "support-desk/1"}
    assert erased.predicate.not_removed["model_weights"] == 2
    project.made("register@support-desk")
    assert places_with(project, PERSON) == LEFT | {"cache"}  # of the source, which DVC made again
    cached = (path for path in (project.root / ".dvc/cache").rglob("*") if path.is_file())
    (held,) = (path.read_bytes() for path in cached if PERSON.encode() in path.read_bytes())
    assert held == (project.root / SOURCE).read_bytes()
    seen, fresh = (each.predicate.model_digest for each in project.evidence("registration"))
    assert seen != fresh and seen in {each.sha256 for each in erasure.subjects}

    (project.root / exclusions.FILE).write_text("")
    refused = project.repro("gate@base")
    assert refused.code == 4 and "ERASED_DATA_USED" in refused.out, refused.out
