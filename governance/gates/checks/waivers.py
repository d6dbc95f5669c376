"""Which findings are waived."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from governance.attest.findings import finding
from governance.attest.predicates import Finding, Incident, Waiver
from governance.gates.checks.context import Context, ReleaseContext
from governance.history.incidents import INCIDENT, still_open
from governance.history.waivers import NotInForce, is_of, other_figures, problem_of

if TYPE_CHECKING:
    from governance.log.evidence import Evidence
    from governance.policy.authority import Authority


def waive(
    context: Context, digests: Iterable[str], findings: Iterable[Finding]
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """The findings that stand, and those that a waiver of one of `digests` excuses. A waiver that
    does not count is a finding, too.
    """
    if context.authority is None:
        return tuple(findings), ()
    waivers = [
        waiver
        for digest in sorted(set(digests))
        for waiver in context.evidence.by_subject(digest, Waiver)
    ]
    standing: list[Finding] = []
    waived: list[Finding] = []
    for raised in findings:
        states = [
            waiver_problem(context, context.authority, waiver)
            or other_figures(waiver, raised, context.authority)
            for waiver in waivers
            if is_of(waiver, raised, context.model)
        ]
        if None in states:
            waived.append(raised)
            continue
        standing.append(raised)
        problem = states[-1] if states else None
        if problem is not None:
            message = f"a waiver of {raised.code} does not count: {problem.text}"
            subject, code = raised.subject, raised.code
            standing.append(finding("WAIVER_NOT_IN_FORCE", subject, message, finding=code))
    return tuple(standing), tuple(waived)


def waiver_problem(
    context: Context, rights: Authority, waiver: Evidence[Waiver]
) -> NotInForce | None:
    """Why a waiver does not count for this decision, whatever was found; None where it does."""
    rules, tier = context.policies.rules.waivers, context.tier
    own_days = tier.waiver_days if tier is not None else None
    about_incident = waiver.predicate.finding == INCIDENT
    return problem_of(
        waiver,
        rights,
        rules,
        days=rules.max_days if own_days is None else own_days,
        at=context.at,
        overtaken=about_incident and _is_overtaken(context, rights, waiver),
    )


def _is_overtaken(context: Context, rights: Authority, waiver: Evidence[Waiver]) -> bool:
    """Whether an incident was opened after this waiver of incidents was accepted."""
    incidents = (
        incident
        for subject in waiver.subjects
        for incident in context.evidence.by_subject(subject.sha256, Incident)
    )
    asks = context.asks if isinstance(context, ReleaseContext) else ""
    return any(incident.index > waiver.index for incident in still_open(rights, incidents, asks))
