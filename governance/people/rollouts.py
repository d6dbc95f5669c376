"""Canary rollouts by people: a request, and the steps of one.

A statement that would not count is not signed: the rules that judge it are asked first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from governance.attest.predicates import Artifact, RolloutRequest, RolloutStep
from governance.base.errors import ConfigError, InputError, RefusedError
from governance.base.model import Model
from governance.base.time import exact_instant
from governance.history.rollouts import ENDED, Rollout
from governance.history.state import LogState
from governance.log import evidence
from governance.log.port import Log
from governance.people.speaking import Signing, Speaker, check_text
from governance.policy.rollouts import RolloutRules
from governance.rollout import automation

Action = Literal["widen", "narrow", "abort"]


@dataclass(frozen=True)
class Wanted:
    """What somebody asks for; None and empty where policy decides."""

    model: str
    version: str
    alias: str | None = None
    mode: Literal["live", "shadow"] = "live"
    weights: Sequence[int] = (100, 500, 2_500, 5_000)
    hours: int | None = None
    alpha: float | None = None
    minimum_sample: int | None = None
    widened_by: Sequence[str] = ()
    margins: Mapping[str, float] = field(default_factory=dict)
    """Metric of policy to a smaller margin."""
    further: Sequence[Mapping[str, Any]] = ()
    """Guardrails that policy does not name."""
    expected: Mapping[str, float] = field(default_factory=dict)


def rules_of(now: LogState) -> RolloutRules:
    """What policy in force says of rollouts. Raises `RefusedError` where it says nothing."""
    rules = now.authority.policies.rules.rollouts
    if rules is None:
        found = "policy in force permits no rollouts"
        fix = "policies/policy.yaml: rollouts, and have it signed: countersign policy propose"
        raise RefusedError(found, fix=fix)
    return rules


def asking(now: LogState, signing: Signing) -> Speaker:
    """Who asks, in which role."""
    return signing.speaker(now.authority, rules_of(now).requested_by)


def request(now: LogState, wanted: Wanted, author: Speaker, reason: str) -> RolloutRequest:
    """The request, from what is wanted, the log and policy. Raises `ConfigError`, `InputError`,
    `RefusedError`.
    """
    rules = rules_of(now)
    alias = wanted.alias or now.authority.policies.main_alias
    registered = now.registration(wanted.model, wanted.version).predicate
    holder = now.holder(wanted.model, alias)
    if holder is None:
        found = f"no version of {wanted.model} is {alias}, so there is nothing to compare with"
        fix = "the first version needs a waiver where its tier demands a canary: countersign waive"
        raise RefusedError(found, fix=fix)
    hours = timedelta(hours=rules.max_hours if wanted.hours is None else wanted.hours)
    fields = {
        **author.signed(reason),
        "model": wanted.model,
        "alias": alias,
        "from_version": holder.version,
        "from_digest": holder.model_digest,
        "to_version": wanted.version,
        "to_digest": registered.model_digest,
        "mode": wanted.mode,
        "weights": list(wanted.weights),
        "guardrails": _guardrails(rules, wanted),
        "minimum_sample": wanted.minimum_sample or rules.minimum_sample,
        "expires": exact_instant(author.at + hours),
        "widened_by": list(wanted.widened_by or rules.widened_by),
        "alpha": rules.max_alpha if wanted.alpha is None else wanted.alpha,
    }
    try:
        return RolloutRequest.model_validate(fields)
    except ValueError as error:
        raise ConfigError(_first_reason(error), where="the request") from None


def _guardrails(rules: RolloutRules, wanted: Wanted) -> list[dict[str, Any]]:
    unknown = sorted(wanted.margins.keys() - rules.guardrails.keys())
    if unknown:
        expected = f"NAME=MARGIN of {', '.join(rules.guardrails)}, or NAME:higher:LOW:HIGH:MARGIN"
        raise ConfigError(f"policy has no guardrail {unknown[0][:60]!r}", expected=expected)
    named = [
        {"metric": metric, **rule.model_dump(), "margin": wanted.margins.get(metric, rule.margin)}
        for metric, rule in rules.guardrails.items()
    ]
    all_ = [*named, *wanted.further]
    return [{**each, "expected": wanted.expected.get(each["metric"])} for each in all_]


def _first_reason(error: ValueError) -> str:
    lines = str(error).splitlines()
    reasons = [line.strip() for line in lines if line.startswith("  ")] or lines
    return reasons[0].partition(" [type=")[0][:300]


def rollout_of(now: LogState, model: str, version: str) -> Rollout:
    """The last rollout to a version. Raises `InputError` where there is none."""
    found = [
        rollout
        for rollout in now.timeline.rollouts.values()
        if (rollout.asked.model, rollout.asked.to_version) == (model, version)
    ]
    if not found:
        fix = f"countersign rollout request {model}/{version} --reason ..."
        raise InputError(f"nobody has asked for a rollout of {model}/{version}", fix=fix)
    return found[-1]


def stepper(now: LogState, rollout: Rollout, action: Action, signing: Signing) -> Speaker:
    """Who makes a step, in which role."""
    rules = rules_of(now)
    if action != "widen":
        return signing.speaker(now.authority, rules.stopping_roles, first=True)
    roles = [role for role in rules.widened_by if role in rollout.asked.widened_by]
    return signing.speaker(now.authority, roles)


def step(rollout: Rollout, action: Action, author: Speaker, reason: str) -> RolloutStep:
    """The next step. The first widening starts the rollout. Raises `RefusedError` where there is no
    such step.
    """
    weight = {"abort": 0, "narrow": rollout.narrower_weight, "widen": rollout.next_weight}[action]
    if rollout.state(author.at) in ENDED:
        found = f"the rollout is over: {rollout.state(author.at)}"
        raise RefusedError(found, fix=f"countersign rollout status {rollout.asked.model}")
    if weight is None:
        found = "the rollout has its largest share"
        raise RefusedError(found, fix="automation finds out whether it passes: rollout observe")
    if action == "narrow" and not weight:
        fix = f"countersign rollout abort {rollout.asked.model}/{rollout.asked.to_version}"
        raise RefusedError("the rollout has no smaller share", fix=fix)
    is_first = action == "widen" and not rollout.steps
    return RolloutStep(
        **author.signed(reason),
        rollout=rollout.request.digest,
        model=rollout.asked.model,
        to_version=rollout.asked.to_version,
        number=rollout.next_number,
        action="start" if is_first else action,
        weight=weight,
    )


def check(
    now: LogState, author: Speaker, kind: str, about: list[Artifact], predicate: Model, at: datetime
) -> None:
    """Raises `RefusedError` where the statement would not count, `ConfigError` for a long text."""
    for name, value in predicate:
        check_text(value, f"--{name}")
    automation.check(now, automation.unsigned(now, author.signer, kind, about, predicate), at)


def record(log: Log, author: Speaker, kind: str, about: list[Artifact], predicate: Model) -> int:
    """Signs and records it; its entry."""
    return evidence.record(log, author.signer, kind, about, predicate).index
