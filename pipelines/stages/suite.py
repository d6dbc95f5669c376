"""Writes what others must know of a suite, so that DVC runs them again only where it changed.

1. `functions`: which reward functions score it, which tools it has, and the sha256 of their files.
   Another function makes only the evaluations stale that use it.
2. `held_out`: the digest of its records and its split. Every dataset is compared with them
   (`pipelines.held_out`).
"""

from __future__ import annotations

from pipelines import metrics, paths
from pipelines.families import StageFamily
from pipelines.job import Input, Job, Outcome, Output
from pipelines.params import Params
from pipelines.training.modelfolder import write_json
from pipelines.training.reward_files import FOLDER


def inputs(params: Params, key: str) -> list[Input]:
    """The project's own functions, and the suite's records as the scan left them."""
    return [Input("rewards", FOLDER), Input("records", paths.scanned(key) / paths.RECORDS)]


def outputs(params: Params, key: str) -> list[Output]:
    """data/suites/NAME.json, data/held_out/suites/NAME.json"""
    return [
        Output("functions", paths.suite(key)),
        Output("held_out", paths.held_out_suite(key)),
    ]


def run(job: Job) -> Outcome:
    """Writes the files of the suite `job.key`."""
    suite = job.params.suites[job.key]
    known = metrics.metrics_of(suite, f"params.yaml: suites.{job.key}")
    sources = metrics.functions_of(suite, known)
    write_json(job.output("functions"), sources)
    held_out = {"records": job.inputs["records"].sha256, "split": suite.split}
    write_json(job.output("held_out"), held_out)
    return Outcome(parameters=suite.model_dump(mode="json"), summary=", ".join(sources) or "none")


FAMILY = StageFamily(
    run=run, inputs=inputs, outputs=outputs, table="suites", code_folders=("pipelines/rewards",)
)
