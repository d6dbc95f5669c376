"""`countersign repro`: `dvc repro`, one run at a time, with the stage's own exit code.

Before any stage runs it asks `pipelines.plan` what would refuse the run, and reports all of it at
once. Each stage repeats its own checks when it runs.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from governance.base.errors import ConfigError, VerificationError
from governance.base.progress import Progress
from governance.base.yaml import read_yaml
from governance.history.witnesses import check_witnesses
from governance.log.http_client import is_server
from governance.log.sql import SqlLog
from governance.machine.machine import log_of
from governance.policy.authority import read_authority
from pipelines import families
from pipelines.commands import dvc_process
from pipelines.isolation import HASH_SEED
from pipelines.plan import checks
from pipelines.plan.checks import unauthorized_note
from pipelines.plan.plan import plan
from pipelines.project import Project, open_project
from pipelines.workers.start import workers

STAGE = re.compile(r"[\w-]+(@[\w-]+)?")
SINGLE = frozenset({"-s", "--single-item"})
"""DVC's options for the named stages without those that they read from."""
LOOKS = 5
"""How often an unreadable lock table is read again before it counts as broken."""


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--force", is_flag=True, help="Run the named stages again although nothing changed.")
@click.argument("targets", nargs=-1)
def command(force: bool, targets: tuple[str, ...]) -> None:
    """Run the pipeline, or the named stages and what they need. Further options go to `dvc
    repro`.
    """
    root = Path.cwd()
    project, now = open_project(root, os.environ), datetime.now(UTC)
    with workers(root, _environment()) as environ:  # which import while this checks
        check(project, targets, now, force=force)
        if note := unauthorized_note(project, now):
            click.echo(note, err=True)
        if not (root / ".dvc").is_dir():
            found, fix = "this folder has no .dvc folder", "git init && dvc init"
            raise ConfigError(found, where=str(root), fix=fix)
        code = _run(project, targets, environ, force=force)
    sys.exit(code)


def _run(
    project: Project, targets: tuple[str, ...], environ: Mapping[str, str], *, force: bool
) -> int:
    """Runs the stages. Returns the exit code."""
    root = project.root
    with one_at_a_time(root) as lock:
        _mend_locks(root)
        options = ["--force"] if force else []
        if force and targets:
            options.append("--single-item")
        code = _dvc(root, ["repro", *options, *targets], lock, environ)
        for line in ask_witnesses(project, lambda: datetime.now(UTC)):
            click.echo(line, err=True)
    return code


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


def _mend_locks(root: Path) -> None:
    """Removes DVC's lock table if a kill left it half written, because DVC would not start with it.

    Nothing is lost: the processes it named ended with the killed run.
    """
    table = root / ".dvc" / "tmp" / "rwlock"
    for _ in range(LOOKS):
        try:
            json.loads(table.read_text(encoding="utf-8"))
            return
        except FileNotFoundError:
            return
        except ValueError:
            time.sleep(0.2)  # somebody's `dvc` may be writing it at this moment
    table.unlink(missing_ok=True)


@contextmanager
def one_at_a_time(root: Path) -> Iterator[int]:
    """Waits with a message while another run is active; yields the descriptor of the lock."""
    lock = root / ".dvc" / "tmp" / "countersign" / "repro.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            click.echo("waiting for another run to end (Ctrl-C to stop waiting)", err=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle.fileno()


def _environment() -> dict[str, str]:
    """For DVC and its stages. Programs are looked for beside this Python first."""
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    return {**os.environ, **HASH_SEED, "PATH": os.pathsep.join(folders)}


def _dvc(root: Path, arguments: list[str], lock: int, environ: Mapping[str, str]) -> int:
    """Runs DVC, which holds the lock too, because it may outlive this process by a moment.

    Returns its exit code, or that of the stage that failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        exit_file = Path(folder) / "exit"
        environ = {
            **environ,
            "COUNTERSIGN_EXIT_FILE": str(exit_file),
            dvc_process.RUN: str(os.getpid()),
        }
        command = [sys.executable, "-P", "-m", "pipelines.commands.dvc_process", *arguments]
        done = subprocess.run(command, cwd=root, env=environ, pass_fds=[lock], check=False)
        if done.returncode and exit_file.exists():
            return int(exit_file.read_text(encoding="ascii"))
        return done.returncode


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
