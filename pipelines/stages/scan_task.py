"""Searches the files of a task of lm-evaluation-harness for personal data (`pipelines.tasks.scan`),
and writes the digest of its folder, so that DVC compares every dataset with its items
(`pipelines.held_out`).
"""

from __future__ import annotations

from pipelines import paths
from pipelines.families import StageFamily
from pipelines.job import Input, Job, Outcome, Output
from pipelines.params import Params
from pipelines.stages.scan_pii import ENGINES


def inputs(params: Params, key: str) -> list[Input]:
    """The task's folder."""
    return [Input("task", paths.task(params.tasks[key].task))]


def outputs(params: Params, key: str) -> list[Output]:
    """data/held_out/tasks/ROW.json"""
    return [Output("held_out", paths.held_out_task(key))]


def run(job: Job) -> Outcome:
    """Searches the task of row `job.key`."""
    from pipelines.tasks.scan import run as work  # imports presidio

    return work(job)


FAMILY = StageFamily(
    run=run,
    inputs=inputs,
    outputs=outputs,
    table="tasks",
    evidence="scan",
    engines=ENGINES,
)
