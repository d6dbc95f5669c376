"""Page one's table: eight questions, each pass, fail, waived or not run, with value, threshold and
evidence.
"""

from __future__ import annotations

from governance.attest.predicates import Expectation, Quality, Scan
from governance.gates import recall
from governance.gates.assessment import Judged
from governance.log.evidence import Evidence
from governance.report import scores, slices
from governance.report.facts import Facts, of_chain
from governance.report.model import Gate, Result

_RECALL = ("RECALL_NOT_MEASURED", "RECALL_TOO_LOW")

ANSWERS = {
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
"""Row to the finding codes that answer it: a decision made again overrules what was recorded."""

JUDGED = {
    name: frozenset(["THRESHOLD_NOT_MET", "SLICE_NOT_MET", "WORSE_THAN_REFERENCE"])
    for name in ("Evaluation", "Safety")
}
"""Codes by which a row fails that looks at the scores itself: a waiver passes them all the same."""

SAFETY_WORDS = ("unsafe", "safe", "toxic", "harm", "refus")
"""A metric with one of these in its name says something about safety."""


def gates(facts: Facts) -> list[Gate]:
    """The eight rows, in the order a reviewer reads them."""
    codes = {item.code for item in facts.again.findings} if facts.again else set()
    waived = {item.code for item in facts.again.waived} if facts.again else set()
    return [_overruled(row, codes, waived) for row in _rows(facts)]


def _overruled(row: Gate, codes: set[str], waived: set[str]) -> Gate:
    """A row as the decision made again has it: what stands fails it, what a waiver passes is
    waived.
    """
    answers = ANSWERS.get(row.name, frozenset())
    if codes & answers:
        return row.model_copy(
            update={"result": "fail", "value": f"{', '.join(sorted(codes & answers))}; {row.value}"}
        )
    passed = waived & (
        answers | (JUDGED.get(row.name, frozenset()) if row.result == "fail" else frozenset())
    )
    if passed and not codes & JUDGED.get(row.name, frozenset()):
        return row.model_copy(
            update={"result": "waived", "value": f"{', '.join(sorted(passed))} waived; {row.value}"}
        )
    return row


def _rows(facts: Facts) -> list[Gate]:
    return [
        _quality(facts),
        _personal_data(facts),
        _lineage(facts),
        _labelling(facts),
        _evaluation(facts),
        _safety(facts),
        _leakage(),
        _security(facts),
    ]


def is_safety(metric: str) -> bool:
    """Whether a metric says something about safety."""
    return any(word in metric for word in SAFETY_WORDS)


def _quality(facts: Facts) -> Gate:
    items = [chain.quality for chain, _ in facts.datasets]
    said = [item.predicate for item in items if item and isinstance(item.predicate, Quality)]
    checks = [check for quality in said for check in quality.expectations]
    hold = sum(check.success for check in checks)
    failed = sum(not check.success and check.severity == "critical" for check in checks)
    passed = all(quality.passed for quality in said) and len(said) == len(items) and failed == 0
    return Gate(
        name="Data quality",
        result=_result(passed, ran=bool(said)),
        value=(
            f"{hold} of {len(checks)} expectations hold for what remains; {len(said)} of"
            f" {len(items)} datasets"
        ),
        threshold="every critical expectation, offending records left out (policies/quality/)",
        evidence=_refs(items),
    )


def _personal_data(facts: Facts) -> Gate:
    items = [chain.scan for chain, _ in facts.datasets]
    said = [item.predicate for item in items if item and isinstance(item.predicate, Scan)]
    found = sum(sum(scan.found.values()) for scan in said)
    left = sum(
        n
        for scan in said
        for name, n in scan.remaining.items()
        if scan.actions.get(name) != "allow"
    )
    allowed = sum(sum(scan.remaining.values()) for scan in said) - left
    passed = (
        bool(items) and all(scan.passed for scan in said) and len(said) == len(items) and left == 0
    )
    measured = recall.summary({scan.dataset: scan.recall for scan in said})
    return Gate(
        name="Personal data",
        result=_result(passed, ran=bool(said)),
        value=f"{found:,} found; remaining: {left:,} not allowed, {allowed:,} allowed; {measured}",
        threshold=(
            f"none remains that policy does not allow; {_least_recall(facts)} (policies/pii.yaml)"
        ),
        evidence=_refs(items),
    )


def _least_recall(facts: Facts) -> str:
    demanded = facts.policies.pii.minimum_recall if facts.policies else {}
    return f"least recall set for {len(demanded)} kinds" if demanded else "no recall demanded"


def _lineage(facts: Facts) -> Gate:
    links = [node.known for node in facts.chain] + [
        chain.broken_at is None for chain, _ in facts.datasets
    ]
    links += [node.gate is not None for node in facts.trained]
    return Gate(
        name="Lineage",
        result=_result(all(links), ran=True),
        value=f"{sum(links)} of {len(links)} links from source to version stand in the log",
        threshold="all of them",
        evidence=sorted({node.train.index for node in facts.trained if node.train}),
    )


def _labelling(facts: Facts) -> Gate:
    items = [chain.quality for chain, _ in facts.datasets]
    said = [
        (item, check)
        for item in items
        if item
        for check in item.predicate.expectations
        if _agreement(check)
    ]
    if not said:
        return Gate(
            name="Labelling",
            result="not run",
            value=(
                "agreement: no dataset here was labelled by several people; datacards say who"
                " labelled"
            ),
            threshold="none set",
            evidence=[],
        )
    return Gate(
        name="Labelling",
        result=_result(all(check.success for _, check in said), ran=True),
        value=(
            f"{sum(check.success for _, check in said)} of {len(said)} expectations on agreement"
            " between raters hold"
        ),
        threshold="; ".join(dict.fromkeys(check.expected for _, check in said)),
        evidence=_refs([item for item, _ in said]),
    )


def _agreement(check: Expectation) -> bool:
    return check.column.startswith("rater_")


def _evaluation(facts: Facts) -> Gate:
    demanded = [item for item in scores.judged(facts) if not is_safety(item.metric)]
    own = scores.own_evaluation(facts)
    wanted = scores.demands(facts)
    if facts.policies is None:
        return _unknown("Evaluation", facts.policies_note, own)
    if not demanded:
        why = (
            f"policy demands nothing: {wanted.none}"
            if wanted and wanted.none
            else "policy names no threshold for it"
        )
        return _unknown("Evaluation", why, own)
    row = _judged("Evaluation", demanded, own)
    worst = slices.line(facts, demanded[0].metric, scores.confidence(facts))
    return row.model_copy(update={"value": f"{row.value}; {worst}"})


def _safety(facts: Facts) -> Gate:
    demanded = [item for item in scores.judged(facts) if is_safety(item.metric)]
    own = scores.own_evaluation(facts)
    if not demanded:
        why = facts.policies_note or "no metric that policy demands is about safety"
        return _unknown("Safety", why, own)
    return _judged("Safety", demanded, own)


def _leakage() -> Gate:
    return Gate(
        name="Privacy leakage",
        result="not run",
        value="whether the model repeats its training data is not tested",
        threshold="none set",
        evidence=[],
    )


def _security(facts: Facts) -> Gate:
    items = list({item.index: item for item in of_chain(facts)}.values())
    files = facts.registration.files
    keys = f"{sum(item.development for item in items)} by development keys"
    held = (
        ""
        if facts.again
        else "; not held against the list of files that may be: it was not decided again"
    )
    return Gate(
        name="Signatures and files",
        result="pass" if facts.again else "not run",
        value=(
            f"{len(items)} of {len(items)} signatures valid ({keys}); {len(files)} files, each by"
            f" sha256{held}"
        ),
        threshold="every signature valid; safetensors, no code (closed list of files)",
        evidence=[facts.item.index],
    )


def _judged(name: str, demanded: list[Judged], own: Evidence | None) -> Gate:
    passed = all(item.passed for item in demanded)
    failed = [item for item in demanded if not item.passed]
    shown = failed or [
        item for item in demanded if not item.slice
    ]  # the worst slice is told beside them
    return Gate(
        name=name,
        result=_result(passed, ran=True),
        value=f"{len(demanded) - len(failed)} of {len(demanded)} demands met: "
        + _first([f"{_against(item)} {item.found}" for item in shown]),
        threshold=_first([f"{item.metric} {item.demand}" for item in failed or demanded]),
        evidence=[own.index] if own else [],
    )


def _first(lines: list[str]) -> str:
    return "; ".join(lines[:3]) + (f"; and {len(lines) - 3} more, below" if len(lines) > 3 else "")


def _against(item: Judged) -> str:
    return f"{item.metric} less {item.reference}'s" if item.reference else item.metric


def _unknown(name: str, why: str, own: Evidence | None) -> Gate:
    return Gate(
        name=name,
        result="not run",
        value=why,
        threshold="none set",
        evidence=[own.index] if own else [],
    )


def _result(passed: bool, *, ran: bool) -> Result:
    if not ran:
        return "not run"
    return "pass" if passed else "fail"


def _refs(items: list[Evidence | None]) -> list[int]:
    return sorted({item.index for item in items if item})
