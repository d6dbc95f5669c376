"""How a rollout is shown: in a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from governance.attest.predicates import RolloutReaction, RolloutRequest
from governance.base.text import timed
from governance.history.rollouts import ENDED, Judged, Rollout, percent
from governance.rollout import automation


def terms(asked: RolloutRequest) -> list[str]:
    """What is asked for."""
    shares = ", ".join(percent(weight) for weight in asked.weights)
    said = [
        f"rollout of {asked.model}/{asked.to_version}, {asked.mode}, beside {asked.alias}"
        f" (version {asked.from_version})",
        f"  shares     {shares}; each needs {asked.minimum_sample:,} observations",
        timed(f"  until      {asked.expires}"),
        f"  widened by {either(asked.widened_by)}",
    ]
    for one in asked.guardrails:
        word = "more" if one.worse == "higher" else "less"
        said.append(
            f"  guardrail  {one.metric}: at most {one.margin:g} {word}, values {one.low:g} to"
            f" {one.high:g}"
        )
    return [*said, f"  alpha      {asked.alpha:g}"]


def lines(rollout: Rollout, at: datetime) -> list[str]:
    """How it stands at a time: the state first, the next step last."""
    asked, how = rollout.asked, rollout.state(at)
    name = f"{asked.model}/{asked.to_version}"
    said = [
        f"{how.upper()}: {name} has {percent(rollout.weight(at))} of {asked.alias}"
        f" ({asked.mode}, entry {rollout.request.index})",
        f"  beside     version {asked.from_version}; asked for by {asked.principal}:"
        f" {asked.reason}",
        f"  shares     {', '.join(percent(weight) for weight in asked.weights)}",
        timed(f"  until      {asked.expires}"),
        f"  windows    {len(rollout.windows)}{_gaps(rollout)}",
        *(_line(one) for one in rollout.judged),
        *(timed(_step_line(step)) for step in rollout.steps),
    ]
    return [*said, f"  next       {_next(rollout, at)}"]


def _line(one: Judged) -> str:
    guardrail, harm = one.guardrail, one.harm
    if not (one.old.weight and one.new.weight):
        return f"  guardrail  {guardrail.metric}: nothing to compare yet"
    span = guardrail.high - guardrail.low
    old, new = (guardrail.low + span * arm.mean for arm in (one.old, one.new))
    return (
        f"  guardrail  {guardrail.metric}: {one.verdict.upper()}; {new:.4g} beside {old:.4g},"
        f" worse by {harm.estimate:+.4g} ({harm.low:+.4g} to {harm.high:+.4g}),"
        f" margin {guardrail.margin:g}; n {one.new.count:,} and {one.old.count:,}"
    )


def _gaps(rollout: Rollout) -> str:
    gaps = [f"{between} before window {number}: {why}" for number, between, why in rollout.gaps]
    return f"; nothing observed for {'; '.join(gaps)}" if gaps else ""


def _step_line(step: Any) -> str:
    said = step.predicate
    by = getattr(said, "principal", "a service")
    why = getattr(said, "reason", "") or ", ".join(getattr(said, "metrics", []))
    return f"  step {said.number:<5} {said.action} to {percent(said.weight)}, {said.at}, {by}" + (
        f": {why}" if why else ""
    )


def reacted(reaction: RolloutReaction, entry: int) -> str:
    """What automation did."""
    why = f" because of {', '.join(reaction.metrics)}" if reaction.metrics else ""
    return f"{reaction.action} at {percent(reaction.weight)}{why} (entry {entry})"


def _next(rollout: Rollout, at: datetime) -> str:
    asked, how = rollout.asked, rollout.state(at)
    name = f"{asked.model}/{asked.to_version}"
    if how in ENDED:
        return "nothing: it is over"
    if how == "passed":
        return f"countersign promote {name} --to {asked.alias}"
    if automation.due(rollout, at):
        return f"countersign rollout observe {name}, by the service: something is due"
    if rollout.steps and rollout.lacking:
        lacking = ", ".join(f"{count:,} of {name}" for name, count in rollout.lacking.items())
        return f"more observations: {lacking}"
    if rollout.next_weight is None:
        return "more observations, until every guardrail is safe or one is harmful"
    return f"countersign rollout widen {name} --reason ..., by {either(asked.widened_by)}"


def row(rollout: Rollout, at: datetime) -> dict[str, Any]:
    """The same as `lines`, as data."""
    asked = rollout.asked
    return {
        "entry": rollout.request.index,
        "rollout": rollout.request.digest,
        "request": asked.model_dump(mode="json"),
        "state": rollout.state(at),
        "weight": rollout.weight(at),
        "next_weight": rollout.next_weight,
        "windows": len(rollout.windows),
        "next_window": rollout.next_window,
        "gaps": [
            {"window": number, "seconds": between.total_seconds(), "why": why}
            for number, between, why in rollout.gaps
        ],
        "lacking": rollout.lacking,
        "guardrails": [_guardrail_row(one) for one in rollout.judged],
        "steps": [
            {"entry": step.index, **step.predicate.model_dump(mode="json", exclude={"log", "run"})}
            for step in rollout.steps
        ],
        "next": _next(rollout, at),
    }


def _guardrail_row(one: Judged) -> dict[str, Any]:
    bounds = one.harm
    return {
        "metric": one.guardrail.metric,
        "verdict": one.verdict,
        "margin": one.guardrail.margin,
        "worse_by": {"estimate": bounds.estimate, "low": bounds.low, "high": bounds.high},
        "observations": {"old": one.old.count, "new": one.new.count},
    }


def either(roles: Sequence[str]) -> str:
    """Roles, of which one will do."""
    return " or ".join(roles)
