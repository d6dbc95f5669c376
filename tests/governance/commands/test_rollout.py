"""`countersign rollout`: from a request to a promotion, over the commands that people and services
use.
"""

from __future__ import annotations

import functools
import json
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from governance.base.time import exact_instant
from tests.governance.commands.desk import Desk, desk_of
from tests.governance.governed import Governed, keypair
from tests.governance.rollout.rolling import desk as rolling_desk
from tests.governance.story import MODEL

VERSION = f"{MODEL}/2"
ASK = (
    "rollout",
    "request",
    VERSION,
    "--shares",
    "10,50",
    "--hours",
    "48",
    "--expected",
    "errors=0.02",
)
GOOD, BAD = ((9000, 180), (1000, 20)), ((9000, 180), (1000, 300))


@functools.cache
def _made(folder: Path) -> Governed:
    return rolling_desk(folder, "    canary: true\n")


@pytest.fixture
def desk(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Desk:
    found = desk_of(_made(tmp_path_factory.getbasetemp() / "rollouts"), tmp_path, monkeypatch)
    monkeypatch.setenv("COUNTERSIGN_SIGNER", "env:PROXY_KEY")
    monkeypatch.setenv("PROXY_KEY", keypair("proxy")[0].decode())
    with sqlite3.connect(found.scene.story.machine.state / "countersign.db") as database:
        values = ("default", MODEL, "champion", 1)
        database.execute("INSERT INTO registered_model_aliases VALUES (?, ?, ?, ?)", values)
    return found


def ok(desk: Desk, *words: str, who: str = "") -> Any:
    more = ("--reason", "because") if who else ()
    code, told = desk.run(*words, *more, "--json", who=who)
    assert code == 0, told
    return json.loads(told)


def window(
    desk: Desk, arms: tuple[tuple[int, int], tuple[int, int]], weight: int, **more: Any
) -> Path:
    """The file of what was observed until now, for five minutes."""
    now = desk.scene.now
    figures = [{"count": count, "total": ones, "squares": ones} for count, ones in arms]
    said = {
        "started": exact_instant(now - timedelta(minutes=5)),
        "finished": exact_instant(now),
        "weight": weight,
        "metrics": {"errors": dict(zip(("old", "new"), figures, strict=True))},
        **more,
    }
    path = desk.folder / "window.json"
    path.write_text(json.dumps(said))
    return path


def observe(desk: Desk, *arms: Any, weight: int = 1_000, **more: Any) -> Any:
    desk.scene.story.minutes += 30
    path = window(desk, arms or GOOD, weight, **{"gap": "a test", **more})
    return ok(desk, "rollout", "observe", VERSION, "--window", str(path))


def only(desk: Desk) -> Any:
    return ok(desk, "rollout", "status", MODEL)["rollouts"][0]


def test_a_version_is_promoted_after_a_passed_rollout(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, told = desk.run("promote", VERSION, "--dry-run", who="cleo")
    assert code == 4 and "CANARY_MISSING" in told
    asked = ok(desk, *ASK, who="cleo")
    assert asked["weights"] == [1_000, 5_000] and asked["guardrails"][0]["margin"] == 0.05
    assert only(desk)["state"] == "requested"
    waits = [row for row in desk.json("pending")["pending"] if row["kind"] == "rollout"]
    assert [row["people"] for row in waits] == [["ada", "ben"]]
    started = ok(
        desk,
        "rollout",
        "widen",
        VERSION,
        who="ben",
    )
    assert (started["action"], started["weight"], started["number"]) == ("start", 1_000, 1)
    assert observe(desk)["reaction"] is None
    assert ok(desk, "rollout", "widen", VERSION, who="ben")["weight"] == 5_000
    seen = observe(desk, (3000, 60), (3000, 60), weight=5_000)
    assert seen["reaction"]["action"] == "pass" and seen["state"] == "passed"
    monkeypatch.setenv("COUNTERSIGN_SIGNER", "env:CI_KEY")
    desk.approved("2")
    code, told = desk.run("promote", VERSION, who="cleo")
    assert code == 0, told
    assert desk.rows() == [("champion", 2)]
    assert only(desk)["state"] == "moved" and only(desk)["weight"] == 0
    code, told = desk.run("history", MODEL)
    assert "rollout asked for" in told and "rollout step 3: pass" in told
    _, told = desk.run("verify")
    assert "every move of a governed alias was repeated, with the same result" in told


def test_a_harmful_version_is_aborted(desk: Desk) -> None:
    ok(desk, *ASK, who="cleo")
    ok(desk, "rollout", "widen", VERSION, who="ben")
    seen = observe(desk, *BAD)
    assert (seen["reaction"]["action"], seen["reaction"]["metrics"]) == ("abort", ["errors"])
    assert (seen["state"], seen["weight"]) == ("aborted", 0)
    code, told = desk.run("rollout", "widen", VERSION, "--reason", "x", who="ben")
    assert code == 4 and "aborted" in told
    code, told = desk.run("rollout", "status", MODEL)
    assert told.startswith("ABORTED: support-desk/2 has 0 % of champion")
    assert "errors: HARMFUL; 0.3 beside 0.02" in told


def test_what_was_due_is_done_after_a_restart(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service is stopped between the window and its reaction."""
    from governance.rollout import automation

    ok(desk, *ASK, who="cleo")
    ok(desk, "rollout", "widen", VERSION, who="ben")

    class Stopped(BaseException):
        pass

    def stop(*of: object) -> None:
        raise Stopped

    desk.scene.story.minutes += 30
    path = str(window(desk, BAD, 1_000))
    with monkeypatch.context() as patched:
        patched.setattr(automation, "react", stop)
        with pytest.raises(Stopped):
            desk.run("rollout", "observe", VERSION, "--window", path)
    assert only(desk)["windows"] == 1 and only(desk)["state"] == "open"
    code, told = desk.run("rollout", "observe", VERSION, "--window", path)
    assert code == 4 and "ROLLOUT_WINDOW" in told  # it is not counted twice
    assert ok(desk, "rollout", "observe", VERSION)["reaction"]["action"] == "abort"
    assert ok(desk, "rollout", "observe", VERSION)["reaction"] is None


REFUSED: dict[str, tuple[tuple[str, ...], str, int, str]] = {
    "nobody asked": (("widen", VERSION), "ben", 3, "nobody has asked"),
    "a version that does not exist": (("request", f"{MODEL}/9"), "cleo", 3, "no version 9"),
    "the holder itself": (("request", f"{MODEL}/1"), "cleo", 2, "from one model to another"),
    "a role that may not": (("request", VERSION), "eve", 4, "may not say this"),
    "too long": (("request", VERSION, "--hours", "97"), "cleo", 4, "ROLLOUT_NOT_PERMITTED"),
    "shares that descend": (("request", VERSION, "--shares", "5,1"), "cleo", 2, "ascend"),
    "no share": (("request", VERSION, "--shares", "1,many"), "cleo", 2, "no number"),
    "a share of 0.001 %": (("request", VERSION, "--shares", "0.001"), "cleo", 2, "no share"),
    "more than all": (("request", VERSION, "--shares", "101"), "cleo", 2, "no share"),
    "an unknown guardrail": (
        ("request", VERSION, "--guardrail", "speed=1"), "cleo", 2, "no guardrail 'speed'",
    ),
    "half a guardrail": (("request", VERSION, "--guardrail", "speed:higher"), "cleo", 2, "LOW:HIGH"),
    "a margin beyond policy": (
        ("request", VERSION, "--guardrail", "errors=0.2"), "cleo", 4, "ROLLOUT_NOT_PERMITTED",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_before_anything_is_signed(name: str, desk: Desk) -> None:
    words, who, expected, why = REFUSED[name]
    size = desk.scene.story.log.size()
    code, told = desk.run("rollout", *words, "--reason", "x", who=who)
    assert (code, why in told) == (expected, True), told
    assert desk.scene.story.log.size() == size


SPOILED = {
    "no JSON": "{",
    "another form": "[]",
    "no window": "{}",
    "not finite": '{"metrics": {"errors": {"old": {"count": 1, "total": NaN, "squares": 1}}}}',
    "too large": " " * (1 << 20) + "{}",
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_window_is_refused(name: str, desk: Desk) -> None:
    ok(desk, *ASK, who="cleo")
    path = desk.folder / "window.json"
    path.write_text(SPOILED[name])
    code, told = desk.run("rollout", "observe", VERSION, "--window", str(path))
    assert code == 3 and "no window" in told
    code, told = desk.run("rollout", "observe", VERSION, "--window", str(desk.folder / "none"))
    assert code == 3 and "cannot be read" in told


def test_a_service_without_the_right_observes_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ok(desk, *ASK, who="cleo")
    monkeypatch.setenv("COUNTERSIGN_SIGNER", "env:CI_KEY")
    code, told = desk.run("rollout", "observe", VERSION)
    assert code == 2 and "rollout_window" in told


def test_a_dry_run_writes_nothing(desk: Desk) -> None:
    size = desk.scene.story.log.size()
    code, told = desk.run(*ASK, "--reason", "x", "--dry-run", who="cleo")
    assert code == 0 and "dry run" in told and "at most 0.05 more" in told
    assert desk.scene.story.log.size() == size


def test_a_rollout_shows_how_it_stood_at_a_time(desk: Desk) -> None:
    ok(desk, *ASK, who="cleo")
    at = exact_instant(desk.scene.now + timedelta(hours=49))
    assert ok(desk, "rollout", "status", "--at", at)["rollouts"][0]["state"] == "overdue"
    assert desk.run("rollout", "status", "other")[1] == "no rollout\n"
