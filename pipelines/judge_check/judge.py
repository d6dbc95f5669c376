"""The judge of a row of `judges`: who it is by digest, whether it may be asked, and asking it.

A model of the project is asked without a network. An endpoint is asked if policy permits to send it
the texts, and only for replies that are not kept yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from governance.attest.findings import finding
from governance.attest.predicates import JudgeRef, JudgingCost
from governance.attest.requests import EndpointRef, refusal
from governance.base.errors import ConfigError, InputError, RefusedError
from pipelines.job import Job
from pipelines.model_class import class_of
from pipelines.params import JudgeCheck
from pipelines.training.modelfolder import has_weights

if TYPE_CHECKING:
    from governance.policy.constitution import Constitution
    from governance.policy.rules import Endpoint
    from pipelines.generation.replies import Replies
    from pipelines.generation.speakers import Judge

Reasons = Iterable[tuple[str, str]]
"""Why an endpoint may not read something: what is expected, and what is there."""


def constitution_of(job: Job, row: JudgeCheck, name: str) -> Constitution:
    """By what the judge of the row `name` compares. Raises `ConfigError`."""
    constitution = job.policies.constitutions.get(row.constitution)
    if constitution is None:
        where = f"params.yaml: judges.{name}.constitution"
        raise ConfigError("policy has no such constitution", where=where)
    return constitution


def permitted_endpoint(
    job: Job, row: JudgeCheck, unfit: Callable[[Endpoint], Reasons]
) -> EndpointRef | None:
    """The endpoint; None where a model of the project is asked. `unfit`: what it may not read.
    Raises `RefusedError`.
    """
    if row.endpoint is None:
        return None
    permitted = job.policies.rules.endpoints.get(row.endpoint)
    reasons = [("a line of policy", "none")] if permitted is None else [*unfit(permitted)]
    if permitted is not None and not reasons:
        return EndpointRef(name=row.endpoint, url=permitted.url, model=permitted.model)
    found = [
        finding("ENDPOINT_NOT_PERMITTED", f"endpoint {row.endpoint}", expected=expected, found=what)
        for expected, what in reasons
    ]
    raise RefusedError(refusal(job.name, found))


def cost(job: Job, row: JudgeCheck, replies: Replies) -> JudgingCost | None:
    """What the endpoint's replies took, by the price of policy; None for a model of the project."""
    permitted = job.policies.rules.endpoints.get(row.endpoint or "")
    return replies.cost(permitted.price if permitted else None)


def judge_ref(job: Job, row: JudgeCheck, endpoint: EndpointRef | None) -> JudgeRef:
    """The judge by digest. A model is the job's input `judge`."""
    return JudgeRef(
        kind="endpoint" if endpoint else "model",
        speaker=endpoint.digest if endpoint else job.inputs["judge"].sha256,
        rubric=job.policies.constitution_digest(row.constitution) or "",
        templates=job.policies.templates_digest(row.constitution) or "",
    )


def judge_name(row: JudgeCheck, endpoint: EndpointRef | None) -> str:
    """What people call it."""
    return f"{endpoint.model} at {endpoint.name}" if endpoint else row.judge


def open_judge(
    job: Job,
    row: JudgeCheck,
    constitution: Constitution,
    endpoint: EndpointRef | None,
    replies: Replies,
    bar: Any,
) -> Judge:
    """The judge, ready to be asked. Raises `InputError` for a model without weights."""
    from pipelines.generation import speakers
    from pipelines.generation.endpoint import Endpoint

    if endpoint is not None:
        asked = Endpoint(endpoint, replies, job.machine.environ, bar)
        return speakers.Elsewhere(asked, constitution.templates, row)
    if not has_weights(job.input("judge")):
        found, where = "a model without weights compares nothing", f"{job.name}: {row.judge}"
        raise InputError(found, where=where, fix="name a trained one")
    kind = class_of(job, row.judge, "judge")
    scorer = speakers.opener(row, bar)(job.input("judge"), kind)
    if kind == "scorer":
        return speakers.RewardModel(scorer)
    return speakers.Model(scorer, constitution.templates)
