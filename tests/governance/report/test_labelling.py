"""The report answers four questions about labels, and says what nobody declared."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, cast

import pytest

from governance.attest.predicates import Artifact
from governance.history.lineage import DataChain
from governance.policy.data import IngestPolicy
from governance.policy.labelling import Labelling
from governance.policy.rules import Datacard
from governance.report.build import build
from governance.report.facts import Facts
from governance.report.html import page
from governance.report.labelling import labelled
from tests.governance import examples
from tests.governance.story import MODEL, Story

GUIDELINE = "a" * 64
RATER, OTHER = "rater_0123abcd", "rater_4567abcd"
FIGURES = {"raters": 3, "ratings": 90, "items": 30, "alpha": 0.5, "low": 0.3, "high": 0.7}
LABELS = {
    "level": "nominal",
    "agreement": FIGURES,
    "excluded": {RATER: 30},
    "without": {**FIGURES, "raters": 2, "alpha": 0.8, "low": 0.7, "high": 0.9},
    "unanimous": 20,
    "majority": 9,
    "split": 1,
    "suspicions": [
        {"code": "RATER_DISAGREES", "raters": [RATER]},
        {"code": "RATERS_COPY", "raters": [RATER, OTHER]},
    ],
}
DECLARED = {
    "by": "staff",
    "judges": [{"name": "gpt-4"}],
    "guideline": {"version": "2", "sha256": GUIDELINE},
    "sampling": {"rule": "random", "seed": 7, "population": GUIDELINE},
    "adjudication": {"by": "lead", "rule": "third opinion", "disputes": 9, "open": 2},
    "pay": "15 EUR an hour",
}
EXCLUDED = {"rater": RATER, "reason": "copies", "decided_by": "steward", "on": "2026-11-01"}


def answers(
    labelling: Any, labels: Any, kind: str = "rated", judges: Any = (), **inputs: str
) -> list[str]:
    """Who, by which guideline, with what agreement, what was excluded."""
    files = [Artifact(role=role, name=role, sha256=sha256) for role, sha256 in inputs.items()]
    ingest = examples.ingest(kind=kind, labels=labels, inputs=files, judges=[*judges])
    chain = SimpleNamespace(dataset="x", ingest=SimpleNamespace(predicate=ingest, index=1))
    policy = IngestPolicy.model_validate({"excluded_raters": {"x": [EXCLUDED]}}, strict=False)
    facts = SimpleNamespace(
        cards={"x": Datacard(labelling=labelling)},
        policies=SimpleNamespace(rules=SimpleNamespace(ingest=policy)),
    )
    found = labelled(cast(Facts, facts), cast(DataChain, chain))
    return [row.answer for row in found.answers] if found else []


def test_four_questions_are_answered() -> None:
    who, guideline, agreement, excluded = answers(
        Labelling.model_validate(DECLARED), LABELS, guideline=GUIDELINE
    )
    assert "declared: staff" in who and "gpt-4 (no digest declared)" in who
    assert "3 raters gave 90 ratings" in who and "rule random, seed 7" in who and "15 EUR" in who
    assert "version 2" in guideline and "has this digest" in guideline
    assert "0.500 (95% interval 0.300 to 0.700)" in agreement
    assert "without excluded raters 0.800 (95% interval 0.700 to 0.900)" in agreement
    assert "9 disputes decided by lead (third opinion), 2 open" in agreement
    assert f"30 ratings by {RATER}: copies, decided by steward" in excluded
    assert f"counted: {RATER}, {OTHER} (RATERS_COPY)" in excluded and "DISAGREES" not in excluded
    older = "not searched for: GUIDELINE_DRIFTS, RATER_FOLLOWS_POSITION, RATER_TOO_FAST"
    assert older in excluded


def test_a_batch_that_drifts_is_named_by_its_place() -> None:
    drifts = {"code": "GUIDELINE_DRIFTS", "raters": [], "batch": 3}
    labels = {**LABELS, "suspicions": [drifts], "not_searched": []}
    *_, excluded = answers(Labelling(), labels)
    assert "counted: batch 3 (GUIDELINE_DRIFTS)" in excluded and "all checks were made" in excluded


def test_what_nobody_declared_is_said() -> None:
    who, guideline, agreement, excluded = answers("", None)
    assert who.split("; ") == [
        "not declared",
        "how items were chosen: not declared",
        "pay: not declared",
    ]
    assert guideline == "not declared; no file was read"
    assert agreement.startswith("not measured") and excluded == "no rater"


def test_another_file_is_shown() -> None:
    found = answers(Labelling.model_validate(DECLARED), LABELS, guideline="b" * 64)[1]
    assert "the file that was read has sha256 bbbb" in found


def test_judges_that_the_source_names_are_named_and_not_believed() -> None:
    judges = [
        {"name": "gpt-4:single-v1", "rubric": "c" * 64, "pairs": 1200},
        {"name": "tiny", "rubric": None, "pairs": 1},
    ]
    who = answers("", None, "preference", judges=judges)[0]
    assert "gpt-4:single-v1 (rubric sha256 cccc" in who and "judge of 1,200 pairs" in who
    assert "tiny (no rubric in the source)" in who and "nothing here shows" in who


def test_data_without_labels_has_no_answers() -> None:
    assert answers("none", None, kind="prompt") == []


OVERRULED = {
    "region": {
        "north": {"raters": 5, "ratings": 595, "overruled": 24},
        "south": {"raters": 5, "ratings": 0, "overruled": 0},
    }
}


@pytest.mark.parametrize(("low", "result"), [(0.4, "pass"), (None, "fail")])
def test_page_and_first_page_show_the_raters_of_pairs(
    story: Story, low: float | None, result: str
) -> None:
    """The groups that are overruled stand in a table, with shares; the row Labelling has a result."""
    agreement = {**FIGURES, "low": low}
    labels = {"level": "nominal", "agreement": agreement, "overruled": OVERRULED}
    labels |= {"unanimous": 20, "majority": 9, "split": 1}
    story.data("desk_pref", "preference", "preference", 500, labels=labels)
    story.train("dpo", "dpo", "preference", "desk_pref", "sft", accuracy=0.97, unsafe=0.02)
    story.register("dpo", "2")
    report = build(story.sources, MODEL, "2")
    (gate,) = [each for each in report.gates if each.name == "Labelling"]
    assert gate.result == result and gate.threshold == "lower end of alpha at least 0.4"
    text = " ".join(re.sub(r"<[^>]+>", " ", page(report).decode()).split())
    assert "Ratings that the majority overruled, by region Group of raters" in text
    assert "north 5 595 24 0.040" in text and "south 5 0 0 none" in text
