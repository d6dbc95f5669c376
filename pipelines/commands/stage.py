"""`countersign stage FAMILY KEY`: one stage in its harness."""

from __future__ import annotations

import os
from pathlib import Path

import click

from governance.base.progress import Progress
from pipelines import harness, isolation, process
from pipelines.families import family as declaration
from pipelines.families import require_row
from pipelines.project import open_project, utc_now


@click.command()
@click.argument("family")
@click.argument("key", default="")
def command(family: str, key: str) -> None:
    """Run one stage, as DVC does: `countersign stage ingest desk_sft`."""
    isolation.require_isolated(os.environ)
    project = open_project(Path.cwd(), os.environ)
    network = declaration(family).network
    require_row(family, key, project.params)
    row = project.params.stages[key] if family == "train" else None
    process.settle(os.environ, threads=row.threads if row else 1, network=network)
    click.echo(harness.run_stage(family, key, project, utc_now, Progress()))
