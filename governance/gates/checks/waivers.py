"""Which findings waivers pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from governance.attest.findings import finding
from governance.attest.predicates import Finding, Incident, Waiver
from governance.gates.checks.context import Context, ReleaseContext
from governance.history.incidents import INCIDENT, still_open
from governance.history.waivers import NotInForce, problem_of

if TYPE_CHECKING:
    from governance.log.evidence import Evidence
    from governance.policy.authority import Authority


def waive(
    context: Context, digests: Iterable[str], findings: Iterable[Finding]
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Findings that stand, and those that a waiver of one of `digests` passes. A waiver
    that does not count is a finding, too.
    """
    if context.authority is None:
        return tuple(findings), ()
    waivers = [
        item
        for digest in sorted(set(digests))
        for item in context.evidence.by_subject(digest, Waiver)
    ]
    standing: list[Finding] = []
    waived: list[Finding] = []
    for item in findings:
        states = [
            waiver_problem(context, context.authority, one)
            for one in waivers
            if _is_of(one, item, context.model)
        ]
        if None in states:
            waived.append(item)
            continue
        standing.append(item)
        standing += [_not_in_force(item, problem) for problem in states[-1:] if problem]
    return tuple(standing), tuple(waived)


def waiver_problem(
    context: Context, rights: Authority, item: Evidence[Waiver]
) -> NotInForce | None:
    """Why a waiver does not count for this decision; None where it does."""
    rules, tier = context.policies.rules.waivers, context.tier
    own_days = tier.waiver_days if tier is not None else None
    about_incident = item.predicate.finding == INCIDENT
    return problem_of(
        item,
        rights,
        rules,
        days=rules.max_days if own_days is None else own_days,
        at=context.at,
        overtaken=about_incident and _is_overtaken(context, rights, item),
    )


def _is_overtaken(context: Context, rights: Authority, item: Evidence[Waiver]) -> bool:
    """Whether an incident is open that nobody knew of who accepted those before it."""
    about = (
        one
        for subject in item.subjects
        for one in context.evidence.by_subject(subject.sha256, Incident)
    )
    asks = context.asks if isinstance(context, ReleaseContext) else ""
    return any(one.index > item.index for one in still_open(rights, about, asks))


def _is_of(waiver: Evidence[Waiver], item: Finding, model: str) -> bool:
    said = waiver.predicate
    return (said.finding, said.about, said.model) == (item.code, item.subject, model)


def _not_in_force(item: Finding, problem: NotInForce) -> Finding:
    return finding(
        "WAIVER_NOT_IN_FORCE",
        item.subject,
        f"a waiver of {item.code} does not count: {problem.text}",
        next=f"mend it, or: countersign waive --finding {item.code}",
    )
