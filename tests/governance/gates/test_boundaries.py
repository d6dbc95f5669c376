"""Limits in time, at the limit and one microsecond on either side of it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from governance.attest.findings import finding
from governance.attest.predicates import Promotion
from governance.base.errors import RefusedError
from governance.base.time import exact_instant, instant_of
from governance.gates import decisions
from governance.gates.checks import models
from governance.machine.machine import signer
from governance.registry.governed.limit import HOUR, Limit
from governance.release import promotion
from tests.governance.governed import Governed, authorize, empty, principals
from tests.governance.story import MODEL, START, digest, tell

MICRO = timedelta(microseconds=1)
EARLIER, AT, LATER = -MICRO, timedelta(0), MICRO


def consumed_at(
    scene: Governed, at: datetime, version: str = "1", alias: str = "champion"
) -> Promotion:
    """A move that is decided at exactly this time."""
    story = scene.story
    door = promotion.Promoter(
        story.log, signer(story.machine), scene.table.move, story.asked, lambda: at
    )
    return door.consume(MODEL, version, alias, "cleo@server")


def codes_at(scene: Governed, at: datetime, version: str = "1") -> set[str]:
    """Why a promotion is refused at this time; nothing where it is not."""
    try:
        consumed_at(scene, at, version)
    except RefusedError as refused:
        return set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", str(refused)))
    return set()


def _approved(scene: Governed) -> None:
    frozen = scene.freeze()
    scene.approve("ada", "ml-lead", frozen)
    scene.approve("ben", "risk", frozen)


def _signed(scene: Governed, **fields: object) -> tuple[datetime, datetime]:
    """A request by cleo: from when, and until when it says."""
    scene.request(**fields)
    (said,) = promotion.state(scene.story.log).evidence.all("request")
    return instant_of(said.predicate.at), instant_of(said.predicate.expires)


@pytest.mark.parametrize(("moment", "is_open"), [(EARLIER, True), (AT, False), (LATER, False)])
def test_a_request_ends_at_its_expiry(scene: Governed, moment: timedelta, is_open: bool) -> None:
    _approved(scene)
    _, expires = _signed(scene)
    assert ("REQUEST_EXPIRED" not in codes_at(scene, expires + moment)) is is_open


@pytest.mark.parametrize(("moment", "is_open"), [(EARLIER, True), (AT, False), (LATER, False)])
def test_a_request_ends_after_request_hours(
    scene: Governed, moment: timedelta, is_open: bool
) -> None:
    """`request_hours: 24`, whatever expiry the request itself names."""
    _approved(scene)
    began, _ = _signed(scene, expires=exact_instant(scene.now + timedelta(days=9)))
    end = began + timedelta(hours=24)
    assert ("REQUEST_EXPIRED" not in codes_at(scene, end + moment)) is is_open


def _with_canary(folder: Path) -> Governed:
    """A tier that demands what only a waiver passes."""
    scene = empty(folder, tier="    canary: true\n")
    authorize(scene)
    tell(scene.story)
    return scene


@pytest.mark.parametrize(("moment", "is_open"), [(EARLIER, True), (AT, False), (LATER, False)])
def test_a_waiver_ends_at_its_expiry(tmp_path: Path, moment: timedelta, is_open: bool) -> None:
    scene = _with_canary(tmp_path)
    expires = scene.now + timedelta(hours=5)
    scene.waive("CANARY_MISSING", f"model {MODEL}", expires=exact_instant(expires))
    _approved(scene)
    _signed(scene)
    found = codes_at(scene, expires + moment)
    assert ("WAIVER_NOT_IN_FORCE" not in found) is is_open
    assert (found == set()) is is_open


@pytest.mark.parametrize(("more", "counts"), [(AT, True), (LATER, False)])
def test_a_waiver_lasts_max_days_at_most(tmp_path: Path, more: timedelta, counts: bool) -> None:
    """`max_days: 30`, from when it was signed."""
    scene = _with_canary(tmp_path)
    began = scene.now
    scene.waive(
        "CANARY_MISSING",
        f"model {MODEL}",
        at=exact_instant(began),
        expires=exact_instant(began + timedelta(days=30) + more),
    )
    _approved(scene)
    _signed(scene)
    assert (codes_at(scene, scene.now) == set()) is counts


@pytest.mark.parametrize(("moment", "counts"), [(EARLIER, True), (AT, False), (LATER, False)])
def test_an_approval_counts_until_its_expiry(
    scene: Governed, moment: timedelta, counts: bool
) -> None:
    frozen = scene.freeze()
    expires = scene.now + timedelta(hours=5)
    scene.approve("ada", "ml-lead", frozen)
    scene.approve("ben", "risk", frozen, expires=exact_instant(expires))
    _signed(scene)
    assert ("APPROVAL_MISSING" not in codes_at(scene, expires + moment)) is counts


@pytest.mark.parametrize(("moment", "is_due"), [(EARLIER, False), (AT, True), (LATER, True)])
def test_a_second_signature_is_overdue_after_its_hours(
    scene: Governed, moment: timedelta, is_due: bool
) -> None:
    """`second_signature_hours`, 72 where policy sets none, from the decision."""
    scene.released()
    first = scene.story.models["sft"]
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.98, unsafe=0.01)
    scene.story.register("sft", "2")
    scene.released("2")
    scene.request("1", action="rollback", model_digest=first, break_glass=True)
    began = scene.now
    moved = consumed_at(scene, began)
    assert moved.second_signature_by == exact_instant(began + timedelta(hours=72))
    state = promotion.state(scene.story.log)
    due = began + timedelta(hours=72)
    assert bool(state.timeline.overdue(due + moment)) is is_due


@pytest.mark.parametrize(("moment", "room"), [(EARLIER, False), (AT, True), (LATER, True)])
def test_a_count_of_calls_begins_anew_after_an_hour(moment: timedelta, room: bool) -> None:
    clock = [START]
    limit = Limit(lambda: clock[0], per_hour=2)
    assert [limit.count(("ada",)) for _ in range(4)] == [0, 0, 1, 2]
    assert not limit.has_room(("ada",)) and limit.has_room(("ben",))
    clock[0] = START + HOUR + moment
    assert limit.has_room(("ada",)) is room
    assert limit.count(("ada",)) == (0 if room else 3)


def test_findings_keep_the_order_of_the_table_and_stand_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two checks that find the same say it once, where the first said it; the same code about
    another subject is another finding.
    """
    first, second = (finding("DATACARD_MISSING", f"dataset {name}", "none") for name in "ba")
    checks = {
        "x": lambda _: [first, second],
        "y": lambda _: [second, first],
        "z": lambda _: [first],
    }
    found = decisions._run(checks, SimpleNamespace())  # type: ignore[arg-type, type-var]
    assert found == (first, second)


@pytest.mark.parametrize(
    ("at", "counts"),
    [
        ("2026-11-24T23:59:59.999999Z", True),
        ("2026-11-25T00:00:00Z", True),
        ("2026-11-25T23:59:59.999999Z", True),
        ("2026-11-26T00:00:00Z", False),
    ],
)
def test_a_person_signs_until_the_end_of_their_last_day(
    tmp_path: Path, at: str, counts: bool
) -> None:
    people = principals().replace('"name": "ben",', '"name": "ben", "until": "2026-11-25",')
    scene = empty(tmp_path, people=people)
    index = scene.approve("ben", "risk", digest("packet"), at=at)
    authority = promotion.state(scene.story.log).authority
    (said,) = [
        one
        for one in promotion.state(scene.story.log).evidence.all("approval")
        if one.index == index
    ]
    assert (authority.speaker(said) is not None) is counts


def test_two_keys_of_one_person_are_one_signer_and_two_people_are_two(tmp_path: Path) -> None:
    """What keeps an evaluation separate from the training it judges."""
    people = principals({"ada": ["ada", "ada2"], "ben": ["ben"], "cleo": ["cleo"]})
    scene = empty(tmp_path, people=people)
    for who, key in (("ada", "ada"), ("ada", "ada2"), ("ben", "ben")):
        scene.approve(who, "policy-owner", digest(f"packet {key}"), key=key)
    state = promotion.state(scene.story.log)
    first, second, other = list(state.evidence.all("approval"))[-3:]
    context = SimpleNamespace(authority=state.authority, governed=True)
    assert models.same_signer(context, first, second)  # type: ignore[arg-type]
    assert not models.same_signer(context, first, other)  # type: ignore[arg-type]
