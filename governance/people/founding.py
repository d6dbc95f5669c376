"""Begins a governed log: a first policy that names its people, entry 0 that pins it, signatures of
its owners.

1. A log that began under development keys never becomes governed.
2. Entry 0 contains the whole policies. Its hash, or a kept checkpoint, fixes the first policy.
3. Every step can be repeated. Finished steps are found in the log. Missing steps are listed with
   their command.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from governance.attest.keys import Signer, public_key
from governance.attest.predicates import Origin
from governance.base.errors import RefusedError
from governance.base.model import Model
from governance.history.state import state
from governance.log import evidence, merkle
from governance.log.port import Log
from governance.machine.machine import Machine, check_head, checkpoint_signer, log_of, on_server
from governance.people import policies as of_policies
from governance.people.policies import Signatures
from governance.people.speaking import person_of, run_of
from governance.policy.policies import Policies, Principal


class Begun(Model):
    """The state of the beginning of a governed log."""

    log: str
    policies: str
    """Digest of the first policy."""
    pin: str
    """Hash of entry 0; `not begun` before."""
    people: dict[str, list[str]]
    """Person to `role, role` and fingerprints."""
    services: dict[str, list[str]]
    signed_by: list[str]
    waits_for: list[str]
    """Owners whose signature is missing, any of whom may give it; empty once enough have signed."""
    wants: str
    done: list[str]
    """What this run did, in words."""
    next: list[str]
    """What to do now, one command or sentence each."""


@dataclass(frozen=True)
class Scene:
    """The inputs of the beginning of a log."""

    machine: Machine
    policies: Policies
    now: Callable[[], datetime]


def refuse_development(machine: Machine) -> Log | None:
    """The log if it has begun, else None. Raises `RefusedError` if it began without people."""
    log = log_of(machine)
    if log.size() == 0:
        if on_server(machine):
            raise RefusedError(
                "the server's log has not begun",
                where=log.where,
                fix="begin it on the machine that keeps it",
            )
        return None
    check_head(log, machine.project)
    first = evidence.origin(log)
    if first.development_keys or not first.files:
        keys = "development keys" if first.development_keys else "policies that it does not carry"
        raise RefusedError(
            f"this log began under {keys}, and stays good for `candidate` only",
            where=log.where,
            expected="an empty log: what a log begins with cannot be changed",
            fix=(
                "keep it where it is and begin another: export COUNTERSIGN_HOME=/a/new/folder, then"
                " countersign init; countersign repro then records the pipeline there"
            ),
        )
    return log


def owner(policies: Policies, signer: Signer) -> Principal:
    """The person of this key, who must own policies. Raises `RefusedError`."""
    person = person_of(policies, signer)
    if person not in of_policies.owners(policies.rules):
        raise RefusedError(
            f"{person.name} ({', '.join(person.roles)}) signs no policies",
            expected=of_policies.wanted(policies.rules),
        )
    return person


def begin(scene: Scene, signer: Signer) -> Log:
    """Writes entry 0, signed by one of the owners that it names. Returns the log."""
    person = owner(scene.policies, signer)
    checkpoint = checkpoint_signer(scene.machine)
    log = log_of(scene.machine, checkpoint)
    origin = Origin(
        project=scene.machine.project,
        policy=scene.policies.digest,
        checkpoint_key=checkpoint.public_pem,
        development_keys=[],
        run=run_of(person.name, scene.now()),
        files=dict(scene.policies.files),
    )
    evidence.record(log, signer, "origin", [of_policies.subject(scene.policies.digest)], origin)
    return log


def check_first(log: Log, policies: Policies) -> None:
    """Checks that the local policies are in force. Raises `RefusedError` if they differ."""
    in_force = state(log).authority.in_force
    if in_force.digest != policies.digest:
        raise RefusedError(
            f"the log began already, and its policies in force ({in_force.digest[:12]}) are not"
            f" those at hand ({policies.digest[:12]})",
            fix="a change is proposed and signed: countersign policy propose",
        )


def begun(scene: Scene, log: Log | None, done: list[str]) -> Begun:
    """The state of the log, and the next steps."""
    people, services = (
        {
            principal.name: [
                ", ".join(principal.roles or principal.signs),
                *(public_key(key).fingerprint for key in principal.keys),
            ]
            for principal in scene.policies.rules.principals
            if principal.kind == kind
        }
        for kind in ("person", "service")
    )
    signatures = of_policies.first_signatures(state(log)) if log is not None else None
    pin = merkle.leaf_hash(log.entry(0).envelope).hex() if log is not None else "not begun"
    return Begun(
        log=(log or log_of(scene.machine)).where,
        policies=scene.policies.digest,
        pin=pin,
        people=people,
        services=services,
        signed_by=signatures.signed_by if signatures else [],
        waits_for=signatures.waits_for if signatures else [],
        wants=signatures.wants if signatures else "",
        done=done,
        next=_next(scene, signatures, pin, next(iter(services), "service")),
    )


def _next(scene: Scene, signatures: Signatures | None, pin: str, service: str) -> list[str]:
    if signatures is None:
        return ["countersign init --key YOUR_KEY begins the log"]
    if signatures.waits_for:
        sign = f"countersign policy sign {scene.policies.digest[:12]} --key KEY"
        return [
            f"{name} signs the first policy, with their own key: {sign}"
            for name in signatures.waits_for
        ]
    return [
        (
            "commit the policies, so that runs under them are of committed code: git add policies"
            " && git commit"
        ),
        f"pin this log wherever it is verified: countersign verify --origin {pin}",
        f"the service's key signs runs: export COUNTERSIGN_SIGNER=file2:/path/to/{service}.pem",
        "a person lets services run in their name: countersign authorize --hours 8",
        "then: countersign repro",
    ]
