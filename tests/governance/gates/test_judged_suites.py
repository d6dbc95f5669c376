"""Suites on which a judge compared a model's answers: without a card that counts, no figure of them
decides or is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from governance.attest.predicates import Evaluate, Finding, JudgeRef
from governance.attest.requests import GateRequest
from governance.gates import judging
from governance.gates.checks.context import ModelFacts
from governance.gates.decisions import decide_gate, decide_release
from governance.log.evidence import Evidence
from governance.policy.evaluation import Comparison, Demands, SliceThreshold, Threshold
from governance.policy.judges import JudgeLimits
from tests.simulator import (
    FIGURES,
    Plan,
    World,
    desk,
    digest,
    in_memory,
    judged_by,
    model,
    ready,
)

NOTHING = Demands(none="a reason that is long enough")
WINS = Demands(
    thresholds={"win_rate": Threshold(at_least=0.7)},
    compare=[Comparison(reference="parent", metric="win_rate", may_fall=0.1)],
    slices=[SliceThreshold(by="language", metric="win_rate", at_least=0.7)],
)
METHODS = {
    **dict.fromkeys(("base", "pretrain", "sft", "reward"), NOTHING),
    **dict.fromkeys(("dpo", "grpo"), WINS),
}
CARD = ("judge_card", "wins_judge")
ROWS = ("sft_wins", "dpo_wins", "grpo_wins")


def compared() -> Plan:
    """A judge compared the answers of three models."""
    plan = desk()
    plan.compare("wins", "sft", "dpo", "grpo", **METHODS)
    for row in ROWS:
        plan.say("evaluate", row, slices={"language": ["en", "de"] * 100})
    return plan


def at_gate(plan: Plan) -> tuple[Finding, ...]:
    """Of `gate@grpo`, which builds on `dpo`."""
    world = in_memory(plan)
    asked = (world.request, world.policies, world.evidence, world.at)
    return decide_gate(*asked, authority=None).findings


def at_release(plan: Plan) -> tuple[Finding, ...]:
    """Of what `grpo` made."""
    world = in_memory(plan)
    asked = (world.release, world.policies, world.evidence, world.at)
    return decide_release(*asked, authority=None).findings


def facts(world: World, name: str = "dpo") -> ModelFacts:
    """A model on the judged suite."""
    own = ModelFacts(world.request.parent, world.evidence, world.policies)
    assert own.ref.name == name
    (further,) = own.further(["wins"])
    return further


def about(findings: tuple[Finding, ...], name: str) -> set[tuple[str, str]]:
    """Code and measure of the findings about a model on the suite."""
    return {
        (each.code, each.measure) for each in findings if each.subject == f"model {name} on wins"
    }


def test_a_judge_that_passed_its_check_decides() -> None:
    plan = compared()
    assert at_gate(plan) == at_release(plan) == ()
    held = facts(in_memory(plan))
    assert held.not_shown == () and all(each.passed for each in held.judged)
    plan.say("evaluate", "dpo_wins", scores={"win_rate": [0.5] * 200})
    codes = {code for code, _ in about(at_gate(plan), "dpo")}
    assert codes == {"THRESHOLD_NOT_MET", "SLICE_NOT_MET", "WORSE_THAN_REFERENCE"}


def _without_card(plan: Plan) -> None:
    plan.without.add(CARD)


def _ended(plan: Plan) -> None:
    plan.say(*CARD, until="2026-11-01")


def _ended_by_policy(plan: Plan) -> None:
    judges = JudgeLimits(valid_days=1)
    plan.say(*CARD, run=_run("2026-11-01T10:00:00Z"))
    plan.policy(evaluation=plan.policies.evaluation.model_copy(update={"judges": judges}))


def _run(at: str) -> dict[str, object]:
    who = {"name": "ada", "authenticated": False}
    return {"started": at, "finished": at, "seconds": 1.0, "requested_by": who}


def _fooled(plan: Plan) -> None:
    measures = {**FIGURES["measures"], "constant": {"items": 100, "won": 60, "once": 10}}
    plan.say(*CARD, figures={**FIGURES, "measures": measures})


def _other(**changes: str) -> Callable[[Plan], None]:
    def change(plan: Plan) -> None:
        plan.judges["wins_judge"] = plan.judges["wins_judge"].model_copy(update=changes)

    return change


FAULTS: list[tuple[str, str, Callable[[Plan], None]]] = [
    ("JUDGE_NOT_CHECKED", "", _without_card),
    ("JUDGE_NOT_CHECKED", "", _other(speaker=digest("another model"))),
    ("JUDGE_NOT_CHECKED", "", _other(rubric=digest("another rubric"))),
    ("JUDGE_NOT_CHECKED", "", _other(templates=digest("other words"))),
    ("JUDGE_CARD_EXPIRED", "", _ended),
    ("JUDGE_CARD_EXPIRED", "", _ended_by_policy),
    ("JUDGE_FAILED", "constant", _fooled),
]


@pytest.mark.parametrize(("code", "measure", "change"), FAULTS)
def test_a_judge_that_does_not_count_decides_nothing(
    code: str, measure: str, change: Callable[[Plan], None]
) -> None:
    plan = compared()
    change(plan)
    assert about(at_gate(plan), "dpo") == about(at_release(plan), "grpo") == {(code, measure)}
    held = facts(in_memory(plan))
    results = [*held.judged, *held.sliced, *held.compared]
    assert len(results) == 3
    for result in results:
        assert (result.figure, result.passed, result.found) == (None, False, f"not shown: {code}")


def _judge_is(name: str) -> Callable[[Plan], None]:
    """The judge has the bytes of a model of the project; it was asked as one is."""

    def change(plan: Plan) -> None:
        judge = plan.judges["wins_judge"].model_copy(update={"speaker": model(name)})
        plan.judges["wins_judge"] = judge
        for row in ROWS:
            plan.say("evaluate", row, judged_by=judged_by(judge))

    return change


@pytest.mark.parametrize(
    ("judge", "gate", "release"),
    [
        ("reward", set(), {("JUDGE_OPTIMISED_FOR", "")}),
        ("sft", set(), set()),
        ("base", set(), set()),
    ],
)
def test_a_reward_model_judges_nothing_that_was_optimised_with_it(
    judge: str, gate: set[tuple[str, str]], release: set[tuple[str, str]]
) -> None:
    """`reward` is the reward model of `grpo`, and of nothing before it."""
    plan = compared()
    _judge_is(judge)(plan)
    assert about(at_gate(plan), "dpo") == gate
    assert about(at_release(plan), "grpo") == release


def test_nor_what_was_made_from_a_model_that_was_optimised_with_it() -> None:
    plan = compared()
    _judge_is("reward")(plan)
    used = {"data": ready("pairs"), "parent": model("sft"), "scorer": model("reward")}
    plan.say("train", "dpo", inputs={**used, "gate": digest("gate dpo")})
    plan.say("train", "grpo", inputs={"data": ready("tickets"), "parent": model("dpo")})
    (found,) = [each for each in at_release(plan) if each.subject == "model grpo on wins"]
    assert found.code == "JUDGE_OPTIMISED_FOR" and found.found == "reward model of dpo"
    assert about(at_gate(plan), "dpo") == {("JUDGE_OPTIMISED_FOR", "")}


def test_a_judge_that_counts_for_one_side_of_a_comparison_compares_nothing() -> None:
    plan = compared()
    plan.say(*CARD, until="2026-11-20")
    plan.say("evaluate", "sft_wins", run=_run("2026-12-01T10:00:00Z"))  # the parent, later
    held = facts(in_memory(plan))
    assert all(result.passed for result in held.judged)
    (result,) = held.compared
    assert result.found == "the reference: not shown: JUDGE_CARD_EXPIRED"
    assert about(at_gate(plan), "dpo") == {("NOT_COMPARABLE", "win_rate, against parent")}


def test_a_card_that_ended_after_the_evaluation_counts_for_it() -> None:
    plan = compared()
    plan.say(*CARD, until="2026-11-20")
    plan.at = datetime(2026, 12, 24, tzinfo=UTC)
    assert facts(in_memory(plan)).not_shown == ()


def test_an_evaluation_without_the_judge_that_its_suite_names_does_not_count() -> None:
    plan = compared()
    (judge,) = plan.judges.values()
    named = judging.judge_digest(judge)

    def naming(request: GateRequest) -> GateRequest:
        (further,) = request.parent.further
        changed = further.model_copy(update={"judge": named, "prompts": "eval"})
        parent = request.parent.model_copy(update={"further": [changed]})
        return request.model_copy(update={"parent": parent})

    plan.request = naming
    assert at_gate(plan) == ()
    assert naming(in_memory(compared()).request).parent.further[0].stage == (
        "evaluate_judged@dpo_wins"
    )
    plan.say("evaluate", "dpo_wins", judged_by=None)
    assert ("JUDGE_NOT_CHECKED", "") in about(at_gate(plan), "dpo")


def evaluated(plan: Plan, row: str) -> Evidence[Evaluate]:
    world = in_memory(plan)
    found = [
        each for each in world.evidence.all(Evaluate) if each.predicate.stage.endswith(f"@{row}")
    ]
    return found[-1]


def test_what_is_not_shown_has_no_figure_left() -> None:
    plan = compared()
    world = in_memory(plan)
    own = evaluated(plan, "dpo_wins")
    assert judging.as_shown(world.evidence, own, world.policies) is own
    plan.without.add(CARD)
    world = in_memory(plan)
    shown = judging.as_shown(world.evidence, own, world.policies).predicate
    assert (shown.scores, shown.slices) == ({"win_rate": []}, {})
    assert shown.without_scores == "not shown: JUDGE_NOT_CHECKED"
    assert (shown.suite, shown.judged_by) == (own.predicate.suite, own.predicate.judged_by)
    unknown = judging.as_shown(world.evidence, own, None).predicate
    assert unknown.not_shown == "JUDGE_NOT_CHECKED"


def test_an_evaluation_of_functions_needs_no_judge() -> None:
    world = in_memory(desk())
    for each in world.evidence.all(Evaluate):
        assert judging.as_shown(world.evidence, each, None) is each


def test_the_counts_of_a_judged_suite_are_those_of_its_items() -> None:
    plan = compared()
    said = evaluated(plan, "dpo_wins").predicate.judged_by
    assert said is not None and isinstance(said.judge, JudgeRef)
    with pytest.raises(ValueError, match="numbers of pairs differ"):
        type(said).model_validate(said.model_dump(mode="json") | {"equal": 11})
