"""`countersign upgrade` in a project that an older template made, with a person's edits."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from governance.base.distribution import VERSION
from pipelines import lock, template_record
from pipelines.cli import cli
from pipelines.commands import new
from pipelines.params import load_params
from pipelines.template_record import RECORD, TemplateRecord


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project as an artificial version 0.0.9 would have made it: other requirements, another
    Makefile, a policy with another limit, a file that is gone now, no CI.
    """
    monkeypatch.setenv("COUNTERSIGN_HOME", str(tmp_path / "state"))
    folder = tmp_path / "mine"
    folder.mkdir()
    new.write(folder, "grpo", "mine")
    record = template_record.read(folder)
    assert record is not None
    files = dict(record.files)
    files["requirements.txt"] = "countersign-llm[pipeline]==0.0.9\npytest\n"
    files["Makefile"] = files["Makefile"].replace("@countersign plan", "@countersign check")
    files["policies/policy.yaml"] = files["policies/policy.yaml"].replace(
        "max_share: 0.05", "max_share: 0.2"
    )
    files["docs.md"] = "An older page.\n"
    del files[".github/workflows/ci.yml"]
    (folder / ".github/workflows/ci.yml").unlink()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    older = TemplateRecord(version="0.0.9", recipe="grpo", name="mine", files=files)
    (folder / RECORD).write_bytes(older.dumps())
    monkeypatch.chdir(folder)
    return folder


def edit(name: str, old: str, new_: str) -> None:
    text = Path(name).read_text(encoding="utf-8")
    assert old in text
    Path(name).write_text(text.replace(old, new_, 1), encoding="utf-8")


def files(root: Path) -> dict[Path, bytes]:
    """Every file but the locks of what runs."""
    found = (path for path in root.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in found if ".dvc/tmp" not in path.as_posix()}


def upgrade(*options: str) -> Result:
    return CliRunner().invoke(cli, ["upgrade", *options])


def test_a_persons_edits_and_the_newer_template_are_both_there(project: Path) -> None:
    edit("params.yaml", "max_steps: 100", "max_steps: 7")
    edit("policies/policy.yaml", "max_dropped_share: 0.1", "max_dropped_share: 0.3")
    Path("rewards/mine.py").write_text("def mine(text, answer):\n    return 0.0\n")
    result = upgrade()
    assert result.exit_code == 0, result.output
    policy = Path("policies/policy.yaml").read_text()
    assert "max_share: 0.05" in policy and "max_dropped_share: 0.3" in policy
    assert load_params(project).stages["grpo"].trainer["max_steps"] == 7
    assert f"=={VERSION}" in Path("requirements.txt").read_text()
    assert "@countersign plan" in Path("Makefile").read_text()
    assert Path(".github/workflows/ci.yml").is_file() and not Path("docs.md").exists()
    assert Path("rewards/mine.py").is_file()
    for told in (
        f"TEMPLATE  grpo 0.0.9 -> {VERSION}",
        "+ingest: {malformed: drop, max_share: 0.05",
        "policies changed",
        "merged with your changes",
    ):
        assert told in result.output
    assert template_record.read(project) == template_record.current("grpo", "mine")
    again = upgrade()
    assert again.exit_code == 0 and "up to date" in again.output and "TEMPLATE" not in again.output


def test_a_dry_run_writes_nothing(project: Path) -> None:
    before = files(project)
    result = upgrade("--dry-run")
    assert result.exit_code == 0 and "nothing was written" in result.output
    assert files(project) == before


def test_a_conflict_is_left_marked_and_told(project: Path) -> None:
    edit("policies/policy.yaml", "max_share: 0.2", "max_share: 0.5")
    told = json.loads(upgrade("--json", "--dry-run").stdout)
    assert told["template"]["conflicts"] == ["policies/policy.yaml"] and not told["written"]
    result = upgrade()
    assert result.exit_code == 2 and "CONFLICTS in policies/policy.yaml" in result.output
    text = Path("policies/policy.yaml").read_text()
    assert "<<<<<<< yours\n" in text and f">>>>>>> template {VERSION}\n" in text
    assert "max_share: 0.5" in text and "max_share: 0.05" in text
    assert "@countersign plan" in Path("Makefile").read_text()
    assert upgrade().exit_code == 0 and Path("policies/policy.yaml").read_text() == text


def test_parameters_that_only_the_newer_template_makes_readable_are_no_obstacle(
    project: Path,
) -> None:
    """As when a table of params.yaml gets another form."""
    record = template_record.read(project)
    assert record is not None
    now = "releases:\n  mine: {stage: grpo}\n"
    older = record.files["params.yaml"].replace(now, "release: {model: mine, stage: grpo}\n")
    assert older != record.files["params.yaml"]
    files = {**record.files, "params.yaml": older}
    (project / RECORD).write_bytes(record.model_copy(update={"files": files}).dumps())
    Path("params.yaml").write_text(older)
    assert upgrade("--dry-run").exit_code == 0
    assert upgrade().exit_code == 0 and load_params(project).releases

    (project / RECORD).write_bytes(record.model_copy(update={"files": files}).dumps())
    Path("params.yaml").write_text(older.replace("stage: grpo}", "stage: sft}"))
    Path("countersign.lock").unlink()
    result = upgrade()
    assert result.exit_code == 2 and "not known before the conflict" in result.output
    assert lock.mistake(project, ["train"]) is None


def test_a_list_of_fields_that_became_policy_is_named_before_anything_is_written(
    project: Path,
) -> None:
    edit("params.yaml", "suite: prompt,", "suite: prompt, ignore: [id],")
    before = files(project)
    result = upgrade()
    assert "policies/policy.yaml, under `ingest`" in str(result.exception)
    assert files(project) == before


def test_a_project_without_a_record_is_left_as_it_is(project: Path) -> None:
    (project / RECORD).unlink()
    result = upgrade()
    assert result.exit_code == 0 and "TEMPLATE" not in result.output
    assert Path("docs.md").exists()


def test_a_folder_that_cannot_be_written_is_an_error_with_its_reason(project: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (project / "policies").chmod(0o500)
    try:
        assert "cannot be written" in str(upgrade().exception)
    finally:
        (project / "policies").chmod(0o700)
