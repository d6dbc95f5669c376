"""Canary rollouts: the share of traffic that each has, what was observed of it, and how it stands.

Every reader takes these facts from here. `rollout_rules` says which statements count.
1. The rollout is over when it is aborted, when its time is over, or when its alias moves. Then its
   share is 0, whatever the log has besides. A rollout that passed keeps its share until then.
2. The comparison: each guardrail has a confidence sequence (`governance.base.sequences`) of how
   much worse the new version is. In a live rollout an observation of the new version has the weight
   1 - p, and one of the old version p, where p is the share in its window. So both arms count each
   window alike, and a change of traffic between windows is no difference between versions. In a
   shadow rollout both arms answer the same requests, with weight 1.
3. harmful: the lower bound is above the margin. suspected: it is above 0, and the estimate is
   beyond the margin. safe: the upper bound is below the margin. The lower bounds of all guardrails
   are wrong together with probability at most alpha. A rollout passes only if every guardrail is
   safe, so each upper bound may be wrong with alpha.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from governance.attest.predicates import (
    Figures,
    Guardrail,
    Promotion,
    RolloutReaction,
    RolloutRequest,
    RolloutStep,
    RolloutWindow,
)
from governance.attest.predicates.rollouts import WHOLE
from governance.base import sequences
from governance.base.sequences import Arm, Bounds, Sums
from governance.base.time import instant_of

if TYPE_CHECKING:
    from governance.log.evidence import Evidence

State = Literal["requested", "open", "passed", "aborted", "overdue", "moved"]
"""moved: the alias was given to the new version or to another one."""
Verdict = Literal["harmful", "suspected", "open", "safe"]
Step = RolloutStep | RolloutReaction
ENDED = frozenset({"aborted", "overdue", "moved"})


@dataclass(frozen=True)
class Judged:
    """One guardrail after all windows so far."""

    guardrail: Guardrail
    old: Arm
    new: Arm
    harm: Bounds
    """How much worse the new version is, in units of the metric."""

    @property
    def verdict(self) -> Verdict:
        """(3) What its interval shows."""
        if self.harm.low > self.guardrail.margin:
            return "harmful"
        if self.harm.low > 0 and self.harm.estimate > self.guardrail.margin:
            return "suspected"
        return "safe" if self.harm.high < self.guardrail.margin else "open"


@dataclass(frozen=True)
class Rollout:
    """One request that counts, and every statement about it that counts."""

    request: Evidence[RolloutRequest]
    windows: tuple[Evidence[RolloutWindow], ...] = ()
    steps: tuple[Evidence[Step], ...] = ()
    moved: Evidence[Promotion] | None = None
    """The move of its alias after the request."""

    @property
    def asked(self) -> RolloutRequest:
        """What was asked for."""
        return self.request.predicate

    @property
    def recorded_weight(self) -> int:
        """The share after the last step, in hundredths of a percent."""
        return self.steps[-1].predicate.weight if self.steps else 0

    @property
    def next_weight(self) -> int | None:
        """The share that the next widening gives; None where there is none."""
        return next((one for one in self.asked.weights if one > self.recorded_weight), None)

    @property
    def narrower_weight(self) -> int:
        """The share that a narrowing gives; 0 where only an abort is left."""
        below = [one for one in self.asked.weights if one < self.recorded_weight]
        return below[-1] if below else 0

    @property
    def next_number(self) -> int:
        """The number of the next step."""
        return len(self.steps) + 1

    @property
    def next_window(self) -> int:
        """The number of the next window."""
        return len(self.windows) + 1

    def state(self, at: datetime) -> State:
        """(1) How it stands at a time."""
        actions = [step.predicate.action for step in self.steps]
        if "abort" in actions:
            return "aborted"
        if self.moved is not None:
            return "moved"
        if "pass" in actions:
            return "passed"
        if at >= instant_of(self.asked.expires):
            return "overdue"
        return "open" if actions else "requested"

    def weight(self, at: datetime) -> int:
        """(1) The share of the callers that the new version has, in hundredths of a percent. In a
        shadow rollout, the share whose requests are copied.
        """
        is_over = self.state(at) in ENDED or at >= instant_of(self.asked.expires)
        return 0 if is_over else self.recorded_weight

    @property
    def passed(self) -> Evidence[Step] | None:
        """The statement that it passed; None where it did not, was aborted afterwards, or was found
        harmful afterwards.
        """
        by_action = {step.predicate.action: step for step in self.steps}
        return None if "abort" in by_action or self.harmful else by_action.get("pass")

    @cached_property
    def judged(self) -> list[Judged]:
        """(2) Every guardrail, in the order of the request."""
        return [self._judge(guardrail) for guardrail in self.asked.guardrails]

    def with_verdict(self, *verdicts: Verdict) -> list[str]:
        """The metrics with one of these verdicts."""
        return [one.guardrail.metric for one in self.judged if one.verdict in verdicts]

    @property
    def harmful(self) -> list[str]:
        """The metrics that are worse by more than their margin."""
        return self.with_verdict("harmful")

    @property
    def lacking(self) -> dict[str, int]:
        """Metric to the observations of the new version that the present weight still lacks."""
        since = [one for one in self.windows if one.index > self._reached_at]
        at_weight = [one for one in since if one.predicate.weight == self.recorded_weight]
        lacking = {}
        for guardrail in self.asked.guardrails:
            seen = sum(one.predicate.metrics[guardrail.metric].new.count for one in at_weight)
            lacking[guardrail.metric] = max(0, self.asked.minimum_sample - seen)
        return {metric: count for metric, count in lacking.items() if count}

    @property
    def gaps(self) -> list[tuple[int, timedelta, str]]:
        """Number of a window, how long nothing was observed before it, and why."""
        found = []
        for before, after in zip(self.windows, self.windows[1:], strict=False):
            between = _started(after) - finished(before)
            if between > timedelta(0):
                found.append((after.predicate.number, between, after.predicate.gap))
        return found

    @property
    def _reached_at(self) -> int:
        """The entry of the step that gave the present weight."""
        changing = [step for step in self.steps if step.predicate.action != "pass"]
        return changing[-1].index if changing else self.request.index

    def _judge(self, guardrail: Guardrail) -> Judged:
        low, high, span = guardrail.low, guardrail.high, guardrail.high - guardrail.low
        old, new = (
            sequences.arm(self._sums(guardrail.metric, side), low, high, guardrail.expected)
            for side in ("old", "new")
        )
        one, other = (new, old) if guardrail.worse == "higher" else (old, new)
        alpha = self.asked.alpha
        below = alpha / len(self.asked.guardrails)
        return Judged(
            guardrail, old, new, sequences.difference(one, other, span, below=below, above=alpha)
        )

    def _sums(self, metric: str, side: str) -> Iterator[Sums]:
        for window in self.windows:
            figures: Figures = getattr(window.predicate.metrics[metric], side)
            share = window.predicate.weight / WHOLE
            weight = 1.0
            if self.asked.mode == "live":
                weight = 1 - share if side == "new" else share
            yield Sums(figures.count, figures.total, figures.squares, weight)


def latest(rollouts: Iterable[Rollout], model: str, alias: str, digest: str) -> Rollout | None:
    """The last started rollout to these bytes; else the last that was asked for."""
    fitting = [
        rollout
        for rollout in rollouts
        if (rollout.asked.model, rollout.asked.alias, rollout.asked.to_digest)
        == (model, alias, digest)
    ]
    started = [rollout for rollout in fitting if rollout.steps]
    return next(reversed(started or fitting), None)


def percent(weight: int) -> str:
    """A share for people, e.g. `2.5 %`."""
    return f"{weight / 100:g} %"


def _started(window: Evidence[RolloutWindow]) -> datetime:
    return instant_of(window.predicate.started)


def finished(window: Evidence[RolloutWindow]) -> datetime:
    """When a window ended."""
    return instant_of(window.predicate.finished)
