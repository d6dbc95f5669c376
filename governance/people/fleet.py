"""All projects at a glance: what is live, what waits, what is overdue, and open incidents.

Each project's log is verified from its first entry and compared with its registry. One that cannot
be read, or does not verify, is shown first and hides no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from governance.attest.digests import sha256_bytes
from governance.attest.predicates import Finding
from governance.base.errors import (
    CountersignError,
    Problems,
    RefusedError,
    StorageError,
    VerificationError,
)
from governance.base.model import Model
from governance.base.time import instant, instant_of
from governance.bundle.sources import NOWHERE, Sources, open_sources
from governance.machine.machine import Machine
from governance.machine.trust import own_policies
from governance.people.pending import Wait, pending
from governance.release.reconcile import differing
from governance.report.html import environment, generator, json_twin, style
from governance.report.index import Index, Row, index

FORMAT = "https://countersign.dev/fleet/v1"


class Serving(Model):
    """A version that holds a governed alias."""

    model: str
    version: str
    alias: str
    since: str
    digest: str
    verdict: str
    """Decided again now."""
    owner: str
    next_review: str


class Task(Model):
    """Something that somebody has to do."""

    what: str
    why: str
    people: list[str]
    """Who could do it."""
    due: str | None
    next: str


class Project(Model):
    """One project. Where there is a problem, its log says nothing here."""

    project: str
    problem: str | None = None
    """Why its log cannot be used."""
    exit_code: int = 0
    """Of that problem."""
    entries: int = 0
    models: int = 0
    registry: list[Finding] = []
    """Where the registry differs from the log."""
    live: list[Serving] = []
    incidents: list[Task] = []
    overdue: list[Task] = []
    waiting: list[Task] = []

    @property
    def is_wrong(self) -> bool:
        """Whether something serves users that should not, or somebody is late."""
        refused = any(serving.verdict.startswith("NOT APPROVED") for serving in self.live)
        return bool(self.incidents or self.overdue or refused)


class Fleet(Model):
    """All projects, by name."""

    format: str = FORMAT
    generator: str
    as_of: str
    projects: list[Project]

    @property
    def exit_code(self) -> int:
        """5 where something does not verify, 6 where a log cannot be read, 4 where something is
        overdue, under incident or would be refused now, else 0.
        """
        codes = {project.exit_code for project in self.projects}
        if VerificationError.exit_code in codes or any(each.registry for each in self.projects):
            return VerificationError.exit_code
        if problems := codes - {0}:
            return max(problems)
        return RefusedError.exit_code if any(each.is_wrong for each in self.projects) else 0


def fleet(machines: Mapping[str, Machine], at: datetime, here: str = "") -> Fleet:
    """The state of these projects at a moment. `here`: the one whose policies are in the working
    folder.
    """
    projects = [_project(name, each, at, name == here) for name, each in machines.items()]
    return Fleet(generator=generator(), as_of=instant(at), projects=projects)


def page(made: Fleet) -> bytes:
    """The fleet as one HTML page."""
    env = environment()
    twin, sheet = sha256_bytes(json_twin(made)), style(env)
    rendered = env.get_template("fleet.html.j2").render(fleet=made, twin=twin, style=sheet)
    return rendered.encode("utf-8")


def _project(name: str, machine: Machine, at: datetime, is_here: bool) -> Project:
    try:
        return _read(name, _sources(machine, at, is_here), at)
    except CountersignError as error:
        first = error.problems[0] if isinstance(error, Problems) else error
        problem = "; ".join(part for part in (first.found, first.where) if part)
        return Project(project=name, problem=problem, exit_code=first.exit_code)


def _sources(machine: Machine, at: datetime, is_here: bool) -> Sources:
    """The log and registry of a project; its policies are those that the log carries."""
    policies = own_policies(Path.cwd()) if is_here else None
    nowhere = StorageError("the project's folder is not at hand")
    origin = machine.environ.get("COUNTERSIGN_ORIGIN") or None
    sources = open_sources(NOWHERE, machine, policies or nowhere, at, origin)
    return replace(sources, compare=lambda now: differing(now.log, machine, now))


def _read(name: str, sources: Sources, at: datetime) -> Project:
    verified = sources.verified
    if verified.broken is not None:
        raise VerificationError(f"EVIDENCE DOES NOT VERIFY: {verified.broken}")
    now = sources.read[0]
    overview = index(now, verified, at, sources.registry)
    waits = pending(now, at)
    late = [wait for wait in waits if _is_late(wait, at)]
    rest = [wait for wait in waits if wait not in late]
    return Project(
        project=name,
        entries=verified.entries,
        models=len(now.timeline.models),
        registry=overview.registry or [],
        live=[serving for row in overview.live for serving in _serving(row)],
        incidents=[_task(wait) for wait in waits if wait.reason == "incident_open"],
        overdue=[*map(_task, late), *_waivers(overview)],
        waiting=[_task(wait) for wait in rest if wait.reason not in ("incident_open", "waiver")],
    )


def _is_late(wait: Wait, at: datetime) -> bool:
    """A waiver that ended matters where something is live with it: see `_waivers`."""
    ends = wait.reason in ("waiver", "authorization")
    return not ends and wait.due is not None and instant_of(wait.due) <= at


def _serving(row: Row) -> Iterator[Serving]:
    for hold in row.holds:
        yield Serving(
            model=row.model,
            version=row.version,
            alias=hold.alias,
            since=hold.since,
            digest=row.digest,
            verdict=row.verdict_text,
            owner=row.owner,
            next_review=row.next_review,
        )


def _task(wait: Wait) -> Task:
    return Task(
        what=f"{wait.kind}: {wait.what.removeprefix(f'{wait.kind}: ')}",
        why=wait.why,
        people=wait.people,
        due=wait.due,
        next=wait.next,
    )


def _waivers(overview: Index) -> Iterator[Task]:
    for item in overview.ending:
        if item.overdue:
            yield Task(
                what=f"{item.what} of {item.about} has ended",
                why="it is live, and what was waived is open again",
                people=[item.owner] if item.owner else [],
                due=item.due,
                next="correct the finding, or waive it again and have the packet approved",
            )
