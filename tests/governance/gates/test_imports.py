"""A model that was trained elsewhere and is released as it is: what lets it pass, and each refusal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.attest.codes import CODES
from governance.attest.requests import ReleaseDecision
from governance.gates.decisions import decide_release
from governance.policy.declarations import Declaration
from governance.policy.evaluation import Demands, Threshold
from tests.governance import snapshots
from tests.simulator import ITEMS, Plan, declaration, digest, imported, in_memory, model

Change = Callable[[Plan], None]
RECORDED = Path(__file__).parent / "findings_of_imports.json"
DATA = "dataset their/chats of bought"


def _decide(plan: Plan) -> ReleaseDecision:
    world = in_memory(plan)
    return decide_release(world.release, world.policies, world.evidence, world.at, authority=None)


def _declared(**changes: Any) -> Change:
    def change(plan: Plan) -> None:
        facts = Declaration.model_validate({**declaration(), **changes})
        plan.policy(imports={"bought": facts})

    return change


def _dataset(**changes: Any) -> Change:
    return _declared(datasets=[{**declaration()["datasets"][0], **changes}])


def _tier(**changes: Any) -> Change:
    return lambda plan: plan.tier(**changes)


def _scores(share: float) -> Change:
    right = round(ITEMS * share)
    scores = {"exact": [1.0] * right + [0.0] * (ITEMS - right), "unsafe": [0.0] * ITEMS}
    return lambda plan: plan.say("evaluate", "bought", scores=scores)


def _demands(demands: Demands | None) -> Change:
    return lambda plan: plan.demand("eval", "imported", demands)


SCENARIOS: list[tuple[str, str, str, Change]] = [
    # what is wrong, the code, its subject
    ("a tier that permits none", "IMPORT_NOT_ALLOWED", "model bought", _tier(imported=False)),
    (
        "no declaration",
        "IMPORT_NOT_DECLARED",
        "model bought",
        lambda plan: plan.policy(imports={}),
    ),
    (
        "a declaration of other bytes",
        "IMPORT_NOT_DECLARED",
        "model bought",
        _declared(digest=digest("others")),
    ),
    (
        "not allowed as a base",
        "BASE_CHANGED",
        "base bought",
        lambda plan: plan.policy(
            bases={
                "tiny": plan.policies.bases["tiny"],
                "bought": plan.policies.bases["bought"].model_copy(update={"digest": digest("x")}),
            }
        ),
    ),
    (
        "approvals before training",
        "IMPORT_TRAINED_BEFORE",
        "model bought",
        _tier(approved_before_training=["data", "objective"]),
    ),
    ("unknown data", "IMPORT_DATA_UNKNOWN", "data of bought", _declared(datasets="unknown")),
    ("personal data or not", "IMPORT_DATA_UNKNOWN", DATA, _dataset(personal_data="unknown")),
    ("an unknown licence", "LICENCE_NOT_PERMITTED", DATA, _dataset(licence="unknown")),
    ("another licence", "LICENCE_NOT_PERMITTED", DATA, _dataset(licence="proprietary")),
    ("an unknown basis", "LAWFUL_BASIS_NOT_PERMITTED", DATA, _dataset(lawful_basis="unknown")),
    ("another basis", "LAWFUL_BASIS_NOT_PERMITTED", DATA, _dataset(lawful_basis="consent")),
    (
        "a higher class",
        "CLASSIFICATION_NOT_PERMITTED",
        DATA,
        _dataset(classification="restricted"),
    ),
    (
        "an unknown class",
        "CLASSIFICATION_NOT_PERMITTED",
        DATA,
        _dataset(classification="unknown"),
    ),
    ("another purpose", "PURPOSE_NOT_PERMITTED", DATA, _dataset(purposes=["marketing"])),
    ("unknown purposes", "PURPOSE_NOT_PERMITTED", DATA, _dataset(purposes="unknown")),
    ("another region", "REGION_NOT_PERMITTED", DATA, _dataset(regions=["US"])),
    ("unknown regions", "REGION_NOT_PERMITTED", DATA, _dataset(regions="unknown")),
    (
        "a parent under another licence",
        "LICENCE_NOT_PERMITTED",
        "parent of bought",
        _declared(parent={"model": "acme/base@1", "licence": "unknown"}),
    ),
    ("no thresholds", "THRESHOLDS_MISSING", "model bought", _demands(None)),
    (
        "thresholds that ask for nothing",
        "THRESHOLDS_MISSING",
        "model bought",
        _demands(Demands(none="the vendor has tested it")),
    ),
    ("too low a score", "THRESHOLD_NOT_MET", "model bought", _scores(0.5)),
    (
        "not evaluated here",
        "EVIDENCE_MISSING",
        "model bought",
        lambda plan: plan.without.add(("evaluate", "bought")),
    ),
    (
        "never imported",
        "EVIDENCE_MISSING",
        "model bought",
        lambda plan: plan.without.add(("base", "bought")),
    ),
    (
        "worse than the champion",
        "WORSE_THAN_REFERENCE",
        "model bought",
        lambda plan: (
            _demands(
                Demands.model_validate(
                    {
                        "thresholds": {"exact": Threshold(at_least=0.5)},
                        "compare": [{"reference": "champion", "metric": "exact", "may_fall": 0.01}],
                    }
                )
            )(plan),
            _scores(0.7)(plan),
            _champion(plan),
        )[0],
    ),
]


def _champion(plan: Plan) -> None:
    before = plan.released
    plan.released = lambda request: before(request).model_copy(update={"champion": model("grpo")})


def test_a_declared_model_from_elsewhere_may_be_released() -> None:
    decision = _decide(imported())
    assert decision.allowed, decision.findings
    assert decision.gates == {}


def test_what_has_no_parent_has_no_licence_of_one() -> None:
    plan = imported()
    _declared(parent={"model": "none", "licence": "none"})(plan)
    assert _decide(plan).allowed


@pytest.mark.parametrize(
    ("what", "code", "subject", "change"), SCENARIOS, ids=[row[0] for row in SCENARIOS]
)
def test_it_is_refused_for(what: str, code: str, subject: str, change: Change) -> None:
    plan = imported()
    change(plan)
    decision = _decide(plan)
    assert not decision.allowed
    assert {(found.code, found.subject) for found in decision.findings} == {(code, subject)}
    snapshots.check(RECORDED, what, decision.findings)


def test_the_next_step_names_the_declaration() -> None:
    plan = imported()
    _dataset(licence="unknown")(plan)
    (found,) = _decide(plan).findings
    assert "policies/imports/bought.yaml" in found.next and found.figures == ["unknown"]


def test_unknown_facts_can_be_waived_and_a_missing_declaration_cannot() -> None:
    waivable = {row[1] for row in SCENARIOS if CODES[row[1]].waivable}
    assert {"IMPORT_DATA_UNKNOWN", "IMPORT_TRAINED_BEFORE", "LICENCE_NOT_PERMITTED"} <= waivable
    assert not {"IMPORT_NOT_DECLARED", "IMPORT_NOT_ALLOWED"} & waivable


FACTS = ("licence", "lawful_basis", "personal_data", "classification", "purposes", "regions")


@given(unknown=st.sets(st.sampled_from(FACTS), min_size=1))
def test_each_unknown_fact_is_a_finding_of_its_own(unknown: set[str]) -> None:
    plan = imported()
    _dataset(**dict.fromkeys(unknown, "unknown"))(plan)
    decision = _decide(plan)
    assert len(decision.findings) == len(unknown)
    assert {found.found for found in decision.findings} == {"unknown"}


@given(position=st.integers(0, 63), other=st.sampled_from("0123456789abcdef"))
def test_a_declaration_holds_for_these_bytes_alone(position: int, other: str) -> None:
    digest_ = declaration()["digest"]
    changed = digest_[:position] + other + digest_[position + 1 :]
    plan = imported()
    _declared(digest=changed)(plan)
    assert _decide(plan).allowed == (changed == digest_)


def test_a_model_that_was_trained_here_needs_no_declaration() -> None:
    plan = imported()
    plan.released = lambda request: request
    plan.policy(imports={})
    plan.tier(imported=False, approved_before_training=[])
    assert _decide(plan).allowed
