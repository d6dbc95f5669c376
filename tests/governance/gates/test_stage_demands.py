"""Demands of one stage in place of those of its method."""

from __future__ import annotations

import pytest

from governance.gates.decisions import decide_gate, decide_release
from governance.policy.evaluation import EvaluationPolicy, StageDemands, Threshold
from tests.simulator import MODEL, Plan, desk, in_memory

METHOD = {"thresholds": {"exact": {"at_least": 0.9}}}
POLICY = EvaluationPolicy.model_validate(
    {
        "confidence": 0.95,
        "minimum_items": 20,
        "suites": {
            "s": {
                "methods": {"sft": METHOD},
                "stages": {
                    "warmup": {"none": "a first pass, trained on below", "behaviour": {"empty": 0.5}},
                    "final": {"thresholds": {"exact": {"at_least": 0.7}}, "released_as": ["desk"]},
                },
            }
        },
    }
)  # fmt: skip


@pytest.mark.parametrize(
    ("stage", "released_as", "least"),
    [
        ("sft", None, 0.9),
        ("warmup", None, None),
        ("warmup", "desk", 0.9),  # renaming what is released changes nothing
        ("final", None, 0.7),
        ("final", "desk", 0.7),
        ("final", "bank", 0.9),
    ],
)
def test_whose_demands_hold(stage: str, released_as: str | None, least: float | None) -> None:
    demands = POLICY.demands("s", "sft", stage, released_as)
    assert demands is not None
    assert [bound.at_least for bound in demands.thresholds.values()] == [least][: bool(least)]


def test_limits_of_behaviour_follow() -> None:
    own = POLICY.limits("s", "sft", "warmup")
    assert own is not None and own.empty == 0.5
    assert POLICY.limits("s", "sft", "warmup", "desk") is None


def test_an_absent_table_leaves_digests_as_they_were() -> None:
    dumped = POLICY.model_dump(mode="json")
    del dumped["suites"]["s"]["stages"]
    old = EvaluationPolicy.model_validate(dumped).model_dump(mode="json")
    assert "stages" not in old["suites"]["s"]


def _stage(plan: Plan, stage: str, at_least: float, *released_as: str) -> None:
    own = StageDemands(
        thresholds={"exact": Threshold(at_least=at_least)}, released_as=[*released_as]
    )
    suite = plan.policies.evaluation.suites["eval"].model_copy(update={"stages": {stage: own}})
    suites = {**plan.policies.evaluation.suites, "eval": suite}
    plan.policy(evaluation=plan.policies.evaluation.model_copy(update={"suites": suites}))


def _gate(stage: str, at_least: float) -> list[str]:
    plan = desk()
    _stage(plan, stage, at_least)
    world = in_memory(plan)
    decision = decide_gate(world.request, world.policies, world.evidence, world.at, authority=None)
    return [finding.code for finding in decision.findings]


def test_a_gate_judges_a_parent_by_the_demands_of_its_stage() -> None:
    assert _gate("dpo", 0.999) == ["THRESHOLD_NOT_MET"]
    assert _gate("another", 0.999) == [] == _gate("dpo", 0.1)


def _release(at_least: float, *released_as: str) -> list[str]:
    plan = desk()
    _stage(plan, "grpo", at_least, *released_as)
    world = in_memory(plan)
    decision = decide_release(
        world.release, world.policies, world.evidence, world.at, authority=None
    )
    return [finding.code for finding in decision.findings]


def test_a_release_is_judged_by_them_only_under_the_names_that_policy_gives() -> None:
    assert _release(0.999, MODEL) == ["THRESHOLD_NOT_MET"]
    assert _release(0.999) == [] == _release(0.999, "bank-desk")
