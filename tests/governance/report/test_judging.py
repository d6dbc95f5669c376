"""The card of a judge in sentences, and what the page says of a judge."""

from __future__ import annotations

from governance.attest.predicates import JudgeFigures
from governance.gates.judging import MEASURES
from governance.report.judging import NO_FAMILY, TRIED, sentences
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
