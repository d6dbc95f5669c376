"""The quality gate: drops, blocks and reports as the suite says, finds everything planted, and no
report holds text.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from governance.attest.codes import CODES
from governance.base.errors import ConfigError
from governance.policy.data import QualitySuite
from pipelines import quality, samples
from pipelines.features.leaks import HeldOut
from pipelines.features.table import FEATURES
from pipelines.job import Outcome
from pipelines.kinds import KINDS
from pipelines.params import Dataset, Params, load_params
from pipelines.quality import Judged, expected, findings, judge
from pipelines.record_ids import load_key
from pipelines.records import read_excluded
from pipelines.shards import read_records
from pipelines.sources.ingest import ingest
from pipelines.stages import check_quality
from tests.conftest import ROOT
from tests.pipelines.jobs import job
from tests.pipelines.policies import shipped_suite
from tests.pipelines.tables import answer, contents_of, conversations, said, table, write_records

SUITES = ("text", "conversation", "preference", "unpaired", "prompt", "question", "rated")

NO_EMPTY = {
    "name": "no-empty-text",
    "column": "empty_texts",
    "check": "expect_column_values_to_be_between",
    "max_value": 0,
    "action": "drop",
    "reason": "EMPTY_TEXT",
}
NO_DUPLICATES = {
    "name": "no-duplicates",
    "column": "duplicate",
    "check": "expect_column_values_to_be_in_set",
    "value_set": [False],
    "action": "drop",
    "reason": "DUPLICATE",
}
ENOUGH = {
    "name": "enough-records",
    "column": "(table)",
    "check": "expect_table_row_count_to_be_between",
    "min_value": 2,
    "action": "block",
    "reason": "TOO_FEW_RECORDS",
}


def suite(*expectations: dict[str, Any], kind: str = "conversation") -> QualitySuite:
    return QualitySuite.model_validate({"kind": kind, "expectations": list(expectations)})


def rows(judged: Judged) -> list[int]:
    return [at + 1 for at in np.flatnonzero(judged.kept)]


def codes(judged: Judged) -> list[str]:
    return [one.code for one in findings("d", judged)]


# --- actions --------------------------------------------------------------------------------------

RECORDS = conversations(
    said("a", "b"), said("a", ""), said("A", "b"), said("c", "d"), said("a", " ")
)


@pytest.mark.slow
def test_records_are_left_out_for_the_first_expectation_they_fail() -> None:
    judged = judge([RECORDS], "conversation", suite(NO_EMPTY, NO_DUPLICATES, ENOUGH), None)
    assert rows(judged) == [1, 4]
    assert sorted((one.row, one.reason, one.field, one.detail) for one in judged.excluded) == [
        (2, "EMPTY_TEXT", "empty_texts", "no-empty-text"),
        (3, "DUPLICATE", "duplicate", "no-duplicates"),
        (5, "EMPTY_TEXT", "empty_texts", "no-empty-text"),
    ]
    assert [(one.check.name, one.unexpected, one.result.success) for one in judged.results] == [
        ("no-empty-text", 2, True),
        ("no-duplicates", 1, True),
        ("enough-records", 0, True),
    ]
    assert codes(judged) == []


def test_what_is_left_is_judged_again() -> None:
    enough = {**ENOUGH, "min_value": 3}
    judged = judge([RECORDS], "conversation", suite(NO_EMPTY, NO_DUPLICATES, enough), None)
    (finding,) = findings("d", judged)
    assert (finding.code, finding.expected) == ("TOO_FEW_RECORDS", "row count at least 3")
    assert finding.found == "2 (left out: EMPTY_TEXT 2, DUPLICATE 1)"


def test_nothing_left_is_too_few_records_and_no_fault() -> None:
    unanswered = table("prompt", *({"prompt": said(text), "answer": None} for text in "abc"))
    (finding,) = findings("d", judge([unanswered], "prompt", shipped_suite("prompt"), None))
    assert (finding.code, finding.found) == ("TOO_FEW_RECORDS", "0 (left out: ANSWER_MISSING 3)")


def test_a_block_refuses_and_keeps_the_records() -> None:
    block = {**NO_EMPTY, "action": "block"}
    judged = judge([RECORDS], "conversation", suite(block), None)
    assert rows(judged) == [1, 2, 3, 4, 5]
    (finding,) = findings("d", judged)
    assert (finding.code, finding.found) == ("EMPTY_TEXT", "2 of 5 records fail")


def test_a_report_refuses_nothing() -> None:
    report = {**NO_EMPTY, "action": "report", "severity": "warning"}
    judged = judge([RECORDS], "conversation", suite(report, ENOUGH), None)
    assert codes(judged) == [] and rows(judged) == [1, 2, 3, 4, 5]
    assert (judged.results[0].result.success, judged.results[0].unexpected) == (False, 2)
    assert len(judged.results[0].ids) == 2


@pytest.mark.parametrize(("mostly", "refused"), [(0.6, []), (0.61, ["EMPTY_TEXT"])])
def test_mostly_is_the_share_that_must_comply(mostly: float, refused: list[str]) -> None:
    block = {**NO_EMPTY, "action": "block", "mostly": mostly}
    assert codes(judge([RECORDS], "conversation", suite(block), None)) == refused


WHOLE = [
    ("expect_column_mean_to_be_between", "characters", {"max_value": 1.5}, ["TOO_LONG"]),
    ("expect_column_mean_to_be_between", "characters", {"max_value": 2}, []),
    ("expect_column_max_to_be_between", "characters", {"max_value": 2}, []),
    ("expect_column_max_to_be_between", "characters", {"max_value": 1}, ["TOO_LONG"]),
    ("expect_column_min_to_be_between", "messages", {"min_value": 3}, ["TOO_LONG"]),
    ("expect_column_sum_to_be_between", "empty_texts", {"max_value": 2}, []),
    ("expect_column_values_to_not_be_in_set", "empty_texts", {"value_set": [1]}, ["TOO_LONG"]),
    ("expect_column_values_to_not_be_null", "characters", {}, []),
]


@pytest.mark.parametrize(("check", "column", "bounds", "refused"), WHOLE)
def test_checks_of_great_expectations(
    check: str, column: str, bounds: dict[str, Any], refused: list[str]
) -> None:
    one = {
        "name": "one",
        "check": check,
        "column": column,
        "action": "block",
        "reason": "TOO_LONG",
        **bounds,
    }
    assert codes(judge([RECORDS], "conversation", suite(one), None)) == refused


def test_what_cannot_be_judged_does_not_pass() -> None:
    mean = {
        "name": "mean",
        "column": "characters",
        "check": "expect_column_mean_to_be_between",
        "max_value": 9,
        "action": "block",
        "reason": "TOO_LONG",
    }
    judged = judge([RECORDS.slice(0, 0)], "conversation", suite(mean), None)
    (finding,) = findings("d", judged)
    assert (finding.code, finding.found) == ("QUALITY_CHECK_CRASHED", "there is no value to judge")


def test_an_error_of_great_expectations_does_not_pass() -> None:
    one = SimpleNamespace(
        exception_info={"metric": {"raised_exception": True}}, success=True, result={}
    )
    result = quality._result(one, suite(NO_EMPTY).expectations[0])
    assert (result.success, result.problem) == (False, "Great Expectations raised an error")


def test_what_is_expected_is_said_in_words() -> None:
    between, among, count = suite(NO_EMPTY, NO_DUPLICATES, ENOUGH).expectations
    assert [expected(one) for one in (between, among, count)] == [
        "at most 0",
        "false",
        "row count at least 2",
    ]
    mostly = suite({**NO_EMPTY, "action": "block", "mostly": 0.9}).expectations[0]
    assert expected(mostly) == "at most 0 in 90% of records"


# --- the shipped suites ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", SUITES)
def test_shipped_suites_name_features_and_codes_that_exist(name: str) -> None:
    shipped = shipped_suite(name)
    for one in shipped.expectations:
        assert one.column == "(table)" or shipped.kind in FEATURES[one.column].kinds
        assert one.reason in CODES
    assert any(
        one.reason == "TOO_FEW_RECORDS" and one.action == "block" for one in shipped.expectations
    )
    assert any(one.column == "leaks_held_out" for one in shipped.expectations)


def rated(records: int) -> pa.Table:
    """Two raters who agree in three of four records, on each answer as often: alpha is 0.5."""
    votes = [(1, 1), (2, 2), (1, 1), (2, 2), (1, 1), (2, 2), (1, 2), (2, 1)]
    return table(
        "rated",
        *(
            {
                "prompt": said(f"question {at}"),
                "completions": [answer("yes"), answer("no")],
                "ratings": [
                    {"rater": f"rater_{rater}", "value": vote}
                    for rater, vote in enumerate(votes[at % len(votes)])
                ],
            }
            for at in range(records)
        ),
    )


@pytest.mark.slow
def test_the_lower_bound_of_alpha_is_judged_and_both_are_named() -> None:
    suite = shipped_suite("rated")
    (found,) = findings("d", judge([rated(80)], "rated", suite, None))
    assert found.code == "AGREEMENT_TOO_LOW"
    low, alpha = re.findall(r"0\.\d+", found.found)
    assert 0.2 < float(low) < 0.4 and float(alpha) == pytest.approx(0.5, abs=0.01)
    assert findings("d", judge([rated(800)], "rated", suite, None)) == ()


def test_every_kind_has_a_suite() -> None:
    assert {shipped_suite(name).kind for name in SUITES} == set(KINDS)


def ready(params: Params, name: str, tmp_path: Path) -> tuple[pa.Table, pa.Table]:
    """A sample dataset and its held-out one as ingest leaves them."""
    tables = []
    for key in (name, params.datasets[name].held_out):
        source, target = tmp_path / f"{key}.jsonl", tmp_path / key
        part = params.samples[key]
        source.write_text(
            "\n".join(samples.lines(part.part, part.n, part.seed)) + "\n", encoding="utf-8"
        )
        ingest(source, params.datasets[key], load_key(ROOT, params.records), target)
        tables.append(read_records(target))
    return tables[0], tables[1]


REASON = {
    "empty_answer": "EMPTY_TEXT",
    "swapped_roles": "ROLES_OUT_OF_ORDER",
    "leaked": "LEAK_HELD_OUT",
    "leaked_reworded": "LEAK_HELD_OUT",
    "chosen_equals_rejected": "CHOSEN_EQUALS_REJECTED",
    "raters_disagree": "RATERS_DISAGREE",
    "duplicate": "DUPLICATE",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["desk_text", "desk_sft", "desk_pref", "desk_judged", "desk_prompts", "desk_rated"]
)
def test_everything_planted_is_found_and_nothing_else(name: str, tmp_path: Path) -> None:
    params = load_params(ROOT)
    dataset = params.datasets[name]
    records, held_out = ready(params, name, tmp_path)
    leaks = HeldOut([held_out], params.datasets[dataset.held_out].kind)
    judged = judge([records], dataset.kind, shipped_suite(dataset.suite), leaks)
    part = params.samples[name]
    planted = {one.line: one.what for one in samples.planted(part.part, part.n, part.seed)}
    wanted = {(line, REASON[what]) for line, what in planted.items() if what in REASON}
    assert {(one.row, one.reason) for one in judged.excluded} == wanted
    assert codes(judged) == []


@pytest.mark.parametrize("name", ["desk_pref_eval", "desk_eval"])
def test_the_held_out_samples_are_clean(name: str, tmp_path: Path) -> None:
    params = load_params(ROOT)
    dataset = params.datasets[name]
    judged = judge(
        [ready(params, name, tmp_path)[0]], dataset.kind, shipped_suite(dataset.suite), None
    )
    assert judged.excluded == [] and codes(judged) == []


# --- real data ------------------------------------------------------------------------------------

REAL = [
    # file, kind, suite, what is left out
    (
        "hh_rlhf/harmless-base-test.part.jsonl",
        "preference",
        {"EMPTY_TEXT": 3, "ROLES_OUT_OF_ORDER": 2},
    ),
    ("pandalm/testset-v1.part.json", "rated", {"DUPLICATE": 47, "EMPTY_TEXT": 10}),
    ("llamafactory_demo/alpaca_en_demo.json", "conversation", {"DUPLICATE": 14}),
    ("llamafactory_demo/dpo_en_demo.json", "preference", {"DUPLICATE": 5, "NOT_TEXT": 1}),
    ("llamafactory_demo/kto_en_demo.json", "unpaired", {}),
    ("oasst_zh/oaast_sft_zh.json", "conversation", {"DUPLICATE": 1, "WRONG_SUM": 1}),
    ("gsm8k/train.jsonl", "prompt", {}),
]


@pytest.mark.parametrize(
    ("file", "kind", "left_out"), REAL, ids=[file.split("/")[0] for file, _, _ in REAL]
)
def test_real_data(
    public_data: Path, tmp_path: Path, file: str, kind: str, left_out: dict[str, int]
) -> None:
    row = Dataset(kind=kind, source=file, suite=kind, held_out="d")  # type: ignore[arg-type]
    target = tmp_path / "records"
    ingest(public_data / file, row, load_key(ROOT, load_params(ROOT).records), target)
    judged = judge([read_records(target)], kind, shipped_suite(kind), None)
    assert Counter(one.reason for one in judged.excluded) == left_out
    assert codes(judged) == []


# --- the stage ------------------------------------------------------------------------------------


def run(
    tmp_path: Path, records: pa.Table, one: QualitySuite, held_out: pa.Table | None = None
) -> tuple[Outcome, Path]:
    params = load_params(ROOT)
    row = params.datasets["desk_sft"].model_copy(
        update={"kind": "conversation", "suite": "s", "held_out": "d"}
    )
    datasets = {"d": row}
    write_records(tmp_path / "data/scanned/d/records", records, "conversation")
    if held_out is not None:
        datasets = {
            "d": row.model_copy(update={"held_out": "h"}),
            "h": row.model_copy(update={"kind": "prompt"}),
        }
        write_records(tmp_path / "data/scanned/h/records", held_out, "prompt")
    params = params.model_copy(update={"datasets": datasets, "suites": {}})
    policies = SimpleNamespace(quality={"s": one}, suite_digest=lambda name: "0" * 64)
    made = tmp_path / "made"
    outcome = check_quality.run(
        job(check_quality, "check_quality", "d", tmp_path, made, params, policies=policies)
    )
    return outcome, made / "data/ready/d"


def test_reports_and_evidence_hold_no_text_and_are_the_same_twice(tmp_path: Path) -> None:
    records = conversations(
        said("my secret question", "b"), said("my secret question", "b"), said("c", "d")
    )
    both = []
    for _ in range(2):
        outcome, folder = run(tmp_path, records, suite(NO_EMPTY, NO_DUPLICATES, ENOUGH))
        both.append(contents_of(folder))
    assert both[0] == both[1]
    assert outcome.predicate["passed"] and not outcome.refused
    assert outcome.predicate["counts"].excluded == {"DUPLICATE": 1}
    assert outcome.predicate["expectations"][1].unexpected == 1
    report = json.loads((folder / "report.json").read_text())
    assert report["expectations"][1]["records"] == [records.column("id")[1].as_py()]
    assert [one.reason for one in read_excluded(folder / "excluded.jsonl")] == ["DUPLICATE"]
    everything = "".join(
        (folder / name).read_text() for name in ("report.json", "report.md", "excluded.jsonl")
    )
    assert "secret" not in everything + str(outcome.predicate)


def test_leaks_are_searched_for_into_the_held_out_dataset(tmp_path: Path) -> None:
    leak = {
        **NO_DUPLICATES,
        "name": "no-leak",
        "column": "leaks_held_out",
        "reason": "LEAK_HELD_OUT",
    }
    held_out = table("prompt", {"prompt": said("What is it?"), "answer": "x"})
    records = conversations(said("what is it?", "b"), said("a", "b"))
    outcome, folder = run(tmp_path, records, suite(leak), held_out)
    assert outcome.predicate["counts"].excluded == {"LEAK_HELD_OUT": 1}
    assert "Compared with h for leaks." in (folder / "report.md").read_text()
    assert run(tmp_path, records, suite(leak))[0].predicate["counts"].excluded == {}


def test_a_refusal_leaves_a_report(tmp_path: Path) -> None:
    outcome, folder = run(tmp_path, conversations(said("a", "b")), suite(NO_EMPTY, ENOUGH))
    assert [one.code for one in outcome.refused] == ["TOO_FEW_RECORDS"]
    assert outcome.predicate["passed"] is False
    assert "TOO_FEW_RECORDS" in (folder / "report.md").read_text()


def test_a_suite_of_another_kind_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is for preference"):
        run(tmp_path, conversations(answer("a")), suite(NO_EMPTY, kind="preference"))
