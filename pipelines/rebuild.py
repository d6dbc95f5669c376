"""Makes a dataset or base again from its sources, in another folder: `main` of an isolated process,
`pipelines.rebuild STAGE FOLDER`, in the project's folder.

The project's own parameters, policies, sources and code are used. Nothing is recorded, and nothing
in the project changes. Whether the result is the recorded one, its sha256 says; who asked compares
it.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from governance.attest.requests import refusal
from governance.base.errors import CountersignError, InputError, RefusedError, unknown
from governance.base.progress import Progress
from governance.machine.machine import read_log
from pipelines import isolation, process
from pipelines.families import family
from pipelines.harness import StageRun
from pipelines.plan.graph import graph, needed
from pipelines.project import Project, open_project, utc_now

FAMILIES = frozenset({"sample", "fetch", "ingest", "scan_pii", "check_quality", "import_base"})
"""Families whose stages cost minutes at most."""


def main() -> None:
    """Ends with the exit code of the error."""
    stage, folder = sys.argv[1:]
    try:
        isolation.require_isolated(os.environ)
        rebuild(open_project(Path.cwd(), os.environ), stage, Path(folder))
    except CountersignError as error:
        print(f"{error.found} {error.where}".strip(), file=sys.stderr)
        sys.exit(error.exit_code)


def rebuild(project: Project, stage: str, folder: Path) -> None:
    """Makes the outputs of a stage, and of those before it, below `folder`. Raises
    `CountersignError`.
    """
    stages = graph(project.params)
    if stage not in stages:
        raise unknown("stage", stage, stages, "params.yaml")
    steps = needed(stages, [stage])
    families = {step.partition("@")[0] for step in steps}
    if families - FAMILIES:
        raise InputError(f"{stage} is made from a training", expected="data or a base")
    network = any(family(name).network for name in families)
    process.settle(os.environ, threads=1, network=network)
    folder.mkdir(parents=True)
    shutil.copytree(project.root / "policies", folder / "policies")
    _take(project, project.params.records.key, folder)
    for step in steps:
        _make(project, step, folder)


def _make(project: Project, step: str, folder: Path) -> None:
    name, _, key = step.partition("@")
    here = replace(project, root=folder)
    run = StageRun(name, key, here, utc_now, Progress(), lambda: read_log(project.machine))
    for file in run.inputs:
        _take(project, file.path.as_posix(), folder)
    job = run.job(run.hash_inputs(), folder, folder / ".scratch" / step)
    outcome = run.family.run(job)
    if outcome.refused:
        raise RefusedError(refusal(step, outcome.refused))


def _take(project: Project, name: str, folder: Path) -> None:
    """Copies a file or folder of the project that no stage before has made."""
    source, target = project.root / name, folder / name
    if target.exists() or not source.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
