"""`countersign fleet`: every project that this machine knows, and nothing hidden behind a good one."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from governance.base.errors import ConfigError
from governance.commands import session
from governance.machine.machine import DATABASE, machine, open_log
from governance.machine.projects import known, listed
from tests.governance.governed import Governed, governed
from tests.governance.story import MODEL, START, altered
from tests.governance.terminal import at_terminal, run


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Governed:
    """The desk with a released version, and the log of another project beside it."""
    made = governed(tmp_path)
    made.released("1")
    at_terminal(made, monkeypatch)
    environ = {**made.story.machine.environ, "COUNTERSIGN_PROJECT": "claims"}
    open_log(machine("claims", environ), made.story.policies, lambda: START)
    return made


def shown(*words: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and the projects by name."""
    code, text = run("fleet", "--json", *words)
    return code, {each["project"]: each for each in json.loads(text)["projects"]}


def test_it_shows_what_is_live_and_what_waits_in_each_project(scene: Governed) -> None:
    code, projects = shown()
    assert (code, [*projects]) == (0, ["claims", MODEL])
    (live,) = projects[MODEL]["live"]
    assert (live["model"], live["version"], live["alias"]) == (MODEL, "1", "champion")
    assert live["digest"] == scene.story.models["sft"]
    assert projects["claims"]["live"] == []
    assert [each["next"].split()[1] for each in projects["claims"]["waiting"]] == ["policy"]
    lines = run("fleet")[1]
    assert f"{MODEL}/1 champion since" in lines and "claims" in lines


def test_an_incident_is_told_apart_from_what_waits(scene: Governed) -> None:
    scene.incident("1", "open", reason="It leaks <b>names</b>.")
    code, projects = shown()
    (incident,) = projects[MODEL]["incidents"]
    assert code == 4 and f"{MODEL}/1" in incident["what"] and incident["people"]
    assert incident not in projects[MODEL]["waiting"] and projects["claims"]["incidents"] == []
    assert run("fleet")[0] == 4


def test_what_is_overdue_is_named_with_its_date(
    scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policies of the story set a review of each version every twelve months."""
    later = scene.now + timedelta(days=800)
    monkeypatch.setattr(session, "clock", lambda: later)
    code, projects = shown()
    assert code == 4
    assert [each["due"][:4] for each in projects[MODEL]["overdue"]] == ["2027"]


@pytest.mark.parametrize("fault", ["altered", "another project's", "no database"])
def test_a_log_that_cannot_be_used_hides_no_other(
    scene: Governed, fault: str, tmp_path: Path
) -> None:
    home = scene.story.machine.home
    if fault == "altered":
        altered(scene.story.log, 3)
    elif fault == "another project's":
        shutil.copy(home / "claims" / DATABASE, home / MODEL / DATABASE)
    else:
        (home / MODEL / DATABASE).write_bytes(b"not a database at all" * 100)
    code, projects = shown()
    assert projects[MODEL]["problem"] and projects[MODEL]["live"] == []
    assert code == projects[MODEL]["exit_code"] == (6 if fault == "no database" else 5)
    assert projects["claims"]["problem"] is None and projects["claims"]["entries"] > 0
    assert "CANNOT BE USED" in run("fleet")[1]


def test_the_page_has_every_project_and_no_markup_of_others(
    scene: Governed, tmp_path: Path
) -> None:
    scene.incident("1", "open", reason="It leaks <b>names</b>.")
    page = tmp_path / "fleet.html"
    run("fleet", "--html", str(page))
    html = page.read_text(encoding="utf-8")
    assert "<script" not in html and "<b>names</b>" not in html and "&lt;b&gt;names" in html
    assert 'id="claims"' in html and f'id="{MODEL}"' in html


def test_projects_yaml_names_the_logs(scene: Governed, tmp_path: Path) -> None:
    environ = scene.story.machine.environ
    database = scene.story.machine.state / DATABASE
    file = tmp_path / "projects.yaml"
    file.write_text(f"projects:\n  {MODEL}: {{log: 'sqlite:///{database}', origin: abc}}\n")
    (named,) = listed(file, {**environ, "COUNTERSIGN_LOG": "https://elsewhere.example"}).values()
    assert (named.log_uri, named.project) == (f"sqlite:///{database}", MODEL)
    assert named.environ["COUNTERSIGN_ORIGIN"] == "abc"
    assert named.signer_uri is None and "COUNTERSIGN_SIGNER" not in named.environ
    code, projects = shown("--projects", str(file))
    assert (code, [*projects]) == (5, [MODEL])  # its log does not begin with that entry
    (scene.story.machine.home / "projects.yaml").write_text("projects:\n  claims: {}\n")
    assert [*known(environ)] == ["claims", MODEL]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("projects:\n  a: {log: 'sqlite:////x.db'}\n  b: {log: 'sqlite:////x.db'}\n", "same log"),
        ("projects: {}\n", "projects"),
        ("projects:\n  Desk 1: {}\n", "Desk 1"),
        ("projects:\n  a: {password: x}\n", "password"),
    ],
)
def test_mistakes_in_projects_yaml_name_the_line(
    scene: Governed, tmp_path: Path, content: str, says: str
) -> None:
    file = tmp_path / "projects.yaml"
    file.write_text(content)
    code, said = run("fleet", "--projects", str(file))
    assert code == ConfigError.exit_code and says in said and "projects.yaml:" in said


def test_a_machine_without_projects_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COUNTERSIGN_HOME", str(tmp_path))
    code, said = run("fleet")
    assert code == ConfigError.exit_code and "knows no project" in said
