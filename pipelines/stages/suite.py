"""Writes which reward functions score a suite, which tools it has, and the sha256 of their files.
Evaluations read this file, so that another function makes only the evaluations stale that use it.
"""

from __future__ import annotations

from pipelines import metrics, paths
from pipelines.families import StageFamily
from pipelines.job import Input, Job, Outcome, Output
from pipelines.params import Params
from pipelines.training.modelfolder import write_json
from pipelines.training.reward_files import FOLDER


def inputs(params: Params, key: str) -> list[Input]:
    """The project's own functions."""
    return [Input("rewards", FOLDER)]


def outputs(params: Params, key: str) -> list[Output]:
    """data/suites/NAME.json"""
    return [Output("functions", paths.suite(key))]


def run(job: Job) -> Outcome:
    """Writes the functions of the suite `job.key`."""
    suite = job.params.suites[job.key]
    known = metrics.metrics_of(suite, f"params.yaml: suites.{job.key}")
    sources = metrics.functions_of(suite, known)
    write_json(job.output("functions"), sources)
    return Outcome(parameters=suite.model_dump(mode="json"), summary=", ".join(sources) or "none")


FAMILY = StageFamily(
    run=run, inputs=inputs, outputs=outputs, table="suites", code_folders=("pipelines/rewards",)
)
