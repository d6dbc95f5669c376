"""What the log says of calls on governed models: who was let through, and who was refused, however
often they try.
"""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from governance.base.errors import StorageError
from governance.history.verify import TrustAnchors, verify_log
from governance.machine.machine import signer
from governance.registry.governed.limit import PER_HOUR, Limit, is_told
from governance.registry.governed.rules import Call
from governance.registry.rows import NewVersion
from governance.release import promotion
from governance.release.reconcile import reconcile
from governance.server.context import GovernedLog
from tests.governance.killed import dying_at_write, in_child
from tests.governance.registry.place import MODEL, place, register, serving
from tests.governance.registry.tables import with_tables
from tests.governance.registry.world import World
from tests.postgres import Cluster

ALIAS = "registered-models/alias"
TOLD = 2
"""Counts that are told of some twenty more: the first and the tenth."""


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.nightly)]
)
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    environ = {}
    if request.param == "postgresql":
        found: Cluster = request.getfixturevalue("cluster")
        environ = {"COUNTERSIGN_LOG": found.database()}
    here = place(tmp_path_factory.mktemp("calls"), **environ)
    with serving(here) as server, pytest.MonkeyPatch.context() as patch:
        register(here, server, patch)  # the version of the story, in the registry, too
        yield World(here, server, patch)


def calls(world: World, kind: str = "call") -> list[Any]:
    return [item.predicate for item in promotion.state(world.scene.story.log).evidence.all(kind)]


def command(world: World, *words: str) -> str:
    program = [sys.executable, "-c", "from pipelines.cli import main; main()", *words]
    done = subprocess.run(
        program,
        cwd=world.scene.story.root,
        env=world.here.environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def whole(world: World) -> None:
    """The log verifies, and the registry is what it says."""
    log = world.scene.story.log
    report = verify_log(
        log,
        MODEL,
        world.scene.story.policies.keys,
        TrustAnchors(origin=log.entry(0).leaf_hash.hex()),
    )
    assert report.ok, report.broken
    assert reconcile(log, world.here.machine) == []


@pytest.mark.slow
def test_what_was_let_through_is_in_the_log_with_its_caller(world: World) -> None:
    before = len(calls(world))
    one, two = world.fresh().number, world.fresh().number
    assert world.server.ask("DELETE", ALIAS, {"name": MODEL, "alias": "candidate"}).status == 200
    assert world.server.ask("DELETE", ALIAS, {"name": MODEL, "alias": "candidate"}).status == 200, (
        "nothing to take"
    )
    for _ in range(2):
        assert world.move(one, "candidate").status == 200
    said = [
        (item.operation, item.version, item.alias, item.from_version, item.caller)
        for item in calls(world)[before:]
    ]
    moved, taken = "set_registered_model_alias", "delete_registered_model_alias"
    assert said == [
        ("create_model_version", one, None, None, "admin"),
        (moved, one, "candidate", "1", "admin"),
        ("create_model_version", two, None, None, "admin"),
        (moved, two, "candidate", one, "admin"),
        (taken, None, "candidate", two, "admin"),
        (moved, one, "candidate", None, "admin"),
    ]
    assert world.move("77", "candidate").status == 403
    shown = world.server.ask("GET", f"model-versions/get?name={MODEL}&version={one}").value[
        "model_version"
    ]
    body = {"name": MODEL, "source": shown["source"], "run_id": shown["run_id"]}
    made = world.server.ask("POST", "model-versions/create", body).value["model_version"]["version"]
    assert calls(world)[-1].version == made, "nobody registered it, and the log knows who made it"
    assert world.move(made, "candidate").status == 403
    history = command(world, "history", MODEL)
    assert (
        f"set candidate {two}  by account admin: accepted by rule; from version {one}" in history
    ), history
    assert f"take candidate away  by account admin: accepted by rule; from version {two}" in history
    decided = command(world, "show", f"{MODEL}/{one}", "decisions")
    assert "set_registered_model_alias candidate, called by admin" in decided, decided
    whole(world)


@pytest.mark.slow
def test_concurrent_callers_leave_a_chain(world: World) -> None:
    """Alias and entry commit together: each move begins where the one before it ended."""
    numbers = [world.fresh().number, world.fresh().number]
    before = len(calls(world))
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda n: world.move(numbers[n % 2], "candidate").status, range(24))
        )
    assert set(answers) <= {200, 409} and 200 in answers
    moves = [item for item in calls(world)[before:] if item.alias]
    steps = [(one.version, two.from_version) for one, two in pairwise(moves)]
    assert all(ended == began for ended, began in steps)
    held = world.server.ask("GET", f"{ALIAS}?name={MODEL}&alias=candidate").value["model_version"][
        "version"
    ]
    assert held == (moves[-1].version if moves else numbers[1])
    whole(world)


def refused_often(world: World, many: Sequence[tuple[str, str]]) -> int:
    """Entries that refused moves of (alias, version) made."""
    before = world.scene.story.log.size()
    answers = [world.move(version, alias) for alias, version in many]
    assert {one.status for one in answers} == {403}
    assert all("Countersign refuses" in one.message for one in answers), (
        "told to the caller each time"
    )
    return int(world.scene.story.log.size() - before)


@pytest.mark.slow
@pytest.mark.nightly
def test_a_hostile_client_does_not_fill_the_log(world: World) -> None:
    """Reasons that differ, decisions that differ, names without end: at most so many entries of a
    kind an hour.
    """
    versions = [world.fresh().number, world.fresh().number]
    tries = PER_HOUR + 20
    assert (
        refused_often(world, [(f"alias{n}", versions[0]) for n in range(tries)]) <= PER_HOUR + TOLD
    )
    said = calls(world, "refusal")[-1]
    assert said.model == MODEL and said.caller == "admin"
    assert said.reason == f"10 more within the hour, after {PER_HOUR} recorded ones"
    assert refused_often(world, [("champion", versions[n % 2]) for n in range(tries)]) == 0, (
        "they are counted together"
    )
    size = world.scene.story.log.size()
    for n in range(tries):
        hidden = "\u200b" * (n + 1)
        assert world.server.post("registered-models/create", name=f"{hidden}{MODEL}").status == 403
    assert world.scene.story.log.size() - size <= PER_HOUR + TOLD
    out = world.server.log.read_text(encoding="utf-8")
    assert out.count("by admin: policy does not know the alias") <= PER_HOUR
    assert f"10 more within the hour, after {PER_HOUR}" in out
    whole(world)


@pytest.mark.slow
@pytest.mark.nightly
def test_refused_decisions_are_bounded_too(world: World) -> None:
    """Another account has its own count: the one that is refused hides nobody else."""
    world.server.post("users/create", username="eve", password="password of eve")
    given = {
        "username": "eve",
        "resource_type": "registered_model",
        "resource_id": MODEL,
        "permission": "EDIT",
    }
    assert world.server.ask("POST", "/api/3.0/mlflow/users/permissions/grant", given).status == 200
    versions = [world.fresh().number, world.fresh().number]
    user, password = world.server.user, world.server.password
    world.server.user, world.server.password = "eve", "password of eve"
    try:
        made = refused_often(world, [("champion", versions[n % 2]) for n in range(PER_HOUR + 20)])
    finally:
        world.server.user, world.server.password = user, password
    assert PER_HOUR <= made <= PER_HOUR + TOLD
    assert [item.caller for item in calls(world, "promotion")[-PER_HOUR:]] == ["eve"] * PER_HOUR
    fresh = world.fresh()
    world.promote(fresh)
    assert world.holder() == fresh.number
    whole(world)


def given(version: str) -> Call:
    """The version becomes candidate."""
    return Call("set_registered_model_alias", MODEL, version=version, alias="candidate")


def test_an_alias_and_its_entry_commit_together_or_not_at_all(
    mlflow_tables: Path, tmp_path: Path
) -> None:
    here = place(tmp_path)
    log = here.scene.story.log
    with_tables(mlflow_tables, log.path)
    recorder = GovernedLog(log, signer(here.machine), here.machine, lambda: here.scene.now)
    size = log.size()
    with pytest.raises(StorageError, match="the registry has no version 9"):
        recorder.moved(given("9"), "ann")
    assert log.size() == size
    with sqlite3.connect(log.path) as database:
        database.execute(
            "INSERT INTO registered_models (workspace, name) VALUES ('default', ?)", (MODEL,)
        )
        row = (
            "INSERT INTO model_versions (workspace, name, version, current_stage) VALUES"
            " ('default', ?, 9, 'None')"
        )
        database.execute(row, (MODEL,))
    for _ in range(2):
        recorder.moved(given("9"), "ann")
    assert log.size() == size + 1, "moved to where it is, it is not moved"
    with sqlite3.connect(log.path) as database:
        database.execute("DROP TABLE registered_model_aliases")
    with pytest.raises(StorageError):
        recorder.moved(Call("delete_registered_model_alias", MODEL, alias="candidate"), "ann")
    assert log.size() == size + 1


def test_a_version_that_is_made_meanwhile_is_known(mlflow_tables: Path, tmp_path: Path) -> None:
    """Whoever asks to delete the next version before it is made does not get it."""
    here = place(tmp_path)
    log = here.scene.story.log
    with_tables(mlflow_tables, log.path)
    recorder = GovernedLog(log, signer(here.machine), here.machine, lambda: here.scene.now)
    with sqlite3.connect(log.path) as database:
        database.execute(
            "INSERT INTO registered_models (workspace, name) VALUES ('default', 'desk')"
        )
        database.execute(
            "INSERT INTO model_versions (workspace, name, version, current_stage) VALUES"
            " ('default', 'desk', 1, 'None')"
        )
    others = ("2", "0", "-1", "one", "9" * 5000)
    assert not recorder.knows("desk", "1")
    assert all(recorder.knows("desk", version) for version in others)
    call, new = Call("create_model_version", "desk"), NewVersion("desk", SOURCE, "0" * 32)
    assert recorder.made(call, new, "ann") == "2"
    assert [recorder.knows("desk", version) for version in ("1", "2", "3")] == [False, True, True]


SOURCE = f"mlflow-artifacts:/0/{'0' * 32}/artifacts/model"
RECORDED: dict[str, Callable[[GovernedLog], object]] = {
    "a version is made": lambda recorder: recorder.made(
        Call("create_model_version", MODEL, source=SOURCE),
        NewVersion(MODEL, SOURCE, "0" * 32, None, "new", {"team": "desk"}),
        "ann",
    ),
    "candidate is given": lambda recorder: recorder.moved(given("1"), "ann"),
}
ROWS = (
    "SELECT name, version, source, run_id, description FROM model_versions ORDER BY version",
    "SELECT version, key, value FROM model_version_tags",
    "SELECT alias, version FROM registered_model_aliases",
)


@pytest.mark.slow
@pytest.mark.parametrize("row", RECORDED)
def test_killed_before_each_write_the_log_knows_all_that_is_there(
    row: str, mlflow_tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = place(tmp_path)
    log = here.scene.story.log
    with_tables(mlflow_tables, log.path)
    recorder = GovernedLog(
        log, signer(here.machine), here.machine, lambda: datetime(2026, 11, 21, tzinfo=UTC)
    )
    with sqlite3.connect(log.path) as database:
        database.execute(
            "INSERT INTO registered_models (workspace, name) VALUES ('default', ?)", (MODEL,)
        )
    first = NewVersion(MODEL, SOURCE, "1" * 32)
    assert recorder.made(Call("create_model_version", MODEL), first, "ann") == "1"
    size, before, differences = log.size(), _rows(log.path), reconcile(log, here.machine)
    shutil.copy(log.path, tmp_path / "before.db")
    for moment in range(100):
        for suffix in ("", "-journal"):
            log.path.with_name(log.path.name + suffix).unlink(missing_ok=True)
        shutil.copy(tmp_path / "before.db", log.path)
        with dying_at_write(moment, monkeypatch):
            ended = in_child(lambda: RECORDED[row](recorder))
        found = log.size() - size
        assert (_rows(log.path) == before) == (found == 0), f"after a kill before write {moment}"
        assert reconcile(log, here.machine) == differences
        if ended == 0:
            assert found == 1
            break
        assert (ended, found) == (-signal.SIGKILL, 0)
    assert moment > 4


def _rows(path: Path) -> list[Any]:
    with sqlite3.connect(path) as database:
        return [database.execute(statement).fetchall() for statement in ROWS]


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 11, 20, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


def test_a_limit_counts_by_the_hour() -> None:
    clock = Clock()
    limit = Limit(clock, 2)
    assert [limit.count(("ann", "x")) for _ in range(4)] == [0, 0, 1, 2]
    assert not limit.has_room(("ann", "x")) and limit.has_room(("ben", "x"))
    clock.at += timedelta(minutes=59)
    assert limit.count(("ann", "x")) == 3
    clock.at += timedelta(minutes=1)
    assert limit.has_room(("ann", "x")) and limit.count(("ann", "x")) == 0


def test_counts_are_told_ever_more_seldom() -> None:
    assert [n for n in range(5000) if is_told(n)] == [1, 10, 100, 1000]
