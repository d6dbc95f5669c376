"""Writes a seeded sample dataset (`pipelines.samples`) to `data/source/NAME.jsonl`."""

from __future__ import annotations

from pipelines import paths
from pipelines.families import StageFamily
from pipelines.job import Input, Job, Outcome, Output
from pipelines.params import Params
from pipelines.samples import lines


def inputs(params: Params, key: str) -> list[Input]:
    """Nothing but parameters."""
    return []


def outputs(params: Params, key: str) -> list[Output]:
    """data/source/NAME.jsonl"""
    return [Output("source", paths.sample(key))]


def run(job: Job) -> Outcome:
    """Writes the part of `samples.NAME`."""
    sample = job.params.samples[job.key]
    text = "".join(f"{line}\n" for line in lines(sample.part, sample.n, sample.seed))
    job.output("source").write_bytes(text.encode("utf-8"))
    return Outcome(parameters=sample.model_dump(), summary=f"{sample.n} rows of {sample.part}")


FAMILY = StageFamily(run=run, inputs=inputs, outputs=outputs, table="samples")
