"""Pairs that say who preferred what: from votes of raters, and from scores of a judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from governance.attest.digests import sha256_bytes
from governance.attest.predicates import JudgedPairs, Labels
from governance.base.errors import InputError
from governance.policy.data import IngestPolicy
from pipelines.job import Outcome
from pipelines.kinds import KINDS
from pipelines.record_ids import load_key
from pipelines.records import read_excluded
from pipelines.shards import RecordWriter, open_records, read_records
from pipelines.slices import read_slices
from pipelines.sources import preferences
from pipelines.stages import ingest
from tests.pipelines.ingesting import dataset, job, jsonl

ANY = IngestPolicy.model_validate({"ignored_fields": {"d": ["*"]}})
RUBRIC = "Score from 1 to 10."
Rows = list[dict[str, Any]]


def run(
    folder: Path, rows: Rows, policy: IngestPolicy = ANY, **more: Any
) -> tuple[Outcome, list[dict[str, Any]], Path]:
    """The outcome, the records, and the folder of the outputs."""
    made = job(folder, jsonl(folder / "x.jsonl", rows), dataset("preference", **more), policy)
    outcome, records = ingest.run(made), made.output("records")
    return outcome, read_records(records).to_pylist(), records.parent


def text(answer: list[dict[str, Any]]) -> str:
    return str(answer[0]["content"])


def scored(prompt: str, answer: str, score: Any, judge: Any = "gpt-4", **more: Any) -> Any:
    return {"prompt": prompt, "answer": answer, "score": score, "judge": judge, **more}


# --- scores ---------------------------------------------------------------------------------------

MT_BENCH = ["gpt-4", "single-v1"]
SCORES: dict[str, tuple[Rows, list[tuple[str, str]], dict[str, int]]] = {
    "each two of three": (
        [scored("q", "a", 1), scored("q", "b", 3), scored("q", "c", 2)],
        [("b", "a"), ("c", "a"), ("b", "c")],
        {},
    ),
    "a tie is left out": (
        [scored("q", "a", 7), scored("q", "b", 7.0), scored("q", "c", 8)],
        [("c", "a"), ("c", "b")],
        {"NO_COMPARISON": 1},
    ),
    "no other answer": (
        [scored("q", "a", 1), scored("q", "b", 2), scored("r", "c", 3)],
        [("b", "a")],
        {"NO_COMPARISON": 1},
    ),
    "the same answer twice": (
        [scored("q", "a", 1), scored("q", "a", 2), scored("q", "b", 3)],
        [("b", "a"), ("b", "a")],
        {"NO_COMPARISON": 1},
    ),
    "two judges are never compared": (
        [scored("q", "a", 1), scored("q", "b", 2, judge="claude"), scored("q", "c", 3)],
        [("c", "a")],
        {"NO_COMPARISON": 1},
    ),
    "nor two rubrics, nor two turns": (
        [
            scored("q", "a", 1, rubric="x"),
            scored("q", "b", 2, rubric="y"),
            scored("q", "c", 3, rubric="x", turn=2),
            scored("q", "d", 4, rubric="x"),
        ],
        [("d", "a")],
        {"NO_COMPARISON": 2},
    ),
    "MT-Bench's -1 is no score": (
        [
            scored("q", "a", -1, MT_BENCH),
            scored("q", "b", 2, MT_BENCH),
            scored("q", "c", 3, MT_BENCH),
        ],
        [("c", "b")],
        {"NO_COMPARISON": 1},
    ),
    "elsewhere it is one": ([scored("q", "a", -1), scored("q", "b", 0)], [("b", "a")], {}),
}


@pytest.mark.parametrize("name", SCORES)
def test_scores_of_one_judge_become_pairs(tmp_path: Path, name: str) -> None:
    rows, pairs, left_out = SCORES[name]
    outcome, records, _ = run(tmp_path, rows)
    assert [(text(each["chosen"]), text(each["rejected"])) for each in records] == pairs
    counts = outcome.predicate["counts"]
    assert counts.excluded == left_out
    assert counts.records_in == counts.records_out + sum(left_out.values())


def test_each_pair_names_its_judge_and_evidence_counts_them(tmp_path: Path) -> None:
    rows = [scored("q", answer, at, MT_BENCH, rubric=RUBRIC) for at, answer in enumerate("abc")]
    rows += [
        scored("q", answer, at, "claude-3-5-sonnet-20241022") for at, answer in enumerate("ab")
    ]
    outcome, records, out = run(tmp_path, rows)
    digest = sha256_bytes(RUBRIC.encode())
    named = {(each["judge"], each["rubric"]) for each in records}
    assert named == {("gpt-4:single-v1", digest), ("claude-3-5-sonnet-20241022", None)}
    assert outcome.predicate["judges"] == [
        JudgedPairs(name="claude-3-5-sonnet-20241022", rubric=None, pairs=1),
        JudgedPairs(name="gpt-4:single-v1", rubric=digest, pairs=3),
    ]
    assert {(each["chosen_share"], each["rejected_share"], each["raters"]) for each in records} == {
        (1.0, 0.0, 1)
    }
    assert (out / "slices.jsonl").read_bytes() == b"", "one rater is no disagreement"
    assert outcome.predicate["labels"] is None


@pytest.mark.parametrize("judge", ["Ann Example", "", 7, None, "ann@example.org", "x" * 101])
def test_a_judge_that_may_be_a_person_is_refused_and_never_written(
    tmp_path: Path, judge: Any
) -> None:
    rows = [scored("q", "a", 1), scored("q", "b", 2), scored("q", "c", 3, judge)]
    outcome, records, out = run(tmp_path, rows)
    assert [each.code for each in outcome.refused] == ["RATING_INVALID"]
    assert len(records) == 1
    told = "".join(path.read_text() for path in out.glob("*.*")) + str(outcome)
    assert not judge or not isinstance(judge, str) or judge not in told


def test_who_wrote_the_answers_can_be_slices_and_no_field_is_lost_in_silence(
    tmp_path: Path,
) -> None:
    rows = [scored("q", answer, at, model=f"m{at}", topic="t") for at, answer in enumerate("ab")]
    slices = {"chosen_model": ["m1"], "rejected_model": ["m0"]}
    outcome, records, out = run(tmp_path, rows, IngestPolicy(ignored_fields={}), slices=slices)
    assert [(each.code, each.found) for each in outcome.refused] == [
        ("FIELDS_LOST", "topic (1 rows)")
    ]
    found = read_slices(out / "slices.jsonl", [records[0]["id"]])
    assert found == {"chosen_model": ["m1"], "rejected_model": ["m0"]}


def test_too_many_answers_and_too_many_judges_are_errors(tmp_path: Path) -> None:
    rows = [scored("q", f"a{at}", at) for at in range(preferences.MOST_ANSWERS + 1)]
    with pytest.raises(InputError, match="more than 100 answers to one prompt"):
        run(tmp_path, rows)
    named = [f"m{at}" for at in range(preferences.MOST_JUDGES + 1) for _ in range(2)]
    rows = [scored("q", f"a{at}", at, judge) for at, judge in enumerate(named)]
    with pytest.raises(InputError, match="21 judges"):
        run(tmp_path, rows)


# --- votes ----------------------------------------------------------------------------------------


def voted(at: int, *votes: int) -> dict[str, Any]:
    raters = {f"annotator_{letter}": vote for letter, vote in zip("abcde", votes, strict=False)}
    return {"prompt": f"q{at}", "response_1": "x", "response_2": "y", **raters}


VOTES: dict[str, tuple[tuple[int, ...], tuple[str, float, float, int] | None, str]] = {
    "all for the first": ((1, 1, 1), ("x", 1.0, 0.0, 3), "unanimous"),
    "two to one": ((2, 2, 1), ("y", 2 / 3, 1 / 3, 3), "majority"),
    "ties take part": ((1, 1, 0), ("x", 2 / 3, 0.0, 3), "majority"),
    "most found both equal": ((1, 0, 0), None, ""),
    "no majority": ((1, 1, 0, 2, 0), ("x", 0.4, 0.2, 5), "split"),
    "as many for either": ((1, 2), None, ""),
    "all ties": ((0, 0, 0), None, ""),
}


@pytest.mark.parametrize("name", VOTES)
def test_most_raters_decide_and_the_others_stay_as_soft_labels(tmp_path: Path, name: str) -> None:
    votes, expected, sliced = VOTES[name]
    outcome, (first, *rest), out = run(tmp_path, [voted(0, 1, 1), voted(1, *votes)])
    assert first["chosen_share"] == 1.0 and first["judge"] is None
    made = [
        (text(each["chosen"]), each["chosen_share"], each["rejected_share"], each["raters"])
        for each in rest
    ]
    assert made == ([expected] if expected else [])
    ids = [each["id"] for each in rest]
    assert read_slices(out / "slices.jsonl", ids).get("disagreement", [""])[0] == sliced
    assert outcome.predicate["labels"].agreement.ratings == 2 + len(votes), "ties count here"
    report = json.loads((out / "report.json").read_text())
    assert sum(report["slices"]["disagreement"].values()) == 1 + len(rest)


def test_raters_whom_policy_excludes_decide_nothing(tmp_path: Path) -> None:
    rows = [voted(at, 1, 2, 2) for at in range(3)]
    outcome, records, _ = run(tmp_path, rows)
    assert {text(each["chosen"]) for each in records} == {"y"}
    labels: Labels = outcome.predicate["labels"]
    assert labels.excluded == {}
    made = job(tmp_path, tmp_path, dataset("preference"))
    key = load_key(tmp_path, made.params.records).rater_name
    row = {"reason": "copies", "decided_by": "steward", "on": "2026-11-25"}
    out = [{**row, "rater": key(name)} for name in ("annotator_b", "annotator_c")]
    policy = IngestPolicy.model_validate({"excluded_raters": {"d": out}}, strict=False)
    (tmp_path / "without").mkdir()
    outcome, records, _ = run(tmp_path / "without", rows, policy)
    assert {text(each["chosen"]) for each in records} == {"x"}
    assert {each["raters"] for each in records} == {1}
    assert sorted(outcome.predicate["labels"].excluded) == sorted(row["rater"] for row in out)


def test_a_labelling_round_trip_trains_and_is_never_read_as_a_ranking(tmp_path: Path) -> None:
    ratings = [{"rater": "a", "value": 2, "first": 1}, {"rater": "b", "value": 2, "first": 2}]
    row = {"prompt": "q", "completions": ["x", "y"], "ratings": ratings, "batch": "v1"}
    _, records, _ = run(tmp_path, [row, {**row, "prompt": "r"}])
    assert {(text(each["chosen"]), each["raters"]) for each in records} == {("y", 2)}


def test_a_single_choice_by_a_judge_names_it(tmp_path: Path) -> None:
    rows = [
        {"instruction": f"q{at}", "output_1": "x", "output_2": "y", "preference": 1 + at % 2}
        for at in range(4)
    ]
    outcome, records, _ = run(tmp_path, [{**row, "judge": "gpt-4"} for row in rows])
    assert [each["judge"] for each in records] == ["gpt-4"] * 4
    assert outcome.predicate["judges"] == [JudgedPairs(name="gpt-4", rubric=None, pairs=4)]
    assert [text(each["chosen"]) for each in records] == ["x", "y", "x", "y"]


def test_rated_records_have_their_slices_too(tmp_path: Path) -> None:
    rows = [voted(0, 1, 1, 1), voted(1, 1, 1, 2), voted(2, 0, 1, 2)]
    made = job(tmp_path, jsonl(tmp_path / "x.jsonl", rows), dataset("rated"), ANY)
    ingest.run(made)
    ids = read_records(made.output("records")).column("id").to_pylist()
    found = read_slices(made.output("slices"), ids)
    assert found == {"disagreement": ["unanimous", "majority", "split"]}


# --- the columns ----------------------------------------------------------------------------------


def test_label_columns_change_no_id_and_no_other_dataset(tmp_path: Path) -> None:
    _, (labelled, *_), out = run(tmp_path, [voted(0, 1, 1, 2), voted(1, 1, 1)])
    (tmp_path / "plain").mkdir()
    plain = [{"prompt": "q0", "chosen": "x", "rejected": "y"}]
    _, (bare,), other = run(tmp_path / "plain", plain)
    assert labelled["id"] == bare["id"] and "judge" not in bare
    assert "labelled" not in (other / "records" / "manifest.json").read_text()
    assert open_records(out / "records").labelled and not open_records(other / "records").labelled


def test_later_stages_keep_the_columns(tmp_path: Path) -> None:
    _, records, out = run(tmp_path, [voted(at, 1, 1, 2) for at in range(3)])
    stored = open_records(out / "records")
    with RecordWriter(tmp_path / "next", stored.kind, labelled=stored.labelled) as writer:
        for table in stored.tables():
            writer.add_shard(table)
    assert read_records(tmp_path / "next").to_pylist() == records
    assert read_records(tmp_path / "next").schema.names == KINDS["preference"].labelled_schema.names


def test_a_folder_of_files_that_say_who_labelled_and_others_is_an_error(tmp_path: Path) -> None:
    source = tmp_path / "s"
    source.mkdir()
    jsonl(source / "a.jsonl", [{"prompt": "q", "chosen": "x", "rejected": "y"}])
    jsonl(source / "b.jsonl", [voted(0, 1, 1)])
    with pytest.raises(InputError, match="says who preferred what, unlike the first file"):
        ingest.run(job(tmp_path, source, dataset("preference"), ANY))


def test_ties_are_listed_with_the_row_that_they_tie_with(tmp_path: Path) -> None:
    rows = [scored("q", "a", 7), scored("q", "b", 7), scored("q", "c", 8)]
    outcome, _, out = run(tmp_path, rows, IngestPolicy())
    (tie,) = read_excluded(out / "excluded.jsonl")
    assert (tie.row, tie.detail) == (2, "a tie with row 1")
    assert outcome.refused == (), "nothing is held against the source"
