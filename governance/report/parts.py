"""The evidence sections of a version, computed once for the report and the review page."""

from __future__ import annotations

from governance.report import data, gates, history, scores
from governance.report.facts import Facts
from governance.report.model import EvidenceSections


def evidence_sections(facts: Facts) -> EvidenceSections:
    """Gates, data, scores and changes of a version.

    Findings and waivers come from `facts.again`: a review passes the decision of its packet there.
    `parts.html.j2` draws each section.
    """
    since, changes = history.changes(facts)
    return EvidenceSections(
        gates=gates.gates(facts),
        change_since=since,
        changes=changes,
        unchanged=history.unchanged(facts),
        datasets=data.datasets(facts),
        confidence=scores.confidence(facts),
        thresholds_fixed=scores.thresholds_fixed(facts).text,
        metrics=scores.metrics(facts),
    )
