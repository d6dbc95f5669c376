"""A person lets services run in their name, until an instant; and which authorization covers a run
that begins now.

Every stage asks the second question, so what only the first one needs is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from governance.attest.keys import Signer
from governance.attest.predicates import Authorization, Requester
from governance.base.time import exact_instant, instant_of
from governance.log.evidence import Evidence
from governance.log.port import Log
from governance.machine.machine import Machine

if TYPE_CHECKING:
    from governance.history.state import LogState
    from governance.people.speaking import Said, Speaker

LONGEST = 24 * 31
"""Hours."""


def authorize(
    log: Log, now: LogState, signer: Signer, role: str | None, reason: str, hours: int, at: datetime
) -> tuple[Said, Speaker, Authorization]:
    """Records that services may run in this person's name for so many hours."""
    from governance.people.policies import subject
    from governance.people.speaking import say

    who = speaking_for_themselves(now, signer, role, at)
    said = Authorization(
        **who.signed(reason, at, anywhere=True), expires=exact_instant(at + timedelta(hours=hours))
    )
    return (
        say(log, signer, "authorization", [subject(now.authority.in_force.digest)], said),
        who,
        said,
    )


def speaking_for_themselves(
    now: LogState, signer: Signer, role: str | None, at: datetime, fitting: Sequence[str] = ()
) -> Speaker:
    """A person in any role of theirs, or any that is `fitting`; the first where they do not say
    which.
    """
    from governance.people.speaking import roles_of, speaker

    policies = now.authority.policies
    known, fitting = policies.principals.get(signer.keyid), fitting or roles_of(policies)
    mine = known.roles if known is not None and known.kind == "person" else []
    first = next((one for one in mine if one in fitting), None)
    return speaker(now.authority, signer, role or first, fitting, at)


def in_force(now: LogState, name: str, at: datetime) -> Evidence | None:
    """The authorization of `name` that lasts longest, of those that cover a run beginning at
    `at`.
    """
    mine = [
        item
        for item in now.evidence.all("authorization")
        if (person := now.authority.speaker(item)) is not None
        and person.name == name
        and instant_of(item.predicate.at) <= at < instant_of(item.predicate.expires)
    ]
    return max(mine, key=lambda item: instant_of(item.predicate.expires), default=None)


def on_behalf(machine: Machine, log: Log, at: datetime) -> Machine:
    """The machine, its requester authenticated where an authorization of theirs stands in the
    log.
    """
    if next(iter(log.by_kind(["authorization"])), None) is None:
        return machine
    from governance.history.state import state

    asked = machine.requester
    found = in_force(state(log), asked.name, at)
    if found is None:
        return machine
    return replace(
        machine,
        requester=Requester(name=asked.name, authenticated=True, authorization=found.digest),
    )
