"""Checks before a dataset is generated, beside those of its prompts and models: the constitution,
the endpoints, what people approved. And of a generated dataset: that its datacard says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from governance.attest.requests import EndpointRef, ModelRef, asked_of_generation
from governance.gates.checks.context import DataContext, Findings, GenerationContext
from governance.gates.checks.people import approved, not_approved
from governance.policy.rules import Endpoint


def constitution(context: GenerationContext) -> Findings:
    """Policy has the constitution, as it is in the request."""
    request = context.request
    name, asked = request.constitution, request.constitution_digest
    in_force = context.policies.constitution_digest(name)
    if in_force is None:
        path = f"policies/constitutions/{name}.yaml"
        yield context.finding(
            "CONSTITUTION_MISSING", f"constitution {name}", expected=path, found="none"
        )
    elif asked != in_force:
        found = asked or "none"
        yield context.finding(
            "CONSTITUTION_CHANGED",
            f"constitution {name}",
            expected=in_force[:12],
            found=found[:12],
            figures=[found],
            stage=request.stage,
        )


def endpoints(context: GenerationContext) -> Findings:
    """Policy permits each endpoint, and to send prompts of this classification to its region. Where
    no model is asked, the request names an endpoint.
    """
    request = context.request
    refs: dict[Literal["generator", "judge"], ModelRef | EndpointRef | None]
    refs = {"generator": request.generator, "judge": request.judge}
    for role, ref in refs.items():
        name = ref.name if isinstance(ref, EndpointRef) else request.endpoints.get(role)
        if name is None and ref is not None:
            continue
        if name is None:
            expected = "a model, or an endpoint that policy permits"
            subject = f"{role} of {request.stage}"
            yield context.finding(
                "ENDPOINT_NOT_PERMITTED", subject, expected=expected, found="none"
            )
            continue
        permitted = context.policies.rules.endpoints.get(name)
        asked = ref if isinstance(ref, EndpointRef) else None
        reasons = _unfit(context, permitted, asked) if permitted else [("a line of policy", "none")]
        for expected, found in reasons:
            yield context.finding(
                "ENDPOINT_NOT_PERMITTED",
                f"endpoint {name}",
                expected=expected,
                found=found,
                figures=[found],
            )


def _unfit(
    context: GenerationContext, permitted: Endpoint, asked: EndpointRef | None
) -> Iterator[tuple[str, str]]:
    """What policy permits otherwise, and what is asked for. Another check reports a datacard with
    blanks.
    """
    expected = f"{permitted.model} at {permitted.url}"
    found = f"{asked.model} at {asked.url}" if asked else "none"
    if found != expected:
        yield expected, found
    card = context.card
    if card is None:
        return
    if card.classification is not None and card.classification not in permitted.classifications:
        yield f"prompts that are {' or '.join(permitted.classifications)}", card.classification
    if card.regions and not {permitted.region, "anywhere"} & set(card.regions):
        yield f"an endpoint in {' or '.join(card.regions)}", permitted.region


def approved_before(context: GenerationContext) -> Findings:
    """Where the tier wants data approved before training, prompts and constitution are approved
    earlier in the log than data is generated from them.
    """
    if context.tier is None or "data" not in context.tier.approved_before_training:
        return
    request = context.request
    subjects = {
        f"dataset {request.data.dataset}": request.data.sha256,
        f"constitution {request.constitution}": request.constitution_digest,
    }
    for subject, digest in subjects.items():
        if digest is None or not approved(context, digest, "data"):
            yield not_approved(context, subject, digest, f"generate@{request.stage}")


def declared(context: DataContext) -> Findings:
    """A dataset that a `generate` stage writes has its statement, and its datacard names the model
    that wrote the answers.
    """
    generation, card, row = context.chain.generation, context.card, context.request.data.generated
    if generation is None and row is not None and context.chain.ingest is not None:
        steps = ("ingest", "scan_pii", "check_quality")
        yield context.data_finding(
            "EVIDENCE_MISSING",
            "no generation evidence about its source in the log at hand, before its ingest",
            expected=f"an allowed statement of generate@{row}",
            found="none",
            stages=" ".join([f"generate@{row}", *(f"{s}@{context.chain.dataset}" for s in steps)]),
        )
    if generation is None or card is None:
        return
    generator = asked_of_generation(generation.predicate).generator
    name = generator.name if generator else "unknown"
    if card.generated_by != name:
        yield context.data_finding(
            "GENERATED_NOT_DECLARED",
            expected=f"generated_by: {name}",
            found=card.generated_by or "nothing",
            figures=[card.generated_by],
            generator=name,
        )
