"""Checks a dataset against its suite in `policies/quality/`. Great Expectations judges features,
never text.

1. All expectations are judged together on the feature frame (`pipelines.features.table`).
2. Records that fail an expectation with action `drop` are left out, each for the first one it
   fails. The rest is judged again until nothing more is dropped.
3. An expectation with action `block` that fails or cannot be judged refuses the dataset.
4. Reports name expectations, counts and record ids, never text.
"""

from __future__ import annotations

import json
import os
import textwrap
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from governance.attest.findings import finding
from governance.attest.predicates import ComparedSuite, DataCounts, Expectation, Finding
from governance.base.errors import ConfigError
from governance.policy.data import TABLE, QualityCheck, QualitySuite
from governance.policy.expectations import GxCheck
from pipelines import held_out, pages
from pipelines.features.leaks import Around, HeldOut, HeldOutTexts
from pipelines.features.table import compute
from pipelines.features.turns import Column
from pipelines.job import Job, Outcome
from pipelines.optional import OF_EXPECTATIONS, hidden
from pipelines.quality_suites import suite_mistake
from pipelines.records import Excluded, counts_of, exclusions, write_excluded
from pipelines.shards import RecordWriter, open_records
from pipelines.tasks.items import read_items

PAGE = "check_quality.md.jinja"

RESULT_FORMAT = {"result_format": "COMPLETE", "exclude_unexpected_values": True}

LONGEST_DEMAND = 300
"""Characters of a demand in Great Expectations' format that are shown."""

IDS_SHOWN = 1_000
"""Largest number of record ids per expectation in the report."""


def run(job: Job) -> Outcome:
    """Judges, drops, judges again and reports."""
    dataset = job.params.datasets[job.key]
    digest = job.policies.suite_digest(dataset.suite)
    suite = job.policies.quality[dataset.suite]
    kinds = {name: suite.kind for name, suite in job.policies.quality.items()}
    where = f"params.yaml: datasets.{job.key}.suite"
    if mistake := suite_mistake(kinds, dataset.suite, dataset.kind, where):
        raise mistake
    records = open_records(job.input("records"), dataset.kind)
    job.progress.step(f"{job.name}: {len(records):,} records against {dataset.suite}")
    compared = held_out.compared(job.params, job.key, job.inputs)
    judged = judge(records.tables(), dataset.kind, suite, _held_out(job, compared))
    with RecordWriter(job.output("records"), dataset.kind, labelled=records.labelled) as writer:
        for table in kept(records.tables(), judged.kept):
            writer.add_shard(table)
    counts = counts_of(len(records), writer, judged.excluded)
    refused = findings(job.key, judged)
    predicate = {
        "dataset": job.key,
        "kind": dataset.kind,
        "passed": not refused,
        "suite": digest,
        "expectations": [result.evidence() for result in judged.results],
        "counts": counts,
    }
    write_excluded(job.output("excluded"), judged.excluded)
    write_report(job, predicate, counts, judged, refused)
    return Outcome(  # the report names no suites: another one trains nothing again
        predicate={**predicate, "compared": [suite for _, suite in compared]},
        parameters={"suite": dataset.suite, "held_out": dataset.held_out},
        refused=refused,
        summary=f"{job.name}: {counts.records_out} of {counts.records_in} records are ready",
    )


def _held_out(job: Job, compared: Iterable[tuple[str, ComparedSuite]]) -> HeldOut | None:
    """What must not be among the records: the dataset that its row names, whole, and the held-out
    records of every suite and task.
    """
    further = [_texts(job, role, suite) for role, suite in compared if role != "held_out"]
    if "held_out" in job.inputs:
        records = open_records(job.input("held_out"))
        return HeldOut(records.tables(), records.kind, further)
    return HeldOut(further=further) if further else None


def _texts(job: Job, role: str, suite: ComparedSuite) -> HeldOutTexts:
    if suite.harness is not None:
        items = read_items(job.root, suite.name)
        return HeldOutTexts.of_texts(items.questions, items.answers)
    records = open_records(job.input(role))
    of_split = (table.filter(pc.equal(table["split"], suite.split)) for table in records.tables())
    return HeldOutTexts.of_records(of_split, records.kind)


def kept(tables: Iterable[pa.Table], rows: Column) -> Iterator[pa.Table]:
    """The records of each table where `rows`, over all of them, is true."""
    start = 0
    for table in tables:
        yield table.filter(pa.array(rows[start : start + table.num_rows], pa.bool_()))
        start += table.num_rows


# --- judging --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """Great Expectations' result of one expectation."""

    success: bool
    rows: Column
    """Rows that fail."""
    observed: Any = None
    """The figure of a column or table that was judged as a whole."""
    problem: str = ""
    """Why it could not be judged."""


@dataclass(frozen=True)
class CheckResult:
    """One expectation and its result for the records that were kept."""

    check: QualityCheck
    result: Result
    unexpected: int
    """Records that fail. With `drop`: those that were dropped for it."""
    ids: list[str]
    """Ids of these records, at most `IDS_SHOWN`."""

    @property
    def observed(self) -> str:
        """The figure of a column or table that was judged as a whole."""
        return "" if self.result.observed is None else f"{self.result.observed:g}"

    def evidence(self) -> Expectation:
        """Its form in the signed statement."""
        return Expectation(
            name=self.check.name,
            column=self.check.column,
            severity=self.check.severity,
            success=self.result.success,
            unexpected=self.unexpected,
            expected=expected(self.check),
            action=self.check.action,
        )


@dataclass(frozen=True)
class Judged:
    """A dataset after judgement."""

    kept: Column
    """Whether each record was kept, in their order."""
    excluded: list[Excluded]
    results: list[CheckResult]


def judge(
    tables: Iterable[pa.Table], kind: str, suite: QualitySuite, held_out: HeldOut | None
) -> Judged:
    """Judges the records of the tables and drops some as the suite says."""
    around = Around(held_out, suite.near_duplicate_similarity, suite.language)
    columns = [column for check in suite.expectations for column in check.read_columns()]
    dropped: dict[str, list[Excluded]] = {check.name: [] for check in suite.expectations}
    expectations = Expectations(suite.expectations)
    frame = compute(tables, kind, columns, around)
    kept = np.full(len(frame), True)
    while True:
        results = expectations.validate(frame.columns(), len(frame))
        keep = np.full(len(frame), True)
        for check in suite.expectations:
            rows = results[check.name].rows
            if check.action == "drop":
                rows = rows[keep[rows]]  # each row for the first expectation it fails
                reasons = dict.fromkeys(rows.tolist(), (check.column, check.reason, check.name))
                dropped[check.name] += exclusions(frame.places, reasons)
                keep[rows] = False
        if keep.all():
            break
        frame = frame.keep(keep)
        kept[kept] = keep
    checked = [
        _check_result(check, results[check.name], dropped[check.name], frame.places)
        for check in suite.expectations
    ]
    return Judged(kept, [record for records in dropped.values() for record in records], checked)


def _check_result(
    check: QualityCheck, result: Result, dropped: list[Excluded], places: pa.Table
) -> CheckResult:
    if check.action == "drop":
        ids = [str(record.id) for record in dropped[:IDS_SHOWN]]
        return CheckResult(check, result, len(dropped), ids)
    rows = pa.array(result.rows[:IDS_SHOWN], pa.int64())
    return CheckResult(check, result, len(result.rows), places.column("id").take(rows).to_pylist())


def expected(check: QualityCheck) -> str:
    """The demand of an expectation, in words; of one in Great Expectations' format, its own."""
    if isinstance(check, GxCheck):
        given = json.dumps(check.arguments, sort_keys=True, ensure_ascii=False)
        return textwrap.shorten(f"{check.check} {given}", LONGEST_DEMAND)
    what = check.check.removeprefix("expect_column_").removeprefix("expect_table_")
    text = _demand(check)
    if not what.startswith("values_"):
        text = f"{what.removesuffix('_to_be_between').replace('_', ' ')} {text}"
    return f"{text} in {check.mostly:.0%} of records" if check.mostly is not None else text


def _demand(check: QualityCheck) -> str:
    if check.value_set is None:
        bounds = [("at least", check.min_value), ("at most", check.max_value)]
        limits = [f"{word} {bound:g}" for word, bound in bounds if bound is not None]
        return " and ".join(limits) or "a value"
    values = [str(value) for value in check.value_set]
    among = ", ".join(value.lower() if value in ("True", "False") else value for value in values)
    if "not_be_in_set" in check.check:
        return f"none of {among}"
    return f"one of {among}" if len(values) > 1 else among


class Expectations:
    """Great Expectations in this process: one context, nothing stored, no values in the results.
    Raises `ConfigError` for an expectation that it does not accept.
    """

    def __init__(self, checks: Sequence[QualityCheck]) -> None:
        os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
        with warnings.catch_warnings(), hidden(OF_EXPECTATIONS):
            warnings.simplefilter("ignore")
            import great_expectations
            from great_expectations.data_context.types.base import ProgressBarsConfig
        self._gx = great_expectations
        self._context = great_expectations.get_context(mode="ephemeral")
        self._context.variables.progress_bars = ProgressBarsConfig(
            globally=False, metric_calculations=False
        )
        self._checks = {check.name: check for check in checks}
        self._suite = great_expectations.ExpectationSuite(
            name="suite", expectations=[_expectation(check) for check in checks]
        )

    def validate(self, frame: dict[str, Column], size: int) -> dict[str, Result]:
        """Name to result of every check."""
        import pandas

        data = pandas.DataFrame(frame, index=range(size))
        source = self._context.data_sources.add_or_update_pandas("features")
        batch = source.add_dataframe_asset("features").add_batch_definition_whole_dataframe("whole")
        validation = batch.get_batch(batch_parameters={"dataframe": data}).validate(
            self._suite,
            result_format={"result_format": "COMPLETE", "exclude_unexpected_values": True},
        )
        named = ((each.expectation_config.meta["name"], each) for each in validation.results)
        results = {name: _result(each, self._checks[name]) for name, each in named}
        return {name: results.get(name) or _unjudged("no result") for name in self._checks}


def _expectation(check: QualityCheck) -> Any:
    """The check as Great Expectations' object."""
    from great_expectations.expectations.registry import get_expectation_impl

    try:
        made = get_expectation_impl(check.check)
        return made(**check.gx_arguments(), meta={"name": check.name})
    except (ValueError, TypeError) as error:
        found = f"Great Expectations does not accept it: {' '.join(str(error).split())}"
        raise ConfigError(found, where=f"policies/quality: expectation {check.name}") from None


def _result(validation: Any, check: QualityCheck) -> Result:
    """One result. Every unusual form counts as not judged. Of what was observed, only a figure is
    kept: no list or table of values.
    """
    if validation.exception_info.get("raised_exception") is not False:
        return _unjudged("Great Expectations raised an error")
    rows = np.array(validation.result.get("unexpected_index_list") or [], dtype=np.int64)
    if check.names_records and len(rows) != validation.result.get("unexpected_count"):
        return _unjudged("Great Expectations did not name the records")
    observed = validation.result.get("observed_value")
    if check.needs_value and observed is None:
        return _unjudged("there is no value to judge")
    return Result(bool(validation.success), rows, observed if _is_figure(observed) else None)


def _is_figure(observed: Any) -> bool:
    return isinstance(observed, int | float | np.number) and not isinstance(observed, bool)


def _unjudged(problem: str) -> Result:
    return Result(False, np.empty(0, np.int64), None, problem)


# --- findings and reports -------------------------------------------------------------------------


def findings(dataset: str, judged: Judged) -> tuple[Finding, ...]:
    """Why the dataset is refused: expectations with action `block` or `drop` that failed or could
    not be judged.
    """
    failed = [
        checked
        for checked in judged.results
        if not checked.result.success and checked.check.action != "report"
    ]
    return tuple(_finding(dataset, checked, judged) for checked in failed)


def _finding(dataset: str, checked: CheckResult, judged: Judged) -> Finding:
    check, problem = checked.check, checked.result.problem
    crashed = problem and check.reason not in _OF_NO_VALUE
    code = "QUALITY_CHECK_CRASHED" if crashed else check.reason
    what = "the table" if check.column == TABLE else check.column
    found = problem or _with_estimate(checked, judged)
    if check.column == TABLE and judged.excluded:
        reasons = Counter(record.reason for record in judged.excluded).most_common()
        left_out = ", ".join(f"{reason} {count}" for reason, count in reasons)
        found = f"{checked.observed} (left out: {left_out})"
    return finding(
        code,
        f"dataset {dataset}",
        f"{check.name}: {what}",
        expected=expected(check),
        found=found or f"{checked.unexpected} of {judged.kept.sum()} records fail",
    )


def _with_estimate(checked: CheckResult, judged: Judged) -> str:
    """The observed figure. The lower bound has alpha beside it where the suite judges that, too."""
    estimates = [each.observed for each in judged.results if each.check.column == "rater_alpha"]
    if checked.check.column != "rater_alpha_low" or not estimates:
        return checked.observed
    return f"{checked.observed} (lower bound of alpha {estimates[0]})"


_OF_NO_VALUE = frozenset({"AGREEMENT_TOO_LOW", "LABELS_UNBALANCED"})
"""Codes that also cover a missing figure."""


def write_report(
    job: Job,
    predicate: dict[str, Any],
    counts: DataCounts,
    judged: Judged,
    refused: tuple[Finding, ...],
) -> None:
    """report.json and report.md."""
    report = {
        **predicate,
        "suite_name": job.params.datasets[job.key].suite,
        "held_out": job.params.datasets[job.key].held_out,
        "counts": counts.model_dump(mode="json"),
        "expectations": [
            {
                **checked.evidence().model_dump(mode="json"),
                "check": checked.check.check,
                "reason": checked.check.reason,
                "observed": checked.observed,
                "problem": checked.result.problem,
                "records": sorted(checked.ids),
            }
            for checked in judged.results
        ],
    }
    pages.write_reports(job, PAGE, refused, report)
