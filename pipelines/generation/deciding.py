"""Decides whether a dataset may be generated: the request about the bytes at hand, and the gate's
answer. It does not change what is generated, so it is not part of the family's code
(`pipelines.familycode`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from governance.attest.requests import (
    DataRef,
    Decision,
    EndpointRef,
    GenerationRequest,
    ModelRef,
    judge_digest,
    judge_of,
)
from governance.gates import judging
from governance.gates.decisions import decide_generation
from pipelines.job import Job
from pipelines.params import Params
from pipelines.stages import gate

if TYPE_CHECKING:
    from governance.policy.policies import Policies

Role = Literal["generator", "judge"]
ROLES: tuple[Role, ...] = ("generator", "judge")


def decide(job: Job) -> tuple[GenerationRequest, Decision]:
    """The decision now, on the digests of the job's inputs. It is neither written nor recorded."""
    digests = {role: artifact.sha256 for role, artifact in job.inputs.items()}

    def model(role: Role, name: str) -> ModelRef:
        return gate.model_ref(job.params, job.root, name, digests[role])

    request = _request(job.params, job.policies, job.key, digests["prompts"], model)
    decision = decide_generation(
        request, job.policies, job.evidence, job.now(), authority=job.authority
    )
    return request, decision


def card_of(job: Job, request: GenerationRequest) -> str | None:
    """The statement that is the judge's card; None where a waiver stands in for it."""
    judge = judge_of(request)
    if judge is None:
        return None
    view = job.evidence.signed_under(job.policies)
    card = judging.standing(view, judge_digest(judge), job.policies, job.now()).card
    return card.digest if card else None


def declared_request(params: Params, policies: Policies, key: str) -> GenerationRequest:
    """The request before its inputs exist: digests of files are zeros."""

    def model(role: Role, name: str) -> ModelRef:
        return ModelRef(
            name=name, outside=name in params.bases, sha256=gate.UNKNOWN, files=[],
            suite=params.suite_of(name), suite_digest=gate.UNKNOWN,
        )  # fmt: skip

    return _request(params, policies, key, gate.UNKNOWN, model)


def _request(
    params: Params, policies: Policies, key: str, prompts: str, model: Any
) -> GenerationRequest:
    row = params.generate[key]
    released, *also = params.released_with(key)
    asked: dict[Role, ModelRef | EndpointRef | None] = {
        role: _endpoint(policies, row.endpoints[role])
        if role in row.endpoints
        else model(role, getattr(row, role))
        for role in ROLES
    }
    return GenerationRequest(
        model=released,
        also=also,
        stage=key,
        kind=row.kind,
        data=DataRef(dataset=row.prompts, sha256=prompts, generated=params.generated(row.prompts)),
        constitution=row.constitution,
        constitution_digest=policies.constitution_digest(row.constitution),
        templates=policies.templates_digest(row.constitution),
        generator=asked["generator"],
        judge=asked["judge"],
        endpoints=row.endpoints,
        checked=row.checked,
    )


def _endpoint(policies: Policies, name: str) -> EndpointRef | None:
    permitted = policies.rules.endpoints.get(name)
    return EndpointRef(name=name, url=permitted.url, model=permitted.model) if permitted else None
