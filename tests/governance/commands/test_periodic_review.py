"""`countersign periodic-review`: who may sign it, what it changes, and where an overdue review is
shown before and after it.
"""

from __future__ import annotations

import functools
from datetime import timedelta
from pathlib import Path

import pytest

from governance.commands import session
from tests.governance.commands.desk import Desk, desk_of
from tests.governance.governed import Governed, authorize, empty
from tests.governance.story import MODEL, tell

VERSION = f"{MODEL}/1"
RULE = "    review_every: 1\n    overdue_review: {grace_days: 10, then: stop_serving}\n"
"""The model itself says six months, which counts."""
SIGN = ("periodic-review", VERSION, "--reason", "read the report", "--yes")


@functools.cache
def _made(folder: Path) -> Governed:
    scene = empty(folder, tier=RULE)
    authorize(scene)
    tell(scene.story)
    return scene


@pytest.fixture
def desk(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Desk:
    """Version 1 is live since 2026-11-20."""
    made = _made(tmp_path_factory.getbasetemp() / "reviews")
    found = desk_of(made, tmp_path, monkeypatch)
    found.promoted("1")
    return found


def at(desk: Desk, days: int, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = desk.scene.now + timedelta(days=days)
    monkeypatch.setattr(session, "clock", lambda: moment)


def told(desk: Desk) -> dict[str, bool]:
    """Where the review is named."""
    pending = [wait for wait in desk.json("pending")["pending"] if wait["kind"] == "review"]
    fleet = desk.json("fleet")["projects"][0]
    return {
        "pending": bool(pending),
        "status": "periodic review" in desk.run("status")[1],
        "fleet": any("review of" in task["what"] for task in fleet["overdue"]),
    }


NOWHERE = dict.fromkeys(("pending", "status", "fleet"), False)


@pytest.mark.parametrize(
    ("days", "where"),
    [
        (100, NOWHERE),
        (170, {**NOWHERE, "pending": True}),
        (185, dict.fromkeys(NOWHERE, True)),
        (200, dict.fromkeys(NOWHERE, True)),
    ],
)
def test_an_overdue_review_is_named_until_somebody_reviews(
    days: int, where: dict[str, bool], desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(desk, days, monkeypatch)
    assert told(desk) == where
    late = days > 181
    assert ("PERIODIC REVIEW" in desk.run("live", MODEL)[1]) == late
    if late:
        words = "LAPSED: it is not served" if days > 192 else "OVERDUE"
        assert words in desk.run("status")[1]
        assert desk.run("fleet")[0] == 4
        code, said = desk.run(*SIGN, "--role", "risk", who="ben")
        assert code == 0 and "next review by 2027-" in said
        assert told(desk) == NOWHERE


def test_a_move_has_the_finding_until_somebody_reviews(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.another()
    at(desk, 200, monkeypatch)
    words = ("promote", f"{MODEL}/2", "--dry-run")
    found = desk.run(*words, who="cleo")[1]
    assert "REVIEW_STOPS_SERVING" in found and "countersign periodic-review support-desk/1" in found
    assert desk.run(*SIGN, "--role", "risk", who="ben")[0] == 0
    assert "REVIEW_" not in desk.run(*words, who="cleo")[1]


def test_the_reviewer_can_name_an_earlier_day(desk: Desk) -> None:
    code, said = desk.run(*SIGN, "--role", "risk", "--next-by", "2026-12-31", who="ben")
    assert code == 0 and "next review by 2026-12-31" in said
    assert "2026-12-31" in desk.run("live", MODEL)[1]
    assert "periodic review" in desk.run("history", MODEL)[1]


WRONG = [
    ("dora", (), 4, "may not say this"),
    ("ben", ("--role", "policy-owner"), 4, "may not say this"),
    ("ben", ("--role", "risk", "--next-by", "2026-02-30"), 2, "is no day"),
    ("ben", ("--role", "risk", "--next-by", "2026-11-20"), 2, "is over"),
    ("ben", ("--role", "risk", "--reason", " "), 2, "a reason is required"),
]


@pytest.mark.parametrize(("who", "words", "code", "says"), WRONG)
def test_what_would_not_count_is_not_signed(
    who: str, words: tuple[str, ...], code: int, says: str, desk: Desk
) -> None:
    before = desk.scene.story.log.size()
    found = desk.run(*SIGN, *words, who=who)
    assert found[0] == code and says in found[1]
    assert desk.scene.story.log.size() == before


def test_a_version_that_is_not_in_use_has_no_review(desk: Desk) -> None:
    desk.another()
    for version, says in (("2", "holds no governed alias"), ("9", "no version 9")):
        words = ("periodic-review", f"{MODEL}/{version}", "--reason", "x", "--role", "risk")
        code, found = desk.run(*words, "--yes", who="ben")
        assert code == 3 and says in found
