"""The check of what a version did in service: the limits of policy that block its promotion."""

from __future__ import annotations

from governance.gates.checks.context import Findings, ReleaseContext
from governance.history import monitoring


def limits_kept(context: ReleaseContext) -> Findings:
    """The version kept every limit that policy says blocks, as far as it was observed."""
    rules = context.policies.rules.monitoring
    if rules is None:
        return
    found = monitoring.windows(context.view, context.request.released.sha256)
    for each in monitoring.findings(
        found, rules, context.model, context.request.version, blocking=True
    ):
        yield context.finding(
            each.code,
            expected=each.expected,
            found=each.found,
            figures=each.figures,
            measure=each.measure,
        )
