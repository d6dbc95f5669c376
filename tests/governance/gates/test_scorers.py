"""A policy model whose reward model people withdrew: at its promotion, at the gate of another
training, in report and status.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from governance.attest.predicates import Finding
from governance.attest.requests import DataRef, GenerationRequest, asked_of_gate
from governance.gates.checks.scorers import scorer_in_service
from governance.gates.decisions import decide_automatic, decide_gate, decide_generation
from governance.release import promotion
from governance.report.build import build
from governance.report.status import status
from tests.governance.governed import Governed, governed
from tests.governance.story import MODEL, RANKS, tell_rewards

Act = Callable[[Governed], object]
CODE = "SCORER_WITHDRAWN"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """Version 2 was trained with a reward model, which is version 3; read only."""
    scene = governed(tmp_path_factory.mktemp("scored"))
    tell_rewards(scene.story)
    scene.main = "reward"  # whatever people say from here on is about it
    scene.story.register("reward", "3")
    scene.story.promote("grpo", "2")
    return scene


@pytest.fixture
def scored(trained: Governed, tmp_path: Path) -> Governed:
    return trained.copy(tmp_path)


def of_promotion(scene: Governed) -> list[Finding]:
    now = promotion.state(scene.story.log)
    request = promotion.ask(now, "promote", MODEL, "2", "champion")
    return list(decide_automatic(request, now.evidence, scene.now, now.authority).findings)


def rejected(scene: Governed) -> None:
    scene.approve("ada", "ml-lead", scene.freeze("3"), decision="reject")


def rejected_before_another_packet(scene: Governed) -> None:
    rejected(scene)
    first = scene.freeze("3")
    scene.story.evaluate("reward", 0.9, **RANKS)
    assert scene.freeze("3") != first


def taken_back_on_another_packet(scene: Governed) -> None:
    rejected_before_another_packet(scene)
    scene.approve("ada", "ml-lead", scene.freeze("3"))


def taken_back(scene: Governed) -> None:
    frozen = scene.freeze("3")
    scene.approve("ada", "ml-lead", frozen, decision="reject")
    scene.approve("ada", "ml-lead", frozen)


def rejected_by_nobody(scene: Governed) -> None:
    scene.approve("eve", "visitor", scene.freeze("3"), decision="reject")


def retired(scene: Governed) -> None:
    asked = scene.request("3", action="retire", alias="champion", from_version=None)
    scene.approve("ada", "policy-owner", asked, "promotion")
    scene.consume("3", action="retire")


def reported(scene: Governed) -> None:
    scene.incident("3", "open")


def released(scene: Governed) -> None:
    assert scene.released("3").allowed


def closed(scene: Governed) -> None:
    scene.incident("3", "open")
    scene.incident("3", "closed")


@pytest.mark.parametrize("act", [rejected, rejected_before_another_packet, retired, reported])
def test_a_withdrawn_reward_model_flags_what_was_trained_with_it(
    scored: Governed, act: Act
) -> None:
    assert of_promotion(scored) == []
    act(scored)
    (found,) = of_promotion(scored)
    assert (found.code, found.subject) == (CODE, "model reward")
    (entry,) = found.figures
    assert scored.story.log.entry(int(entry)).kind in ("approval", "promotion", "incident")


@pytest.mark.parametrize(
    "act", [released, taken_back, taken_back_on_another_packet, closed, rejected_by_nobody]
)
def test_what_was_taken_back_or_does_not_count_flags_nothing(scored: Governed, act: Act) -> None:
    act(scored)
    assert CODE not in {found.code for found in of_promotion(scored)}


def test_a_reward_model_that_is_refused_now_flags_it_too(scored: Governed) -> None:
    """Its evaluation was made again: it ranks no better than chance."""
    pairs = {**RANKS["pairs"], "margins": [1.0, 1.0, -1.0, -1.0] * 50}
    scored.story.evaluate("reward", 0.5, **{**RANKS, "pairs": pairs})
    assert {found.code for found in of_promotion(scored)} == {"REWARD_MODEL_NOT_BETTER"}


def test_report_and_status_have_an_open_point(scored: Governed) -> None:
    reported(scored)
    report = build(scored.story.sources, MODEL, "2")
    assert CODE in [item.code for item in report.open]
    (lineage,) = [gate for gate in report.gates if gate.name == "Lineage"]
    assert (lineage.result, lineage.codes) == ("fail", [CODE])
    (live,) = status(scored.story.root, scored.story.machine, scored.now).live
    (line,) = live.against_scorers
    assert live.version == "2" and line.startswith(f"{CODE} model reward: ")


def test_another_training_with_it_is_refused_from_version_3_of_the_rules_on(
    scored: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported(scored)
    now = promotion.state(scored.story.log)
    (gate,) = [one for one in now.evidence.all("gate") if one.predicate.stage == "gate@grpo"]
    request, policies = asked_of_gate(gate.predicate), now.authority.policies

    def codes() -> list[str]:
        decided = decide_gate(
            request, policies, now.evidence, scored.now, authority=now.authority, governed=True
        )
        return [found.code for found in decided.findings]

    assert codes() == [CODE]
    monkeypatch.setattr(f"{scorer_in_service.__module__}.JUDGES_SCORERS", 4)
    assert codes() == []


def of_generation(scene: Governed) -> set[str]:
    """What a generation that asks the reward model as judge is refused for."""
    story, now = scene.story, promotion.state(scene.story.log)
    assert now.authority is not None and now.authority.in_force.policies is not None
    request = GenerationRequest(
        model=MODEL,
        stage="pairs",
        kind="pairs",
        data=DataRef(dataset="desk_sft", sha256=story.records["desk_sft"]),
        constitution="none",
        constitution_digest=None,
        templates=None,
        generator=story.reference("sft"),
        judge=story.reference("reward"),
    )
    policies = now.authority.in_force.policies
    decision = decide_generation(
        request, policies, now.evidence, scene.now, authority=now.authority
    )
    return {found.subject for found in decision.findings if found.code == CODE}


def test_a_withdrawn_reward_model_judges_no_generated_data(scored: Governed) -> None:
    assert of_generation(scored) == set()
    rejected(scored)
    assert of_generation(scored) == {"model reward"}
