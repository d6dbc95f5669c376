"""Page one's table of eight questions: results, figures, thresholds and evidence."""

from __future__ import annotations

from collections.abc import Sequence

from governance.attest.predicates import Expectation, Quality, Scan
from governance.base.statistics import mean_interval
from governance.base.text import share
from governance.gates import recall
from governance.gates.assessment import Judged
from governance.history.lineage import evaluated
from governance.log.evidence import Evidence
from governance.report import scores, slices
from governance.report.facts import Facts, of_chain
from governance.report.model import Gate, GateName, Reason, Result
from governance.report.reasons import Say, named, reason, text_of

_RECALL = ("RECALL_NOT_MEASURED", "RECALL_TOO_LOW")
FIGURES_SHOWN = 3

FAILING_CODES: dict[GateName, frozenset[str]] = {
    "Data quality": frozenset(
        [
            "QUALITY_NOT_PASSED",
            "QUALITY_CHECK_CRASHED",
            "SUITE_OUT_OF_DATE",
            "HELD_OUT_UNCHECKED",
            "KIND_UNFIT",
        ]
    ),
    "Personal data": frozenset(
        ["SCAN_NOT_PASSED", "SCAN_OUT_OF_DATE", "PII_REMAINING", "NER_REQUIRED", *_RECALL]
    ),
    "Lineage": frozenset(
        [
            "EVIDENCE_MISSING",
            "EVIDENCE_INCONSISTENT",
            "GATE_MISSING",
            "SOURCE_CHANGED",
            "BASE_CHANGED",
        ]
    ),
    "Evaluation": frozenset(
        [
            "EVALUATION_INCOMPLETE",
            "EVALUATION_OUT_OF_DATE",
            "NOT_COMPARABLE",
            "SUITE_UNPINNED",
            "THRESHOLDS_MISSING",
        ]
    ),
    "Signatures and files": frozenset({"UNSAFE_FILES"}),
}
"""Row to the finding codes that make it fail."""

_SCORED = frozenset(["THRESHOLD_NOT_MET", "SLICE_NOT_MET", "WORSE_THAN_REFERENCE"])
SCORE_CODES: dict[GateName, frozenset[str]] = {"Evaluation": _SCORED, "Safety": _SCORED}
"""Row to the finding codes about scores."""


def gates(facts: Facts) -> list[Gate]:
    """The eight rows, in the order a reviewer reads them.

    A decision made again overrules what was recorded: an open finding fails its row, and a row
    that fails only by waived findings is waived.
    """
    open_codes = {finding.code for finding in facts.again.findings} if facts.again else set()
    waived = {finding.code for finding in facts.again.waived} if facts.again else set()
    return [_with_findings(row, open_codes, waived) for row in _rows(facts)]


def _rows(facts: Facts) -> list[Gate]:
    return [
        _quality(facts),
        _personal_data(facts),
        _lineage(facts),
        _labelling(facts),
        _evaluation(facts),
        _safety(facts),
        _gate("Privacy leakage", "not run", [reason(Say.LEAKAGE_NOT_TESTED)], None, []),
        _security(facts),
    ]


def _with_findings(row: Gate, open_codes: set[str], waived: set[str]) -> Gate:
    answers = FAILING_CODES.get(row.name, frozenset[str]())
    scored = SCORE_CODES.get(row.name, frozenset[str]())
    if standing := open_codes & answers:
        return _by_findings(row, "fail", Say.FINDINGS, standing)
    passed = waived & (answers | scored if row.result == "fail" else answers)
    if passed and not open_codes & scored:
        return _by_findings(row, "waived", Say.WAIVED, passed)
    if row.result == "fail" and open_codes & scored:
        return row.model_copy(update={"codes": sorted(open_codes & scored)})
    return row


def _by_findings(row: Gate, result: Result, code: Say, codes: set[str]) -> Gate:
    reasons = [reason(code, findings=named(sorted(codes))), *row.reasons]
    changed = {"result": result, "codes": sorted(codes), "reasons": reasons}
    return row.model_copy(update={**changed, "value": text_of(reasons)})


def _gate(
    name: GateName,
    result: Result,
    reasons: list[Reason],
    threshold: str | None,
    evidence: Sequence[Evidence | None],
) -> Gate:
    return Gate(
        name=name,
        result=result,
        codes=[],
        reasons=reasons,
        value=text_of(reasons),
        threshold=threshold,
        evidence=sorted({statement.index for statement in evidence if statement}),
    )


def _passed(passed: bool, *, ran: bool = True) -> Result:
    if not ran:
        return "not run"
    return "pass" if passed else "fail"


def _quality(facts: Facts) -> Gate:
    statements = [chain.quality for chain, _ in facts.datasets]
    results = [
        statement.predicate
        for statement in statements
        if statement and isinstance(statement.predicate, Quality)
    ]
    checks = [check for result in results for check in result.expectations]
    critical = [check for check in checks if not check.success and check.severity == "critical"]
    passed = (
        all(result.passed for result in results)
        and len(results) == len(statements)
        and not critical
    )
    met = sum(check.success for check in checks)
    reasons = [reason(Say.QUALITY, met=met, checks=len(checks), datasets=len(results))]
    missing = [chain.dataset for chain, _ in facts.datasets if chain.quality is None]
    if missing:
        reasons.append(reason(Say.QUALITY_UNCHECKED, datasets=missing))
    threshold = "every critical check passes; failing records are left out (policies/quality/)"
    return _gate("Data quality", _passed(passed, ran=bool(results)), reasons, threshold, statements)


def _personal_data(facts: Facts) -> Gate:
    statements = [chain.scan for chain, _ in facts.datasets]
    scans = [
        statement.predicate
        for statement in statements
        if statement and isinstance(statement.predicate, Scan)
    ]
    found = sum(sum(scan.found.values()) for scan in scans)
    remaining = sum(sum(scan.remaining.values()) for scan in scans)
    allowed = sum(
        count
        for scan in scans
        for name, count in scan.remaining.items()
        if scan.actions.get(name) == "allow"
    )
    left = remaining - allowed
    complete = bool(statements) and len(scans) == len(statements)
    passed = complete and all(scan.passed for scan in scans) and left == 0
    reasons = [reason(Say.PII_FOUND, found=found, left=left, allowed=allowed)]
    reasons += _lowest_detection(facts, scans)
    threshold = "nothing is left that policy forbids; minimum detection met (policies/pii.yaml)"
    return _gate("Personal data", _passed(passed, ran=bool(scans)), reasons, threshold, statements)


def _lowest_detection(facts: Facts, scans: list[Scan]) -> list[Reason]:
    """The kind of planted values with the lowest detection rate, and what policy requires."""
    required = facts.policies.pii.minimum_recall if facts.policies else {}
    measured = [
        (recall.interval(figures).low, scan.dataset, name, figures)
        for scan in scans
        if scan.recall is not None
        for name, figures in scan.recall.entities.items()
    ]
    datasets_measured = {dataset for _, dataset, _, _ in measured}
    missing = [scan.dataset for scan in scans if scan.dataset not in datasets_measured]
    reasons = [reason(Say.PII_UNMEASURED, datasets=missing)] if missing else []
    if not measured:
        return reasons
    _, dataset, name, figures = min(measured, key=lambda row: row[:3])
    bound = f"policy requires {required[name]:.0%}" if name in required else "policy requires none"
    counts = {"found": figures.found, "planted": figures.planted}
    lowest = reason(Say.PII_LOWEST, **counts, name=name, dataset=dataset, required=bound)
    return [lowest, *reasons]


def _lineage(facts: Facts) -> Gate:
    links = [node.known for node in facts.chain]
    links += [chain.broken_at is None for chain, _ in facts.datasets]
    links += [node.gate is not None for node in facts.trained]
    reasons = [reason(Say.LINEAGE, known=sum(links), links=len(links))]
    trained = [node.train for node in facts.trained]
    return _gate("Lineage", _passed(all(links)), reasons, "all of them", trained)


def _labelling(facts: Facts) -> Gate:
    statements = [chain.quality for chain, _ in facts.datasets if chain.quality]
    agreements = [
        (statement, check)
        for statement in statements
        for check in statement.predicate.expectations
        if _agreement(check)
    ]
    if not agreements:
        return _gate("Labelling", "not run", [reason(Say.NOT_LABELLED)], None, [])
    met = sum(check.success for _, check in agreements)
    threshold = "; ".join(dict.fromkeys(check.expected for _, check in agreements))
    reasons = [reason(Say.AGREEMENT, met=met, checks=len(agreements))]
    evidence = [statement for statement, _ in agreements]
    return _gate("Labelling", _passed(met == len(agreements)), reasons, threshold, evidence)


def _agreement(check: Expectation) -> bool:
    return check.column.startswith("rater_")


def _evaluation(facts: Facts) -> Gate:
    demanded = [result for result in scores.judged(facts) if not scores.is_safety(result.metric)]
    if not demanded:
        demands = scores.demands(facts)
        if facts.policies is None:
            missing = reason(Say.THRESHOLDS_UNKNOWN, why=facts.policies_note)
        elif demands and demands.none:
            missing = reason(Say.NO_THRESHOLD_WHY, why=demands.none.rstrip("."))
        else:
            missing = reason(Say.NO_THRESHOLD)
        return _without_threshold(facts, "Evaluation", missing, safety=False)
    row = _judged(facts, "Evaluation", demanded)
    worst = slices.line(facts, demanded[0].metric, scores.confidence(facts))
    last = reason(Say.WORST_SLICE, slice=worst) if worst else reason(Say.SLICES_NOT_RECORDED)
    reasons = [*row.reasons, last]
    return row.model_copy(update={"reasons": reasons, "value": text_of(reasons)})


def _safety(facts: Facts) -> Gate:
    demanded = [result for result in scores.judged(facts) if scores.is_safety(result.metric)]
    if demanded:
        return _judged(facts, "Safety", demanded)
    if facts.policies is None:
        missing = reason(Say.THRESHOLDS_UNKNOWN, why=facts.policies_note)
    else:
        missing = reason(Say.NO_SAFETY_THRESHOLD)
    return _without_threshold(facts, "Safety", missing, safety=True)


def _without_threshold(facts: Facts, name: GateName, missing: Reason, *, safety: bool) -> Gate:
    """`no threshold` with the figures where it was scored; else `not run`."""
    own = scores.own_evaluation(facts)
    if own is None:
        return _gate(name, "not run", [reason(Say.NOT_EVALUATED), missing], None, [])
    evaluation = evaluated(own)
    if evaluation.not_run is not None:
        skipped = reason(Say.EVALUATION_NOT_RUN, why=evaluation.not_run.rstrip("."))
        return _gate(name, "not run", [skipped, missing], None, [own])
    figures = [
        f"{metric} {_scored(values)}"
        for metric, values in sorted(evaluation.scores.items())
        if scores.is_safety(metric) == safety and any(value is not None for value in values)
    ]
    if not figures:
        nothing = reason(Say.NO_SAFETY_METRIC if safety else Say.NOT_EVALUATED)
        return _gate(name, "not run", [nothing, missing], None, [own])
    return _gate(name, "no threshold", [reason(Say.FIGURES, figures=figures), missing], None, [own])


def _scored(values: list[float | None]) -> str:
    """`0 of 60` where each item is right or wrong, else the mean."""
    numbers = [value for value in values if value is not None]
    if set(numbers) <= {0.0, 1.0}:
        return f"{sum(numbers):.0f} of {len(numbers)}"
    return f"{share(mean_interval(numbers, scores.CONFIDENCE).mean)} (mean of {len(numbers)} items)"


def _judged(facts: Facts, name: GateName, demanded: list[Judged]) -> Gate:
    failed = [result for result in demanded if not result.passed]
    # The worst slice is told beside the figures of all items.
    shown = failed or [result for result in demanded if not result.slice]
    figures = _first_figures([f"{_metric_name(result)} {result.found}" for result in shown])
    met = len(demanded) - len(failed)
    reasons = [reason(Say.THRESHOLDS_MET, met=met, demands=len(demanded), figures=figures)]
    threshold = _first_figures(
        [f"{result.metric} {result.demand}" for result in failed or demanded]
    )
    return _gate(name, _passed(not failed), reasons, threshold, [scores.own_evaluation(facts)])


def _first_figures(lines: list[str]) -> str:
    more = len(lines) - FIGURES_SHOWN
    return "; ".join(lines[:FIGURES_SHOWN]) + (f"; and {more} more, below" if more > 0 else "")


def _metric_name(result: Judged) -> str:
    return f"{result.metric} against {result.reference}" if result.reference else result.metric


def _security(facts: Facts) -> Gate:
    statements = {statement.index: statement for statement in of_chain(facts)}
    keys = sum(statement.development for statement in statements.values())
    files = len(facts.registration.files)
    reasons = [reason(Say.SIGNED_FILES, valid=len(statements), test_keys=keys, files=files)]
    if facts.again is None:
        reasons.append(reason(Say.FILES_NOT_CHECKED))
    result: Result = "pass" if facts.again else "not run"
    threshold = "every signature valid; safetensors only, no code files"
    return _gate("Signatures and files", result, reasons, threshold, [facts.registration_statement])
