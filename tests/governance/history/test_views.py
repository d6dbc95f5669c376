"""All readers of one log agree, at every size of it."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.base.errors import CountersignError
from governance.base.time import instant_of
from governance.history.state import LogHistory, LogState, state
from governance.history.timeline import Timeline
from governance.log.sqlite import SqliteLog
from governance.log.views import made_at
from governance.release import retrospect
from governance.report import status
from tests.conftest import examples
from tests.governance.governed import Governed
from tests.governance.history.views import check
from tests.governance.story import MODEL

OLD = Path(__file__).parent.parent / "log" / "old" / "log-0.2.sql"
AT = datetime(2026, 11, 20, 10, 46, tzinfo=UTC)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> LogHistory:
    """A log with registrations, votes, waivers, a rollback, a retirement and incidents."""
    path = tmp_path_factory.mktemp("old") / "countersign.db"
    with sqlite3.connect(path) as database:
        database.executescript(OLD.read_text(encoding="utf-8"))
    log = SqliteLog(path, MODEL)
    return LogHistory(log, log.size())


FIRST = 22
"""Entries of that log before the first version is registered and called candidate."""


@pytest.mark.parametrize("size", range(FIRST + 1, 74))
def test_at_every_size_of_a_log(size: int, history: LogHistory) -> None:
    check(history.state(size), AT)


def test_a_retired_version_stays_candidate_in_every_view(
    scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = scene.request("1", action="retire", alias="champion", from_version=None)
    scene.approve("ben", "risk", asked, "promotion")
    scene.consume("1", action="retire")
    now = state(scene.story.log)
    check(now, scene.now)
    (version,) = status.versions_of(now)
    assert version.aliases == ["candidate"]
    forgetful = _forgetful(status.versions_of)
    monkeypatch.setattr("tests.governance.history.views.versions_of", forgetful)
    with pytest.raises(AssertionError):
        check(now, scene.now)


PLANTED: dict[str, Any] = {
    "retirements": property(lambda self: {}),
    "consumed_requests": property(lambda self: frozenset()),
    "holders": property(lambda self: {}),
    "open_incidents": lambda self, digest: [],
    "pending_requests": lambda self, at: [],
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_disagreement_is_found(
    name: str, history: LogHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Timeline, name, PLANTED[name])
    with pytest.raises((AssertionError, CountersignError)):
        for size in (56, 60, 62, 73):
            check(history.state(size), AT)


def _forgetful(versions: Any) -> Any:
    """As `status` once was: a retirement takes `candidate`, too."""

    def told(now: LogState) -> list[status.VersionState]:
        return [
            one.model_copy(update={"aliases": []})
            if (one.model, one.version) in now.timeline.retirements
            else one
            for one in versions(now)
        ]

    return told


PEOPLE = [("ada", "ml-lead"), ("ben", "risk"), ("cleo", "product"), ("eve", "visitor")]
versions = st.sampled_from(["1", "2"])
actions = st.one_of(
    st.tuples(st.just("freeze"), versions),
    st.tuples(
        st.just("vote"), versions, st.sampled_from(PEOPLE), st.sampled_from(["approve", "reject"])
    ),
    st.tuples(st.just("request"), versions, st.sampled_from(["promote", "rollback", "retire"])),
    st.tuples(st.just("second"), st.sampled_from(PEOPLE)),
    st.tuples(st.just("consume"), versions, st.sampled_from(["promote", "rollback", "retire"])),
    st.tuples(
        st.just("incident"),
        versions,
        st.sampled_from(["open", "closed"]),
        st.sampled_from(PEOPLE[:2]),
    ),
    st.tuples(st.just("waive"), versions),
    st.tuples(st.just("release"), versions),
)


class Desk:
    """Two versions of one model, and what people do with them."""

    def __init__(self, scene: Governed) -> None:
        self.scene = scene
        self.digests = {"1": scene.story.models["sft"]}
        scene.story.train(
            "sft", "sft", "conversation", "desk_sft", "base", accuracy=0.98, unsafe=0.01
        )
        scene.story.register("sft", "2")
        self.digests["2"] = scene.story.models["sft"]
        self.packets: dict[str, str] = {}
        self.request = ""

    def do(self, what: str, *rest: Any) -> None:
        version = rest[0] if rest and isinstance(rest[0], str) else ""
        if version:
            self.scene.story.models["sft"] = self.digests[version]
        getattr(self, what)(*rest)

    def freeze(self, version: str) -> None:
        self.packets[version] = self.scene.freeze(version)

    def vote(self, version: str, who: tuple[str, str], decision: str) -> None:
        if version in self.packets:
            self.scene.approve(*who, self.packets[version], decision=decision)

    def request_(self, version: str, action: str) -> None:
        held = self.scene.held()
        self.request = self.scene.request(
            version, action=action, from_version=held, break_glass=action == "rollback"
        )

    def second(self, who: tuple[str, str]) -> None:
        if self.request:
            self.scene.approve(*who, self.request, "promotion")

    def consume(self, version: str, action: str) -> None:
        self.scene.consume(version, action=action)

    def incident(self, version: str, said: str, who: tuple[str, str]) -> None:
        self.scene.incident(version, said, *who)

    def waive(self, version: str) -> None:
        self.scene.waive("INCIDENT_OPEN", f"model {MODEL}")

    def release(self, version: str) -> None:
        self.freeze(version)
        for who in PEOPLE[:2]:
            self.vote(version, who, "approve")
        self.request_(version, "promote")
        self.consume(version, "promote")


@pytest.mark.slow
@examples(6)
@given(done=st.lists(actions, min_size=3, max_size=14))
def test_after_whatever_people_do(life: Governed, done: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(life.copy(Path(folder)))
        for what, *rest in done:
            with suppress(CountersignError):  # refused, and logged
                desk.do("request_" if what == "request" else what, *rest)
        now = state(desk.scene.story.log)
        check(now, desk.scene.now)
        held = {
            key: one.version for key, one in now.timeline.holders.items() if key[1] == "champion"
        }
        assert held == desk.scene.table.held  # what the promoter did to the registry


def test_what_was_known_at_a_time_holds_nothing_later(history: LogHistory) -> None:
    """Version 1 served at 9:50; the rollback, the retirement and all incidents came later."""
    whole = history.state(73)
    moves = {item.index: item.predicate.at for item in whole.timeline.moves}
    for index, at in moves.items():
        then = whole.as_of(instant_of(at))
        assert max(item.index for item in then.timeline.moves) == index
        known = [instant_of(made_at(item)) for item in then.evidence.all()]
        assert max(known) <= instant_of(at)
    promoted = next(at for index, at in moves.items() if index == 29)
    (live,) = [
        one
        for one in retrospect.live(whole.as_of(instant_of(promoted)), MODEL, instant_of(promoted))
        if one.alias == "champion"
    ]
    assert (live.version, live.incident, live.second_signature_overdue) == ("1", None, None)


def test_a_statement_dated_in_the_future_hides_no_other(scene: Governed) -> None:
    scene.incident("1", "open", at="2027-01-01T00:00:00Z")
    scene.asked_for()
    now = state(scene.story.log)
    assert now.as_of(scene.now).size == now.size
    assert now.timeline.open_incidents(scene.story.models["sft"])
    assert not now.as_of(scene.now).timeline.open_incidents(scene.story.models["sft"])
    assert now.as_of(scene.now).timeline.open_requests(MODEL)
