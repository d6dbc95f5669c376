"""Which events a log gives, and that they hold no text and no person."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest

from governance.base.errors import RefusedError
from governance.base.time import exact_instant
from governance.events import derive, event
from governance.events.derive import Place, of_entries, of_tasks
from governance.events.event import TYPES, Event
from governance.history.state import LogState, state
from governance.people.pending import About, Reason, Wait, pending
from tests.governance.governed import PEOPLE, Governed, authorize, empty
from tests.governance.story import MODEL, START, tell

PLANTED = "PLANTED Jane Doe jane@example.org"
SERVER = "https://countersign.example.org"


def place(now: LogState) -> Place:
    return Place(MODEL, now.log.entry(0).leaf_hash.hex(), SERVER)


def entries(scene: Governed, since: int = 0) -> list[Event]:
    now = state(scene.story.log)
    return of_entries(now, since, place(now))


def tasks(
    scene: Governed, at: datetime, told: dict[str, int] | None = None
) -> tuple[list[Event], dict[str, int]]:
    now = state(scene.story.log)
    return of_tasks(pending(now, at), told or {}, now.size, at, place(now))


def types(events: Iterable[Event]) -> list[str]:
    return [each.type for each in events]


def test_moves_and_incidents_are_events_in_the_order_of_the_log(whole: Governed) -> None:
    found = entries(whole)
    assert types(found) == [
        "promotion.done",
        "promotion.done",
        "incident.opened",
        "incident.closed",
    ]
    indices = [each.data.entry for each in found]
    assert indices == sorted(indices, key=lambda index: index or 0)
    first = found[0].data
    assert (first.model, first.version, first.alias) == (MODEL, "1", "champion")
    assert first.link == f"{SERVER}/#/models/{MODEL}/versions/1"
    assert first.entry is not None and first.entries == first.entry + 1
    assert entries(whole, first.entries) == found[1:]


def test_a_refusal_says_its_codes(scene: Governed) -> None:
    since = scene.story.log.size()
    with pytest.raises(RefusedError):
        scene.consume()
    (refused,) = entries(scene, since)
    assert refused.type == "promotion.refused" and "APPROVAL_MISSING" in refused.data.codes


def test_an_approval_is_wanted_until_it_is_given(scene: Governed) -> None:
    (first,), told = tasks(scene, scene.now)
    assert (first.type, first.data.reason) == ("packet.wanted", "no_packet")
    frozen = scene.freeze()
    (second,), told = tasks(scene, scene.now, told)
    assert (second.type, second.data.digest) == ("approval.wanted", frozen)
    scene.approve("ada", "ml-lead", frozen)
    again, told = tasks(scene, scene.now, told)
    assert again == []
    scene.approve("ben", "risk", frozen)
    (third,), told = tasks(scene, scene.now, told)
    assert (third.type, third.data.alias) == ("request.wanted", "champion")
    scene.request()
    assert tasks(scene, scene.now, told) == ([], {})


def test_a_waiver_is_told_of_three_times(scene: Governed) -> None:
    scene.freeze()
    scene.waive("PII_REMAINING", "dataset desk_sft", days=20)
    told: dict[str, int] = {}
    seen = []
    for day in (0, 5, 7, 18, 19.5, 19.9, 20.5, 21, 40):
        found, told = tasks(scene, scene.now + timedelta(days=day), told)
        seen += [(day, each.type) for each in found if each.type.startswith("waiver")]
    assert seen == [(7, "waiver.ending"), (19.5, "waiver.due"), (20.5, "waiver.ended")]


CLOCK = (
    "clocks: {fast: {rule: a law, to: an office, in_force: 2020-01-01, source: 'https://example.org',"
    " enabled: true, applies_to: [leak], trigger: awareness, length: 72, unit: hours}}\n"
)


@pytest.fixture(scope="module")
def with_clock(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    folder = tmp_path_factory.mktemp("clock")
    made = empty(folder, edit=lambda policies: (policies / "clocks.yaml").write_text(CLOCK))
    authorize(made)
    tell(made.story)
    return made


def test_a_legal_clock_is_told_of_as_it_runs_and_is_late(
    with_clock: Governed, tmp_path: Path
) -> None:
    scene = with_clock.copy(tmp_path)
    since = scene.story.log.size()
    scene.incident("1", "open", kinds=["leak"], severity="high")
    (opened,) = entries(scene, since)
    assert (opened.type, opened.data.severity) == ("incident.opened", "high")
    told: dict[str, int] = {}
    seen = []
    for hours in (0, 1, 47, 49, 60, 73, 100):
        found, told = tasks(scene, scene.now + timedelta(hours=hours), told)
        seen += [each for each in found if each.type.startswith("clock")]
    assert types(seen) == ["clock.started", "clock.due", "clock.late"]
    assert {(each.data.code, each.data.entry) for each in seen} == {("fast", since)}
    scene.incident("1", "open", filed={"fast": exact_instant(scene.now)})
    assert types(entries(scene, since)) == ["incident.opened", "incident.updated"]
    assert not [key for key in tasks(scene, scene.now, told)[1] if key.startswith("clock")]


def test_no_text_and_no_person_is_in_any_event(with_clock: Governed, tmp_path: Path) -> None:
    """Texts are planted in whatever a person writes."""
    scene = with_clock.copy(tmp_path)
    now = scene.now
    planned = {"owner": PLANTED, "control": PLANTED, "reason": PLANTED}
    scene.waive("PII_REMAINING", "dataset desk_sft", **planned)
    scene.waive(PLANTED, PLANTED, **planned)
    frozen = scene.freeze()
    found = tasks(scene, now)[0]
    scene.approve("ada", "ml-lead", frozen, reason=PLANTED)
    scene.approve("ben", "risk", frozen, reason=PLANTED)
    scene.request(reason=PLANTED)
    scene.consume()
    said = {"reason": PLANTED, "actions": [PLANTED], "informed": [PLANTED], "cause": PLANTED}
    scene.incident("1", "open", kinds=["leak"], **said)
    scene.incident("1", "closed", effective=PLANTED, **said)
    scene.request(reason=PLANTED, action="rollback")
    found += entries(scene)
    for hours in (0, 0.5, 24 * 6.5, 24 * 8, 24 * 365 + 5):
        found += tasks(scene, now + timedelta(hours=hours))[0]
    assert {
        *("approval.wanted", "incident.opened", "clock.started", "clock.late", "waiver.ended"),
        "authorization.ended",
    } <= {*types(found)}
    words = {*PLANTED.split(), *PEOPLE, "desk_sft", "sft", "risk", "somebody", "because"}
    for each in found:
        text = each.body.decode()
        leaves = {str(leaf) for leaf in json.loads(text)["data"].values()}
        assert PLANTED not in text and not words & leaves, text
        for word in (*PLANTED.split(), "desk_sft", "release-manager"):
            assert word not in text, text


def test_every_kind_of_task_has_types_that_are_listed() -> None:
    assert set(derive.TOPICS) == set(get_args(Reason)), "name the new reason in TOPICS"
    used = {kind for topic in (*derive.TOPICS.values(), derive.OTHER) for kind in topic if kind}
    assert used <= set(TYPES)


def test_a_kind_of_task_that_no_table_names_is_not_silent() -> None:
    due = exact_instant(START + timedelta(hours=1))
    wait = Wait.model_construct(reason="new", due=due, about=About(entry=3))
    place = Place(MODEL, "ab" * 32)
    found, told = of_tasks([wait, wait], {}, 5, START, place)
    assert types(found) == ["task.wanted", "task.due"]
    assert of_tasks([wait], told, 5, START, place) == ([], told)
    late, _ = of_tasks([wait], told, 6, START + timedelta(hours=2), place)
    assert types(late) == ["task.late"]


def test_what_cannot_be_a_name_is_left_out() -> None:
    assert event.model_name("desk\n") is None and event.model_name("Jane Doe") is None
    assert event.version_name("1; drop") is None and event.code_name("jane@example.org") is None
    assert event.code_name("PII_REMAINING") == "PII_REMAINING"
    assert event.link("https://a.example/p/", None, "1") == "https://a.example/p/"
