"""What ingest states of raters: who agrees, whom policy excludes, and no raw name anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from governance.attest.predicates import Labels
from governance.policy.data import IngestPolicy
from pipelines.record_ids import load_key
from pipelines.shards import read_records
from pipelines.stages import ingest
from tests.pipelines.ingesting import dataset, job, jsonl

RATERS = tuple(f"annotator_{letter}" for letter in "abcdef")
BAD = RATERS[-1]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """200 pairs and six raters; the last contradicts the others."""
    rng, made = np.random.default_rng(1), []
    for at in range(200):
        truth = int(rng.integers(1, 3))
        votes = {name: truth if rng.random() < 0.9 else 3 - truth for name in RATERS}
        made.append({"prompt": f"q{at}", "response_1": "x", "response_2": "y", **votes})
        made[-1][BAD] = 3 - truth
    return made


def stated(
    folder: Path, rows: list[dict[str, Any]], policy: IngestPolicy, **files: Path
) -> tuple[Labels, Path]:
    """The statement, and the folder of the outputs."""
    made = job(folder, jsonl(folder / "x.jsonl", rows), dataset("rated"), policy)
    made.inputs.update(dict.fromkeys(files, ""))  # type: ignore[arg-type]
    made.input_paths.update(files)
    labels = ingest.run(made).predicate["labels"]
    assert isinstance(labels, Labels)
    return labels, made.output("records").parent


def excluding(*raters: str) -> IngestPolicy:
    rows = [
        {"rater": each, "reason": "contradicts", "decided_by": "steward", "on": "2026-11-25"}
        for each in raters
    ]
    return IngestPolicy.model_validate({"excluded_raters": {"d": rows}}, strict=False)


def pseudonym(folder: Path, name: str) -> str:
    """A rater's name in records."""
    made = job(folder, folder, dataset("rated"))
    return load_key(folder, made.params.records).rater_name(name)


def test_raters_are_judged_and_nobody_is_excluded_without_a_decision(
    tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    labels, out = stated(tmp_path, rows, IngestPolicy())
    bad = pseudonym(tmp_path, BAD)
    assert (labels.level, labels.agreement.raters, labels.agreement.ratings) == ("nominal", 6, 1200)
    assert labels.excluded == {} and labels.without is None
    assert {(each.code, *each.raters) for each in labels.suspicions} == {("RATER_DISAGREES", bad)}
    assert labels.unanimous + labels.majority + labels.split == 200
    written = [path.read_text() for path in out.rglob("*.json*")]
    assert any(bad in text for text in written)
    assert not any(name in json.dumps(labels.model_dump()) for name in RATERS)
    assert not any(f'"{name}"' in text for name in RATERS for text in written)


def with_circumstances(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same ratings as objects, with what a labelling tool knows of each: of 4 batches of 50,
    the third is by a stricter guideline; one rater is fast, and one takes what stands first.
    """
    rng, made = np.random.default_rng(2), []
    for at, row in enumerate(rows):
        ratings = []
        for name in RATERS[:5]:
            first = int(rng.integers(1, 3))
            value = 2 if at // 50 == 2 and rng.random() < 0.7 else row[name]
            if name == RATERS[0] and rng.random() < 0.8:
                value = first
            seconds = float(rng.uniform(20, 40)) / (8 if name == RATERS[1] else 1)
            ratings.append({"rater": name, "value": value, "first": first, "seconds": seconds})
        answers = {"completions": ["x", "y"], "batch": f"v{8 + at // 50}"}
        made.append({"prompt": row["prompt"], **answers, "ratings": ratings})
    return made


def test_time_position_and_drift_are_searched_where_the_source_has_them(
    tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    given = with_circumstances(rows)
    labels, out = stated(tmp_path, given, IngestPolicy())
    found = {(each.code, each.batch, *each.raters) for each in labels.suspicions}
    assert found == {
        ("RATER_FOLLOWS_POSITION", 0, pseudonym(tmp_path, RATERS[0])),
        ("RATER_TOO_FAST", 0, pseudonym(tmp_path, RATERS[1])),
        ("GUIDELINE_DRIFTS", 3),
    }
    assert labels.not_searched == []
    records = read_records(out / "records")
    assert set(records.column("ratings")[0][0].as_py()) == {"rater", "value"}
    bare = [{**row, "ratings": [dict(one) for one in row["ratings"]]} for row in given]
    for row in bare:
        del row["batch"]
        for one in row["ratings"]:
            del one["first"], one["seconds"]
    (tmp_path / "bare").mkdir()
    without, out = stated(tmp_path / "bare", bare, IngestPolicy())
    assert without.suspicions == []
    assert without.not_searched == ["GUIDELINE_DRIFTS", "RATER_FOLLOWS_POSITION", "RATER_TOO_FAST"]
    ids = records.column("id").to_pylist()
    assert read_records(out / "records").column("id").to_pylist() == ids


@pytest.mark.parametrize(
    "spoiled",
    [{"first": 3}, {"first": 0}, {"seconds": -1}, {"seconds": "fast"}, {"first": True}],
    ids=str,
)
def test_what_a_source_says_of_a_rating_is_checked(tmp_path: Path, spoiled: dict[str, Any]) -> None:
    good = {"prompt": "q", "completions": ["x", "y"], "ratings": [{"rater": "a", "value": 1}]}
    bad = {**good, "ratings": [{"rater": "a", "value": 1, **spoiled}]}
    made = job(tmp_path, jsonl(tmp_path / "x.jsonl", [good, bad]), dataset("rated"))
    left_out = ingest.run(made).predicate["counts"].excluded
    assert left_out == {"RATING_INVALID": 1}


def test_an_excluded_rater_does_not_count(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    bad = pseudonym(tmp_path, BAD)
    labels, out = stated(tmp_path, rows, excluding(bad, "rater_00000000"))
    assert labels.excluded == {bad: 200, "rater_00000000": 0}
    before, after = labels.agreement, labels.without
    assert after is not None and (after.raters, after.ratings) == (5, 1000)
    assert before.high is not None and after.low is not None and before.high < after.low
    records = read_records(out / "records").to_pylist()
    assert {rating["rater"] for record in records for rating in record["ratings"]} == {
        pseudonym(tmp_path, name) for name in RATERS[:-1]
    }


def test_a_record_without_a_rating_that_counts_is_left_out(
    tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    alone = {**dict.fromkeys(RATERS), **rows[0], **dict.fromkeys(RATERS[:-1])}
    made = job(
        tmp_path,
        jsonl(tmp_path / "x.jsonl", [*rows[1:], alone]),
        dataset("rated"),
        excluding(pseudonym(tmp_path, BAD)),
    )
    outcome = ingest.run(made)
    assert outcome.refused == ()
    assert outcome.predicate["counts"].excluded == {"RATER_EXCLUDED": 1}


def test_groups_that_are_overruled_are_stated(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    """The raters file has the names of records, and a group of fewer than five is not alone."""
    teams = [
        {"rater": pseudonym(tmp_path, name), "team": "north" if name != BAD else "south"}
        for name in RATERS
    ]
    groups = jsonl(tmp_path / "raters.jsonl", teams)
    labels, _ = stated(tmp_path, rows, IngestPolicy(), raters=groups)
    (table,) = labels.overruled.values()
    assert {name: counts.raters for name, counts in table.items()} == {"(small groups)": 6}
