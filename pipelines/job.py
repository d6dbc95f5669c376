"""What the harness (`pipelines.harness`) gives to a stage, and what the stage returns.

A stage module has `inputs(params, key)`, `outputs(params, key)`, `run(job)` and a `FAMILY` that
declares them (`pipelines.families`). It reads inputs, does one thing and writes deterministic
outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governance.attest import digests
from governance.attest.predicates import Artifact, Code, Finding
from governance.base.errors import VerificationError
from governance.base.progress import Progress
from governance.machine.machine import Machine
from pipelines import paths
from pipelines.params import Params

if TYPE_CHECKING:
    from governance.log.views import EvidenceView
    from governance.policy.authority import Authority
    from governance.policy.policies import Policies


@dataclass(frozen=True)
class Input:
    """A file or folder a stage reads, relative to the project; hashed before the stage runs."""

    role: str
    path: Path


@dataclass(frozen=True)
class Output(Input):
    """A file or folder a stage writes, relative to the project."""


def data_outputs(folder: Path) -> list[Output]:
    """The outputs of every data stage: the records, the excluded ones, and its report for programs
    and for people.
    """
    return [
        Output("records", folder / paths.RECORDS),
        Output("excluded", folder / "excluded.jsonl"),
        Output("report", folder / "report.json"),
        Output("summary", folder / "report.md"),
    ]


@dataclass(frozen=True)
class Job:
    """One run of one stage."""

    name: str
    """The DVC stage, e.g. `ingest@desk_sft`."""
    key: str
    root: Path
    params: Params
    policies: Policies
    machine: Machine
    inputs: dict[str, Artifact]
    """Role to artifact, as hashed before the run."""
    input_paths: dict[str, Path]
    output_paths: dict[str, Path]
    """Role to a temporary path; published when the stage has succeeded."""
    scratch: Path
    """A folder of this stage and these inputs for work that can be resumed. It survives a kill."""
    now: Callable[[], datetime]
    progress: Progress
    open_evidence: Callable[[], EvidenceView] = field(repr=False)
    open_authority: Callable[[], Authority | None] = field(repr=False, default=lambda: None)
    code: Code | None = None
    """The code as the run began, where that was asked."""

    def input(self, role: str) -> Path:
        """The path of an input."""
        return self.input_paths[role]

    def output(self, role: str) -> Path:
        """Where to write an output; its folder exists."""
        return self.output_paths[role]

    @cached_property
    def evidence(self) -> EvidenceView:
        """The verified log, opened at its first use."""
        return self.open_evidence()

    @cached_property
    def authority(self) -> Authority | None:
        """Who held which rights at each position of the log; read at its first use."""
        return self.open_authority()


def require_unchanged(job: Job) -> None:
    """Raises `VerificationError` if the bytes of an input changed since the stage began."""
    for role, artifact in job.inputs.items():
        digest = digests.digest_of(job.input(role))
        if digest != artifact.sha256:
            raise VerificationError(
                f"{artifact.name} changed while it was being used: {digest[:12]}",
                expected=artifact.sha256[:12],
                where=f"input {role}",
                fix=f"nothing was published; use the changed file: countersign repro {job.name}",
            )


@dataclass(frozen=True)
class Outcome:
    """The result of a stage. With findings in `refused`, its reports are kept, nothing is published
    and the exit code is 4.
    """

    predicate: dict[str, Any] = field(default_factory=dict)
    """The fields of the stage's own predicate."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """The parameters with all defaults filled in."""
    detail: dict[str, Any] = field(default_factory=dict)
    """Figures that differ between two runs of the same thing."""
    refused: tuple[Finding, ...] = ()
    subjects: tuple[Artifact, ...] = ()
    """What the statement is about besides the outputs: a scored model, or what a gate decided on.
    """
    engines: Mapping[str, str] = field(default_factory=dict)
    """Engine to version, of engines that the family does not always use."""
    summary: str = ""
    """One line for the terminal."""
