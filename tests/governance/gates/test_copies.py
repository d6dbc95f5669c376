"""The same records under two names: trained on twice, or trained on and evaluated on. Datasets of a
story have one record root where they have as many records.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from governance.attest.predicates import Finding, Promotion
from governance.attest.requests import asked_of_gate
from governance.gates.checks import copies
from governance.gates.decisions import decide_automatic, decide_gate
from governance.log.rules import CURRENT
from governance.release import promotion
from governance.report.build import build
from tests.governance.bundles import both_accept
from tests.governance.forged import forge
from tests.governance.governed import Governed, governed
from tests.governance.story import MODEL, tell_rewards

Act = Callable[[Governed], None]
TWICE, TESTED = "RECORDS_TWICE", "SUITE_TRAINED_ON"


@pytest.fixture
def scene(tmp_path: Path) -> Governed:
    """`base` was trained on desk_text, `sft` on desk_sft; both are evaluated on desk_eval."""
    return governed(tmp_path)


def trained_twice(scene: Governed) -> None:
    scene.story.data("desk_text", "conversation", "text", 2900)


def tested_on(scene: Governed) -> None:
    scene.story.data("desk_eval", "prompt", "prompt", 2900)


def at_promotion(scene: Governed, version: str = "1") -> list[Finding]:
    now = promotion.state(scene.story.log)
    request = promotion.ask(now, "promote", MODEL, version, "champion")
    return list(decide_automatic(request, now.evidence, scene.now, now.authority).findings)


def at_gate(scene: Governed, stage: str = "sft") -> list[Finding]:
    now = promotion.state(scene.story.log)
    (gate,) = [one for one in now.evidence.all("gate") if one.predicate.stage == f"gate@{stage}"]
    decided = decide_gate(
        asked_of_gate(gate.predicate), now.authority.policies, now.evidence, scene.now,
        authority=now.authority, governed=True,
    )  # fmt: skip
    return list(decided.findings)


def at_registration(scene: Governed) -> list[Finding]:
    scene.story.register("sft", "2")
    last = promotion.state(scene.story.log).evidence.all(Promotion)[-1].predicate
    assert last.alias == "candidate"
    return list(last.findings)


@pytest.mark.parametrize("decide", [at_gate, at_registration, at_promotion])
@pytest.mark.parametrize(
    ("act", "code", "other"),
    [
        (trained_twice, TWICE, "desk_text"),
        (tested_on, TESTED, "desk_eval"),
    ],
)
def test_the_same_records_under_two_names_are_refused(
    scene: Governed, decide: Callable[[Governed], list[Finding]], act: Act, code: str, other: str
) -> None:
    assert at_gate(scene) == at_promotion(scene) == []
    act(scene)
    found = decide(scene)
    assert {each.code for each in found} == {code}
    assert {(each.subject, each.figures[0]) for each in found} == {("dataset desk_sft", other)}


def test_a_reward_model_may_rank_the_pairs_that_its_policy_learnt(tmp_path: Path) -> None:
    """As in the default project, which has them under two names, with other suites."""
    scene = governed(tmp_path)
    tell_rewards(scene.story)
    scene.story.data("desk_rank", "preference", "preference", 600)  # as desk_prompts of the policy
    assert at_gate(scene, "grpo") == at_promotion(scene, "2") == []
    assert scene.released("2").allowed and both_accept(scene, "2")


def test_what_a_reward_model_learnt_twice_stands_against_its_policy(tmp_path: Path) -> None:
    scene = governed(tmp_path)
    tell_rewards(scene.story)
    scene.story.data("desk_rank", "preference", "preference", 2900)  # as desk_sft of its parent
    for found in (at_gate(scene, "reward"), at_promotion(scene, "2")):
        assert [(each.code, each.subject) for each in found] == [(TWICE, "dataset desk_rank")]
    scene.asked_for("2")
    forge(scene, "2")
    assert not both_accept(scene, "2")


def test_a_gate_reports_its_own_data_only(scene: Governed) -> None:
    trained_twice(scene)
    assert at_gate(scene, "base") == []


@pytest.mark.parametrize("act", [trained_twice, tested_on])
def test_under_earlier_rules_names_are_believed(
    scene: Governed, act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    act(scene)
    monkeypatch.setattr(copies, "COMPARES_RECORDS", CURRENT + 1)
    assert at_gate(scene) == at_promotion(scene) == []


@pytest.mark.parametrize("act", [trained_twice, tested_on])
def test_both_verifiers_refuse_a_move_in_spite_of_it(scene: Governed, act: Act) -> None:
    act(scene)
    scene.asked_for("1")
    forge(scene, "1")
    assert not both_accept(scene, "1")


def test_training_on_both_is_waived_and_both_verifiers_accept_it(scene: Governed) -> None:
    trained_twice(scene)
    scene.waive(TWICE, "dataset desk_sft")
    moved = scene.released("1")
    assert moved.allowed and [finding.code for finding in moved.waived] == [TWICE]
    assert both_accept(scene, "1")


def test_a_suite_that_was_trained_on_is_never_waived(scene: Governed) -> None:
    tested_on(scene)
    scene.waive(TESTED, "dataset desk_sft")
    assert {each.code for each in at_promotion(scene)} == {TESTED, "WAIVER_NOT_IN_FORCE"}


def test_the_report_has_it_in_the_row_of_data(scene: Governed) -> None:
    tested_on(scene)
    report = build(scene.story.sources, MODEL, "1")
    (row,) = [gate for gate in report.gates if gate.name == "Data quality"]
    assert (row.result, row.codes) == ("fail", [TESTED])
