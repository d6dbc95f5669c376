"""Page one's table of eight questions: results, figures, thresholds and evidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from governance.attest.predicates import Evaluate, Scan
from governance.base.statistics import mean_interval
from governance.base.text import share
from governance.gates.assessment import Judged
from governance.gates.checks.data import (
    LEAST_AGREEMENT,
    agreement_of_votes,
    least_agreement,
)
from governance.log.evidence import Evidence
from governance.report import scores
from governance.report.data import recalled
from governance.report.facts import Facts
from governance.report.leaks import leakage
from governance.report.model.front import Gate, GateName
from governance.report.model.parts import Reason, Result
from governance.report.reasons import Say, named, reason, text_of

FIGURES_SHOWN = 3
FAILING_CODES: dict[GateName, str] = {
    "Data quality": (
        "QUALITY_NOT_PASSED QUALITY_CHECK_CRASHED SUITE_OUT_OF_DATE HELD_OUT_UNCHECKED KIND_UNFIT"
        " FIELDS_NOT_PERMITTED RECORDS_NOT_USED RECORDS_NOT_COUNTED RECORDS_TWICE SUITE_TRAINED_ON"
    ),
    "Personal data": (
        "SCAN_NOT_PASSED SCAN_OUT_OF_DATE PII_REMAINING NER_REQUIRED RECALL_NOT_MEASURED"
        " RECALL_TOO_LOW ALLOWANCE_ENDED ERASED_DATA_USED ERASURE_OVERDUE TASK_NOT_SCANNED"
    ),
    "Lineage": (
        "EVIDENCE_MISSING EVIDENCE_INCONSISTENT GATE_MISSING SOURCE_CHANGED BASE_CHANGED"
        " IMPORT_NOT_ALLOWED IMPORT_NOT_DECLARED IMPORT_DATA_UNKNOWN IMPORT_TRAINED_BEFORE"
        " SCORER_WITHDRAWN PARENT_WITHDRAWN OTHER_NAME_WITHDRAWN"
        " CONSTITUTION_MISSING CONSTITUTION_CHANGED ENDPOINT_NOT_PERMITTED GENERATED_NOT_DECLARED"
        " JUDGE_NOT_CHECKED JUDGE_CARD_EXPIRED JUDGE_FAILED JUDGE_OPTIMISED_FOR"
    ),
    "Labelling": "GUIDELINE_DIFFERS RATERS_LEFT_OUT RATERS_AGREE_TOO_LITTLE",
    "Evaluation": (
        "EVALUATION_INCOMPLETE EVALUATION_OUT_OF_DATE NOT_COMPARABLE SUITE_UNPINNED"
        " METRIC_CHANGED THRESHOLDS_MISSING DEGENERATE_OUTPUT OVER_OPTIMISED REWARD_HACKED"
        " REWARD_MODEL_NOT_BETTER RANKED_BY_LENGTH NO_LEARNING_SIGNAL"
    ),
    "Privacy leakage": "TRAINING_DATA_LEAKS LEAKS_NOT_MEASURED",
    "Signatures and files": "UNSAFE_FILES",
}
"""Row to the finding codes that make it fail."""
SCORE_CODES = {"THRESHOLD_NOT_MET", "SLICE_NOT_MET", "WORSE_THAN_REFERENCE"}
"""Finding codes about scores, for the rows Evaluation and Safety."""


def gates(facts: Facts) -> list[Gate]:
    """The eight rows, in the order a reviewer reads them.

    A decision made again overrules what was recorded: an open finding fails its row, and a row
    that fails only by waived findings is waived.
    """
    rows = [
        _quality(facts),
        _personal_data(facts),
        _lineage(facts),
        _labelling(facts),
        _scores(facts, "Evaluation"),
        _scores(facts, "Safety"),
        _leakage(facts),
        _security(facts),
    ]
    again = facts.again
    open_codes = {finding.code for finding in again.findings} if again else set()
    waived = {finding.code for finding in again.waived} if again else set()
    return [_with_findings(row, open_codes, waived) for row in rows]


def _with_findings(row: Gate, open_codes: set[str], waived: set[str]) -> Gate:
    failing = set(FAILING_CODES.get(row.name, "").split())
    scored = SCORE_CODES if row.name in ("Evaluation", "Safety") else set[str]()
    has_failed = row.result == "fail"
    passed = waived & (failing | scored if has_failed else failing)
    if failing & open_codes:
        result, text, codes = "fail", Say.FINDINGS, failing & open_codes
    elif passed and not open_codes & scored:
        result, text, codes = "waived", Say.WAIVED, passed
    else:
        codes = open_codes & scored if has_failed else set()
        return row.model_copy(update={"codes": sorted(codes)})
    reasons = [reason(text, findings=named(sorted(codes))), *row.reasons]
    changed = {"result": result, "codes": sorted(codes), "reasons": reasons}
    return row.model_copy(update={**changed, "value": text_of(reasons)})


def _gate(
    name: GateName,
    passed: bool | Result,
    reasons: list[Reason],
    threshold: str | None = None,
    evidence: Iterable[Evidence | None] = (),
) -> Gate:
    result: Result = ("pass" if passed else "fail") if isinstance(passed, bool) else passed
    return Gate(
        name=name,
        result=result,
        reasons=reasons,
        value=text_of(reasons),
        threshold=threshold,
        evidence=sorted({statement.index for statement in evidence if statement}),
    )


def _quality(facts: Facts) -> Gate:
    results = [statement.predicate for statement in facts.qualities]
    checks = [check for result in results for check in result.expectations]
    critical = [check for check in checks if not check.success and check.severity == "critical"]
    met = sum(check.success for check in checks)
    reasons = [reason(Say.QUALITY, met=met, checks=len(checks), datasets=len(results))]
    missing = [chain.dataset for chain in facts.chains if chain.quality is None]
    if missing:
        reasons.append(reason(Say.QUALITY_UNCHECKED, datasets=missing))
    passed = all(result.passed for result in results) and not missing and not critical
    threshold = "every critical check passes; failing records are left out (policies/quality/)"
    return _gate(
        "Data quality", passed if results else "not run", reasons, threshold, facts.qualities
    )


def _personal_data(facts: Facts) -> Gate:
    scans = [statement.predicate for statement in facts.scans]
    found = sum(sum(scan.found.values()) for scan in scans)
    remaining = [
        (scan.actions.get(name) == "allow", count)
        for scan in scans
        for name, count in scan.remaining.items()
    ]
    left = sum(count for is_allowed, count in remaining if not is_allowed)
    allowed = sum(count for is_allowed, count in remaining if is_allowed)
    passed = len(scans) == len(facts.chains) and all(scan.passed for scan in scans) and left == 0
    reasons = [reason(Say.PII_FOUND, found=found, left=left, allowed=allowed)]
    reasons += [*_kept_and_merged(scans), *_lowest_detection(facts, scans)]
    threshold = "nothing is left that policy forbids; minimum detection met (policies/pii.yaml)"
    return _gate("Personal data", passed if scans else "not run", reasons, threshold, facts.scans)


def _kept_and_merged(scans: list[Scan]) -> Iterator[Reason]:
    """What the allow-list kept, and how many duplicates redaction created."""
    allowed = [entry for scan in scans for entry in scan.allowances]
    if allowed:
        yield reason(
            Say.PII_ALLOWANCES,
            count=sum(entry.findings for entry in allowed),
            entries=len({entry.entry for entry in allowed}),
            until=str(min(entry.until for entry in allowed)),
        )
    merged = sum(scan.merged for scan in scans)
    if merged:
        yield reason(Say.PII_MERGED, count=merged)


def _lowest_detection(facts: Facts, scans: list[Scan]) -> list[Reason]:
    """The kind of planted values with the lowest detection rate, and what policy requires."""
    measured = [(scan.dataset, recalled(facts, scan)) for scan in scans]
    known = {dataset for dataset, rows in measured if rows}
    missing = [dataset for dataset, _ in measured if dataset not in known]
    reasons = [reason(Say.PII_UNMEASURED, datasets=missing)] if missing else []
    least = [(rows[0].low, dataset, rows[0]) for dataset, rows in measured if rows]
    if not least:
        return reasons
    _, dataset, row = min(least, key=lambda entry: entry[:2])
    bound = "none" if row.demanded is None else f"{row.demanded:.0%}"
    fields = {"name": row.name, "dataset": dataset, "required": f"policy requires {bound}"}
    return [reason(Say.PII_LOWEST, found=row.found, planted=row.planted, **fields), *reasons]


def _lineage(facts: Facts) -> Gate:
    links = [node.known for node in facts.chain]
    links += [chain.broken_at is None for chain in facts.chains]
    links += [node.gate is not None for node in facts.trained]
    reasons = [reason(Say.LINEAGE, known=sum(links), links=len(links))]
    return _gate("Lineage", all(links), reasons, "all of them", facts.trainings)


def _labelling(facts: Facts) -> Gate:
    agreements = [
        (statement, check)
        for statement in facts.qualities
        for check in statement.predicate.expectations
        if check.column.startswith("rater_")
    ]
    results = [(statement, check.success, check.expected) for statement, check in agreements]
    results += _votes(facts)
    if not results:
        return _gate("Labelling", "not run", [reason(Say.NOT_LABELLED)])
    met = sum(passed for _, passed, _ in results)
    threshold = "; ".join(dict.fromkeys(expected for *_, expected in results))
    reasons = [reason(Say.AGREEMENT, met=met, checks=len(results))]
    statements = [statement for statement, *_ in results]
    return _gate("Labelling", met == len(results), reasons, threshold, statements)


def _votes(facts: Facts) -> Iterator[tuple[Evidence, bool, str]]:
    """Pairs by votes of raters: the evidence, whether these agree as policy demands, and that."""
    for ingest in (chain.ingest for chain in facts.chains):
        agreement = agreement_of_votes(ingest.predicate) if ingest else None
        if ingest is not None and agreement is not None:
            least = least_agreement(facts.policies) if facts.policies else LEAST_AGREEMENT
            passed = agreement.low is not None and agreement.low >= least
            yield ingest, passed, f"lower end of alpha at least {least:g}"


def _scores(facts: Facts, name: GateName) -> Gate:
    """Evaluation or Safety: the thresholds met. `no threshold` with the figures where policy sets
    none.
    """
    is_safety, own = name == "Safety", facts.own_evaluation
    statements = [each for each in facts.own_evaluations if _measures(facts, each, is_safety)]
    judged = [
        result
        for held in facts.judged_on
        for result in scores.results(held)
        if scores.about_safety(facts, held.ref.suite, result.metric) == is_safety
    ]
    if judged:
        reasons = [_thresholds_met(judged)]
        if not is_safety and not judged[0].suite:
            metric = judged[0].metric
            slices = scores.worst_slice(facts, metric)
            reasons.append(reason(Say.WORST_SLICE, metric=metric, slices=slices))
        failed = [result for result in judged if not result.passed]
        thresholds = [f"{result.name} {result.demand}" for result in failed or judged]
        return _gate(name, not failed, reasons, _first(thresholds), statements or [own])
    missing = _no_threshold(facts, is_safety)
    if own is None:
        return _gate(name, "not run", [reason(Say.NOT_EVALUATED), missing])
    evaluation = own.predicate
    figures = [
        f"{metric} {_scored(values)}"
        for statement in statements
        for metric, values in sorted(statement.predicate.scores.items())
        if scores.about_safety(facts, statement.predicate.suite_name, metric) == is_safety
        and any(value is not None for value in values)
    ]
    result: Result = "not run"
    if evaluation.not_run is not None:
        first = reason(Say.EVALUATION_NOT_RUN, why=evaluation.not_run.rstrip("."))
    elif figures:
        result, first = "no threshold", reason(Say.FIGURES, figures=figures)
    else:
        first = reason(Say.NO_SAFETY_METRIC if is_safety else Say.NOT_EVALUATED)
    return _gate(name, result, [first, missing], None, statements or [own])


def _measures(facts: Facts, statement: Evidence[Evaluate], safety: bool) -> bool:
    """Whether an evaluation has a metric about safety, or one that is not."""
    suite, found = statement.predicate.suite_name, statement.predicate.scores
    return any(scores.about_safety(facts, suite, metric) == safety for metric in found)


def _no_threshold(facts: Facts, is_safety: bool) -> Reason:
    demands = scores.demands(facts)
    if facts.policies is None:
        return reason(Say.THRESHOLDS_UNKNOWN, why=facts.policies_note)
    if is_safety:
        return reason(Say.NO_SAFETY_THRESHOLD)
    if demands and demands.none:
        return reason(Say.NO_THRESHOLD_WHY, why=demands.none.rstrip("."))
    return reason(Say.NO_THRESHOLD)


def _scored(values: list[float | None]) -> str:
    """`0 of 60` where each item is right or wrong, else the mean."""
    numbers = [value for value in values if value is not None]
    if set(numbers) <= {0.0, 1.0}:
        return f"{sum(numbers):.0f} of {len(numbers)}"
    return f"{share(mean_interval(numbers, scores.CONFIDENCE).mean)} (mean of {len(numbers)} items)"


def _thresholds_met(judged: list[Judged]) -> Reason:
    failed = [result for result in judged if not result.passed]
    # Figures of slices have a reason of their own.
    shown = failed or [result for result in judged if not result.slice]
    figures = []
    for result in shown:
        against = f" against {result.reference}" if result.reference else ""
        figures.append(f"{result.name}{against} {result.found}")
    met = len(judged) - len(failed)
    return reason(Say.THRESHOLDS_MET, met=met, demands=len(judged), figures=_first(figures))


def _first(lines: Sequence[str]) -> str:
    more = len(lines) - FIGURES_SHOWN
    return "; ".join(lines[:FIGURES_SHOWN]) + (f"; and {more} more, below" if more > 0 else "")


def _leakage(facts: Facts) -> Gate:
    found = leakage(facts)
    return _gate("Privacy leakage", found.result, found.reasons, found.threshold, found.evidence)


def _security(facts: Facts) -> Gate:
    statements = facts.rests_on()
    keys = sum(statement.development for statement in statements)
    files = len(facts.registration.files)
    reasons = [reason(Say.SIGNED_FILES, valid=len(statements), test_keys=keys, files=files)]
    if facts.again is None:
        reasons.append(reason(Say.FILES_NOT_CHECKED))
    threshold = "every signature valid; safetensors only, no code files"
    result: Result = "pass" if facts.again else "not run"
    return _gate("Signatures and files", result, reasons, threshold, [facts.registration_statement])
