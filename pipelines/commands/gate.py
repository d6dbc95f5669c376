"""`countersign gate STAGE --dry-run`: what the gate of a training stage, or of a generated dataset,
would decide now.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import click

from governance.attest.requests import Decision
from governance.base.errors import unknown
from governance.base.progress import Progress
from governance.base.time import instant
from governance.machine.machine import read_log
from pipelines import lock
from pipelines.generation import deciding
from pipelines.harness import StageRun
from pipelines.job import Job
from pipelines.params import Params
from pipelines.project import open_project, utc_now
from pipelines.stages import gate

REFUSED = 4


@click.command()
@click.argument("stage")
@click.option("--dry-run", is_flag=True, required=True, help="Required: nothing is recorded.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(stage: str, dry_run: bool, as_json: bool) -> None:
    """Show what the gate of a training stage would decide, or that of a dataset to be generated,
    from the files and the log as they are.

    `countersign repro gate@STAGE` or `generate@NAME` decides and records.
    """
    project = open_project(Path.cwd(), os.environ)
    name, family = _named(stage, project.params)
    key = name.partition("@")[2]
    lock.check(project.root, family)
    log = read_log(project.machine)  # nothing is begun or recorded
    run = StageRun(family, key, project, utc_now, Progress(), lambda: log)
    with tempfile.TemporaryDirectory() as folder:
        job = run.job(run.hash_inputs(), Path(folder) / "made", Path(folder) / "scratch")
        decision, report = DECIDE[family](job)
    if as_json:
        answer = {
            "stage": name,
            "allowed": decision.allowed,
            "tier": decision.tier,
            "at": instant(decision.at),
            "decided_on": decision.decided_on,
            "findings": [finding.model_dump(mode="json") for finding in decision.findings],
            "waived": [finding.model_dump(mode="json") for finding in decision.waived],
        }
        click.echo(json.dumps(answer, indent=2))
    else:
        click.echo(report, nl=False)
    click.get_current_context().exit(0 if decision.allowed else REFUSED)


def _of_training(job: Job) -> tuple[Decision, str]:
    request, decision = gate.dry_run(job)
    return decision, gate.report(request, decision)


def _of_generation(job: Job) -> tuple[Decision, str]:
    request, decision = deciding.decide(job)
    head = f"Dataset {request.stage} ({request.kind}) for {', '.join(request.models)}"
    return decision, gate.decision_report(f"generate@{request.stage}", head, decision)


DECIDE: dict[str, Callable[[Job], tuple[Decision, str]]] = {
    "gate": _of_training,
    "generate": _of_generation,
}
"""Family to its decision and what people read of it."""


def _named(stage: str, params: Params) -> tuple[str, str]:
    """The stage as DVC names it, and its family. Raises `ConfigError`."""
    family, _, key = stage.rpartition("@")
    for name, table in (("gate", params.stages), ("generate", params.generate)):
        if key in table and family in ("", name):
            return f"{name}@{key}", name
    known = [*params.stages, *(f"generate@{name}" for name in params.generate)]
    raise unknown("training stage", key, known, "params.yaml: stages")
