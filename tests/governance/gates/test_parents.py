"""Version 2 was trained from version 1, which people withdrew after it was imported as a base."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from governance.attest.predicates import Promotion
from governance.attest.requests import asked_of_gate
from governance.gates.checks import scorers
from governance.gates.decisions import decide_automatic, decide_gate
from governance.log.rules import CURRENT
from governance.release import promotion
from governance.report.build import build
from governance.report.status import status
from tests.governance.bundles import both_accept
from tests.governance.forged import forge
from tests.governance.governed import Governed, governed
from tests.governance.story import MODEL

Act = Callable[[Governed], object]
CODE = "PARENT_WITHDRAWN"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    scene = governed(tmp_path_factory.mktemp("parents"))
    scene.story.take("ours", "1", "sft")
    scene.story.train("more", "sft", "conversation", "desk_sft", "ours")
    scene.story.register("more", "2")
    return scene


@pytest.fixture
def scene(trained: Governed, tmp_path: Path) -> Governed:
    return trained.copy(tmp_path)


def rejected(scene: Governed) -> None:
    scene.approve("ada", "ml-lead", scene.freeze("1"), decision="reject")


def retired(scene: Governed) -> None:
    asked = scene.request("1", action="retire", alias="champion", from_version=None)
    scene.approve("ada", "policy-owner", asked, "promotion")
    scene.consume("1", action="retire")


def reported(scene: Governed) -> None:
    scene.incident("1", "open")


def closed(scene: Governed) -> None:
    scene.incident("1", "open")
    scene.incident("1", "closed")


def at_promotion(scene: Governed) -> set[str]:
    now = promotion.state(scene.story.log)
    request = promotion.ask(now, "promote", MODEL, "2", "champion")
    found = decide_automatic(request, now.evidence, scene.now, now.authority).findings
    return {finding.code for finding in found}


def at_gate(scene: Governed) -> set[str]:
    now = promotion.state(scene.story.log)
    (gate,) = [one for one in now.evidence.all("gate") if one.predicate.stage == "gate@more"]
    decided = decide_gate(
        asked_of_gate(gate.predicate), now.authority.policies, now.evidence, scene.now,
        authority=now.authority, governed=True,
    )  # fmt: skip
    return {finding.code for finding in decided.findings}


def at_registration(scene: Governed) -> set[str]:
    scene.story.register("more", "2")
    last = promotion.state(scene.story.log).evidence.all(Promotion)[-1].predicate
    assert last.alias == "candidate"
    return {finding.code for finding in last.findings}


@pytest.mark.parametrize("act", [rejected, retired, reported])
@pytest.mark.parametrize("decide", [at_gate, at_registration, at_promotion])
def test_what_was_trained_from_a_withdrawn_version_is_refused(
    scene: Governed, decide: Callable[[Governed], set[str]], act: Act
) -> None:
    act(scene)
    assert decide(scene) == {CODE}


@pytest.mark.parametrize("act", [lambda scene: None, closed])
def test_nothing_stands_against_what_is_in_service(scene: Governed, act: Act) -> None:
    act(scene)
    assert at_gate(scene) == at_promotion(scene) == set()


def test_under_earlier_rules_nothing_is_asked_of_a_parent(
    scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported(scene)
    monkeypatch.setattr(scorers, "JUDGES_SCORERS", CURRENT + 1)
    assert at_gate(scene) == at_promotion(scene) == set()


@pytest.mark.parametrize("act", [retired, reported])
def test_both_verifiers_refuse_a_move_in_spite_of_it(scene: Governed, act: Act) -> None:
    act(scene)
    scene.asked_for("2")
    forge(scene, "2")
    assert not both_accept(scene, "2")


def test_a_move_from_before_stays_right(scene: Governed) -> None:
    assert scene.released("2").allowed
    reported(scene)
    assert both_accept(scene, "2")


def test_both_verifiers_accept_a_move_by_a_waiver(scene: Governed) -> None:
    reported(scene)
    scene.main = "more"
    scene.waive(CODE, "model ours")
    moved = scene.released("2")
    assert moved.allowed and [finding.code for finding in moved.waived] == [CODE]
    assert both_accept(scene, "2")


def test_report_and_status_name_it(scene: Governed) -> None:
    assert scene.released("2").allowed
    reported(scene)
    assert CODE in [item.code for item in build(scene.story.sources, MODEL, "2").open]
    found = status(scene.story.root, scene.story.machine, scene.now).live
    lines = {live.version: live.against_scorers for live in found if live.alias == "champion"}
    assert [line.partition(":")[0] for line in lines["2"]] == [f"{CODE} model ours"]
