"""A stage is added with three files: its module, dvc.yaml and its test, which is this one."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from governance.base.yaml import read_yaml
from tests.conftest import ROOT
from tests.project import Done, Project, fresh

MODULE = '''
"""Counts the characters of a dataset's source, by line."""

from pathlib import Path

from governance.base.errors import ConfigError
from pipelines.families import StageFamily
from pipelines.job import Input, Job, Outcome, Output


def inputs(params, key):
    return [Input("source", Path(params.datasets[key].source))]


def outputs(params, key):
    return [Output("lengths", Path("data/lengths") / f"{key}.txt")]


def run(job: Job) -> Outcome:
    lines = job.input("source").read_text(encoding="utf-8").splitlines()
    job.output("lengths").write_text("".join(f"{len(line)}\\n" for line in lines))
    return Outcome(
        predicate={"source": f"lengths of {job.key}", "files": 1, "weights": False},
        summary=f"{len(lines)} lengths",
    )


def mistakes(project):
    for name in project.params.datasets:
        if name.startswith("uncountable"):
            yield ConfigError(f"{name} cannot be counted")


FAMILY = StageFamily(
    run=run,
    inputs=inputs,
    outputs=outputs,
    table="datasets",
    evidence="base",
    engines=("click",),
    mistakes=mistakes,
)
'''

DVC_STAGE = {
    "foreach": "${datasets}",
    "do": {
        "cmd": "countersign stage line_lengths ${key}",
        "deps": ["${item.source}"],
        "params": [{"countersign.lock": ["line_lengths"]}],
        "outs": ["data/lengths/${key}.txt"],
    },
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The small project with one more stage; its own `pipelines` are the ones that run."""
    made = fresh(tmp_path)
    made.environ["PYTHONPATH"] = os.pathsep.join([str(made.root), str(ROOT)])
    stages = made.root / "pipelines" / "stages"
    (stages / "line_lengths.py").write_text(MODULE, encoding="utf-8")

    def add(graph: dict[str, Any]) -> None:
        graph["stages"]["line_lengths"] = DVC_STAGE

    made.edit("dvc.yaml", add)
    return made


def repro(project: Project) -> Done:
    """The new stage is not in the lock yet; `countersign upgrade` writes it."""
    done = start(project, "upgrade")
    assert done.code == 0, done.out
    return start(project, "repro", "line_lengths@desk_eval")


def start(project: Project, *arguments: str) -> Done:
    """`countersign` in a process of its own: a warm one has this checkout's `pipelines`."""
    program = "from pipelines.cli import main; main()"
    return project.run(sys.executable, "-P", "-c", program, *arguments)


@pytest.mark.slow
def test_a_new_stage_runs_is_recorded_and_is_cached(project: Project) -> None:
    done = repro(project)
    assert done.code == 0 and "60 lengths" in done.out, done.out
    lengths = (project.root / "data/lengths/desk_eval.txt").read_text(encoding="utf-8")
    assert len(lengths.splitlines()) == 60

    (statement,) = project.evidence("base")  # any kind of evidence that its family declares
    assert statement.predicate.stage == "line_lengths@desk_eval"
    assert [item.role for item in statement.predicate.inputs] == ["source"]
    assert list(statement.predicate.environment.versions) == ["click"]
    assert read_yaml(project.root / "countersign.lock")["line_lengths"]["engines"].keys() == {
        "click"
    }

    again = repro(project)
    assert again.code == 0 and "60 lengths" not in again.out, again.out
    assert len(project.evidence("base")) == 1


CHANGES_THE_HEAD = """
    import os
    import sqlite3

    (database,) = Path(os.environ["COUNTERSIGN_HOME"]).rglob("countersign.db")
    with sqlite3.connect(database) as connection:
        connection.execute(
            "UPDATE countersign_head SET checkpoint ="
            " substr(checkpoint, 1, length(checkpoint) - 9) || 'AAAAAAA=' || char(10)"
        )
"""


@pytest.mark.nightly
@pytest.mark.slow
def test_a_log_that_changes_during_the_work_is_noticed_before_the_run_is_recorded(
    project: Project,
) -> None:
    module = project.root / "pipelines/stages/line_lengths.py"
    body = MODULE.replace("    lines = ", f"{CHANGES_THE_HEAD}    lines = ")
    module.write_text(body, encoding="utf-8")
    done = repro(project)
    assert done.code == 5 and "checkpoint" in done.out, done.out
    (database,) = Path(project.env()["COUNTERSIGN_HOME"]).rglob("countersign.db")
    with sqlite3.connect(database) as connection:
        kinds = connection.execute("SELECT kind FROM countersign_entry").fetchall()
    assert ("base",) not in kinds
    assert not (project.root / "data/lengths/desk_eval.txt").exists()


@pytest.mark.slow
def test_mistakes_that_a_new_stage_declares_are_found_before_anything_runs(
    project: Project,
) -> None:
    def add_row(params: dict[str, Any]) -> None:
        params["datasets"]["uncountable"] = dict(params["datasets"]["desk_sft"])

    project.edit("params.yaml", add_row)
    done = repro(project)
    assert done.code == 2
    assert "uncountable cannot be counted" in done.out
    assert not (project.root / "data").exists()
