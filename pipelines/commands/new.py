"""`countersign new FOLDER`: a project of its own, which runs at once on sample data.

Everything is written to a folder beside FOLDER, which is then renamed: FOLDER is whole or not
there.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import click

from governance.base.errors import ConfigError, StorageError
from governance.base.home import state_home
from governance.base.yaml import NAME, is_name
from pipelines import lock
from pipelines.new_folder import beside
from pipelines.template import RECIPES
from pipelines.template_record import RECORD, current

IDENTITY = "git config --global user.name NAME; git config --global user.email ADDRESS"


@dataclass(frozen=True)
class Made:
    """What was made."""

    folder: str
    project: str
    recipe: str
    files: int
    remote: str | None
    """The address of the DVC remote, as it was given."""
    commit: str | None
    """The first commit; None where git made none."""
    note: str
    """Why there is no commit."""
    next: list[str]


@click.command("new")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    default="support-desk",
    show_default=True,
    help="What it trains: " + "; ".join(f"{name}: {each.what}" for name, each in RECIPES.items()),
)
@click.option("--name", help="The project's name; by default the folder's.")
@click.option(
    "--remote", metavar="URL", help="Where DVC shares data and models: s3://..., a folder."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(folder: Path, recipe: str, name: str | None, remote: str | None, as_json: bool) -> None:
    """Make a project in FOLDER: parameters, policies, stages and sample data."""
    target = Path(os.path.abspath(folder))  # noqa: PTH100 - links are not followed
    name = name_of(target, name)
    require_free(target)
    with appearing(target) as unfinished:
        count = write(unfinished, recipe, name)
        if remote:
            add_remote(unfinished, remote)
        commit, note = first_commit(unfinished, target)
        made = Made(
            str(folder),
            name,
            recipe,
            count,
            remote,
            commit,
            note,
            [_cd(folder), "make repro", "make test"],
        )
    if as_json:
        click.echo(json.dumps(asdict(made), indent=2, sort_keys=True))
    else:
        click.echo("\n".join(_shown(made)))


def name_of(target: Path, given: str | None) -> str:
    """The project's name. Raises `ConfigError` for one that cannot be one, or that this machine has
    a log of.
    """
    name = given or re.sub(r"[^a-z0-9_]+", "-", target.name.lower()).strip("-_")[:63]
    if not is_name(name):
        found = f"{given!r} is no name of a project" if given else f"no name in {target.name!r}"
        raise ConfigError(found, expected=NAME, fix="give it one: --name NAME")
    state = state_home(os.environ) / name
    if state.exists():
        found = f"this machine has a log or other state of the name {name!r} already"
        raise ConfigError(found, where=str(state), fix="give the project another name: --name NAME")
    return name


def require_free(target: Path) -> None:
    """Raises `ConfigError` unless the folder can be made: nothing is there, or it is empty."""
    if not target.parent.is_dir():
        found = "the folder that it would be in does not exist"
        raise ConfigError(found, where=str(target.parent), fix=f"mkdir -p {target.parent}")
    if target == Path.cwd():
        found, fix = "it is the working folder", f"cd .. && countersign new {target.name}"
        raise ConfigError(found, where=str(target), expected="a new folder", fix=fix)
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        found = "there is a file of that name"
        raise ConfigError(
            found, where=str(target), expected="a new folder", fix="give another name"
        )
    if target.is_dir() and any(target.iterdir()):
        found, fix = "the folder is not empty", "name a folder that does not exist yet"
        raise ConfigError(found, where=str(target), expected="a new folder", fix=fix)


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """A new folder beside `target` that takes its place when the block ends without an error."""
    try:
        with beside(target) as unfinished:
            yield unfinished
            unfinished.replace(target)
    except OSError as error:
        found = f"the project cannot be written: {error.strerror or error}"
        raise StorageError(found, where=str(target)) from None


def write(folder: Path, recipe: str, name: str) -> int:
    """Writes the files of the project; returns how many. Raises `ConfigError` where an engine of
    the stages is not installed.
    """
    template = current(recipe, name)
    content = {path: text.encode() for path, text in template.files.items()}
    content[RECORD.as_posix()] = template.dumps()
    for path, data in content.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    lock.write(folder)
    return len(content) + 1


def add_remote(folder: Path, remote: str) -> None:
    """Makes `remote` the project's DVC remote; a folder becomes an absolute path. Raises
    `ConfigError` for what DVC does not take, and for a password, which would be committed.
    """
    if "://" not in remote:
        remote = str(Path(os.path.abspath(remote)))  # noqa: PTH100 - links are not followed
    elif _has_password(remote):
        fix = "leave it out; `dvc remote modify --local storage password ...` keeps it out of git"
        raise ConfigError("the address holds a password", where="--remote", fix=fix)
    add = [sys.executable, "-P", "-m", "dvc", "remote", "add", "-q", "-d", "storage", remote]
    done = subprocess.run(
        add, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = " ".join(done.stderr.replace("ERROR:", "").split())[:200]
        raise ConfigError(f"DVC does not take it: {reason}", where="--remote")


def _has_password(remote: str) -> bool:
    try:
        return urlsplit(remote).password is not None
    except ValueError:
        return True


# --- git ------------------------------------------------------------------------------------------


def first_commit(folder: Path, target: Path) -> tuple[str | None, str]:
    """Makes a git repository with one commit. Returns its id; or None, and what to do instead."""
    if shutil.which("git") is None:
        found, fix = "git is not installed", "install it: DVC and the record of what ran need it"
        raise ConfigError(found, fix=fix)
    above = _git(target.parent, "rev-parse", "--show-toplevel")
    if above.returncode == 0:
        return None, f"it lies in the git repository {above.stdout.strip()}: commit it there"
    for arguments in (["init", "-q"], ["add", "-A"]):
        done = _git(folder, *arguments)
        if done.returncode:
            return None, f"git {arguments[0]} failed: {done.stderr.strip()[:200]}"
    done = _git(folder, "commit", "-q", "-m", "Start the project")
    if done.returncode:
        return None, f"git made no commit: {_reason(done.stderr)}; then: git commit -m start"
    return _git(folder, "rev-parse", "HEAD").stdout.strip(), ""


def _reason(said: str) -> str:
    """What git said, or what to do where it does not know who commits."""
    if "tell me who you are" in said or "ident name" in said:
        return f"tell it who you are ({IDENTITY})"
    return " ".join(said.split())[:200]


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """git without the variables that name another repository."""
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or _is_identity(name)
    }
    return subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={**environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def _is_identity(name: str) -> bool:
    return name.startswith(("GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_CONFIG"))


def _cd(folder: Path) -> str:
    """A command of a shell; `-folder` would be an option."""
    path = f"./{folder}" if str(folder).startswith("-") else str(folder)
    return f"cd {shlex.quote(path)}"


def _shown(made: Made) -> Iterator[str]:
    committed = f", commit {made.commit[:12]}" if made.commit else ""
    what = f"project {made.project}, recipe {made.recipe}, {made.files} files"
    yield f"{made.folder}: {what}{committed}"
    if made.note:
        yield f"note: {made.note}"
    yield "next:"
    yield from (f"  {step}" for step in made.next)
    yield "your own data: countersign add FILE"
    if not made.remote:
        yield "share data and models: dvc remote add -d storage URL; after a run: dvc push"
