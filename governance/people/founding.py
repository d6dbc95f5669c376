"""Begins a governed log: a first policy that names its people, entry 0 that pins it, signatures of
its owners.

1. A log that began under development keys never becomes governed.
2. Entry 0 contains the whole policies. Its hash, or a kept checkpoint, fixes the first policy.
3. Every step can be repeated. Finished steps are found in the log. Missing steps are listed with
   their command.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from governance.attest.keys import Signer, earlier_key
from governance.base.errors import RefusedError
from governance.history.state import LogState, state
from governance.log import evidence
from governance.log.port import Log
from governance.machine import machine as machines
from governance.machine.machine import Machine, check_head, checkpoint_signer, log_of, on_server
from governance.people.policies import first_signatures, owners, wanted
from governance.people.speaking import person_of, run_by
from governance.policy.policies import Policies
from governance.policy.rules import Principal


def refuse_development(machine: Machine) -> Log | None:
    """The log if it has begun, else None. Raises `RefusedError` if it began without people."""
    log = log_of(machine)
    if log.size() == 0:
        if on_server(machine):
            fix = "begin it on the machine that keeps it"
            raise RefusedError("the server's log has not begun", where=log.where, fix=fix)
        return None
    check_head(log, machine)
    first = evidence.origin(log)
    if first.development_keys or not first.files:
        keys = "development keys" if first.development_keys else "policies that it does not carry"
        found = f"this log began under {keys}, and stays good for `candidate` only"
        fix = "begin another: export COUNTERSIGN_HOME=/a/new/folder, then countersign init"
        raise RefusedError(found, where=log.where, fix=fix)
    return log


def owner(policies: Policies, signer: Signer) -> Principal:
    """The person of this key, who must own policies. Raises `RefusedError`."""
    person = person_of(policies, signer)
    if person not in owners(policies.rules):
        found = f"{person.name} ({', '.join(person.roles)}) signs no policies"
        raise RefusedError(found, expected=wanted(policies.rules))
    return person


def begin(machine: Machine, policies: Policies, signer: Signer, at: datetime) -> Log:
    """Writes entry 0, signed by one of the owners that it names. Returns the log."""
    person = owner(policies, signer)
    log = log_of(machine, checkpoint_signer(machine))
    machines.begin(machine, log, signer, policies, run_by(person.name, at), [])
    return log


def check_first(log: Log, policies: Policies) -> None:
    """Checks that the local policies are in force. Raises `RefusedError` if they differ."""
    in_force = state(log).authority.in_force
    if in_force.digest != policies.digest:
        found = f"the log has begun under other policies ({in_force.digest[:12]})"
        raise RefusedError(found, fix="a change is proposed: countersign policy propose")


def begun(machine: Machine, policies: Policies, log: Log | None, done: list[str]) -> dict[str, Any]:
    """The state of the log and the next steps, for JSON: where it is, its pin (the hash of entry
    0), each principal with rights and fingerprints, and whose signature is missing.
    """
    principals = policies.rules.principals
    services = [principal.name for principal in principals if "train" in principal.signs]
    now = state(log) if log is not None else None
    signatures = first_signatures(now).model_dump() if now else {}
    pin = now.authority.origin if now else "not begun"
    return {
        "log": (log or log_of(machine)).where,
        "policies": policies.digest,
        "pin": pin,
        "principals": {
            principal.name: [
                ", ".join(principal.roles or principal.signs),
                *(earlier_key(key).fingerprint for key in principal.keys),
            ]
            for principal in principals
        },
        "signed_by": signatures.get("signed_by", []),
        "waits_for": signatures.get("waits_for", []),
        "wants": signatures.get("wants", ""),
        "done": done,
        "next": _next(policies, now, pin, next(iter(services), "service")),
    }


def _next(policies: Policies, now: LogState | None, pin: str, service: str) -> list[str]:
    if now is None:
        return ["countersign init --key YOUR_KEY begins the log"]
    sign = f"countersign policy sign {policies.digest[:12]} --key KEY"
    waiting = [
        f"{name} signs the first policy, with their own key: {sign}"
        for name in first_signatures(now).waits_for
    ]
    return waiting or [
        "commit the policies, so that runs under them are of committed code",
        f"pin this log wherever it is verified: countersign verify --origin {pin}",
        f"the service's key signs runs: export COUNTERSIGN_SIGNER=file2:/path/to/{service}.pem",
        "a person lets services run in their name: countersign authorize --hours 8",
        "then: countersign repro",
    ]
