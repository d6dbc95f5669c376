"""Which statements about canary rollouts count: one rule for a server that accepts a statement, for
a command before it signs one, and for every reader of the log.

1. A person asks for a rollout, a person starts and widens it, share by share. A service only
   narrows or aborts it, or finds that it passed. People may narrow and abort, too.
2. A request counts if the policies before it permit all of its terms. Steps and windows are judged
   by the request and by who signed them. A development key moves no traffic.
3. Steps are numbered, windows are numbered. Each number counts once and in order, so that nothing
   is counted twice after a restart, and no two steps are made at once.
4. A window lies within one share. The window that was open when the share changed may still be
   recorded, as the next window of this rollout, under the earlier share.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from governance.attest.predicates import (
    Figures,
    Guardrail,
    RolloutReaction,
    RolloutRequest,
    RolloutStep,
    RolloutWindow,
)
from governance.base.time import instant_of
from governance.history import incidents
from governance.history.rollouts import ENDED, Rollout, Step, finished, percent

if TYPE_CHECKING:
    from governance.history.timeline import Tenure, Timeline
    from governance.log.evidence import Evidence
    from governance.policy.rules import Rules

TOLERANCE = 1e-6
"""Relative: by how much sums of floats may contradict each other."""


class Problem(NamedTuple):
    """Why a statement does not count: a code of `governance.attest.codes`, and what was wrong."""

    code: str
    expected: str = ""
    found: str = ""


# -- Which statements count ------------------------------------------------------------------------
def problems(
    rollouts: Mapping[str, Rollout], statement: Evidence, timeline: Timeline
) -> list[Problem]:
    """(1) to (4) Why a step, reaction or window does not count, after everything before it; empty
    where it counts. `rollouts`: by the statement of their requests, as they stood before.
    """
    predicate = statement.predicate
    rollout = rollouts.get(predicate.rollout)
    if rollout is None:
        return [Problem("ROLLOUT_UNKNOWN", "a request that counts", predicate.rollout[:12])]
    asked = rollout.asked
    if (predicate.model, predicate.to_version) != (asked.model, asked.to_version):
        return [Problem("ROLLOUT_UNKNOWN", f"{asked.model}/{asked.to_version}", "another version")]
    if not _is_about(statement, asked.to_digest, predicate.rollout):
        return [Problem("ROLLOUT_UNKNOWN", "the model and the request as subjects", "others")]
    if isinstance(predicate, RolloutWindow):
        return list(_window_problems(rollout, predicate))
    found = list(_step_problems(rollout, statement, timeline))
    if predicate.action == "start":
        found += _start_problems(rollout, statement.predicate, rollouts, timeline)
    return found


def request_problems(rules: Rules | None, asked: RolloutRequest) -> list[Problem]:
    """(2) Why a request asks for more than policy permits."""
    rollouts = rules.rollouts if rules else None
    if rules is None or rollouts is None or asked.alias not in rules.aliases:
        return [Problem("ROLLOUT_NOT_PERMITTED", "rollouts in policies/policy.yaml", "none")]
    found: list[tuple[str, str]] = []
    hours = timedelta(hours=rollouts.max_hours)
    begins, ends = instant_of(asked.at), instant_of(asked.expires)
    if not begins < ends <= begins + hours:
        found.append((f"at most {rollouts.max_hours} hours", f"until {asked.expires}"))
    if asked.alpha > rollouts.max_alpha:
        found.append((f"alpha at most {rollouts.max_alpha}", f"{asked.alpha}"))
    if asked.minimum_sample < rollouts.minimum_sample:
        expected = f"a minimum sample of {rollouts.minimum_sample}"
        found.append((expected, f"{asked.minimum_sample}"))
    if not set(asked.widened_by) <= set(rollouts.widened_by):
        found.append((f"widened by {', '.join(rollouts.widened_by)}", ", ".join(asked.widened_by)))
    guardrails = {guardrail.metric: guardrail for guardrail in asked.guardrails}
    for metric, rule in rollouts.guardrails.items():
        said = guardrails.get(metric)
        terms = (rule.worse, rule.low, rule.high)
        if said is None or (said.worse, said.low, said.high) != terms or said.margin > rule.margin:
            expected = (
                f"{metric} {rule.worse}, {rule.low}..{rule.high}, margin {rule.margin} at most"
            )
            found.append((expected, "another guardrail" if said else "no guardrail of it"))
    return [Problem("ROLLOUT_NOT_PERMITTED", *each) for each in found]


def _step_problems(
    rollout: Rollout, statement: Evidence[Step], timeline: Timeline
) -> Iterator[Problem]:
    step = statement.predicate
    if step.number != rollout.next_number:
        yield Problem("ROLLOUT_OUT_OF_TURN", f"step {rollout.next_number}", f"step {step.number}")
    state = rollout.state(instant_of(step.at))
    if state in ENDED or (state == "requested" and step.action not in ("start", "abort")):
        yield Problem("ROLLOUT_NOT_OPEN", "an open rollout", state)
        return
    if step.action == "start" and state != "requested":
        yield Problem("ROLLOUT_NOT_OPEN", "a rollout that has not started", state)
        return
    wanted = _weight_after(rollout, step.action)
    if step.weight != wanted:
        expected = f"no {step.action}" if wanted is None else f"{step.action} to {percent(wanted)}"
        yield Problem("ROLLOUT_OUT_OF_TURN", expected, percent(step.weight))
    if isinstance(step, RolloutStep) and step.action in ("start", "widen"):
        yield from _widening_problems(rollout, statement, step, timeline)
    if isinstance(step, RolloutReaction):
        yield from _reaction_problems(rollout, step)


def _weight_after(rollout: Rollout, action: str) -> int | None:
    if action == "abort":
        return 0
    if action == "pass":
        return rollout.recorded_weight
    if action == "narrow":
        return rollout.narrower_weight or None
    return rollout.next_weight


def _widening_problems(
    rollout: Rollout, statement: Evidence[Step], step: RolloutStep, timeline: Timeline
) -> Iterator[Problem]:
    asked = rollout.asked
    if step.role not in asked.widened_by:
        yield Problem("ROLLOUT_ROLE", ", ".join(asked.widened_by), step.role)
    yield from version_problems(asked, statement.index, timeline)
    if instant_of(step.at) >= instant_of(asked.expires):
        yield Problem("ROLLOUT_NOT_OPEN", f"before {asked.expires}", "overdue")
    if rollout.harmful:
        yield Problem("ROLLOUT_HARMFUL", "no guardrail beyond its margin", _list(rollout.harmful))
    if step.action == "widen" and rollout.lacking:
        yield _sample(rollout)


def _start_problems(
    rollout: Rollout, step: RolloutStep, rollouts: Mapping[str, Rollout], timeline: Timeline
) -> Iterator[Problem]:
    asked = rollout.asked
    authors = timeline.authority.also_called.get(asked.principal, frozenset({asked.principal}))
    if asked.mode == "live" and step.principal in authors:
        yield Problem(
            "ROLLOUT_SAME_PERSON", f"another person than {asked.principal}", step.principal
        )
    at = instant_of(step.at)
    for other in rollouts.values():
        same = (other.asked.model, other.asked.alias) == (asked.model, asked.alias)
        if same and other.request.digest != rollout.request.digest and other.weight(at):
            yield Problem("ROLLOUT_OTHER_OPEN", "none", f"entry {other.request.index}")


def version_problems(asked: RolloutRequest, index: int, timeline: Timeline) -> Iterator[Problem]:
    """Both versions are what the request says, and nothing is open against the new one."""
    registration = timeline.registrations.get((asked.model, asked.to_version))
    known = registration is not None and registration.index < index
    if not known or registration.predicate.model_digest != asked.to_digest:  # type: ignore[union-attr]
        expected = f"version {asked.to_version} with {asked.to_digest[:12]}"
        yield Problem("ROLLOUT_VERSION", expected, "not registered with these bytes")
    holder = _holder(timeline, asked.model, asked.alias, index)
    held = (holder.version, holder.given.predicate.model_digest) if holder else (None, None)
    if held != (asked.from_version, asked.from_digest):
        expected = f"{asked.alias} held by version {asked.from_version}"
        yield Problem("ROLLOUT_VERSION", expected, f"held by version {held[0] or 'none'}")
    about = incidents.about(timeline.evidence, timeline.authority, asked.to_digest)
    earlier = [statement for statement in about if statement.index < index]
    for opened in incidents.still_open(timeline.authority, earlier):
        yield Problem("ROLLOUT_INCIDENT", "none", f"entry {opened.index}")
    moves = timeline.governed_moves_of(asked.to_digest)
    retired = [one for one in moves if one.predicate.action == "retire" and one.index < index]
    if retired:
        yield Problem(
            "ROLLOUT_VERSION", "a version in service", f"retired, entry {retired[0].index}"
        )


def _holder(timeline: Timeline, model: str, alias: str, index: int) -> Tenure | None:
    """Who held an alias before an entry."""
    return next(
        (
            tenure
            for tenure in timeline.tenures
            if (tenure.model, tenure.alias) == (model, alias)
            and tenure.given.index < index
            and (tenure.ended is None or tenure.ended.index >= index)
        ),
        None,
    )


def _reaction_problems(rollout: Rollout, step: RolloutReaction) -> Iterator[Problem]:
    if step.windows != len(rollout.windows):
        expected = f"after {len(rollout.windows)} windows"
        yield Problem("ROLLOUT_OUT_OF_TURN", expected, f"after {step.windows}")
    if step.action != "pass":
        return
    if rollout.next_weight is not None:
        largest = percent(rollout.asked.weights[-1])
        yield Problem("ROLLOUT_NOT_PROVEN", largest, percent(rollout.recorded_weight))
    if rollout.lacking:
        yield _sample(rollout)
    if instant_of(step.at) >= instant_of(rollout.asked.expires):
        yield Problem("ROLLOUT_NOT_OPEN", f"before {rollout.asked.expires}", "overdue")
    unproven = rollout.with_verdict("harmful", "suspected", "open")
    if unproven:
        yield Problem("ROLLOUT_NOT_PROVEN", "every guardrail within its margin", _list(unproven))
    if "pass" in [one.predicate.action for one in rollout.steps]:
        yield Problem("ROLLOUT_NOT_OPEN", "a rollout that has not passed", "passed")


def _window_problems(rollout: Rollout, window: RolloutWindow) -> Iterator[Problem]:
    asked = rollout.asked
    if window.number != rollout.next_window:
        yield Problem("ROLLOUT_OUT_OF_TURN", f"window {rollout.next_window}", f"{window.number}")
    state = rollout.state(instant_of(window.started))
    if state not in ("open", "passed"):
        yield Problem("ROLLOUT_NOT_OPEN", "an open rollout", state)
    if instant_of(window.finished) > instant_of(asked.expires):
        yield Problem("ROLLOUT_NOT_OPEN", f"until {asked.expires}", f"until {window.finished}")
    if window.weight not in _weights(rollout):
        expected = " or ".join(map(percent, _weights(rollout))) or "none"
        yield Problem("ROLLOUT_WINDOW", expected, percent(window.weight))
    if rollout.windows:
        between = instant_of(window.started) - finished(rollout.windows[-1])
        if between < timedelta(0):
            expected = f"from {rollout.windows[-1].predicate.finished} on"
            yield Problem("ROLLOUT_WINDOW", expected, f"from {window.started}")
        if between > timedelta(seconds=1) and not window.gap.strip():
            yield Problem("ROLLOUT_WINDOW", "why nothing was observed before it", f"{between}")
    named = {guardrail.metric for guardrail in asked.guardrails}
    if set(window.metrics) != named:
        yield Problem("ROLLOUT_WINDOW", _list(sorted(named)), _list(sorted(window.metrics)))
        return
    impossible = [one.metric for one in asked.guardrails if not _possible(one, window)]
    if impossible:
        yield Problem("ROLLOUT_WINDOW", "sums that the range permits", _list(impossible))


def _weights(rollout: Rollout) -> list[int]:
    """(4) The weights that the next window can have had."""
    changing = [step for step in rollout.steps if step.predicate.action != "pass"]
    weights = [step.predicate.weight for step in changing[-1:]]
    last_window = rollout.windows[-1].index if rollout.windows else 0
    if len(changing) > 1 and last_window < changing[-1].index:
        weights.append(changing[-2].predicate.weight)
    return [weight for weight in weights if weight]


def _possible(guardrail: Guardrail, window: RolloutWindow) -> bool:
    arms = window.metrics[guardrail.metric]
    return all(_can_be(guardrail, figures) for figures in (arms.old, arms.new))


def _can_be(guardrail: Guardrail, of: Figures) -> bool:
    """Whether `count` values within the range can have these sums: on the scale [0, 1], the squares
    lie between the square of the sum over the count, and the sum.
    """
    span = guardrail.high - guardrail.low
    total = (of.total - of.count * guardrail.low) / span
    offset = 2 * guardrail.low * of.total - of.count * guardrail.low**2
    squares = (of.squares - offset) / span**2
    slack = TOLERANCE * (1 + of.count + abs(offset) / span**2)
    least = total * total / of.count if of.count else 0.0
    return -slack <= total <= of.count + slack and least - slack <= squares <= total + slack


# -- The fold --------------------------------------------------------------------------------------
def fold(timeline: Timeline) -> dict[str, Rollout]:
    """Every rollout of the log whose request counts, by the statement of the request, in log order,
    with what counts of it.
    """
    found: dict[str, Rollout] = {}
    for statement in _statements(timeline):
        predicate = statement.predicate
        if isinstance(predicate, RolloutRequest):
            policies = timeline.authority.at(statement.index).policies
            permitted = not request_problems(policies.rules if policies else None, predicate)
            if permitted and _is_about(statement, predicate.to_digest):
                found[statement.digest] = Rollout(statement)
            continue
        found = {
            digest: _moved_before(timeline, rollout, statement.index)
            for digest, rollout in found.items()
        }
        if not problems(found, statement, timeline):
            found[predicate.rollout] = after(found[predicate.rollout], statement)
    return {
        digest: _moved_before(timeline, rollout, sys.maxsize) for digest, rollout in found.items()
    }


def after(rollout: Rollout, statement: Evidence) -> Rollout:
    """The rollout with one more statement that counts."""
    if isinstance(statement.predicate, RolloutWindow):
        return replace(rollout, windows=(*rollout.windows, statement))
    return replace(rollout, steps=(*rollout.steps, statement))


def _statements(timeline: Timeline) -> list[Evidence]:
    """The statements about rollouts whose signers may make them, in log order."""
    people = [
        statement
        for kind in (RolloutRequest, RolloutStep)
        for statement in timeline.evidence.all(kind)
        if timeline.authority.speaker(statement) is not None
    ]
    services = [
        statement
        for kind in (RolloutWindow, RolloutReaction)
        for statement in timeline.view.all(kind)
        if not statement.development
    ]
    return sorted([*people, *services], key=lambda statement: statement.index)


def _moved_before(timeline: Timeline, rollout: Rollout, index: int) -> Rollout:
    """The rollout with the first move of its alias between the request and an entry."""
    if rollout.moved is not None:
        return rollout
    asked = rollout.asked
    for tenure in timeline.tenures:
        if (tenure.model, tenure.alias) != (asked.model, asked.alias):
            continue
        for move in (tenure.given, tenure.ended):
            if move is not None and rollout.request.index < move.index < index:
                return replace(rollout, moved=move)
    return rollout


def _is_about(statement: Evidence, *digests: str) -> bool:
    """Whether a statement has exactly these subjects."""
    return {subject.sha256 for subject in statement.subjects} == {*digests}


def _sample(rollout: Rollout) -> Problem:
    lacking: Mapping[str, int] = rollout.lacking
    found = _list([f"{metric} lacks {count}" for metric, count in lacking.items()])
    return Problem("ROLLOUT_SAMPLE", f"{rollout.asked.minimum_sample} at this weight", found)


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
