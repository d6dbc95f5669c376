"""Evaluation data: whether training data was compared with it, and whether it was searched for
personal data.

1. A gate demands that a quality check of its data searched for the records of every suite and task
   of the project, as they are now (`GateRequest.compared`). A suite that is added later has other
   digests than those that were compared, so the gate refuses until the data is checked again.
2. A release demands the same of the data of each training of the model and its parents, for the
   suites that the version is evaluated on: its own, and those beside.
3. Every check of the same bytes counts: what was compared once stays compared. Whether the latest
   check was made under the policy in force is the subject of `quality_suite`.
4. The files of a task of another harness are no dataset of the log. Its scan is about the digest of
   its folder.
5. From version 3 of the rules on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governance.attest.predicates import (
    ComparedSuite,
    Finding,
    FurtherSuite,
    Quality,
    Scan,
    SuiteRef,
)
from governance.attest.requests import DataRef
from governance.gates.checks.context import Context, Findings, GateContext
from governance.gates.checks.copies import line_of
from governance.history.lineage import inputs, subject, task_scan
from governance.log.rules import COMPARES_SUITES

if TYPE_CHECKING:
    from governance.log.evidence import Evidence


def suites_compared(context: GateContext) -> Findings:
    """(1)"""
    if not _judged(context):
        return
    data = context.request.data
    compared = _Compared.of(context, data)
    searched = {_key(each) for each in compared.suites}
    missing = [each for each in context.request.compared if _key(each) not in searched]
    yield from _not_compared(context, data, compared, missing)


def released_suites_compared(context: Context) -> Findings:
    """(2)"""
    if not _judged(context):
        return
    for ref in context.refs:
        line = line_of(context, ref)
        suites = [*(request.suite for request in line[:1]), *ref.further]
        for data in (request.data for request in line):
            compared = _Compared.of(context, data)
            others = (suite for suite in suites if suite.name != data.dataset)
            missing = [each for each in others if not _is_compared(context, compared, each)]
            yield from _not_compared(context, data, compared, missing)


def tasks_scanned(context: GateContext) -> Findings:
    """(4) The files of every task of the project were searched under the policy in force."""
    if _judged(context):
        for each in context.request.compared:
            if each.harness is not None:
                yield from _task(context, each.name, each.records)


def released_tasks_scanned(context: Context) -> Findings:
    """The same of the tasks that a version is evaluated on."""
    if _judged(context):
        for suite in (each for ref in context.refs for each in ref.further):
            if suite.harness is not None:
                yield from _task(context, suite.name, suite.records)


def _judged(context: Context) -> bool:
    return context.authority is not None and context.authority.rules >= COMPARES_SUITES


@dataclass(frozen=True)
class _Compared:
    """(3) What the records of a dataset were compared with."""

    known: bool
    """Whether there is any check of them."""
    suites: Collection[ComparedSuite]
    whole: frozenset[str]
    """Digests of datasets that were compared with all their records."""

    @classmethod
    def of(cls, context: Context, data: DataRef) -> _Compared:
        checks = [
            statement.predicate
            for statement in context.view.by_subject(data.sha256, Quality)
            if subject(statement, "records") == data.sha256
            and statement.predicate.dataset == data.dataset
            and statement.predicate.passed
        ]
        suites = [suite for check in checks for suite in check.compared]
        inputs = (made for check in checks for made in check.inputs)
        whole = frozenset(made.sha256 for made in inputs if made.role == "held_out")
        return cls(bool(checks), suites, whole)


def _key(suite: ComparedSuite) -> tuple[str, str, str | None]:
    """What is compared, whatever it is called."""
    return suite.records, suite.split, suite.harness


def _is_compared(context: Context, compared: _Compared, suite: SuiteRef) -> bool:
    """Whether the records of a suite were searched for, as they were at any step of its dataset."""
    if isinstance(suite, FurtherSuite) and suite.harness is not None:
        return suite.records in {each.records for each in compared.suites if each.harness}
    steps = context.view.by_subject(suite.records, Quality)
    digests = {suite.records, *(inputs(step).get("records", "") for step in steps)}
    of_split = {each.records for each in compared.suites if each.split == suite.split}
    return bool(digests & (compared.whole | of_split))


def _not_compared(
    context: Context,
    data: DataRef,
    compared: _Compared,
    missing: Iterable[ComparedSuite | SuiteRef],
) -> Iterator[Finding]:
    """One finding about a dataset. Where there is no check at all, `data_evidence` says so."""
    digests = {each.name: each.records for each in missing}
    if not digests or not compared.known:
        return
    names = sorted(digests)
    yield context.finding(
        "HELD_OUT_UNCHECKED",
        f"dataset {data.dataset}",
        "these records were not compared with every suite and task, as they are now",
        expected=f"a comparison with {', '.join(names)}",
        found=", ".join(sorted({each.name for each in compared.suites})) or "none of them",
        figures=[f"{name} {digests[name]}" for name in names],
        next=f"countersign repro check_quality@{data.dataset}",
    )


def _task(context: Context, name: str, folder: str) -> Iterator[Finding]:
    in_force = context.policies.pii_digest

    def fits(scan: Evidence[Scan]) -> bool:
        return scan.predicate.passed and scan.predicate.config == in_force

    found = task_scan(context.view, folder, fits)
    if found is not None and fits(found):
        yield from _ended(context, name, found.predicate)
        return
    yield context.finding(
        "TASK_NOT_SCANNED",
        f"task {name}",
        expected=f"a scan of {folder[:12]} under {in_force[:12]}",
        found="refused, or under another policy" if found else "none",
        figures=[folder],
    )


def _ended(context: Context, name: str, scan: Scan) -> Iterator[Finding]:
    today = context.at.date()
    ended = [f"entry {one.entry} ({one.entity})" for one in scan.allowances if today > one.until]
    if ended:
        yield context.finding(
            "ALLOWANCE_ENDED",
            f"task {name}",
            expected=f"entries that have not ended on {today}",
            found=", ".join(ended),
            figures=ended,
            next="policies/pii.yaml: allowances, then: countersign repro scan_task",
        )
