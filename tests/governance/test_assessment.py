"""Scores held against demands: what is judged, what is said of it, and what is a gap."""

from __future__ import annotations

from typing import Any

import pytest

from governance.assessment import compare, describe, differences, figures, judge
from governance.evaluation_policy import Comparison, Demands, EvaluationPolicy, Threshold
from governance.predicates import Evaluate
from governance.statistics import Interval
from tests.governance.examples import A, B, C, stage

POLICY = EvaluationPolicy(confidence=0.95, minimum_items=50, suites={})
HALF = [1.0, 0.0] * 100


def _evaluation(suite: str = B, not_run: str | None = None, **scores: list[float | None]) -> Evaluate:
    fields: dict[str, Any] = {"model": A, "suite": suite, "suite_name": "x", "not_run": not_run, "scores": scores}
    return Evaluate.model_validate(stage("evaluate@x", **fields))


@pytest.mark.parametrize(
    ("threshold", "passed"),
    [
        (Threshold(at_least=0.42), True),  # the interval is [0.431, 0.569]
        (Threshold(at_least=0.45), False),
        (Threshold(at_least=0.45, judge="mean"), True),
        (Threshold(at_least=0.5, judge="mean"), True),
        (Threshold(at_most=0.58), True),
        (Threshold(at_most=0.55), False),
        (Threshold(at_most=0.55, judge="mean"), True),
        (Threshold(at_most=0.0), False),
    ],
)
def test_a_threshold_holds_for_the_unfavourable_end(threshold: Threshold, passed: bool) -> None:
    (judged,) = judge(_evaluation(exact=HALF), Demands(thresholds={"exact": threshold}), POLICY)
    assert judged.passed is passed and not judged.gap
    assert judged.found == "0.500 [0.431, 0.569], n=200"


@pytest.mark.parametrize(
    ("evaluation", "gap"),
    [
        (_evaluation(), "no such metric"),
        (_evaluation(exact=[]), "no such metric"),
        (_evaluation(exact=[1.0, None] * 50), "50 of 100 items have no score"),
        (_evaluation(exact=[1.0] * 49), "49 item"),
        (_evaluation(not_run="no weights", exact=[1.0] * 100), "not run: no weights"),
    ],
)
def test_what_cannot_be_judged_is_a_gap_and_not_passed(evaluation: Evaluate, gap: str) -> None:
    (judged,) = judge(evaluation, Demands(thresholds={"exact": Threshold(at_least=0.0)}), POLICY)
    assert not judged.passed and gap in judged.found


BETTER = [1.0, 0.0, 1.0, 1.0] * 50


@pytest.mark.parametrize(
    ("ours", "margin", "passed"),
    [
        (HALF, {"may_fall": 0.4}, True),
        (HALF, {"may_fall": 0.2}, False),
        (BETTER, {"may_fall": 0.05}, True),
        (BETTER, {"may_rise": 0.05}, True),
    ],
)
def test_a_comparison_is_paired(ours: list[float | None], margin: dict[str, float], passed: bool) -> None:
    """HALF is right on a half, BETTER on the same and on half of the others."""
    demands = Demands(
        thresholds={"exact": Threshold(at_least=0)},
        compare=[Comparison.model_validate({"reference": "parent", "metric": "exact", **margin})],
    )
    (judged,) = compare(_evaluation(exact=ours), demands, POLICY, {"parent": _evaluation(exact=list(BETTER))})
    assert judged.passed is passed and judged.reference == "parent"


@pytest.mark.parametrize(
    ("reference", "gap"),
    [
        (None, "no evaluation"),
        (_evaluation(suite=C, exact=HALF), "another suite"),
        (_evaluation(exact=HALF[:100]), "200 items against 100"),
        (_evaluation(not_run="no weights"), "the reference: not run"),
    ],
)
def test_what_cannot_be_compared_is_not_passed(reference: Evaluate | None, gap: str) -> None:
    demands = Demands(
        thresholds={"exact": Threshold(at_least=0)},
        compare=[Comparison(reference="parent", metric="exact", may_fall=1)],
    )
    (judged,) = compare(_evaluation(exact=HALF), demands, POLICY, {"parent": reference})
    assert not judged.passed and gap in judged.found


def test_only_references_at_hand_are_compared_with() -> None:
    demands = Demands(
        thresholds={"exact": Threshold(at_least=0)},
        compare=[Comparison(reference="champion", metric="exact", may_fall=0)],
    )
    assert compare(_evaluation(exact=HALF), demands, POLICY, {"parent": None}) == []


def test_a_report_gets_every_metric_with_its_interval_or_why_not() -> None:
    ours, theirs = _evaluation(exact=HALF, safe=[None, 1.0]), _evaluation(exact=list(BETTER), other=[1.0])
    found = figures(ours, 0.95)
    assert isinstance(found["exact"], Interval) and describe(found["exact"]).startswith("0.500 [")
    assert found["safe"] == "1 of 2 items have no score"
    (name, difference) = differences(ours, theirs, 0.95).popitem()
    assert name == "exact" and isinstance(difference, Interval) and difference.mean == -0.25
