"""The harness every stage runs in: `countersign stage FAMILY KEY`, as dvc.yaml calls it.

It does the shared part once, in this order:

1. end with the process that started it, and let no second run of the same stage in;
2. load parameters and policies, and hold the installed engines against `pipelines/versions.yaml`;
3. hash every input;
4. run the stage module, which writes to temporary paths, and hash the inputs again: what changed
   meanwhile is no input;
5. publish the outputs, each in one step;
6. sign a statement about the digests and append it to the log.

A kill before (5) leaves nothing; one between (5) and (6) leaves files that DVC does not count as
made, so that the next run makes them again and records them.
"""

from __future__ import annotations

import importlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from governance.attest import canonical, digests
from governance.attest.predicates import Artifact, Code, Run
from governance.attest.requests import refusal
from governance.base.errors import ConfigError, InputError, RefusedError
from governance.base.progress import Progress
from governance.machine.machine import Machine, machine
from governance.policy.policies import Policies, load_policies
from pipelines import provenance, versions
from pipelines.job import Input, Job, Outcome, Output, require_unchanged
from pipelines.params import Params, load_params
from pipelines.process import end_with_parent, exclusive

FAMILIES: dict[str, str] = {
    "sample": "pipelines.samples",
    "fetch": "pipelines.hub",
    "ingest": "pipelines.ingest",
    "scan_pii": "pipelines.scan",
    "check_quality": "pipelines.quality",
    "import_base": "pipelines.base",
    "evaluate_base": "pipelines.evaluate",
    "gate": "pipelines.gate",
    "train": "pipelines.train",
    "evaluate": "pipelines.evaluate",
    "register": "pipelines.register",
    "report": "pipelines.report",
}
"""DVC stage family to the module that is its subject."""

DIGESTS_ALONE = ("gate",)
"""Families that read no input's content: what they record is about the digests as they were taken.
"""

REPORTS = ("report", "summary", "excluded")
"""Outputs that are kept for reading when a stage refuses."""


@dataclass(frozen=True)
class Project:
    """What every stage of a project shares."""

    root: Path
    params: Params
    policies: Policies
    machine: Machine


def open_project(root: Path, environ: Mapping[str, str]) -> Project:
    """The project at `root`. Raises `ConfigError` with every mistake of its parameters and
    policies.
    """
    if not (root / "params.yaml").is_file():
        raise ConfigError(
            "no params.yaml here",
            where=str(root),
            expected="a project",
            fix="change to the project's folder",
        )
    params = load_params(root)
    return Project(root, params, load_policies(root / "policies"), machine(params.project, environ))


def run_stage(
    family: str, key: str, project: Project, now: Callable[[], datetime], progress: Progress
) -> str:
    """Runs one stage and records it; returns its one-line summary. Raises `RefusedError` when it
    refuses.
    """
    module = _module(family)
    name = f"{family}@{key}" if key else family
    with exclusive(work_folder(project) / f"{name}.lock", name):
        end_with_parent(os.environ)
        versions.check(project.root, family)
        return _run_locked(module, family, key, name, project, now, progress)


def _run_locked(
    module: ModuleType,
    family: str,
    key: str,
    name: str,
    project: Project,
    now: Callable[[], datetime],
    progress: Progress,
) -> str:
    inputs: list[Input] = module.inputs(project.params, key)
    outputs: list[Output] = module.outputs(project.params, key)
    artifacts = {item.role: hashed(project.root, item) for item in inputs}
    if (
        module.PREDICATE
    ):  # a log that will not take the statement is found now, not after hours of work
        machine = provenance.on_behalf(project.machine, project.policies, now)
        project = replace(project, machine=machine)
    began, clock, code = now(), time.monotonic(), provenance.code(project.root)
    with staging(project, name) as made:
        job = job_of(name, key, project, artifacts, inputs, outputs, made, now, progress)
        outcome: Outcome = module.run(job)
        if module.PREDICATE and family not in DIGESTS_ALONE:
            require_unchanged(job)
        if outcome.refused:
            _keep_reports(project.root, family, key, outputs, made)
        with _published(project.root, [] if outcome.refused else outputs, made):
            subjects = _subjects(project.root, outputs, outcome, family, key)
            if module.PREDICATE:
                run = provenance.run(
                    began,
                    now(),
                    time.monotonic() - clock,
                    project.machine.requester,
                    outcome.detail,
                )
                code = provenance.code(project.root, code)
                given = list(artifacts.values())
                _record(
                    module.PREDICATE,
                    family,
                    name,
                    project,
                    given,
                    subjects,
                    outcome,
                    code,
                    run,
                    now,
                )
    if outcome.refused:
        raise RefusedError(refusal(name, outcome.refused))
    shutil.rmtree(job.scratch, ignore_errors=True)
    return outcome.summary


def _module(family: str) -> ModuleType:
    if family not in FAMILIES:
        raise ConfigError(f"no stage family {family!r}", expected=f"one of {', '.join(FAMILIES)}")
    return importlib.import_module(FAMILIES[family])


def work_folder(project: Project) -> Path:
    """Temporary files of this checkout; `.dvc/tmp` is on the same file system and never under
    version control.
    """
    return project.root / ".dvc" / "tmp" / "countersign"


def hashed(root: Path, item: Input) -> Artifact:
    """An input as it is now. Raises `InputError` where it is not there."""
    path = root / item.path
    if not path.exists():
        raise InputError(
            "the stage's input is not there",
            where=str(item.path),
            fix="run `dvc repro`, which makes what comes before",
        )
    return Artifact(role=item.role, name=item.path.as_posix(), sha256=digests.digest_of(path))


@contextmanager
def staging(project: Project, name: str) -> Iterator[Path]:
    """An empty folder for outputs in the making; what a killed run left there is removed first."""
    folder = work_folder(project) / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def job_of(
    name: str,
    key: str,
    project: Project,
    artifacts: dict[str, Artifact],
    inputs: list[Input],
    outputs: list[Output],
    made: Path,
    now: Callable[[], datetime],
    progress: Progress,
    scratch: Path | None = None,
) -> Job:
    """The job of a stage that writes below `made`; its work survives a kill, unless `scratch` is
    another folder.
    """
    for output in outputs:
        (made / output.path).parent.mkdir(parents=True, exist_ok=True)
    identity = canonical.dumps(
        [name, sorted((role, item.sha256) for role, item in artifacts.items())]
    )
    kept = project.machine.state / "scratch" / f"{name}-{digests.sha256_bytes(identity)[:16]}"
    scratch = scratch or kept
    scratch.mkdir(parents=True, exist_ok=True)
    return Job(
        name=name,
        key=key,
        root=project.root,
        params=project.params,
        policies=project.policies,
        machine=project.machine,
        inputs=artifacts,
        input_paths={item.role: project.root / item.path for item in inputs},
        output_paths={output.role: made / output.path for output in outputs},
        scratch=scratch,
        now=now,
        progress=progress,
        open_evidence=lambda: provenance.open_evidence(project.machine, project.policies, now),
        open_authority=lambda: provenance.open_authority(project.machine, project.policies, now),
    )


@contextmanager
def _published(root: Path, outputs: list[Output], staging: Path) -> Iterator[None]:
    """Outputs in their places; gone again when they cannot be recorded, so that nothing is there
    without evidence.
    """
    try:
        for output in outputs:
            _publish(staging / output.path, root / output.path)
        yield
    except BaseException:
        for output in outputs:
            with suppress(OSError):
                _remove(root / output.path)
                (root / output.path).parent.rmdir()  # if it is empty
        raise


def _publish(made: Path, target: Path) -> None:
    """Moves an output to its place in one step, replacing what stood there."""
    if not made.exists():
        raise InputError("the stage did not write this output", where=str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove(target)
    shutil.move(made, target)


def _remove(target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


def _kept(family: str, key: str) -> Path:
    return Path("reports") / family / key


def _keep_reports(root: Path, family: str, key: str, outputs: list[Output], staging: Path) -> None:
    folder = root / _kept(family, key)
    folder.mkdir(parents=True, exist_ok=True)
    for output in outputs:
        if output.role in REPORTS and (staging / output.path).exists():
            (staging / output.path).replace(folder / output.path.name)


def _subjects(
    root: Path, outputs: list[Output], outcome: Outcome, family: str, key: str
) -> list[Artifact]:
    if not outcome.refused:
        return [
            *(hashed(root, Input(output.role, output.path)) for output in outputs),
            *outcome.subjects,
        ]
    kept = [
        Input(output.role, _kept(family, key) / output.path.name)
        for output in outputs
        if output.role in REPORTS
    ]
    return [
        *(hashed(root, item) for item in kept if (root / item.path).exists()),
        *outcome.subjects,
    ]


def _record(
    predicate: str,
    family: str,
    name: str,
    project: Project,
    inputs: list[Artifact],
    subjects: list[Artifact],
    outcome: Outcome,
    code: Code,
    run: Run,
    now: Callable[[], datetime],
) -> None:
    fields: dict[str, Any] = {
        **outcome.predicate,
        "stage": name,
        "inputs": inputs,
        "parameters": outcome.parameters,
        "policy": project.policies.digest,
        "code": code,
        "environment": provenance.environment(versions.installed(family)),
        "run": run,
    }
    provenance.record(predicate, subjects, fields, project.machine, project.policies, now)


def utc_now() -> datetime:
    """The clock of the machine; the one place where stages get their time from."""
    return datetime.now(UTC)
