"""Signs closed windows and appends them to the log (`governance.attest.predicates.Monitoring`).

1. The service's key needs the right `monitoring` in the policies in force. Without it, the proxy
   does not start.
2. A window that cannot be appended waits, and is tried again. It is one entry of the log, however
   often it is sent (`governance.log.evidence.record`).
3. A window of a rollout is recorded unless the log has it: its times and sums are in no other one.
   Then automation narrows, aborts or passes. After a kill in between, both are made up for.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from governance.attest.keys import Signer
from governance.attest.predicates import Artifact, Monitoring, Requester, RolloutWindow, Run
from governance.attest.predicates.monitoring import Searched
from governance.base.errors import ConfigError, RefusedError
from governance.base.time import instant, instant_of
from governance.history.rollouts import Rollout
from governance.history.state import LogState, state
from governance.log import evidence
from governance.log.port import Log
from governance.machine.machine import Machine, log_to_add_to, signer
from governance.proxy.rolling import RolloutSums, RolloutWindows
from governance.proxy.tally import usage
from governance.proxy.windows import Terms, Window, Windows
from governance.rollout import automation
from governance.rollout.automation import Observed, Service

KIND = "monitoring"
ROLLOUT_KINDS = ("rollout_window", "rollout_reaction")
GAP = "the proxy did not run, or the new version had no share here"


@dataclass(frozen=True)
class Recorder:
    """Appends windows of one proxy."""

    signer: Signer
    requester: Requester
    alias: str
    source: str
    log: Callable[[], Log]
    """Opens it for appending."""
    clock: Callable[[], datetime]

    def record(self, window: Window) -> int:
        """(2) Its entry. Raises what the log raises."""
        name = f"{window.model}/{window.version}"
        subject = Artifact(role="model", name=name, sha256=window.digest)
        return evidence.record(
            self.log(), self.signer, KIND, [subject], self.statement(window)
        ).index

    def record_rollout(self, window: RolloutSums) -> str:
        """(3) Records a window of a rollout, and what is due then; the action, or empty. Raises
        `RefusedError` where the log does not accept it, and what the log raises.
        """
        log, at = self.log(), self.clock()
        rollout = state(log).timeline.rollouts.get(window.rollout)
        if rollout is None:
            raise RefusedError("the log has no such rollout any more")
        service = Service(self.signer, self.requester, log.entry(0).leaf_hash.hex())
        if not any(_is_of(each.predicate, window) for each in rollout.windows):
            automation.record_window(log, service, rollout, _observed(rollout, window), at)
        done = automation.react(log, service, window.rollout, at)
        return done[0].action if done is not None else ""

    def statement(self, window: Window) -> Monitoring:
        """What a window states."""
        counts, moment = window.counts, instant(self.clock())
        return Monitoring(
            model=window.model,
            version=window.version,
            alias=self.alias,
            source=self.source,
            window=window.number,
            begins=window.begins,
            ends=window.ends,
            gap_ms=window.gap_ms,
            policy=window.policy,
            requests=counts.requests,
            errors=counts.errors,
            rejected=counts.rejected,
            left=counts.left,
            latency=counts.latency,
            latency_sum_ms=counts.latency_sum_ms,
            tokens=usage(counts),
            cost=window.cost,
            refusals=counts.refusals,
            read=counts.read,
            characters=counts.characters,
            feedback=counts.feedback,
            request_bytes=counts.request_bytes,
            answer_characters=counts.answer_characters,
            compared=counts.compared,
            searched=counts.searched if counts.searched != Searched() else None,
            run=Run(started=moment, finished=moment, seconds=0.0, requested_by=self.requester),
        )


def rolling(machine: Machine, now: LogState, windows: Windows) -> RolloutWindows | None:
    """(3) The windows of rollouts; None where the service's key may not record them."""
    policies, key = now.authority.in_force.policies, signer(machine)
    is_development = key.public_pem in evidence.origin(now.log).development_keys
    if policies is None or not all(
        policies.may_sign(kind, key.keyid, is_development, now.size) for kind in ROLLOUT_KINDS
    ):
        return None
    return RolloutWindows(windows)


def _is_of(stated: RolloutWindow, window: RolloutSums) -> bool:
    """Whether a window in the log is this one, which was sent before."""
    times = (stated.started, stated.finished, stated.weight, stated.metrics)
    return times == (window.started, window.finished, window.weight, window.metrics)


def _observed(rollout: Rollout, window: RolloutSums) -> Observed:
    started, last = instant_of(window.started), automation.last_finished(rollout)
    is_after_gap = last is not None and started - last > timedelta(0)
    return Observed(
        started,
        instant_of(window.finished),
        window.weight,
        window.metrics,
        GAP if is_after_gap else "",
    )


def begin(
    machine: Machine,
    now: LogState,
    served: tuple[str, str],
    port: int,
    clock: Callable[[], datetime],
) -> tuple[Windows, Recorder] | None:
    """(1) Windows and recorder of what is served (model, alias); None where policy does not
    monitor. Raises `ConfigError`, and what opening the log or the windows raises.
    """
    policies = now.authority.in_force.policies
    rules = policies.rules.monitoring if policies is not None else None
    if policies is None or rules is None:
        return None
    key = signer(machine)
    is_development = key.public_pem in evidence.origin(now.log).development_keys
    if not policies.may_sign(KIND, key.keyid, is_development, now.size):
        found = f"policy does not let this machine's key {key.keyid[:16]} sign `{KIND}`"
        fix = f"policies/policy.yaml: signs: [{KIND}] of its service; or remove the part `{KIND}`"
        raise ConfigError(found, where="COUNTERSIGN_SIGNER", fix=fix)
    log_to_add_to(machine)
    model, alias = served
    path = machine.state / KIND / f"{model}@{alias}-{port}.db"
    windows = opened(path, Terms(policies.digest, rules), clock())
    recorder = Recorder(
        key, machine.requester, alias, windows.source, lambda: log_to_add_to(machine), clock
    )
    return windows, recorder


def opened(path: Path, terms: Terms, at: datetime) -> Windows:
    """The windows in a file; a new one gets a random source."""
    return Windows(path, secrets.token_hex(16), terms, at)
