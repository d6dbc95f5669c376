"""`countersign gate STAGE --dry-run`: what the gate of a training stage would decide now."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import click

from governance.base.errors import unknown
from governance.base.progress import Progress
from governance.base.time import instant
from governance.machine.machine import read_log
from pipelines import lock
from pipelines.harness import StageRun
from pipelines.project import open_project, utc_now
from pipelines.stages import gate

REFUSED = 4


@click.command()
@click.argument("stage")
@click.option("--dry-run", is_flag=True, required=True, help="Required: nothing is recorded.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(stage: str, dry_run: bool, as_json: bool) -> None:
    """Show what the gate of a training stage would decide, from the files and the log as they are.

    `countersign repro gate@STAGE` decides and records.
    """
    project = open_project(Path.cwd(), os.environ)
    key = stage.removeprefix("gate@")
    if key not in project.params.stages:
        raise unknown("training stage", key, project.params.stages, "params.yaml: stages")
    lock.check(project.root, "gate")
    log = read_log(project.machine)  # nothing is begun or recorded
    run = StageRun("gate", key, project, utc_now, Progress(), lambda: log)
    with tempfile.TemporaryDirectory() as folder:
        job = run.job(run.hash_inputs(), Path(folder) / "made", Path(folder) / "scratch")
        request, decision = gate.dry_run(job)
    if as_json:
        answer = {
            "stage": f"gate@{key}",
            "allowed": decision.allowed,
            "tier": decision.tier,
            "at": instant(decision.at),
            "decided_on": decision.decided_on,
            "findings": [finding.model_dump(mode="json") for finding in decision.findings],
            "waived": [finding.model_dump(mode="json") for finding in decision.waived],
        }
        click.echo(json.dumps(answer, indent=2))
    else:
        click.echo(gate.report(request, decision), nl=False)
    click.get_current_context().exit(0 if decision.allowed else REFUSED)
