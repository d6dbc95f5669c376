"""What a service does with a rollout: it records each window once, and then narrows, aborts or
passes, as the windows demand. It never widens.

1. A guardrail that is harmful aborts. One that is suspected narrows to the share below; at the
   smallest share it waits. So only a proven harm aborts, at the level that the request states.
2. Where every weight was reached and observed enough, and every guardrail is safe, it passes.
3. A service that was stopped between a window and its reaction records the reaction when it starts
   again: what is due follows from the log alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from governance.attest.keys import Signer
from governance.attest.predicates import (
    Arms,
    Artifact,
    Requester,
    RolloutReaction,
    RolloutWindow,
    Run,
)
from governance.base.errors import RefusedError
from governance.base.model import Model
from governance.base.time import exact_instant, instant_of
from governance.history.rollouts import Rollout
from governance.history.state import LogState, state
from governance.log import evidence
from governance.log.evidence import Evidence
from governance.log.port import Log
from governance.rollout import deciding

NOT_YET = "DIGEST"
"""Stands for the digest of a statement that nobody has signed."""


@dataclass(frozen=True)
class Observed:
    """What a service observed during one window."""

    started: datetime
    finished: datetime
    weight: int
    """The share of the new version during all of it, in hundredths of a percent."""
    metrics: Mapping[str, Arms]
    gap: str = ""
    """Why nothing was observed since the window before it."""


@dataclass(frozen=True)
class Service:
    """The service that observes: its key, and in whose name it runs."""

    signer: Signer
    requester: Requester
    log: str
    """The log that it signs for: the hash of its entry 0."""


def record_window(
    log: Log, service: Service, rollout: Rollout, observed: Observed, at: datetime
) -> int:
    """Records one window; its entry. Raises `RefusedError` where it does not count."""
    asked = rollout.asked
    window = RolloutWindow(
        log=service.log,
        rollout=rollout.request.digest,
        model=asked.model,
        to_version=asked.to_version,
        number=rollout.next_window,
        weight=observed.weight,
        started=exact_instant(observed.started),
        finished=exact_instant(observed.finished),
        metrics=dict(observed.metrics),
        gap=observed.gap,
        run=_run(service, observed.started, at),
    )
    return record(log, service.signer, "rollout_window", rollout, window, at)


def due(rollout: Rollout, at: datetime) -> tuple[str, int, list[str]] | None:
    """(1), (2) The action that is due now, the share after it, and the metrics that cause it."""
    if rollout.state(at) not in ("open", "passed") or not rollout.weight(at):
        return None
    weight = rollout.recorded_weight
    if rollout.harmful:
        return "abort", 0, rollout.harmful
    if _is_new(rollout) and (suspected := rollout.with_verdict("suspected")):
        below = rollout.narrower_weight
        return ("narrow", below, suspected) if below else None
    is_safe = len(rollout.with_verdict("safe")) == len(rollout.judged)
    is_whole = rollout.next_weight is None and not rollout.lacking
    return ("pass", weight, []) if is_safe and is_whole and rollout.state(at) == "open" else None


def react(
    log: Log, service: Service, request: str, at: datetime
) -> tuple[RolloutReaction, int] | None:
    """(3) Records the action that is due on the rollout of a request, if any, with its entry."""
    rollout = state(log).timeline.rollouts[request]
    wanted = due(rollout, at)
    if wanted is None:
        return None
    action, weight, metrics = wanted
    reaction = RolloutReaction.model_validate(
        {
            "log": service.log,
            "rollout": request,
            "model": rollout.asked.model,
            "to_version": rollout.asked.to_version,
            "number": rollout.next_number,
            "action": action,
            "weight": weight,
            "windows": len(rollout.windows),
            "metrics": metrics,
            "at": exact_instant(at),
            "run": _run(service, at, at),
        }
    )
    return reaction, record(log, service.signer, "rollout_reaction", rollout, reaction, at)


def record(
    log: Log, signer: Signer, kind: str, rollout: Rollout, predicate: Model, at: datetime
) -> int:
    """Decides on a statement about a rollout and records it; its entry. Raises `RefusedError`."""
    about = subjects(rollout)
    check(state(log), unsigned(state(log), signer, kind, about, predicate), at)
    return evidence.record(log, signer, kind, about, predicate).index


def subjects(rollout: Rollout) -> list[Artifact]:
    """The subjects of every statement about a rollout: the new version, and the request."""
    asked = rollout.asked
    return [
        Artifact(role="model", name=asked.model, sha256=asked.to_digest),
        Artifact(role="rollout", name=asked.model, sha256=rollout.request.digest),
    ]


def unsigned(
    now: LogState, signer: Signer, kind: str, about: list[Artifact], predicate: Model
) -> Evidence:
    """A statement as the next entry of the log."""
    return Evidence(now.size, kind, tuple(about), predicate, signer.keyid, False, NOT_YET)


def check(now: LogState, statement: Evidence, at: datetime) -> None:
    """Raises `RefusedError` where a statement would not count: by who signs it, or by what it
    says.
    """
    problem = now.authority.problem(statement)
    if problem is not None:
        found = f"this key may not sign a {statement.kind} here: {problem}"
        raise RefusedError(found, fix="countersign policy show; ask a policy owner")
    findings = deciding.decide(now, statement, at)
    if findings:
        raise RefusedError(
            "; ".join(f"{one.code}: {one.message}" for one in findings),
            expected="; ".join(one.expected for one in findings if one.expected),
            where=findings[0].subject,
            fix=findings[0].next,
        )


def _is_new(rollout: Rollout) -> bool:
    """Whether a window was recorded since the last step: the same windows narrow only once."""
    last = rollout.steps[-1].index if rollout.steps else rollout.request.index
    return bool(rollout.windows) and rollout.windows[-1].index > last


def _run(service: Service, started: datetime, at: datetime) -> Run:
    seconds = round((at - started) / timedelta(seconds=1), 6)
    return Run(
        started=exact_instant(started),
        finished=exact_instant(at),
        seconds=max(0.0, seconds),
        requested_by=service.requester,
    )


def last_finished(rollout: Rollout) -> datetime | None:
    """When the last window ended: a service that starts again goes on from there."""
    return instant_of(rollout.windows[-1].predicate.finished) if rollout.windows else None
