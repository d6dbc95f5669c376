"""`countersign export` and `countersign control`, as typed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from governance.base.errors import ConfigError, CountersignError, InputError, VerificationError
from governance.exports.catalog import known_formats
from governance.machine.machine import open_log
from governance.policy.policies import load_policies
from pipelines.cli import cli
from tests.governance.bundles import made, pin
from tests.governance.exports.told import HOSTILE
from tests.governance.story import MODEL, START, Story, altered, begin, tell

NAME = f"{MODEL}/1"
Run = Callable[..., Result]


@pytest.fixture
def run(shared: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command in a copy of the story's project."""
    return runner(shared.copy(tmp_path), monkeypatch)


def runner(told: Story, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(told.root)
    monkeypatch.setenv("COUNTERSIGN_HOME", str(told.machine.home))
    return lambda *arguments: CliRunner().invoke(cli, list(arguments))


def files(folder: str = f"exports/{MODEL}-1") -> set[str]:
    return {
        path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()
    }


def test_export_writes_every_format_and_says_what(run: Run) -> None:
    done = run("export", NAME)
    assert done.exit_code == 0, done.output
    assert {
        "README.md",
        "bom.cdx.json",
        "croissant/desk_sft.json",
        "attestations/vsa-candidate.json",
    } <= files()
    for path in files():
        assert f"written: exports/{MODEL}-1/{path} (" in done.output
    assert (
        "entries verified, origin established by the checkpoint key of this machine" in done.output
    )


def test_export_list_writes_nothing(run: Run) -> None:
    done = run("export", NAME, "--list")
    assert done.exit_code == 0, done.output
    assert all(name in done.output for name in known_formats())
    assert not Path("exports").exists()


def test_one_format_into_a_folder_as_json(run: Run, tmp_path: Path) -> None:
    done = run("export", NAME, "cyclonedx", "-o", str(tmp_path / "out"), "--json")
    (one,) = json.loads(done.output)["formats"]
    assert [each["path"] for each in one["files"]] == ["bom.cdx.json"]
    assert files(str(tmp_path / "out")) == {"bom.cdx.json"}


def test_signed_statements_are_envelopes(run: Run) -> None:
    assert run("export", NAME, "slsa-vsa", "--sign").exit_code == 0
    envelope = json.loads(
        (Path("exports") / f"{MODEL}-1" / "attestations" / "vsa-candidate.dsse.json").read_bytes()
    )
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert len(envelope["signatures"]) == 1


def test_a_model_folder_is_not_written_into(run: Run) -> None:
    failed = run("export", NAME, "-o", "models/sft/model")
    assert isinstance(failed.exception, ConfigError)
    assert "model folder" in str(failed.exception)


MISTAKES = [
    (("export", "support-desk"), ConfigError, "names no version"),
    (("export", f"{MODEL}/7"), InputError, "the log has no version 7 of support-desk"),
    (("export", NAME, "spdx"), ConfigError, "no format 'spdx'"),
    (("control", "Art. 999", NAME), ConfigError, "no control 'Art. 999'"),
    (("control", NAME, "--framework", "hipaa"), ConfigError, "no framework 'hipaa'"),
]


@pytest.mark.parametrize(
    ("arguments", "family", "said"), MISTAKES, ids=[" ".join(row[0]) for row in MISTAKES]
)
def test_a_mistake_is_told(
    run: Run, arguments: tuple[str, ...], family: type[CountersignError], said: str
) -> None:
    failed = run(*arguments)
    assert isinstance(failed.exception, family), failed.output
    assert said in str(failed.exception)
    assert not Path("exports").exists()


@pytest.mark.parametrize("command", ["export", "control"])
def test_altered_evidence_stops_both(
    shared: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    other = shared.copy(tmp_path)
    altered(other.log, 5)
    failed = runner(other, monkeypatch)(command, NAME)
    assert isinstance(failed.exception, VerificationError)
    assert "EVIDENCE DOES NOT VERIFY: entry 5" in str(failed.exception)
    assert not (other.root / "exports").exists()


def test_control_tells_of_one_control(run: Run) -> None:
    done = run("control", "Annex", "IV(2)(g)", NAME, "--on", "2026-11-20")
    assert done.exit_code == 0, done.output
    assert "  result    partial" in done.output
    assert "  in force  NOT in force on 2026-11-20: from 2027-12-02" in done.output
    assert "  missing       approval_record: " in done.output


def test_control_as_json_holds_the_same(run: Run) -> None:
    text = run("control", "A.7.5", NAME, "--on", "2026-11-20", "--json")
    answer = json.loads(text.output)
    (one,) = answer["controls"]
    assert (one["framework"], one["result"]) == ("ISO-42001-2023", "partial")
    assert one["kinds"] == {
        "dataset_lineage": "present", "source_register": "present", "retention_erasure": "partial",
    }  # fmt: skip
    assert {key: link["state"] for key, link in answer["links"].items()} == one["kinds"]


def test_both_answer_from_a_bundle_without_project_or_log(
    shared: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "one.bundle").write_bytes(made(shared.log))
    monkeypatch.chdir(tmp_path / "away")
    monkeypatch.setenv("COUNTERSIGN_HOME", str(tmp_path / "nothing"))
    bundle = ("--bundle", "one.bundle", "--origin", pin(shared.log))
    done = CliRunner().invoke(cli, ["export", NAME, *bundle])
    assert done.exit_code == 0, done.output
    assert {"README.md", "bom.cdx.json", "attestations/provenance-sft.json"} <= files()
    asked = CliRunner().invoke(cli, ["control", "A.7.4", NAME, *bundle])
    assert "present       dq_results: " in asked.output


def test_hostile_policies_repaint_no_terminal_and_leave_files_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card, a catalogue and findings full of markup, in the log and in every answer."""
    told = begin(tmp_path)
    card = told.root / "policies" / "datacards" / "desk_sft.yaml"
    text = json.dumps(
        {"title": HOSTILE, "origin": HOSTILE, "suite": "conversation", "licence": HOSTILE}
    )
    card.write_text(text.replace("\\ud800", ""), encoding="utf-8")
    control = {
        "id": f"X {HOSTILE}",
        "what_it_asks": HOSTILE,
        "gap": HOSTILE,
        "evidence": ["dq_results"],
        "how_sure": "M",
    }
    catalogue = {
        "framework": "OWN",
        "title": HOSTILE,
        "kind": "law",
        "as_of": "2026-01-01",
        "controls": [control],
    }
    shutil.rmtree(told.root / "policies" / "controls")
    (told.root / "policies" / "controls").mkdir()
    text = json.dumps(catalogue).replace("\\ud800", "")
    (told.root / "policies" / "controls" / "own.yaml").write_text(text, encoding="utf-8")
    shutil.rmtree(tmp_path / "home")
    told = _again(told)
    run = runner(tell(told), monkeypatch)
    for arguments in (("export", NAME), ("control", NAME), ("control", NAME, "--json")):
        done = run(*arguments)
        assert done.exit_code == 0, done.output
        assert not re.search(
            "[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2028\ud800-\udfff]", done.output
        ), arguments
    page = Path(f"exports/{MODEL}-1/README.md").read_text(encoding="utf-8")
    assert "<script>" not in page and "\nlicense:" not in page.partition("\n---\n")[0]


def _again(told: Story) -> Story:
    """The story with the policies as they are now."""
    policies = load_policies(told.root / "policies")
    return replace(told, policies=policies, log=open_log(told.machine, policies, lambda: START))
