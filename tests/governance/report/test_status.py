"""`countersign status` and `countersign report`: what a newcomer sees, from nothing to a registered
version.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from governance.attest.findings import finding
from governance.base.errors import ConfigError, StorageError
from governance.commands import report as report_command
from governance.commands import status as status_command
from governance.commands.status import lines
from governance.report.status import Status, status
from tests.governance.story import MODEL, ROOT, Story, altered, begin, digest


def of(story: Story) -> Status:
    return status(story.root, story.machine, story.now())


def test_a_fresh_clone_says_what_there_is_and_what_to_do(tmp_path: Path) -> None:
    story = begin(tmp_path)
    story.log.path.unlink()
    found = of(story)
    assert (found.log.entries, found.log.last) == (0, "none")
    assert {item.name for item in found.datasets} == set(story.params.datasets)
    assert {item.quality for item in found.datasets} == {"not run"}
    assert found.versions == []
    assert found.waits[-1].code == "NOTHING_RUN"
    assert lines(found)[-1] == "- nothing has run yet: `make repro`"
    assert "  none registered" in lines(found)
    assert not story.log.path.exists()


def test_a_registered_version_is_live_and_waits_for_people(story: Story) -> None:
    found = of(story)
    (version,) = found.versions
    assert (version.version, version.aliases, version.digest) == (
        "1",
        ["candidate"],
        story.models["sft"],
    )
    assert found.policies.endswith("in force")
    assert [key.development for key in found.keys] == [True]
    models = {item.name: item for item in found.models}
    assert models["sft"].evaluated == "greedy_exact 0.970, sampled_unsafe 0.020"
    assert models["tiny"].evaluated == "nothing to score"
    assert models["grpo"].trained == "not run"
    data = {item.name: item for item in found.datasets}
    assert data["desk_sft"].records == 2900 and data["desk_pref"].records is None
    assert lines(found)[-1].startswith("- support-desk/1 needs approval by 2 people")
    text = "\n".join(lines(found))
    assert "DEVELOPMENT KEY" in text and "candidate" in text


def test_an_alias_is_where_the_log_says_last(story: Story) -> None:
    story.train("sft", "sft", "conversation", "desk_sft", "base")
    story.register("sft", "2")
    assert [version.aliases for version in of(story).versions] == [[], ["candidate"]]


def _refused_scan(story: Story) -> None:
    story.data("desk_pref", "preference", "preference", 480, scan_passed=False)


def _refused_gate(story: Story) -> None:
    story.refuse("dpo", [finding("DATACARD_MISSING", "dataset desk_pref", "it has no datacard")])


def _typo(story: Story) -> None:
    path = story.root / "policies" / "policy.yaml"
    path.write_text(path.read_text().replace("lawful_bases:", "lawful_basis:"), encoding="utf-8")


def _no_card(story: Story) -> None:
    (story.root / "policies" / "datacards" / "desk_pref.yaml").unlink()


def _blank_card(story: Story) -> None:
    (story.root / "policies" / "datacards" / "desk_pref.yaml").write_text(
        "title: x\n", encoding="utf-8"
    )


def _changed_policy(story: Story) -> None:
    path = story.root / "policies" / "policy.yaml"
    path.write_text(path.read_text() + "# changed\n", encoding="utf-8")


def _unknown_base(story: Story) -> None:
    (story.root / "policies" / "bases.yaml").write_text("bases: {}\n", encoding="utf-8")


def _altered(story: Story) -> None:
    altered(story.log, story.log.size() - 1)


@pytest.mark.parametrize(
    ("spoil", "wait"),
    [
        (_refused_scan, "scan_pii refused desk_pref: read reports/scan_pii/desk_pref/report.md"),
        (_refused_gate, "gate@dpo refused: read reports/gates/dpo.md"),
        (_typo, "lawful_bas"),
        (_no_card, "policies/datacards/desk_pref.yaml: write it"),
        (_blank_card, "policies/datacards/desk_pref.yaml: fill in steward, origin"),
        (_changed_policy, "policies changed since the last run"),
        (_unknown_base, "`countersign allow-base tiny`"),
        (_altered, "the log: "),
    ],
)
def test_what_waits_is_said_with_its_next_step(
    story: Story, spoil: Callable[[Story], None], wait: str
) -> None:
    spoil(story)
    assert any(wait in line for line in lines(of(story))), of(story).waits


def test_without_the_projects_files_it_says_what_the_log_says(tmp_path: Path, story: Story) -> None:
    """An approver's machine, where COUNTERSIGN_PROJECT names the project."""
    found = status(tmp_path, story.machine, story.now())
    assert (found.log, found.versions, found.live) == (
        of(story).log,
        of(story).versions,
        of(story).live,
    )
    told = "\n".join(lines(found))
    assert f"{MODEL}/1" in told and "MODELS" not in told and "params.yaml" not in told
    assert f"`countersign promote {MODEL}/1 --dry-run` shows whose" in told


def test_it_is_quick_and_loads_no_heavy_library(story: Story) -> None:
    script = (
        "import sys; from pipelines.cli import main\ntry: main()\nexcept SystemExit: pass\nheavy ="
        " {'torch', 'mlflow', 'transformers', 'pandas', 'datasets', 'presidio_analyzer'} &"
        " set(sys.modules)\nassert not heavy, heavy\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "COUNTERSIGN_HOME": str(story.machine.home)}
    began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(
        [sys.executable, "-c", script, "status", "--json"],
        cwd=story.root,
        env=environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["versions"][0]["version"] == "1"
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began
    assert used < 8  # of the processor's time, about half a second


def invoke(story: Story, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    """`countersign report` in the story's project."""
    monkeypatch.chdir(story.root)
    monkeypatch.setenv("COUNTERSIGN_HOME", str(story.machine.home))
    return CliRunner().invoke(report_command.command, arguments)


def test_report_writes_a_page_and_its_twin(
    story: Story, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = invoke(story, monkeypatch, "support-desk/1", "-o", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    assert "PENDING" in done.output and "exceptions: Development keys" in done.output
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["support-desk-1.html", "support-desk-1.json"]
    printed = invoke(story, monkeypatch, "--json")
    assert (
        printed.output.strip().encode() == (tmp_path / "out" / "support-desk-1.json").read_bytes()
    )


def test_report_of_altered_evidence_exits_with_five(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    altered(story.log, 3)
    done = invoke(story, monkeypatch, "support-desk/1")
    assert done.exit_code == 5
    assert "EVIDENCE DOES NOT VERIFY" in done.output and "entry 3" in done.output
    assert (
        b"EVIDENCE DOES NOT VERIFY" in (story.root / "reports" / "support-desk-1.html").read_bytes()
    )


def test_report_without_a_log_or_a_proper_name_says_what_to_do(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(invoke(story, monkeypatch, "support-desk").exception, ConfigError)
    story.log.path.unlink()
    failed = invoke(story, monkeypatch).exception
    assert isinstance(failed, StorageError) and "make repro" in failed.fix


def test_status_prints_json(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(story.root)
    monkeypatch.setenv("COUNTERSIGN_HOME", str(story.machine.home))
    done = CliRunner().invoke(status_command.command, ["--json"])
    assert json.loads(done.output)["project"] == MODEL
    assert digest("nothing") not in done.output
