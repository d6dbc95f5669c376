"""`countersign repro`: `dvc repro`, one run at a time, with the stage's own exit code.

Before any stage runs, `countersign ready` reports at once all that would refuse the run. Each stage
repeats its own checks when it runs. This process imports little: workers do the rest.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from governance.base.errors import ConfigError
from pipelines.isolation import HASH_SEED
from pipelines.process import RUN
from pipelines.workers.start import workers

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
    with workers(root, _environment()) as environ:
        code = _ready(root, [*(["--force"] if force else []), "--", *targets], environ)
        if code == 0 and not (root / ".dvc").is_dir():
            found, fix = "this folder has no .dvc folder", "git init && dvc init"
            raise ConfigError(found, where=str(root), fix=fix)
        code = code or _run(root, targets, environ, force=force)
    sys.exit(code)


def _ready(root: Path, arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Runs `countersign ready`, in a worker if there is one. Returns its exit code."""
    if click.get_current_context().find_root().params.get("debug"):
        environ = {**environ, "COUNTERSIGN_DEBUG": "1"}
    command = ["countersign", "ready", *arguments]
    return subprocess.run(command, cwd=root, env=environ, check=False).returncode


def _run(root: Path, targets: Sequence[str], environ: Mapping[str, str], *, force: bool) -> int:
    """Runs the stages. Returns the exit code."""
    with one_at_a_time(root) as lock:
        _mend_locks(root)
        options = ["--force"] if force else []
        if force and targets:
            options.append("--single-item")
        code = _dvc(root, ["repro", *options, *targets], lock, environ)
        _ready(root, ["--done"], environ)
    return code


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
            RUN: str(os.getpid()),
        }
        command = [sys.executable, "-P", "-m", "pipelines.commands.dvc_process", *arguments]
        done = subprocess.run(command, cwd=root, env=environ, pass_fds=[lock], check=False)
        if done.returncode and exit_file.exists():
            return int(exit_file.read_text(encoding="ascii"))
        return done.returncode
