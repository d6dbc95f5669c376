"""Suites in Great Expectations' own format: every core expectation through our path gives the
verdict of plain Great Expectations, and mistakes are named.
"""

from __future__ import annotations

import inspect
import json
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pandas
import pytest

from governance.attest.digests import sha256_bytes
from governance.base.errors import ConfigError, Problems
from governance.policy.data import QualitySuite
from governance.policy.expectations import KINDS, REFUSED, read_checks
from governance.policy.policies import load_policies
from pipelines.features.leaks import Around
from pipelines.features.table import compute
from pipelines.quality import CheckResult, Expectations, Judged, findings, judge
from tests.conftest import ROOT
from tests.pipelines.tables import conversations, said

RECORDS = conversations(
    said("a", "b"), said("a b", "c", "d", "e"), said("a", "b"), said("long question", "answer")
)
COLUMNS = ("messages", "words", "characters", "duplicate", "answer_share")
LESS = {"type": "comparison", "column": {"name": "words"}, "operator": "<", "parameter": 4}
SHORT = {"type": "and", "conditions": [LESS, {**LESS, "parameter": 3}]}

Arguments = dict[str, Any]


def one(column: str, **more: Any) -> Arguments:
    return {"column": column, **more}


def pair(**more: Any) -> Arguments:
    return {"column_A": "words", "column_B": "messages", **more}


def several(**more: Any) -> Arguments:
    return {"column_list": ["words", "messages"], **more}


_PARTS = {"bins": [0, 3, 9], "weights": [0.5, 0.5]}
_QUANTILES = {"quantiles": [0.1, 0.5], "value_ranges": [[2, 2], [2, 3]]}

CASES: dict[str, list[Arguments]] = {
    "column_distinct_values_to_be_in_set": [one("words", value_set=[2, 3])],
    "column_distinct_values_to_contain_set": [one("words", value_set=[2])],
    "column_distinct_values_to_equal_set": [one("duplicate", value_set=[True, False])],
    "column_kl_divergence_to_be_less_than": [
        one("words", partition_object=_PARTS, threshold=0.5),
        one("words", partition_object=_PARTS, threshold=0.001),
    ],
    "column_max_to_be_between": [one("words", max_value=5, strict_max=True)],
    "column_mean_to_be_between": [one("words", max_value=3, row_condition=LESS)],
    "column_median_to_be_between": [one("words", min_value=3)],
    "column_min_to_be_between": [one("words", min_value=2)],
    "column_most_common_value_to_be_in_set": [one("words", value_set=[2], ties_okay=True)],
    "column_pair_values_a_to_be_greater_than_b": [pair(), pair(or_equal=True, mostly=0.5)],
    "column_pair_values_to_be_equal": [pair(ignore_row_if="neither")],
    "column_pair_values_to_be_in_set": [pair(value_pairs_set=[[2, 2], [3, 2]])],
    "column_proportion_of_non_null_values_to_be_between": [one("words", min_value=1)],
    "column_proportion_of_unique_values_to_be_between": [one("words", min_value=0.9)],
    "column_quantile_values_to_be_between": [one("words", quantile_ranges=_QUANTILES)],
    "column_stdev_to_be_between": [one("words", max_value=1)],
    "column_sum_to_be_between": [one("words", max_value=11)],
    "column_to_exist": [one("words"), one("words", column_index=4)],
    "column_type_to_be": [one("words", type_="float64"), one("words", type_="str")],
    "column_unique_value_count_to_be_between": [one("words", max_value=2)],
    "column_value_lengths_to_be_between": [one("characters", min_value=3, max_value=3)],
    "column_value_lengths_to_equal": [one("characters", value=3)],
    "column_value_z_scores_to_be_less_than": [one("words", threshold=1, double_sided=True)],
    "column_values_to_be_between": [
        one("words", max_value=3),
        one("words", max_value=3, mostly=0.5),
        one("words", max_value=2, row_condition=SHORT),
    ],
    "column_values_to_be_decreasing": [one("words", strictly=True)],
    "column_values_to_be_in_set": [one("duplicate", value_set=[False])],
    "column_values_to_be_in_type_list": [one("words", type_list=["float64", "int64"])],
    "column_values_to_be_increasing": [one("messages")],
    "column_values_to_be_null": [one("words")],
    "column_values_to_be_of_type": [one("words", type_="int64")],
    "column_values_to_be_unique": [one("words")],
    "column_values_to_match_regex": [one("words", regex="^2")],
    "column_values_to_match_regex_list": [one("words", regex_list=["^2", "^3"], match_on="any")],
    "column_values_to_not_be_in_set": [one("words", value_set=[2])],
    "column_values_to_not_be_null": [one("words")],
    "column_values_to_not_be_outliers": [one("words", method="iqr", multiplier=0.1)],
    "column_values_to_not_match_regex": [one("words", regex="^5")],
    "column_values_to_not_match_regex_list": [one("words", regex_list=["^5"])],
    "compound_columns_to_be_unique": [several()],
    "multicolumn_sum_to_equal": [several(sum_total=4)],
    "multicolumn_values_to_be_equal": [several()],
    "select_column_values_to_be_unique_within_record": [several()],
    "table_column_count_to_be_between": [{"max_value": 4}],
    "table_column_count_to_equal": [{"value": 5}],
    "table_columns_to_match_ordered_list": [{"column_list": list(COLUMNS)}],
    "table_columns_to_match_set": [{"column_set": ["words"], "exact_match": False}],
    "table_row_count_to_be_between": [{"min_value": 4, "strict_min": True}],
    "table_row_count_to_equal": [{"value": 2, "row_condition": SHORT}],
}
"""Arguments to try for each type; every column of `COLUMNS` is in the frame."""


@cache
def core() -> dict[str, Any]:
    """Every expectation of Great Expectations' core, by type."""
    import great_expectations.expectations.core as every
    from great_expectations.expectations.registry import get_expectation_impl

    classes = [each for each in vars(every).values() if inspect.isclass(each)]
    names = {each.expectation_type for each in classes if hasattr(each, "expectation_type")}
    return {name: get_expectation_impl(name) for name in names - {""}}


def written(*expectations: Any) -> str:
    """A suite as Great Expectations writes it."""
    import great_expectations

    suite = great_expectations.ExpectationSuite(name="mine", expectations=list(expectations))
    return json.dumps(suite.to_json_dict(), indent=2)


def judged(text: str) -> Judged:
    """The records after our judgement; a check of our own computes the other columns."""
    own = [
        {"name": f"is-{column}", "column": column, "check": "expect_column_values_to_not_be_null",
         "action": "block", "reason": "TOO_LONG"}
        for column in COLUMNS
    ]  # fmt: skip
    suite = QualitySuite.model_validate({"kind": "conversation", "expectations": own})
    checks = [*suite.expectations, *read_checks(text, "mine.json")]
    return judge(
        [RECORDS],
        "conversation",
        suite.model_copy(update={"expectations": checks}),
        None,
    )


def made() -> list[Any]:
    """Every case as Great Expectations' object."""
    return [core()[f"expect_{name}"](**each) for name, cases in CASES.items() for each in cases]


@cache
def by_us() -> list[CheckResult]:
    """Our result of every case."""
    return judged(written(*made())).results[len(COLUMNS) :]


@cache
def plain() -> list[Any]:
    """Great Expectations' result of every case, as its manual says."""
    import great_expectations

    frame = compute([RECORDS], "conversation", COLUMNS, Around()).columns()
    context = great_expectations.get_context(mode="ephemeral")
    asset = context.data_sources.add_pandas("plain").add_dataframe_asset("features")
    whole = asset.add_batch_definition_whole_dataframe("whole")
    batch = whole.get_batch(batch_parameters={"dataframe": pandas.DataFrame(frame)})
    return [batch.validate(each, result_format="COMPLETE") for each in made()]


def test_every_core_expectation_is_read_or_refused_with_the_arguments_that_it_has() -> None:
    assert core().keys() == KINDS.keys() | REFUSED.keys()
    assert {f"expect_{name}" for name in CASES} == KINDS.keys()
    base = {"id", "meta", "notes", "description", "severity", "windows", "rendered_content",
            "result_format", "catch_exceptions", "batch_id", "library_metadata"}  # fmt: skip
    for name, kind in KINDS.items():
        fields = {key: one for key, one in core()[name].__fields__.items() if key not in base}
        assert fields.keys() == kind.arguments, name
        assert {key for key, one in fields.items() if one.required} <= kind.needs, name


@pytest.mark.parametrize(
    ("at", "name"), enumerate(name for name, cases in CASES.items() for _ in cases)
)
def test_the_verdict_is_that_of_plain_great_expectations(at: int, name: str) -> None:
    ours, theirs = by_us()[at], plain()[at]
    assert theirs.exception_info.get("raised_exception") is False, theirs
    assert ours.check.check == theirs.expectation_config.type == f"expect_{name}"
    assert ours.result.problem == ""
    assert ours.result.success == theirs.success
    assert list(ours.result.rows) == (theirs.result.get("unexpected_index_list") or [])
    figure = ours.result.observed  # no value or list of values
    assert figure is None or float(figure) == theirs.result["observed_value"]


# --- what a check does ----------------------------------------------------------------------------


def words(**more: Any) -> Any:
    return core()["expect_column_values_to_be_between"](column="words", max_value=3, **more)


def ours(**more: Any) -> Any:
    return words(meta={"countersign": more})


def test_critical_blocks_and_warning_reports() -> None:
    done = judged(written(words(), words(severity="warning"), words(severity="info")))
    actions = [(each.check.name, each.check.action) for each in done.results[len(COLUMNS) :]]
    assert actions == [("gx-1", "block"), ("gx-2", "report"), ("gx-3", "report")]
    (found,) = findings("d", done)
    assert (found.code, found.found) == ("EXPECTATION_NOT_MET", "1 of 4 records fail")
    assert found.expected == (
        'expect_column_values_to_be_between {"column": "words", "max_value": 3.0}'
    )


def test_drop_leaves_out_and_judges_again() -> None:
    drop = ours(name="short", action="drop", reason="TOO_LONG")
    count = core()["expect_table_row_count_to_equal"](value=3)
    done = judged(written(drop, count))
    assert [(each.row, each.reason, each.detail) for each in done.excluded] == [
        (2, "TOO_LONG", "short")
    ]
    assert findings("d", done) == ()


def test_what_great_expectations_does_not_accept_is_named() -> None:
    text = written(words()).replace("3.0", '"three"')
    with pytest.raises(ConfigError, match="does not accept it") as error:
        Expectations(read_checks(text, "mine.json"))
    assert error.value.where == "policies/quality: expectation gx-1"


def test_the_suite_of_the_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs/quality.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    folder = policies(tmp_path, "")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/quality.md", "exec"), {})
    text = (folder / "quality/mine.json").read_text(encoding="utf-8")
    suite = load_policies(policies(tmp_path, text)).quality["mine"]
    done = judge([RECORDS], "conversation", suite, None)
    assert [each.check.action for each in done.results] == ["drop", "block", "block", "report"]
    assert findings("d", done) == ()


# --- mistakes -------------------------------------------------------------------------------------


def changed(**fields: Any) -> str:
    """A suite of two; the second has other fields."""
    suite = json.loads(written(words(), words()))
    suite["expectations"][1] |= fields
    return json.dumps(suite)


def argued(**arguments: Any) -> str:
    return changed(kwargs={"column": "words", "max_value": 3, **arguments})


SQL = "it needs a data source with SQL"
MISTAKES = [
    ("{", "mine.json", "not valid JSON"),
    ('{"expectation_suite_name": "s", "expectations": []}', "mine.json", "before 1.0"),
    ('{"name": "s", "expectations": []}', "mine.json: expectations", "at least 1"),
    ('{"name": "s", "name": "t", "expectations": []}', "mine.json", "twice"),
    (changed(type="expect_column_values_to_be_prime"), "type", "no expectation of"),
    (changed(type="unexpected_rows_expectation"), "type", SQL),
    (changed(type="expect_column_values_to_match_like_pattern"), "type", SQL),
    (changed(type="expect_column_values_to_be_json_parseable"), "type", "it judges texts"),
    (changed(type="expect_table_row_count_to_equal_other_table"), "type", "no other table"),
    (changed(rendered_content=[{"name": "x"}]), "rendered_content", "may differ"),
    (changed(windows=[{"offset": 1}]), "windows", "unknown field"),
    (changed(custom=1), "custom", "unknown field"),
    (changed(severity="high"), "severity", "critical"),
    (changed(meta={"countersign": {"act": "drop"}}), "meta.countersign: act", "unknown field"),
    (changed(meta={"countersign": {"reason": "TO_LONG"}}), "", "did you mean 'TOO_LONG'"),
    (changed(meta={"countersign": {"action": "report"}}), "", "action report with severity"),
    (argued(mostly=1.5), "mostly", "less than or equal to 1"),
    (argued(mostly={"$PARAMETER": "m"}), "kwargs.mostly", "a parameter of the suite"),
    (argued(colour="red"), "kwargs.colour", "unknown"),
    (argued(column=None), "kwargs.column", "missing"),
    (argued(column=7), "kwargs.column", "7"),
    (argued(max_value=None), "kwargs", "it demands nothing"),
    (argued(row_condition="words > 2", condition_parser="pandas"), "row_condition", "as code"),
    (argued(row_condition={"type": "pass_through", "pass_through_filter": "x"}), "", "as code"),
    (argued(row_condition={"type": "and", "conditions": [{"type": "?"}]}), "condition 1", "comp"),
    (
        changed(meta={"countersign": {"action": "drop"}}, type="expect_column_values_to_be_unique",
                kwargs={"column": "words"}), "", "judges every record by itself",
    ),
    (
        changed(meta={"countersign": {"action": "drop"}},
                kwargs={"column": "words", "max_value": 3, "mostly": 0.5}), "", "leave out `mostly`",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "where", "message"), MISTAKES)
def test_mistakes_name_file_expectation_and_field(text: str, where: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_checks(text, "mine.json")
    assert message in f"{error.value.found} {error.value.expected}{error.value.fix}"
    assert where in error.value.where
    if text.startswith('{"name": "mine"'):
        assert "mine.json: expectation 2" in error.value.where


def test_an_unknown_column_is_named() -> None:
    text = written(core()["expect_column_values_to_be_unique"](column="wrods"))
    with pytest.raises(ConfigError, match="a conversation has no feature wrods"):
        judged(text)


# --- the policy file ------------------------------------------------------------------------------


def policies(tmp_path: Path, text: str, sha256: str = "") -> Path:
    """The shipped policies with a suite that names a file."""
    folder = tmp_path / "policies"
    shutil.copytree(ROOT / "policies", folder, dirs_exist_ok=True)
    (folder / "quality/mine.json").write_text(text, encoding="utf-8")
    digest = sha256 or sha256_bytes(text.encode())
    (folder / "quality/mine.yaml").write_text(
        f"kind: conversation\ngreat_expectations: {{file: mine.json, sha256: {digest}}}\n"
    )
    return folder


def test_a_suite_names_a_file_and_is_bound_to_it(tmp_path: Path) -> None:
    loaded = load_policies(policies(tmp_path, written(words())))
    assert [check.name for check in loaded.quality["mine"].expectations] == ["gx-1"]
    assert loaded.files["quality/mine.json"] == written(words())
    other = load_policies(policies(tmp_path, written(words(mostly=0.5))))
    assert other.suite_digest("mine") != loaded.suite_digest("mine")
    assert other.digest != loaded.digest


FILES = [
    (written, "a" * 64, "mine.json has sha256"),
    (lambda each: written(each).replace("words", "wo\u202erds"), "", "U+202E"),
    (lambda each: changed(custom=1), "", "unknown field"),
    (lambda each: written(words(severity="warning")), "", "can refuse or leave out"),
]


@pytest.mark.parametrize(("text", "sha256", "message"), FILES)
def test_mistakes_of_the_file(text: Any, sha256: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(Problems, match=message.replace("+", r"\+")):
        load_policies(policies(tmp_path, text(words()), sha256))


def test_a_file_that_no_suite_names_is_a_mistake(tmp_path: Path) -> None:
    folder = policies(tmp_path, written(words()))
    (folder / "quality/mine.yaml").unlink()
    with pytest.raises(Problems, match="no quality suite names this file"):
        load_policies(folder)
