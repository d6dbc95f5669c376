"""Downloads a Hugging Face dataset at a pinned revision to `data/source/NAME.parquet`.

Only data files are read. No code of the dataset's repository runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from governance.base.errors import ConfigError, InputError, OfflineError
from pipelines import paths
from pipelines.families import StageFamily
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

    Raises `OfflineError` without a network, `InputError` where there is no such dataset, revision
    or split.
    """
    if Path(wanted.path).exists():
        raise ConfigError(
            f"{wanted.path} is a file or folder here and would be used instead of the Hub's"
            " dataset",
            where="params.yaml: hub",
            fix=f"move it, or name it as the `source` of a dataset: countersign add {wanted.path}",
        )
    with _translated(wanted):
        import datasets
        from huggingface_hub.utils import logging

        logging.set_verbosity_error()
        datasets.disable_progress_bars()
        found = datasets.load_dataset(
            wanted.path, wanted.config, split=wanted.split, revision=wanted.revision
        )
    found.to_parquet(str(target))
    return int(found.num_rows)


@contextmanager
def _translated(wanted: HubDataset) -> Iterator[None]:
    """Translates the exceptions of the Hugging Face libraries."""
    import httpx
    from datasets.exceptions import DatasetsError
    from huggingface_hub import errors as hub

    where = f"params.yaml: hub ({wanted.path} at {wanted.revision[:12]})"
    try:
        yield
    except Exception as error:
        # The libraries wrap one another's errors: what went wrong is the first cause that is known
        # here.
        causes = _causes(error)
        if _any(causes, hub.GatedRepoError) or "is a gated dataset" in str(error):
            fix = "accept its terms on huggingface.co, then set HF_TOKEN to your token"
            raise InputError("the dataset is gated", where=where, fix=fix) from None
        if _any(
            causes,
            hub.OfflineModeIsEnabled,
            hub.LocalEntryNotFoundError,
            httpx.TransportError,
            ConnectionError,
        ):
            raise OfflineError(
                "the dataset is not in the cache and huggingface.co cannot be reached",
                where=where,
                fix=(
                    "run this once with a network, or download the files elsewhere and use"
                    " `countersign add FILE`"
                ),
            ) from None
        if _any(
            causes, hub.HfHubHTTPError, hub.EntryNotFoundError, DatasetsError, FileNotFoundError
        ):
            raise InputError(
                f"no such dataset, revision, configuration or data file ({type(error).__name__})",
                where=where,
                expected=(
                    "a dataset of data files on huggingface.co, at a revision of 40 hexadecimal"
                    " digits"
                ),
            ) from None
        if _any(causes, RuntimeError, ValueError):
            raise ConfigError(
                f"the dataset cannot be loaded ({str(error).splitlines()[0][:200]})",
                where=where,
                fix="check `config` and `split`; the code of a dataset is never run",
            ) from None
        raise


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    while error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__ or error
    return found


def _any(causes: list[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(cause, kinds) for cause in causes)


FAMILY = StageFamily(
    run=run,
    inputs=inputs,
    outputs=outputs,
    table="hub",
    engines=("datasets", "pyarrow"),
    network=True,
)
