"""`countersign stage FAMILY KEY`: one stage in its harness."""

from __future__ import annotations

import os
from pathlib import Path

import click

from governance.base.progress import Progress
from pipelines import harness, isolation, process
from pipelines.families import family as declaration
from pipelines.families import require_row
from pipelines.params import Params
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
    process.settle(os.environ, threads=threads_of(family, key, project.params), network=network)
    click.echo(harness.run_stage(family, key, project, utc_now, Progress()))


def threads_of(family: str, key: str, params: Params) -> int:
    """CPU threads of a stage: part of the result where a model is trained or asked; else 1."""
    if family == "generate" and key in params.generate:
        return params.generate[key].threads
    if family == "evaluate_judged" and key in params.judged:
        return params.judged[key].threads
    row = params.stages.get(key) if family == "train" else None
    return row.threads if row else 1
