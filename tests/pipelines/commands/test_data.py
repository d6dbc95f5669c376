"""`countersign data`: where the data and models of a version are, and that only proven files are
restored.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from governance.attest.digests import tree_digest
from governance.attest.predicates import DvcObject
from governance.base.errors import ConfigError, InputError
from pipelines.commands import data
from pipelines.commands.data import command
from pipelines.dvc_store import NotThereError, store
from tests.governance.killed import in_child
from tests.project import Project
from tests.project import small as small  # fixture

PATHS = {"data/ready/desk_eval", "data/ready/desk_sft", "models/base", "models/sft", "models/tiny"}
CACHE = ".dvc/cache/files/md5"


@pytest.fixture
def project(small: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The small project with everything in its cache."""
    made = small.copy(tmp_path)
    for name, value in made.env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(made.root)
    return made


def run(*arguments: str, code: int = 0) -> dict[str, dict[str, Any]]:
    """Path to row."""
    done = CliRunner().invoke(command, ["support-desk/1", "--json", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return {row["path"]: row for row in json.loads(done.stdout)["items"]}


def where(rows: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {path: row["where"] for path, row in rows.items()}


def forget(project: Project, *names: str) -> None:
    for name in names:
        shutil.rmtree(project.root / name)


def push(project: Project, tmp_path: Path) -> Path:
    """Everything is in a remote as well."""
    remote = tmp_path / "remote"
    for arguments in (["remote", "add", "-q", "-d", "store", str(remote)], ["push", "-q"]):
        subprocess.run(["dvc", *arguments], cwd=project.root, env=project.env(), check=True)
    return remote


@pytest.mark.slow
def test_everything_a_version_depends_on_is_listed_and_restored(
    project: Project, tmp_path: Path
) -> None:
    listed = run()
    assert where(listed) == dict.fromkeys(PATHS, "cache")
    assert {row["name"]: row["kind"] for row in listed.values()} == {
        "desk_sft": "training set", "desk_eval": "suite", "tiny": "base", "base": "model",
        "sft": "model",
    }  # fmt: skip
    target = tmp_path / "new" / "folder"
    assert where(run("--get", str(target))) == dict.fromkeys(PATHS, "cache")
    for path, row in listed.items():
        if path.startswith("models"):
            assert tree_digest(target / path / "model") == row["sha256"]
    assert sorted(path.name for path in target.parent.iterdir()) == ["folder"]
    with pytest.raises(ConfigError, match="there already"):
        run("--get", str(target))
    with pytest.raises(ConfigError, match="DVC remote"):
        run("--get", str(tmp_path / "other"), "--remote", "nosuch")
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_what_a_killed_run_left_is_gone_after_the_next(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "new" / "folder"
    with monkeypatch.context() as patched:
        patched.setattr(data, "restore", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        assert in_child(lambda: run("--get", str(target))) == -signal.SIGKILL
    assert len(list(target.parent.iterdir())) == 1 and not target.exists()
    run("--get", str(target))
    assert [path.name for path in target.parent.iterdir()] == ["folder"]


@pytest.mark.slow
def test_a_teammate_without_any_file_gets_them_from_the_remote(
    project: Project, tmp_path: Path
) -> None:
    push(project, tmp_path)
    forget(project, ".dvc/cache", "data", "models")
    assert where(run(code=3)) == dict.fromkeys(PATHS, "nowhere")
    rows = run("--get", str(tmp_path / "made"))
    assert where(rows) == dict.fromkeys(PATHS, "remote")
    assert not (project.root / ".dvc/cache").exists()  # the restored copy is the only one


def spoil(file: Path) -> None:
    file.chmod(0o600)
    file.write_bytes(b"spoiled")


def objects(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.slow
def test_spoiled_objects_are_taken_from_nowhere(project: Project, tmp_path: Path) -> None:
    for file in objects(project.root / CACHE):
        spoil(file)
    rows = run("--get", str(tmp_path / "made"))
    assert where(rows) == dict.fromkeys(PATHS, "project")
    assert {row["reasons"][0] for row in rows.values()} == {"cache: not there"}

    remote = push(project, tmp_path)
    for file in objects(remote):
        spoil(file)
    forget(project, "models")
    rows = run("--get", str(tmp_path / "second"), code=3)
    lost = {path for path, place in where(rows).items() if place == "nowhere"}
    assert lost == {"models/base", "models/sft"}
    assert rows["models/tiny"]["where"] == "made again"
    assert not (tmp_path / "second" / "models" / "sft").exists()


@pytest.mark.slow
@pytest.mark.nightly
def test_after_an_erasure_data_cannot_be_proven_any_more(project: Project, tmp_path: Path) -> None:
    """A source has a record less, and nobody kept the older files. The other data can be made
    again as they were.
    """
    forget(project, ".dvc/cache", "data")
    project.edit("params.yaml", lambda file: file["samples"]["desk_sft"].update(n=299))
    rows = run("--get", str(tmp_path / "after"), code=5)
    assert rows["data/ready/desk_sft"]["where"] == "not provable"
    assert "made again: other bytes" in rows["data/ready/desk_sft"]["reasons"][-1]
    assert not (tmp_path / "after/data/ready/desk_sft").exists()
    assert rows["data/ready/desk_eval"]["where"] == "made again"
    records = tmp_path / "after/data/ready/desk_eval/records"
    assert tree_digest(records) == rows["data/ready/desk_eval"]["sha256"]


@pytest.mark.slow
def test_files_that_no_evidence_names_are_left_out(project: Project, tmp_path: Path) -> None:
    forget(project, ".dvc/cache")
    (project.root / "models/sft/notes.txt").write_text("added later")
    (project.root / "models/base/model/extra.txt").write_text("in a sealed folder")
    rows = run("--get", str(tmp_path / "made"), code=5)
    assert rows["models/base"]["where"] == "not provable"
    assert rows["models/sft"]["where"] == "project"
    assert "1 files that no evidence names" in rows["models/sft"]["reasons"][-1]
    assert not (tmp_path / "made/models/sft/notes.txt").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "error"),
    [("support-desk/9", InputError), ("nosuch/1", InputError), ("nosuch", ConfigError)],
)
def test_unknown_versions_are_errors(
    project: Project, version: str, error: type[Exception]
) -> None:
    done = CliRunner().invoke(command, [version])
    assert isinstance(done.exception, error)


# --- DVC's lists, which come from a cache or remote that others write ------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "listing",
    [
        "{",
        "3",
        "[3]",
        "[{}]",
        '[{"relpath": "../../out", "md5": "%s"}]' % ("0" * 32),
        '[{"relpath": "/etc/out", "md5": "%s"}]' % ("0" * 32),
        '[{"relpath": "a/../../b", "md5": "%s"}]' % ("0" * 32),
        '[{"relpath": "a", "md5": "../../../etc/passwd"}]',
        '[{"relpath": "a", "md5": 3}]',
    ],
)
def test_a_list_that_leads_out_of_its_folder_is_refused(tmp_path: Path, listing: str) -> None:
    import hashlib

    from dvc.repo import Repo

    root = tmp_path / "project"
    root.mkdir()
    Repo.init(str(root), no_scm=True).close()
    md5 = hashlib.md5(listing.encode()).hexdigest()
    file = root / CACHE / md5[:2] / f"{md5[2:]}.dir"
    file.parent.mkdir(parents=True)
    file.write_text(listing)
    wanted = DvcObject(path="models/x", md5=f"{md5}.dir", size=1)
    with (
        store(root, None, tmp_path / "fetched") as kept,
        pytest.raises((InputError, NotThereError)),
    ):
        kept.take(wanted, tmp_path / "made" / "x", remote=False)
    assert not (tmp_path / "made" / "x").exists() and not (tmp_path / "out").exists()
