"""Incidents from opening to closing: which closings count, what people said adds up, and which
models are affected.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from governance.attest.canonical import dumps
from governance.attest.envelope import verify_envelope
from governance.attest.predicates import Artifact
from governance.base.errors import VerificationError
from governance.history import incidents
from governance.history.descendants import descendants
from governance.release import promotion
from tests.governance.governed import RULES, Governed, governed, person
from tests.governance.story import MODEL, digest

ROLES = {"ada": "ml-lead", "ben": "risk", "cleo": "product", "eve": "visitor"}
NONE: dict[str, Any] = {"effective": "", "effective_at": None}
CHECK: dict[str, Any] = {"effective": "300 answers: none", "effective_at": "2026-11-20T09:00:00Z"}
ACT: dict[str, Any] = {"actions": ["withdrew it"]}
Said = tuple[str, str, dict[str, Any]]
ANOTHER = "incidents: {checked_by_another: true}\n"

NEEDS = "incidents: {closing_needs: [severity, cause, actions]}\n"
WHOLE: dict[str, Any] = {**CHECK, **ACT, "severity": "low", "cause": "a bug"}

CLOSINGS: dict[str, tuple[str, list[Said], bool]] = {
    # policy's rule; what is said after ben opened it; whether it is closed
    "no check": ("", [("closed", "ada", NONE)], False),
    "a check in the closing": ("", [("closed", "ada", CHECK)], True),
    "a check before": ("", [("open", "ben", CHECK), ("closed", "ada", NONE)], True),
    "blank": ("", [("closed", "ada", {**CHECK, "effective": "  "})], False),
    "no time": ("", [("closed", "ada", {**CHECK, "effective_at": None})], False),
    "measured later than signed": (
        "", [("closed", "ada", {**CHECK, "effective_at": "2027-01-01T00:00:00Z"})], False,
    ),
    "an action after the check": (
        "", [("open", "ben", CHECK), ("open", "ben", ACT), ("closed", "ada", NONE)], False,
    ),
    "an action and a check in the closing": ("", [("closed", "ada", {**ACT, **CHECK})], True),
    "an action in the closing, a check before": (
        "", [("open", "ben", CHECK), ("closed", "ada", {**NONE, **ACT})], False,
    ),
    "a check by who may not speak": (
        "", [("open", "eve", CHECK), ("closed", "ada", NONE)], False,
    ),
    "closed without a check, then with one": (
        "", [("closed", "ada", NONE), ("closed", "ada", CHECK)], True,
    ),
    "closed, and closed once more by another": (
        "", [("closed", "ada", CHECK), ("closed", "ben", NONE)], True,
    ),
    "opened anew, and closed with the check of before": (
        "", [("closed", "ada", CHECK), ("open", "ben", {}), ("closed", "ada", NONE)], False,
    ),
    "by who acted": (ANOTHER, [("open", "ben", ACT), ("closed", "ben", CHECK)], False),
    "by another than who acted": (ANOTHER, [("open", "ben", ACT), ("closed", "ada", CHECK)], True),
    "both acted": (
        ANOTHER, [("open", "ben", ACT), ("open", "ada", ACT), ("closed", "ada", CHECK)], False,
    ),
    "both acted, a third checked": (
        ANOTHER,
        [("open", "ben", ACT), ("open", "ada", ACT), ("open", "cleo", CHECK), ("closed", "ada", NONE)],
        True,
    ),
    "no action recorded, checked by who closes": (ANOTHER, [("closed", "ada", CHECK)], False),
    "all that policy needs, in the closing": (NEEDS, [("closed", "ada", WHOLE)], True),
    "all that policy needs, bit by bit": (
        NEEDS,
        [("open", "ben", {"severity": "low", **ACT}), ("open", "ben", {"cause": "a bug"}), ("closed", "ada", CHECK)],
        True,
    ),
    "no severity": (NEEDS, [("closed", "ada", {**WHOLE, "severity": None})], False),
    "no cause": (NEEDS, [("closed", "ada", {**WHOLE, "cause": " "})], False),
    "no actions": (NEEDS, [("closed", "ada", {**WHOLE, "actions": []})], False),
    "no check, and all that policy needs": (NEEDS, [("closed", "ada", {**WHOLE, **NONE})], False),
    "what policy needs, of the incident before": (
        NEEDS, [("closed", "ada", WHOLE), ("open", "ben", {}), ("closed", "ada", CHECK)], False,
    ),
    "no action recorded, checked by another": (
        ANOTHER, [("open", "ben", CHECK), ("closed", "ada", NONE)], True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CLOSINGS)
def test_a_closing_counts_only_with_a_check(name: str, tmp_path: Path) -> None:
    rule, said, closes = CLOSINGS[name]
    scene = governed(tmp_path, RULES + rule)
    scene.incident("1", "open")
    for state, who, fields in said:
        scene.incident("1", state, who, ROLES[who], **fields)
    timeline = promotion.state(scene.story.log).timeline
    assert (timeline.open_incidents(scene.story.models["sft"]) == []) == closes
    assert (timeline.cases[-1].closed is not None) == closes


def test_earlier_logs_close_without_a_check(scene: Governed, monkeypatch: Any) -> None:
    monkeypatch.setattr(incidents, "CHECKS_CLOSINGS", 4)
    scene.incident("1", "open")
    scene.incident("1", "closed", **NONE)
    assert promotion.state(scene.story.log).timeline.all_open_incidents == []


@pytest.fixture
def scene(tmp_path: Path) -> Governed:
    return governed(tmp_path)


def test_what_people_say_adds_up(scene: Governed) -> None:
    opened = scene.incident(
        "1", "open", kinds=["leak"], severity="low", informed=["the office"], **ACT
    )
    inside = scene.intervene(happened_at="2026-11-19T12:00:00Z")
    scene.intervene("1", "dora", "engineer")
    scene.incident(
        "1", "open", "ada", "ml-lead", severity="high", kinds=["leak", "fire"],
        aware_at="2026-11-19T11:00:00Z", cause="a guess", actions=["filtered"],
    )  # fmt: skip
    closing = scene.incident("1", "closed", cause="a bug", informed=["the board"])
    scene.intervene()
    scene.incident("1", "open", reason="again")
    first, second = promotion.state(scene.story.log).timeline.cases
    assert (first.opened, first.severity, first.kinds) == (opened, "high", ["leak", "fire"])
    assert first.closed is not None and first.closed.index == closing
    assert first.cause == "a bug" and first.aware.hour == 11
    assert [(each.text, each.by) for each in first.actions] == [
        ("withdrew it", "ben"), ("filtered", "ada"),
    ]  # fmt: skip
    assert [each.text for each in first.informed] == ["the office", "the board"]
    assert [each.index for each in first.interventions] == [inside], "by who may, while it was open"
    assert first.lacks() == ["time of classification"]
    assert second.reason == "again" and len(second.lacks()) == 8 and not second.interventions


def named(scene: Governed, stage: str) -> list[str]:
    now = promotion.state(scene.story.log)
    return sorted(each.name for each in descendants(now.timeline, scene.story.models[stage]))


def test_what_was_made_from_a_model_is_affected(scene: Governed) -> None:
    story = scene.story
    story.train("dpo", "sft", "conversation", "desk_sft", "sft")
    story.train("later", "sft", "conversation", "desk_sft", "base", scorer="dpo")
    story.register("later", "2")
    assert named(scene, "later") == []
    assert named(scene, "dpo") == [f"{MODEL}/2"]
    assert named(scene, "sft") == [f"{MODEL}/2", "train@dpo"]
    assert named(scene, "base") == [f"{MODEL}/1", f"{MODEL}/2", "train@dpo"]


SAID: dict[str, dict[str, Any]] = {
    "incident": {
        **CHECK, **ACT,
        "affected": [Artifact(role="model", name="x", sha256=digest("x"))],
        "severity": "high", "cause": "a bug",
    },
    "intervention": {},
    "periodic_review": {"next_by": "2027-01-31"},
}  # fmt: skip


@pytest.mark.parametrize("kind", SAID)
def test_a_changed_field_breaks_the_signature(kind: str, scene: Governed) -> None:
    say = {
        "incident": lambda **fields: scene.incident("1", "open", **fields),
        "intervention": scene.intervene,
        "periodic_review": scene.review,
    }
    envelope = scene.story.log.entry(say[kind](**SAID[kind])).envelope
    keys = {person("ben").keyid: person("ben").public_pem}
    said = json.loads(base64.b64decode(json.loads(envelope)["payload"]))["predicate"]
    assert set(SAID[kind]) <= set(said)
    verify_envelope(envelope, keys)
    for field in said:
        with pytest.raises(VerificationError):
            verify_envelope(changed(envelope, field), keys)


def changed(envelope: bytes, field: str) -> bytes:
    """The same signature over a statement without one of its fields."""
    signed = json.loads(envelope)
    statement = json.loads(base64.b64decode(signed["payload"]))
    del statement["predicate"][field]
    return json.dumps({**signed, "payload": base64.b64encode(dumps(statement)).decode()}).encode()
