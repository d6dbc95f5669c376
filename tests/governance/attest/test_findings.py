"""When two findings give the same reason, and when whoever accepted one accepted the other."""

from __future__ import annotations

import pytest

from governance.attest.findings import (
    finding,
    not_among,
    same_exception,
    same_reason,
    same_reasons,
)
from governance.attest.predicates import Finding

CODE = "THRESHOLD_NOT_MET"


def raised(
    *figures: str,
    code: str = CODE,
    subject: str = "model sft",
    found: str = "",
    message: str = "",
    measure: str = "",
) -> Finding:
    return finding(code, subject, message, found=found, figures=figures, measure=measure)


ROWS = [
    # one finding, another; whether they have the same reason; whether they are the same exception
    (raised(), raised(), True, True),
    (raised(message="score 0.1"), raised(message="lower than asked"), True, True),
    (raised("0.1"), raised("0.1"), True, True),
    (raised("0.1"), raised("0.2"), False, False),
    (raised("0.1", "5"), raised("0.1"), False, False),
    (raised("0.1", found="score 0.1"), raised(), True, False),
    (raised("0.1", found="score 0.1"), raised(found="score 0.1"), True, True),
    (raised("0.1", found="score 0.1"), raised(found="score 0.2"), True, False),
    (raised("EMAIL 1", found="EMAIL: 1"), raised(found="EMAIL: 1"), True, True),
    (raised("0.1", measure="exact"), raised("0.1", measure="exact"), True, True),
    (raised("0.1", measure="exact"), raised("0.1", measure="unsafe"), False, False),
    (raised("0.1", measure="exact"), raised("0.1"), True, True),
    (raised(found="score 0.1"), raised(found="it has 0.1"), True, True),
    (raised(found="score 0.1"), raised(found="score 0.2"), True, False),
    (raised(), raised(code="SLICE_NOT_MET"), False, False),
    (raised(), raised(subject="model dpo"), False, False),
    (raised("0.1"), raised("0.1", subject="model dpo"), False, False),
]


@pytest.mark.parametrize(("first", "second", "reason", "exception"), ROWS)
def test_code_subject_and_figures_make_a_reason(
    first: Finding, second: Finding, reason: bool, exception: bool
) -> None:
    for one, other in ((first, second), (second, first)):
        assert same_reason(one, other) is reason
        assert same_exception(one, other) is exception
        assert same_reasons([one], [other]) is reason
        assert not_among([one], [other]) == ([] if reason else [one])


def test_reasons_are_the_same_in_any_order_and_none_may_be_missing() -> None:
    first, second = raised("0.1"), raised("0.2")
    assert same_reasons([first, second], [second, first])
    assert same_reasons([], []) and not same_reasons([first], []) and not same_reasons([], [first])
    assert not same_reasons([first], [first, second])


@pytest.mark.parametrize(
    ("found", "figures"),
    [
        ("", []),
        ("score 0.870 [0.827, 0.903], n=300", ["0.870", "0.827", "0.903", "300"]),
        ("-0.5 and 12", ["-0.5", "12"]),
        ("sha256 0a1b2c, v1.2.3, model-7", []),
    ],
)
def test_older_findings_have_their_figures_in_words(found: str, figures: list[str]) -> None:
    assert same_exception(raised(found=found), raised(found=" ".join(figures)))
    assert not same_exception(raised(found=found), raised(found=" ".join([*figures, "7"])))


def test_a_finding_takes_its_sentence_and_step_from_the_table() -> None:
    made = finding("MODEL_UNKNOWN", "model desk")
    assert made.message == "policy gives this model no tier, so it sets no requirements for it"
    assert made.next == "policies/policy.yaml: models.desk: tier, purpose, region"
    own = finding("MODEL_UNKNOWN", "model desk", "it is new", next="ask")
    assert (own.message, own.next) == ("it is new", "ask")
