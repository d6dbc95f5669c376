"""The answer of all checks: what would refuse a run of these stages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from governance.attest.predicates import Finding
from governance.attest.requests import refusal
from governance.base.errors import CountersignError, RefusedError
from pipelines.plan import checks
from pipelines.plan.changes import changes
from pipelines.plan.graph import Graph, graph, named, needed
from pipelines.project import Project
from pipelines.reading import missing_rights


@dataclass(frozen=True)
class Plan:
    """What a run of some stages would meet."""

    graph: Graph
    stages: Sequence[str]
    """What is asked for, and all that it reads from, in an order in which they can run."""
    mistakes: list[CountersignError]
    findings: Sequence[Finding]

    def require(self) -> None:
        """Raises the mistake or `Problems` with all mistakes, else `RefusedError` with all
        findings.
        """
        checks.require(self.mistakes)
        if self.findings:
            raise RefusedError(refusal("the run", tuple(self.findings)))


def plan(
    project: Project,
    targets: Collection[str],
    at: datetime,
    *,
    force: bool = False,
    alone: bool = False,
) -> Plan:
    """The plan of a run of these stages, or of all. `force`: they are made again, whatever is here.
    `alone`: what they read from is not looked at. Raises `ConfigError` for an unknown target.
    """
    mistakes = checks.parameters(project)
    if mistakes:  # the graph may make no sense yet
        return Plan({}, (), mistakes, ())
    stages = graph(project.params)
    wanted = (named if alone else needed)(stages, targets)

    def running() -> list[str]:
        if force:
            return wanted
        planned = changes(project.root, stages, wanted)
        return [each.stage for each in planned if each.why != "after"]

    mistakes = checks.locked(project, wanted)
    mistakes += checks.rights(project, running)
    mistakes += checks.trainings(project, wanted, running)
    if not force:
        mistakes += checks.evidence(project)
    mistakes += checks.account(project, wanted) + checks.registry(project, wanted)
    found = [*checks.findings(project, wanted, at), *missing_rights(project, wanted, at)]
    return Plan(stages, wanted, mistakes, found)
