"""Tests that failed, were not run or have no result, and the policies that judge the version."""

from __future__ import annotations

from collections.abc import Iterator

from governance.gates.assessment import NO_SLICES
from governance.history.lineage import subject
from governance.policy.authority import Proposal
from governance.release import drills
from governance.report import assurance, canary
from governance.report.facts import PREFIX, Facts
from governance.report.gates import gates
from governance.report.model.front import Gap, GapCode, GapResult
from governance.report.model.record import PolicyUsed
from governance.report.rewards import rewards
from governance.report.scores import demands, judged, threshold

NOT_TESTED = {
    "contamination of a base model": "what it was trained on is not disclosed",
}
"""Tests that do not exist for any version of this project."""
ORDER: tuple[GapResult, ...] = ("fail", "not run", "no threshold", "not recorded")


def gaps(facts: Facts) -> list[Gap]:
    """Gaps: failures first, then tests that were not run, have no threshold or are not recorded."""
    listed = [
        *_gates(facts),
        *_data(facts),
        *_refusals(facts),
        *(_gap("NO_TEST", what, "not run", why) for what, why in NOT_TESTED.items()),
        *_canary(facts),
        *_evaluations(facts),
        *_counter_metrics(facts),
        *_repeats(facts),
    ]
    return sorted(listed, key=lambda gap: ORDER.index(gap.result))


def _gap(code: GapCode, what: str, result: GapResult, why: str, *refs: int) -> Gap:
    return Gap(code=code, what=what, result=result, why=why, evidence=list(refs))


def _gates(facts: Facts) -> Iterator[Gap]:
    for gate in gates(facts):
        if gate.result != "pass" and gate.result != "waived":
            yield _gap("GATE", gate.name, gate.result, gate.value, *gate.evidence)


def _data(facts: Facts) -> Iterator[Gap]:
    """Quality checks that are not met, and earlier runs on the data that were refused."""
    for quality in facts.qualities:
        for check in quality.predicate.expectations:
            if not check.success:
                what = f"{check.name} of {quality.predicate.dataset}"
                why = f"{check.unexpected} records are not {check.expected} ({check.severity})"
                yield _gap("QUALITY_CHECK", what, "fail", why, quality.index)
    datasets = {chain.dataset for chain in facts.chains}
    for run in facts.of("scan", "quality"):
        refused = not (run.predicate.passed and subject(run, "records"))
        if refused and run.predicate.dataset in datasets:
            why = "an earlier run of this data was refused"
            yield _gap("EARLIER_RUN", run.predicate.stage, "fail", why, run.index)


def _refusals(facts: Facts) -> Iterator[Gap]:
    for statement in facts.promotions:
        move = statement.predicate
        if not move.allowed:
            codes = ", ".join(dict.fromkeys(finding.code for finding in move.findings))
            what, why = f"{move.alias} for version {move.version}", f"refused before: {codes}"
            yield _gap("REFUSED", what, "fail", why, statement.index)


def _evaluations(facts: Facts) -> Iterator[Gap]:
    beside = {(suite.name, suite.digest) for suite in facts.further_suites}
    for node in facts.chain:
        for suite in facts.suites:
            evaluation, what = facts.evaluation(node, suite), f"{node.name} on {suite.name}"
            is_beside = (suite.name, suite.digest) in beside
            if evaluation is None and is_beside and node is not facts.released:
                continue  # policy says of which models such a suite is required
            if evaluation is None:
                why = "the log has no evaluation of it"
                yield _gap("EVALUATION", what, "not recorded", why)
            elif evaluation.predicate.not_run:
                why = evaluation.predicate.not_run
                yield _gap("EVALUATION", what, "not run", why, evaluation.index)
    own = facts.own_evaluation
    if own is not None and own.predicate.scores and not own.predicate.slices:
        yield _gap("SLICES", "slices and the worst slice", "not recorded", NO_SLICES, own.index)


def _counter_metrics(facts: Facts) -> Iterator[Gap]:
    """Metrics that would fall if a reward were gamed, and that nobody measured."""
    for reward in rewards(facts):
        for metric in reward.counter_metrics:
            if not metric.measured_on:
                what = f"{metric.name}, which falls if {reward.name} of {reward.stage} is gamed"
                why = "no suite of the chain measures it"
                yield _gap("COUNTER_METRIC", what, "not run", why, *reward.evidence)


def _repeats(facts: Facts) -> Iterator[Gap]:
    """A training that nobody reproduced under another key, and a drill that did not pass."""
    others = [assurance.by_other_keys(facts, node) for node in facts.trained]
    if not others or not all(any(map(assurance.came_again, found)) for found in others):
        refs = [index for node in facts.trained for index in assurance.entries(facts, node)]
        why = f"{'not every' if refs else 'no'} result was produced again by another runner"
        yield _gap("REPRODUCTION", "independent reproduction", "not run", why, *refs)
    drill = facts.drill
    if drill is None:
        yield _gap("DRILL", "rollback drill", "not run", "no drill is recorded")
    elif not drill.predicate.passed:
        yield _gap("DRILL", "rollback drill", "fail", drills.summary(drill, None), drill.index)


def _canary(facts: Facts) -> Iterator[Gap]:
    """A canary rollout to the version that did not pass, or that nobody has asked for."""
    rollout = facts.rollout
    if rollout is None:
        yield _gap("CANARY", "canary", "not run", canary.NO_ROLLOUT)
    elif rollout.passed is None:
        result: GapResult = "fail" if canary.is_failed(rollout, facts.time) else "not run"
        why = canary.summary(rollout, facts.time)
        yield _gap("CANARY", "canary", result, why, *canary.entries(rollout))


def policy(facts: Facts) -> PolicyUsed:
    """The policies that judge the version, and since when they are fixed."""
    demanded, own = demands(facts), facts.own_evaluations
    authority = facts.now.authority if facts.standing else None
    digest, entries = "not recorded", [evaluation.index for evaluation in own]
    since = facts.policies_note
    if facts.policies is not None:
        digest = facts.policies.digest
        entries.append(facts.policy_entry(digest))
        since = f"recorded in entry {entries[-1]}"
    if authority and authority.in_force.signed_at is not None:
        since += f"; signed by their owners in entry {authority.in_force.signed_at}"
    why = demanded.none if demanded and demanded.none else facts.policies_note
    return PolicyUsed(
        which=facts.policies_are,
        digest=digest,
        since=since,
        signed_by=list(authority.in_force.signers) if authority else [],
        proposals=[_proposal(proposal) for proposal in authority.proposals] if authority else [],
        demands=[f"{result.name}: {threshold(result)}" for result in judged(facts)]
        or [f"nothing: {why}" if why else "nothing"],
        evidence=sorted(set(entries)),
    )


def _proposal(proposal: Proposal) -> str:
    signers = ", ".join(proposal.signers) or "nobody"
    return f"{proposal.digest[:PREFIX]}, recorded in entry {proposal.index}, signed by {signers}"
