"""Finds packets: the latest of a version, one by its digest, or one that is not recorded yet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from governance.attest.digests import SHORTEST
from governance.attest.predicates import Run
from governance.base.errors import InputError
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


def by_digest(now: LogState, digest: str) -> Evidence:
    """The packet whose digest begins with `digest`. Raises `InputError`."""
    packets = {
        packet.digest_of(recorded.predicate): recorded for recorded in now.evidence.all("packet")
    }
    matching = [recorded for sha256, recorded in packets.items() if sha256.startswith(digest)]
    if len(matching) == 1 and len(digest) >= SHORTEST:
        return matching[0]
    examples = ", ".join(sha256[:12] for sha256 in list(packets)[-5:])
    raise InputError(
        f"the log has no packet {digest[:80]!r}",
        expected="MODEL/VERSION, e.g. support-desk/1"
        + (f", or one of: {examples}" if examples else ""),
    )


def unrecorded(now: LogState, model: str, version: str, at: datetime, run: Run) -> Evidence:
    """The packet as `countersign freeze` would record it now."""
    predicate = promotion.freeze(now, model, version, at, run)
    return Evidence(now.size, "packet", tuple(packet.subjects(predicate)), predicate, "", False, "")


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
