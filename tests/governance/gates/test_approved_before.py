"""Whose approval of data, an objective or a reward lets a stage train."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from governance.attest.predicates import Train
from governance.gates.checks import people
from governance.history.state import state
from tests.governance.governed import Governed
from tests.governance.story import MODEL, digest

DATA = digest("records to train on")
Vote = tuple[str, str, dict[str, Any]]

ROWS: list[tuple[str, list[Vote], bool]] = [
    ("nobody", [], False),
    ("one approver", [("ada", "ml-lead", {})], True),
    ("two approvers", [("ada", "ml-lead", {}), ("ben", "risk", {})], True),
    ("no approver", [("dora", "engineer", {})], False),
    ("not in this role", [("dora", "ml-lead", {})], False),
    ("about something else", [("ada", "ml-lead", {"about": "objective"})], False),
    ("a rejection", [("ada", "ml-lead", {"decision": "reject"})], False),
    (
        "taken back",
        [("ada", "ml-lead", {}), ("ada", "ml-lead", {"decision": "reject"})],
        False,
    ),
    (
        "given again",
        [("ada", "ml-lead", {"decision": "reject"}), ("ada", "ml-lead", {})],
        True,
    ),
    ("one against", [("ada", "ml-lead", {}), ("ben", "risk", {"decision": "reject"})], False),
    (
        "somebody without the role against",
        [("ada", "ml-lead", {}), ("dora", "engineer", {"decision": "reject"})],
        True,
    ),
    ("expired", [("ada", "ml-lead", {"expires": "2026-11-20T10:00:00Z"})], False),
    ("dated in the future", [("ada", "ml-lead", {"at": "2027-11-20T10:00:00Z"})], False),
]


def approved(scene: Governed, **changes: Any) -> bool:
    now = state(scene.story.log)
    context: Any = SimpleNamespace(
        authority=now.authority,
        tier=now.authority.policies.tier_of(MODEL),
        evidence=now.evidence,
        before=None,
        at=scene.now + timedelta(days=1),
    )
    vars(context).update(changes)
    return people.approved(context, DATA, "data")


@pytest.mark.parametrize(
    ("votes", "counts"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_people_approve_data_in_a_role_that_may(
    votes: list[Vote], counts: bool, scene: Governed
) -> None:
    for who, role, fields in votes:
        scene.approve(who, role, DATA, **{"about": "data", **fields})
    assert approved(scene) is counts


def test_an_approval_stands_in_the_log_before_the_training(scene: Governed) -> None:
    training = scene.story.view.by_subject(scene.story.models["sft"], Train)[-1]
    index = scene.approve("ada", "ml-lead", DATA, "data")
    assert not approved(scene, before=training)
    assert not approved(scene, before=replace(training, index=index))
    assert approved(scene, before=replace(training, index=index + 1))


def test_without_authority_or_tier_nothing_is_approved(scene: Governed) -> None:
    scene.approve("ada", "ml-lead", DATA, "data")
    assert approved(scene)
    assert approved(scene, authority=None) is approved(scene, tier=None) is False
