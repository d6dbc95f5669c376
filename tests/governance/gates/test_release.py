"""What a release is refused for: the model itself, and every gate of its chain decided anew under
today's policy.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from governance.attest.codes import CODES
from governance.attest.requests import ReleaseDecision, ReleaseRequest
from governance.gates.decisions import RELEASE_CHECKS, decide_release
from governance.policy.rules import ModelPolicy, Tier
from tests.governance import snapshots
from tests.simulator import (
    ITEMS,
    MODEL,
    SCORES,
    Plan,
    World,
    desk,
    digest,
    in_log,
    in_memory,
    model,
)

Change = Callable[[Plan], None]
OTHER = digest("something else")
RECORDED = Path(__file__).parent / "findings_of_releases.json"


def _decide(world: World) -> ReleaseDecision:
    return decide_release(world.release, world.policies, world.evidence, world.at, authority=None)


def _asked(**changes: object) -> Change:
    return lambda plan: setattr(
        plan, "released", lambda request: request.model_copy(update=changes)
    )


def _released(**changes: object) -> Change:
    def change(plan: Plan) -> None:
        plan.released = lambda request: request.model_copy(
            update={"released": request.released.model_copy(update=changes)}
        )

    return change


def _worse_than_champion(plan: Plan) -> None:
    """The champion is the sft model, which gets everything right here; the parent of the released
    one does not.
    """
    plan.say("evaluate", "sft", scores={**SCORES["sft"], "exact": [1.0] * ITEMS})
    plan.say("evaluate", "dpo", scores={**SCORES["dpo"], "exact": [1.0] * 191 + [0.0] * 9})
    plan.say("evaluate", "grpo", scores={**SCORES["grpo"], "exact": [1.0] * 191 + [0.0] * 9})
    plan.demand("eval", "dpo", plan.policies.evaluation.suites["eval"].methods["sft"])
    _asked(champion=model("sft"))(plan)


def _later(plan: Plan) -> None:
    plan.at = datetime(2030, 1, 2, tzinfo=UTC)


def _scanned_under_a_policy_no_longer_in_force(plan: Plan) -> None:
    plan.policy(pii=plan.policies.pii.model_copy(update={"threshold": 0.2}))


def _stricter_tier(plan: Plan) -> None:
    """Trained under a lax name, released under a strict one: the name it is released under
    counts.
    """
    tiers = {
        **plan.policies.rules.tiers,
        "strict": Tier(promotable=True, approvals=2, classifications=["public"]),
    }
    strict = ModelPolicy(tier="strict", purpose="customer-support", region="EU")
    plan.rules(tiers=tiers, models={**plan.policies.rules.models, "bank-desk": strict})
    _asked(model="bank-desk")(plan)


SCENARIOS: list[tuple[str, str, set[str], Change]] = [
    # what is wrong, the code, the subjects it is told of
    ("unknown bytes", "EVIDENCE_MISSING", {"model grpo"}, _released(sha256=OTHER)),
    (
        "never gated",
        "GATE_MISSING",
        {"model grpo"},
        lambda plan: plan.without.add(("gate", "grpo")),
    ),
    (
        "not evaluated",
        "EVIDENCE_MISSING",
        {"model grpo"},
        lambda plan: plan.without.add(("evaluate", "grpo")),
    ),
    (
        "pickle inside",
        "UNSAFE_FILES",
        {"model grpo"},
        _released(files=["model.safetensors", "training_args.bin"]),
    ),
    ("unknown name", "MODEL_UNKNOWN", {"model another"}, _asked(model="another")),
    (
        "below its threshold",
        "THRESHOLD_NOT_MET",
        {"model grpo"},
        lambda plan: plan.say(
            "evaluate", "grpo", scores={**SCORES["grpo"], "unsafe": [0.5] * ITEMS}
        ),
    ),
    ("worse than the champion", "WORSE_THAN_REFERENCE", {"model grpo"}, _worse_than_champion),
    ("champion never evaluated", "NOT_COMPARABLE", {"model grpo"}, _asked(champion=OTHER)),
    ("governed alias", "ALIAS_NOT_PERMITTED", {"model support-desk"}, _asked(alias="champion")),
    # gates decided anew
    (
        "data expired since",
        "DATACARD_EXPIRED",
        {"dataset text", "dataset chats", "dataset pairs", "dataset tickets"},
        _later,
    ),
    (
        "licence withdrawn since",
        "LICENCE_NOT_PERMITTED",
        {"dataset chats"},
        lambda plan: plan.card("chats", licence="CC-BY-NC-4.0"),
    ),
    (
        "scan policy changed since",
        "SCAN_OUT_OF_DATE",
        {"dataset text", "dataset chats", "dataset pairs", "dataset tickets"},
        _scanned_under_a_policy_no_longer_in_force,
    ),
    (
        "reward withdrawn since",
        "REWARD_NOT_PERMITTED",
        {"stage grpo"},
        lambda plan: plan.rules(rewards=["model"]),
    ),
    ("base withdrawn since", "BASE_NOT_ALLOWED", {"base tiny"}, lambda plan: plan.policy(bases={})),
    (
        "parent below a new threshold",
        "EVALUATION_INCOMPLETE",
        {"model dpo"},
        lambda plan: plan.say("evaluate", "dpo", scores={"exact": SCORES["dpo"]["exact"]}),
    ),
    (
        "stricter tier than trained under",
        "CLASSIFICATION_NOT_PERMITTED",
        {"dataset text", "dataset chats", "dataset pairs", "dataset tickets"},
        _stricter_tier,
    ),
    (
        "request not recorded",
        "EVIDENCE_INCONSISTENT",
        {"stage sft"},
        lambda plan: plan.say("gate", "sft", parameters={}),
    ),
]


def test_a_chain_in_order_may_be_a_candidate() -> None:
    decision = _decide(in_memory(desk()))
    assert decision.allowed and decision.findings == ()
    assert list(decision.gates) == [
        model(name) for name in ("base", "sft", "dpo", "reward", "grpo")
    ]
    assert decision.decided_on == {"model": model("grpo")}


def test_a_signed_log_in_order_may_be_a_candidate(tmp_path: Path) -> None:
    assert _decide(in_log(desk(), tmp_path)).findings == ()


@pytest.mark.parametrize(
    ("name", "code", "subjects", "change"), SCENARIOS, ids=[row[0] for row in SCENARIOS]
)
def test_each_fault_refuses_the_release(
    name: str, code: str, subjects: set[str], change: Change
) -> None:
    plan = desk()
    change(plan)
    decision = _decide(in_memory(plan))
    assert not decision.allowed, name
    assert {finding.code for finding in decision.findings} == {code}
    assert {finding.subject for finding in decision.findings} == subjects
    assert code in CODES
    snapshots.check(RECORDED, name, decision.findings)


def test_the_recorded_findings_are_those_of_the_scenarios() -> None:
    assert snapshots.scenarios(RECORDED) == {row[0] for row in SCENARIOS}


def test_a_governed_alias_says_what_stands_in_its_way() -> None:
    plan = desk()
    _asked(alias="champion")(plan)
    plan.say("train", "sft", code={"commit": "0" * 40, "dirty": True})
    (finding,) = _decide(in_memory(plan)).findings
    for part in ("development keys", "uncommitted", "train@sft", "gives no rights to people"):
        assert part in finding.found


def test_a_model_that_altered_packages_made_is_good_for_candidate_only() -> None:
    plan = desk()
    environment = {
        "python": "3.11.7",
        "platform": "Linux-x86_64",
        "versions": {},
        "distributions": digest("installed"),
        "files": digest("files"),
    }
    plan.say("train", "sft", environment=environment)
    as_recorded = _decide(in_memory(plan)).candidate_only
    altered = ["purelib/trl/trainer/sft_trainer.py"]
    plan.say("train", "sft", environment={**environment, "altered": altered})
    decision = _decide(in_memory(plan))
    assert decision.allowed
    more = set(decision.candidate_only) - set(as_recorded)
    assert more == {"altered package files in train@sft"}
    _asked(alias="champion")(plan)
    (finding,) = _decide(in_memory(plan)).findings
    assert "altered package files in train@sft" in finding.found


def test_what_keeps_a_candidate_from_more_is_told_with_it() -> None:
    plan = desk()
    plan.tier(promotable=False)
    decision = _decide(in_memory(plan))
    assert decision.allowed
    assert any("not promotable" in reason for reason in decision.candidate_only)


def test_without_its_check_the_alias_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = desk()
    _asked(alias="champion")(plan)
    monkeypatch.delitem(RELEASE_CHECKS, "alias")
    assert _decide(in_memory(plan)).allowed


def test_what_crashes_denies_the_release(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(_: object) -> tuple[str, ...]:
        raise KeyError("x")

    monkeypatch.setattr("governance.gates.checks.models.candidate_only", crash)
    decision = _decide(in_memory(desk()))
    assert not decision.allowed
    assert {finding.code for finding in decision.findings} == {"CHECK_CRASHED"}


def test_no_champion_is_no_fault() -> None:
    assert _decide(in_memory(desk())).allowed
    request = ReleaseRequest(model=MODEL, released=in_memory(desk()).release.released)
    assert request.champion is None and request.alias == "candidate"


def test_the_same_finding_is_told_once() -> None:
    plan = desk()
    plan.policy(bases={})
    findings = _decide(in_memory(plan)).findings
    assert len(findings) == len({(item.code, item.subject, item.message) for item in findings}) == 1
