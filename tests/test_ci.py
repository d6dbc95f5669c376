"""The jobs for CI: the script that both run, as plain shell on real projects; the action and the
GitLab component run this script.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from governance.base.distribution import NAME, VERSION
from pipelines import template
from tests.conftest import ROOT
from tests.project import BIN, Project

SCRIPT = ROOT / "ci" / "check.sh"
ACTION = ROOT / "action.yml"
TEMPLATE = ROOT / "templates" / "check" / "template.yml"
OUT = "countersign-report"


@dataclass(frozen=True)
class Job:
    """A job that ended."""

    code: int
    out: str
    folder: Path

    @property
    def summary(self) -> str:
        """The last line, which is kept too."""
        line = self.out.splitlines()[-1]
        assert (self.folder / OUT / "summary.txt").read_text().rstrip("\n") == line
        return line


def job(folder: Path, environ: dict[str, str], *command: str, **more: str) -> Job:
    """The script, or another command, with nothing but the environment that is given."""
    kept = {
        name: os.environ[name] for name in ("LANG", "PYTHONPATH", "TMPDIR") if name in os.environ
    }
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    done = subprocess.run(
        command or ("sh", str(SCRIPT)),
        cwd=folder,
        env={**kept, "HOME": str(folder.parent), **environ, "PATH": path, **more},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Job(done.returncode, done.stdout, folder)


def of_project(project: Project, *command: str, **more: str) -> Job:
    return job(project.root, project.env(), *command, **more)


@pytest.fixture(scope="module")
def project(small: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return small.copy(tmp_path_factory.mktemp("ci"))


@pytest.mark.slow
def test_a_version_that_may_have_the_alias_passes(project: Project, tmp_path: Path) -> None:
    told = {
        "GITHUB_STEP_SUMMARY": str(tmp_path / "step"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
    }
    done = of_project(project, CHECK_ALIAS="candidate", **told)
    line = "countersign: verified; support-desk/1 as candidate would be allowed"
    assert (done.code, done.summary) == (0, line), done.out
    assert (tmp_path / "step").read_text() == f"{line}\n"
    assert (tmp_path / "output").read_text() == f"summary={line}\n"
    assert "18 entries verified" in (project.root / OUT / "verify.txt").read_text()
    report = json.loads((project.root / OUT / "report" / "support-desk-1.json").read_bytes())
    assert report["version"] == "1" and (project.root / OUT / "report/support-desk-1.html").exists()
    assert json.loads((project.root / OUT / "promote.json").read_bytes())["allowed"]


@pytest.mark.slow
def test_the_script_of_the_gitlab_job_does_the_same(project: Project) -> None:
    """As a runner starts it: in a shell that ends at the first failure."""
    steps = script_of_gitlab()
    options = {"CHECK_ALIAS": "champion", "CHECK_OUT": OUT, "CHECK_PACKAGE": ""}
    done = of_project(project, "bash", "-c", f"set -eo pipefail\n{steps}", **options)
    assert done.code == 2 and "no governed alias 'champion'" in done.out, done.out
    assert done.summary.endswith("support-desk/1 as champion cannot be decided (exit code 2)")


@pytest.mark.nightly
def test_a_log_that_was_changed_fails(project: Project, tmp_path: Path) -> None:
    spoiled = project.copy(tmp_path)
    with sqlite3.connect(spoiled.database) as database:
        database.execute("DROP TRIGGER countersign_entry_UPDATE")
        database.execute(
            "UPDATE countersign_entry SET envelope = replace(envelope, 'e', 'f') WHERE idx = 5"
        )
    database.close()
    done = of_project(spoiled, CHECK_ALIAS="candidate")
    assert done.code == 5 and "VERIFICATION FAILED (exit code 5)" in done.summary, done.out


def test_where_there_is_no_project(tmp_path: Path) -> None:
    done = job(tmp_path, {"COUNTERSIGN_HOME": str(tmp_path / "home")})
    assert done.code == 2 and "no version as champion cannot be decided" in done.summary, done.out


CODES = {
    "all pass": ((0, 0, 0), 0),
    "refused": ((0, 4, 0), 4),
    "refused, and the report has a fault": ((0, 4, 4), 4),
    "only the report": ((0, 0, 5), 5),
    "verification first": ((5, 4, 0), 5),
    "the log is away": ((6, 6, 6), 6),
    "crashed": ((1, 0, 0), 1),
}


@pytest.mark.parametrize("row", CODES)
def test_exit_codes_are_passed_on(row: str, tmp_path: Path) -> None:
    """A command that prints what `promote` prints, with the codes of the table."""
    (verify, promote, report), expected = CODES[row]
    finding = '{"findings": [{"code": "APPROVAL_MISSING"}, {"code": "APPROVAL_MISSING"}]}'
    script = f"""#!/bin/sh
case $1 in
  verify) exit {verify} ;;
  report) exit {report} ;;
  promote) echo '{finding}'; exit {promote} ;;
esac
"""
    (tmp_path / "countersign").write_text(script)
    (tmp_path / "countersign").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    command = ("env", f"PATH={path}", "sh", str(SCRIPT))
    done = job(tmp_path, {}, *command, CHECK_VERSION="desk/3")
    assert done.code == expected, done.out
    if promote == 4:
        assert "desk/3 as champion would be refused: APPROVAL_MISSING" in done.summary
        assert done.summary.count("APPROVAL_MISSING") == 1


def test_the_action_runs_the_script_and_keeps_the_report() -> None:
    action = YAML(typ="safe").load(ACTION)
    install, check, keep = action["runs"]["steps"]
    assert action["runs"]["using"] == "composite"
    assert "$GITHUB_ACTION_PATH/ci/check.sh" in check["run"] and SCRIPT.exists()
    assert keep["if"] == "always()" and keep["with"]["path"].endswith(check["env"]["CHECK_OUT"])
    assert set(check["env"]) == variables()
    for step in (install, check):
        assert "${{" not in step["run"], "an input is no part of the script"
        assert step["shell"] == "bash"
    named = set(re.findall(r"inputs\.([a-z-]+)", ACTION.read_text()))
    assert named == set(action["inputs"])


def test_the_component_of_gitlab_has_the_script_and_keeps_the_report() -> None:
    spec, jobs = YAML(typ="safe").load_all(TEMPLATE)
    (steps,) = jobs["countersign-check"]["script"]
    script = SCRIPT.read_text()
    if os.environ.get("TESTS_UPDATE"):
        TEMPLATE.write_text(with_script(TEMPLATE.read_text(), script))
        steps = script_of_gitlab()
    assert f"<<'CHECK'\n{script}CHECK\n" in steps, "TESTS_UPDATE=1 pytest -n 0 tests/test_ci.py"
    inputs = set(re.findall(r"\$\[\[ inputs\.([a-z]+) \]\]", TEMPLATE.read_text()))
    assert inputs == set(spec["spec"]["inputs"])
    assert set(jobs["countersign-check"]["variables"]) == variables() | {"CHECK_PACKAGE"}
    assert jobs["countersign-check"]["artifacts"] == {"when": "always", "paths": [f"{OUT}/"]}


def variables() -> set[str]:
    """What the script reads."""
    return set(re.findall(r"\$\{(CHECK_\w+)", SCRIPT.read_text()))


def script_of_gitlab() -> str:
    _, jobs = YAML(typ="safe").load_all(TEMPLATE)
    (steps,) = jobs["countersign-check"]["script"]
    return str(steps)


def with_script(template: str, script: str) -> str:
    """The template with this script in its place."""
    begin, end = "<<'CHECK'\n", "      CHECK\n"
    head, tail = template.partition(begin)[0], template.rpartition(end)[2]
    body = "".join(f"      {line}\n" if line else "\n" for line in script.splitlines())
    return f"{head}{begin}{body}{end}{tail}"


def test_a_new_project_has_the_script_and_a_workflow_that_runs_it() -> None:
    found = template.files("sft-dpo", "mine")
    assert found["ci/check.sh"] == SCRIPT.read_bytes()
    workflow = YAML(typ="safe").load(found[".github/workflows/check.yml"].decode())
    (job,) = workflow["jobs"].values()
    steps = [step.get("run", "") for step in job["steps"]]
    assert "sh ci/check.sh" in steps
    documented = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in documented for name in job["env"])
    (install,) = (run for run in steps if "pip install" in run)
    base = install.partition('"$(')[2].partition(')"')[0]
    told = subprocess.run(
        ["sh", "-c", base.replace("requirements.txt", "-")],
        input=found["requirements.txt"], capture_output=True, check=True,
    )  # fmt: skip
    assert told.stdout.decode() == f"{NAME}=={VERSION}\n"
