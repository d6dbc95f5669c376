"""Which judges count, and what becomes of data that another one made."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from governance.attest.predicates import JudgeFigures, OwnFamily
from governance.attest.requests import Decision, judge_digest, judge_of
from governance.gates.decisions import decide_gate, decide_generation
from governance.gates.judging import family_excess, shortcomings, standing
from governance.policy.judges import JudgeLimits
from tests.simulator import (
    FIGURES,
    InMemory,
    Plan,
    World,
    desk,
    digest,
    fooled,
    in_memory,
    ready,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CARD = ("judge_card", "desk_judge")


def generated(**figures: Any) -> Plan:
    """`tickets` was generated; the card of its judge says something else."""
    plan = desk()
    plan.generates()
    if figures:
        plan.say(*CARD, figures={**FIGURES, **figures})
    return plan


def codes(decision: Decision) -> list[str]:
    return [finding.code for finding in decision.findings]


def before(plan: Plan) -> Decision:
    world = in_memory(plan)
    assert plan.generation
    return decide_generation(
        plan.generation, world.policies, world.evidence, world.at, authority=None
    )


def at_gate(world: World) -> Decision:
    return decide_gate(world.request, world.policies, world.evidence, world.at, authority=None)


def named(**figures: Any) -> list[str]:
    made = JudgeFigures.model_validate({**FIGURES, **figures})
    return [reason.measure for reason in shortcomings(made, JudgeLimits(), 0.95)]


def tried(**counts: int) -> dict[str, int]:
    return {"items": 100, "won": 0, "once": 0, **counts}


def test_a_judge_with_a_card_may_make_data() -> None:
    assert before(generated()).allowed and at_gate(in_memory(generated())).allowed


def test_without_a_card_nothing_is_generated_and_nothing_trains() -> None:
    plan = generated()
    plan.without.add(CARD)
    assert codes(before(plan)) == codes(at_gate(in_memory(plan))) == ["JUDGE_NOT_CHECKED"]


def test_the_findings_of_a_judge_name_the_measure() -> None:
    plan = generated()
    fooled(plan)
    (finding,) = before(plan).findings
    assert (finding.code, finding.measure) == ("JUDGE_FAILED", "constant")


def test_a_card_that_ended_after_the_generation_counts_for_it() -> None:
    plan = generated()
    plan.say(*CARD, until="2026-11-20")
    plan.at = datetime(2026, 12, 24, tzinfo=UTC)
    assert codes(before(plan)) == ["JUDGE_CARD_EXPIRED"]  # nothing new
    assert at_gate(in_memory(plan)).allowed  # it was generated on 2026-11-20


def test_policy_ends_a_card_earlier_than_it_says() -> None:
    plan = generated()
    judges = JudgeLimits(valid_days=1)
    plan.policy(evaluation=plan.policies.evaluation.model_copy(update={"judges": judges}))
    plan.at = datetime(2026, 12, 24, tzinfo=UTC)
    assert codes(before(plan)) == ["JUDGE_CARD_EXPIRED"]


def test_a_card_of_another_rubric_or_wording_is_no_card() -> None:
    plan = generated()
    assert plan.generation
    judge = judge_of(plan.generation)
    assert judge
    for changes in ({"rubric": digest("x")}, {"templates": digest("x")}, {"speaker": digest("x")}):
        other = judge.model_copy(update=changes)
        world = in_memory(plan)
        assert standing(world.evidence, judge_digest(judge), world.policies, NOW).passed
        found = standing(world.evidence, judge_digest(other), world.policies, NOW)
        assert [reason.code for reason in found.reasons] == ["JUDGE_NOT_CHECKED"]


def test_a_card_about_one_judge_that_is_filed_under_another_is_no_card() -> None:
    plan = generated()
    assert plan.generation
    judge = judge_of(plan.generation)
    assert judge
    plan.say(*CARD, judged_by=judge.model_copy(update={"speaker": digest("x")}).model_dump())
    assert codes(before(plan)) == ["JUDGE_NOT_CHECKED"]


class Older(InMemory):
    """A log under version 2 of the rules."""

    def rules_at(self, index: int) -> int:
        return 2


def test_under_earlier_rules_a_card_is_needed_only_where_policy_has_limits() -> None:
    plan = generated()
    plan.without.add(CARD)
    world, older = in_memory(plan), Older()
    older.items = world.evidence.items  # type: ignore[attr-defined]
    assert plan.generation
    asked = (plan.generation, world.policies, older, world.at)
    assert decide_generation(*asked, authority=None).allowed
    evaluation = world.policies.evaluation.model_copy(update={"judges": JudgeLimits()})
    plan.policy(evaluation=evaluation)
    asked = (plan.generation, plan.policies, older, world.at)
    assert codes(decide_generation(*asked, authority=None)) == ["JUDGE_NOT_CHECKED"]


def test_labels_count_only_if_people_made_them_and_the_judge_did_not_learn_them() -> None:
    plan = generated()
    plan.say(*CARD, labelled="pairs", split="train", inputs={"labelled": ready("pairs")})
    (finding,) = before(plan).findings  # dpo was trained on the pairs
    assert (finding.code, finding.measure) == ("JUDGE_FAILED", "labels")
    plan.say(*CARD, split="test")
    assert before(plan).allowed
    plan.card("pairs", generated_by="sft")
    assert [each.measure for each in before(plan).findings] == ["labels"]
    plan = generated()
    judges = JudgeLimits(labelled=["other"])
    plan.policy(evaluation=plan.policies.evaluation.model_copy(update={"judges": judges}))
    assert [each.measure for each in before(plan).findings] == ["labels"]


@pytest.mark.parametrize(
    ("figures", "measures"),
    [
        ({"agreement": {"items": 9, "raters": 1, "kappa": None}}, ["agreement"]),
        (
            {
                "agreement": {
                    "items": 200, "raters": 1, "kappa": {"value": 0.5, "low": 0.39, "high": 0.6}
                }
            },
            ["agreement"],
        ),
        ({"orders": {"items": 200, "won": 160, "once": 0}}, ["order"]),
        # not measured is not passed
        ({"measures": {}}, [*FIGURES["measures"]]),
        ({"measures": {**FIGURES["measures"], "empty": tried(items=19)}}, ["empty"]),
        # half a win for one order: 5 of 100, upper end 0.112
        ({"measures": {**FIGURES["measures"], "instruction": tried(once=10)}}, ["instruction"]),
        ({"measures": {**FIGURES["measures"], "instruction": tried(once=8)}}, []),
        ({"measures": {**FIGURES["measures"], "longer": tried(once=100)}}, []),
        ({"measures": {**FIGURES["measures"], "longer": tried(won=65)}}, ["longer"]),
    ],
)  # fmt: skip
def test_the_unfavourable_end_of_each_interval_decides(
    figures: dict[str, Any], measures: list[str]
) -> None:
    assert named(**figures) == measures


def test_what_order_explains_is_not_counted_twice() -> None:
    measures = {**FIGURES["measures"], "constant": tried(once=100)}
    assert named(measures=measures, orders={"items": 200, "won": 20, "once": 0}) == ["order"]
    assert named(measures=measures) == ["constant"]


def test_the_interval_of_the_own_family_is_that_of_agresti_and_caffo() -> None:
    """Their adjusted proportions: 41/102 and 11/102; z 1.96."""
    family = OwnFamily.model_validate(
        {"people_prefer_other": tried(won=40), "people_prefer_own": tried(won=10)}
    )
    found = family_excess(family, 0.95)
    assert found.mean == pytest.approx(0.3)
    assert (found.low, found.high) == (
        pytest.approx(0.1816, abs=2e-4),
        pytest.approx(0.4067, abs=2e-4),
    )
