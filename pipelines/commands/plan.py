"""`countersign plan [STAGE...]`: what a run will run and why, what it needs, and what would refuse
it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from governance.attest.requests import refusal
from governance.base.errors import CountersignError
from pipelines.plan.changes import Planned, changes
from pipelines.plan.checks import unauthorized_note
from pipelines.plan.needs import Need, Room, needs, room
from pipelines.plan.plan import Plan, plan
from pipelines.project import open_project

REFUSED = 4
"""The exit code of findings; that of mistakes is the mistake's own."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("targets", nargs=-1)
def command(as_json: bool, targets: tuple[str, ...]) -> None:
    """Show what `countersign repro` will run and why, what it needs, and what would refuse it.

    Nothing runs.
    """
    root, now = Path.cwd(), datetime.now(UTC)
    project = open_project(root, os.environ)
    made = plan(project, targets, now)
    planned = changes(root, made.graph, made.stages)
    wanted = list(needs(root, project.params, [each.stage for each in planned]))
    free = room(root)
    if as_json:
        click.echo(json.dumps(document(made, planned, wanted, free), indent=2))
    else:
        note = unauthorized_note(project, now)
        click.echo("\n".join([*lines(made, planned, wanted, free), *([note] if note else [])]))
    click.get_current_context().exit(exit_code(made))


def exit_code(made: Plan) -> int:
    """0 if nothing would refuse the run."""
    if made.mistakes:
        return made.mistakes[0].exit_code
    return REFUSED if made.findings else 0


def document(
    made: Plan, planned: Sequence[Planned], wanted: Sequence[Need], free: Room
) -> dict[str, Any]:
    """The plan for scripts. Sizes are in bytes."""
    return {
        "stages": [asdict(each) for each in planned],
        "unchanged": len(made.stages) - len(planned),
        "mistakes": [_mistake(error) for error in made.mistakes],
        "findings": [finding.model_dump(mode="json") for finding in made.findings],
        "needs": [asdict(need) for need in wanted],
        "free": asdict(free),
    }


def _mistake(error: CountersignError) -> dict[str, str]:
    return {
        "found": error.found, "where": error.where, "expected": error.expected, "next": error.fix,
    }  # fmt: skip


def lines(
    made: Plan, planned: Sequence[Planned], wanted: Sequence[Need], free: Room
) -> Iterator[str]:
    """The plan for people."""
    yield f"RUNS  {len(planned)} of {len(made.stages)} stages"
    yield from _stages(planned)
    if wanted:
        yield from _sizes(wanted, free)
    yield "REFUSES" if made.mistakes or made.findings else "REFUSES  nothing that is known now"
    yield from map(str, made.mistakes)
    if made.findings:
        yield refusal("the run", made.findings)


def _stages(planned: Sequence[Planned]) -> Iterator[str]:
    """One line for the stages of one dataset or model that run for the same reason."""
    rows: dict[tuple[str, str], list[str]] = {}
    for each in planned:
        family, _, key = each.stage.partition("@")
        rows.setdefault((key or family, _why(each)), []).append(family)
    steps = {row: " > ".join(families) for row, families in rows.items()}
    width = max((len(key) for key, _ in rows), default=0)
    longest = max(map(len, steps.values()), default=0)
    for (key, why), step in steps.items():
        yield f"  {key:<{width}}  {step:<{longest}}  {why}"


def _why(each: Planned) -> str:
    listed = ", ".join(each.causes[:4])
    if len(each.causes) > 4:
        listed += f" and {len(each.causes) - 4} more"
    return {
        "new": "has no results here",
        "changed": f"changed: {listed}",
        "after": f"if its inputs change: after {listed}",
        "always": "runs each time",
    }[each.why]


def _sizes(wanted: Sequence[Need], free: Room) -> Iterator[str]:
    yield "NEEDS  (estimates)"
    yield f"  memory  {_share(max(need.memory for need in wanted), free.memory)}"
    yield f"  disk    {_share(sum(need.disk for need in wanted), free.disk)}"
    width = max(len(need.stage) for need in wanted)
    for need in wanted:
        millions = f"{need.parameters / 1e6:,.1f} million weights"
        yield f"  {need.stage:<{width}}  {millions}, {_bytes(need.memory)} memory"


def _share(needed: int, free: int) -> str:
    short = "  TOO LITTLE" if needed > free else ""
    return f"{_bytes(needed)} of {_bytes(free)} free{short}"


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"
