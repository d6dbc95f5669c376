"""`countersign incident`: what people say adds up, the clocks that it starts, and what was late."""

from __future__ import annotations

import functools
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from governance.base.time import exact_instant
from governance.bundle.form import read as read_bundle
from governance.policy.policies import load_policies
from tests.governance.commands.desk import Desk, desk_of
from tests.governance.governed import Governed, authorize, empty
from tests.governance.story import MODEL, tell

VERSION = f"{MODEL}/1"
WHO = ("--role", "risk", "--yes")
ROW = (
    "rule: a law, to: an office, in_force: 2020-01-01, source: 'https://example.org', enabled: true"
)
CLOCKS = f"""
clocks:
  fast: {{{ROW}, applies_to: [leak], trigger: awareness, length: 72, unit: hours}}
  classed: {{{ROW}, applies_to: [leak], trigger: classification, length: 4, unit: hours}}
  last: {{{ROW}, applies_to: [leak], trigger: notification, after: fast, length: 1, unit: months}}
  other: {{{ROW}, applies_to: [fire], trigger: awareness, length: 1, unit: days}}
  future: {{{ROW.replace("2020", "2999")}, applies_to: [leak], trigger: awareness, length: 1, unit: days}}
  disabled: {{{ROW.replace("true", "false")}, applies_to: [leak], trigger: awareness, length: 1, unit: days}}
"""


@functools.cache
def _made(folder: Path) -> Governed:
    scene = empty(folder, edit=lambda policies: (policies / "clocks.yaml").write_text(CLOCKS))
    authorize(scene)
    tell(scene.story)
    return scene


@pytest.fixture
def desk(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Desk:
    made = _made(tmp_path_factory.getbasetemp() / "incidents")
    return desk_of(made, tmp_path, monkeypatch)


def states(desk: Desk, *words: str) -> dict[str, str]:
    _, told = desk.run("incident", "clocks", "--json", *words)
    return {row["clock"]: row["state"] for row in json.loads(told)["clocks"]}


def said(desk: Desk, action: str, *words: str) -> dict[str, Any]:
    code, told = desk.run(
        "incident", action, VERSION, "--reason", "x", *WHO, *words, "--json", who="ben"
    )
    assert code == 0, told
    found: dict[str, Any] = json.loads(told)
    return found


def later(desk: Desk, **more: float) -> str:
    return exact_instant(desk.scene.story.now() + timedelta(**more))


def test_an_incident_starts_the_clocks_of_its_kind(desk: Desk) -> None:
    opened = said(desk, "open", "--kind", "leak", "--severity", "high", "--informed", "the office")
    assert {row["clock"]: row["state"] for row in opened["clocks"]} == {
        "fast": "due", "classed": "waits", "last": "waits"
    }  # fmt: skip
    assert states(desk) == {"fast": "due", "classed": "waits", "last": "waits"}
    at = later(desk, hours=73)
    code, told = desk.run("incident", "clocks", "--at", at)
    assert code == 4 and "LATE       fast" in told and "written from memory" in told
    assert states(desk, "support-desk/1") == states(desk)


def test_what_was_filed_is_in_time_or_late_and_starts_the_next(desk: Desk) -> None:
    said(desk, "open", "--kind", "leak")
    desk.scene.story.minutes += 60
    said(desk, "update", "--classified", later(desk, minutes=-30))
    assert states(desk)["classed"] == "due"
    desk.scene.story.minutes += 5 * 60
    filed = said(desk, "update", "--filed", "classed", "--filed", f"fast={later(desk, hours=-1)}")
    assert [row["clock"] for row in filed["clocks"]] == ["last"]
    assert states(desk) == {"fast": "filed", "classed": "filed late", "last": "due"}
    closing = said(desk, "close", "--cause", "a bug", "--effective", "the test passes")
    assert closing["effective_at"] == closing["at"]
    assert closing["cause"] == "a bug" and closing["clocks"][0]["clock"] == "last"
    assert states(desk)["last"] == "due"


def test_what_is_due_waits_for_somebody(desk: Desk) -> None:
    said(desk, "open", "--kind", "leak")
    rows = desk.json("pending")["pending"]
    clocks = {row["what"]: row["due"] for row in rows if row["kind"] == "legal clock"}
    assert len(clocks) == 3 and sum(due is not None for due in clocks.values()) == 1


def test_the_evidence_is_kept_as_it_was(desk: Desk) -> None:
    entry = said(desk, "open")["entry"]
    (kept,) = (desk.scene.story.machine.state / "incidents").iterdir()
    bundle = read_bundle(kept.read_bytes())
    assert kept.name == f"{MODEL}-1-{entry}.bundle"
    assert entry in {item.index for item in bundle.entries}


WRONG = [
    (("open", "--kind", "flood"), 2, "fire, leak"),
    (("open", "--aware", "yesterday"), 2, "is no time"),
    (("open", "--aware", "2026-11-20T12:00:00"), 2, "is no time"),
    (("open", "--aware", "2999-01-01T00:00:00Z"), 2, "lies ahead"),
    (("update", "--action", "none"), 3, "no incident is open"),
    (("close", "--effective", "x"), 3, "no incident is open"),
    (("close", "--measured-at", "2026-11-20T09:00:00Z"), 2, "nothing was measured"),
    (("close", "--effective", "x", "--measured-at", "2999-01-01T00:00:00Z"), 2, "lies ahead"),
]


@pytest.mark.parametrize(("words", "code", "named"), WRONG)
def test_what_cannot_be_is_refused(
    words: tuple[str, ...], code: int, named: str, desk: Desk
) -> None:
    before = desk.scene.story.log.size()
    action, *rest = words
    found = desk.run("incident", action, VERSION, "--reason", "x", *WHO, *rest, who="ben")
    assert found[0] == code and named in found[1]
    assert desk.scene.story.log.size() == before


def refused(desk: Desk, action: str, *words: str, who: str = "ben", role: str = "risk") -> str:
    before = desk.scene.story.log.size()
    command = ("incident", action, VERSION, "--reason", "x", "--role", role, "--yes", *words)
    code, told = desk.run(*command, who=who)
    assert code == 4 and desk.scene.story.log.size() == before, told
    return told


def test_a_closing_without_a_check_is_refused(desk: Desk) -> None:
    said(desk, "open", "--action", "withdrew it")
    assert "nobody has checked since the last action" in refused(desk, "close")
    said(desk, "update", "--effective", "none of 300", "--measured-at", later(desk, minutes=-2))
    said(desk, "update", "--action", "added a filter")
    assert "--effective" in refused(desk, "close", "--cause", "a bug")
    assert said(desk, "close", "--effective", "none of 300 again")["state"] == "closed"


def test_policy_can_demand_that_another_person_checks(desk: Desk) -> None:
    rules = desk.scene.story.root / "policies" / "policy.yaml"
    text = rules.read_text(encoding="utf-8")
    rules.write_text(text + "incidents: {checked_by_another: true}\n", encoding="utf-8")
    changed = load_policies(rules.parent)
    desk.scene.propose(changed)
    for who in ("ada", "ben"):
        desk.scene.approve(who, "policy-owner", changed.digest, "policy")
    said(desk, "open", "--action", "withdrew it")
    told = refused(desk, "close", "--effective", "none of 300")
    assert "recorded none of the actions" in told and "incident update" in told
    words = ("update", VERSION, "--reason", "x", "--effective", "none of 300", "--role", "ml-lead")
    assert desk.run("incident", *words, "--yes", who="ada")[0] == 0
    assert said(desk, "close")["state"] == "closed"


def test_policy_can_demand_what_is_stated_before_a_closing(desk: Desk) -> None:
    rules = desk.scene.story.root / "policies" / "policy.yaml"
    text = rules.read_text(encoding="utf-8")
    needs = "incidents: {closing_needs: [severity, cause, actions]}\n"
    rules.write_text(text + needs, encoding="utf-8")
    changed = load_policies(rules.parent)
    desk.scene.propose(changed)
    for who in ("ada", "ben"):
        desk.scene.approve(who, "policy-owner", changed.digest, "policy")
    said(desk, "open", "--action", "withdrew it")
    check = ("--effective", "none of 300")
    told = refused(desk, "close", *check)
    assert "severity, cause" in told and "--severity" in told and "--action" not in told
    assert "severity" not in refused(desk, "close", "--cause", "a bug", "--severity", "low")
    said(desk, "update", "--severity", "low")
    assert said(desk, "close", "--cause", "a bug", *check)["state"] == "closed"


def test_show_has_all_that_was_said_and_what_was_not(desk: Desk) -> None:
    story = desk.scene.story
    story.train("dpo", "sft", "conversation", "desk_sft", "sft")
    story.register("dpo", "2")
    opened = said(desk, "open", "--kind", "leak", "--informed", "the office", "--action", "stopped")
    assert [each["name"] for each in opened["affected"]] == [f"{MODEL}/2"]
    story.train("later", "sft", "conversation", "desk_sft", "dpo")
    override = ("intervene", VERSION, "--override", "two answers withdrawn", "--reason", "wrong")
    assert desk.run(*override, *WHO, who="ben")[0] == 0
    said(desk, "close", "--effective", "none of 300", "--cause", "an unscanned source")
    (shown,) = desk.json("incident", "show", VERSION)["incidents"]
    assert (shown["state"], shown["cause"]) == ("closed", "an unscanned source")
    assert [(each["name"], each["named"]) for each in shown["affected"]] == [
        (f"{MODEL}/2", True), ("train@later", False),
    ]  # fmt: skip
    assert [each["text"] for each in shown["checks"]] == ["none of 300"]
    assert [each["what"] for each in shown["interventions"]] == ["two answers withdrawn"]
    assert shown["not_stated"] == ["severity", "time of awareness", "time of classification"]
    lines = desk.run("incident", "show", VERSION)[1]
    assert "CLOSED  incident on support-desk/1" in lines and "an unscanned source" in lines
    assert "made or registered since the opening" in lines and "due" in lines
    assert "no incident of support-desk/2" in desk.run("incident", "show", f"{MODEL}/2")[1]
    assert desk.run("incident", "show", f"{MODEL}/9")[0] == 3


INTERVENED = [
    (("--override", "a"), 0, "override in operation"),
    (("--exception", "a"), 0, "exception in operation"),
    ((), 2, "neither is said"),
    (("--override", "a", "--exception", "b"), 2, "both are said"),
    (("--override", "  "), 2, "neither is said"),
    (("--override", "a", "--happened", "2999-01-01T00:00:00Z"), 2, "lies ahead"),
    (("--override", "a", "--happened", "2026-11-20"), 2, "is no time"),
    (("--override", "a" * 2001), 2, "2001 characters"),
]


@pytest.mark.parametrize(("words", "code", "told"), INTERVENED)
def test_an_override_in_operation_is_logged(
    words: tuple[str, ...], code: int, told: str, desk: Desk
) -> None:
    before = desk.scene.story.log.size()
    found = desk.run("intervene", VERSION, "--reason", "x", *WHO, *words, who="ben")
    assert found[0] == code and told in found[1]
    assert desk.scene.story.log.size() == before + (code == 0)


def test_an_override_needs_the_right_and_stops_nothing(desk: Desk) -> None:
    words = ("intervene", VERSION, "--reason", "x", "--override", "a", "--yes")
    assert desk.run(*words, who="dora")[0] == 4
    assert desk.run(*words, "--role", "risk", who="ben")[0] == 0
    assert "override in operation" in desk.run("history", MODEL)[1]
    desk.promoted("1")
