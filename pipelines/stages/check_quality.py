"""Checks a dataset against its suite in `policies/quality/`: see `pipelines.quality`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from governance.base.errors import CountersignError
from governance.base.yaml import place
from pipelines import held_out
from pipelines.families import StageFamily
from pipelines.job import Input, Job, Outcome, Output, data_outputs
from pipelines.params import Params
from pipelines.paths import RECORDS, ready, scanned
from pipelines.quality_suites import suite_mistake

if TYPE_CHECKING:
    from pipelines.project import Project


def inputs(params: Params, key: str) -> list[Input]:
    """The scanned records, those of the held-out dataset, and of every suite and task that they are
    compared with.
    """
    read = [Input("records", scanned(key) / RECORDS)]
    own = params.datasets[key].held_out
    if own != key:
        read.append(Input("held_out", scanned(own) / RECORDS))
    return [*read, *held_out.inputs(params, key)]


def outputs(params: Params, key: str) -> list[Output]:
    """The records, excluded.jsonl, report.json and report.md of `data/ready/NAME`."""
    return data_outputs(ready(key))


def run(job: Job) -> Outcome:
    """Judges, drops, judges again and reports."""
    from pipelines.quality import run as work  # imports pyarrow

    return work(job)


def unfit_suites(project: Project) -> Iterator[CountersignError]:
    """Datasets whose quality suite does not exist or is for another kind."""
    kinds = {name: suite.kind for name, suite in project.policies.quality.items()}
    for name, dataset in project.params.datasets.items():
        if suite_mistake(kinds, dataset.suite, dataset.kind, ""):
            where = place(project.root / "params.yaml", "datasets", name, "suite")
            mistake = suite_mistake(kinds, dataset.suite, dataset.kind, where)
            yield from [mistake] if mistake else []


FAMILY = StageFamily(
    run=run,
    inputs=inputs,
    outputs=outputs,
    table="datasets",
    evidence="quality",
    engines=(
        *("great-expectations", "pandas", "numpy", "pyarrow"),
        *("jsonschema", "py3langid", "rensa", "scipy"),
    ),
    mistakes=unfit_suites,
)
