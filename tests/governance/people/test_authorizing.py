"""A run is in a person's name only with an authorization of theirs that covers it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from governance.machine.machine import log_of, machine
from governance.people.authorizing import on_behalf
from tests.governance.governed import empty
from tests.governance.people.desk import Desk, desk
from tests.governance.story import MODEL, START

YES = "--yes"


@pytest.fixture
def at_desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return desk(tmp_path, empty(tmp_path), monkeypatch)


def authenticated(d: Desk, name: str, hours: float = 0.5) -> bool:
    """Whether a run by `name` that begins so many hours from now is theirs."""
    here = machine(
        MODEL, {"COUNTERSIGN_HOME": str(d.folder / "home"), "COUNTERSIGN_REQUESTER": name}
    )
    return on_behalf(
        here, d.scene.story.log, d.scene.now + timedelta(hours=hours)
    ).requester.authenticated


def test_an_authorization_covers_its_person_for_its_time(at_desk: Desk) -> None:
    d = at_desk
    assert not authenticated(d, "dora")
    done = d.must("dora", "authorize", "--hours", "2", YES, "--json").json
    assert (
        authenticated(d, "dora") and not authenticated(d, "ada") and not authenticated(d, "dora", 4)
    )
    here = machine(
        MODEL, {"COUNTERSIGN_HOME": str(d.folder / "home"), "COUNTERSIGN_REQUESTER": "dora"}
    )
    asked = on_behalf(here, d.scene.story.log, d.scene.now + timedelta(minutes=30)).requester
    assert (asked.name, asked.authorization) == ("dora", done["authorization"])


def test_nobody_authorizes_for_another(at_desk: Desk) -> None:
    d = at_desk
    d.must("ada", "authorize", "--hours", "2", YES)
    assert not authenticated(d, "dora")
    assert "do not name this key" in d.refused("stranger", "authorize", "--hours", "2", YES)
    assert "the key of service ci" in d.refused("ci", "authorize", "--hours", "2", YES)


def test_a_revoked_key_s_earlier_authorization_stands_and_no_later_one(at_desk: Desk) -> None:
    d = at_desk
    d.must("dora", "authorize", "--hours", "2", YES)
    d.must("ada", "revoke", "dora", "--reason", "gone", YES)
    assert authenticated(d, "dora")  # what was said before stands; its end is near
    assert "was revoked" in d.refused("dora", "authorize", "--hours", "2", YES)


def test_a_machine_without_a_log_claims_only(tmp_path: Path) -> None:
    here = machine(MODEL, {"COUNTERSIGN_HOME": str(tmp_path), "COUNTERSIGN_REQUESTER": "dora"})
    assert on_behalf(here, log_of(here), START) is here
