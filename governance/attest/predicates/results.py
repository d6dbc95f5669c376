"""Results that another evaluation tool wrote, as they were imported."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from governance.attest.predicates.parts import Instant, Logged, Run, evidence_kind
from governance.base.model import Model, Sha256, Slug

ToolName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_ .:,/|+@()%-]{0,119}$")
]
"""A name as a tool writes it: of a task, metric or version."""


class ToolMetric(Model):
    """One metric of a task."""

    name: ToolName
    variant: ToolName | None
    """What was done to the answers before (lm-eval: filter), or who scored them (inspect-ai)."""
    value: float
    stderr: float | None
    """The tool's standard error of a mean; None where it gives none."""


class ToolTask(Model):
    """One task, or group of tasks."""

    name: ToolName
    version: ToolName | None
    digest: Sha256 | None
    """The tool's digest of the task's items; None where it gives none."""
    shots: int | None
    items: int | None
    """How many were scored; None where the tool does not say it, e.g. of a group."""
    of: int | None
    """How many the task has."""
    metrics: list[ToolMetric] = Field(min_length=1, max_length=100)


Tool = Literal["lm-eval", "inspect-ai"]
ToolTasks = Annotated[list[ToolTask], Field(min_length=1, max_length=500)]


@evidence_kind("results", not_copied=True, granted=True, optional_for_release=True)
class Results(Logged):
    """Another tool evaluated a version, and its results were imported. No decision reads them. The
    subjects are the file (`results`) and the model.

    That the tool evaluated this model and computed these figures, its signer says; nothing here
    repeats it.
    """

    model: Slug
    version: str
    model_digest: Sha256
    digest_from: Literal["folder", "stated"]
    """Whether the evaluated folder was here and hashed, or its digest was given."""
    tool: Tool
    tool_version: ToolName
    dated: Instant
    """When it ran, by the tool."""
    tasks: ToolTasks
    policy: Sha256
    run: Run
