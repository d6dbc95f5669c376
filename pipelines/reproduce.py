"""Trains a stage again from the inputs of its `train` statement, and records how far the same model
results.

1. The model in the project determines the training: the one in the log that made exactly these
   bytes.
2. The inputs are hashed and must be those of that statement. Then the gate decides again, in its
   enforcing form.
3. Everything is written to a scratch folder that is removed at the end. After a kill -9 the next
   run removes it. The project does not change, and the registry shows no run.
4. A difference is not an error: it is measured and recorded in the log.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from governance.attest import digests
from governance.attest.predicates import Artifact, Reproduction
from governance.base.errors import ConfigError, InputError, VerificationError
from governance.base.progress import Progress
from governance.history.lineage import inputs as inputs_of
from governance.history.lineage import model_node, trained
from governance.log.evidence import Evidence
from governance.machine.machine import known_signer, open_log
from governance.people import authorizing
from pipelines import paths, provenance, versions
from pipelines.harness import StageRun, staging, work_folder
from pipelines.process import exclusive
from pipelines.project import Project
from pipelines.stages import train
from pipelines.training import objective
from pipelines.training.compare import Comparison, compare
from pipelines.training.fit import Fitted
from pipelines.training.objective import Objective

KIND = "reproduction"


@dataclass(frozen=True)
class Reproduced:
    """The result."""

    key: str
    first: Evidence
    """The training that was repeated."""
    entry: int
    """Of the reproduction."""
    said: Reproduction
    files: tuple[str, ...]
    """Files of the model that differ, in words."""
    development: bool
    """Signed by an automatic test key."""


@dataclass(frozen=True)
class _Trained:
    """The result of this training."""

    fitted: Fitted
    final: dict[str, float | None]
    model: str
    compared: Comparison
    seconds: float


def reproduce(
    key: str, project: Project, now: Callable[[], datetime], progress: Progress
) -> Reproduced:
    """Repeats the training of stage `key` and records the result.

    Raises `InputError` if model or inputs differ from the log, `ConfigError` if params.yaml or
    policies do, `RefusedError` if the gate refuses, `BusyError` while another run reproduces the
    stage.
    """
    if key not in project.params.stages:
        known = ", ".join(project.params.stages)
        raise ConfigError(
            f"no training stage {key[:80]!r}",
            where="params.yaml: stages",
            expected=f"one of {known}",
        )
    name = f"reproduce@{key}"
    with exclusive(work_folder(project) / f"{name}.lock", name):
        versions.check(project.root, "train")
        require_right(project)
        log = open_log(project.machine, project.policies, now)
        project = replace(project, machine=authorizing.on_behalf(project.machine, log, now()))
        first = recorded_training(project, key, now)
        run = StageRun.of("train", key, project, now, progress)
        given = recorded_inputs(run, first)
        resolved = recorded_objective(project, key, first)
        began, clock, code = now(), time.monotonic(), provenance.code(project.root)
        with staging(project, name) as folder:
            done = _train(run, resolved, given, folder)
        require_same_model(project, key, first)
        detail = {
            **train.cost(done.fitted, done.seconds),
            "files_that_differ": list(done.compared.files),
        }
        said: dict[str, Any] = {
            "stage": f"train@{key}",
            "inputs": list(given.values()),
            "parameters": train.parameters(resolved, done.fitted),
            "policy": project.policies.digest,
            "code": provenance.code(project.root, code),
            "environment": provenance.environment(versions.installed("train")),
            "run": provenance.run(
                began, now(), time.monotonic() - clock, project.machine.requester, detail
            ),
            **_predicate(first, done),
        }
        entry = provenance.record(
            KIND, [_model(first)], said, project.machine, project.policies, now
        )
    development = project.machine.signer_uri is None
    return Reproduced(
        key, first, entry.index, Reproduction.model_validate(said), done.compared.files, development
    )


def _predicate(first: Evidence, done: _Trained) -> dict[str, Any]:
    compared = done.compared
    return {
        "of": first.digest,
        "model": done.model,
        "same_bytes": compared.same_bytes,
        "largest_difference": compared.largest_difference,
        "differing": compared.differing,
        "tensors": compared.tensors,
        "final": done.final,
        "device": done.fitted.device,
    }


def require_right(project: Project) -> None:
    """Raises `ConfigError` if the key in use may not sign a reproduction, before hours of work."""
    chosen, policies = known_signer(project.machine, project.policies.keys), project.policies
    if not policies.may_sign(KIND, chosen.keyid, project.machine.signer_uri is None, 0):
        raise ConfigError(
            f"policies do not let the key that signs here ({chosen.keyid[:16]}) sign a"
            " reproduction",
            where="policies/policy.yaml: principals",
            expected=f"`{KIND}` among what its principal signs",
            fix=(
                "its owners add it (`countersign policy propose`), or another COUNTERSIGN_SIGNER"
                " signs"
            ),
        )


def recorded_training(project: Project, key: str, now: Callable[[], datetime]) -> Evidence:
    """(1) The recorded training of the model. Raises `InputError` if the model is missing or the
    log has no such training.
    """
    path = paths.model(key) / "model"
    if not (project.root / path).is_dir():
        raise InputError(
            "there is no model to compare the new one with",
            where=str(path),
            fix=f"countersign repro train@{key}",
        )
    found = digests.tree_digest(project.root / path)
    log = open_log(project.machine, project.policies, now)
    evidence = provenance.evidence_view(log, project.policies)
    node = model_node(evidence.signed_under(project.policies), found)
    if node.train is None or trained(node.train).stage != f"train@{key}":
        raise InputError(
            f"the log has no training of train@{key} with this model ({found[:12]})",
            where=str(path),
            expected="the recorded model",
            fix=(
                f"`dvc checkout {path}` restores it; `countersign repro --force train@{key}` trains"
                " and records it again"
            ),
        )
    return node.train


def require_same_model(project: Project, key: str, first: Evidence) -> None:
    """Raises `VerificationError` if the recorded model changed meanwhile."""
    path, wanted = paths.model(key) / "model", _model(first).sha256
    found = digests.tree_digest(project.root / path)
    if found != wanted:
        raise VerificationError(
            f"the model changed while its training was repeated: {found[:12]}",
            where=str(path),
            expected=wanted[:12],
            fix="nothing was recorded; run this again",
        )


def recorded_inputs(run: StageRun, first: Evidence) -> dict[str, Artifact]:
    """(2) The inputs as recorded. Raises `InputError` with those that changed."""
    artifacts = run.hash_inputs()
    found = {role: item.sha256 for role, item in artifacts.items()}
    wanted = inputs_of(first)
    wrong = sorted(
        role for role in wanted.keys() | found.keys() if wanted.get(role) != found.get(role)
    )
    if wrong:
        raise InputError(
            f"the inputs changed since {run.name} was recorded: "
            + ", ".join(f"{role} {_short(found.get(role))}" for role in wrong),
            expected=", ".join(f"{role} {_short(wanted.get(role))}" for role in wrong)
            + f" (entry {first.index})",
            where=", ".join(artifacts[role].name for role in wrong if role in artifacts),
            fix=(
                f"check out the commit that trained it, or `countersign repro {run.name}`"
                " trains from these"
            ),
        )
    return artifacts


def recorded_objective(project: Project, key: str, first: Evidence) -> Objective:
    """The objective as recorded. Raises `ConfigError` if params.yaml or a reward function
    changed.
    """
    resolved = objective.resolve(project.params, key)
    if resolved.digest != trained(first).objective:
        raise ConfigError(
            f"the objective in params.yaml is not the recorded one: {resolved.digest[:12]}",
            where=f"params.yaml: stages.{key}",
            expected=f"{trained(first).objective[:12]} (entry {first.index})",
            fix=(
                f"check out the commit that trained it, or `countersign repro train@{key}` trains"
                " with this one"
            ),
        )
    return resolved


def _train(
    run: StageRun, resolved: Objective, given: dict[str, Artifact], folder: Path
) -> _Trained:
    """(3)"""
    job = run.job(given, folder / "made", folder / "scratch")
    train.train_only_if_allowed(job)
    train.require_settled(os.environ, resolved.threads)
    clock = time.monotonic()
    with train.drawn(job, resolved) as listener:
        fitted, final = train.perform(job, resolved, listener)
    seconds = time.monotonic() - clock
    run.progress.step("comparing the models")
    reference, made = run.project.root / paths.model(run.key) / "model", job.output("model")
    compared = compare(reference, made)
    model = digests.tree_digest(made)
    return _Trained(fitted, final, model, compared, seconds)


def _model(first: Evidence) -> Artifact:
    return next(item for item in first.subjects if item.role == "model")


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "none"
