"""Authorizations: a person lets services run in their name for some hours.

Every stage looks for an authorization that covers its run. Imports that only `authorize` needs are
therefore inside it.
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
    from governance.people.speaking import Recorded, Speaker

LONGEST = 24 * 31
"""The longest authorization, in hours."""


def authorize(
    log: Log, now: LogState, signer: Signer, role: str | None, reason: str, hours: int, at: datetime
) -> tuple[Recorded, Speaker, Authorization]:
    """Records that services may run in the name of this person for `hours`."""
    from governance.people.policies import subject
    from governance.people.speaking import record_statement

    author = speaking_for_themselves(now, signer, role, at)
    authorization = Authorization(
        **author.signed(reason, at, anywhere=True),
        expires=exact_instant(at + timedelta(hours=hours)),
    )
    policies = subject(now.authority.in_force.digest)
    recorded = record_statement(log, signer, "authorization", [policies], authorization)
    return recorded, author, authorization


def speaking_for_themselves(
    now: LogState, signer: Signer, role: str | None, at: datetime, fitting: Sequence[str] = ()
) -> Speaker:
    """The signer as a person, in any of their roles or of the `fitting` roles. Takes their first
    such role if `role` is None.
    """
    from governance.people.speaking import roles_of, speaker

    policies = now.authority.policies
    principal = policies.principals.get(signer.keyid)
    fitting = fitting or roles_of(policies)
    roles = principal.roles if principal is not None and principal.kind == "person" else []
    first = next((name for name in roles if name in fitting), None)
    return speaker(now.authority, signer, role or first, fitting, at)


def in_force(now: LogState, name: str, at: datetime) -> Evidence | None:
    """The authorization of `name` that covers a run starting at `at`. Returns the one that ends
    last.
    """
    authorizations = [
        authorization
        for authorization in now.evidence.all("authorization")
        if (person := now.authority.speaker(authorization)) is not None
        and person.name == name
        and instant_of(authorization.predicate.at)
        <= at
        < instant_of(authorization.predicate.expires)
    ]
    return max(
        authorizations,
        key=lambda authorization: instant_of(authorization.predicate.expires),
        default=None,
    )


def on_behalf(machine: Machine, log: Log, at: datetime) -> Machine:
    """The machine. Its requester is authenticated if an authorization in the log covers `at`."""
    if next(iter(log.by_kind(["authorization"])), None) is None:
        return machine
    from governance.history.state import state

    requester = machine.requester
    authorization = in_force(state(log), requester.name, at)
    if authorization is None:
        return machine
    return replace(
        machine,
        requester=Requester(
            name=requester.name, authenticated=True, authorization=authorization.digest
        ),
    )
