"""A version that was registered with different bytes: nothing moves to it before policy owners say
which registration stands.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click
import pytest
from click.testing import CliRunner

from governance.attest.envelope import sign_statement
from governance.attest.predicates import Artifact, Registration
from governance.attest.requests import ReleaseRequest
from governance.base.errors import RefusedError, VerificationError
from governance.commands.retrospect import live_command
from governance.commands.status import command as status_command
from governance.commands.verify import verify_command
from governance.history.state import LogState, state
from governance.history.timeline import Timeline
from governance.log import api, evidence
from governance.log.evidence import Evidence
from governance.log.rules import RuleVersions
from governance.people import subjects
from governance.people.pending import pending
from governance.release import promotion, retrospect, serving
from governance.server.append import verifier
from tests.governance.forged import forge
from tests.governance.governed import Governed, person
from tests.governance.story import MODEL

VERSION = (MODEL, "1")


def again(scene: Governed) -> Registration:
    """Version 1, with the bytes of another training."""
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.99, unsafe=0.01)
    scene.story.register("sft", "2")
    registered = state(scene.story.log).registration(MODEL, "2").predicate
    return registered.model_copy(update={"version": "1"})


def subject(registration: Registration) -> Artifact:
    return Artifact(role="model", name="sft", sha256=registration.model_digest)


@pytest.fixture
def both(scene: Governed) -> list[Evidence[Registration]]:
    """Both registrations of version 1: the second went past the server."""
    other = again(scene)
    evidence.record(scene.story.log, person("ci"), "registration", [subject(other)], other)
    return state(scene.story.log).timeline.registered_twice[VERSION]


def standing(scene: Governed) -> str:
    return state(scene.story.log).registration(MODEL, "1").predicate.model_digest


def digests(both: list[Evidence[Registration]]) -> list[str]:
    return [registration.predicate.model_digest for registration in both]


def test_a_server_takes_no_second_one(scene: Governed) -> None:
    other = again(scene)
    named = other.model_copy(update={"log": scene.story.log.entry(0).leaf_hash.hex()})
    statement = evidence.build_statement("registration", [subject(other)], named)
    size = scene.story.log.size()
    with pytest.raises(RefusedError, match="is registered with other bytes"):
        api.append(
            scene.story.log,
            verifier(scene.story.log, scene.story.now),
            sign_statement(statement, person("ci")),
        )
    assert scene.story.log.size() == size


def test_nothing_moves_to_it(scene: Governed, both: list[Evidence[Registration]]) -> None:
    first, _ = digests(both)
    assert standing(scene) == first
    scene.asked_for()
    with pytest.raises(RefusedError, match="REGISTERED_TWICE") as refused:
        scene.consume()
    assert str(refused.value).count("REGISTERED_TWICE") == 2, "it names both"
    now = state(scene.story.log)
    (wait,) = [wait for wait in pending(now, scene.now) if wait.reason == "registered_twice"]
    assert wait.people == ["ada", "ben"]
    assert wait.next == f"countersign approve registration {both[0].digest[:12]}"
    found = subjects.find(now, wait.next.split()[2:])
    assert (found.about, found.sha256, found.name) == ("registration", both[0].digest, f"{MODEL}/1")
    assert first in found.text


@pytest.mark.parametrize("chosen", [0, 1])
def test_policy_owners_settle_which_stands(
    scene: Governed, both: list[Evidence[Registration]], chosen: int
) -> None:
    scene.approve("ada", "policy-owner", both[chosen].digest, "registration")
    assert state(scene.story.log).timeline.registered_twice, "one owner is no quorum"
    scene.approve("ben", "risk", both[chosen].digest, "registration")
    assert state(scene.story.log).timeline.registered_twice, "risk owns no policies"
    scene.approve("ben", "policy-owner", both[chosen].digest, "registration")
    assert not state(scene.story.log).timeline.registered_twice
    assert standing(scene) == digests(both)[chosen]


def test_owners_who_approve_both_settle_nothing(
    scene: Governed, both: list[Evidence[Registration]]
) -> None:
    for registration in both:
        scene.approve("ada", "policy-owner", registration.digest, "registration")
        scene.approve("ben", "policy-owner", registration.digest, "registration")
    assert state(scene.story.log).timeline.registered_twice
    scene.approve("ben", "policy-owner", both[1].digest, "registration", decision="reject")
    assert standing(scene) == digests(both)[0]


def test_a_registration_of_the_same_bytes_is_a_later_one(scene: Governed) -> None:
    """The same model, registered again after another evaluation, say."""
    registered = state(scene.story.log).registration(MODEL, "1").predicate
    later = registered.model_copy(update={"chain": registered.chain[:1]})
    evidence.record(scene.story.log, person("ci"), "registration", [subject(later)], later)
    now = state(scene.story.log)
    assert now.registration(MODEL, "1").predicate.chain == later.chain
    assert not now.timeline.registered_twice


def test_by_the_earlier_rules_the_last_one_stood(
    scene: Governed, both: list[Evidence[Registration]]
) -> None:
    now = promotion.state(scene.story.log)
    earlier = Timeline(now.evidence, replace(now.authority, rule_versions=RuleVersions()))
    assert earlier.registrations[VERSION].predicate.model_digest == digests(both)[1]
    assert not earlier.registered_twice


# -- An alias that was given before the owners said which stands -----------------------------------


@pytest.fixture
def held(scene: Governed) -> list[Evidence[Registration]]:
    """Version 1 is champion. Then it is registered again, past the server, with other bytes."""
    scene.released()
    other = again(scene)
    evidence.record(scene.story.log, person("ci"), "registration", [subject(other)], other)
    return state(scene.story.log).timeline.registered_twice[VERSION]


def settle(scene: Governed, registration: Evidence[Registration]) -> LogState:
    for owner in ("ada", "ben"):
        scene.approve(owner, "policy-owner", registration.digest, "registration")
    return state(scene.story.log)


def test_the_bytes_that_were_decided_on_are_served_until_the_owners_settle(
    scene: Governed, held: list[Evidence[Registration]]
) -> None:
    """Whoever could add a registration could otherwise stop what serves."""
    before = state(scene.story.log)
    assert not retrospect.rejected(before)
    for now in (before, settle(scene, held[0])):
        served = serving.resolve(now, f"{MODEL}@champion")
        assert served.registration.model_digest == digests(held)[0]


@pytest.mark.parametrize("alias", ["champion", "candidate"])
def test_rejected_bytes_are_served_by_nobody(
    scene: Governed, held: list[Evidence[Registration]], alias: str
) -> None:
    if alias == "candidate":  # version 2 is candidate since
        scene.story.models["sft"] = digests(held)[0]
        forge(scene, "1", **candidate(scene, digests(held)[0]))
    now = settle(scene, held[1])
    with pytest.raises(VerificationError, match="REGISTERED_TWICE") as refused:
        serving.resolve(now, f"{MODEL}@{alias}")
    assert refused.value.exit_code == 5
    assert serving.resolve(now, f"{MODEL}/1").registration.model_digest == digests(held)[1]
    found = {finding.subject: finding for finding in retrospect.rejected(now)}
    assert found[f"{MODEL}@{alias}"].code == "REGISTERED_TWICE"
    live = {row.alias: row.rejected for row in retrospect.live(now, MODEL, scene.now)}
    assert "REGISTERED_TWICE" in str(live[alias])


def test_what_an_alias_held_at_an_earlier_moment_is_judged_by_its_own_bytes(
    scene: Governed, held: list[Evidence[Registration]]
) -> None:
    """Not by those that the alias holds since."""
    settle(scene, held[1])
    then = scene.now
    scene.story.minutes += 60
    scene.released("2")
    now = state(scene.story.log)
    rows = {
        (row.version, "REGISTERED_TWICE" in (row.rejected or ""))
        for at in (then, scene.now)
        for row in retrospect.live(now, MODEL, at)
        if row.alias == "champion"
    }
    assert rows == {("1", True), ("2", False)}


def test_the_commands_tell_of_rejected_bytes(
    scene: Governed, held: list[Evidence[Registration]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(scene, held[1])
    monkeypatch.chdir(scene.story.root)
    for name, value in scene.story.machine.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("governance.commands.verify._registry", lambda *_: None)  # there is none
    calls: list[tuple[click.Command, tuple[str, ...]]] = [
        (live_command, (MODEL,)),
        (verify_command, ("--no-files",)),
        (status_command, ()),
    ]
    for command, words in calls:
        done = CliRunner().invoke(command, words)
        assert "REGISTERED_TWICE" in done.output, done.output
        assert done.exit_code == (0 if command is status_command else 5)


def candidate(scene: Governed, sha256: str) -> dict[str, Any]:
    """What the pipeline would have asked for."""
    asked = ReleaseRequest(model=MODEL, released=scene.story.reference("sft"))
    assert asked.released.sha256 == sha256
    return {"alias": "candidate", "model_digest": sha256, "asked": asked.model_dump(mode="json")}
