"""Checks a dataset against its suite in `policies/quality/`. Great Expectations judges features,
never text.

1. All expectations are judged together on the feature frame (`pipelines.features.table`).
2. Records that fail an expectation with action `drop` are left out, each for the first one it
   fails. The rest is judged again until nothing more is dropped.
3. An expectation with action `block` that fails or cannot be judged refuses the dataset.
4. Reports name expectations, counts and record ids, never text.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from governance.attest.findings import finding
from governance.attest.predicates import DataCounts, Expectation, Finding
from governance.base.errors import ConfigError, CountersignError, did_you_mean
from governance.base.yaml import place
from governance.policy.data import TABLE, QualityCheck, QualitySuite
from pipelines import pages
from pipelines.families import StageFamily
from pipelines.features.leaks import Around, HeldOut
from pipelines.features.table import compute
from pipelines.features.turns import Column
from pipelines.job import Input, Job, Outcome, Output, data_outputs
from pipelines.params import Params
from pipelines.paths import ready, scanned
from pipelines.records import (
    Excluded,
    data_counts,
    kind_of,
    read_records,
    write_excluded,
    write_records,
)

if TYPE_CHECKING:
    from pipelines.project import Project


PAGE = "check_quality.md.jinja"

IDS_SHOWN = 1_000
"""Largest number of record ids per expectation in the report."""


def inputs(params: Params, key: str) -> list[Input]:
    """The scanned records, and those of the held-out dataset."""
    own = Input("records", scanned(key) / "records.parquet")
    held_out = params.datasets[key].held_out
    return (
        [own]
        if held_out == key
        else [own, Input("held_out", scanned(held_out) / "records.parquet")]
    )


def outputs(params: Params, key: str) -> list[Output]:
    """records.parquet, excluded.jsonl, report.json and report.md of `data/ready/NAME`."""
    return data_outputs(ready(key))


def run(job: Job) -> Outcome:
    """Judges, drops, judges again and reports."""
    dataset = job.params.datasets[job.key]
    digest = job.policies.suite_digest(dataset.suite)
    suite = job.policies.quality[dataset.suite]
    if suite.kind != dataset.kind:
        raise ConfigError(
            f"the suite {dataset.suite} is for {suite.kind}, but the dataset is {dataset.kind}",
            where=f"params.yaml: datasets.{job.key}.suite",
            expected=", ".join(
                sorted(
                    name for name, one in job.policies.quality.items() if one.kind == dataset.kind
                )
            ),
        )
    table = read_records(job.input("records"))
    job.progress.step(f"{job.name}: {table.num_rows:,} records against {dataset.suite}")
    judged = judge(table, dataset.kind, suite, _held_out(job))
    counts = data_counts(table.num_rows, judged.table, judged.excluded)
    refused = findings(job.key, judged)
    predicate = {
        "dataset": job.key,
        "kind": dataset.kind,
        "passed": not refused,
        "suite": digest,
        "expectations": [one.evidence() for one in judged.verdicts],
        "counts": counts,
    }
    write_records(job.output("records"), judged.table, dataset.kind)
    write_excluded(job.output("excluded"), judged.excluded)
    write_report(job, predicate, counts, judged, refused)
    return Outcome(
        predicate=predicate,
        parameters={"suite": dataset.suite, "held_out": dataset.held_out},
        refused=refused,
        summary=f"{job.name}: {counts.records_out} of {counts.records_in} records are ready",
    )


def _held_out(job: Job) -> HeldOut | None:
    if "held_out" not in job.inputs:
        return None
    table = read_records(job.input("held_out"))
    return HeldOut(table, kind_of(table))


# --- judging --------------------------------------------------------------------------------------


@dataclass
class Verdict:
    """One expectation and its result."""

    check: QualityCheck
    success: bool = False
    unexpected: int = 0
    """Records that fail. With `drop`: those that were dropped for it."""
    ids: list[str] = field(default_factory=list)
    observed: str = ""
    """The figure of a column or table that was judged as a whole."""
    problem: str = ""
    """Why it could not be judged."""

    def evidence(self) -> Expectation:
        """Its form in the signed statement."""
        return Expectation(
            name=self.check.name,
            column=self.check.column,
            severity=self.check.severity,
            success=self.success,
            unexpected=self.unexpected,
            expected=expected(self.check),
            action=self.check.action,
        )


@dataclass
class Judged:
    """A dataset after judgement."""

    table: pa.Table
    excluded: list[Excluded]
    verdicts: list[Verdict]


def judge(table: pa.Table, kind: str, suite: QualitySuite, held_out: HeldOut | None) -> Judged:
    """Judges a table and drops records as the suite says."""
    around = Around(held_out, suite.near_duplicate_similarity, suite.language)
    columns = [check.column for check in suite.expectations if check.column != TABLE]
    verdicts = {check.name: Verdict(check) for check in suite.expectations}
    excluded: list[Excluded] = []
    expectations, frame = Expectations(), compute(table, kind, columns, around)
    while True:
        results = expectations.validate(frame.columns(), table.num_rows, suite.expectations)
        out = _dropped(suite.expectations, results, table.num_rows)
        for check in suite.expectations:
            _note(verdicts[check.name], results[check.name], out.get(check.name), table)
        if not out:
            return Judged(table, excluded, list(verdicts.values()))
        keep = np.full(table.num_rows, True)
        for name, rows in out.items():
            excluded += _exclusions(table, rows, verdicts[name].check)
            keep[rows] = False
        table, frame = table.filter(pa.array(keep)), frame.keep(keep)


@dataclass(frozen=True)
class Result:
    """Great Expectations' result of one expectation."""

    success: bool
    rows: Column
    """Rows that fail."""
    observed: Any = None
    problem: str = ""


def _dropped(
    checks: Sequence[QualityCheck], results: dict[str, Result], size: int
) -> dict[str, Column]:
    """Expectation to the rows that are dropped for it: each row for the first expectation it
    fails.
    """
    gone = np.full(size, False)
    out: dict[str, Column] = {}
    for check in checks:
        rows = results[check.name].rows
        if check.action == "drop" and len(rows):
            out[check.name] = rows[~gone[rows]]
            gone[rows] = True
    return {name: rows for name, rows in out.items() if len(rows)}


def _note(verdict: Verdict, result: Result, dropped: Column | None, table: pa.Table) -> None:
    """Updates a verdict with the latest result; dropped records are added up."""
    rows = (
        result.rows
        if verdict.check.action != "drop"
        else np.empty(0, np.int64)
        if dropped is None
        else dropped
    )
    if verdict.check.action != "drop":
        verdict.unexpected, verdict.ids = 0, []
    verdict.success, verdict.problem = result.success, result.problem
    verdict.observed = "" if result.observed is None else f"{result.observed:g}"
    verdict.unexpected += len(rows)
    room = max(0, IDS_SHOWN - len(verdict.ids))
    verdict.ids += table.column("id").take(pa.array(rows[:room], pa.int64())).to_pylist()


def _exclusions(table: pa.Table, rows: Column, check: QualityCheck) -> list[Excluded]:
    sources = table.select(["id", "file", "row"]).take(pa.array(rows, pa.int64())).to_pylist()
    return [
        Excluded(one["id"], one["file"], one["row"], check.column, check.reason, check.name)
        for one in sources
    ]


def expected(check: QualityCheck) -> str:
    """The demand of an expectation, in words."""
    if check.value_set is not None:
        among = ", ".join(
            str(value).lower() if isinstance(value, bool) else str(value)
            for value in check.value_set
        )
        text = (
            f"none of {among}"
            if "not_be_in_set" in check.check
            else f"one of {among}"
            if "," in among
            else among
        )
    else:
        bounds = [("at least", check.min_value), ("at most", check.max_value)]
        text = (
            " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
            or "a value"
        )
    what = check.check.removeprefix("expect_column_").removeprefix("expect_table_")
    whole = what.removesuffix("_to_be_between").replace("_", " ")
    text = text if what.startswith("values_") else f"{whole} {text}"
    return f"{text} in {check.mostly:.0%} of records" if check.mostly is not None else text


class Expectations:
    """Great Expectations in this process: one context, nothing stored, no values in the results."""

    def __init__(self) -> None:
        os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import great_expectations
            from great_expectations.data_context.types.base import ProgressBarsConfig
        self._gx = great_expectations
        self._context = great_expectations.get_context(mode="ephemeral")
        self._context.variables.progress_bars = ProgressBarsConfig(
            globally=False, metric_calculations=False
        )

    def validate(
        self, frame: dict[str, Column], size: int, checks: Sequence[QualityCheck]
    ) -> dict[str, Result]:
        """Name to result of every check."""
        import pandas
        from great_expectations.expectations.registry import get_expectation_impl

        data = pandas.DataFrame(frame, index=range(size))
        suite = self._gx.ExpectationSuite(
            name="suite",
            expectations=[
                get_expectation_impl(check.check)(**_arguments(check)) for check in checks
            ],
        )
        source = self._context.data_sources.add_or_update_pandas("features")
        batch = source.add_dataframe_asset("features").add_batch_definition_whole_dataframe("whole")
        validation = batch.get_batch(batch_parameters={"dataframe": data}).validate(
            suite, result_format={"result_format": "COMPLETE", "exclude_unexpected_values": True}
        )
        found = {one.expectation_config.meta["name"]: _result(one) for one in validation.results}
        return {check.name: found.get(check.name) or _unjudged("no result") for check in checks}


def _arguments(check: QualityCheck) -> dict[str, Any]:
    given = check.model_dump(
        include={"min_value", "max_value", "value_set", "mostly"}, exclude_none=True
    )
    column = {} if check.column == TABLE else {"column": check.column}
    return {**given, **column, "meta": {"name": check.name}}


def _result(one: Any) -> Result:
    """One result. Every unusual form counts as not judged."""
    if one.exception_info.get("raised_exception") is not False:
        return _unjudged("Great Expectations raised an error")
    rows = np.array(one.result.get("unexpected_index_list") or [], dtype=np.int64)
    if "unexpected_count" in one.result and len(rows) != one.result["unexpected_count"]:
        return _unjudged("Great Expectations did not name the records")
    observed = one.result.get("observed_value")
    if "unexpected_count" not in one.result and observed is None:
        return _unjudged("there is no value to judge")
    return Result(bool(one.success), rows, observed)


def _unjudged(problem: str) -> Result:
    return Result(False, np.empty(0, np.int64), None, problem)


# --- what is said about it ------------------------------------------------------------------------


def findings(dataset: str, judged: Judged) -> tuple[Finding, ...]:
    """Why the dataset is refused: expectations with action `block` or `drop` that failed or could
    not be judged.
    """
    found = []
    for verdict in judged.verdicts:
        check = verdict.check
        if verdict.success or check.action == "report":
            continue
        code = (
            "QUALITY_CHECK_CRASHED"
            if verdict.problem and check.reason not in _OF_NO_VALUE
            else check.reason
        )
        what = "the table" if check.column == TABLE else check.column
        found.append(
            finding(
                code,
                f"dataset {dataset}",
                f"{check.name}: {what}",
                expected=expected(check),
                found=_seen(verdict, judged),
            )
        )
    return tuple(found)


def _seen(verdict: Verdict, judged: Judged) -> str:
    """What was found. For the whole table, also what was dropped from it."""
    if verdict.check.column == TABLE and judged.excluded:
        reasons = Counter(one.reason for one in judged.excluded).most_common()
        return (
            f"{verdict.observed} (left out:"
            f" {', '.join(f'{reason} {count}' for reason, count in reasons)})"
        )
    return (
        verdict.problem
        or verdict.observed
        or f"{verdict.unexpected} of {judged.table.num_rows} records fail"
    )


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
                **one.evidence().model_dump(mode="json"),
                "check": one.check.check,
                "reason": one.check.reason,
            }
            | {"observed": one.observed, "problem": one.problem, "records": sorted(one.ids)}
            for one in judged.verdicts
        ],
    }
    pages.write_json(job.output("report"), report)
    pages.write_page(job.output("summary"), PAGE, refused, _page(report))


def _page(report: dict[str, Any]) -> dict[str, Any]:
    order = sorted(report["expectations"], key=lambda one: (one["success"], one["unexpected"] == 0))
    results = [
        (
            one["name"],
            f"{one['column']}: {one['expected']}",
            "met" if one["success"] else "NOT met",
            one["problem"] or one["observed"] or one["unexpected"],
            one["action"],
        )
        for one in order
    ]
    return {**report, "results": results}


def unfit_suites(project: Project) -> Iterator[CountersignError]:
    """Datasets whose quality suite does not exist or is for another kind."""
    suites = project.policies.quality
    for name, dataset in project.params.datasets.items():
        suite = suites.get(dataset.suite)
        if suite is not None and suite.kind == dataset.kind:
            continue
        fitting = sorted(other for other in suites if suites[other].kind == dataset.kind)
        found = (
            f"there is no quality suite {dataset.suite!r}"
            if suite is None
            else f"the quality suite {dataset.suite!r} is for {suite.kind}"
        )
        yield ConfigError(
            found,
            where=place(project.root / "params.yaml", "datasets", name, "suite"),
            expected=f"a suite in policies/quality/ for {dataset.kind}: "
            + (", ".join(fitting) or "there is none yet"),
            fix=did_you_mean(dataset.suite, fitting),
        )


FAMILY = StageFamily(
    run=run,
    inputs=inputs,
    outputs=outputs,
    table="datasets",
    evidence="quality",
    engines=("great-expectations", "pandas", "numpy", "pyarrow"),
    mistakes=unfit_suites,
)
