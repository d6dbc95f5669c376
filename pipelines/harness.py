"""The harness that every stage runs in: `countersign stage FAMILY KEY`, as dvc.yaml calls it.

It does the shared part once, in this order:

1. end together with the process that started it, and refuse a second run of the same stage;
2. compare the installed code and engines of the family with `countersign.lock`;
3. hash every input, and check that the key that signs here may read them (`pipelines.reading`);
4. run the stage, which writes to temporary paths, and hash the inputs again: an input that changed
   meanwhile stops the stage, and so does another lock;
5. publish the outputs, each in one step;
6. sign a statement about the digests and append it to the log.

A run that stops because its result must not be used (`pipelines.failures`) publishes nothing. Its
failure is signed and appended instead, and no work of it is taken up again.

A kill before (5) leaves nothing. A kill between (5) and (6) leaves files that DVC does not count as
made: the next run makes them again and records them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from governance.attest import canonical, digests
from governance.attest.predicates import Artifact, Finding
from governance.attest.requests import refusal
from governance.base.errors import CountersignError, InputError, RefusedError
from governance.base.progress import Progress
from governance.history.waivers import is_never_waived
from governance.log.port import Log
from governance.log.sqlite import one_reader
from governance.machine.machine import open_log
from governance.people import authorizing
from governance.policy.authority import read_authority
from pipelines import lock, reading
from pipelines.failures import StoppedError
from pipelines.families import StageFamily, family, require_row
from pipelines.job import Input, Job, Outcome, Output, require_unchanged
from pipelines.process import end_with_parent, exclusive
from pipelines.project import Project
from pipelines.provenance import Work, environment, evidence_view

REPORTS = ("report", "summary", "excluded")
"""Roles of the outputs that are kept for reading when a stage refuses."""

WAIVED_BY_STAGE = ("gate", "generation")
"""Evidence with decisions whose findings `countersign waive` accepts by the name of the stage."""


@dataclass(frozen=True)
class StageRun:
    """One run of the stage `family_name@key`."""

    family_name: str
    key: str
    project: Project
    now: Callable[[], datetime]
    progress: Progress
    log: Callable[[], Log]
    """Opens the log when it is first called, and verifies its head."""

    @classmethod
    def of(
        cls,
        family_name: str,
        key: str,
        project: Project,
        now: Callable[[], datetime],
        progress: Progress,
    ) -> StageRun:
        """The run of a stage on this machine's log."""
        log = cache(lambda: open_log(project.machine, project.policies, now))
        return cls(family_name, key, project, now, progress, log)

    @property
    def name(self) -> str:
        """The stage as DVC names it."""
        return f"{self.family_name}@{self.key}" if self.key else self.family_name

    @property
    def family(self) -> StageFamily:
        """What its family declares."""
        return family(self.family_name)

    @cached_property
    def inputs(self) -> list[Input]:
        """What it reads."""
        return self.family.inputs(self.project.params, self.key)

    @cached_property
    def outputs(self) -> list[Output]:
        """What it writes."""
        return self.family.outputs(self.project.params, self.key)

    @property
    def reports(self) -> Path:
        """Where its reports are kept if it refuses, relative to the project."""
        return Path("reports") / self.family_name / self.key

    def hash_inputs(self) -> dict[str, Artifact]:
        """Role to input, as it is now. Raises `InputError` if one is missing."""
        return {file.role: _hashed(self.project.root, file) for file in self.inputs}

    def job(self, artifacts: dict[str, Artifact], made: Path, scratch: Path | None = None) -> Job:
        """The job of a stage that writes below `made`.

        Its scratch folder survives a kill, unless another folder is given.
        """
        for output in self.outputs:
            (made / output.path).parent.mkdir(parents=True, exist_ok=True)
        scratch = scratch or self._kept_scratch(artifacts)
        scratch.mkdir(parents=True, exist_ok=True)
        project, now = self.project, self.now
        authority = cache(lambda: read_authority(self.log()))
        return Job(
            name=self.name,
            key=self.key,
            root=project.root,
            params=project.params,
            policies=project.policies,
            machine=project.machine,
            inputs=artifacts,
            input_paths={file.role: project.root / file.path for file in self.inputs},
            output_paths={output.role: made / output.path for output in self.outputs},
            scratch=scratch,
            now=now,
            progress=self.progress,
            open_evidence=lambda: evidence_view(self.log(), project.policies, authority()),
            open_authority=authority,
        )

    def _kept_scratch(self, artifacts: dict[str, Artifact]) -> Path:
        identity = _attempt(self.name, artifacts)
        return self.project.machine.state / "scratch" / f"{self.name}-{identity[:16]}"


def run_stage(
    family_name: str, key: str, project: Project, now: Callable[[], datetime], progress: Progress
) -> str:
    """Runs one stage and records it; returns its one-line summary. Raises `ConfigError` if there is
    no such stage, and `RefusedError` if it refuses.
    """
    require_row(family_name, key, project.params)
    run = StageRun.of(family_name, key, project, now, progress)
    with exclusive(work_folder(project) / f"{run.name}.lock", run.name), one_reader():  # (1)
        end_with_parent(os.environ)
        lock.check(project.root, family_name)  # (2)
        return _run_locked(run)


def _run_locked(run: StageRun) -> str:
    artifacts = run.hash_inputs()  # (3)
    _require_rights(run, artifacts)
    if run.family.evidence:  # a log that refuses statements must stop the stage before the work
        project = run.project
        authorized = authorizing.on_behalf(project.machine, run.log(), run.now())
        run = replace(run, project=replace(project, machine=authorized))
    work = Work.begin(run.project, run.now)
    with staging(run.project, run.name) as made:
        job = replace(run.job(artifacts, made), code=work.code)
        try:
            outcome = run.family.run(job)  # (4)
        except StoppedError as error:
            shutil.rmtree(job.scratch, ignore_errors=True)
            _record_failure(run, work, artifacts, error)
            raise
        if run.family.evidence and not run.family.uses_digests_only:
            require_unchanged(job)
        lock.check(run.project.root, run.family_name)
        if outcome.refused:
            _keep_reports(run, made)
        with _published(run.project.root, [] if outcome.refused else run.outputs, made):  # (5)
            _record(run, work, artifacts, outcome)
    if outcome.refused:
        raise RefusedError(refusal(run.name, outcome.refused), fix=_waiving(run, outcome.refused))
    shutil.rmtree(job.scratch, ignore_errors=True)
    return outcome.summary


def _waiving(run: StageRun, refused: Iterable[Finding]) -> str:
    """The command that accepts a finding of a gate or generation for a while; empty where policy
    lets nobody accept any of these.
    """
    rules = run.project.policies.rules.waivers
    if run.family.evidence not in WAIVED_BY_STAGE or not (rules.accepted_by and rules.max_days):
        return ""
    codes = dict.fromkeys(each.code for each in refused if not is_never_waived(each.code, rules))
    if not codes:
        return ""
    command = f"countersign waive {run.name} --finding {'|'.join(codes)}"
    return f"mend it, or accept a finding until a date: {command}"


def _require_rights(run: StageRun, artifacts: dict[str, Artifact]) -> None:
    """Raises `RefusedError` unless the key that signs here may read what the stage reads."""
    if not run.family.uses_digests_only:
        reading.require_inputs(run.project, run.name, artifacts.values(), run.log, run.now())


def _record(run: StageRun, work: Work, artifacts: dict[str, Artifact], outcome: Outcome) -> None:
    """(6) Records a run, where the family leaves evidence."""
    kind = run.family.evidence
    if kind is None:
        return
    subjects = [*_written(run, outcome), *outcome.subjects]
    fields = {**outcome.predicate, "parameters": outcome.parameters}
    versions = {**lock.engines(run.family_name), **outcome.engines}
    _append(run, work, kind, subjects, artifacts, fields, versions, outcome.detail)


def _record_failure(
    run: StageRun, work: Work, artifacts: dict[str, Artifact], error: StoppedError
) -> None:
    """Records that a run stopped. If that fails, too, its own error is still the one to report."""
    if run.family.evidence is None:
        return
    stopped, attempt = (
        error.stopped,
        Artifact(role="attempt", name=run.name, sha256=_attempt(run.name, artifacts)),
    )
    row = getattr(run.project.params, run.family.table)[run.key] if run.family.table else None
    fields = {
        "parameters": row.model_dump(mode="json") if row else {},
        "step": stopped.step,
        "findings": list(stopped.findings),
        "counts": stopped.counts,
    }
    try:
        versions = lock.engines(run.family_name)
        _append(run, work, "failure", [attempt], artifacts, fields, versions, {})
    except CountersignError as problem:
        run.progress.step(f"the failure of {run.name} is not recorded: {problem.found}")


def _append(
    run: StageRun,
    work: Work,
    kind: str,
    subjects: list[Artifact],
    artifacts: dict[str, Artifact],
    fields: dict[str, Any],
    versions: dict[str, str],
    detail: dict[str, Any],
) -> None:
    stated = {
        **fields,
        "stage": run.name,
        "inputs": list(artifacts.values()),
        "environment": environment(versions, run.project.machine),
    }
    # The log is opened and checked again: its keys, head and policies may have changed meanwhile.
    log = open_log(run.project.machine, run.project.policies, run.now)
    work.record(log, kind, subjects, stated, detail)


def _attempt(name: str, artifacts: dict[str, Artifact]) -> str:
    """sha256 of a stage and its inputs."""
    inputs = sorted((role, artifact.sha256) for role, artifact in artifacts.items())
    return digests.sha256_bytes(canonical.dumps([name, inputs]))


def work_folder(project: Project) -> Path:
    """Temporary files of this checkout. `.dvc/tmp` is on the same file system and never under
    version control.
    """
    return project.root / ".dvc" / "tmp" / "countersign"


def _hashed(root: Path, file: Input) -> Artifact:
    path = root / file.path
    if not path.exists():
        found, fix = "an input of the stage is missing", "run `countersign repro`, which makes it"
        raise InputError(found, where=str(file.path), fix=fix)
    return Artifact(role=file.role, name=file.path.as_posix(), sha256=digests.digest_of(path))


@contextmanager
def staging(project: Project, name: str) -> Iterator[Path]:
    """An empty folder for unfinished outputs. Removes what a killed run left there."""
    folder = work_folder(project) / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _published(root: Path, outputs: Sequence[Output], made: Path) -> Iterator[None]:
    """Puts the outputs in their places. Removes them again if they cannot be recorded, so that
    nothing is there without evidence.
    """
    try:
        for output in outputs:
            _publish(made / output.path, root / output.path)
        yield
    except BaseException:
        for output in outputs:
            with suppress(OSError):
                _remove(root / output.path)
                (root / output.path).parent.rmdir()  # only if it is empty
        raise


def _publish(made: Path, target: Path) -> None:
    """Moves an output to its place in one step and replaces what was there."""
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


def _keep_reports(run: StageRun, made: Path) -> None:
    folder = run.project.root / run.reports
    folder.mkdir(parents=True, exist_ok=True)
    for output in run.outputs:
        if output.role in REPORTS and (made / output.path).exists():
            (made / output.path).replace(folder / output.path.name)


def _written(run: StageRun, outcome: Outcome) -> list[Artifact]:
    """The outputs; of a stage that refused, the reports that were kept."""
    root = run.project.root
    if not outcome.refused:
        return [_hashed(root, output) for output in run.outputs]
    kept = [
        Output(output.role, run.reports / output.path.name)
        for output in run.outputs
        if output.role in REPORTS
    ]
    return [_hashed(root, output) for output in kept if (root / output.path).exists()]
