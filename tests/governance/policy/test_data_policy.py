"""PII policy and quality suites: what they may not say, each mistake with a sentence that names
it.
"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from governance.policy.data import PiiPolicy, QualityCheck, QualitySuite

REDACT = {"action": "redact"}

PII_MISTAKES = [
    ({}, "default"),
    ({"default": {"action": "allow"}}, "allow needs a reason"),
    (
        {"default": REDACT, "entities": {"URL": {"action": "allow", "reason": "  "}}},
        "allow needs a reason",
    ),
    ({"default": REDACT, "entities": {"URL": {"action": "ignore"}}}, "block"),
    ({"default": REDACT, "entities": {"url": REDACT}}, "pattern"),
    ({"default": REDACT, "threshold": 1.5}, "less than or equal to 1"),
    ({"default": REDACT, "ner": "magic"}, "pattern"),
    ({"default": REDACT, "languages": []}, "at least 1"),
    ({"default": REDACT, "languages": ["en", "en"]}, "named twice"),
    ({"default": REDACT, "tresholds": {}}, "not permitted"),
]


@pytest.mark.parametrize(("policy", "message"), PII_MISTAKES)
def test_mistakes_in_a_pii_policy(policy: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PiiPolicy.model_validate(policy)


PATTERN_MISTAKES = [("(", "not a regular expression"), ("x*", "matches empty text")]


@pytest.mark.parametrize(("regex", "message"), PATTERN_MISTAKES)
def test_mistakes_in_a_pattern(regex: str, message: str) -> None:
    own = {"name": "own", "entity": "OWN", "patterns": [{"name": "own", "regex": regex}]}
    with pytest.raises(ValidationError, match=message):
        PiiPolicy.model_validate({"default": REDACT, "recognizers": [own]})


def test_an_entity_nobody_named_has_the_default_and_thresholds_add_up() -> None:
    policy = PiiPolicy.model_validate(
        {
            "default": {"action": "drop"},
            "threshold": 0.4,
            "entities": {"URL": {"action": "redact", "threshold": 0.6}},
            "recognizer_thresholds": {"UrlRecognizer": 0.5, "PhoneRecognizer": 0.9},
        }
    )
    assert policy.entity("URL").action == "redact"
    assert policy.entity("SOMETHING_NEW").action == "drop"
    assert policy.threshold_of("URL", "UrlRecognizer") == 0.6
    assert policy.threshold_of("PHONE_NUMBER", "PhoneRecognizer") == 0.9
    assert policy.threshold_of("PHONE_NUMBER", "Other") == 0.4


CHECK = {
    "name": "one",
    "column": "words",
    "check": "expect_column_values_to_be_between",
    "max_value": 9,
    "action": "block",
    "reason": "TOO_LONG",
}
COUNT = {**CHECK, "column": "(table)", "check": "expect_table_row_count_to_be_between"}

CHECK_MISTAKES = [
    ({**CHECK, "check": "expect_column_values_to_be_unique"}, "unknown check"),
    ({**CHECK, "max_value": None}, "needs max_value or min_value"),
    ({**CHECK, "value_set": [1]}, "takes no value_set"),
    ({**CHECK, "column": "(table)"}, "goes with expect_table"),
    ({**COUNT, "column": "words"}, "goes with expect_table"),
    ({**COUNT, "action": "drop"}, "judges every record by itself"),
    ({**COUNT, "mostly": 0.9}, "judges every record by itself"),
    ({**CHECK, "action": "drop", "mostly": 0.9}, "mostly has no meaning"),
    ({**CHECK, "action": "report"}, "severity warning goes with action report"),
    ({**CHECK, "severity": "warning"}, "severity warning goes with action report"),
    ({**CHECK, "reason": "TO_LONG"}, "did you mean 'TOO_LONG'"),
]


@pytest.mark.parametrize(("check", "message"), CHECK_MISTAKES)
def test_mistakes_in_an_expectation(check: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        QualityCheck.model_validate(check)


SUITE_MISTAKES = [
    ({"kind": "conversation", "expectations": []}, "at least 1"),
    ({"kind": "essay", "expectations": [CHECK]}, "conversation"),
    ({"kind": "conversation", "expectations": [CHECK, CHECK]}, "named twice: one"),
    (
        {
            "kind": "conversation",
            "expectations": [{**CHECK, "action": "report", "severity": "warning"}],
        },
        "nothing in this suite can refuse",
    ),
]


@pytest.mark.parametrize(("suite", "message"), SUITE_MISTAKES)
def test_mistakes_in_a_suite(suite: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        QualitySuite.model_validate(suite)
