"""Downloads a Hugging Face dataset at a pinned revision to `data/source/NAME.parquet`.

Only data files are read. No code of the dataset's repository runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from governance.base.errors import ConfigError
from pipelines import paths
from pipelines.families import StageFamily
from pipelines.hub import hub_errors
from pipelines.job import Input, Job, Outcome, Output
from pipelines.params import HubDataset, Params


def inputs(params: Params, key: str) -> list[Input]:
    """Nothing but parameters: the revision is the content."""
    return []


def outputs(params: Params, key: str) -> list[Output]:
    """data/source/NAME.parquet"""
    return [Output("source", paths.fetched(key))]


def run(job: Job) -> Outcome:
    """Downloads the dataset of `hub.NAME`, or takes it from the cache."""
    wanted = job.params.hub[job.key]
    job.progress.step(f"fetching {wanted.path} at {wanted.revision[:12]}")
    rows = fetch(wanted, job.output("source"))
    return Outcome(
        parameters=wanted.model_dump(),
        summary=f"{rows} rows of {wanted.path} at {wanted.revision[:12]}",
    )


def fetch(wanted: HubDataset, target: Path) -> int:
    """Writes the dataset's split to `target` and returns its number of rows.

    Raises `OfflineError` without a network, `InputError` where there is no such dataset or
    revision, `ConfigError` where it has no such configuration or split.
    """
    where = "params.yaml: hub"
    if Path(wanted.path).exists():
        raise ConfigError(
            f"{wanted.path} is a file or folder here and would be used instead of the Hub's"
            " dataset",
            where=where,
            fix=f"move it, or name it as the `source` of a dataset: countersign add {wanted.path}",
        )
    import datasets
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()
    datasets.disable_progress_bars()
    try:
        with hub_errors(wanted.path, wanted.revision, where):
            split = _split(wanted)
    except (datasets.exceptions.DatasetsError, RuntimeError, ValueError) as error:
        found = f"{wanted.path} cannot be loaded ({str(error).splitlines()[0][:200]})"
        fix = "check `config` and `split`; the code of a dataset is never run"
        raise ConfigError(found, where=where, fix=fix) from None
    split.to_parquet(str(target))
    return int(split.num_rows)


def _split(wanted: HubDataset) -> Any:
    import datasets
    from huggingface_hub import HfApi

    try:
        return datasets.load_dataset(
            wanted.path, wanted.config, split=wanted.split, revision=wanted.revision
        )
    except datasets.exceptions.DatasetNotFoundError:
        # `datasets` drops the cause; this call raises the Hub's own exception class.
        HfApi().auth_check(wanted.path, repo_type="dataset")
        raise


FAMILY = StageFamily(
    run=run,
    inputs=inputs,
    outputs=outputs,
    table="hub",
    engines=("datasets", "pyarrow"),
    network=True,
)
