"""Every number that policy may set, at its limit and one step beyond it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from governance.policy import data, evaluation, rules
from governance.policy.rules import Principal, Rules
from tests.governance.keys import ONE

REDACT = {"action": "redact"}
TIER = {"promotable": True, "approvals": 2, "classifications": ["public"]}
ALIAS = {"requesters": ["release-manager"]}
PRINCIPAL = {"name": "ada", "kind": "person", "keys": [ONE.public_pem]}
CHECK = {
    "name": "one",
    "column": "words",
    "check": "expect_column_values_to_be_between",
    "max_value": 9,
    "action": "block",
    "reason": "TOO_LONG",
}
SUITE = {"kind": "conversation", "expectations": [CHECK]}
MODEL = {"tier": "limited", "purpose": "support", "region": "EU"}
COMPARISON = {"reference": "parent", "metric": "accuracy"}
SLICE = {"by": "language", "metric": "accuracy", "at_least": 0.5}
PATTERN = {"name": "x", "regex": "x"}

ROWS: list[tuple[type[BaseModel], dict[str, Any], str, list[Any], list[Any]]] = [
    # model, its other fields, the field, what it may be, what it may not be
    (rules.Tier, TIER, "approvals", [0, 1, 9], [-1, "1", 1.0, True]),
    (rules.Tier, TIER, "waiver_days", [None, 0, 1], [-1, "1", 1.0]),
    (rules.Tier, TIER, "review_every", [None, 1, 120], [0, 121, "6"]),
    (rules.Tier, TIER, "classifications", [["public"]], [[], ["secret"]]),
    (rules.Tier, TIER, "limits", [[], ["x"], ["x" * 300]], [[""], [" "], ["x" * 301]]),
    (rules.ModelPolicy, MODEL, "owner", ["", "x" * 100], ["x" * 101]),
    (rules.ModelPolicy, MODEL, "region", ["EU", "EEA", "ASIA", "anywhere"], ["E", "eu", "EUROP"]),
    (rules.Quorum, {"roles": ["risk"]}, "people", [1, 9], [0, "1", 1.0, True]),
    (rules.Quorum, {"people": 1}, "roles", [["risk"]], [[]]),
    (rules.AliasRule, ALIAS, "request_hours", [1, 24 * 31], [0, 24 * 31 + 1, "24", 24.0]),
    (rules.AliasRule, ALIAS, "rollback_people", [1, 2], [0, "1", 1.0]),
    (rules.AliasRule, ALIAS, "second_signature_hours", [1, 1000], [0, "72", 72.0]),
    (rules.AliasRule, {}, "requesters", [["risk"]], [[]]),
    (rules.IncidentRules, {}, "opened_by", [None, ["risk"]], [[]]),
    (rules.IncidentRules, {}, "closed_by", [None, ["risk"]], [[]]),
    (rules.WaiverRules, {}, "max_days", [0, 1], [-1, "1", 1.0]),
    (rules.Principal, PRINCIPAL, "keys", [[ONE.public_pem]], [[], ["x"]]),
    (rules.Licences, {"bases": ["MIT"]}, "data", [["MIT"]], [[]]),
    (rules.Licences, {"data": ["MIT"]}, "bases", [["MIT"]], [[]]),
    (evaluation.Comparison, COMPARISON, "may_fall", [0, 0.1], [-0.01]),
    (evaluation.Comparison, COMPARISON, "may_rise", [0, 0.1], [-0.01]),
    (evaluation.SliceThreshold, SLICE, "minimum_items", [1, 20], [0]),
    (data.PatternRule, PATTERN, "score", [0, 1], [-0.1, 1.1]),
    (data.PiiPolicy, {"default": REDACT}, "threshold", [0, 1], [-0.1, 1.1]),
    (data.PiiPolicy, {"default": REDACT}, "languages", [["en"]], [[], ["eng"], ["EN"]]),
    (data.PiiPolicy, {"default": REDACT}, "phone_regions", [["US"]], [[], ["us"], ["USA"]]),
    (data.PiiPolicy, {"default": REDACT}, "minimum_recall", [{}, {"URL": 0.5}],
     [{"URL": 0}, {"URL": 1}]),
    (data.QualityCheck, CHECK, "mostly", [None, 0.01, 1], [0, 1.01]),
    (data.QualitySuite, SUITE, "near_duplicate_similarity", [0.01, 1], [0, 1.01]),
    (data.IngestPolicy, {}, "max_share", [0, 0.99], [-0.01, 1]),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0].__name__}.{row[2]}")
def test_a_field_takes_what_it_may_be_and_nothing_else(
    row: tuple[type[BaseModel], dict[str, Any], str, list[Any], list[Any]],
) -> None:
    model, fields, name, accepted, refused = row
    for value in accepted:
        assert getattr(model.model_validate({**fields, name: value}), name) == value
    for value in refused:
        with pytest.raises(ValidationError, match=name):
            model.model_validate({**fields, name: value})


DEFAULTS: list[tuple[type[BaseModel], dict[str, Any], dict[str, Any]]] = [
    (rules.AliasRule, ALIAS, {
        "request_hours": 24, "rollback_people": 1, "second_signature_hours": 72, "break_glass": [],
    }),
    (rules.Tier, TIER, {
        "separate_evaluator": False, "pinned_sources": False, "pinned_suites": False,
        "canary": False, "waiver_days": None, "approvers": [],
    }),
    (data.PiiPolicy, {"default": REDACT}, {
        "threshold": 0.35, "languages": ["en"], "ner": "name-list", "require_ner": False,
        "phone_regions": ["US", "GB", "CA", "FR", "IL", "IN", "BR"],
    }),
    (data.PatternRule, PATTERN, {"score": 0.9}),
    (data.QualitySuite, SUITE, {"near_duplicate_similarity": 0.85}),
    (data.IngestPolicy, {}, {"malformed": "block", "max_share": 0.0}),
    (evaluation.SliceThreshold, SLICE, {"minimum_items": 20, "judge": "interval"}),
]  # fmt: skip


@pytest.mark.parametrize("row", DEFAULTS, ids=lambda row: row[0].__name__)
def test_what_holds_where_policy_says_nothing(
    row: tuple[type[BaseModel], dict[str, Any], dict[str, Any]],
) -> None:
    """Policies that were signed without these fields go on to mean this."""
    model, fields, defaults = row
    value = model.model_validate(fields)
    assert {name: getattr(value, name) for name in defaults} == defaults


def test_a_limit_is_kept_without_blanks_around_it() -> None:
    tier = rules.Tier.model_validate({**TIER, "limits": [" health advice "]})
    assert tier.limits == ["health advice"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"none": "it is only a test", "thresholds": {"a": {"at_least": 1}}}, "stands alone"),
        ({"none": "it is only a test", "compare": [{**COMPARISON, "may_fall": 0}]}, "stands alone"),
        ({"none": "it is only a test", "slices": [SLICE]}, "stands alone"),
        ({}, "give thresholds"),
        ({"compare": [{**COMPARISON, "may_fall": 0}]}, "give thresholds"),
        ({"none": "short"}, "at least 10"),
        ({"none": "it is only a test"}, None),
        ({"thresholds": {"a": {"at_least": 1}}}, None),
        ({"thresholds": {"a": {"at_least": 1}}, "slices": [SLICE]}, None),
    ],
)
def test_demands_are_thresholds_or_a_reason(fields: dict[str, Any], message: str | None) -> None:
    if message is None:
        assert evaluation.Demands.model_validate(fields)
        return
    with pytest.raises(ValidationError, match=message):
        evaluation.Demands.model_validate(fields)


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (evaluation.Threshold, ("at_least", "at_most")),
        (evaluation.Comparison, ("may_fall", "may_rise")),
    ],
)
def test_a_bound_has_one_side(model: type[BaseModel], fields: tuple[str, str]) -> None:
    first, second = fields
    base = COMPARISON if model is evaluation.Comparison else {}
    for given in ({first: 0.0}, {second: 0.0}):
        assert model.model_validate({**base, **given})
    for given in ({}, {first: 0.0, second: 0.0}):
        with pytest.raises(ValidationError, match="give either"):
            model.model_validate({**base, **given})


def _people() -> list[Principal]:
    rows = [("ada", "person", ["risk", "legal"]), ("ben", "person", ["product"]),
            ("ci", "service", ["risk"]), ("eve", "person", [])]  # fmt: skip
    return [
        Principal.model_construct(name=name, kind=kind, roles=roles, keys=[], until=date.max)
        for name, kind, roles in rows
    ]


@pytest.mark.parametrize(
    ("roles", "names"),
    [
        (None, ["ada", "ben", "eve"]),
        ([], []),
        (["risk"], ["ada"]),
        (["product", "legal"], ["ada", "ben"]),
        (["visitor"], []),
    ],
)
def test_people_in_a_role_are_no_services(roles: list[str] | None, names: list[str]) -> None:
    found = Rules.model_construct(principals=_people(), seconded_by=roles)
    assert [person.name for person in found.in_roles(roles)] == names
    if roles is not None:
        assert found.seconders == names
