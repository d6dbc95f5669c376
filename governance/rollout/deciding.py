"""Whether a request, a step, a window or a reaction may be recorded: a pure decision on the log.

1. The rules that count a statement (`governance.history.rollout_rules`) are asked as if it were in
   the log.
2. A start or a widening of a live rollout brings the new version to users. So the checks of a
   release that need no person are made again, too: nothing but the missing canary may stand against
   it.
3. A window or reaction must not be dated ahead of the clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from governance.attest.findings import finding
from governance.attest.predicates import (
    Finding,
    RolloutReaction,
    RolloutRequest,
    RolloutStep,
    RolloutWindow,
)
from governance.base.time import instant_of
from governance.gates.decisions import decide_automatic
from governance.history import rollout_rules
from governance.history.rollout_rules import Problem
from governance.history.state import LogState
from governance.log.evidence import Evidence
from governance.release import promotion

KINDS = ("rollout", "rollout_step", "rollout_window", "rollout_reaction")
CANARY = "CANARY_MISSING"
AHEAD = timedelta(minutes=5)
"""By how much clocks may differ."""


def decide(now: LogState, statement: Evidence, at: datetime) -> list[Finding]:
    """Every finding against recording a statement about a rollout as the next entry. Who may sign
    it is for `Authority.problem`.
    """
    predicate = statement.predicate
    if isinstance(predicate, RolloutRequest):
        return [*_of_request(now, statement, predicate)]
    found = rollout_rules.problems(now.timeline.rollouts, statement, now.timeline)
    findings = [_finding(predicate.model, predicate.to_version, problem) for problem in found]
    if isinstance(predicate, RolloutStep) and predicate.action in ("start", "widen"):
        findings += _released(now, predicate, at)
    if isinstance(predicate, RolloutWindow | RolloutReaction):
        findings += _ahead(predicate, at)
    return findings


def _of_request(
    now: LogState, statement: Evidence[RolloutRequest], asked: RolloutRequest
) -> Iterator[Finding]:
    found = rollout_rules.request_problems(now.authority.policies.rules, asked)
    if {subject.sha256 for subject in statement.subjects} != {asked.to_digest}:
        found.append(Problem("ROLLOUT_VERSION", "the new model as the subject", "another subject"))
    found += rollout_rules.version_problems(asked, statement.index, now.timeline)
    for problem in found:
        yield _finding(asked.model, asked.to_version, problem)


def _released(now: LogState, step: RolloutStep, at: datetime) -> Iterator[Finding]:
    """(2)"""
    rollout = now.timeline.rollouts.get(step.rollout)
    if rollout is None or rollout.asked.mode == "shadow":
        return
    asked = rollout.asked
    if (asked.model, asked.to_version) not in now.timeline.registrations:
        return  # another finding says so
    request = promotion.ask(now, "promote", asked.model, asked.to_version, asked.alias)
    decision = decide_automatic(request, now.evidence, at, now.authority)
    others = [one for one in decision.findings if one.code != CANARY]
    if others:
        codes = sorted({one.code for one in others})
        problem = Problem("ROLLOUT_NOT_DECIDED", "no finding but CANARY_MISSING", ", ".join(codes))
        yield _finding(asked.model, asked.to_version, problem, alias=asked.alias)


def _ahead(predicate: RolloutWindow | RolloutReaction, at: datetime) -> Iterator[Finding]:
    """(3)"""
    dated = predicate.finished if isinstance(predicate, RolloutWindow) else predicate.at
    if instant_of(dated) > at + AHEAD:
        problem = Problem("ROLLOUT_WINDOW", f"not after {at:%Y-%m-%dT%H:%M:%SZ}", dated)
        yield _finding(predicate.model, predicate.to_version, problem)


def _finding(model: str, version: str, problem: Problem, **fields: str) -> Finding:
    return finding(
        problem.code,
        f"rollout {model}/{version}",
        expected=problem.expected,
        found=problem.found,
        model=model,
        version=version,
        **fields,
    )
