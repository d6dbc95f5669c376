"""What a model gives away of its training data: figures, their limits, and the gate."""

from __future__ import annotations

from math import log2
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from governance.attest.predicates import Finding, Train
from governance.attest.predicates.leaks import CanaryFigures, LeakProbe, Membership
from governance.gates import leaks
from governance.gates.decisions import decide_gate, decide_release
from governance.policy.evaluation import LeakLimits
from tests.governance.gates.leaking import KEEPS, LEARNT, LIMITS, PLANTED, limited, probed
from tests.simulator import Plan, desk, in_memory


def of_canaries(ranks: list[int], candidates: int = 255, extracted: int = 0) -> CanaryFigures:
    planted = {**PLANTED, "count": len(ranks)}
    return CanaryFigures.model_validate(
        {"planted": planted, "candidates": candidates, "ranks": ranks, "extracted": extracted}
    )


def test_exposure_is_that_of_the_secret_sharer() -> None:
    """log2 of the space less log2 of the rank, in the space of the candidates and the canary."""
    assert leaks.exposures(of_canaries([1, 2, 256], 255)) == [8.0, 7.0, 0.0]
    chance = of_canaries([*range(1, 257)], 255)
    assert leaks.mean_exposure(chance, 0.95).mean == pytest.approx(1.44, abs=0.03)
    ends = stats.t.interval(0.95, 255, 1.42, 1.4 / 16)
    assert leaks.mean_exposure(chance, 0.95).low == pytest.approx(ends[0], abs=0.02)


@given(st.integers(1, 255), st.floats(0.1, 8))
def test_chance_seldom_reaches_an_exposure(candidates: int, bits: float) -> None:
    """Of all ranks, which chance makes equally frequent, at most 2^-e have e bits or more."""
    values = leaks.exposures(of_canaries([*range(1, candidates + 2)], candidates))
    share = sum(value >= bits for value in values) / len(values)
    assert share <= 2**-bits + 1e-12


@given(st.integers(2, 60), st.data())
def test_the_interval_of_extractions_is_scipys(count: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, count))
    found = leaks.extracted(of_canaries([5] * count, extracted=hits), 0.95)
    wilson = stats.binomtest(hits, count).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((wilson.low, wilson.high), abs=1e-9)


def test_the_interval_of_the_area_is_the_normal_one_within_its_bounds() -> None:
    figures = Membership.model_validate({**KEEPS["membership"], "auc": 0.6, "error": 0.02})
    low, high = stats.norm.interval(0.9, 0.6, 0.02)
    area = leaks.auc(figures, 0.9)
    assert (area.low, area.high) == pytest.approx((low, high))
    near = leaks.auc(figures.model_copy(update={"auc": 0.99}), 0.9)
    assert near.high == 1.0 > near.mean > near.low


@pytest.mark.parametrize(
    "fields",
    [
        {"canaries": {**KEEPS["canaries"], "ranks": [1, 2, 3]}},
        {"canaries": {**KEEPS["canaries"], "ranks": [1, 2, 3, 257]}},
        {"canaries": {**KEEPS["canaries"], "extracted": 5}},
        {"canaries": None},
        {"not_measured": {"canaries": "NO_CANARIES"}},
        {"membership": {**KEEPS["membership"], "found": 501}},
        {"membership": {**KEEPS["membership"], "false_alarms": 6}},
        {"membership": {**KEEPS["membership"], "found": None}},
    ],
)
def test_figures_that_are_not_possible_are_no_evidence(fields: dict[str, Any]) -> None:
    plan = changed(limited(dpo={**KEEPS, **fields}))
    with pytest.raises(ValidationError, match="for LeakProbe"):
        in_memory(plan)


def at_gate(plan: Plan) -> tuple[Finding, ...]:
    """Of `gate@grpo`, which builds on `dpo` and `reward`."""
    world = in_memory(plan)
    return decide_gate(
        world.request, world.policies, world.evidence, world.at, authority=None
    ).findings


def at_release(plan: Plan) -> tuple[Finding, ...]:
    """Of `grpo`: every gate of its chain is decided again."""
    world = in_memory(plan)
    return decide_release(
        world.release, world.policies, world.evidence, world.at, authority=None
    ).findings


def found(plan: Plan, *, release: bool = False) -> set[tuple[str, str, str]]:
    findings = at_release(plan) if release else at_gate(plan)
    return {(finding.code, finding.subject, finding.measure) for finding in findings}


def changed(*changes: Any) -> Plan:
    plan = desk()
    for change in changes:
        change(plan)
    return plan


def test_a_model_that_gives_nothing_away_passes() -> None:
    assert found(changed(limited())) == found(changed(limited()), release=True) == set()


BEYOND = [
    ({"canaries": {"ranks": [1, 200, 31, 118]}}, "exposure"),
    ({"canaries": {"extracted": 1}}, "extracted"),
    ({"membership": {"auc": 0.62}}, "auc"),
    ({"membership": {"found": 45}}, "found"),
]


@pytest.mark.parametrize(("changes", "measure"), BEYOND)
def test_a_figure_beyond_its_limit_stops_what_builds_on_it_and_the_release(
    changes: dict[str, Any], measure: str
) -> None:
    plan = changed(limited(dpo=probed(**changes)))
    wanted = {("TRAINING_DATA_LEAKS", "model dpo", measure)}
    assert found(plan) == found(plan, release=True) == wanted
    (finding,) = at_gate(plan)
    assert finding.figures and "at most" in finding.expected and "leak-probe" in finding.next


GAPS = [
    (None, {"exposure", "extracted", "auc", "found"}),
    (probed(canaries="NO_CANARIES"), {"exposure", "extracted"}),
    (probed(membership="NO_HELD_OUT"), {"auc", "found"}),
    (probed(membership={"members": 199}), {"auc", "found"}),
    (probed(membership={"found": None, "false_alarms": None}), {"found"}),
    (probed(canaries={"candidates": 127, "ranks": [9, 20, 31, 118]}), {"exposure", "extracted"}),
    (
        probed(canaries={"planted": {**PLANTED, "repetitions": 3}}),
        {"exposure", "extracted"},
    ),
]


@pytest.mark.parametrize(("probe", "measures"), GAPS)
def test_what_was_not_measured_does_not_pass(
    probe: dict[str, Any] | None, measures: set[str]
) -> None:
    plan = changed(limited(dpo=probe))
    wanted = {("LEAKS_NOT_MEASURED", "model dpo", measure) for measure in measures}
    assert found(plan) == found(plan, release=True) == wanted


def test_too_few_canaries_for_policy_are_none() -> None:
    more = LIMITS.model_copy(update={"canaries": 5})
    assert {code for code, _, _ in found(changed(limited(more)))} == {"LEAKS_NOT_MEASURED"}
    oftener = LIMITS.model_copy(update={"repetitions": 3})
    assert {code for code, _, _ in found(changed(limited(oftener)))} == {"LEAKS_NOT_MEASURED"}


def test_without_requirement_only_what_was_measured_counts() -> None:
    free = LIMITS.model_copy(update={"required_of": []})
    assert found(changed(limited(free, dpo=None))) == set()
    leaking = probed(canaries={"extracted": 2}, membership="NO_HELD_OUT")
    wanted = {("TRAINING_DATA_LEAKS", "model dpo", "extracted")}
    assert found(changed(limited(free, dpo=leaking))) == wanted


def test_a_later_model_may_be_probed_for_an_earlier_training() -> None:
    plan = changed(limited())
    plan.probes["dpo", "sft"] = probed(canaries={"extracted": 1})
    assert found(plan) == {("TRAINING_DATA_LEAKS", "model dpo", "extracted of sft")}
    plan.probes["dpo", "sft"] = probed(canaries="NO_CANARIES", membership="NO_HELD_OUT")
    assert found(plan) == set(), "nothing is demanded of it"


def test_the_latest_probe_of_a_training_counts() -> None:
    plan = changed(limited(dpo=probed(canaries={"extracted": 1})))
    plan.probes["dpo", "dpo", "again"] = KEEPS
    assert found(plan) == set()


def test_every_earlier_training_is_judged_at_a_release() -> None:
    plan = changed(limited())
    for stage in LEARNT:
        plan.probes[stage, stage] = probed(canaries={"extracted": 1})
    subjects = {subject for _, subject, _ in found(plan, release=True)}
    assert subjects == {f"model {stage}" for stage in LEARNT}


@pytest.mark.parametrize("signer", ["evaluator", "trainer"])
def test_the_trainers_key_signs_no_probe_where_the_tier_separates_them(signer: str) -> None:
    plan = changed(limited())
    plan.tier(separate_evaluator=True)
    signers = {"train": "trainer", "leak_probe": signer}
    plan.keyid = lambda kind, key: (signers.get(kind, "evaluator"), True)
    codes = {code for code, _, _ in found(plan)}
    assert codes == ({"LEAKS_NOT_MEASURED"} if signer == "trainer" else set())


def test_policies_without_limits_decide_as_before() -> None:
    plan = changed(limited(dpo=probed(canaries={"extracted": 4})))
    plan.policy(evaluation=plan.policies.evaluation.model_copy(update={"leaks": None}))
    assert found(plan) == found(plan, release=True) == set()
    with pytest.raises(ValidationError, match="exposure, extracted, auc or found"):
        LeakLimits(required_of=["support-desk"])


def test_every_limit_has_its_figure() -> None:
    training = Train.model_construct(canaries=of_canaries([9] * 4).planted)
    probe = LeakProbe.model_construct(
        canaries=of_canaries([9] * 4),
        membership=Membership.model_validate(KEEPS["membership"]),
        not_measured={},
    )
    judged = [*leaks.judge(probe, training, LIMITS, 0.95)]
    assert [leak.measure for leak in judged] == ["exposure", "extracted", "auc", "found"]
    assert all(leak.passed and not leak.gap for leak in judged)
    assert judged[0].found == f"{log2(256 / 9):.1f} of 8.0 measurable bits"
