"""What a pipeline gives to a model registry and gets from it. `governance.registry.mlflow` is the
adapter.

A registry shows runs, versions and aliases to people. It is for display, and nothing in it is
evidence: decisions are based on the log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from governance.attest.predicates import ModelFile, Requester

DIGEST_TAG = "countersign.digest"
"""Of a version: sha256 of its manifest. A governed server compares it with the files."""

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
class Point:
    """One value of a metric."""

    name: str
    value: float
    at: int
    """Milliseconds since 1970."""
    step: int


@dataclass(frozen=True)
class RunRequest:
    """What is known of a run when it starts."""

    name: str
    """The DVC stage, e.g. `train@sft`."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Hyperparameters as resolved. Nested values are written as JSON, long ones shortened; anything
    whose name looks like a secret is left out."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Links by digest: `pipeline.parent` and the like. Text."""
    datasets: Sequence[DatasetLink] = ()
    scores: str | None = None
    """Id of the registry's model that the run scores; its metrics are shown with the model."""


@dataclass(frozen=True)
class LoggedModel:
    """The registry's row of a model that a run made (MLflow's LoggedModel). It has no files: the
    version that is registered from it has them.
    """

    name: str
    digest: str
    """sha256 of its manifest, by which evaluations and versions find it."""
    params: Mapping[str, Any] = field(default_factory=dict)


class Place(Protocol):
    """Where the registry is; `governance.machine.machine.Machine` has these attributes."""

    @property
    def registry_uri(self) -> str: ...
    @property
    def artifact_root(self) -> Path: ...
    @property
    def project(self) -> str: ...
    @property
    def requester(self) -> Requester: ...


@dataclass(frozen=True)
class Version:
    """One version of a registered model, as the registry shows it."""

    model: str
    number: str
    digest: str | None
    """sha256 of the model folder's manifest, from the version's tag; None without this tag."""
    run_id: str | None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class VersionRequest:
    """A model folder to be registered, with what the registry's pages show beside it."""

    model: str
    folder: Path
    """The released model: every file of `files`, and nothing else."""
    digest: str
    """sha256 of the manifest; what makes two registrations the same version."""
    files: Sequence[ModelFile]
    run_name: str
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Of the version, and of the run that registers it."""
    run_tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    datasets: Sequence[DatasetLink] = ()
    attachments: Mapping[str, Path] = field(default_factory=dict)
    """Path below the run's artifacts (a file's, or a folder's) to the file or folder at hand."""
