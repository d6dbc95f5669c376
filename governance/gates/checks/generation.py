"""Checks before a dataset is generated, beside those of its prompts and models: the constitution,
the endpoints, the judge's card, what people approved. And of a generated dataset: that its
datacard says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from governance.attest.requests import (
    DataRef,
    EndpointRef,
    GenerationRequest,
    ModelRef,
    asked_of_gate,
    asked_of_generation,
    judge_digest,
    judge_of,
)
from governance.base.time import instant_of
from governance.gates import judging
from governance.gates.checks.context import DataContext, Findings, GenerationContext
from governance.gates.checks.people import approved, not_approved
from governance.history.lineage import data_chain, model_chain
from governance.log.rules import CHECKS_JUDGES
from governance.policy.declarations import UNKNOWN
from governance.policy.rules import Datacard, Endpoint

if TYPE_CHECKING:
    from governance.log.views import EvidenceView
    from governance.policy.policies import Policies

Role = Literal["generator", "judge"]


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
    """Policy permits each endpoint, and to send to its region what is sent: the prompts, and what a
    model of the project wrote, which may repeat any data that the model was made from. Where no
    model is asked, the request names an endpoint.
    """
    request = context.request
    refs: dict[Role, ModelRef | EndpointRef | None]
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
        if permitted is None:
            reasons = [("a line of policy", "none")]
        else:
            asked = ref if isinstance(ref, EndpointRef) else None
            reasons = [*_other(permitted, asked), *_unfit(context, permitted, role)]
        for expected, found in reasons:
            yield context.finding(
                "ENDPOINT_NOT_PERMITTED",
                f"endpoint {name}",
                expected=expected,
                found=found,
                figures=[found],
            )


def _other(permitted: Endpoint, asked: EndpointRef | None) -> Iterator[tuple[str, str]]:
    """What policy permits, and what is asked instead."""
    expected = f"{permitted.model} at {permitted.url}"
    found = f"{asked.model} at {asked.url}" if asked else "none"
    if found != expected:
        yield expected, found


class _Declared(NamedTuple):
    """What a datacard, or the declaration of a model that was trained elsewhere, says of data."""

    data: str
    classification: str | None
    regions: Sequence[str]
    """Empty where nothing is said."""

    @classmethod
    def of(cls, dataset: str, card: Datacard | None) -> _Declared:
        """What its datacard says."""
        if card is None or card.classification is None or not card.regions:
            return cls.unknown(dataset)
        return cls(dataset, card.classification, card.regions)

    @classmethod
    def unknown(cls, data: str) -> _Declared:
        """Data of which not enough is said: no endpoint is permitted for it."""
        return cls(data, UNKNOWN, [])


def _unfit(
    context: GenerationContext, permitted: Endpoint, role: Role
) -> Iterator[tuple[str, str]]:
    """What may be sent to the endpoint, and what would be. Another check reports prompts without a
    datacard, or with blanks.
    """
    if (card := context.card) is not None:
        yield from _problems(permitted, _Declared("prompts", card.classification, card.regions))
    for model in _read_by(context.request, role):
        for declared in _learned(context.view, context.policies, model.sha256, model.name):
            about = f"{model.name} learned from {declared.data}"
            yield from _problems(permitted, declared._replace(data=about))


def unfit_for(permitted: Endpoint, card: Datacard | None, dataset: str) -> list[tuple[str, str]]:
    """Why a dataset may not be sent to an endpoint: what is expected, and what is there."""
    return list(_problems(permitted, _Declared.of(dataset, card)))


def unfit_for_answers(
    permitted: Endpoint, view: EvidenceView, policies: Policies, models: Mapping[str, str]
) -> list[tuple[str, str]]:
    """The same of what models of the project wrote, which may repeat any data that they were made
    from. `models`: name to digest.
    """
    return [
        problem
        for name, sha256 in models.items()
        for declared in _learned(view, policies, sha256, name)
        for problem in _problems(
            permitted, declared._replace(data=f"{name} learned from {declared.data}")
        )
    ]


def _problems(permitted: Endpoint, declared: _Declared) -> Iterator[tuple[str, str]]:
    classification, regions = declared.classification, declared.regions
    if classification is not None and classification not in permitted.classifications:
        expected = f"texts that are {' or '.join(permitted.classifications)}"
        yield expected, f"{classification} ({declared.data})"
    if regions and not {permitted.region, "anywhere"} & set(regions):
        yield f"an endpoint in {' or '.join(regions)} ({declared.data})", permitted.region


def _read_by(request: GenerationRequest, role: Role) -> list[ModelRef]:
    """The models of the project whose texts an endpoint in this role reads."""
    if role == "judge":
        writer = request.generator
    else:
        writer = request.judge if request.kind == "revisions" else None
    return [writer] if isinstance(writer, ModelRef) else []


def _learned(
    view: EvidenceView, policies: Policies, sha256: str, model: str
) -> Iterator[_Declared]:
    """What is declared of all data that a model, and those before it, were made from. Of a base:
    what is declared, if anything is.
    """
    names: dict[str, None] = {}
    for node in model_chain(view, sha256, model):
        if node.train is None:
            yield from _outside(policies, node.sha256)
        if node.gate is not None:
            names |= dict.fromkeys(_names(view, asked_of_gate(node.gate.predicate).data))
    for name in names:
        yield _Declared.of(name, policies.datacards.get(name))


def _outside(policies: Policies, sha256: str) -> Iterator[_Declared]:
    """What is declared of the data of a model that was trained elsewhere."""
    if (found := policies.declaration_of(sha256)) is None:
        return
    name, declaration = found
    if declaration.datasets == UNKNOWN:
        yield _Declared.unknown(f"the data of {name}")
    for each in declaration.declared_datasets:
        regions = [each.regions] if isinstance(each.regions, str) else each.regions
        yield _Declared(each.name, each.classification, regions)


def _names(view: EvidenceView, data: DataRef) -> Iterator[str]:
    """A dataset, and the prompts that it was generated from."""
    yield data.dataset
    made = data_chain(view, data.dataset, data.sha256).generation
    if made is not None:
        yield asked_of_generation(made.predicate).data.dataset


def judge_checked(context: GenerationContext) -> Findings:
    """The judge has a card that passes policy's limits on the day of the generation. A card that is
    made later counts, too. Data of before version 3 of the rules needs one where policy has limits.
    """
    made, view = context.before, context.view
    rules = view.rules if made is None else view.rules_at(made.index)
    judge = judge_of(context.request)
    if judge is None or (rules < CHECKS_JUDGES and context.policies.evaluation.judges is None):
        return  # without a digest, other checks say so
    at = context.at if made is None else instant_of(made.predicate.at)
    name = context.request.judge.name if context.request.judge else ""
    row = context.request.checked or "ROW"
    for reason in judging.standing(view, judge_digest(judge), context.policies, at).reasons:
        yield context.finding(
            reason.code,
            f"judge {name}",
            reason.message,
            expected=reason.expected,
            found=reason.found,
            figures=[reason.found],
            measure=reason.measure,
            row=row,
        )


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
