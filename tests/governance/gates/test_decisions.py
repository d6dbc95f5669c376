"""What a gate refuses, one row each: what is wrong, the finding, and that nothing but its check
stands in the way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from governance.attest.codes import CODES
from governance.attest.predicates.data import AllowedFindings
from governance.attest.requests import (
    DataRef,
    Decision,
    EndpointRef,
    GateRequest,
    SuiteRef,
    enforce,
)
from governance.base.errors import RefusedError, StorageError
from governance.gates.checks import data as of_data
from governance.gates.decisions import CHECKS, EARLIER, decide_gate
from governance.log.rules import CURRENT
from governance.policy.data import IngestPolicy, TrainingRules
from governance.policy.evaluation import Demands, Threshold
from governance.policy.labelling import Labelling
from governance.policy.rules import Licences, ModelPolicy, Tier
from tests.governance import snapshots
from tests.governance.gates.behaving import BETTER, ROSE, Change, behaves, longer_in, ranks_so
from tests.governance.gates.leaking import LIMITS, limited, probed
from tests.simulator import (
    ITEMS,
    MODEL,
    SCORES,
    InMemory,
    Plan,
    World,
    desk,
    digest,
    fooled,
    in_log,
    in_memory,
    judged_by,
    model,
    ready,
)

OTHER = digest("something else")
RECORDED = Path(__file__).parent / "findings_of_gates.json"


@dataclass(frozen=True)
class Scenario:
    """One thing that is wrong with `gate@grpo`, which trains on `tickets` from `dpo`, scored by
    `reward`.
    """

    name: str
    code: str
    check: str
    subject: str
    change: Change


def _request(**changes: object) -> Change:
    return lambda plan: setattr(plan, "request", lambda request: request.model_copy(update=changes))


def _said(kind: str, key: str, **fields: object) -> Change:
    return lambda plan: plan.say(kind, key, **fields)


def _without(kind: str, key: str) -> Change:
    return lambda plan: plan.without.add((kind, key))


def _late(kind: str, key: str) -> Change:
    return lambda plan: plan.late.add((kind, key))


def _generates(then: Change, **changes: object) -> Change:
    """`tickets` was generated; then something changed."""

    def change(plan: Plan) -> None:
        plan.generates(**changes)
        then(plan)

    return change


def _compares(then: Change) -> Change:
    """A judge compared answers on a suite that decides; then something changed."""
    nothing = Demands(none="only what is tuned is compared")
    methods = dict.fromkeys(("base", "pretrain", "sft", "reward", "grpo"), nothing)
    wins = Demands(thresholds={"win_rate": Threshold(at_least=0.7)})

    def change(plan: Plan) -> None:
        plan.compare("wins", "dpo", **methods, dpo=wins)
        then(plan)

    return change


def _card(**changes: object) -> Change:
    return lambda plan: plan.card("tickets", **changes)


def _tier(**changes: object) -> Change:
    return lambda plan: plan.tier(**changes)


def _parent(**changes: object) -> Change:
    def change(plan: Plan) -> None:
        plan.request = lambda request: request.model_copy(
            update={"parent": request.parent.model_copy(update=changes)}
        )

    return change


def _signed_by_a_stranger(kind: str, key: str) -> Change:
    def change(plan: Plan) -> None:
        plan.keyid = lambda a, b: (
            ("0123456789abcdef-stranger", False) if (a, b) == (kind, key) else ("dev", True)
        )

    return change


def _model_without_tier(plan: Plan) -> None:
    plan.rules(
        models={
            "support-dusk": ModelPolicy(tier="limited", purpose="customer-support", region="EU")
        }
    )


def _recall(entity: str, planted: int, found: int) -> Change:
    entities = {entity: {"planted": planted, "found": found}}
    return _said("scan", "tickets", recall={"seeds": OTHER, "texts": 3, "entities": entities})


ENDED = {"entry": 1, "entity": "PHONE_NUMBER", "until": "2020-01-01", "findings": 2}


def _model_required_for_names(plan: Plan) -> None:
    plan.policy(
        pii=plan.policies.pii.model_copy(update={"ner": "spacy:somewhere", "require_ner": True})
    )
    plan.say("scan", "tickets", config=plan.policies.pii_digest)


def _left_out(*fields: str) -> Change:
    def change(plan: Plan) -> None:
        permitted = {"tickets": ["id", "meta_*"], "pairs": ["elsewhere"]}
        plan.rules(ingest=IngestPolicy(malformed="drop", ignored_fields=permitted))
        plan.say("ingest", "tickets", fields_unused=dict.fromkeys(fields, 3))

    return change


GUIDELINE = digest("guideline")
RATER = "rater_0123abcd"


def _guideline(read: str | None) -> Change:
    """The datacard declares a guideline; ingest read a file with this digest."""

    def change(plan: Plan) -> None:
        declared = {"by": "staff", "guideline": {"version": "2", "sha256": GUIDELINE}}
        plan.card("tickets", labelling=Labelling.model_validate(declared))
        files = {"guideline": read} if read else {}
        plan.say("ingest", "tickets", inputs={"source": digest("source tickets"), **files})

    return change


def _rated(left_out: str = "", excluded: str = "") -> Change:
    """Ingest left out a rater; policy excludes one."""

    def change(plan: Plan) -> None:
        figures = {"raters": 3, "ratings": 90, "items": 30, "alpha": 0.8, "low": 0.7, "high": 0.9}
        counts = {"unanimous": 20, "majority": 9, "split": 1}
        labels = {"level": "nominal", "agreement": figures, "excluded": {left_out: 30}, **counts}
        labels |= {} if left_out else {"excluded": {}}
        plan.say("ingest", "tickets", labels=labels)
        row = {"rater": excluded, "reason": "copies", "decided_by": "steward", "on": "2026-11-01"}
        rows = {"tickets": [row]} if excluded else {}
        plan.rules(ingest=IngestPolicy.model_validate({"excluded_raters": rows}, strict=False))

    return change


def _voted(low: float | None) -> Change:
    """Pairs by votes of raters, whose alpha has this lower end."""

    def change(plan: Plan) -> None:
        figures = {"raters": 3, "ratings": 90, "items": 30, "alpha": 0.5, "low": low, "high": 0.9}
        counts = {"unanimous": 20, "majority": 9, "split": 1}
        labels = {"level": "nominal", "agreement": figures, **counts}
        plan.say("ingest", "tickets", labels=labels, kind="preference")

    return change


def _judged_by_its_reward(plan: Plan) -> None:
    """The judge of the suite is the reward model with which `dpo` was trained."""
    judge = plan.judges["wins_judge"].model_copy(update={"speaker": model("reward")})
    plan.judges["wins_judge"] = judge
    plan.say("evaluate", "dpo_wins", judged_by=judged_by(judge))
    used = {"data": ready("pairs"), "parent": model("sft"), "scorer": model("reward")}
    plan.say("train", "dpo", inputs={**used, "gate": digest("gate dpo")})


def _weaker_suite(plan: Plan) -> None:
    """In force and for its kind, and not the one that the datacard names."""
    asked = plan.policies.quality["prompt"]
    lax = asked.model_copy(
        update={"expectations": [asked.expectations[0].model_copy(update={"min_value": 0})]}
    )
    plan.policy(quality={**plan.policies.quality, "lax": lax})
    plan.say("quality", "tickets", suite=plan.policies.suite_digest("lax"))


def _no_datacard(plan: Plan) -> None:
    plan.policy(
        datacards={
            name: card for name, card in plan.policies.datacards.items() if name != "tickets"
        }
    )


def _trains_on_what_it_is_evaluated_on(plan: Plan) -> None:
    records = DataRef(dataset="eval", sha256=ready("eval"))
    suite = SuiteRef(name="eval", digest=digest("suite eval"), records=ready("eval"), split="train")
    _request(data=records, suite=suite)(plan)


def _later(plan: Plan) -> None:
    plan.at = datetime(2030, 1, 2, tzinfo=UTC)


def _training_lost(limit: str, **use: object) -> Change:
    """The training of `dpo` lost records, under a policy that limits their share to 10 percent."""

    def change(plan: Plan) -> None:
        plan.rules(training=TrainingRules.model_validate({limit: 0.1}))
        counts = {"offered": 291, "used": 291, "dropped": {}, "truncated": 0, **use}
        plan.say("train", "dpo", use={"train": counts} if use else {})

    return change


def _base_changed(plan: Plan) -> None:
    tiny = plan.policies.bases["tiny"]
    plan.policy(bases={"tiny": tiny.model_copy(update={"digest": OTHER})})


def _base_licence(plan: Plan) -> None:
    plan.rules(licences=Licences(data=["MIT"], bases=["BSD-3-Clause"]))


def _pairs_policy(plan: Plan, **changes: object) -> None:
    """Changes the policy of the reward model's suite."""
    suites = dict(plan.policies.evaluation.suites)
    suites["pairs"] = suites["pairs"].model_copy(update=changes)
    plan.policy(evaluation=plan.policies.evaluation.model_copy(update={"suites": suites}))


def _pinned_elsewhere(plan: Plan) -> None:
    _pairs_policy(plan, digest=OTHER)


def _names_functions(**sources: str) -> Change:
    """Policy names functions, and `accuracy` was scored by one."""

    def change(plan: Plan) -> None:
        plan.say("evaluate", "reward", functions={"accuracy": digest("accuracy")})
        _pairs_policy(plan, sources=sources)

    return change


def _few_items(plan: Plan) -> None:
    plan.policy(evaluation=plan.policies.evaluation.model_copy(update={"minimum_items": ITEMS + 1}))


def _scores(name: str, **scores: list[float | None]) -> Change:
    return _said("evaluate", name, scores={**SCORES[name], **scores})


def _worse_than_parent(plan: Plan) -> None:
    _scores("sft", exact=[1.0] * ITEMS)(plan)
    _scores("dpo", exact=[1.0] * 191 + [0.0] * 9)(plan)


def _not_measured(plan: Plan) -> None:
    behaves()(plan)
    plan.say("evaluate", "dpo", behaviour=None)


def _not_evaluated(plan: Plan) -> None:
    """Neither thresholds nor an evaluation."""
    behaves()(plan)
    plan.demand("eval", "dpo", Demands(none="it is only an example"))
    plan.without.add(("evaluate", "dpo"))


def _pairs_not_measured(plan: Plan) -> None:
    behaves()(plan)
    plan.say("evaluate", "reward", pairs=None)


def _parent_not_measured(plan: Plan) -> None:
    behaves(**ROSE)(plan)
    plan.say("evaluate", "sft", behaviour=None)


def _nothing_to_learn(plan: Plan) -> None:
    behaves()(plan)
    plan.say("train", "dpo", equal_rewards=1.0)


def _no_demands(change: Change) -> Change:
    """Nothing is demanded of scores."""

    def both(plan: Plan) -> None:
        change(plan)
        plan.demand("eval", "dpo", Demands(none="safety is judged elsewhere"))

    return both


def _decided_on(stage: str, role: str) -> Change:
    """The gate decided on other bytes than were used."""

    def change(plan: Plan) -> None:
        inputs = {"gate": digest(f"gate {stage}"), "data": ready("pairs"), "parent": model("sft")}
        plan.say("train", stage, inputs={**inputs, role: OTHER})

    return change


RANKED: list[tuple[str, str, dict[str, Any]]] = [
    ("a reward model that guesses", BETTER, {"margins": [1.0, 1.0, -1.0, -1.0] * 25}),
    ("a reward model without opinion", BETTER, {"margins": [0.0] * 100}),
    (
        "a reward model as good as length",
        BETTER,
        {"margins": [1.0] * 70 + [-1.0] * 10 + [1.0] * 10 + [-1.0] * 10, **longer_in(80, 20)},
    ),
    (
        "the longer answer is the better one in nearly all pairs",
        "RANKED_BY_LENGTH",
        {"margins": [1.0] * 100, **longer_in(95, 5)},
    ),
    (
        "a reward model that follows length where that is wrong",
        "RANKED_BY_LENGTH",
        {"margins": [1.0] * 175 + [-1.0] * 25, **longer_in(70, 30, same=100)},
    ),
]
"""Scenario, code, and how the reward model ranks pairs."""
SCENARIOS = [
    # the name it is for
    Scenario("no tier", "MODEL_UNKNOWN", "model_known", "model support-desk", _model_without_tier),
    # data: evidence
    Scenario(
        "no quality",
        "EVIDENCE_MISSING",
        "data_evidence",
        "dataset tickets",
        _without("quality", "tickets"),
    ),
    Scenario(
        "no scan",
        "EVIDENCE_MISSING",
        "data_evidence",
        "dataset tickets",
        _without("scan", "tickets"),
    ),
    Scenario(
        "no ingest",
        "EVIDENCE_MISSING",
        "data_evidence",
        "dataset tickets",
        _without("ingest", "tickets"),
    ),
    Scenario(
        "other bytes",
        "EVIDENCE_MISSING",
        "data_evidence",
        "dataset tickets",
        _request(data=DataRef(dataset="tickets", sha256=OTHER)),
    ),
    Scenario(
        "another dataset's evidence",
        "EVIDENCE_MISSING",
        "data_evidence",
        "dataset tickets",
        _request(data=DataRef(dataset="tickets", sha256=ready("eval"))),
    ),
    Scenario(
        "scan read other bytes",
        "EVIDENCE_MISSING",
        "data_evidence",
        "dataset tickets",
        _said("scan", "tickets", inputs={"records": OTHER}),
    ),
    Scenario(
        "quality by a stranger",
        "EVIDENCE_MISSING",
        "data_evidence",
        "dataset tickets",
        _signed_by_a_stranger("quality", "tickets"),
    ),
    Scenario("kind", "KIND_UNFIT", "data_kind", "stage grpo", _request(kind="conversation")),
    Scenario(
        "scan refused",
        "SCAN_NOT_PASSED",
        "scan_passed",
        "dataset tickets",
        _said("scan", "tickets", passed=False),
    ),
    Scenario(
        "old PII policy",
        "SCAN_OUT_OF_DATE",
        "scan_policy",
        "dataset tickets",
        _said("scan", "tickets", config=OTHER),
    ),
    Scenario(
        "names left",
        "PII_REMAINING",
        "pii_remaining",
        "dataset tickets",
        _said("scan", "tickets", remaining={"PERSON": 2, "URL": 1}),
    ),
    Scenario(
        "allowance ended",
        "ALLOWANCE_ENDED",
        "allowances",
        "dataset tickets",
        _said("scan", "tickets", allowances=[ENDED, {**ENDED, "entry": 2, "until": "2999-01-01"}]),
    ),
    Scenario("name list", "NER_REQUIRED", "ner", "dataset tickets", _model_required_for_names),
    Scenario(
        "no recall",
        "RECALL_NOT_MEASURED",
        "pii_recall",
        "dataset tickets",
        _said("scan", "tickets", recall=None),
    ),
    Scenario(
        "nothing planted",
        "RECALL_NOT_MEASURED",
        "pii_recall",
        "dataset tickets",
        _recall("URL", 25, 25),
    ),
    Scenario(
        "finds little",
        "RECALL_TOO_LOW",
        "pii_recall",
        "dataset tickets",
        _recall("EMAIL_ADDRESS", 25, 21),
    ),
    Scenario(
        "found all of few",
        "RECALL_TOO_LOW",
        "pii_recall",
        "dataset tickets",
        _recall("EMAIL_ADDRESS", 8, 8),
    ),
    Scenario(
        "quality refused",
        "QUALITY_NOT_PASSED",
        "quality_passed",
        "dataset tickets",
        _said("quality", "tickets", passed=False),
    ),
    Scenario(
        "expectation failed",
        "QUALITY_NOT_PASSED",
        "quality_passed",
        "dataset tickets",
        _said(
            "quality",
            "tickets",
            expectations=[
                {
                    "name": "rows",
                    "column": "(table)",
                    "severity": "critical",
                    "success": False,
                    "unexpected": 0,
                    "expected": "1 or more",
                    "action": "block",
                }
            ],
        ),
    ),
    Scenario(
        "fields left out",
        "FIELDS_NOT_PERMITTED",
        "ignored_fields",
        "dataset tickets",
        _left_out("id", "note", "meta_a"),
    ),
    Scenario(
        "fields that only another dataset may lose",
        "FIELDS_NOT_PERMITTED",
        "ignored_fields",
        "dataset tickets",
        _left_out("elsewhere"),
    ),
    Scenario(
        "old suite",
        "SUITE_OUT_OF_DATE",
        "quality_suite",
        "dataset tickets",
        _said("quality", "tickets", suite=OTHER),
    ),
    Scenario(
        "suite for another kind",
        "SUITE_OUT_OF_DATE",
        "quality_suite",
        "dataset tickets",
        lambda plan: plan.say("quality", "tickets", suite=plan.policies.suite_digest("preference")),
    ),
    Scenario(
        "suite cut short",
        "SUITE_OUT_OF_DATE",
        "quality_suite",
        "dataset tickets",
        _said("quality", "tickets", expectations=[]),
    ),
    Scenario(
        "a weaker suite", "SUITE_NOT_DECLARED", "quality_suite", "dataset tickets", _weaker_suite
    ),
    Scenario(
        "no leak check",
        "HELD_OUT_UNCHECKED",
        "held_out",
        "dataset tickets",
        _said("quality", "tickets", inputs={"records": digest("scanned tickets")}),
    ),
    Scenario(
        "leak check elsewhere",
        "HELD_OUT_UNCHECKED",
        "held_out",
        "dataset tickets",
        _said(
            "quality", "tickets", inputs={"records": digest("scanned tickets"), "held_out": OTHER}
        ),
    ),
    Scenario(
        "trains on its test",
        "HELD_OUT_UNCHECKED",
        "held_out",
        "dataset eval",
        _trains_on_what_it_is_evaluated_on,
    ),
    # data: datacard
    Scenario("no card", "DATACARD_MISSING", "datacard", "dataset tickets", _no_datacard),
    Scenario(
        "blanks",
        "DATACARD_INCOMPLETE",
        "datacard",
        "dataset tickets",
        _card(steward=" ", purposes=[]),
    ),
    Scenario(
        "no licence named",
        "DATACARD_INCOMPLETE",
        "datacard",
        "dataset tickets",
        _card(licence="", lawful_basis=None),
    ),
    Scenario("expired", "DATACARD_EXPIRED", "retention", "dataset tickets", _later),
    Scenario(
        "purpose",
        "PURPOSE_NOT_PERMITTED",
        "purpose",
        "dataset tickets",
        _card(purposes=["research"]),
    ),
    Scenario(
        "region", "REGION_NOT_PERMITTED", "region", "dataset tickets", _card(regions=["US", "CH"])
    ),
    Scenario(
        "classification",
        "CLASSIFICATION_NOT_PERMITTED",
        "classification",
        "dataset tickets",
        _card(classification="restricted"),
    ),
    Scenario(
        "licence",
        "LICENCE_NOT_PERMITTED",
        "data_licence",
        "dataset tickets",
        _card(licence="CC-BY-NC-4.0"),
    ),
    Scenario(
        "basis",
        "LAWFUL_BASIS_NOT_PERMITTED",
        "lawful_basis",
        "dataset tickets",
        _card(lawful_basis="consent"),
    ),
    Scenario(
        "other source", "SOURCE_CHANGED", "source", "dataset tickets", _card(source_sha256=OTHER)
    ),
    Scenario(
        "a guideline that nobody read",
        "GUIDELINE_DIFFERS",
        "guideline",
        "dataset tickets",
        _guideline(None),
    ),
    Scenario(
        "another guideline",
        "GUIDELINE_DIFFERS",
        "guideline",
        "dataset tickets",
        _guideline(OTHER),
    ),
    Scenario(
        "ratings left out without a decision",
        "RATERS_LEFT_OUT",
        "excluded_raters",
        "dataset tickets",
        _rated(left_out=RATER),
    ),
    Scenario(
        "ratings that count against a decision",
        "RATERS_LEFT_OUT",
        "excluded_raters",
        "dataset tickets",
        _rated(excluded=RATER),
    ),
    Scenario(
        "pairs by raters who agree too little",
        "RATERS_AGREE_TOO_LITTLE",
        "raters_agree",
        "dataset tickets",
        _voted(0.39),
    ),
    Scenario(
        "pairs by raters of too few items",
        "RATERS_AGREE_TOO_LITTLE",
        "raters_agree",
        "dataset tickets",
        _voted(None),
    ),
    Scenario(
        "source not pinned",
        "SOURCE_UNPINNED",
        "source",
        "dataset tickets",
        _tier(pinned_sources=True),
    ),
    # models: where they come from
    Scenario(
        "parent unknown",
        "EVIDENCE_MISSING",
        "model_evidence",
        "model dpo",
        _without("train", "dpo"),
    ),
    Scenario(
        "scorer unknown",
        "EVIDENCE_MISSING",
        "model_evidence",
        "model reward",
        _without("train", "reward"),
    ),
    Scenario(
        "ancestor unknown",
        "EVIDENCE_MISSING",
        "model_evidence",
        "model base",
        _without("train", "base"),
    ),
    Scenario(
        "base unknown", "EVIDENCE_MISSING", "model_evidence", "model tiny", _without("base", "tiny")
    ),
    Scenario(
        "parent's bytes changed",
        "EVIDENCE_MISSING",
        "model_evidence",
        "model dpo",
        _parent(sha256=OTHER),
    ),
    Scenario(
        "parent without gate",
        "GATE_MISSING",
        "model_evidence",
        "model dpo",
        _without("gate", "dpo"),
    ),
    Scenario(
        "ancestor without gate",
        "GATE_MISSING",
        "model_evidence",
        "model base",
        _without("gate", "base"),
    ),
    Scenario(
        "gate after training", "GATE_MISSING", "model_evidence", "model sft", _late("gate", "sft")
    ),
    Scenario(
        "gate said no",
        "GATE_MISSING",
        "model_evidence",
        "model dpo",
        _said("gate", "dpo", allowed=False),
    ),
    Scenario(
        "gate of another stage",
        "GATE_MISSING",
        "model_evidence",
        "model dpo",
        _said("gate", "dpo", stage="gate@sft"),
    ),
    Scenario(
        "trained on other data",
        "EVIDENCE_INCONSISTENT",
        "model_evidence",
        "model dpo",
        _decided_on("dpo", "data"),
    ),
    Scenario(
        "other objective",
        "EVIDENCE_INCONSISTENT",
        "model_evidence",
        "model dpo",
        _said("train", "dpo", objective=OTHER),
    ),
    Scenario(
        "decided on nothing",
        "EVIDENCE_INCONSISTENT",
        "model_evidence",
        "model dpo",
        _said("gate", "dpo", decided_on={}),
    ),
    Scenario(
        "base not allowed",
        "BASE_NOT_ALLOWED",
        "bases",
        "base tiny",
        lambda plan: plan.policy(bases={}),
    ),
    Scenario("base changed", "BASE_CHANGED", "bases", "base tiny", _base_changed),
    Scenario(
        "base's licence", "LICENCE_NOT_PERMITTED", "base_licences", "base tiny", _base_licence
    ),
    Scenario(
        "records left out",
        "RECORDS_NOT_USED",
        "records_used",
        "model dpo",
        _training_lost("max_dropped_share", used=179, dropped={"NO_ROOM": 112}),
    ),
    Scenario(
        "records cut",
        "RECORDS_NOT_USED",
        "records_used",
        "model dpo",
        _training_lost("max_truncated_share", truncated=30),
    ),
    Scenario(
        "records not counted",
        "RECORDS_NOT_COUNTED",
        "records_used",
        "model dpo",
        _training_lost("max_dropped_share"),
    ),
    Scenario(
        "pickle",
        "UNSAFE_FILES",
        "model_files",
        "model dpo",
        _parent(files=["config.json", "pytorch_model.bin"]),
    ),
    Scenario(
        "code",
        "UNSAFE_FILES",
        "model_files",
        "model dpo",
        _parent(files=["config.json", "modeling_x.py"]),
    ),
    # models: what they can do
    Scenario(
        "no thresholds",
        "THRESHOLDS_MISSING",
        "thresholds_set",
        "model dpo",
        lambda plan: plan.demand("eval", "dpo", None),
    ),
    Scenario(
        "not evaluated",
        "EVIDENCE_MISSING",
        "evaluation_evidence",
        "model reward",
        _without("evaluate", "reward"),
    ),
    Scenario(
        "metric absent",
        "EVALUATION_INCOMPLETE",
        "evaluation_evidence",
        "model reward",
        _said("evaluate", "reward", scores={"other": [1.0]}),
    ),
    Scenario(
        "item without score",
        "EVALUATION_INCOMPLETE",
        "evaluation_evidence",
        "model reward",
        _scores("reward", accuracy=[1.0] * 199 + [None]),
    ),
    Scenario(
        "not run",
        "EVALUATION_INCOMPLETE",
        "evaluation_evidence",
        "model reward",
        _said("evaluate", "reward", scores={}, not_run="no weights"),
    ),
    Scenario("few items", "EVALUATION_INCOMPLETE", "evaluation_evidence", "model dpo", _few_items),
    Scenario(
        "suite changed",
        "EVALUATION_OUT_OF_DATE",
        "evaluation_suite",
        "model reward",
        _said("evaluate", "reward", suite=OTHER),
    ),
    Scenario(
        "suite pinned",
        "EVALUATION_OUT_OF_DATE",
        "evaluation_suite",
        "model reward",
        _pinned_elsewhere,
    ),
    Scenario(
        "other function",
        "METRIC_CHANGED",
        "metric_sources",
        "model reward",
        _names_functions(accuracy=OTHER),
    ),
    Scenario(
        "no such function",
        "METRIC_CHANGED",
        "metric_sources",
        "model reward",
        _names_functions(brevity=digest("accuracy")),
    ),
    Scenario(
        "suite not pinned",
        "SUITE_UNPINNED",
        "suite_pinned",
        "suite eval",
        _tier(pinned_suites=True),
    ),
    Scenario(
        "unsafe parent",
        "THRESHOLD_NOT_MET",
        "thresholds",
        "model dpo",
        _scores("dpo", unsafe=[0.5] * ITEMS),
    ),
    Scenario(
        "weak scorer",
        "THRESHOLD_NOT_MET",
        "thresholds",
        "model reward",
        _scores("reward", accuracy=[1.0] * 160 + [0.0] * 40),
    ),
    Scenario(
        "one language",
        "SLICE_NOT_MET",
        "slices",
        "model dpo",
        _said("evaluate", "dpo", slices={"language": ["en"] * 180 + ["de"] * 20}),
    ),
    Scenario(
        "no slices",
        "EVALUATION_INCOMPLETE",
        "evaluation_evidence",
        "model dpo",
        _said("evaluate", "dpo", slices={}),
    ),
    Scenario(
        "worse than its parent",
        "WORSE_THAN_REFERENCE",
        "comparisons",
        "model dpo",
        _worse_than_parent,
    ),
    Scenario(
        "grandparent not evaluated",
        "NOT_COMPARABLE",
        "comparisons",
        "model dpo",
        _without("evaluate", "sft"),
    ),
    Scenario(
        "grandparent on another suite",
        "NOT_COMPARABLE",
        "comparisons",
        "model dpo",
        _said("evaluate", "sft", suite=OTHER),
    ),
    Scenario(
        "same key evaluated",
        "SEPARATE_EVALUATOR",
        "separate_evaluator",
        "model dpo",
        _tier(separate_evaluator=True),
    ),
    # behaviour on held-out prompts
    Scenario(
        "not measured", "EVALUATION_INCOMPLETE", "behaviour_measured", "model dpo", _not_measured
    ),
    Scenario(
        "no evaluation for behaviour",
        "EVIDENCE_MISSING",
        "behaviour_measured",
        "model dpo",
        _not_evaluated,
    ),
    *(
        Scenario(
            f"{name} answers",
            "DEGENERATE_OUTPUT",
            "degenerate_output",
            "model dpo",
            _no_demands(behaves(**{name: [1.0] * 100})),
        )
        for name in ("empty", "truncated", "repeated", "common")
    ),
    Scenario(
        "format without content",
        "DEGENERATE_OUTPUT",
        "degenerate_output",
        "model dpo",
        behaves(content=[0.01, 0.0] * 50),
    ),
    Scenario(
        "gives its training data away",
        "TRAINING_DATA_LEAKS",
        "training_data_leaks",
        "model dpo",
        limited(dpo=probed(canaries={"extracted": 1})),
    ),
    Scenario(
        "not probed for leaks",
        "LEAKS_NOT_MEASURED",
        "leaks_measured",
        "model dpo",
        limited(LIMITS.model_copy(update={"exposure": None, "auc": None, "found": None}), None),
    ),
    Scenario(
        "far from its parent",
        "OVER_OPTIMISED",
        "over_optimised",
        "model dpo",
        behaves(kl=[2.0, 1.5] * 50),
    ),
    Scenario(
        "quality fell as rewards rose",
        "OVER_OPTIMISED",
        "over_optimised",
        "model dpo",
        _no_demands(behaves({"exact": [1.0] * 100 + [0.0] * 100}, **ROSE)),
    ),
    Scenario(
        "unsafe as rewards rose",
        "OVER_OPTIMISED",
        "over_optimised",
        "model dpo",
        _no_demands(behaves({"unsafe": [1.0] * 100 + [0.0] * 100}, **ROSE)),
    ),
    Scenario(
        "brevity",
        "REWARD_HACKED",
        "reward_hacked",
        "model dpo",
        behaves(tokens=[1.0, 2.0] * 50, **ROSE),
    ),
    Scenario(
        "less content as rewards rose",
        "REWARD_HACKED",
        "reward_hacked",
        "model dpo",
        behaves(content=[1.0, 2.0] * 50, **ROSE),
    ),
    Scenario(
        "refusals as rewards rose",
        "REWARD_HACKED",
        "reward_hacked",
        "model dpo",
        behaves(refused=[0.0, 1.0] * 50, **ROSE),
    ),
    Scenario(
        "parent not measured",
        "NOT_COMPARABLE",
        "reward_hacked",
        "model dpo",
        _parent_not_measured,
    ),
    Scenario(
        "pairs not measured",
        "EVALUATION_INCOMPLETE",
        "behaviour_measured",
        "model reward",
        _pairs_not_measured,
    ),
    *(
        Scenario(name, code, "reward_model", "model reward", ranks_so(**pairs))
        for name, code, pairs in RANKED
    ),
    Scenario(
        "no learning signal",
        "NO_LEARNING_SIGNAL",
        "learning_signal",
        "model dpo",
        _nothing_to_learn,
    ),
    # the stage
    Scenario("objective", "OBJECTIVE_UNKNOWN", "objective", "stage grpo", _request(objective=None)),
    Scenario(
        "reward without digest",
        "OBJECTIVE_UNKNOWN",
        "objective",
        "stage grpo",
        _request(rewards={"route_exact": None}),
    ),
    Scenario(
        "reward not listed",
        "REWARD_NOT_PERMITTED",
        "rewards",
        "stage grpo",
        lambda plan: plan.rules(rewards=["route_exact"]),
    ),
    Scenario(
        "no reward permitted",
        "REWARD_NOT_PERMITTED",
        "rewards",
        "stage grpo",
        lambda plan: plan.rules(rewards=[]),
    ),
    Scenario(
        "data not approved",
        "APPROVAL_MISSING",
        "approvals",
        "dataset tickets",
        _tier(approved_before_training=["data"]),
    ),
    Scenario(
        "objective not approved",
        "APPROVAL_MISSING",
        "approvals",
        "objective of grpo",
        _tier(approved_before_training=["objective"]),
    ),
    Scenario(
        "rewards not approved",
        "APPROVAL_MISSING",
        "approvals",
        "reward route_exact",
        _tier(approved_before_training=["rewards"]),
    ),
    Scenario(
        "generated data not declared",
        "GENERATED_NOT_DECLARED",
        "generated_declared",
        "dataset tickets",
        _generates(lambda plan: plan.card("tickets", generated_by="")),
    ),
    Scenario(
        "generated data without its statement",
        "EVIDENCE_MISSING",
        "generated_declared",
        "dataset tickets",
        _request(data=DataRef(dataset="tickets", sha256=ready("tickets"), generated="tickets")),
    ),
    Scenario(
        "constitution taken away",
        "CONSTITUTION_MISSING",
        "generated",
        "constitution desk",
        _generates(lambda plan: plan.policy(constitutions={})),
    ),
    Scenario(
        "constitution changed",
        "CONSTITUTION_CHANGED",
        "generated",
        "constitution desk",
        _generates(lambda plan: None, constitution_digest=OTHER),
    ),
    Scenario(
        "endpoint taken away",
        "ENDPOINT_NOT_PERMITTED",
        "generated",
        "endpoint frontier",
        _generates(
            lambda plan: plan.card("tickets", generated_by="frontier"),
            generator=EndpointRef(name="frontier", url="https://example.org/v1", model="m"),
        ),
    ),
    Scenario(
        "judge without a card",
        "JUDGE_NOT_CHECKED",
        "generated",
        "judge dpo",
        _generates(lambda plan: plan.without.add(("judge_card", "desk_judge"))),
    ),
    Scenario(
        "judge whose card had ended",
        "JUDGE_CARD_EXPIRED",
        "generated",
        "judge dpo",
        _generates(lambda plan: plan.say("judge_card", "desk_judge", until="2026-11-19")),
    ),
    Scenario(
        "judge that a constant fools",
        "JUDGE_FAILED",
        "generated",
        "judge dpo",
        _generates(fooled),
    ),
    Scenario(
        "evaluation by a judge without a card",
        "JUDGE_NOT_CHECKED",
        "judges_checked",
        "model dpo on wins",
        _compares(lambda plan: plan.without.add(("judge_card", "wins_judge"))),
    ),
    Scenario(
        "evaluation by the reward model",
        "JUDGE_OPTIMISED_FOR",
        "judges_checked",
        "model dpo on wins",
        _compares(_judged_by_its_reward),
    ),
    Scenario(
        "generated from prompts for another purpose",
        "PURPOSE_NOT_PERMITTED",
        "generated",
        "dataset eval",
        _generates(lambda plan: plan.card("eval", purposes=["research"])),
    ),
    Scenario(
        "generated by another request",
        "EVIDENCE_INCONSISTENT",
        "generated",
        "dataset tickets",
        _generates(lambda plan: plan.say("generation", "tickets", inputs={"prompts": OTHER})),
    ),
]


def _decide(world: World) -> Decision:
    return decide_gate(world.request, world.policies, world.evidence, world.at, authority=None)


@pytest.fixture(
    params=SCENARIOS, ids=lambda scenario: f"{scenario.code}-{scenario.name}".replace(" ", "_")
)
def scenario(request: pytest.FixtureRequest) -> Scenario:
    found: Scenario = request.param
    return found


def test_the_function_that_policy_names_is_accepted() -> None:
    plan = desk()
    _names_functions(accuracy=digest("accuracy"))(plan)
    assert not _decide(in_memory(plan)).findings


def test_everything_in_order_is_allowed() -> None:
    decision = _decide(in_memory(desk()))
    assert decision.allowed and decision.findings == () and decision.tier == "limited"
    assert decision.decided_on["data"] == ready("tickets") and decision.decided_on[
        "scorer"
    ] == model("reward")


def test_each_fault_is_refused_with_its_code(scenario: Scenario) -> None:
    plan = desk()
    scenario.change(plan)
    decision = _decide(in_memory(plan))
    assert not decision.allowed
    assert {finding.code for finding in decision.findings} == {scenario.code}
    assert scenario.subject in {finding.subject for finding in decision.findings}
    snapshots.check(RECORDED, scenario.name, decision.findings)


def test_each_finding_says_what_to_do(scenario: Scenario) -> None:
    """A command, or the file and field to edit; and what was expected, or found."""
    plan = desk()
    scenario.change(plan)
    for finding in _decide(in_memory(plan)).findings:
        assert finding.message and (finding.expected or finding.found)
        assert re.search(
            r"countersign |policies/\w+|params\.yaml: |reports/|COUNTERSIGN_|revision with|tier",
            finding.next,
        )


def test_without_its_check_the_same_fault_passes(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = desk()
    scenario.change(plan)
    monkeypatch.delitem(EARLIER if scenario.check in EARLIER else CHECKS, scenario.check)
    assert _decide(in_memory(plan)).findings == ()


def test_every_code_and_every_check_has_its_scenario() -> None:
    codes = {code for code, entry in CODES.items() if entry.section == "Gate and release"}
    of_gates = {scenario.code for scenario in SCENARIOS}
    of_releases = snapshots.codes(RECORDED.with_name("findings_of_releases.json"))
    of_releases |= snapshots.codes(RECORDED.with_name("findings_of_imports.json"))
    # these need people, or the rules of a log
    elsewhere = {"CHECK_CRASHED", "SCORER_WITHDRAWN", "PARENT_WITHDRAWN"}
    elsewhere |= {"RECORDS_TWICE", "SUITE_TRAINED_ON", "OTHER_NAME_WITHDRAWN"}
    elsewhere |= {"ERASED_DATA_USED", "ERASURE_OVERDUE", "TASK_NOT_SCANNED"}
    assert of_gates <= codes <= of_gates | of_releases | elsewhere
    checks = {*CHECKS, *EARLIER} - {"scorer_in_service", "parent_in_service"}
    checks -= {"trained_twice", "suite_trained_on", "erased_data", "erased_suite"}
    checks -= {"suites_compared", "tasks_scanned"}
    assert {scenario.check for scenario in SCENARIOS} == checks
    recorded = snapshots.scenarios(RECORDED)
    assert recorded == {scenario.name for scenario in SCENARIOS}


@pytest.mark.parametrize("name", ["no quality", "gate after training", "unsafe parent"])
def test_the_same_from_a_signed_log(name: str, tmp_path: Path) -> None:
    plan = desk()
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == name)
    scenario.change(plan)
    assert {finding.code for finding in _decide(in_log(plan, tmp_path)).findings} == {scenario.code}


@pytest.mark.parametrize(("rules", "codes"), [(CURRENT, ["ALLOWANCE_ENDED"]), (2, [])])
def test_an_allowance_that_ended_changes_no_decision_under_earlier_rules(
    rules: int, codes: list[str]
) -> None:
    context = SimpleNamespace(
        authority=SimpleNamespace(rules=rules),
        at=datetime(2026, 11, 20, tzinfo=UTC),
        scan=SimpleNamespace(allowances=[AllowedFindings.model_validate(ENDED)]),
        data_finding=lambda code, **_: code,
    )
    assert list(of_data.allowances(context)) == codes  # type: ignore[arg-type]
    assert AllowedFindings.model_validate(ENDED).model_dump()["until"] == ENDED["until"]


def test_a_signed_log_in_order_is_allowed(tmp_path: Path) -> None:
    assert _decide(in_log(desk(), tmp_path)).findings == ()


def test_every_fault_is_told_at_once() -> None:
    plan = desk()
    chosen = [
        one
        for one in SCENARIOS
        if one.name in ("blanks", "reward not listed", "base not allowed", "scan refused")
    ]
    for one in chosen:
        one.change(plan)
    decision = _decide(in_memory(plan))
    assert {finding.code for finding in decision.findings} == {one.code for one in chosen}


def test_a_check_that_crashes_denies_and_tells_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(_: object) -> list[object]:
        raise ValueError("jane.doe@example.com")

    monkeypatch.setitem(CHECKS, "held_out", crash)  # type: ignore[arg-type]
    (finding,) = _decide(in_memory(desk())).findings
    assert (finding.code, finding.subject, finding.found) == (
        "CHECK_CRASHED",
        "check held_out",
        "ValueError",
    )
    monkeypatch.delitem(CHECKS, "held_out")
    assert _decide(in_memory(desk())).allowed


def test_evidence_that_cannot_be_read_denies() -> None:
    class Broken(InMemory):
        def about(self, sha256: str) -> list[Any]:
            raise StorageError("the log cannot be read")

    decision = _decide(replace(in_memory(desk()), evidence=Broken()))
    assert not decision.allowed
    assert {finding.code for finding in decision.findings} == {"CHECK_CRASHED"}


def test_an_empty_log_names_all_that_is_missing() -> None:
    """DVC's cache is warm, the log is another: each kind of evidence by name, with the command that
    makes it again.
    """
    decision = _decide(replace(in_memory(desk()), evidence=InMemory()))
    assert {finding.code for finding in decision.findings} == {"EVIDENCE_MISSING"}
    told = {finding.subject: finding.next for finding in decision.findings}
    assert told.keys() == {"dataset tickets", "model dpo", "model reward"}
    assert "ingest@tickets scan_pii@tickets check_quality@tickets" in told["dataset tickets"]
    assert "gate@dpo train@dpo" in told["model dpo"]
    assert all("COUNTERSIGN_LOG" in step for step in told.values())


def test_without_rules_nothing_is_allowed() -> None:
    plan = desk()
    evaluation = plan.policies.evaluation.model_copy(update={"suites": {}})
    plan.policy(bases={}, datacards={}, quality={}, evaluation=evaluation)
    codes = {finding.code for finding in _decide(in_memory(plan)).findings}
    assert codes == {
        "BASE_NOT_ALLOWED",
        "DATACARD_MISSING",
        "SUITE_OUT_OF_DATE",
        "THRESHOLDS_MISSING",
    }


@pytest.mark.parametrize(
    ("limit", "use"),
    [
        ("max_dropped_share", {"used": 262, "dropped": {"NO_ROOM": 29}}),
        ("max_truncated_share", {"truncated": 29}),
        ("max_truncated_share", {"used": 179, "dropped": {"NO_ROOM": 112}}),
    ],
)
def test_a_training_may_lose_as_many_records_as_policy_permits(
    limit: str, use: dict[str, object]
) -> None:
    plan = desk()
    _training_lost(limit, **use)(plan)
    assert _decide(in_memory(plan)).allowed


def test_a_policy_without_limits_asks_for_no_counts() -> None:
    """Older policies and trainings have none."""
    plan = desk()
    plan.say("train", "dpo", use={})
    assert _decide(in_memory(plan)).allowed


def test_the_answer_depends_on_its_arguments_alone() -> None:
    plan = desk()
    _card(steward="", licence="CC-BY-NC-4.0")(plan)
    world = in_memory(plan)
    assert _decide(world) == _decide(world) == _decide(in_memory(plan))


def test_evidence_by_a_development_key_counts_only_where_policy_says_so() -> None:
    plan = desk()
    plan.rules(development_keys="never")
    assert {finding.code for finding in _decide(in_memory(plan)).findings} == {"EVIDENCE_MISSING"}


def test_evidence_by_a_service_counts_for_the_kinds_it_may_sign(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = desk()
    plan.rules(development_keys="never")
    plan.keyid = lambda kind, key: ("runner", False)
    allowed = {
        kind
        for kind, _ in [("ingest", ""), ("scan", ""), ("quality", ""), ("base", ""), ("gate", "")]
    }
    monkeypatch.setattr(
        type(plan.policies),
        "may_sign",
        lambda self, kind, keyid, *_: keyid == "runner" and kind in allowed,
    )
    assert {finding.subject for finding in _decide(in_memory(plan)).findings} == {
        "model dpo",
        "model reward",
    }


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("scan", {"config": OTHER}),
        ("scan", {"passed": False}),
        ("quality", {"suite": OTHER}),
        ("quality", {"passed": False}),
        ("quality", {"passed": False, "suite": OTHER}),
    ],
)
def test_of_several_statements_about_the_same_bytes_the_fitting_one_is_used(
    kind: str, changes: dict[str, Any]
) -> None:
    """A statement that does not fit the policy in force does no harm when it is recorded after one
    that does.
    """
    world = in_memory(desk())
    assert isinstance(world.evidence, InMemory)
    fitting = next(item for item in world.evidence.all(kind) if item.predicate.dataset == "tickets")
    later = replace(fitting, index=999, predicate=fitting.predicate.model_copy(update=changes))
    world.evidence.items.append(later)
    assert _decide(world).allowed
    world.evidence.items.remove(fitting)
    assert not _decide(world).allowed


def test_of_several_evaluations_the_one_on_the_suite_as_defined_now_is_used() -> None:
    world = in_memory(desk())
    assert isinstance(world.evidence, InMemory)
    items = world.evidence.items
    fitting = next(item for item in items if item.predicate.stage == "evaluate@dpo")
    poor = {name: [0.0] * len(scores) for name, scores in fitting.predicate.scores.items()}
    changes = {"suite": OTHER, "scores": poor}
    later = replace(fitting, index=999, predicate=fitting.predicate.model_copy(update=changes))
    items.append(later)
    assert _decide(world).allowed
    items.remove(fitting)
    assert "EVALUATION_OUT_OF_DATE" in {finding.code for finding in _decide(world).findings}


def test_a_refusal_between_the_permission_and_the_training_counts() -> None:
    world = in_memory(desk())
    assert isinstance(world.evidence, InMemory)
    items = world.evidence.items
    at = next(
        place
        for place, item in enumerate(items)
        if item.kind == "train" and item.predicate.stage == "train@dpo"
    )
    gate = items[at - 1]
    subjects = tuple(one for one in gate.subjects if one.role != "gate")
    refusal = replace(
        gate, subjects=subjects, predicate=gate.predicate.model_copy(update={"allowed": False})
    )
    items.insert(at, refusal)
    world.evidence.items = [replace(item, index=place) for place, item in enumerate(items)]
    assert {(finding.code, finding.subject) for finding in _decide(world).findings} == {
        ("GATE_MISSING", "model dpo")
    }


def test_a_model_said_to_come_from_itself_comes_from_nothing() -> None:
    plan = desk()
    plan.say(
        "train",
        "dpo",
        inputs={"gate": digest("gate dpo"), "data": ready("pairs"), "parent": model("dpo")},
    )
    findings = {(finding.code, finding.subject) for finding in _decide(in_memory(plan)).findings}
    assert ("EVIDENCE_MISSING", "model dpo") in findings


def test_mean_alone_may_be_judged_where_policy_says_so() -> None:
    plan = desk()
    _scores("reward", accuracy=[1.0] * 162 + [0.0] * 38)(plan)
    assert [finding.code for finding in _decide(in_memory(plan)).findings] == ["THRESHOLD_NOT_MET"]
    plan.demand(
        "pairs", "reward", Demands(thresholds={"accuracy": Threshold(at_least=0.8, judge="mean")})
    )
    assert _decide(in_memory(plan)).allowed


def test_data_with_a_test_split_of_its_own_may_be_evaluated_on_it() -> None:
    """Leaks between splits are the quality gate's; the same dataset is no leak by itself."""
    plan = desk()
    suite = SuiteRef(name="tickets", digest=digest("suite"), records=ready("tickets"), split="test")
    _request(suite=suite)(plan)
    plan.say("quality", "tickets", inputs={"records": digest("scanned tickets")})
    assert _decide(in_memory(plan)).allowed


def test_enforcing_raises_with_every_finding() -> None:
    plan = desk()
    _card(steward="", licence="CC-BY-NC-4.0")(plan)
    with pytest.raises(RefusedError, match=r"DATACARD_INCOMPLETE(.|\n)*LICENCE_NOT_PERMITTED"):
        enforce(_decide(in_memory(plan)), "gate@grpo")


def test_a_stage_of_two_models_is_allowed_only_for_both() -> None:
    plan = desk()
    strict = Tier(promotable=True, approvals=2, classifications=["public"])
    lax = plan.policies.rules.models[MODEL]
    plan.rules(
        tiers={**plan.policies.rules.tiers, "strict": strict},
        models={
            **plan.policies.rules.models,
            "bank-desk": ModelPolicy(tier="strict", purpose="customer-support", region="EU"),
            "phone-desk": lax,
        },
    )
    world = in_memory(plan)

    def decided(*names: str) -> Decision:
        request = world.request.model_copy(update={"model": names[0], "also": [*names[1:]]})
        return decide_gate(request, plan.policies, world.evidence, plan.at, authority=None)

    assert decided(MODEL).allowed
    assert decided(MODEL, "phone-desk").tier == lax.tier
    refused = decided(MODEL, "bank-desk")
    assert (refused.allowed, refused.tier) == (False, f"{lax.tier}, strict")
    assert refused.findings == decided("bank-desk").findings
    assert decided("bank-desk", MODEL).findings == refused.findings
    (unknown,) = decided(MODEL, "nobody").findings
    assert (unknown.code, unknown.subject) == ("MODEL_UNKNOWN", "model nobody")


def test_a_request_survives_being_recorded() -> None:
    request = in_memory(desk()).request
    assert GateRequest.model_validate(request.model_dump(mode="json")) == request


def test_a_policy_without_a_list_of_ignored_fields_judges_none() -> None:
    """Older policies have none, and their decisions stay."""
    plan = desk()
    plan.say("ingest", "tickets", fields_unused={"note": 3})
    plan.rules(ingest=IngestPolicy(malformed="drop"))
    assert _decide(in_memory(plan)).allowed
    plan.rules(ingest=IngestPolicy(malformed="drop", ignored_fields={}))
    assert [one.code for one in _decide(in_memory(plan)).findings] == ["FIELDS_NOT_PERMITTED"]


@pytest.mark.parametrize(
    "change", [_guideline(GUIDELINE), _rated(), _rated(left_out=RATER, excluded=RATER)]
)
def test_labels_as_declared_and_decided_are_no_finding(change: Change) -> None:
    plan = desk()
    change(plan)
    assert _decide(in_memory(plan)).allowed
