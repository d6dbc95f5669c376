"""A process killed before each of its writes: then the old state stands or the new, and log and
registry agree.

Every moment begins from the same place. What was killed is run again, and finishes: one request,
one move, nothing twice. That is done once for each state which a kill leaves. On SQLite before every
fourth write; at night before each, and on PostgreSQL where it is installed.
"""

from __future__ import annotations

import shutil
import signal
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from governance.commands import session
from governance.history.verify import TrustAnchors, verify_log
from governance.log.copies import extend
from governance.log.port import Log
from governance.machine.machine import Machine, log_of, machine
from governance.machine.signers import CHECKPOINT, stored_signer
from governance.release import promotion
from pipelines.cli import COMMANDS, cli
from tests.conftest import KILL_STEP
from tests.governance.governed import TABLES, Governed, governed
from tests.governance.killed import dying_at_write, in_child
from tests.governance.story import MODEL
from tests.governance.terminal import key_file

pytestmark = pytest.mark.slow

ALIASES = "SELECT alias, version FROM registered_model_aliases ORDER BY alias"


@dataclass(frozen=True)
class Before:
    """A place as it stands before a command."""

    folder: Path
    scene: Governed


@dataclass
class Place:
    """A copy of it, to be killed in."""

    machine: Machine
    address: str

    @property
    def log(self) -> Log:
        return log_of(self.machine)

    def rows(self) -> list[Any]:
        """The registry's aliases."""
        if self.address.startswith("sqlite"):
            with sqlite3.connect(self.address.removeprefix("sqlite:///")) as database:
                return database.execute(ALIASES).fetchall()
        with psycopg.connect(self.address) as connection:
            return connection.execute(ALIASES).fetchall()

    def state(self) -> tuple[str | None, int, int]:
        """Who is champion as log and registry say, which must agree; how many requests and
        approvals there are.
        """
        now = promotion.state(self.log)
        keys = now.authority.keys
        key = stored_signer(self.machine.keys, CHECKPOINT).public_pem
        report = verify_log(self.log, MODEL, keys, TrustAnchors(checkpoint_key=key))
        assert report.ok, report.broken
        held = now.holder(MODEL, "champion")
        champion = held.version if held else None
        assert [str(version) for alias, version in self.rows() if alias == "champion"] == (
            [champion] if champion else []
        )
        return (
            champion,
            len(list(now.evidence.all("request"))),
            len(list(now.evidence.all("approval"))),
        )


def ready(folder: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> Governed:
    """Version 1 serves and version 2 is `approved`, `released`, or only `read` by ben, whose word
    lacks.
    """
    scene = governed(folder)
    database = scene.story.machine.state / "countersign.db"
    with sqlite3.connect(database) as connection:
        connection.executescript(TABLES)
    scene.released("1")
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.98)
    scene.story.register("sft", "2")
    frozen = scene.freeze("2")
    scene.approve("ada", "ml-lead", frozen)
    for who in ("ben", "cleo"):
        key_file(folder, who)
    if how == "read":
        _read_by_ben(scene, folder, monkeypatch)
    else:
        scene.approve("ben", "risk", frozen)
    if how == "released":
        scene.request("2")
        scene.consume("2")
    with sqlite3.connect(database) as connection:
        connection.execute(
            "INSERT INTO registered_model_aliases VALUES ('default', 'support-desk',"
            " 'champion', ?)",
            (scene.held(),),
        )
    return scene


def _read_by_ben(scene: Governed, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """He is shown the page: who was not, cannot approve."""
    at = scene.story.now()
    with monkeypatch.context() as patched:
        patched.setattr(session, "clock", lambda: at)
        for name, value in scene.story.machine.environ.items():
            patched.setenv(name, value)
        patched.chdir(scene.story.root)
        cli.main(["review", f"{MODEL}/2", "--key", str(folder / "ben.pem")], standalone_mode=False)


def in_postgres(scene: Governed, address: str) -> None:
    """The scene's log and aliases, in a PostgreSQL database."""
    story = scene.story
    copy = log_of(replace(story.machine, log_uri=address))
    entries, kept = story.log.page(0, story.log.size())
    extend(
        copy, [(one, sorted(kept[one.index].subjects)) for one in entries], story.log.checkpoint()
    )  # type: ignore[attr-defined]
    with psycopg.connect(address) as connection:
        for statement in TABLES.split(";"):
            if statement.strip():
                connection.execute(statement)
        connection.execute(
            "INSERT INTO registered_model_aliases VALUES ('default', 'support-desk',"
            " 'champion', %s)",
            (int(scene.held() or 0),),
        )


COPIES = iter(range(1_000_000))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.nightly)])
def databases(request: pytest.FixtureRequest) -> Callable[[Before, Path], str]:
    """The address of a fresh copy of a place's database; the folder has the copy for SQLite."""
    if request.param == "sqlite":
        return lambda before, folder: f"sqlite:///{folder / 'home' / MODEL / 'countersign.db'}"
    cluster = request.getfixturevalue("cluster")
    templates: dict[Path, str] = {}

    def copied(before: Before, folder: Path) -> str:
        if before.folder not in templates:
            templates[before.folder] = cluster.database()
            in_postgres(before.scene, templates[before.folder])
        name, template = f"killed{next(COPIES)}", templates[before.folder].rpartition("/")[2]
        with psycopg.connect(cluster.uri("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return str(cluster.uri(name))

    return copied


@pytest.fixture(scope="module")
def befores() -> dict[str, Before]:
    """Made once each."""
    return {}


ROWS: dict[str, tuple[str, list[str], str, tuple[str, int, int], tuple[str, int, int]]] = {
    # from where, a command, by whom, and what log and registry say before and after it
    "promote": (
        "approved",
        ["promote", "support-desk/2", "--reason", "serve it"],
        "cleo",
        ("1", 1, 6),
        ("2", 2, 6),
    ),
    "rollback": (
        "released",
        ["rollback", MODEL, "--reason", "wrong", "--break-glass"],
        "cleo",
        ("2", 2, 6),
        ("1", 3, 6),
    ),
    "approve": (
        "read",
        ["approve", "support-desk/2", "--role", "risk", "--reason", "read"],
        "ben",
        ("1", 1, 5),
        ("1", 1, 6),
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_killed_before_a_write(
    row: str, databases: Callable[[Before, Path], str], befores: dict[str, Before], tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    how, words, who, old, new = ROWS[row]
    if how not in befores:
        folder = tmp_path_factory.mktemp(how)
        befores[how] = Before(folder, ready(folder, how, monkeypatch))
    before, outcomes, sizes = befores[how], [], set()
    at = before.scene.story.now()
    monkeypatch.setattr(session, "clock", lambda: at)
    for moment in range(0, 100, KILL_STEP):
        place = _place(before, databases, tmp_path / str(moment), monkeypatch)
        assert moment or place.state() == old
        arguments = [*words, "--key", str(before.folder / f"{who}.pem"), "--yes", "--json"]
        with dying_at_write(moment, monkeypatch):
            ended = in_child(lambda a=arguments: cli.main(a, standalone_mode=False))  # type: ignore[misc]
        found = place.state()
        assert found[0] in (old[0], new[0]), f"after a kill before write {moment}"
        if ended == 0:
            assert found == new
            break
        assert ended == -signal.SIGKILL, ended
        outcomes.append(found)
        if place.log.size() not in sizes:
            sizes.add(place.log.size())
            again = in_child(lambda a=arguments: cli.main(a, standalone_mode=False))  # type: ignore[misc]
            assert again == 0 and place.state() == new, f"run again, killed before write {moment}"
        shutil.rmtree(tmp_path / str(moment))
    assert len(outcomes) > 8 // KILL_STEP
    assert outcomes[0] == old and set(outcomes) <= {
        old,
        (old[0], new[1], old[2]),
    }, "a request may be left in between"


def _place(
    before: Before,
    databases: Callable[[Before, Path], str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Place:
    """A copy of everything, and this process's environment and working folder in it."""
    shutil.copytree(before.folder, folder)
    address = databases(before, folder)
    environ = {
        **before.scene.story.machine.environ, "COUNTERSIGN_HOME": str(folder / "home"),
        "COUNTERSIGN_LOG": address, "COUNTERSIGN_REGISTRY": address,
    }  # fmt: skip
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder / "project")
    return Place(machine(MODEL, environ), address)


def test_every_command_that_moves_an_alias_is_killed_here() -> None:
    assert set(ROWS) <= set(COMMANDS)
