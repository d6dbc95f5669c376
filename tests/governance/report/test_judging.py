"""The card of a judge in sentences, and what the page says of a judge."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from governance.attest.predicates import JudgeFigures, JudgingCost
from governance.gates.judging import MEASURES
from governance.report.html import environment
from governance.report.judging import NO_CARD, NO_FAMILY, TRIED, sentences, spent
from governance.report.model.data import Dataset, GeneratedBy, JudgeShown
from tests.simulator import FIGURES


def told(**figures: object) -> list[str]:
    return list(sentences(JudgeFigures.model_validate({**FIGURES, **figures}), 0.95))


def test_every_measure_has_a_sentence_of_its_own() -> None:
    assert TRIED.keys() == set(MEASURES)
    assert len(set(told())) == len(told()) == len(MEASURES) + 3


def test_the_figures_stand_in_the_sentences() -> None:
    agreement = {
        "items": 200, "raters": 3, "kappa": {"value": 0.8, "low": 0.7, "high": 0.9},
        "kappa_of_people": {"value": 0.75, "low": 0.6, "high": 0.85},
    }  # fmt: skip
    measures = {**FIGURES["measures"], "constant": {"items": 50, "won": 20, "once": 10}}
    first, second, *rest, last = told(agreement=agreement, measures=measures)
    assert "0.80 [0.70, 0.90] on 200 pairs" in first and "3 people with each other is 0.75" in first
    assert "97.5%" in second and last == NO_FAMILY
    (constant,) = (text for text in rest if text.startswith("One polite text"))
    assert "wins 50.0% [36.6%, 63.4%] of 50 comparisons" in constant


def test_what_is_not_measured_is_said() -> None:
    measures = {"empty": {"items": 0, "won": 0, "once": 0}}
    lines = told(agreement={"items": 3, "raters": 1, "kappa": None}, measures=measures)
    assert lines[0] == "Agreement with people: no interval, from 3 pairs."
    assert "empty: no pair to try it with." in lines


def test_an_excess_for_the_own_family_is_a_difference() -> None:
    side = {"items": 100, "once": 0}
    family = {
        "people_prefer_other": {**side, "won": 40}, "people_prefer_own": {**side, "won": 10}
    }  # fmt: skip
    assert "more often than against it by 30.0% [18.2%, 40.7%]" in told(own_family=family)[-1]


@pytest.mark.parametrize(
    ("cost", "words"),
    [
        ({"tokens": None, "written": None}, "1,200 requests, tokens not known"),
        ({"tokens": 9000, "written": None}, "1,200 requests, 9,000 tokens, cost not known"),
        (
            {"tokens": 9000, "written": 1200, "currency": "EUR", "millionths": 31_500},
            "1,200 requests, 9,000 tokens, 1,200 of them written, 0.03 EUR",
        ),
    ],
)
def test_what_an_endpoint_took_is_said(cost: dict[str, object], words: str) -> None:
    assert spent(JudgingCost.model_validate({"requests": 1200, **cost})) == words


@pytest.mark.parametrize(
    "wrong",
    [
        {"tokens": 5, "written": 6},
        {"tokens": 5, "written": None, "currency": "EUR", "millionths": 1},
        {"tokens": 5, "written": 1, "currency": "EUR"},
    ],
)
def test_an_amount_that_follows_from_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        JudgingCost.model_validate({"requests": 1, **wrong})


def page(judged: JudgeShown) -> str:
    made = GeneratedBy(
        kind="pairs", prompts="p", constitution="c", generator="g", judge="dpo", judged=judged,
        asked=2, kept=2, dropped={}, evidence=[1],
    )  # fmt: skip
    data = Dataset(
        name="n", kind="preference", used_by=["train@dpo"], digest="a" * 64, source="s", card={},
        card_note="", steps=[], scan=None, recall=[], judged=[], quality=None, generated=made,
        gap=None,
    )  # fmt: skip
    return str(environment().get_template("parts.html.j2").module.dataset(data))  # type: ignore[attr-defined]


def test_the_page_tells_a_judge_that_failed_from_one_that_nobody_checked() -> None:
    assert "judge not checked" in page(JudgeShown(passed=False, verdict=NO_CARD))
    failed = page(JudgeShown(passed=False, verdict="v", figures=["One."], beyond_raters="<proofs>"))
    assert "judge failed" in failed and "<dd>One.</dd>" in failed
    assert "People cannot reliably judge such answers" in failed and "&lt;proofs&gt;" in failed
    passed = page(JudgeShown(passed=True, verdict="it passed its check", figures=["One."]))
    assert (
        "it passed its check" in passed and "failed" not in passed and "not checked" not in passed
    )
