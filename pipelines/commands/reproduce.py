"""`countersign reproduce STAGE`: trains a stage again from the inputs of its `train` statement, and
records how far the same model results. `--seeds N`: see `pipelines.commands.seeds`.

1. `pipelines.commands.repeating` says which training is repeated. The gate decides again, in its
   enforcing form.
2. Everything is written to a scratch folder that is removed at the end. After a kill -9 the next
   run removes it. The project does not change, and the registry shows no run.
3. A difference is not an error: it is measured and recorded in the log.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from governance.attest import digests
from governance.attest.predicates import Reproduction, Train
from governance.log.evidence import Evidence
from pipelines import isolation, lock, paths, process
from pipelines.commands import seeds
from pipelines.commands.repeating import Repeat, repeating
from pipelines.harness import staging
from pipelines.project import Project, open_project, utc_now
from pipelines.provenance import Work, environment
from pipelines.stages import train
from pipelines.training.compare import compare

KIND = "reproduction"


@dataclass(frozen=True)
class Reproduced:
    """The result."""

    repeat: Repeat
    entry: int
    """Of the reproduction."""
    reproduction: Reproduction
    development: bool
    """Signed by an automatic test key."""

    @property
    def first(self) -> Evidence[Train]:
        """The training that was repeated."""
        return self.repeat.first

    @property
    def files(self) -> list[str]:
        """Files of the model that differ, in words."""
        return list(self.reproduction.run.detail["files_that_differ"])


@click.command("reproduce")
@click.argument("stage")
@click.option(
    "--seeds",
    "count",
    type=click.IntRange(2, seeds.MOST),
    metavar="N",
    help="Instead, train it with N other seeds, score each model, and record the variation.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(stage: str, as_json: bool, count: int | None) -> None:
    """Train a stage again from the inputs recorded in the log, and record how far the same model
    results.

    Nothing under models/ changes. A difference is measured and recorded; it is not an error.
    """
    isolation.require_isolated(os.environ)
    require_wanted = process.end_when_asked()
    key = stage.removeprefix("train@")
    project = open_project(Path.cwd(), os.environ)
    row = project.params.stages.get(key)
    process.settle(os.environ, threads=row.threads if row else 1, network=False)
    content, text = (
        _reproduced(key, project, require_wanted)
        if count is None
        else _measured(key, count, project, require_wanted)
    )
    click.echo(json.dumps(content, indent=2) if as_json else "\n".join(text))


Shown = tuple[dict[str, object], Iterable[str]]
"""A result for scripts, and for people."""


def _reproduced(key: str, project: Project, require_wanted: Callable[[], None]) -> Shown:
    done = reproduce(key, project, require_wanted)
    return document(done), lines(done)


def _measured(key: str, count: int, project: Project, require_wanted: Callable[[], None]) -> Shown:
    with repeating(key, project, seeds.KIND) as repeat:
        done = seeds.measure(repeat, count, require_wanted)
    return seeds.document(done), seeds.lines(done)


def document(done: Reproduced) -> dict[str, object]:
    """The result for scripts: what was recorded, and at which entry."""
    recorded = {"stage", "of", "model", "same_bytes", "largest_difference", "differing", "tensors"}
    return {
        "entry": done.entry,
        "of_entry": done.first.index,
        "development_key": done.development,
        "first_model": done.repeat.model.sha256,
        "first_final": done.first.predicate.final,
        "first_device": done.first.predicate.device,
        "files_that_differ": done.files,
        **done.reproduction.model_dump(mode="json", include={*recorded, "final", "device"}),
    }


def lines(done: Reproduced) -> Iterator[str]:
    """The result for people."""
    made = done.reproduction
    yield f"{made.stage}: {_outcome(made)}  [E{done.entry}, of E{done.first.index}]"
    yield f"  model                {made.model[:12]}, {made.tensors} tensors, on {made.device}"
    for name, value in made.final.items():
        before = done.first.predicate.final.get(name)
        first = "" if before == value else f"; first {_number(before)}"
        yield f"  {name:<20} {_number(value)}{first}"
    yield from (f"  file                 {line}" for line in done.files)
    if done.development:
        yield "  signed by an automatic test key: good for `candidate` only"


def _outcome(made: Reproduction) -> str:
    differing = f"{made.differing} of {made.tensors} tensors differ"
    if made.same_bytes:
        return "the same bytes"
    if made.largest_difference is None:
        return f"another model: {differing} in shape or type, or have NaN"
    if made.differing == 0:
        return "the same weights; other files of the model differ"
    return f"within {made.largest_difference:.3g}: {differing}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


# --- the training ---------------------------------------------------------------------------------


def reproduce(key: str, project: Project, require_wanted: Callable[[], None]) -> Reproduced:
    """Repeats the training of stage `key` and records the result. `require_wanted` ends the process
    if somebody asked for that (`process.end_when_asked`).

    Raises what `repeating` does, and `RefusedError` if the gate refuses.
    """
    with repeating(key, project, KIND) as repeat:
        work = Work.begin(repeat.project, utc_now)
        with staging(repeat.project, repeat.name) as folder:
            fields, detail = _train(repeat, folder)
        repeat.require_same_model()
        first, inputs = repeat.first, list(repeat.inputs.values())
        fields |= {"stage": repeat.run.name, "of": first.digest, "inputs": inputs}
        log = repeat.log()
        require_wanted()
        entry, reproduction = work.record(log, KIND, [repeat.model], fields, detail)
    return Reproduced(repeat, entry.index, reproduction, project.machine.signer_uri is None)


def _train(repeat: Repeat, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of the reproduction, and what differs between two of them."""
    run, resolved = repeat.run, repeat.objective
    job = run.job(repeat.inputs, folder / "made", folder / "scratch")
    train.train_only_if_allowed(job)
    train.require_settled(os.environ, resolved.threads)
    with train.drawn(job, resolved) as listener:
        fitted, final, compute = train.measured(job, resolved, listener)
        used = train.detail(compute)
    run.progress.step("comparing the models")
    made = job.output("model")
    comparison = compare(run.project.root / paths.model(run.key) / "model", made)
    versions = {**lock.engines("train"), **train.optional_engines(resolved)}
    fields = {
        "model": digests.tree_digest(made),
        "same_bytes": comparison.same_bytes,
        "largest_difference": comparison.largest_difference,
        "differing": comparison.differing,
        "tensors": comparison.tensors,
        "final": final,
        "device": fitted.device,
        "parameters": train.parameters(resolved, fitted),
        "environment": environment(versions, job.machine),
    }
    detail = {**used, **train.launcher(job.machine.environ)}
    return fields, {**detail, "files_that_differ": list(comparison.files)}
