"""Authorizations: a person lets services run in their name for some hours.

Every stage looks for one that covers its run, so this module imports little.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from governance.attest.predicates import Authorization, Requester
from governance.base.time import instant_of
from governance.history.authorizations import of_person
from governance.log.evidence import Evidence
from governance.log.port import Log
from governance.machine.machine import Machine

if TYPE_CHECKING:
    from governance.history.state import LogState

LONGEST = 24 * 31
"""The longest authorization, in hours."""


def in_force(now: LogState, name: str, at: datetime) -> Evidence[Authorization] | None:
    """The authorization of `name` that covers a run starting at `at`. Returns the one that ends
    last.
    """
    covering = {}
    for statement in of_person(now.evidence, now.authority, name):
        authorization = statement.predicate
        end = instant_of(authorization.expires)
        if instant_of(authorization.at) <= at < end:
            covering[end] = statement
    return covering[max(covering)] if covering else None


def on_behalf(machine: Machine, log: Log, at: datetime) -> Machine:
    """The machine. Its requester is authenticated if an authorization in the log covers `at`."""
    if next(iter(log.by_kind(["authorization"])), None) is None:
        return machine
    from governance.history.state import state

    requester = machine.requester
    authorization = in_force(state(log), requester.name, at)
    if authorization is None:
        return machine
    digest = authorization.digest
    named = Requester(name=requester.name, authenticated=True, authorization=digest)
    return replace(machine, requester=named)
