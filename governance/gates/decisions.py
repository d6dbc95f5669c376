"""Decisions: pure functions of a request, policies, evidence and one reference time.

1. Every check runs and every finding is reported; nothing stops at the first.
2. A check that crashes denies (CHECK_CRASHED), and so does a request that cannot be read.
3. Allowed means no finding at all. Passed gates of the past are evidence that one was made, never a
   reason to allow: at release every gate of the chain is decided anew under the policy in force.
4. Nothing here reads a clock, a file, the environment or the network; the same arguments give the
   same answer.

To add a check: a function from context to findings in `governance.gates.checks`, and one line in a
table below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from governance.attest.findings import finding
from governance.attest.predicates import CANDIDATE, Finding
from governance.attest.requests import Decision, GateRequest, ReleaseDecision, ReleaseRequest
from governance.base.errors import CountersignError
from governance.gates.checks import data as of_data
from governance.gates.checks import models as of_models
from governance.gates.checks import people as of_people
from governance.gates.checks import stage as of_stage
from governance.gates.checks.context import Context, GateContext, ReleaseContext
from governance.gates.checks.waivers import waive
from governance.history.lineage import ModelNode, decided, trained

if TYPE_CHECKING:
    from governance.log.evidence import Evidence, EvidenceView
    from governance.policy.authority import Authority
    from governance.policy.policies import Policies

C = TypeVar("C", bound=Context)

MODEL_CHECKS: dict[str, Callable[[Context], Iterable[Finding]]] = {
    "model_known": of_stage.model_known,
    "model_evidence": of_models.model_evidence,
    "bases": of_models.bases,
    "base_licences": of_models.base_licences,
    "model_files": of_models.model_files,
    "thresholds_set": of_models.thresholds_set,
    "evaluation_evidence": of_models.evaluation_evidence,
    "evaluation_suite": of_models.evaluation_suite,
    "suite_pinned": of_models.suite_pinned,
    "thresholds": of_models.thresholds,
    "slices": of_models.slices,
    "comparisons": of_models.comparisons,
    "separate_evaluator": of_models.separate_evaluator,
}
"""What is asked of every model that is built upon or released."""

CHECKS: dict[str, Callable[[GateContext], Iterable[Finding]]] = {
    **MODEL_CHECKS,
    "data_evidence": of_data.data_evidence,
    "data_kind": of_data.data_kind,
    "scan_passed": of_data.scan_passed,
    "scan_policy": of_data.scan_policy,
    "pii_remaining": of_data.pii_remaining,
    "ner": of_data.ner,
    "pii_recall": of_data.pii_recall,
    "quality_passed": of_data.quality_passed,
    "quality_suite": of_data.quality_suite,
    "held_out": of_data.held_out,
    "datacard": of_data.datacard,
    "retention": of_data.retention,
    "purpose": of_data.purpose,
    "region": of_data.region,
    "classification": of_data.classification,
    "data_licence": of_data.data_licence,
    "lawful_basis": of_data.lawful_basis,
    "source": of_data.source,
    "objective": of_stage.objective,
    "rewards": of_stage.rewards,
    "approvals": of_people.approved_before,
}
"""What is asked before a stage trains."""

RELEASE_CHECKS: dict[str, Callable[[Context], Iterable[Finding]]] = {
    **MODEL_CHECKS,
    "alias": of_models.alias,
}
"""What is asked of a release, beside every gate of its chain."""


AUTOMATIC_CHECKS: dict[str, Callable[[ReleaseContext], Iterable[Finding]]] = {
    **RELEASE_CHECKS,
    "policy_signed": of_people.policy_signed,
    "requesters": of_people.requesters,
    "commits": of_people.commits,
    "incidents": of_people.incidents,
    "canary": of_people.canary,
}
"""What is asked of a governed alias before anybody says a word: the findings of a packet."""

GOVERNED_CHECKS: dict[str, dict[str, Callable[[ReleaseContext], Iterable[Finding]]]] = {
    "promote": {
        **AUTOMATIC_CHECKS,
        "alias_rule": of_people.alias_rule,
        "request": of_people.request,
        "retired": of_people.retired,
        "packet": of_people.packet,
        "approvals": of_people.approvals,
    },
    # Original approvals stand; what may have changed since is asked again: lineage, bases, files,
    # incidents.
    "rollback": {
        "model_evidence": of_models.model_evidence,
        "bases": of_models.bases,
        "base_licences": of_models.base_licences,
        "model_files": of_models.model_files,
        "alias": of_models.alias,
        "policy_signed": of_people.policy_signed,
        "incidents": of_people.incidents,
        "alias_rule": of_people.alias_rule,
        "request": of_people.request,
        "was_released": of_people.was_released,
        "retired": of_people.retired,
        "people": of_people.rollback_people,
    },
    "retire": {
        "policy_signed": of_people.policy_signed,
        "request": of_people.request,
        "people": of_people.retire_people,
    },
}
"""Action to what is asked of it."""


def decide_gate(
    request: GateRequest,
    policies: Policies,
    evidence: EvidenceView,
    at: datetime,
    *,
    authority: Authority | None = None,
    governed: bool = False,
    before: Evidence | None = None,
) -> Decision:
    """Whether a stage may train on these digests. `before`: the training, where it has happened."""
    built_on = (request.parent, *((request.scorer,) if request.scorer else ()))
    context = GateContext(
        request.model, built_on, policies, evidence, at,
        authority=authority, governed=governed, request=request, before=before,
    )  # fmt: skip
    findings, waived = waive(context, request.decided_on.values(), _run(CHECKS, context))
    return Decision(not findings, context.tier_name, request.decided_on, findings, at, waived)


def decide_release(
    request: ReleaseRequest,
    policies: Policies,
    evidence: EvidenceView,
    at: datetime,
    authority: Authority | None = None,
) -> ReleaseDecision:
    """Whether a model may be given an alias: itself, and every gate of its chain decided anew.

    A governed alias asks `authority`, whose policies in force `policies` must be.
    """
    if request.alias == CANDIDATE or authority is None:
        context = Context(
            request.model,
            (request.released,),
            policies,
            evidence,
            at,
            request.champion,
            request.alias,
        )
        return _decided(request, context, RELEASE_CHECKS, gates=True)
    governed = ReleaseContext.of(request, authority, evidence, at)
    return _decided(
        request, governed, GOVERNED_CHECKS[request.action], gates=request.action == "promote"
    )


def decide_automatic(
    request: ReleaseRequest, evidence: EvidenceView, at: datetime, authority: Authority
) -> ReleaseDecision:
    """What stands against a release before anybody says a word: the findings that its packet
    shows.
    """
    return _decided(
        request, ReleaseContext.of(request, authority, evidence, at), AUTOMATIC_CHECKS, gates=True
    )


def _decided(
    request: ReleaseRequest,
    context: C,
    checks: Mapping[str, Callable[[C], Iterable[Finding]]],
    *,
    gates: bool,
) -> ReleaseDecision:
    findings = list(_run(checks, context))
    again: dict[str, Decision] = {}
    for node, train, gate in _chain(context, findings) if gates else ():
        decided_again = _again(node.name, train, gate, context, findings)
        if decided_again is not None:
            again[node.name] = decided_again
            findings += [item for item in decided_again.findings if item not in findings]
    only = _guarded("alias", lambda: of_models.candidate_only(context), findings) or ()
    standing, waived = waive(context, [request.released.sha256], findings)
    waived = (*waived, *(item for one in again.values() for item in one.waived))
    if "packet" in checks:
        standing = (*standing, *of_people.unseen(context, waived))
    return ReleaseDecision(
        allowed=not standing,
        tier=context.tier_name,
        decided_on={"model": request.released.sha256},
        findings=standing,
        at=context.at,
        waived=waived,
        gates=again,
        candidate_only=only,
    )


def _run(checks: Mapping[str, Callable[[C], Iterable[Finding]]], context: C) -> tuple[Finding, ...]:
    """Every finding of every check, in the order of the table, each once."""
    findings: list[Finding] = []
    for name, check in checks.items():
        found = _guarded(name, lambda check=check: list(check(context)), findings)  # type: ignore[misc]
        findings += [item for item in found or [] if item not in findings]
    return tuple(findings)


T = TypeVar("T")


def _guarded(name: str, work: Callable[[], T], findings: list[Finding]) -> T | None:
    """The result of `work`; where it raises, a finding. Of a foreign error only the type is told:
    it may quote data.
    """
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - whatever a check does, it must end in a denial
        told = str(error) if isinstance(error, CountersignError) else type(error).__name__
        crashed = finding(
            "CHECK_CRASHED",
            f"check {name}",
            "could not be carried out, so it is denied",
            found=told,
        )
        if crashed not in findings:
            findings.append(crashed)
        return None


def _chain(context: Context, findings: list[Finding]) -> list[tuple[ModelNode, Evidence, Evidence]]:
    """The models trained behind a gate that a release rests on, itself included, with both
    statements.
    """
    nodes = _guarded("model_evidence", lambda: context.models[0].chain, findings) or []
    return [
        (node, node.train, node.gate)
        for node in nodes
        if node.train is not None and node.gate is not None
    ]


def _again(
    name: str, train: Evidence, gate: Evidence, context: Context, findings: list[Finding]
) -> Decision | None:
    """The gate of a trained model decided anew, from the request that stands in its logged
    decision.
    """
    try:
        request = GateRequest.model_validate(decided(gate).parameters)
    except ValidationError:
        request = None
    said = (name, trained(train).method, decided(gate).decided_on)
    if request is None or (request.stage, request.method, request.decided_on) != said:
        findings.append(
            finding(
                "EVIDENCE_INCONSISTENT",
                f"stage {name}",
                "the gate's statement does not hold the request it decided on, so it cannot be"
                " decided again",
                next=f"countersign repro --force gate@{name} train@{name}",
            )
        )
        return None
    renamed = request.model_copy(update={"model": context.model})
    return decide_gate(
        renamed, context.policies, context.evidence, context.at,
        authority=context.authority, governed=context.governed, before=train,
    )  # fmt: skip
