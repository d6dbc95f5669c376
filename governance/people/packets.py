"""The latest packet of a version, and the decision to promote a packet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from governance.gates.checks.context import ReleaseContext
from governance.history import packet
from governance.history.state import LogState
from governance.log.evidence import Evidence
from governance.release import promotion


def current(
    now: LogState, model: str, version: str, at: datetime
) -> tuple[Evidence | None, list[str]]:
    """The latest packet of a version, and what changed since it was frozen."""
    registration = now.registration(model, version).predicate
    latest = packet.latest(now.evidence, model, version, registration.model_digest)
    if latest is None:
        return None, []
    return latest, promotion.changed(now, latest, at)


def release_context(
    now: LogState,
    recorded: Evidence,
    at: datetime,
    more: Sequence[Evidence] = (),
    alias: str | None = None,
) -> ReleaseContext:
    """The context of the decision to promote a packet, with further statements that are not in the
    log.
    """
    frozen = recorded.predicate
    to = alias or now.authority.policies.main_alias
    request = promotion.ask(now, "promote", frozen.model, frozen.version, to)
    request = request.model_copy(update={"packet": packet.digest_of(frozen)})
    return ReleaseContext.of(request, now.authority, now.evidence.assuming(more), at)
