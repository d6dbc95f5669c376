"""What Countersign asks of a model registry; `governance.registry.mlflow` is its adapter.

A registry shows people runs, versions and aliases. It is display: whatever is decided on stands in
the log. Therefore nothing here returns evidence, and a training run outlives a tracking server that
goes away in the middle (`Run.problem` says so); starting a run or registering a version does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from governance.attest.predicates import ModelFile, Requester

DIGEST_TAG = "countersign.digest"
"""Of a version: sha256 of its manifest."""

RunStatus = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
Say = Callable[[str], None]
"""Shows one line of progress; called only where something takes longer than a second."""


@dataclass(frozen=True)
class DatasetLink:
    """A dataset a run used: by its sha256, as a tag, and as an MLflow dataset input."""

    name: str
    sha256: str
    context: str
    """What it was used for: `training`, `validation`, `evaluation`."""
    records: int


@dataclass(frozen=True)
class RunRequest:
    """What is known of a run when it starts."""

    name: str
    """The DVC stage, e.g. `train@sft`."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Hyperparameters as resolved. Nested values are written as JSON, long ones shortened; anything
    whose name looks like a secret is left out."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Links by digest: `countersign.parent` and the like. Text."""
    datasets: Sequence[DatasetLink] = ()


class Place(Protocol):
    """Where the registry is: what `governance.machine.machine.Machine` says of it."""

    @property
    def registry_uri(self) -> str: ...
    @property
    def artifact_root(self) -> Path: ...
    @property
    def project(self) -> str: ...
    @property
    def requester(self) -> Requester: ...


class Run(Protocol):
    """A run in progress, owned by the process that started it."""

    id: str

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Remembers one step's values; they are sent in batches. Values that are not finite are
        left out.
        """

    def tags(self, values: Mapping[str, str]) -> None:
        """Adds or replaces tags."""

    def artifacts(self, path: Path, into: str = "") -> None:
        """Copies a file, or a folder's content, below `into`."""

    def end(self, status: RunStatus) -> None:
        """Sends what is left and closes the run. Never raises: see `problem`."""

    @property
    def problem(self) -> str | None:
        """Why something of this run is not in the registry, in one sentence; None when all of it
        is.
        """


@dataclass(frozen=True)
class Version:
    """One version of a registered model, as the registry shows it."""

    model: str
    number: str
    digest: str | None
    """sha256 of the model folder's manifest, from the version's tag; None for one made by somebody
    else.
    """
    run_id: str | None
    aliases: tuple[str, ...] = ()
    created: str = ""
    """When the registry made it, RFC 3339, UTC."""


@dataclass(frozen=True)
class VersionRequest:
    """A model folder to be registered, with what stands beside it in the registry's own pages."""

    model: str
    folder: Path
    """The released model: every file of `files`, and nothing else."""
    digest: str
    """sha256 of the manifest; what makes two registrations the same version."""
    files: Sequence[ModelFile]
    run_name: str
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    datasets: Sequence[DatasetLink] = ()
    attachments: Mapping[str, Path] = field(default_factory=dict)
    """Path below the run's artifacts (a file's, or a folder's) to the file or folder at hand."""


class Registry(Protocol):
    """Runs, versions and aliases."""

    def start_run(self, request: RunRequest) -> Run:
        """Starts a run. Raises `StorageError` where the registry cannot be reached or written."""

    def run(self, request: RunRequest) -> AbstractContextManager[Run]:
        """`start_run`, ended by how the block ends: FINISHED, FAILED, or KILLED when it was
        interrupted.
        """

    def sweep(self) -> list[str]:
        """Ends RUNNING runs of processes of this machine that are gone, as KILLED. Their ids."""

    def find(self, model: str, digest: str) -> Version | None:
        """The first complete version of `model` with these bytes, or None."""

    def register(self, request: VersionRequest) -> Version:
        """The version of these bytes: the one that exists, or a new one."""

    def versions(self, model: str) -> list[Version]:
        """Oldest first; empty where the model is not registered."""

    def models(self) -> list[str]:
        """Names of all registered models, sorted."""

    def set_alias(self, model: str, alias: str, number: str) -> None:
        """Points `alias` at a version. What permits it is decided elsewhere, before."""

    def attach(self, version: Version, files: Mapping[str, Path]) -> None:
        """Copies files below the version's run's artifacts, e.g. its report."""

    def where(self, version: Version) -> str:
        """Where a person finds it: a page of the server, or the command that shows it."""


@contextmanager
def running(registry: Registry, request: RunRequest) -> Iterator[Run]:
    """The context manager behind `Registry.run`, the same for every adapter."""
    run = registry.start_run(request)
    try:
        yield run
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        run.end("KILLED")
        raise
    except BaseException:
        run.end("FAILED")
        raise
    run.end("FINISHED")


__all__ = [
    "DatasetLink",
    "Place",
    "Registry",
    "Run",
    "RunRequest",
    "RunStatus",
    "Say",
    "Version",
    "VersionRequest",
    "running",
]
