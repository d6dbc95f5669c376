"""`countersign reproduce STAGE`: trains a stage again from the inputs of its `train` statement, and
records how far the same model results.

1. The model in the project determines the training: the one in the log that made exactly these
   bytes.
2. The inputs are hashed and must be those of that statement. Then the gate decides again, in its
   enforcing form.
3. Everything is written to a scratch folder that is removed at the end. After a kill -9 the next
   run removes it. The project does not change, and the registry shows no run.
4. A difference is not an error: it is measured and recorded in the log.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from governance.attest import digests
from governance.attest.predicates import Artifact, Reproduction, Train
from governance.base.errors import ConfigError, InputError, VerificationError, unknown
from governance.base.progress import Progress
from governance.history.lineage import inputs as inputs_of
from governance.history.lineage import model_node
from governance.log.evidence import Evidence
from governance.log.port import Log
from governance.machine.machine import known_signer, open_log
from governance.people import authorizing
from governance.policy.authority import read_authority
from pipelines import isolation, lock, paths, process
from pipelines.harness import StageRun, staging, work_folder
from pipelines.plan.checks import PRINCIPALS, no_right
from pipelines.process import exclusive
from pipelines.project import Project, open_project, utc_now
from pipelines.provenance import Work, environment, evidence_view
from pipelines.reading import require_inputs
from pipelines.stages import train
from pipelines.training import objective
from pipelines.training.compare import compare
from pipelines.training.objective import Objective

KIND = "reproduction"


@dataclass(frozen=True)
class Reproduced:
    """The result."""

    first: Evidence[Train]
    """The training that was repeated."""
    entry: int
    """Of the reproduction."""
    reproduction: Reproduction
    development: bool
    """Signed by an automatic test key."""

    @property
    def files(self) -> list[str]:
        """Files of the model that differ, in words."""
        return list(self.reproduction.run.detail["files_that_differ"])


@click.command("reproduce")
@click.argument("stage")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(stage: str, as_json: bool) -> None:
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
    done = reproduce(key, project, require_wanted)
    click.echo(json.dumps(document(done), indent=2) if as_json else "\n".join(lines(done)))


def document(done: Reproduced) -> dict[str, object]:
    """The result for scripts: what was recorded, and at which entry."""
    recorded = {"stage", "of", "model", "same_bytes", "largest_difference", "differing", "tensors"}
    return {
        "entry": done.entry,
        "of_entry": done.first.index,
        "development_key": done.development,
        "first_model": _model(done.first).sha256,
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

    Raises `InputError` if model or inputs differ from the log, `ConfigError` if params.yaml or
    policies do, `RefusedError` if the gate refuses, `BusyError` while another run reproduces the
    stage.
    """
    if key in project.params.bases:
        found = f"{key} was not trained here, so its training cannot be repeated"
        raise InputError(found, where=f"params.yaml: bases.{key}", expected="a training stage")
    if key not in project.params.stages:
        raise unknown("training stage", key, project.params.stages, "params.yaml: stages")
    name = f"reproduce@{key}"
    with exclusive(work_folder(project) / f"{name}.lock", name):
        lock.check(project.root, "train")
        require_right(project)
        log = open_log(project.machine, project.policies, utc_now)
        requester = authorizing.on_behalf(project.machine, log, utc_now())
        project = replace(project, machine=requester)
        first = recorded_training(project, key, log)
        run = StageRun.of("train", key, project, utc_now, Progress())
        inputs = recorded_inputs(run, first)
        require_inputs(project, name, inputs.values(), lambda: log, utc_now())
        resolved = recorded_objective(project, key, first)
        work = Work.begin(project, utc_now)
        with staging(project, name) as folder:
            fields, detail = _train(run, resolved, inputs, folder)
        require_same_model(project, key, first)
        fields |= {"stage": run.name, "of": first.digest, "inputs": list(inputs.values())}
        log = open_log(project.machine, project.policies, utc_now)  # its keys may have changed
        require_wanted()
        entry, reproduction = work.record(log, KIND, [_model(first)], fields, detail)
    return Reproduced(first, entry.index, reproduction, project.machine.signer_uri is None)


def require_right(project: Project) -> None:
    """Raises `ConfigError` if the key in use may not sign a reproduction, before hours of work."""
    signer, policies = known_signer(project.machine, project.policies.keys), project.policies
    if not policies.may_sign(KIND, signer.keyid, project.machine.signer_uri is None, 0):
        raise no_right(signer.keyid, [KIND], PRINCIPALS)


def recorded_training(project: Project, key: str, log: Log) -> Evidence[Train]:
    """(1) The recorded training of the model. Raises `InputError` if the model is missing or the
    log has no such training.
    """
    path = paths.model(key) / "model"
    if not (project.root / path).is_dir():
        found, fix = (
            "there is no model to compare the new one with",
            f"countersign repro train@{key}",
        )
        raise InputError(found, where=str(path), fix=fix)
    digest = digests.tree_digest(project.root / path)
    evidence = evidence_view(log, project.policies, read_authority(log))
    node = model_node(evidence.signed_under(project.policies), digest)
    if node.train is None or node.train.predicate.stage != f"train@{key}":
        found = f"the log has no training of train@{key} with this model ({digest[:12]})"
        fix = f"`dvc checkout {path}`, or train it again: countersign repro --force train@{key}"
        raise InputError(found, where=str(path), expected="the recorded model", fix=fix)
    return node.train


def require_same_model(project: Project, key: str, first: Evidence[Train]) -> None:
    """Raises `VerificationError` if the recorded model changed meanwhile."""
    path, expected = paths.model(key) / "model", _model(first).sha256
    digest = digests.tree_digest(project.root / path)
    if digest != expected:
        found = f"the model changed while its training was repeated: {digest[:12]}"
        fix = "nothing was recorded; run this again"
        raise VerificationError(found, where=str(path), expected=expected[:12], fix=fix)


def recorded_inputs(run: StageRun, first: Evidence[Train]) -> dict[str, Artifact]:
    """(2) The inputs as recorded. Raises `InputError` with those that changed."""
    artifacts, recorded = run.hash_inputs(), inputs_of(first)
    digests = {role: artifact.sha256 for role, artifact in artifacts.items()}
    changed = sorted(
        role for role in recorded.keys() | digests.keys() if recorded.get(role) != digests.get(role)
    )
    if changed:
        raise InputError(
            f"the inputs changed since {run.name} was recorded: {_listed(changed, digests)}",
            expected=f"{_listed(changed, recorded)} (entry {first.index})",
            where=", ".join(artifacts[role].name for role in changed if role in artifacts),
            fix=f"{CHECK_OUT}, or train from these inputs: `countersign repro {run.name}`",
        )
    return artifacts


CHECK_OUT = "check out the commit that trained it"


def _listed(roles: list[str], digests: dict[str, str]) -> str:
    return ", ".join(f"{role} {digests.get(role, 'none')[:12]}" for role in roles)


def recorded_objective(project: Project, key: str, first: Evidence[Train]) -> Objective:
    """The objective as recorded. Raises `ConfigError` if params.yaml or a reward function
    changed.
    """
    resolved, recorded = objective.resolve(project.params, key), first.predicate.objective
    if resolved.digest != recorded:
        raise ConfigError(
            f"the objective in params.yaml is not the recorded one: {resolved.digest[:12]}",
            where=f"params.yaml: stages.{key}",
            expected=f"{recorded[:12]} (entry {first.index})",
            fix=f"{CHECK_OUT}, or train with this one: `countersign repro train@{key}`",
        )
    return resolved


def _train(
    run: StageRun, resolved: Objective, inputs: dict[str, Artifact], folder: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(3) The fields of the reproduction, and what differs between two of them."""
    job = run.job(inputs, folder / "made", folder / "scratch")
    train.train_only_if_allowed(job)
    train.require_settled(os.environ, resolved.threads)
    clock = time.monotonic()
    with train.drawn(job, resolved) as listener:
        fitted, final = train.perform(job, resolved, listener)
    seconds = time.monotonic() - clock
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
    detail = {**train.cost(fitted, seconds), **train.launcher(job.machine.environ)}
    return fields, {**detail, "files_that_differ": list(comparison.files)}


def _model(first: Evidence[Train]) -> Artifact:
    return next(subject for subject in first.subjects if subject.role == "model")
