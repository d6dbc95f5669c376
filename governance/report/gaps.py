"""Tests that failed, were not run or have no result, and the policies that judge the version."""

from __future__ import annotations

from collections.abc import Iterator

from governance.gates.assessment import NO_SLICES, Judged
from governance.history.lineage import evaluated, subject
from governance.release import drills
from governance.report import assurance
from governance.report.facts import PREFIX, Facts, promoted
from governance.report.gates import gates
from governance.report.model import Gap, PolicyUsed
from governance.report.reasons import Say
from governance.report.scores import demands, judged, own_evaluation, thresholds_fixed

NOT_TESTED = (
    ("privacy leakage", "whether the model repeats its training data is not tested"),
    ("contamination of a base model", "what it was trained on is not disclosed"),
    ("canary", "no statement of that kind exists"),
)
"""Tests that do not exist for any version of this project."""
ORDER = ("failed", "not run", "no threshold", "not recorded")


def gaps(facts: Facts) -> list[Gap]:
    """Gaps: failures first, then tests that were not run, have no threshold or are not recorded."""
    listed = [
        *_failed(facts),
        *_not_run(facts),
        *(_gap("NO_TEST", what, "not run", why) for what, why in NOT_TESTED),
        *_slices(facts),
        *_reproduction(facts),
        *_drill(facts),
    ]
    return sorted(listed, key=lambda gap: ORDER.index(gap.result))


def policy(facts: Facts) -> PolicyUsed:
    """The policies that judge the version, and since when they are fixed."""
    own = own_evaluation(facts)
    period = facts.now.authority.in_force if facts.now and facts.standing else None
    proposals = facts.now.authority.proposals if facts.now and facts.standing else ()
    digest = facts.policies.digest if facts.policies else "not recorded"
    entry = facts.policy_entry(digest) if facts.policies else None
    since = facts.policies_note or f"recorded in entry {entry}"
    if period is not None and period.signed_at is not None:
        since = f"recorded in entry {entry}; signed by their owners in entry {period.signed_at}"
    return PolicyUsed(
        which=facts.policies_are if facts.policies else facts.policies_note,
        digest=digest,
        since=since,
        signed_by=list(period.signers) if period else [],
        proposals=[
            f"{proposal.digest[:PREFIX]}, recorded in entry {proposal.index}, signed by"
            f" {', '.join(proposal.signers) or 'nobody'}"
            for proposal in proposals
        ],
        thresholds_fixed=thresholds_fixed(facts),
        demands=_demands(facts),
        evidence=sorted({*([entry] if entry is not None else []), *([own.index] if own else [])}),
    )


def _demands(facts: Facts) -> list[str]:
    """Policy's thresholds for the version's scores, each with its result."""
    policy_demands = demands(facts)
    lines = [_demand(result) for result in judged(facts)]
    none = (
        f"nothing: {policy_demands.none}"
        if policy_demands and policy_demands.none
        else facts.policies_note or "nothing"
    )
    return lines or [none]


def _demand(result: Judged) -> str:
    metric = f"{result.metric} against {result.reference}" if result.reference else result.metric
    met = "met" if result.passed else "NOT met"
    return f"{metric}: {result.demand}: {met}; found {result.found}"


def _failed(facts: Facts) -> Iterator[Gap]:
    for gate in gates(facts):
        if gate.result == "fail":
            yield _gap("GATE", gate.name, "failed", gate.value, gate.evidence)
    for chain, _ in facts.datasets:
        quality = chain.quality
        for check in quality.predicate.expectations if quality else ():
            if not check.success:
                why = f"{check.unexpected} records are not {check.expected} ({check.severity})"
                yield _gap(
                    "QUALITY_CHECK",
                    f"{check.name} of {chain.dataset}",
                    "failed",
                    why,
                    [quality.index] if quality else [],
                )
    for statement in facts.of("scan", "quality"):
        refused = not (statement.predicate.passed and subject(statement, "records"))
        if refused and statement.predicate.dataset in {
            chain.dataset for chain, _ in facts.datasets
        }:
            yield _gap(
                "EARLIER_RUN",
                statement.predicate.stage,
                "failed",
                "an earlier run of this data was refused",
                [statement.index],
            )
    for statement in facts.promotions:
        if not promoted(statement).allowed:
            codes = ", ".join(
                dict.fromkeys(finding.code for finding in promoted(statement).findings)
            )
            about = f"{promoted(statement).alias} for version {promoted(statement).version}"
            yield _gap("REFUSED", about, "failed", f"refused before: {codes}", [statement.index])


def _not_run(facts: Facts) -> Iterator[Gap]:
    for gate in gates(facts):
        listed = any(reason.code == Say.LEAKAGE_NOT_TESTED.name for reason in gate.reasons)
        if gate.result in ("not run", "no threshold") and not listed:
            yield _gap("GATE", gate.name, gate.result, gate.value, gate.evidence)
    for node in facts.chain:
        for suite in facts.suites:
            evaluation = facts.evaluation(node, suite)
            if evaluation is None:
                yield _gap(
                    "EVALUATION",
                    f"{node.name} on {suite.name}",
                    "not recorded",
                    "the log has no evaluation of it",
                )
            elif evaluated(evaluation).not_run is not None:
                yield _gap(
                    "EVALUATION",
                    f"{node.name} on {suite.name}",
                    "not run",
                    str(evaluated(evaluation).not_run),
                    [evaluation.index],
                )


def _slices(facts: Facts) -> Iterator[Gap]:
    own = own_evaluation(facts)
    if own is not None and evaluated(own).scores and not evaluated(own).slices:
        yield _gap("SLICES", "slices and the worst slice", "not recorded", NO_SLICES, [own.index])


def _reproduction(facts: Facts) -> Iterator[Gap]:
    """A gap unless every training was reproduced under another key."""
    if not assurance.by_another(facts):
        refs = [index for node in facts.trained for index in assurance.entries(facts, node)]
        why = f"{'not every' if refs else 'no'} result was produced again by another runner"
        yield _gap("REPRODUCTION", "independent reproduction", "not run", why, refs)


def _drill(facts: Facts) -> Iterator[Gap]:
    """A gap unless the last rollback drill passed."""
    standing = facts.standing
    tried = (
        drills.last(standing.now, facts.registration.model, standing.alias) if standing else None
    )
    if tried is None:
        yield _gap("DRILL", "rollback drill", "not run", "no drill is recorded")
    elif not tried.predicate.passed:
        yield _gap("DRILL", "rollback drill", "failed", drills.summary(tried, None), [tried.index])


def _gap(code: str, what: str, result: str, why: str, refs: list[int] | None = None) -> Gap:
    return Gap.model_validate(
        {"code": code, "what": what, "result": result, "why": why, "evidence": refs or []}
    )
