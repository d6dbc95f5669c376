"""`countersign reproduce STAGE --seeds N`: how much the scores vary between training seeds.

1. The recorded training is repeated with N other seeds: those that follow its own. All else of the
   objective is the same, and the gate decides again on it. Nothing is published or registered.
2. Each model is scored on the suite of the stage, on which the log must have scores of the first
   model. Each seed is recorded as it ends. A seed that is recorded under the key in use is not run
   again.
3. A training that stops by itself, because it diverges or learns nothing, is a result, too. What
   else stops it, such as a reward function that fails, says nothing of the seed.
4. After a kill, the same command goes on: recorded seeds stay, and a training continues from its
   last checkpoint.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from governance.attest import digests
from governance.attest.predicates import Artifact, Evaluate, SeedRun
from governance.base.errors import InputError
from governance.history.lineage import evaluations
from governance.history.seeds import Spread, seed_runs, spread
from governance.log.evidence import Evidence
from governance.machine.machine import known_signer
from governance.policy.authority import read_authority
from governance.report.scores import seeds_in_words
from pipelines import lock
from pipelines.commands.repeating import Repeat
from pipelines.failures import StoppedError, not_finite
from pipelines.harness import StageRun, staging
from pipelines.job import Job, require_unchanged
from pipelines.metrics import Metric, mean, metrics_of, rows_of, suite_digest
from pipelines.project import Project, utc_now
from pipelines.provenance import Work, environment, evidence_view
from pipelines.reading import require_inputs
from pipelines.stages import evaluate, train
from pipelines.training.methods import method
from pipelines.training.objective import Objective

KIND = "seed_run"
MOST = 100
"""Seeds of one call."""


@dataclass(frozen=True)
class Measured:
    """The result."""

    repeat: Repeat
    scored: Evidence[Evaluate]
    """The scores of the first model."""
    runs: list[Evidence[SeedRun]]
    """Every run that counts, also those of before and of others."""
    spreads: dict[str, Spread]
    """Metric to its variation."""
    development: bool
    """Signed by an automatic test key."""


def measure(repeat: Repeat, count: int, require_wanted: Callable[[], None]) -> Measured:
    """Runs `count` seeds and records each. `require_wanted` ends the process if somebody asked for
    that.

    Raises `InputError` if the first model has no scores on the suite, `RefusedError` if the gate
    refuses.
    """
    project, run = repeat.project, repeat.run
    lock.check(project.root, "evaluate")
    suite = Suite.of(repeat)
    scored = suite.scores_of_first()
    own = known_signer(project.machine, project.policies.keys).keyid
    done = {one.predicate.seed for one in _runs(repeat, suite) if one.keyid == own}
    scratch = project.machine.state / "scratch" / f"seeds@{run.key}-{repeat.first.digest[:16]}"
    first = repeat.objective.seed
    for at, seed in enumerate(range(first + 1, first + 1 + count), 1):
        if seed in done:
            continue
        run.progress.step(f"{run.key} with seed {seed} ({at} of {count})")
        with staging(project, repeat.name) as folder:
            _record(repeat, suite, seed, Folders(folder, scratch), require_wanted)
        shutil.rmtree(scratch, ignore_errors=True)
    runs = _runs(repeat, suite)
    found = {name: spread(runs, repeat.node, name) for name in scored.predicate.scores}
    spreads = {name: each for name, each in found.items() if each is not None}
    return Measured(repeat, scored, runs, spreads, project.machine.signer_uri is None)


def document(done: Measured) -> dict[str, object]:
    """The result for scripts."""
    means = {name: mean(values) for name, values in done.scored.predicate.scores.items()}
    return {
        "stage": done.repeat.run.name,
        "of_entry": done.repeat.first.index,
        "first_model": done.repeat.model.sha256,
        "first_seed": done.repeat.objective.seed,
        "first_means": means,
        "suite": done.scored.predicate.suite_name,
        "development_key": done.development,
        "runs": [_row(run) for run in done.runs],
        "between_seeds": {name: asdict(found) for name, found in done.spreads.items()},
    }


def _row(run: Evidence[SeedRun]) -> dict[str, object]:
    shown = {"seed", "model", "items", "means", "findings"}
    return {"entry": run.index, **run.predicate.model_dump(mode="json", include=shown)}


def lines(done: Measured) -> Iterator[str]:
    """The result for people."""
    first = done.repeat.first
    yield f"{done.repeat.run.name}: between training seeds  [of E{first.index}]"
    for run in done.runs:
        said = run.predicate
        codes = ", ".join(reason.code for reason in said.findings)
        means = ", ".join(f"{name} {evaluate.shown(value)}" for name, value in said.means.items())
        yield f"  seed {said.seed:<6} {means or f'stopped: {codes}'}  [E{run.index}]"
    for name, found in done.spreads.items():
        yield f"  {name:<20} {'; '.join(seeds_in_words(found))}"
    if done.development:
        yield "  signed by an automatic test key: good for `candidate` only"


# --- one seed -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Suite:
    """The suite of the stage, and the evaluation that is repeated on it."""

    repeat: Repeat
    name: str
    run: StageRun
    inputs: dict[str, Artifact]
    metrics: list[Metric]
    digest: str

    @classmethod
    def of(cls, repeat: Repeat) -> Suite:
        """The suite as it is now. Raises `InputError`, `ConfigError`, `RefusedError`."""
        project, key = repeat.project, repeat.run.key
        run = StageRun.of("evaluate", key, project, utc_now, repeat.run.progress)
        name, inputs = project.params.suite_of(key), run.hash_inputs()
        require_inputs(project, repeat.name, inputs.values(), repeat.log, utc_now())
        settings = project.params.suites[name]
        metrics = metrics_of(settings, f"params.yaml: suites.{name}")
        digest = suite_digest(settings, inputs["records"].sha256)
        return cls(repeat, name, run, inputs, metrics, digest)

    def scores_of_first(self) -> Evidence[Evaluate]:
        """The recorded scores of the first model on this suite. Raises `InputError`."""
        view, model = _view(self.repeat), self.repeat.model.sha256
        for one in reversed(evaluations(view, model, self.name)):
            if one.predicate.suite == self.digest and one.predicate.not_run is None:
                return one
        key = self.repeat.run.key
        found = f"the log has no scores of {key} on the suite {self.name} as it is now"
        raise InputError(found, fix=f"run `countersign repro evaluate@{key}`")

    def score(self, model: Path, folder: Path) -> tuple[int, dict[str, float | None]]:
        """How many items the suite has, and the mean of each metric for a model. Raises
        `StoppedError` if a figure is not finite.
        """
        from pipelines import scoring

        job, settings = self._job(model, folder), self.run.project.params.suites[self.name]
        where = f"params.yaml: suites.{self.name}"
        rows = rows_of(job.input("records"), settings, self.metrics, where)
        kind, threads = method(self.repeat.objective.method).model, self.repeat.objective.threads
        passes = len({metric.needs for metric in self.metrics})
        with job.progress.bar(len(rows) * passes, f"scoring {self.run.key}") as bar:
            try:
                scorer = scoring.open_scorer(model, kind, settings, threads, bar)
                scores = scoring.score(scorer, rows, self.metrics)
            except scoring.DivergedError as error:
                raise not_finite(job.name, error.figure, error.value) from None
        evaluate.require_finite(job.name, scores, rows)
        require_unchanged(job)
        return len(rows), {name: mean(values) for name, values in scores.items()}

    def _job(self, model: Path, folder: Path) -> Job:
        job = self.run.job(self.inputs, folder / "evaluated", folder / "scratch")
        made = Artifact(role="model", name=str(model), sha256=digests.tree_digest(model))
        paths = {**job.input_paths, "model": model}
        return replace(job, inputs={**job.inputs, "model": made}, input_paths=paths)


@dataclass(frozen=True)
class Folders:
    """Where a seed works."""

    made: Path
    """Removed at the end, whatever happens."""
    scratch: Path
    """Keeps the checkpoints until the seed is recorded."""


def _record(
    repeat: Repeat, suite: Suite, seed: int, folders: Folders, require_wanted: Callable[[], None]
) -> None:
    """(2) Trains with one seed, scores, and records that."""
    work, clock = Work.begin(repeat.project, utc_now), time.monotonic()
    changed = repeat.objective.model_copy(update={"seed": seed})
    fields: dict[str, Any] = {
        "stage": repeat.run.name,
        "of": repeat.first.digest,
        "inputs": list(repeat.inputs.values()),
        "seed": seed,
        "suite": suite.digest,
        "suite_name": suite.name,
    }
    try:
        fields |= _trained(repeat, suite, changed, folders)
    except StoppedError as error:  # (3)
        if not error.is_result:
            raise
        stopped = {"model": None, "items": 0, "means": {}, "parameters": changed.model_dump()}
        fields |= {**stopped, "findings": list(error.stopped.findings)}
    repeat.require_same_model()
    fields["environment"] = _environment(repeat.project, changed)
    log = repeat.log()
    require_wanted()
    detail = {"seconds": round(time.monotonic() - clock, 3)}
    work.record(log, KIND, [repeat.model], fields, detail)


def _trained(repeat: Repeat, suite: Suite, changed: Objective, folders: Folders) -> dict[str, Any]:
    job = repeat.run.job(repeat.inputs, folders.made / "made", folders.scratch)
    train.train_only_if_allowed(job)
    train.require_settled(os.environ, changed.threads)
    with train.drawn(job, changed) as listener:
        fitted, _ = train.perform(job, changed, listener)
    items, means = suite.score(job.output("model"), folders.made)
    return {
        "model": digests.tree_digest(job.output("model")),
        "items": items,
        "means": means,
        "parameters": train.parameters(changed, fitted),
    }


def _environment(project: Project, changed: Objective) -> Any:
    used = {**lock.engines("train"), **lock.engines("evaluate"), **train.optional_engines(changed)}
    return environment(used, project.machine)


def _view(repeat: Repeat) -> Any:
    log, policies = repeat.log(), repeat.project.policies
    return evidence_view(log, policies, read_authority(log)).signed_under(policies)


def _runs(repeat: Repeat, suite: Suite) -> list[Evidence[SeedRun]]:
    return seed_runs(_view(repeat), repeat.node, suite.digest)
