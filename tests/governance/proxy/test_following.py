"""A proxy follows its log: what it reads, what it cannot read, and what does not verify."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from governance.base.errors import VerificationError
from governance.history.state import state
from governance.machine.machine import machine
from governance.proxy import following
from governance.proxy.following import Follower
from governance.proxy.permission import HOUR, Knowledge, verdict
from tests.governance.governed import Governed, begun, governed
from tests.governance.one_connection import one_connection as one_connection  # the fixture
from tests.governance.proxy.world import follower
from tests.governance.served import ACCOUNT, PASSWORD, serving
from tests.governance.story import MODEL


@dataclass
class Steady:
    """A clock that a test moves."""

    at: float = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """One version, champion by a decision; read only."""
    found = governed(tmp_path_factory.mktemp("once"))
    found.released()
    return found


@pytest.fixture
def scene(once: Governed, tmp_path: Path) -> Governed:
    """A copy of it, to go on with."""
    return once.copy(tmp_path)


@pytest.fixture
def steady() -> Steady:
    return Steady()


def told(known: Knowledge, steady: Steady) -> tuple[list[str], list[str], str]:
    """Versions that may be served, codes, and the state of the log."""
    now = verdict(known, steady())
    return (
        [held.name for held in now.allowed],
        [each.code for each in now.findings],
        now.log,
    )


SERVED = (["support-desk/1"], [], "current")


def test_a_log_that_did_not_grow_says_the_same(scene: Governed, steady: Steady) -> None:
    follows = follower(scene, steady)
    _, known = follows.begin()
    steady.at += 60
    later = follows.poll(known)
    assert later == replace(known, confirmed=steady.at)
    assert told(later, steady) == SERVED


@pytest.mark.parametrize("took", [0.0, 100.0], ids=["verified again", "its head verified"])
def test_an_incident_is_seen_at_the_next_reading(
    took: float, scene: Governed, steady: Steady
) -> None:
    follows = follower(scene, steady)
    _, known = follows.begin()
    follows._took = took
    scene.incident("1", "open")
    known = follows.poll(known)
    assert told(known, steady) == ([], ["INCIDENT_OPEN"], "current")
    scene.incident("1", "closed")
    assert told(follows.poll(known), steady) == SERVED


def test_a_log_that_cannot_be_read_is_trusted_as_long_as_policy_says(
    scene: Governed, steady: Steady
) -> None:
    follows = follower(scene, steady)
    _, known = follows.begin()
    scene.story.log.path.rename(scene.story.root / "away")
    known = follows.poll(known)
    assert told(known, steady) == (["support-desk/1"], [], "unreached")
    steady.at += 24 * HOUR
    known = follows.poll(known)
    assert told(known, steady) == (["support-desk/1"], [], "unreached")
    steady.at += 1
    assert told(known, steady) == ([], ["LOG_NOT_REACHED"], "stale")
    (scene.story.root / "away").rename(scene.story.log.path)
    assert told(follows.poll(known), steady) == SERVED


def removed(scene: Governed) -> None:
    """Somebody with the database lets an entry be forgotten."""
    with sqlite3.connect(scene.story.log.path) as database:
        database.execute("DROP TRIGGER countersign_entry_DELETE")
        database.execute(
            "DELETE FROM countersign_entry WHERE idx = (SELECT MAX(idx) FROM countersign_entry)"
        )


def another(scene: Governed) -> None:
    """Another log of this project stands in its place, whole, with keys of its own."""
    other = begun(scene.story.root.parent / "other")
    other.released()
    other.story.log.path.rename(scene.story.log.path)


SPOILED: dict[str, Callable[[Governed], None]] = {
    "an entry was removed": removed,
    "another log": another,
}


@pytest.mark.parametrize("row", SPOILED)
def test_a_log_that_does_not_verify_ends_serving(row: str, scene: Governed, steady: Steady) -> None:
    follows = follower(scene, steady)
    _, known = follows.begin()
    kept, path = scene.story.root / "kept", scene.story.log.path
    scene.freeze("1")  # the log grew
    shutil.copy(path, kept)
    SPOILED[row](scene)
    for _ in range(2):
        known = follows.poll(known)
        assert told(known, steady) == ([], ["LOG_NOT_VERIFIED"], "broken")
    path.unlink()  # gone is not mended
    known = follows.poll(known)
    assert told(known, steady) == ([], ["LOG_NOT_VERIFIED"], "broken")
    shutil.copy(kept, path)
    assert told(follows.poll(known), steady) == SERVED


def test_everything_is_verified_again_from_time_to_time(
    scene: Governed, steady: Steady, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the head stays as it is: somebody changes what is kept beside an entry."""
    follows = follower(scene, steady)
    _, known = follows.begin()
    with sqlite3.connect(scene.story.log.path) as database:
        database.execute("DROP TRIGGER countersign_entry_UPDATE")
        database.execute("UPDATE countersign_entry SET kind = 'x' WHERE kind = 'incident'")
        database.execute("UPDATE countersign_entry SET scope = 'x' WHERE kind = 'promotion'")
    assert told(follows.poll(known), steady) == SERVED
    steady.at += following.VERIFY_EVERY
    assert told(follows.poll(known), steady) == ([], ["LOG_NOT_VERIFIED"], "broken")


def test_a_log_over_http_is_followed(scene: Governed, tmp_path: Path, steady: Steady) -> None:
    with serving(scene.story.log) as server:
        environ = {
            "COUNTERSIGN_HOME": str(tmp_path / "elsewhere"),
            "COUNTERSIGN_LOG": server.url,
            "COUNTERSIGN_USER": ACCOUNT,
            "COUNTERSIGN_PASSWORD": PASSWORD,
            "COUNTERSIGN_ORIGIN": scene.story.log.entry(0).leaf_hash.hex(),
        }
        here = machine(MODEL, environ)
        follows = replace(follower(scene, steady), machine=here)
        _, known = follows.begin()
        assert told(known, steady) == SERVED
        scene.incident("1", "open")
        known = follows.poll(known)
        assert told(known, steady) == ([], ["INCIDENT_OPEN"], "current")
        scene.incident("1", "closed")
        known = follows.poll(known)
    missed = follows.poll(known)
    assert told(missed, steady) == (["support-desk/1"], [], "unreached")
    assert "reached" in missed.unreached


def test_at_the_start_it_refuses_what_the_loader_refuses(scene: Governed, steady: Steady) -> None:
    follows = replace(follower(scene, steady), pin="0" * 64)
    with pytest.raises(VerificationError, match="the pinned origin"):
        follows.begin()


def test_too_few_witnesses_do_not_renew_the_log(
    scene: Governed, steady: Steady, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What such a log says counts all the same: a rollback or an incident waits for no witness."""
    follows = follower(scene, steady)
    _, known = follows.begin()
    monkeypatch.setattr(Follower, "_is_witnessed", lambda self: False)
    steady.at += following.WITNESSES_EVERY
    known = follows.poll(known)
    assert told(known, steady) == (["support-desk/1"], [], "unreached")
    scene.incident("1", "open")
    assert told(follows.poll(known), steady)[1] == ["INCIDENT_OPEN"]
    scene.incident("1", "closed")
    steady.at += 24 * HOUR
    known = follows.poll(known)
    assert told(known, steady) == ([], ["LOG_NOT_REACHED"], "stale")
    assert state(scene.story.log).size == known.said.size
