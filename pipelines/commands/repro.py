"""`countersign repro`: `dvc repro`, one run at a time, with the stage's own exit code.

Before any stage runs it checks parameters, policies, log and registry, and reports all mistakes at
once. Each stage repeats its own checks when it runs.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click

from governance.attest.findings import finding
from governance.attest.requests import refusal
from governance.base.errors import ConfigError, CountersignError, Problems, RefusedError
from governance.base.yaml import read_yaml
from governance.log.http_client import is_server
from governance.machine.machine import known_signer, log_of
from governance.people import authorizing
from governance.policy.authority import read_authority
from governance.registry.rest import RegistryServer
from pipelines import versions
from pipelines.commands import dvc_process
from pipelines.families import all_families, family, mistakes_of, names
from pipelines.isolation import HASH_SEED
from pipelines.project import Project, open_project

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
    project = open_project(root, os.environ)
    check_parameters(project)
    if not force:
        check_evidence(project)
    if not targets:
        check_registry(project)
    if note := unauthorized_note(project, datetime.now(UTC)):
        click.echo(note, err=True)
    if not (root / ".dvc").is_dir():
        found, fix = "this folder has no .dvc folder", "git init && dvc init"
        raise ConfigError(found, where=str(root), fix=fix)
    with _one_at_a_time(root) as lock:
        versions.write(root)
        _mend_locks(root)
        options = ["--force"] if force else []
        if force and targets:
            options.append("--single-item")
        code = _dvc(root, ["repro", *options, *targets], lock)
    sys.exit(code)


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
def _one_at_a_time(root: Path) -> Iterator[int]:
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


def _dvc(root: Path, arguments: list[str], lock: int) -> int:
    """Runs DVC, which holds the lock too, because it may outlive this process by a moment.

    Returns its exit code, or that of the stage that failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        exit_file = Path(folder) / "exit"
        environ = {
            **os.environ,
            **HASH_SEED,
            "COUNTERSIGN_EXIT_FILE": str(exit_file),
            dvc_process.RUN: str(os.getpid()),
        }
        folders = [str(Path(sys.executable).parent), environ.get("PATH", "")]
        environ["PATH"] = os.pathsep.join(folders)
        command = [sys.executable, "-P", "-m", "pipelines.commands.dvc_process", *arguments]
        done = subprocess.run(command, cwd=root, env=environ, pass_fds=[lock], check=False)
        if done.returncode and exit_file.exists():
            return int(exit_file.read_text(encoding="ascii"))
        return done.returncode


# --- checks before any stage runs -----------------------------------------------------------------


def check_parameters(project: Project) -> None:
    """Raises the mistake, or `Problems` with all mistakes."""
    families = all_families().values()
    wrong = [mistake for family in families for mistake in family.mistakes(project)]
    wrong += _signer_mistakes(project)
    if wrong:
        raise wrong[0] if len(wrong) == 1 else Problems(wrong)


def check_evidence(project: Project) -> None:
    """Raises `RefusedError` if DVC has made stages already but the log is empty, so that nothing
    here counts.
    """
    log = log_of(project.machine)
    if log.size():
        return
    stages = _made(project.root)
    if stages:
        subject = f"project {project.machine.project}"
        message = f"outputs of {len(stages)} stages are here, but the log is empty"
        expected = f"a log with statements by {', '.join(stages)}"
        step = (
            "use the log that has their evidence (COUNTERSIGN_HOME or COUNTERSIGN_LOG), "
            "or run all stages again: countersign repro --force"
        )
        found, code = f"an empty log, {log.where}", "EVIDENCE_MISSING"
        missing = finding(code, subject, message, expected=expected, found=found, next=step)
        raise RefusedError(refusal("repro", (missing,)))


def check_registry(project: Project) -> None:
    """Raises an error if the registry's server cannot be reached or does not know the account,
    because the run would fail at its end.
    """
    uri = project.machine.registry_uri
    if is_server(uri):
        RegistryServer(uri, project.machine.environ).check_account()


def unauthorized_note(project: Project, at: datetime) -> str:
    """A note if people decide about aliases and nobody has authorized the run; else empty."""
    log = log_of(project.machine)
    if not log.size():
        return ""
    policies = read_authority(log).in_force.policies
    if policies is None or not policies.rules.aliases:
        return ""
    requester = authorizing.on_behalf(project.machine, log, at).requester
    if requester.authenticated:
        return ""
    return (
        f"note: {requester.name} has not authorized this run, so its results can become candidate"
        " only; next: run `countersign authorize` and set COUNTERSIGN_REQUESTER"
    )


def _made(root: Path) -> list[str]:
    """The stages that leave evidence, count as made for DVC and have an output here."""
    lock = read_yaml(root / "dvc.lock") if (root / "dvc.lock").exists() else None
    stages = lock.get("stages", {}) if isinstance(lock, dict) else {}
    return [
        name
        for name, stage in stages.items()
        if _leaves_evidence(name.partition("@")[0])
        and any((root / str(out["path"])).exists() for out in stage.get("outs", []))
    ]


def _leaves_evidence(name: str) -> bool:
    return name in names() and family(name).evidence is not None


def _signer_mistakes(project: Project) -> Iterator[CountersignError]:
    """Mistakes of a configured signer: it does not exist, or policies do not know it."""
    if project.machine.signer_uri is not None:
        yield from mistakes_of(partial(known_signer, project.machine, project.policies.keys))
