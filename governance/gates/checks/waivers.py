"""Waivers: which findings they pass, and why one does not count."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from governance.attest.findings import NEVER_WAIVED, finding
from governance.attest.predicates import Finding, Waiver
from governance.base.time import instant_of
from governance.gates.checks.context import Context, ReleaseContext
from governance.gates.checks.incidents import INCIDENT, still_open

if TYPE_CHECKING:
    from governance.log.evidence import Evidence
    from governance.policy.authority import Authority


def waive(
    context: Context, digests: Iterable[str], findings: Iterable[Finding]
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Findings that stand, and those that a waiver of one of `digests` passes. One that does not
    count is told.
    """
    if context.authority is None:
        return tuple(findings), ()
    waivers = [
        item
        for digest in sorted(set(digests))
        for item in context.evidence.by_subject(digest, "waiver")
    ]
    standing: list[Finding] = []
    waived: list[Finding] = []
    for item in findings:
        states = [
            waiver_problem(context, context.authority, one)
            for one in waivers
            if _meant(one, item, context.model)
        ]
        if "" in states:
            waived.append(item)
            continue
        standing.append(item)
        standing += [_not_in_force(item, states[-1])] if states else []
    return tuple(standing), tuple(waived)


def waiver_problem(context: Context, rights: Authority, item: Evidence) -> str:
    """Why a waiver does not count; empty where it does."""
    rules, said = context.policies.rules.waivers, item.predicate
    days = (
        rules.max_days
        if context.tier is None or context.tier.waiver_days is None
        else context.tier.waiver_days
    )
    begun, ends = instant_of(said.at), instant_of(said.expires)
    problems = {
        "its signer may not accept it": (
            rights.speaker(item) is None or said.role not in rules.accepted_by
        ),
        f"the time of {said.principal}, who accepted it, has ended": not rights.acts(
            item, context.at
        ),
        f"{said.finding} is never waived": (
            said.finding in NEVER_WAIVED or said.finding in rules.never
        ),
        f"it lasts longer than {days} days": ends - begun > timedelta(days=days),
        f"it expired at {said.expires}": context.at >= ends,
        f"it begins at {said.at}": context.at < begun,
        "an incident was opened since it was accepted": (
            said.finding == INCIDENT and _is_overtaken(context, rights, item)
        ),
    }
    return next((why for why, holds in problems.items() if holds), "")


def _is_overtaken(context: Context, rights: Authority, item: Evidence) -> bool:
    """Whether an incident is open that nobody knew of who accepted those before it."""
    about = (
        one
        for subject in item.subjects
        for one in context.evidence.by_subject(subject.sha256, "incident")
    )
    asks = context.asks if isinstance(context, ReleaseContext) else ""
    return any(one.index > item.index for one in still_open(rights, about, asks))


def _meant(waiver: Evidence, item: Finding, model: str) -> bool:
    said: Waiver = waiver.predicate
    return (said.finding, said.about, said.model) == (item.code, item.subject, model)


def _not_in_force(item: Finding, why: str) -> Finding:
    return finding(
        "WAIVER_NOT_IN_FORCE",
        item.subject,
        f"a waiver of {item.code} does not count: {why}",
        next=f"mend it, or: countersign waive --finding {item.code}",
    )
