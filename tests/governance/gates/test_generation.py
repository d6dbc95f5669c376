"""What may be generated: one row each for what is wrong with the dataset `tickets`, generated from
the prompts `eval`. And that data which was generated leads back to what it was made from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from governance.attest.requests import Decision, EndpointRef
from governance.gates.decisions import (
    GENERATION_CHECKS,
    decide_gate,
    decide_generation,
    declared_generation,
)
from governance.history.chain import Chain
from governance.history.lineage import model_chain
from governance.log.rules import CURRENT
from governance.policy.rules import Endpoint
from tests.simulator import (
    Plan,
    World,
    desk,
    digest,
    imported,
    in_memory,
    model,
    ready,
    reference,
)

OTHER = digest("something else")
FRONTIER = EndpointRef(name="frontier", url="https://example.org/v1", model="m")
PERMITTED = Endpoint(
    url=FRONTIER.url, model="m", classifications=["public", "internal"], region="EU"
)


def decide(plan: Plan) -> Decision:
    world = in_memory(plan)
    assert plan.generation is not None
    return decide_generation(
        plan.generation, world.policies, world.evidence, world.at, authority=None
    )


def permitted(plan: Plan, **changes: Any) -> None:
    plan.rules(endpoints={"frontier": PERMITTED.model_copy(update=changes)})


def codes(decision: Decision) -> set[str]:
    return {finding.code for finding in decision.findings}


def test_scanned_and_checked_prompts_may_be_used() -> None:
    plan = desk()
    plan.generates()
    decision = decide(plan)
    assert decision.allowed and decision.tier == "limited"
    assert decision.decided_on["prompts"] == ready("eval")
    assert decision.decided_on["generator"] == model("sft")
    assert decision.decided_on.keys() == {
        "prompts", "constitution", "templates", "generator", "judge",
    }  # fmt: skip


PROMPTS: list[tuple[str, Callable[[Plan], None]]] = [
    ("EVIDENCE_MISSING", lambda plan: plan.without.add(("quality", "eval"))),
    ("EVIDENCE_MISSING", lambda plan: plan.without.add(("scan", "eval"))),
    ("SCAN_NOT_PASSED", lambda plan: plan.say("scan", "eval", passed=False)),
    ("SCAN_OUT_OF_DATE", lambda plan: plan.say("scan", "eval", config=OTHER)),
    ("PII_REMAINING", lambda plan: plan.say("scan", "eval", remaining={"PERSON": 1})),
    ("QUALITY_NOT_PASSED", lambda plan: plan.say("quality", "eval", passed=False)),
    ("KIND_UNFIT", lambda plan: plan.said.update({("quality", "eval"): {"kind": "rated"}})),
    ("DATACARD_MISSING", lambda plan: plan.policy(datacards={})),
    ("DATACARD_INCOMPLETE", lambda plan: plan.card("eval", regions=[])),
    ("PURPOSE_NOT_PERMITTED", lambda plan: plan.card("eval", purposes=["research"])),
    ("REGION_NOT_PERMITTED", lambda plan: plan.card("eval", regions=["US"])),
    ("CLASSIFICATION_NOT_PERMITTED", lambda plan: plan.card("eval", classification="restricted")),
    ("LICENCE_NOT_PERMITTED", lambda plan: plan.card("eval", licence="CC-BY-NC-4.0")),
    ("BASE_NOT_ALLOWED", lambda plan: plan.policy(bases={})),
    ("GATE_MISSING", lambda plan: plan.without.add(("gate", "sft"))),
    ("CONSTITUTION_MISSING", lambda plan: plan.policy(constitutions={})),
    ("APPROVAL_MISSING", lambda plan: plan.tier(approved_before_training=["data"])),
]


@pytest.mark.parametrize(("code", "change"), PROMPTS)
def test_what_is_wrong_with_prompts_models_or_constitution_refuses(
    code: str, change: Callable[[Plan], None]
) -> None:
    plan = desk()
    plan.generates()
    change(plan)
    decision = decide(plan)
    assert not decision.allowed
    further = {"SUITE_OUT_OF_DATE"} if code == "KIND_UNFIT" else set()
    assert {code} <= codes(decision) <= {code} | further


def test_prompts_and_constitution_are_approved_where_data_is() -> None:
    plan = desk()
    plan.generates()
    plan.tier(approved_before_training=["data"])
    subjects = {finding.subject for finding in decide(plan).findings}
    assert subjects == {"dataset eval", "constitution desk"}


@pytest.mark.parametrize("judge", [None, FRONTIER])
def test_without_a_line_of_policy_no_endpoint_is_permitted(judge: EndpointRef | None) -> None:
    plan = desk()
    plan.generates(judge=judge, endpoints={"judge": "frontier"})
    (finding,) = decide(plan).findings
    assert (finding.code, finding.subject) == ("ENDPOINT_NOT_PERMITTED", "endpoint frontier")


@pytest.mark.parametrize("role", ["generator", "judge"])
def test_a_generation_that_asks_nobody_is_refused(role: str) -> None:
    plan = desk()
    plan.generates(**{role: None})
    (finding,) = decide(plan).findings
    assert (finding.code, finding.subject) == ("ENDPOINT_NOT_PERMITTED", f"{role} of tickets")


def test_a_permitted_endpoint_may_be_asked() -> None:
    plan = desk()
    plan.generates(judge=FRONTIER, endpoints={"judge": "frontier"})
    permitted(plan)
    assert decide(plan).allowed


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: permitted(plan, model="other"),
        lambda plan: permitted(plan, url="https://other.example.org/v1"),
        lambda plan: permitted(plan, classifications=["public"]),
        lambda plan: permitted(plan, region="US"),
        lambda plan: permitted(plan, region="anywhere"),
    ],
)
def test_an_endpoint_is_permitted_as_it_is_asked_and_for_these_prompts(
    change: Callable[[Plan], None],
) -> None:
    plan = desk()
    plan.generates(generator=FRONTIER, endpoints={"generator": "frontier"})
    change(plan)
    assert codes(decide(plan)) == {"ENDPOINT_NOT_PERMITTED"}


REFUSED = {"ENDPOINT_NOT_PERMITTED"}
CONFIDENTIAL = {"classification": "confidential"}
SENT: dict[str, tuple[str, str, Callable[[Plan], None], bool]] = {
    # kind, role of the endpoint, what is declared, whether it may be asked
    "draft": ("pairs", "judge", lambda plan: plan.card("chats", **CONFIDENTIAL), False),
    "of a parent": ("pairs", "judge", lambda plan: plan.card("text", **CONFIDENTIAL), False),
    "of others": ("pairs", "judge", lambda plan: plan.card("pairs", **CONFIDENTIAL), True),
    "to revise": ("revisions", "judge", lambda plan: plan.card("chats", **CONFIDENTIAL), False),
    "critique": ("revisions", "generator", lambda plan: plan.card("pairs", **CONFIDENTIAL), False),
    "verdict": ("pairs", "generator", lambda plan: plan.card("pairs", **CONFIDENTIAL), True),
    "elsewhere": ("pairs", "judge", lambda plan: plan.card("chats", regions=["US"]), False),
    "blank": ("pairs", "judge", lambda plan: plan.card("chats", classification=None), False),
    "no card": ("pairs", "judge", lambda plan: plan.policy(
        datacards={"eval": plan.policies.datacards["eval"]}
    ), False),
}  # fmt: skip


@pytest.mark.parametrize("case", SENT)
def test_what_a_model_wrote_is_judged_by_all_data_that_it_was_made_from(case: str) -> None:
    kind, role, change, allowed = SENT[case]
    plan = desk()
    plan.generates(kind=kind, endpoints={role: "frontier"}, **{role: FRONTIER})
    permitted(plan)
    change(plan)
    decision = decide(plan)
    assert decision.allowed is allowed
    assert codes(decision) == (set() if allowed else REFUSED)


def test_prompts_behind_what_a_model_learned_from_count_too() -> None:
    plan = desk()
    plan.generates()
    permitted(plan)
    plan.card("eval", **CONFIDENTIAL)  # of which `tickets` was generated
    world = in_memory(plan)
    assert plan.generation is not None
    learned = reference("grpo", plan.suites)  # from `tickets`
    changes = {"generator": learned, "judge": FRONTIER, "endpoints": {"judge": "frontier"}}
    request = plan.generation.model_copy(update=changes)
    decision = decide_generation(request, plan.policies, world.evidence, plan.at, authority=None)
    found = {each.found for each in decision.findings if each.code in REFUSED}
    assert found == {"confidential (prompts)", "confidential (grpo learned from eval)"}


@pytest.mark.parametrize("classification", ["confidential", "unknown", "public"])
def test_what_is_declared_of_a_model_that_was_trained_elsewhere_counts_too(
    classification: str,
) -> None:
    plan = imported()
    bought = plan.policies.imports["bought"]
    changes = {"classification": classification, "regions": ["anywhere"]}
    data = bought.declared_datasets[0].model_copy(update=changes)
    changed = bought.model_copy(update={"datasets": [data], "digest": model("tiny")})
    plan.policy(imports={"bought": changed})
    plan.generates(judge=FRONTIER, endpoints={"judge": "frontier"})
    permitted(plan)
    assert codes(decide(plan)) == (set() if classification == "public" else REFUSED)
    plan.policy(imports={"bought": changed.model_copy(update={"datasets": "unknown"})})
    assert codes(decide(plan)) == REFUSED


def test_what_is_declared_is_judged_before_anything_exists() -> None:
    plan = desk()
    plan.generates(generator=FRONTIER)
    plan.card("eval", purposes=["research"])
    assert plan.generation is not None
    found = declared_generation(plan.generation, plan.policies, plan.at)
    assert {each.code for each in found} == {"ENDPOINT_NOT_PERMITTED", "PURPOSE_NOT_PERMITTED"}


def test_a_check_that_crashes_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(_: object) -> list[object]:
        raise ValueError("jane.doe@example.com")

    monkeypatch.setitem(GENERATION_CHECKS, "endpoints", crash)  # type: ignore[arg-type]
    plan = desk()
    plan.generates()
    assert codes(decide(plan)) == {"CHECK_CRASHED"}


# --- where it leads -------------------------------------------------------------------------------
@pytest.fixture
def world() -> World:
    plan = desk()
    plan.generates()
    return in_memory(plan)


def test_the_gate_of_a_training_allows_what_was_allowed(world: World) -> None:
    asked = world.request
    assert decide_gate(asked, world.policies, world.evidence, world.at, authority=None).allowed


@pytest.mark.parametrize("role", ["prompts", "generator", "judge"])
def test_a_generation_from_other_bytes_than_it_decided_on_is_refused(role: str) -> None:
    plan = desk()
    plan.generates()
    used = {"prompts": ready("eval"), "generator": model("sft"), "judge": model("dpo")}
    plan.say("generation", "tickets", inputs={**used, role: OTHER})
    world = in_memory(plan)
    decision = decide_gate(world.request, world.policies, world.evidence, world.at, authority=None)
    assert "EVIDENCE_INCONSISTENT" in codes(decision)


def test_a_model_leads_back_to_prompts_generator_and_judge(world: World) -> None:
    assert world.evidence.rules_at(0) == CURRENT
    chain = Chain(world.evidence, model("grpo"), "grpo")
    uses = {data.dataset: use for data, use in chain.datasets}
    assert "generate@tickets" in uses["eval"] and uses["tickets"] == ["train@grpo"]
    kinds = [statement.kind for statement in chain.statements()]
    assert kinds.count("generation") == 1
    node = model_chain(world.evidence, model("grpo"))[-1]
    assert dict(node.makers) == {"generator": model("sft"), "judge": model("dpo")}


def test_a_generation_after_its_ingest_counts_for_nothing() -> None:
    plan = desk()
    plan.generates()
    plan.late.add(("generation", "tickets"))
    world = in_memory(plan)
    chain = Chain(world.evidence, model("grpo"), "grpo")
    assert all(data.generation is None for data, _ in chain.datasets)
