"""What a canary rollout to a version showed, in words."""

from __future__ import annotations

from datetime import datetime

from governance.base.text import timed
from governance.history.rollouts import Judged, Rollout, percent

NO_ROLLOUT = "no canary rollout is recorded"


def is_failed(rollout: Rollout, at: datetime) -> bool:
    """Whether it was stopped, or was found harmful."""
    return rollout.state(at) == "aborted" or bool(rollout.harmful)


def summary(rollout: Rollout, at: datetime) -> str:
    """How it stands, its largest share, and each guardrail with its interval."""
    asked = rollout.asked
    shares = [step.predicate.weight for step in rollout.steps]
    figures = "; ".join(_figures(one) for one in rollout.judged)
    how = "passed" if rollout.passed else rollout.state(at)
    steps = f"{asked.mode}, up to {percent(max(shares, default=0))}"
    beside = f"beside version {asked.from_version}"
    return timed(f"{how} ({steps}, {beside}, {len(rollout.windows)} windows): {figures}")


def entries(rollout: Rollout) -> list[int]:
    """The request and the steps."""
    return [rollout.request.index, *(step.index for step in rollout.steps)]


def _figures(one: Judged) -> str:
    if not (one.old.weight and one.new.weight):
        return f"{one.guardrail.metric} has nothing to compare"
    harm = one.harm
    return (
        f"{one.guardrail.metric} {one.verdict}, worse by {harm.estimate:.4g}"
        f" ({harm.low:.4g} to {harm.high:.4g}), margin {one.guardrail.margin:g}"
    )
