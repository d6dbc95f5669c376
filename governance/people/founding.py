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
from governance.attest.predicates import Origin, Requester, Run
from governance.base.errors import RefusedError
from governance.base.model import Model
from governance.base.time import instant
from governance.log import evidence, merkle
from governance.log.port import Log
from governance.machine.machine import Machine, check_head, checkpoint_signer, log_of, on_server
from governance.people import policies as of_policies
from governance.people.speaking import person_of
from governance.policy.policies import Policies, Principal
from governance.release import promotion


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
        began = (
            "under development keys"
            if first.development_keys
            else "before policies stood in its first entry"
        )
        raise RefusedError(
            f"this log began {began}, and stays good for `candidate` only",
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
    roles = policies.rules.owners.roles if policies.rules.owners else []
    if not set(person.roles) & set(roles):
        raise RefusedError(
            f"{person.name} ({', '.join(person.roles)}) signs no policies",
            expected=f"a person as {', '.join(roles) or 'owner; policy names none'}",
        )
    return person


def begin(scene: Scene, signer: Signer) -> Log:
    """Writes entry 0, signed by one of the owners that it names. Returns the log."""
    person = owner(scene.policies, signer)
    checkpoint = checkpoint_signer(scene.machine)
    log = log_of(scene.machine, checkpoint)
    moment = instant(scene.now())
    requester = Requester(name=person.name, authenticated=True)
    origin = Origin(
        project=scene.machine.project,
        policy=scene.policies.digest,
        checkpoint_key=checkpoint.public_pem,
        development_keys=[],
        run=Run(started=moment, finished=moment, seconds=0.0, requested_by=requester),
        files=dict(scene.policies.files),
    )
    evidence.record(log, signer, "origin", [of_policies.subject(scene.policies.digest)], origin)
    return log


def check_first(log: Log, policies: Policies) -> None:
    """Checks that the local policies are in force. Raises `RefusedError` if they differ."""
    in_force = promotion.state(log).authority.in_force
    if in_force.digest != policies.digest:
        raise RefusedError(
            f"the log began already, and its policies in force ({in_force.digest[:12]}) are not"
            f" those at hand ({policies.digest[:12]})",
            fix="a change is proposed and signed: countersign policy propose",
        )


def begun(scene: Scene, log: Log | None, done: list[str]) -> Begun:
    """The state of the log, and the next steps."""
    rules = scene.policies.rules
    principals = {
        principal.name: [
            ", ".join(principal.roles or principal.signs),
            *(public_key(key).fingerprint for key in principal.keys),
        ]
        for principal in rules.principals
    }
    kinds = {principal.name: principal.kind for principal in rules.principals}
    status = of_policies.status(promotion.state(log), None) if log is not None else None
    pin = merkle.leaf_hash(log.entry(0).envelope).hex() if log is not None else "not begun"
    return Begun(
        log=(log or log_of(scene.machine)).where,
        policies=scene.policies.digest,
        pin=pin,
        people={name: row for name, row in principals.items() if kinds[name] == "person"},
        services={name: row for name, row in principals.items() if kinds[name] == "service"},
        signed_by=status.in_force.signed_by if status else [],
        waits_for=status.in_force.waits_for if status else [],
        wants=status.in_force.wants if status else "",
        done=done,
        next=_next(scene, status, pin),
    )


def _next(scene: Scene, status: of_policies.Status | None, pin: str) -> list[str]:
    if status is None:
        return ["countersign init --key YOUR_KEY begins the log"]
    if not status.signed:
        digest = scene.policies.digest[: of_policies.SHORTEST + 4]
        sign = f"countersign policy sign {digest} --key KEY"
        return [
            f"{name} signs the first policy, with their own key: {sign}"
            for name in status.in_force.waits_for
        ]
    services = [
        principal.name
        for principal in scene.policies.rules.principals
        if principal.kind == "service"
    ]
    return [
        (
            "commit the policies, so that runs under them are of committed code: git add policies"
            " && git commit"
        ),
        f"pin this log wherever it is verified: countersign verify --origin {pin}",
        "the service's key signs runs: export COUNTERSIGN_SIGNER=file2:/path/to/"
        + (f"{services[0]}.pem" if services else "service.pem"),
        "a person lets services run in their name: countersign authorize --hours 8",
        "then: countersign repro",
    ]
