"""`countersign graph [STAGE...]`: which stage reads from which."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import click

from pipelines.plan.graph import Graph, graph, needed
from pipelines.project import open_project

FORMATS = ("text", "mermaid")


@click.command()
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON: stage to the stages it reads from."
)
@click.argument("targets", nargs=-1)
def command(form: str, as_json: bool, targets: tuple[str, ...]) -> None:
    """Draw the pipeline, or what the named stages need."""
    stages = graph(open_project(Path.cwd(), os.environ).params)
    chosen = {stage: stages[stage] for stage in needed(stages, targets)}
    if as_json:
        click.echo(json.dumps({stage: sorted(reads) for stage, reads in chosen.items()}, indent=2))
    else:
        click.echo("\n".join(mermaid(chosen) if form == "mermaid" else text(chosen)))


def text(stages: Graph) -> Iterator[str]:
    """One line for each dataset, model and single stage: its stages, and what it reads from."""
    rows = by_key(stages)
    sources = _sources(stages, rows)
    width = max((len(key) for key in rows), default=0)
    steps = {key: " > ".join(stage.partition("@")[0] for stage in rows[key]) for key in rows}
    longest = max((len(step) for step in steps.values()), default=0)
    for key, step in steps.items():
        source = f"  <- {', '.join(sources[key])}" if sources[key] else ""
        yield f"{key:<{width}}  {step:<{longest}}{source}".rstrip()


def mermaid(stages: Graph) -> Iterator[str]:
    """A flowchart (https://mermaid.js.org/syntax/flowchart.html) with one box for each of these
    lines. An arrow that others imply is left out.
    """
    rows = by_key(stages)
    yield "flowchart LR"
    for key, members in rows.items():
        steps = " > ".join(stage.partition("@")[0] for stage in members)
        label = key if members == [key] else f"{key}<br>{steps}"
        yield f'  {_id(key)}["{label}"]'
    for source, key in _arrows(_sources(stages, rows)):
        yield f"  {_id(source)} --> {_id(key)}"


def by_key(stages: Iterable[str]) -> dict[str, list[str]]:
    """Key to the stages of that key, in order; a stage without key by its own name."""
    rows: dict[str, list[str]] = {}
    for stage in stages:
        rows.setdefault(stage.partition("@")[2] or stage, []).append(stage)
    return rows


def _sources(stages: Graph, rows: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Key to the other keys that its stages read from."""
    key_of = {stage: key for key, members in rows.items() for stage in members}
    reads = {
        key: {key_of[read] for stage in members for read in stages[stage] if read in key_of}
        for key, members in rows.items()
    }
    return {key: sorted(found - {key}) for key, found in reads.items()}


def _arrows(sources: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """From a source to what reads from it, unless another of its sources reads from that one."""
    above = {key: _above(key, sources) for key in sources}
    for key, found in sources.items():
        for source in found:
            if not any(source in above[other] - above[source] for other in found):
                yield source, key


def _above(key: str, sources: Mapping[str, Sequence[str]]) -> set[str]:
    """Everything it reads from, directly or not. Two datasets may be held out of each other."""
    found: set[str] = set()
    queue = list(sources[key])
    while queue:
        source = queue.pop()
        if source not in found:
            found.add(source)
            queue += sources[source]
    return found


def _id(key: str) -> str:
    """A Mermaid id that is no word of its language, e.g. `end`."""
    return f"_{key.replace('-', '_')}"
