"""Scores held against demands: what is judged, what is said of it, and what is a gap."""

from __future__ import annotations

from typing import Any

import pytest

from governance.attest.predicates import Evaluate
from governance.base.statistics import Interval
from governance.gates.assessment import (
    Judged,
    compare,
    describe,
    differences,
    figures,
    judge,
    judge_slices,
)
from governance.policy.evaluation import (
    Comparison,
    Demands,
    EvaluationPolicy,
    SliceThreshold,
    Threshold,
)
from tests.governance.examples import A, B, C, stage

POLICY = EvaluationPolicy(confidence=0.95, minimum_items=50, suites={})
HALF = [1.0, 0.0] * 100


def _evaluation(
    suite: str = B, not_run: str | None = None, **scores: list[float | None]
) -> Evaluate:
    fields: dict[str, Any] = {
        "model": A,
        "suite": suite,
        "suite_name": "x",
        "not_run": not_run,
        "scores": scores,
    }
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
        (HALF, {"may_fall": 0.0, "judge": "mean"}, False),
        (BETTER, {"may_fall": 0.0, "judge": "mean"}, True),
        ([1.0] * 200, {"may_rise": 0.0, "judge": "mean"}, False),
        (BETTER, {"may_rise": 0.0, "judge": "mean"}, True),
    ],
)
def test_a_comparison_is_paired(
    ours: list[float | None], margin: dict[str, Any], passed: bool
) -> None:
    """HALF is right on a half, BETTER on the same and on half of the others."""
    demands = Demands(
        thresholds={"exact": Threshold(at_least=0)},
        compare=[Comparison.model_validate({"reference": "parent", "metric": "exact", **margin})],
    )
    (judged,) = compare(
        _evaluation(exact=ours), demands, POLICY, {"parent": _evaluation(exact=list(BETTER))}
    )
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
    ours, theirs = (
        _evaluation(exact=HALF, safe=[None, 1.0]),
        _evaluation(exact=list(BETTER), other=[1.0]),
    )
    found = figures(ours, 0.95)
    assert isinstance(found["exact"], Interval) and describe(found["exact"]).startswith("0.500 [")
    assert found["safe"] == "1 of 2 items have no score"
    name, difference = differences(ours, theirs, 0.95).popitem()
    assert name == "exact" and isinstance(difference, Interval) and difference.mean == -0.25


# --- slices ---------------------------------------------------------------------------------------

LANGUAGES = ["en"] * 60 + ["de"] * 30 + ["fr"] * 10
RIGHT = [1.0] * 57 + [0.0] * 3 + [1.0] * 24 + [0.0] * 6 + [0.0] * 10
"""By language: en 0.95 of 60, de 0.8 of 30, fr none of 10."""


def _sliced(labels: list[str] = LANGUAGES, scores: list[float | None] | None = None) -> Evaluate:
    return _evaluation(exact=scores or [*RIGHT]).model_copy(update={"slices": {"language": labels}})


def _demand(**bound: Any) -> Demands:
    least = {"exact": Threshold(at_least=0.1)}
    return Demands(
        thresholds=least, slices=[SliceThreshold(by="language", metric="exact", **bound)]
    )


@pytest.mark.parametrize(
    ("bound", "passed", "worst"),
    [
        (
            {"at_least": 0.6},
            True,
            "language=de 0.800 [0.627, 0.905], n=30",
        ),  # fr is too small to decide
        ({"at_least": 0.65}, False, "language=de 0.800 [0.627, 0.905], n=30"),
        ({"at_least": 0.8, "judge": "mean"}, True, "language=de 0.800 [0.627, 0.905], n=30"),
        ({"at_least": 0.6, "minimum_items": 10}, False, "language=fr 0.000 [0.000, 0.278], n=10"),
        ({"at_least": 0.9, "minimum_items": 50}, False, "language=en 0.950 [0.863, 0.983], n=60"),
        ({"at_most": 0.99}, True, "language=en 0.950 [0.863, 0.983], n=60"),
        ({"at_most": 0.95}, False, "language=en 0.950 [0.863, 0.983], n=60"),
    ],
)
def test_the_worst_slice_that_has_enough_items_decides(
    bound: dict[str, Any], passed: bool, worst: str
) -> None:
    (judged,) = judge_slices(_sliced(), _demand(**bound), POLICY)
    assert (judged.passed, judged.gap, judged.found) == (passed, "", worst)


def test_a_slice_beyond_the_bound_is_not_hidden_by_a_smaller_mean_that_meets_it() -> None:
    """Few items have a wide interval: the slice named is one that fails."""
    labels, scores = ["a"] * 400 + ["b"] * 20, [1.0] * 360 + [0.0] * 40 + [1.0] * 19 + [0.0]
    (judged,) = judge_slices(_sliced(labels, [*scores]), _demand(at_least=0.8), POLICY)
    assert not judged.passed and judged.slice == "language=b", "0.95 of 20 is [0.764, 0.991]"


@pytest.mark.parametrize(
    ("evaluation", "gap"),
    [
        (_evaluation(exact=[*RIGHT]), "the suite's items name no slice"),
        (
            _evaluation(exact=[*RIGHT]).model_copy(update={"slices": {"topic": ["x"] * 100}}),
            "no slice by language",
        ),
        (_sliced(["en"] * 99), "99 items have a slice by language, and 100 a score"),
        (_sliced(scores=[None, *RIGHT[1:]]), "1 of 100 items have no score"),
        (_sliced([f"{at}" for at in range(100)]), "no slice by language has so many items"),
    ],
)
def test_slices_that_cannot_be_judged_are_a_gap_and_not_passed(
    evaluation: Evaluate, gap: str
) -> None:
    (judged,) = judge_slices(evaluation, _demand(at_least=0.1), POLICY)
    assert not judged.passed and gap in judged.gap


def test_a_slice_that_policy_names_cannot_be_told_as_other() -> None:
    hidden = _sliced(["other"] * len(LANGUAGES))
    (judged,) = judge_slices(hidden, _demand(at_least=0.1), POLICY)
    assert judged.passed
    (judged,) = judge_slices(hidden, _demand(at_least=0.1, labels=["en", "de"]), POLICY)
    assert not judged.passed and judged.gap == "no slice language=en of so many items"
    (judged,) = judge_slices(_sliced(), _demand(at_least=0.1, labels=["en"]), POLICY)
    assert not judged.gap


def test_nothing_is_demanded_of_slices_unless_policy_does() -> None:
    assert (
        judge_slices(_sliced(), Demands(thresholds={"exact": Threshold(at_least=0.1)}), POLICY)
        == []
    )


def test_a_result_carries_its_figure_as_data_to_the_digits_shown() -> None:
    figure = Interval(300, 0.90666, 0.86849, 0.93498, "wilson")
    judged = Judged("exact", None, "at least 0.9", figure, False)
    assert judged.figures == ["0.907", "0.868", "0.935", "300"]
    assert judged.found == "0.907 [0.868, 0.935], n=300"
    in_slice = Judged("exact", None, "at least 0.9", figure, False, slice="language=de")
    assert in_slice.found == "language=de 0.907 [0.868, 0.935], n=300"
    gap = Judged("exact", None, "at least 0.9", None, False, "not scored")
    assert (gap.figures, gap.found) == ([], "not scored")


@pytest.mark.parametrize(("items", "judged"), [(49, False), (50, True), (51, True)])
def test_as_many_items_as_policy_wants_are_enough(items: int, judged: bool) -> None:
    demands = Demands(thresholds={"exact": Threshold(at_least=0.5)})
    (result,) = judge(_evaluation(exact=[1.0] * items), demands, POLICY)
    assert (result.figure is not None, result.passed) == (judged, judged)


@pytest.mark.parametrize(("score", "compared"), [(1e100, True), (1.01e100, False)])
def test_scores_up_to_1e100_are_subtracted(score: float, compared: bool) -> None:
    ours, theirs = _evaluation(reward=[score, 1.0]), _evaluation(reward=[1.0, 1.0])
    assert isinstance(differences(ours, theirs, 0.95)["reward"], Interval) is compared
    assert isinstance(differences(theirs, ours, 0.95)["reward"], Interval) is compared
