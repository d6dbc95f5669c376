"""in-toto test results v0.1: evaluations, data quality, and the search for personal data.

`WARNED` is not passed: a metric without a threshold, or kinds of personal data that the scan does
not find. What was not run has no test result. `url` is left out: the log is the only record.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Literal

from governance.attest.predicates import Evaluate, Quality, Scan
from governance.exports.catalog import Document, Format, Made
from governance.exports.records import Records, personal_data, recall_summary
from governance.exports.statements import (
    Resource,
    artifact,
    data_subject,
    logged,
    model_subjects,
    resource,
    statement,
)
from governance.gates.assessment import describe, figures
from governance.gates.checks.context import ModelFacts
from governance.log.evidence import Evidence
from governance.report import scores

TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"

Word = Literal["passed", "warned", "failed"]
Tests = dict[Word, list[str]]


def results(records: Records) -> Made:
    """The version's evaluations, and quality and scan of every dataset behind it."""
    documents: list[Document] = []
    missing: list[str] = []
    facts = records.facts
    for suite in facts.suites:
        evaluation = facts.evaluation(facts.released, suite)
        if evaluation is None:
            why = "" if suite in facts.own_suites else ": it is the suite of an earlier stage"
            missing.append(f"evaluation on {suite.name}: not run{why}")
        elif evaluation.predicate.not_run is not None:
            missing.append(f"evaluation on {suite.name}: not run: {evaluation.predicate.not_run}")
        else:
            documents.append(_evaluation(records, evaluation, scores.held_on(facts, suite)))
    for chain, _ in facts.datasets:
        documents += [_quality(chain.quality)] if chain.quality else []
        documents += [_scan(chain.scan)] if chain.scan else []
        steps = {"quality": chain.quality, "scan": chain.scan}
        lacks = [name for name, statement in steps.items() if statement is None]
        missing += [f"{name} of {chain.dataset}: no evidence at this digest" for name in lacks]
    return Made(documents, missing)


def _evaluation(
    records: Records, evidence: Evidence[Evaluate], held: ModelFacts | None
) -> Document:
    """Compared with policy's thresholds, if the suite decides on the version (`held`). A metric
    without a threshold neither passed nor failed.
    """
    facts, evaluation = records.facts, evidence.predicate
    thresholds = scores.results(held) if held else []
    tests: Tests = defaultdict(list)
    for result in thresholds:
        text = f"{result.metric} {result.demand}: found {result.found}"
        tests["passed" if result.passed else "failed"].append(text)
    why = "no threshold in policy" if held else "not compared with policy here"
    with_threshold = {result.metric for result in thresholds}
    for name, figure in sorted(figures(evaluation, scores.confidence(facts)).items()):
        if name not in with_threshold:
            shown = figure if isinstance(figure, str) else f"mean {describe(figure)}"
            tests["warned"].append(f"{name}: {why}; {shown}")
    policies = facts.policies.digest if facts.policies else evaluation.policy
    configuration = [
        resource(f"suite {evaluation.suite_name}", evaluation.suite, role="suite"),
        resource("policies", policies, role="policies"),
        logged(evidence),
        *(artifact(result) for result in evidence.subjects),
    ]
    subjects = model_subjects(records, facts.released)
    return _result(f"evaluation-{evaluation.suite_name}", subjects, tests, configuration)


def _quality(evidence: Evidence) -> Document:
    quality: Quality = evidence.predicate
    tests: Tests = defaultdict(list)
    for check in quality.expectations:
        dropped = check.unexpected if check.action == "drop" else 0
        excluded = f"; {dropped} records excluded" if dropped else ""
        text = f"{check.name}: {check.expected} on {check.column}{excluded}"
        if check.success:
            tests["passed"].append(text)
        else:
            tests["failed" if check.severity == "critical" else "warned"].append(text)
    if not quality.passed and not tests["failed"]:
        tests["failed"].append("the suite as a whole")
    suite = resource(f"quality suite for {quality.kind}", quality.suite, role="suite")
    name = f"quality-{quality.dataset}"
    return _result(name, [data_subject(evidence)], tests, [suite, logged(evidence)])


def _scan(evidence: Evidence) -> Document:
    scan: Scan = evidence.predicate
    tests: Tests = defaultdict(list)
    for found, action, remaining in personal_data(scan):
        unwanted: Word = "warned" if action == "allow" else "failed"
        tests[unwanted if remaining else "passed"].append(found)
    if not scan.passed and not tests["failed"]:
        tests["failed"].append("the scan as a whole")
    tests["warned"] += [f"not searched for: {kind}" for kind in scan.cannot_find]
    tests["warned"].append(recall_summary({scan.dataset: scan.recall}))
    config = resource("policies/pii.yaml", scan.config, role="scan configuration")
    name = f"scan-{scan.dataset}"
    return _result(name, [data_subject(evidence)], tests, [config, logged(evidence)])


def _result(
    name: str, subjects: list[Resource], tests: Tests, configuration: list[Resource]
) -> Document:
    result = "PASSED" if tests["passed"] and not tests["warned"] else "WARNED"
    predicate = {
        "result": "FAILED" if tests["failed"] else result,
        "configuration": configuration,
        "passedTests": tests["passed"],
        "warnedTests": tests["warned"],
        "failedTests": tests["failed"],
    }
    return statement(f"test-result-{name}", TEST_RESULT, subjects, predicate)


FORMAT = Format(
    "test-result", "in-toto test results v0.1: evaluation, data quality, personal data", results
)
