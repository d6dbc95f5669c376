"""Signs closed windows and appends them to the log (`governance.attest.predicates.Monitoring`).

1. The service's key needs the right `monitoring` in the policies in force. Without it, the proxy
   does not start.
2. A window that cannot be appended waits, and is tried again. It is one entry of the log, however
   often it is sent (`governance.log.evidence.record`).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from governance.attest.keys import Signer
from governance.attest.predicates import Artifact, Monitoring, Requester, Run
from governance.base.errors import ConfigError
from governance.base.time import instant
from governance.history.state import LogState
from governance.log import evidence
from governance.log.port import Log
from governance.machine.machine import Machine, log_to_add_to, signer
from governance.proxy.tally import usage
from governance.proxy.windows import Terms, Window, Windows

KIND = "monitoring"


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
            run=Run(started=moment, finished=moment, seconds=0.0, requested_by=self.requester),
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
