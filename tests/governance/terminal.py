"""Somebody at a terminal: their key file, a command of theirs, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from governance.base.errors import CountersignError
from governance.commands import session
from governance.policy.rules import RIGHTS
from pipelines.cli import cli
from tests.governance.governed import Governed, keypair


def key_file(folder: Path, who: str) -> str:
    """The private key of `who`, in a file of that name; `ada2` is ada's second key."""
    path = folder / f"{who}.pem"
    path.write_bytes(keypair(who)[0])
    path.chmod(0o600)
    return str(path)


def at_terminal(scene: Governed, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the machine that keeps the log, in the project's folder, at the story's time; nobody's key
    is at hand.
    """
    monkeypatch.chdir(scene.story.root)
    for name, value in scene.story.machine.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(session, "clock", scene.story.now)


def run(*words: str, who: str = "", keys: Path = Path()) -> tuple[int, str]:
    """`countersign ...`, by a person where one is named: exit code, and what was said."""
    person = ["--key", key_file(keys, who), "--yes"] if who else []
    if words[0] == "promote" and "--reason" not in words:
        person += ["--reason", "because"]
    done = CliRunner().invoke(cli, [*words, *person])
    if isinstance(done.exception, CountersignError):
        return done.exception.exit_code, str(done.exception)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def people_file(
    path: Path, people: Mapping[str, tuple[str, str]], services: Mapping[str, tuple[str, str]]
) -> Path:
    """The file of `countersign init --people`: name to public key and `role,role`, or to public key
    and `kind,kind` or `all`.
    """
    kinds = {
        name: rights if rights != "all" else ",".join(RIGHTS)
        for name, (_, rights) in services.items()
    }
    content = {
        "people": {
            name: {"key": key, "roles": roles.split(",")} for name, (key, roles) in people.items()
        },
        "services": {
            name: {"key": key, "signs": kinds[name].split(",")}
            for name, (key, _) in services.items()
        },
    }
    path.write_text(json.dumps(content))
    return path
