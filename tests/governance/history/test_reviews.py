"""By when a version in use is reviewed again: a table of what happened, at which moment, and what
follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.base.errors import RefusedError
from governance.base.time import instant_of
from governance.history.reviews import Review, lapse, next_reviews
from governance.history.timeline import Timeline
from governance.policy.policies import Policies
from governance.policy.rules import OverdueReview
from governance.release import promotion
from governance.release.serving import late_review, resolve, reviewed
from tests.governance.governed import Governed, governed
from tests.governance.observed import failing, observe, observed
from tests.governance.story import MODEL

BLOCK = OverdueReview(grace_days=10, then="block_moves")
STOP = OverdueReview(grace_days=0, then="stop_serving")
WARN = OverdueReview(grace_days=0, then="warn")
RELEASED = date(2026, 11, 20)


def policies(now: promotion.LogState, months: int | None, rule: OverdueReview | None) -> Policies:
    """Those in force, with another interval and rule."""
    rules = now.authority.policies.rules
    model = rules.models[MODEL].model_copy(update={"review_every": None})
    change = {"review_every": months, "overdue_review": rule}
    tiers = {name: tier.model_copy(update=change) for name, tier in rules.tiers.items()}
    changed = rules.model_copy(update={"models": {MODEL: model}, "tiers": tiers})
    return replace(now.authority.policies, rules=changed)


def reviews(
    scene: Governed,
    at: str,
    months: int | None = 6,
    rule: OverdueReview | None = BLOCK,
) -> list[Review]:
    now = promotion.state(scene.story.log)
    timeline = Timeline(now.evidence, now.authority)
    return next_reviews(timeline, policies(now, months, rule), instant_of(at))


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """Released on 2026-11-20; read only."""
    scene = governed(tmp_path_factory.mktemp("reviews"))
    scene.released()
    return scene


@pytest.fixture
def scene(live: Governed, tmp_path: Path) -> Governed:
    copy = live.copy(tmp_path)
    copy.table.held[MODEL, "champion"] = "1"
    return copy


DUE: dict[str, tuple[int | None, OverdueReview | None, str, tuple[str, str, str] | None]] = {
    # months, what policy says of overdue reviews, the moment; due, state, what follows
    "no interval": (None, BLOCK, "2027-11-20T12:00:00Z", None),
    "in time": (6, BLOCK, "2027-01-01T12:00:00Z", ("2027-05-20", "in time", "")),
    "on the last day": (6, BLOCK, "2027-05-20T23:59:59.999999Z", ("2027-05-20", "in time", "")),
    "a moment later": (6, BLOCK, "2027-05-21T00:00:00Z", ("2027-05-20", "overdue", "")),
    "on the last day of grace": (
        6, BLOCK, "2027-05-30T23:59:59Z", ("2027-05-20", "overdue", ""),
    ),
    "after the grace": (6, BLOCK, "2027-05-31T00:00:00Z", ("2027-05-20", "lapsed", "moves")),
    "no grace": (6, STOP, "2027-05-21T00:00:00Z", ("2027-05-20", "lapsed", "moves, serving")),
    "no grace, on the last day": (6, STOP, "2027-05-20T23:00:00Z", ("2027-05-20", "in time", "")),
    "policy only warns": (6, WARN, "2028-05-21T00:00:00Z", ("2027-05-20", "lapsed", "")),
    "policy says nothing": (6, None, "2028-05-21T00:00:00Z", ("2027-05-20", "overdue", "")),
    "into a shorter month": (3, BLOCK, "2027-02-20T23:00:00Z", ("2027-02-20", "in time", "")),
    "a year, over a leap day": (24, BLOCK, "2028-11-20T23:00:00Z", ("2028-11-20", "in time", "")),
    "before it was released": (6, BLOCK, "2026-11-20T00:00:00Z", None),
}  # fmt: skip


@pytest.mark.parametrize("name", DUE)
def test_when_a_review_is_due_and_what_follows(name: str, live: Governed) -> None:
    months, rule, at, wanted = DUE[name]
    found = [(str(each.due), each.state, follows(each)) for each in reviews(live, at, months, rule)]
    assert found == ([wanted] if wanted else [])


def follows(review: Review) -> str:
    blocked = {"moves": review.blocks_moves, "serving": review.stops_serving}
    return ", ".join(name for name, is_blocked in blocked.items() if is_blocked)


Act = Callable[[Governed], object]


@dataclass(frozen=True)
class Row:
    act: Act
    due: str | None
    """None where no review is due."""
    at: str = "2027-03-01T12:00:00Z"


def later(scene: Governed, days: int = 60) -> Governed:
    scene.story.minutes += days * 24 * 60
    return scene


def second(scene: Governed) -> Governed:
    """Version 2 took the alias, sixty days later."""
    later(scene).story.train("sft2", "sft", "conversation", "desk_sft", "base", accuracy=0.98)
    scene.story.register("sft2", "2")
    scene.released("2")
    return scene


def back(scene: Governed) -> Governed:
    """Version 1 got it back by a rollback, sixty days later again."""
    later(second(scene))
    asked = scene.request("1", action="rollback")
    scene.approve("ben", "risk", asked, "promotion")
    scene.consume("1", action="rollback")
    return scene


def retired(scene: Governed) -> None:
    asked = scene.request(action="retire")
    scene.approve("ben", "risk", asked, "promotion")
    scene.consume(action="retire")


REVIEWED: dict[str, Row] = {
    "nobody reviewed it": Row(lambda scene: None, "2027-05-20"),
    "an approver reviewed it": Row(lambda scene: later(scene).review(), "2027-07-19"),
    "another approver reviewed it": Row(
        lambda scene: later(scene).review("1", "ada", "ml-lead"), "2027-07-19"
    ),
    "reviewed by who may not approve it": Row(
        lambda scene: later(scene).review("1", "dora", "engineer"), "2027-05-20"
    ),
    "reviewed in a role that its signer lacks": Row(
        lambda scene: later(scene).review("1", "dora", "risk"), "2027-05-20"
    ),
    "reviewed in another's name": Row(
        lambda scene: later(scene).review("1", "eve", "risk", principal="ben"), "2027-05-20"
    ),
    "a review of another version": Row(
        lambda scene: later(scene).review("2"), "2027-05-20"
    ),
    "a review in another log": Row(
        lambda scene: later(scene).review("1", log="0" * 64), "2027-05-20"
    ),
    "a review that is dated ahead": Row(
        lambda scene: scene.review("1", at="2027-03-02T12:00:00.000000Z"), "2027-05-20"
    ),
    "the last of several reviews": Row(
        lambda scene: [later(scene, 30).review(), later(scene, 30).review()], "2027-07-19"
    ),
    "an earlier date that the reviewer named": Row(
        lambda scene: later(scene).review("1", next_by="2027-03-31"), "2027-03-31"
    ),
    "a later date that the reviewer named": Row(
        lambda scene: later(scene).review("1", next_by="2029-03-31"), "2027-07-19"
    ),
    "a date that an earlier reviewer named": Row(
        lambda scene: [later(scene).review("1", next_by="2027-02-01"), later(scene, 5).review()],
        "2027-07-24",
    ),
    "another version took the alias": Row(second, "2027-07-19"),
    "back by a rollback": Row(back, "2027-05-20", "2027-04-01T12:00:00Z"),
    "retired": Row(retired, None),
}  # fmt: skip


@pytest.mark.parametrize("name", REVIEWED)
def test_what_counts_as_a_review(name: str, scene: Governed) -> None:
    row = REVIEWED[name]
    row.act(scene)
    assert [str(each.due) for each in reviews(scene, row.at)] == ([row.due] if row.due else [])


# -- Monitoring ------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """Released on 2026-11-20, with limits of monitoring; read only."""
    return observed(tmp_path_factory.mktemp("watched"))


def window(number: int, day: str, **fields: Any) -> Callable[[Governed], None]:
    times = {"begins": f"{day}T09:00:00.000Z", "ends": f"{day}T10:00:00.000Z"}
    return lambda scene: observe(scene, **times, **{"window": number, **fields})


def bad(number: int, day: str) -> Callable[[Governed], None]:
    return window(number, day, **failing(7))


def slow(number: int, day: str) -> Callable[[Governed], None]:
    return window(number, day, latency=[0] * 9 + [115] + [0] * 5)


def review(day: str) -> Callable[[Governed], None]:
    return lambda scene: scene.review("1", at=f"{day}T12:00:00.000000Z")


BREACHED: dict[str, tuple[tuple[Act, ...], str, str]] = {
    # what happened; due, the limit that makes it due
    "nothing was observed": ((), "2027-05-20", ""),
    "limits are kept": ((window(1, "2027-01-10"),), "2027-05-20", ""),
    "a limit is not kept": ((bad(1, "2027-01-10"),), "2027-01-10", "errors"),
    "for several windows": (
        (window(1, "2027-01-08"), bad(2, "2027-01-10"), bad(3, "2027-01-12")), "2027-01-10", "errors",
    ),
    "kept again": ((bad(1, "2027-01-10"), window(2, "2027-01-12")), "2027-05-20", ""),
    "kept again, and then not": (
        (bad(1, "2027-01-10"), window(2, "2027-01-12"), bad(3, "2027-01-14")), "2027-01-14", "errors",
    ),
    "stated in another order": ((bad(2, "2027-01-12"), bad(1, "2027-01-10")), "2027-01-10", "errors"),
    "another limit since an earlier day": (
        (slow(1, "2027-01-10"), window(2, "2027-01-11", **failing(7, latency=[0] * 9 + [113] + [0] * 5))),
        "2027-01-10",
        "slow",
    ),
    "a reviewed breach": (
        (bad(1, "2027-01-10"), review("2027-01-11"), bad(2, "2027-01-12")), "2027-07-11", "",
    ),
    "a new breach after a review": (
        (bad(1, "2027-01-10"), review("2027-01-11"), window(2, "2027-01-12"), bad(3, "2027-01-14")),
        "2027-01-14",
        "errors",
    ),
    "before the release": ((bad(1, "2026-11-18"),), "2027-05-20", ""),
    "later than the moment": ((bad(1, "2027-03-10"),), "2027-05-20", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", BREACHED)
def test_a_breached_limit_makes_a_review_due(name: str, watched: Governed, tmp_path: Path) -> None:
    acts, due, measure = BREACHED[name]
    scene = watched.copy(tmp_path)
    for act in acts:
        act(scene)
    (found,) = reviews(scene, "2027-03-01T12:00:00Z")
    assert (str(found.due), found.breach.finding.measure if found.breach else "") == (due, measure)


def test_a_breached_limit_needs_no_interval(watched: Governed, tmp_path: Path) -> None:
    scene = watched.copy(tmp_path)
    bad(1, "2027-01-10")(scene)
    (found,) = reviews(scene, "2027-01-11T00:00:00Z", None, STOP)
    assert found.stops_serving


@given(
    st.dates(date(2026, 1, 1), date(2100, 1, 1)),
    st.integers(0, 400),
    st.integers(0, 3 * 366 * 86_400),
)
def test_the_grace_ends_at_a_midnight_and_never_before_its_days(
    due: date, grace: int, seconds: int
) -> None:
    ends = lapse(due, OverdueReview(grace_days=grace, then="warn"))
    assert ends is not None and ends.tzinfo is UTC
    assert (ends.hour, ends.minute, ends.second) == (0, 0, 0)
    moment = datetime.combine(due, datetime.min.time(), UTC) + timedelta(seconds=seconds)
    assert (moment >= ends) == ((moment.date() - due).days > grace)


# -- Serving ---------------------------------------------------------------------------------------
SERVED: dict[str, tuple[str, int, bool, bool]] = {
    # what policy says, days since the release; served, said to be overdue
    "in time": ("stop_serving", 10, True, False),
    "within the grace": ("stop_serving", 33, True, True),
    "after the grace": ("stop_serving", 45, False, True),
    "after the grace, where policy blocks moves": ("block_moves", 45, True, True),
    "after the grace, where policy warns": ("warn", 45, True, True),
}


@pytest.mark.parametrize("reference", [f"{MODEL}@champion", f"{MODEL}/1"])
@pytest.mark.parametrize("name", SERVED)
def test_a_lapsed_version_is_not_served_where_policy_says_so(
    name: str, reference: str, live: Governed
) -> None:
    then, days, is_served, is_late = SERVED[name]
    rule = OverdueReview.model_validate({"grace_days": 10, "then": then})
    now, at = promotion.state(live.story.log), live.now + timedelta(days=days)
    _with(now, policies(now, 1, rule))
    served = resolve(now, reference)
    assert (late_review(now, served, at) is not None) == is_late
    if not is_served:
        with pytest.raises(RefusedError, match="periodic-review"):
            reviewed(now, served, at)
        return
    assert bool(reviewed(now, served, at).review) == is_late


def test_a_version_that_is_not_in_use_needs_no_review(scene: Governed) -> None:
    second(scene)
    now = promotion.state(scene.story.log)
    _with(now, policies(now, 1, STOP))
    at = scene.now + timedelta(days=15)
    assert late_review(now, resolve(now, f"{MODEL}/1"), at) is None


def _with(now: Any, changed: Policies) -> None:
    """Puts other policies in force in a state of a log."""
    period = replace(now.authority.in_force, policies=changed)
    periods = (*now.authority.periods[:-1], period)
    authority = replace(now.authority, periods=periods)
    now.__dict__["timeline"] = Timeline(now.evidence, authority)
