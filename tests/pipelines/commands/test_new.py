"""`countersign new`: whole projects or none, and each recipe is consistent."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from governance.base.distribution import NAME, VERSION
from governance.base.errors import ConfigError, StorageError
from governance.base.yaml import parse_yaml
from pipelines import template
from pipelines.cli import cli
from pipelines.commands import new
from pipelines.params import load_params
from pipelines.plan.plan import plan
from pipelines.project import open_project
from pipelines.template import RECIPES
from tests.conftest import ROOT
from tests.governance.killed import in_child


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, state of its own, and somebody whom git knows."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COUNTERSIGN_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.org")
    return folder


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["new", *arguments])


def git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.mark.parametrize("recipe", RECIPES)
def test_nothing_would_refuse_a_run_of_a_new_project(
    recipe: str, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("mine", "--recipe", recipe).exit_code == 0
    monkeypatch.chdir(empty / "mine")
    project = open_project(Path.cwd(), os.environ)
    assert project.params.project == "mine"
    made = plan(project, [], datetime.now(UTC))
    assert not made.mistakes and not made.findings
    assert git("status", "--porcelain") == "" and git("rev-list", "--count", "HEAD") == "1"
    cards = {path.stem for path in Path("policies/datacards").iterdir()}
    assert cards == set(project.params.datasets)
    assert Path("requirements.txt").read_text().startswith(f"{NAME}[pipeline]=={VERSION}\n")


def test_the_support_desk_is_this_repository(empty: Path) -> None:
    assert run("mine").exit_code == 0
    for name in template.SHARED:
        for path in [ROOT / name] if (ROOT / name).is_file() else (ROOT / name).rglob("*.*"):
            made = (empty / "mine" / path.relative_to(ROOT)).read_text(encoding="utf-8")
            ours = path.read_text(encoding="utf-8")
            named = path.relative_to(ROOT).as_posix() in template.NAMED
            assert made == (ours.replace("support-desk", "mine") if named else ours), path


def test_a_recipe_has_only_the_rows_that_its_model_rests_on() -> None:
    ours = load_params(ROOT)
    for recipe, stages in [("sft-dpo", "base sft dpo"), ("grpo", "base sft grpo")]:
        text = template.files(recipe, "mine")["params.yaml"].decode()
        Path("params.yaml").write_text(text)
        params = load_params(Path.cwd())
        assert list(params.stages) == stages.split()
        shared = set(params.stages) - {"grpo"}
        assert all(params.stages[name] == ours.stages[name] for name in shared)
        assert not {"desk_rated", "desk_judged"} & params.datasets.keys()
        assert "desk_pref_eval" not in params.suites


def test_rows_replace_those_of_their_name_and_follow_the_others() -> None:
    text = "stages:\n  sft: {}\n\n# none yet\nevaluations: {}\n\nreleases:\n  a: {}\n"
    rows = "stages:\n  sft:\n    {n: 1}\n  dpo: {}\nevaluations:\n  b: {}\n"
    made = template.with_rows(text, rows, "params.yaml")
    assert made == (
        "stages:\n  sft:\n    {n: 1}\n  dpo: {}\n\n# none yet\nevaluations:\n  b: {}\n\n"
        "releases:\n  a: {}\n"
    )


def test_a_table_that_a_file_lacks_gets_no_rows() -> None:
    with pytest.raises(ValueError, match="nosuch"):
        template.with_rows("stages:\n  sft: {}\n", "nosuch:\n  sft: {}\n", "params.yaml")


def test_the_policies_of_a_new_project_name_its_model() -> None:
    for recipe in RECIPES:
        made = template.files(recipe, "mine")
        assert not [path for path, text in made.items() if b"support-desk" in text]
    policy = parse_yaml(template.files("safety", "mine")["policies/evaluation.yaml"].decode(), "")
    required = [suite.get("required_of") for suite in policy["suites"].values()]
    assert ["mine"] in required and ["support-desk"] not in required


def test_the_same_version_recipe_and_name_give_the_same_files() -> None:
    assert template.files("grpo", "mine") == template.files("grpo", "mine")


@pytest.mark.slow
def test_a_remote_is_that_of_dvc(empty: Path) -> None:
    assert run("mine", "--remote", "shared").exit_code == 0
    assert git("-C", "mine", "status", "--porcelain") == ""
    listed = subprocess.run(
        [sys.executable, "-m", "dvc", "remote", "list"],
        cwd="mine",
        env={**os.environ, "COLUMNS": "1000"},  # DVC wraps a long path
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout.split() == ["storage", str(empty / "shared"), "(default)"]


@pytest.mark.parametrize("address", ["https://me:secret@example.org/x", "s3://[x"])
def test_a_remote_with_a_password_is_not_committed(address: str, empty: Path) -> None:
    result = run("mine", "--remote", address)
    assert isinstance(result.exception, ConfigError) and "secret" not in str(result.exception)
    assert not list(empty.iterdir())


def test_it_prints_json() -> None:
    made = json.loads(run("some folder", "--json").stdout)
    assert (
        made["project"] == "some-folder"
        and made["commit"]
        and made["next"][0] == "cd 'some folder'"
    )


REFUSED = [
    # folder, options, what is told
    ("full", (), "not empty"),
    ("file", (), "a file of that name"),
    ("link", (), "a file of that name"),
    ("nosuch/mine", (), "does not exist"),
    (".", (), "the working folder"),
    ("日本", (), "--name NAME"),
    ("mine", ("--name", "Mine!"), "no name of a project"),
    ("mine", ("--name", "null"), "no name of a project"),
    ("True", (), "--name NAME"),
    ("known", (), "another name"),
]


@pytest.mark.parametrize(("folder", "options", "told"), REFUSED)
def test_what_cannot_be_made_is_refused_and_nothing_is_written(
    folder: str, options: tuple[str, ...], told: str, empty: Path
) -> None:
    Path("full").mkdir()
    Path("full", "kept").touch()
    Path("file").touch()
    Path("link").symlink_to("nowhere")
    (empty.parent / "state" / "known").mkdir(parents=True)
    before = sorted(empty.rglob("*"))
    result = run(folder, *options)
    assert isinstance(result.exception, ConfigError) and told in str(result.exception)
    assert sorted(empty.rglob("*")) == before


def test_the_next_command_is_one_of_a_shell() -> None:
    made = run("--", "-mine")
    assert made.exit_code == 0 and "cd ./-mine" in made.output


@pytest.mark.slow
def test_a_source_of_ones_own_is_kept_by_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("mine").exit_code == 0
    monkeypatch.chdir("mine")
    Path("data/source").mkdir(parents=True)
    Path("data/source/pairs.jsonl").write_text("{}\n")
    Path("data/other").touch()
    add = [sys.executable, "-m", "dvc", "add", "-q", "data/source/pairs.jsonl"]
    subprocess.run(add, check=True, capture_output=True)
    assert git("status", "--porcelain", "-uall") == "?? data/source/pairs.jsonl.dvc"


def test_a_failure_in_the_middle_leaves_nothing(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(new, "first_commit", full)
    result = run("mine")
    assert isinstance(result.exception, StorageError) and not list(empty.iterdir())


def test_what_a_killed_run_left_is_gone_after_the_next(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(new, "first_commit", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        assert in_child(lambda: run("mine")) == -signal.SIGKILL
    assert len(list(empty.iterdir())) == 1 and not (empty / "mine").exists()
    assert run("mine").exit_code == 0
    assert [path.name for path in empty.iterdir()] == ["mine"]


def test_an_empty_folder_is_filled() -> None:
    Path("mine").mkdir()
    assert run("mine").exit_code == 0 and Path("mine/params.yaml").is_file()


def test_without_an_identity_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.delenv(f"GIT_{role}_NAME")
        monkeypatch.delenv(f"GIT_{role}_EMAIL")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.useConfigOnly")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    result = run("mine")
    assert result.exit_code == 0 and "user.name" in result.output
    assert Path("mine/.git").is_dir()


def test_inside_another_repository_nothing_is_committed() -> None:
    git("init", "-q")
    result = run("mine")
    assert "commit it there" in result.output and not Path("mine/.git").exists()


def test_no_other_folder_of_git_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """git sets these variables for what its hooks start."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other.git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    assert run("mine").exit_code == 0
    assert Path("mine/.git/HEAD").is_file() and not (tmp_path / "other.git").exists()


def test_the_readme_lists_every_recipe() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([\w-]+)` \| S", readme, re.MULTILINE) == list(RECIPES)
