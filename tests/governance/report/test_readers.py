"""The report's part on readers: who may read the data and models, and who did."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from governance.attest.keys import Signer
from governance.attest.predicates import REFUSED_READ, Artifact, Read, Refusal, Requester
from governance.bundle.sources import open_bundle
from governance.history.state import state
from governance.history.verify import TrustAnchors
from governance.log import evidence
from governance.machine.machine import signer
from governance.people.speaking import run_by
from governance.policy.authority import read_authority
from governance.policy.readers import Content
from governance.release.reading import (
    AccountReading,
    Reading,
    Rights,
    Wanted,
    admit,
    record_account,
)
from governance.report import sections
from governance.report.build import build
from governance.report.html import json_twin, page
from governance.report.model.report import Report
from tests.governance.bundles import made, pin
from tests.governance.governed import RULES, Governed, begun, person
from tests.governance.story import MODEL, digest

READERS = """
readers:
  datasets: {desk_sft: [ml-lead, ben, ci], "*": [everybody]}
  models: {support-desk: [release-manager, ci], "*": []}
"""
NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
NEXT_DAY = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
DATA, MODEL_CONTENT = Content("dataset", "desk_sft"), Content("model", MODEL)
ASKED = Requester(name="x", authenticated=False)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    return begun(tmp_path_factory.mktemp("readers"), RULES + READERS)


@pytest.fixture
def scene(told: Governed, tmp_path: Path) -> Governed:
    return told.copy(tmp_path)


def read(
    scene: Governed, key: Signer, content: Content, at: datetime = NOON, development: bool = False
) -> None:
    log = scene.story.log
    reading = Reading(key, development, "look", "ada@example.com asked", ASKED, at)
    wanted = [Wanted.of(digest("bytes"), frozenset({content}))]
    assert admit(Rights(read_authority(log), None), reading, wanted, lambda: log)


def counts(report: Report, name: str) -> list[tuple[str | None, int]]:
    (row,) = (row for row in report.readers.rows if row.name == name)
    return [(each.who, each.count) for each in row.reads]


def report(scene: Governed, as_of: datetime | None = None) -> Report:
    return build(scene.story.sources, MODEL, "1", as_of=as_of)


def test_it_says_who_may_read_each_dataset_and_model(scene: Governed) -> None:
    part = report(scene).readers
    rows = {(row.kind, row.name): row for row in part.rows}
    assert part.state == "restricted" and part.reads_shown
    assert rows["dataset", "desk_sft"].listed == ["ml-lead", "ben", "ci"]
    assert rows["dataset", "desk_sft"].people == ["ada", "ben", "ci"]
    assert rows["dataset", "desk_eval"].people == ["everybody"]
    assert rows["model", MODEL].people == ["ci", "cleo"]
    (closed, *_) = (row for row in part.rows if row.kind == "model" and row.name != MODEL)
    assert (closed.listed, closed.people) == ([], [])


def test_reads_are_counted_by_principal_up_to_the_reports_position(scene: Governed) -> None:
    read(scene, person("ada"), DATA)
    read(scene, person("ada"), DATA)  # the same read of the same day
    read(scene, person("cleo"), MODEL_CONTENT)
    before = report(scene, as_of=NOON)
    read(scene, person("ada"), DATA, NEXT_DAY)
    read(scene, person("ben"), DATA, NEXT_DAY)
    assert counts(report(scene), "desk_sft") == [("ada", 2), ("ben", 1)]
    assert counts(report(scene), MODEL) == [("cleo", 1)]
    assert counts(before, "desk_sft") == [("ada", 1)]
    again = report(scene, as_of=NOON)
    assert json_twin(again) == json_twin(before) and page(again) == page(before)


def test_a_read_that_does_not_count_is_not_counted(scene: Governed) -> None:
    forged = Read(
        reader="ada", command="look", policy=scene.story.policies.digest, run=run_by("x", NOON)
    )
    subject = Artifact(role="dataset", name="desk_sft", sha256=digest("x"))
    evidence.record(scene.story.log, person("ben"), "read", [subject], forged)
    assert counts(report(scene), "desk_sft") == []


def test_accounts_without_a_principal_and_purposes_are_not_named(scene: Governed) -> None:
    log, server = scene.story.log, signer(scene.story.machine)
    rights = Rights(read_authority(log), None)
    wanted = [Wanted.of(digest("bytes"), frozenset({Content("dataset", "desk_eval")}))]
    for account in ("eva@example.com", "bob@example.com", "ada"):
        record_account(rights, AccountReading(server, account, "", ASKED, NOON), wanted, log)
    read(scene, person("ada"), DATA)
    said = report(scene)
    assert counts(said, "desk_eval") == [(None, 2), ("ada", 1)]
    assert b"example.com" not in json_twin(said) + page(said)
    assert "not named in policy: 2" in page(said).decode()


def test_refused_reads_of_the_model_are_counted(scene: Governed) -> None:
    log, server = scene.story.log, signer(scene.story.machine)
    for caller, operation in (("ben", REFUSED_READ), ("x@example.com", REFUSED_READ), ("ben", "y")):
        refusal = Refusal(
            operation=operation, model=MODEL, caller=caller, reason="no", run=run_by("x", NOON)
        )
        subject = Artifact(role="call", name=MODEL, sha256=digest(caller + operation))
        evidence.record(log, server, "refusal", [subject], refusal)
    assert len(state(log).evidence.all(Refusal)) == 3
    (row,) = (row for row in report(scene).readers.rows if row.name == MODEL)
    assert [(each.who, each.count) for each in row.refused] == [(None, 1), ("ben", 1)]


def test_without_a_table_one_sentence_says_so(tmp_path: Path) -> None:
    said = report(begun(tmp_path, RULES))
    assert (said.readers.state, said.readers.rows) == ("not restricted", [])
    shown = sections.text(said, "readers")
    assert "  Policy does not restrict who may read the data and the models." in shown


def test_a_bundle_of_a_model_shows_no_reads(scene: Governed, tmp_path: Path) -> None:
    read(scene, person("cleo"), MODEL_CONTENT)
    for whole in (True, False):
        bundle = tmp_path / "bundle.json"
        bundle.write_bytes(made(scene.story.log, whole=whole))
        shown = build(open_bundle(bundle, TrustAnchors(pin(scene.story.log))), MODEL, "1")
        assert shown.readers.reads_shown == whole
        assert counts(shown, MODEL) == ([("cleo", 1)] if whole else [])
        text = " ".join(sections.text(shown, "readers"))
        assert ("Reads are in no bundle of a model" in text) != whole


def test_a_terminal_and_json_show_it(scene: Governed) -> None:
    read(scene, person("ada"), DATA)
    said = report(scene)
    lines = sections.text(said, "readers")
    assert any("dataset desk_sft | ml-lead, ben, ci" in line and "ada: 1" in line for line in lines)
    rows = sections.document(said, "readers")["readers"]["rows"]
    (row,) = (row for row in rows if row["name"] == "desk_sft")
    assert row["reads"][0]["who"] == "ada"
