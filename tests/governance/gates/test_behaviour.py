"""What is judged of behaviour, and what is not. What is refused: `test_decisions`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from governance.gates.checks import behaviour as checks
from governance.gates.checks import context
from governance.gates.decisions import decide_automatic, decide_gate, decide_release
from governance.history import lineage
from governance.history.chain import Chain, Suite
from governance.log.rules import CURRENT
from governance.machine import machine
from governance.policy.evaluation import BehaviourLimits, Demands, SuitePolicy, Threshold
from governance.release import promotion
from tests.governance import governed, story
from tests.governance.gates.behaving import (
    BETTER,
    HEALTHY,
    ROSE,
    Change,
    behaves,
    longer_in,
    ranks_so,
)
from tests.simulator import SCORES, Plan, desk, digest, imported, in_memory, model, reference


def _limited(method: str, suite: str = "eval", **limits: float) -> Change:
    """The row of a method has limits of its own."""

    def change(plan: Plan) -> None:
        row = plan.policies.evaluation.suites[suite].methods[method]
        own = {"behaviour": BehaviourLimits.model_validate(limits)}
        plan.demand(suite, method, row.model_copy(update=own))

    return change


def _codes(*changes: Change) -> list[str]:
    plan = desk()
    for change in changes:
        change(plan)
    world = in_memory(plan)
    decision = decide_gate(world.request, world.policies, world.evidence, world.at, authority=None)
    return [finding.code for finding in decision.findings]


EMPTY = {"empty": [1.0] * 100}


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ([behaves()], []),
        ([behaves(**ROSE)], []),
        ([behaves(**EMPTY)], ["DEGENERATE_OUTPUT"]),
        ([behaves(**EMPTY), _limited("dpo", empty=1.0)], []),
        ([behaves(refused=[1.0] * 100)], []),
        ([behaves(refused=[1.0] * 100), _limited("dpo", refused=0.5)], ["DEGENERATE_OUTPUT"]),
        ([behaves(tokens=[1.0] * 100)], []),  # no reward rose: a shorter answer may be better
        ([behaves(kl=[0.9] * 100), _limited("dpo", kl=0.5)], ["OVER_OPTIMISED"]),
    ],
    ids=[
        *("healthy", "rewards rose", "empty", "limit raised", "refusals", "refusals limited"),
        *("short", "nearer"),
    ],
)
def test_a_row_of_policy_sets_its_own_limits(changes: list[Change], codes: list[str]) -> None:
    assert _codes(*changes) == codes


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ([ranks_so()], []),
        # the model reads only length, which is right in 60 of 100 pairs
        (
            [ranks_so(margins=[1.0] * 60 + [-1.0] * 40, **longer_in(60, 40))],
            [BETTER, "RANKED_BY_LENGTH"],
        ),
        # it is as good as the rule that the shorter answer is right
        ([ranks_so(margins=[1.0] * 60 + [-1.0] * 40, **longer_in(40, 60))], [BETTER]),
        ([ranks_so(margins=[1.0] * 100, **longer_in(100, 0))], [BETTER, "RANKED_BY_LENGTH"]),
        ([ranks_so(margins=[1.0] * 100, **longer_in(95, 5))], ["RANKED_BY_LENGTH"]),
        (
            [
                ranks_so(margins=[1.0] * 100, **longer_in(95, 5)),
                _limited("reward", suite="pairs", ranked_by_length=1.0),
            ],
            [],
        ),
    ],
)
def test_a_reward_model_reads_more_than_length(changes: list[Change], codes: list[str]) -> None:
    assert _codes(*changes) == codes


@pytest.mark.parametrize(
    ("rules", "method", "judged"),
    [(2, "reward", False), (2, "dpo", True), (CURRENT, "reward", True), (CURRENT, "dpo", True)],
)
def test_a_reward_model_that_was_evaluated_under_earlier_rules_states_no_pairs(
    rules: int, method: str, judged: bool
) -> None:
    """So its gate of then decides the same when it is repeated."""
    plan = desk()
    behaves()(plan)
    facts: Any = SimpleNamespace(
        ref=SimpleNamespace(suite="eval"),
        node=SimpleNamespace(known=True, method=method),
        behaved=SimpleNamespace(index=7, predicate=SimpleNamespace(suite_name="eval")),
        limits_on=lambda suite: plan.policies.evaluation.limits(suite, method),
    )
    authority = SimpleNamespace(rules_at=lambda index: rules if index == 7 else CURRENT)
    context: Any = SimpleNamespace(models=[facts], authority=authority, alias=None)
    found = [each for each, _ in checks._with_limits(context)]
    assert found == ([facts] if judged else [])


def _watched(
    *points: tuple[int, float, float], error: float = 0.02, lower: bool = False, **more: Any
) -> Change:
    """The training of `dpo` with (step, score, reward) at each look, and healthy behaviour."""

    def change(plan: Plan) -> None:
        behaves()(plan)
        scored = [
            {"step": step, "scores": {"exact": {"mean": score, "error": error}}}
            for step, score, _ in points
        ]
        looks = {"suite": "eval", "items": 100, "count": len(points), "points": scored}
        looks |= {"lower_is_better": ["exact"] if lower else []}
        curve = [{"step": step, "reward": reward, "kl": step / 100} for step, _, reward in points]
        plan.say("train", "dpo", looks=looks, curve=curve, steps=points[-1][0], **more)

    return change


WORN = [(10, 0.9, 0.5), (20, 0.95, 0.7), (30, 0.6, 0.9)]
CHOSEN = {"metric": "eval_reward", "value": 0.7, "step": 20, "looks": 3}


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        pytest.param(_watched(*WORN), ["OVER_OPTIMISED"], id="reward rose, quality fell"),
        pytest.param(_watched(*WORN, selected=CHOSEN), [], id="the best step is published"),
        pytest.param(_watched(*WORN, error=0.2), [], id="few items show nothing"),
        pytest.param(_watched(*WORN, lower=True), [], id="less is better"),
        pytest.param(_watched(*WORN[:2]), [], id="both rose"),
        pytest.param(_watched(WORN[0]), [], id="one look"),
        pytest.param(_watched(WORN[1], (30, 0.6, 0.1)), [], id="both fell"),
        pytest.param(
            _watched((10, 0.1, 0.5), (20, 0.4, 0.9), lower=True), ["OVER_OPTIMISED"], id="unsafe"
        ),
        # 0.95 to 0.86: two looks show it, the best of 20 may be luck
        pytest.param(_watched((10, 1.0, 0.5), (20, 0.86, 0.9)), ["OVER_OPTIMISED"], id="two looks"),
        pytest.param(
            _watched((10, 1.0, 0.5), *[(at, 0.86, 0.9) for at in range(11, 400)]),
            [],
            id="many looks",
        ),
    ],
)
def test_a_reward_that_rises_while_held_back_records_score_worse_is_over_optimised(
    change: Change, codes: list[str]
) -> None:
    plan = desk()
    change(plan)
    limited = {"behaviour": BehaviourLimits(fall=0.05)}
    plan.policy(evaluation=plan.policies.evaluation.model_copy(update=limited))
    world = in_memory(plan)
    decision = decide_gate(world.request, world.policies, world.evidence, world.at, authority=None)
    assert [finding.code for finding in decision.findings] == codes
    for finding in decision.findings:
        assert "KL" in (finding.found or "") and "along the training" in finding.message


def _limits_nothing(policies: Path) -> None:
    path = policies / "evaluation.yaml"
    before, _, rest = path.read_text(encoding="utf-8").partition("behaviour:\n")
    path.write_text(before + rest.partition("\n\n")[2], encoding="utf-8")


@pytest.mark.parametrize(
    ("rules", "measured", "codes"),
    [
        pytest.param(2, {**HEALTHY, **EMPTY}, [], id="empty answers under earlier rules"),
        pytest.param(2, None, [], id="not measured under earlier rules"),
        pytest.param(CURRENT, {**HEALTHY, **EMPTY}, ["DEGENERATE_OUTPUT"], id="empty answers"),
        pytest.param(CURRENT, None, ["EVALUATION_INCOMPLETE"], id="not measured"),
        pytest.param(CURRENT, HEALTHY, [], id="healthy"),
    ],
)
def test_the_defaults_hold_where_policy_sets_no_limits(
    rules: int,
    measured: dict[str, list[float]] | None,
    codes: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "CURRENT", rules)
    monkeypatch.setattr(story, "BEHAVIOUR", measured and {"measures": measured})
    scene = governed.empty(tmp_path, edit=_limits_nothing)
    governed.authorize(scene)
    story.tell(scene.story)
    now = promotion.state(scene.story.log)
    assert now.authority.policies.evaluation.behaviour is None
    request = promotion.ask(now, "promote", story.MODEL, "1", "champion")
    decision = decide_automatic(request, now.evidence, scene.now, now.authority)
    assert [finding.code for finding in decision.findings] == codes


# -- Who says it -----------------------------------------------------------------------------------
FAR = {"kl": [9.0] * 100}
NOT_OWN = {"not_measured": "behaviour is measured on the model's own suite"}
OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("evaluate_base@ours", {"measures": HEALTHY}),  # its bytes are a base, too: it has no parent
    ("evaluate_further@again", NOT_OWN),  # of a base with its bytes, which has another suite
]


def _again(stage: str, behaviour: dict[str, Any], name: str = "dpo") -> Change:
    """Another stage evaluates the same bytes on the same suite, later."""

    def change(plan: Plan) -> None:
        plan.further["again"] = (name, "eval")
        plan.say("evaluate", "again", stage=stage, behaviour=behaviour, scores=SCORES[name])
        plan.say("evaluate", "again", slices={"language": ["en"] * 150 + ["de"] * 50})

    return change


@pytest.mark.parametrize(("stage", "behaviour"), OTHERS)
def test_only_the_stage_of_a_training_says_how_its_model_behaves(
    stage: str, behaviour: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = [behaves(**FAR), _again(stage, behaviour)]
    assert _codes(*changes) == ["OVER_OPTIMISED"]
    assert _codes(behaves(), *changes[1:]) == []
    for module in (lineage, context):  # statements under earlier rules count as they did
        monkeypatch.setattr(module, "OWN_EVALUATION", CURRENT + 1)
    assert _codes(*changes) == []


@pytest.mark.parametrize(("stage", "behaviour"), OTHERS)
def test_what_others_say_alone_is_no_measurement(stage: str, behaviour: dict[str, Any]) -> None:
    def unmeasured(plan: Plan) -> None:
        plan.without.add(("evaluate", "dpo"))

    assert _codes(behaves(), _again(stage, behaviour), unmeasured) == ["EVALUATION_INCOMPLETE"]


def test_behaviour_beside_another_model_than_the_parent_is_incomplete() -> None:
    def beside(parent: str | None) -> Change:
        measured = {"measures": HEALTHY, "parent": parent}
        return lambda plan: plan.say("evaluate", "dpo", behaviour=measured)

    assert _codes(behaves(), beside(model("sft"))) == []
    assert _codes(behaves(), beside(model("base"))) == ["EVALUATION_INCOMPLETE"]
    assert _codes(behaves(), beside(None)) == ["EVALUATION_INCOMPLETE"]


def test_a_training_with_the_same_result_from_the_same_parent_may_say_it() -> None:
    """Two rows of params.yaml can be the same training."""

    def renamed(plan: Plan) -> None:
        plan.say("train", "dpo", stage="train@copy")
        plan.say("gate", "dpo", stage="gate@copy")
        plan.say("evaluate", "dpo", stage="evaluate@copy")

    assert "EVALUATION_INCOMPLETE" not in _codes(behaves(), renamed)


@pytest.mark.parametrize("measures", [HEALTHY, {**HEALTHY, **EMPTY}])
def test_a_further_suite_of_other_names_says_nothing_of_an_imported_model(
    measures: dict[str, list[float]],
) -> None:
    plan = imported()
    limited = {"behaviour": BehaviourLimits()}
    plan.policy(evaluation=plan.policies.evaluation.model_copy(update=limited))
    plan.say("evaluate", "bought", behaviour={"measures": measures})
    _again(*OTHERS[1], name="bought")(plan)
    world = in_memory(plan)
    found = decide_release(
        world.release, world.policies, world.evidence, world.at, authority=None
    ).findings
    codes = [] if measures is HEALTHY else ["DEGENERATE_OUTPUT"]
    assert [finding.code for finding in found] == codes


@pytest.mark.parametrize(("far", "codes"), [({}, []), (FAR, ["OVER_OPTIMISED"])])
def test_a_version_of_ours_is_judged_on_the_suite_of_its_training(
    far: dict[str, list[float]], codes: list[str]
) -> None:
    """As a base it has a suite of its own row, where nobody measures it beside its parent."""

    def based(plan: Plan) -> None:
        plan.suites["other"] = digest("suite other")
        exact = Demands(thresholds={"exact": Threshold(at_least=0.9)})
        suites = {**plan.policies.evaluation.suites, "other": SuitePolicy(methods={"dpo": exact})}
        plan.policy(evaluation=plan.policies.evaluation.model_copy(update={"suites": suites}))
        _again(*OTHERS[0])(plan)
        plan.further["again"] = ("dpo", "other")
        ours = {"name": "ours", "outside": True, "suite": "other", "further": []}
        ours["suite_digest"] = plan.suites["other"]
        plan.request = lambda request: request.model_copy(
            update={"parent": reference("dpo", plan.suites).model_copy(update=ours)}
        )

    assert _codes(behaves(**far), based) == codes


def test_the_packet_has_the_evaluation_that_decided() -> None:
    plan = desk()
    behaves()(plan)
    _again(*OTHERS[0])(plan)
    world = in_memory(plan)
    chain = Chain(world.evidence, model("grpo"), "grpo")
    (node,) = [node for node in chain.chain if node.name == "dpo"]
    found = chain.evaluation(node, Suite("eval", plan.suites["eval"]))
    assert found is not None and found.predicate.stage == "evaluate@dpo"


def test_limits_stand_beside_a_reason_for_no_thresholds() -> None:
    demands = Demands(none="it is only a test", behaviour=BehaviourLimits(truncated=0.9))
    assert demands.behaviour is not None
