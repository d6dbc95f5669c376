"""What the registry's pages show of a stage: its run, while it lasts.

Nothing of it is evidence, and no record's text, name or row is sent: figures, parameters and
digests only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from governance.base.errors import CountersignError
from governance.base.statistics import mean_interval
from governance.registry.port import DatasetLink, LoggedModel, RunRequest
from governance.release.artifacts import REGISTRY_RUN
from pipelines.job import Job

if TYPE_CHECKING:
    from governance.registry.runs import LiveRun, Runs

CONFIDENCE = 0.95
"""Of the intervals that are shown."""


@dataclass
class NoRun:
    """Stands for a run where the registry cannot be used."""

    problem: str | None
    id: str | None = field(default=None, init=False)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Nothing."""

    def made(self, model: LoggedModel) -> None:
        """Nothing."""


def request(
    job: Job,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    datasets: Sequence[DatasetLink],
    scores: str | None = None,
) -> RunRequest:
    """A run of the stage, with its inputs by digest and its code by commit."""
    inputs = {f"pipeline.{role}": artifact.sha256 for role, artifact in job.inputs.items()}
    stage = {"pipeline.stage": job.key}
    return RunRequest(
        job.name, params, {**inputs, **stage, **source(job), **tags}, datasets, scores
    )


def source(job: Job) -> dict[str, str]:
    """MLflow's tags for what ran, and of which commit."""
    tags = {
        "mlflow.source.name": " ".join(["countersign stage", *job.name.split("@")]),
        "mlflow.source.type": "LOCAL",
    }
    if job.code is not None and job.code.commit:
        tags["mlflow.source.git.commit"] = job.code.commit
        tags["pipeline.uncommitted"] = str(job.code.dirty).lower()
    return tags


def opened(job: Job) -> Runs:
    """The project's runs. Raises `CountersignError`."""
    from governance.registry.runs import open_runs

    return open_runs(job.machine, job.machine.environ, say=job.progress.step, now=job.now)


@contextmanager
def shown_if_possible(
    job: Job,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    datasets: Sequence[DatasetLink],
    scored: str,
) -> Iterator[LiveRun | NoRun]:
    """A run that scores the model with the digest `scored`. Without a registry, the stage goes on
    without a run.
    """
    try:
        runs = opened(job)
        asked = request(job, params, tags, datasets, runs.find_model(scored))
        run = runs.start(asked, system=True)
    except CountersignError as error:
        job.progress.step(f"{job.name} is not shown in the registry: {error.found}")
        yield NoRun(error.found)
        return
    try:
        yield run
    except BaseException as error:
        run.end("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    run.end("FINISHED")


def registry(run: LiveRun | NoRun) -> dict[str, str | None]:
    """The run as a statement's details name it; empty where there was none to show."""
    if run.id is None and run.problem is None:
        return {}
    return {REGISTRY_RUN: run.id, "registry_problem": run.problem}


def figures(
    scores: Mapping[str, Sequence[float | None]], slices: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Metric to mean, `METRIC/low` and `METRIC/high` to its interval, `METRIC/FIELD/LABEL` to the
    mean of a slice.
    """
    shown: dict[str, float] = {}
    for metric, values in scores.items():
        present = [value for value in values if value is not None]
        if not present:
            continue
        interval = mean_interval(present, CONFIDENCE)
        shown[metric] = interval.mean
        shown[f"{metric}/low"], shown[f"{metric}/high"] = interval.low, interval.high
        for name, labels in slices.items():
            for label in sorted(set(labels)):
                part = _part(values, labels, label)
                if part:
                    shown[f"{metric}/{name}/{label}"] = mean_interval(part, CONFIDENCE).mean
    return shown


def _part(values: Sequence[float | None], labels: Sequence[str], label: str) -> list[float]:
    pairs = zip(values, labels, strict=True)
    return [value for value, own in pairs if own == label and value is not None]
