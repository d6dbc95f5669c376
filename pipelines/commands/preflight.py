"""What can be known to be wrong before anything runs: asked by `countersign repro`, so that nobody
waits for it.

Every stage asks the same for itself when its turn comes. Here all mistakes are reported at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

from governance.attest.findings import finding
from governance.attest.requests import refusal
from governance.base.errors import (
    ConfigError,
    CountersignError,
    InputError,
    Problems,
    RefusedError,
    meant,
)
from governance.base.yaml import place, read_yaml
from governance.machine.machine import known_signer, log_of
from governance.people import authorizing
from governance.policy.authority import read_authority
from governance.registry import rest
from pipelines import base, hub, samples
from pipelines.metrics import metrics_of
from pipelines.stage import Project
from pipelines.training import objective

FILE = "params.yaml"

WITHOUT_EVIDENCE = ("sample", "fetch", "register", "report")
"""Stages that record nothing of what they make."""


def check(project: Project) -> None:
    """Raises the one mistake there is, or `Problems` with all of them."""
    wrong = [
        *_sources(project),
        *_quality_suites(project),
        *_bases(project),
        *_stages(project),
        *_suites(project),
    ]
    wrong += _signer(project)
    if wrong:
        raise wrong[0] if len(wrong) == 1 else Problems(wrong)


def evidence(project: Project) -> None:
    """Raises `RefusedError` where stages were made already, and the log at hand is empty: nothing
    made here counts.
    """
    log = log_of(project.machine)
    if log.size():
        return
    made = _made(project.root)
    if made:
        missing = finding(
            "EVIDENCE_MISSING",
            f"project {project.machine.project}",
            f"outputs of {len(made)} stages are here, and the log at hand has evidence of none of"
            " them",
            expected=f"a log with statements by {', '.join(made)}",
            found=f"an empty one, {log.where}",
            next=(
                "join the log that has it (COUNTERSIGN_HOME or COUNTERSIGN_LOG), "
                "or make all of it again: countersign repro --force"
            ),
        )
        raise RefusedError(refusal("repro", (missing,)))


def registry(project: Project) -> None:
    """Raises where the registry's server cannot be reached or does not know the account: half a run
    is no use then.
    """
    uri = project.machine.registry_uri
    if rest.is_server(uri):
        rest.check_account(uri, project.machine.environ)


def in_nobodys_name(project: Project, at: datetime) -> str:
    """What to know where people decide about aliases and nobody authenticated asks for this run;
    else empty.
    """
    log = log_of(project.machine)
    if not log.size():
        return ""
    policies = read_authority(log).in_force.policies
    if policies is None or not policies.rules.aliases:
        return ""
    asked = authorizing.on_behalf(project.machine, log, at).requester
    if asked.authenticated:
        return ""
    return (
        f"note: {asked.name} has not authorized runs, so what this one makes is good for candidate"
        " only; next: countersign authorize, by who asks for it, and COUNTERSIGN_REQUESTER=NAME"
    )


def _made(root: Path) -> list[str]:
    """The stages that leave evidence and that DVC takes for made, as far as any output is at
    hand.
    """
    lock = read_yaml(root / "dvc.lock") if (root / "dvc.lock").exists() else None
    stages = lock.get("stages", {}) if isinstance(lock, dict) else {}
    return [
        name
        for name, stage in stages.items()
        if name.partition("@")[0] not in WITHOUT_EVIDENCE
        and any((root / str(out["path"])).exists() for out in stage.get("outs", []))
    ]


def _sources(project: Project) -> Iterator[CountersignError]:
    """Every dataset's source is there, or a stage makes it."""
    params = project.params
    made = {output.path for name in params.samples for output in samples.outputs(params, name)}
    made |= {output.path for name in params.hub for output in hub.outputs(params, name)}
    for name, dataset in params.datasets.items():
        if Path(dataset.source) not in made and not (project.root / dataset.source).exists():
            yield InputError(
                f"{dataset.source!a}: no such file or folder",
                where=place(project.root / FILE, "datasets", name, "source"),
                expected=(
                    "a file or folder here, or what a row of `samples` or `hub` makes:"
                    " data/source/NAME"
                ),
                fix="copy it there, or name another source",
            )


def _quality_suites(project: Project) -> Iterator[CountersignError]:
    """Every dataset's quality suite is there and is for its kind."""
    for name, dataset in project.params.datasets.items():
        suite = project.policies.quality.get(dataset.suite)
        if suite is not None and suite.kind == dataset.kind:
            continue
        fitting = sorted(
            one for one, other in project.policies.quality.items() if other.kind == dataset.kind
        )
        found = (
            f"no quality suite {dataset.suite!r}"
            if suite is None
            else f"{dataset.suite!r} is for {suite.kind}"
        )
        yield ConfigError(
            found,
            where=place(project.root / FILE, "datasets", name, "suite"),
            expected=(
                f"a suite of policies/quality/ for {dataset.kind}:"
                f" {', '.join(fitting) or 'none is there yet'}"
            ),
            fix=meant(dataset.suite, fitting),
        )


def _bases(project: Project) -> Iterator[CountersignError]:
    """Every base's source can be one."""
    for name, row in project.params.bases.items():
        if not base.HUB.fullmatch(row.source) and not (project.root / row.source).exists():
            yield ConfigError(
                f"{row.source!r} is not here, and no model of the Hub at a revision",
                where=place(project.root / FILE, "bases", name, "source"),
                expected=base.SOURCES,
            )


def _stages(project: Project) -> Iterator[CountersignError]:
    """Every training stage's row: method, arguments, rewards, kinds."""
    for name in project.params.stages:
        yield from _raised(partial(objective.resolve, project.params, name))


def _suites(project: Project) -> Iterator[CountersignError]:
    """Every evaluation suite's metrics."""
    for name, suite in project.params.suites.items():
        yield from _raised(partial(metrics_of, suite, f"{FILE}: suites.{name}"))


def _signer(project: Project) -> Iterator[CountersignError]:
    """The signer, where one is named, is there and policies know it."""
    if project.machine.signer_uri is not None:
        yield from _raised(partial(known_signer, project.machine, project.policies.keys))


def _raised(work: Callable[[], object]) -> Iterator[CountersignError]:
    try:
        work()
    except Problems as error:
        yield from error.problems
    except CountersignError as error:
        yield error
