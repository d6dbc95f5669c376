"""`countersign reproduce STAGE`: trains again from the recorded inputs and compares the models."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from governance.base.progress import Progress

if TYPE_CHECKING:
    from pipelines.reproduce import Reproduced


@click.command("reproduce")
@click.argument("stage")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(stage: str, as_json: bool) -> None:
    """Train a stage again from the inputs recorded in the log, and record how far the same model
    results.

    Nothing under models/ changes. A difference is measured and recorded; it is not an error.
    """
    from pipelines import process, reproduce
    from pipelines.project import open_project, utc_now

    signal.signal(
        signal.SIGTERM, lambda number, frame: sys.exit(128 + number)
    )  # so that scratch files go
    key = stage.removeprefix("train@")
    project = open_project(Path.cwd(), os.environ)
    row = project.params.stages.get(key)
    process.settle(os.environ, threads=row.threads if row else 1, network=False)
    done = reproduce.reproduce(key, project, utc_now, Progress())
    click.echo(json.dumps(told(done), indent=2) if as_json else "\n".join(lines(done)))


def told(done: Reproduced) -> dict[str, object]:
    """The result for scripts: what was recorded, and at which entry."""
    return {
        "entry": done.entry,
        "of_entry": done.first.index,
        "development_key": done.development,
        "first_model": next(item.sha256 for item in done.first.subjects if item.role == "model"),
        "first_final": done.first.predicate.final,
        "first_device": done.first.predicate.device,
        "files_that_differ": list(done.files),
        **done.said.model_dump(
            mode="json",
            include={
                "stage",
                "of",
                "model",
                "same_bytes",
                "largest_difference",
                "differing",
                "tensors",
            },
        ),
        "final": done.said.final,
        "device": done.said.device,
    }


def lines(done: Reproduced) -> Iterator[str]:
    """The result for people."""
    said = done.said
    yield f"{said.stage}: {_outcome(done)}  [E{done.entry}, of E{done.first.index}]"
    yield f"  model                {said.model[:12]}, {said.tensors} tensors, on {said.device}"
    for name, value in said.final.items():
        before = done.first.predicate.final.get(name)
        yield f"  {name:<20} {_number(value)}" + (
            "" if before == value else f"; first {_number(before)}"
        )
    yield from (f"  file                 {line}" for line in done.files)
    if done.development:
        yield "  signed by an automatic test key: good for `candidate` only"


def _outcome(done: Reproduced) -> str:
    said = done.said
    if said.same_bytes:
        return "the same bytes"
    if said.largest_difference is None:
        return (
            f"another model: {said.differing} of {said.tensors} tensors differ in shape or type, or"
            " have NaN"
        )
    if said.differing == 0:
        return "the same weights; other files of the model differ"
    return (
        f"within {said.largest_difference:.3g}: {said.differing} of {said.tensors} tensors differ"
    )


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"
