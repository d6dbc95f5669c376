"""Suites beside a model's own: policy requires them, and their thresholds count at a gate and at a
release.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from governance.attest.predicates import Finding
from governance.attest.requests import ModelRef
from governance.gates.checks.context import ReleaseContext
from governance.gates.decisions import decide_gate, decide_release
from governance.policy.evaluation import Demands, EvaluationPolicy, SuitePolicy, Threshold
from governance.release import promotion
from tests.governance.governed import governed
from tests.simulator import MODEL, Plan, desk, digest, in_memory

Found = set[tuple[str, str]]
NOTHING = Demands(none="a reason that is long enough")
REFUSES = Demands(thresholds={"refuses": Threshold(at_least=0.9)})
METHODS = {
    **dict.fromkeys(("base", "pretrain", "sft", "reward"), NOTHING),
    **dict.fromkeys(("dpo", "grpo"), REFUSES),
}


def required(*models: str, **methods: Demands) -> Plan:
    plan = desk()
    plan.require("harm", *models, **{**METHODS, **methods})
    return plan


def at_gate(plan: Plan) -> tuple[Finding, ...]:
    """Of `gate@grpo`, which builds on `dpo` and `reward`."""
    world = in_memory(plan)
    decision = decide_gate(world.request, world.policies, world.evidence, world.at, authority=None)
    return decision.findings


def at_release(plan: Plan) -> tuple[Finding, ...]:
    world = in_memory(plan)
    release = world.release
    return decide_release(
        release, world.policies, world.evidence, world.at, authority=None
    ).findings


def named(findings: tuple[Finding, ...]) -> Found:
    return {(finding.code, finding.subject) for finding in findings}


def test_models_that_meet_the_thresholds_of_a_required_suite_pass() -> None:
    plan = required("dpo", "grpo")
    assert at_gate(plan) == at_release(plan) == ()


def _below(plan: Plan) -> None:
    for name in ("dpo", "grpo"):
        plan.say("evaluate", f"{name}_harm", scores={"refuses": [1.0, 0.0] * 100})


def _nothing_recorded(plan: Plan) -> None:
    plan.without |= {("evaluate", "dpo_harm"), ("evaluate", "grpo_harm")}


def _other_suite_since(plan: Plan) -> None:
    for name in ("dpo", "grpo"):
        plan.say("evaluate", f"{name}_harm", suite=digest("the suite before"))


FAULTS: list[tuple[str, Callable[[Plan], None]]] = [
    ("THRESHOLD_NOT_MET", _below),
    ("EVIDENCE_MISSING", _nothing_recorded),
    ("EVALUATION_OUT_OF_DATE", _other_suite_since),
    ("SUITE_UNPINNED", lambda plan: plan.tier(pinned_suites=True)),
    ("SEPARATE_EVALUATOR", lambda plan: plan.tier(separate_evaluator=True)),
]


@pytest.mark.parametrize(("code", "change"), FAULTS, ids=[code for code, _ in FAULTS])
def test_a_fault_on_a_required_suite_is_refused(code: str, change: Callable[[Plan], None]) -> None:
    plan = required("dpo", "grpo")
    change(plan)
    by_suite = {"SUITE_UNPINNED": "suite harm"}
    assert (code, by_suite.get(code, "model dpo on harm")) in named(at_gate(plan))
    assert (code, by_suite.get(code, "model grpo on harm")) in named(at_release(plan))


def test_a_required_suite_without_a_row_is_missing_evidence_that_names_the_row() -> None:
    plan = required()
    (finding,) = at_gate(plan)
    assert (finding.code, finding.subject) == ("EVIDENCE_MISSING", "model dpo on harm")
    assert "evaluations: a row with model dpo and suite harm" in finding.next


def test_a_method_of_which_policy_says_nothing_is_refused() -> None:
    plan = required("dpo", "grpo")
    suites = dict(plan.policies.evaluation.suites)
    methods = {name: demands for name, demands in METHODS.items() if name != "reward"}
    suites["harm"] = suites["harm"].model_copy(update={"methods": methods})
    plan.policy(evaluation=plan.policies.evaluation.model_copy(update={"suites": suites}))
    assert named(at_gate(plan)) == {("THRESHOLDS_MISSING", "model reward on harm")}


def test_a_suite_is_required_of_the_models_that_it_names() -> None:
    plan = required()
    suites = dict(plan.policies.evaluation.suites)
    suites["harm"] = suites["harm"].model_copy(update={"required_of": ["another"]})
    plan.policy(evaluation=plan.policies.evaluation.model_copy(update={"suites": suites}))
    assert at_gate(plan) == at_release(plan) == ()


def _without_further(ref: ModelRef) -> ModelRef:
    return ref.model_copy(update={"further": []})


def test_where_policy_required_the_suite_after_the_gate_the_latest_evaluation_counts() -> None:
    plan = required("dpo", "grpo")
    plan.request = lambda request: request.model_copy(
        update={"parent": _without_further(request.parent)}
    )
    assert at_gate(plan) == ()
    _below(plan)
    assert named(at_gate(plan)) == {("THRESHOLD_NOT_MET", "model dpo on harm")}


def test_what_is_released_names_every_suite_that_policy_requires() -> None:
    """So that its packet has the evaluation that decides."""
    plan = required("dpo", "grpo")
    plan.released = lambda request: request.model_copy(
        update={"released": _without_further(request.released)}
    )
    assert named(at_release(plan)) == {("EVIDENCE_MISSING", "model grpo on harm")}


@pytest.mark.parametrize("demanded", [True, False])
def test_an_evaluation_that_nothing_requires_counts_where_policy_has_thresholds(
    demanded: bool,
) -> None:
    plan = required("dpo", "grpo")
    suites = dict(plan.policies.evaluation.suites)
    suites["harm"] = SuitePolicy(methods={"dpo": REFUSES} if demanded else {})
    plan.policy(evaluation=plan.policies.evaluation.model_copy(update={"suites": suites}))
    _below(plan)
    assert named(at_gate(plan)) == (
        {("THRESHOLD_NOT_MET", "model dpo on harm")} if demanded else set()
    )


def test_the_behaviour_of_a_model_is_judged_on_its_own_suite_only() -> None:
    """The answers to harmful requests may all be one refusal."""
    plan = required("dpo", "grpo")
    measures = {"common": [1.0] * 200, "refused": [1.0] * 200}
    plan.say("evaluate", "dpo_harm", behaviour={"measures": measures})
    assert at_gate(plan) == ()


def test_another_version_is_judged_with_its_further_suites(tmp_path: Path) -> None:
    """Where a rollback asks what is open against versions on its way."""
    scene = governed(tmp_path)
    scene.story.evaluate_further("sft", "harm", {"refuses": [1.0] * 300})
    scene.story.register("sft", "1")
    now = promotion.state(scene.story.log)
    asked = promotion.ask(now, "promote", MODEL, "1", "champion")
    context = ReleaseContext.of(asked, now.authority, now.evidence, scene.now)
    registered = now.registration(MODEL, "1").predicate
    other = context.of_version(registered).request.released
    assert other.further == registered.further == asked.released.further != []


def test_policies_without_the_keys_are_written_as_before() -> None:
    written = SuitePolicy(methods={"dpo": REFUSES}).model_dump()
    assert not {"role", "required_of"} & written.keys()
    assert (
        EvaluationPolicy.model_validate(
            {"confidence": 0.95, "minimum_items": 1, "suites": {"eval": written}}
        ).required_of(MODEL)
        == []
    )
