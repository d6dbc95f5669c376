"""Converts a source of any known shape to records of one kind in `data/ingested/NAME`: see
`pipelines.sources.ingest`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from governance.base.errors import CountersignError, InputError
from governance.base.yaml import place
from pipelines import paths
from pipelines.families import StageFamily
from pipelines.job import Input, Job, Outcome, Output, data_outputs
from pipelines.params import Params

if TYPE_CHECKING:
    from pipelines.project import Project


def inputs(params: Params, key: str) -> list[Input]:
    """The dataset's source, a file or a folder; what its raters were told, and their groups."""
    dataset = params.datasets[key]
    beside = {"guideline": dataset.guideline, "raters": dataset.raters}
    files = [Input(role, Path(path)) for role, path in beside.items() if path]
    return [Input("source", Path(dataset.source)), *files]


def outputs(params: Params, key: str) -> list[Output]:
    """The four outputs of a data stage, and the slices; of generated data, the lineage too."""
    folder = paths.ingested(key)
    records, *rest = data_outputs(folder)
    beside = ["slices", "lineage"] if params.generated(key) else ["slices"]
    return [records, *(Output(name, folder / f"{name}.jsonl") for name in beside), *rest]


def run(job: Job) -> Outcome:
    """Reads the source, writes records and reports."""
    from pipelines.sources.ingest import run as work  # imports pyarrow

    return work(job)


def missing_sources(project: Project) -> Iterator[CountersignError]:
    """Datasets whose source is neither here nor made by another stage."""
    params = project.params
    written = (*params.samples, *params.generate)
    made = {*map(paths.sample, written), *map(paths.fetched, params.hub)}
    for name, dataset in params.datasets.items():
        if Path(dataset.source) not in made and not (project.root / dataset.source).exists():
            found = f"{dataset.source!a}: no such file or folder"
            where = place(project.root / "params.yaml", "datasets", name, "source")
            expected = (
                "a file or folder here, or what a row of `samples`, `hub` or `generate` writes"
            )
            fix = "copy it there, or name another source"
            yield InputError(found, where=where, expected=expected, fix=fix)


FAMILY = StageFamily(
    run=run,
    inputs=inputs,
    outputs=outputs,
    table="datasets",
    settings=("records",),
    evidence="ingest",
    engines=("pyarrow", "numpy", "scipy"),
    mistakes=missing_sources,
)
