"""`countersign ready`: what `countersign repro` does before and after DVC runs. It is a command of
its own, so that a worker (`pipelines.workers`) can do it, which has imported everything already.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path

import click

from governance.base.errors import VerificationError
from governance.base.progress import Progress
from governance.base.yaml import read_yaml
from governance.history.witnesses import check_witnesses
from governance.log.http_client import is_server
from governance.log.sql import SqlLog
from governance.log.sqlite import one_reader
from governance.machine.machine import log_of
from governance.policy.authority import read_authority
from pipelines import families
from pipelines.plan import checks
from pipelines.plan.checks import unauthorized_note
from pipelines.plan.plan import plan
from pipelines.project import Project, open_project

STAGE = re.compile(r"[\w-]+(@[\w-]+)?")
SINGLE = frozenset({"-s", "--single-item"})
"""DVC's options for the named stages without those that they read from."""


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--force", is_flag=True)
@click.option("--done", is_flag=True)
@click.argument("targets", nargs=-1, type=click.UNPROCESSED)
def command(force: bool, done: bool, targets: tuple[str, ...]) -> None:
    """Check what would refuse a run; after a run (`--done`), ask the witnesses of the log."""
    project = open_project(Path.cwd(), os.environ)
    with one_reader():
        for line in _after(project) if done else _before(project, targets, force=force):
            click.echo(line, err=True)


def _before(project: Project, targets: Collection[str], *, force: bool) -> list[str]:
    now = datetime.now(UTC)
    check(project, targets, now, force=force)
    note = unauthorized_note(project, now)
    return [note] if note else []


def _after(project: Project) -> list[str]:
    return ask_witnesses(project, lambda: datetime.now(UTC))


def check(project: Project, targets: Collection[str], now: datetime, *, force: bool) -> None:
    """Raises what would refuse the run. DVC also takes files and further stages of dvc.yaml as
    targets. What these need is not known here, so only parameters and policies are checked.
    """
    names = [target for target in targets if not target.startswith("-")]
    if any(not STAGE.fullmatch(name) or name in _further(project.root) for name in names):
        checks.require(checks.parameters(project))
        return
    alone = bool(names) and (force or not SINGLE.isdisjoint(targets))
    plan(project, names, now, force=force, alone=alone).require()


def _further(root: Path) -> set[str]:
    """The stages of dvc.yaml that are of no family: somebody's own."""
    file = root / "dvc.yaml"
    stages = (read_yaml(file) or {}).get("stages") if file.exists() else None
    return set(stages or {}) - set(families.names())


def ask_witnesses(project: Project, now: Callable[[], datetime]) -> list[str]:
    """Asks the witnesses of the policies in force to cosign a log that is kept here; a server asks
    those of its own log. Returns a warning for each that did not, and one where too few have
    cosigned the log within the grace period. What the run made counts in any case.
    """
    log = log_of(project.machine)
    if not isinstance(log, SqlLog) or is_server(project.machine.log_uri) or not log.size():
        return []
    authority = read_authority(log)
    policies = authority.in_force.policies
    if policies is None or not policies.rules.witnesses:
        return []
    from governance.witness import client  # only where there are witnesses

    with Progress().waiting("waiting for the witnesses of the log"):
        _, errors = client.request_all(log, policies.rules.witnesses, now)
    warnings = [f"warning: witness {name}: {error.found}" for name, error in errors]
    try:
        check_witnesses(log, authority, None, now())
    except VerificationError as error:
        warnings.append(
            f"warning: {error.found} of late; until they have, `countersign verify` fails and"
            " nothing is promoted; next: countersign witness request"
        )
    return warnings
