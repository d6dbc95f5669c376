"""`countersign stage FAMILY KEY`: one stage in its harness."""

from __future__ import annotations

import os
from pathlib import Path

import click

from governance.base.progress import Progress
from pipelines import process, stage


@click.command()
@click.argument("family")
@click.argument("key", default="")
def command(family: str, key: str) -> None:
    """Run one stage, as DVC does: `countersign stage ingest desk_sft`."""
    project = stage.open_project(Path.cwd(), os.environ)
    row = project.params.stages.get(key) if family == "train" else None
    process.settle(family, row.threads if row else 1, os.environ)
    click.echo(stage.run_stage(family, key, project, stage.utc_now, Progress()))
