"""What this machine trusts of a log before it reads it. Every client takes it from here: `verify`,
`verify-model`, the loader, reports, bundles, and people who sign over a server's log.

1. The origin: what the caller pins, else COUNTERSIGN_ORIGIN. Where the log is kept here, the
   checkpoint key of this machine.
2. The last head of the log that this machine signed or verified.
3. The witnesses: those that the caller names; else those of the client's own policies; else those
   that this machine last saw in force in a log that it verified.
4. The time: cosignatures are fresh by this machine's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from governance.base.errors import VerificationError
from governance.base.progress import Progress
from governance.history.verify import LogReport, TrustAnchors, verify_log
from governance.history.witnesses import check_witnesses
from governance.log.http_client import is_server
from governance.log.port import Log
from governance.machine.machine import (
    Machine,
    check_pin,
    last_seen,
    on_server,
    own_checkpoint_key,
    remember,
    remember_witnesses,
    trusted_witnesses,
)
from governance.machine.workers import in_processes
from governance.policy.authority import read_authority
from governance.policy.policies import Policies, load_policies
from governance.policy.witnesses import Requirement, log_requirement, requirement


def own_policies(root: Path) -> Policies | None:
    """The client's own policies, in the project's folder; None where there is none. Raises
    `ConfigError` for policies that cannot be read: without them, less would be required.
    """
    folder = root / "policies"
    return load_policies(folder, strict=False) if folder.is_dir() else None


def trust_anchors(
    machine: Machine,
    log: Log,
    policies: Policies | None,
    at: datetime,
    *,
    origin: str | None = None,
    witnesses: Requirement | None = None,
) -> TrustAnchors:
    """What must fit when this machine reads a log. Raises `StorageError` where what it kept cannot
    be read.
    """
    own = log_requirement(policies.rules) if policies else None
    return TrustAnchors(
        origin=pinned(machine, origin),
        checkpoint_key=None if on_server(machine) else own_checkpoint_key(machine),
        witnesses=witnesses or _asked(own) or _remembered(machine, log.checkpoint()),
        at=at,
        seen=last_seen(machine, log),
    )


def bundle_anchors(
    machine: Machine,
    policies: Policies | None,
    note: str,
    model: str,
    *,
    origin: str | None = None,
    witnesses: Requirement | None = None,
) -> TrustAnchors:
    """What must fit when this machine reads a bundle of a model, under a checkpoint. Its witnesses
    are those of the model's tier, of any age: a bundle is a file of one moment.
    """
    if policies is not None and policies.rules.witnesses:
        known: Requirement | None = requirement(policies.rules, policies.tier_of(model))
    else:
        known = _remembered(machine, note)
    return TrustAnchors(origin=pinned(machine, origin), witnesses=witnesses or known)


def verified(
    machine: Machine,
    log: Log,
    policies: Policies | None,
    anchors: TrustAnchors,
    *,
    keys: Mapping[str, str] | None = None,
) -> LogReport:
    """The report of verifying a log from its first entry. `keys`: key id to PEM of keys that count
    besides those of the log's policies; by default, those of the client's own.
    """
    known = keys if keys is not None else (policies.keys if policies else {})
    with Progress().bar(log.size(), "entries verified") as bar:
        return verify_log(
            log, machine.project, known, anchors, run=in_processes(), counted=bar.advance
        )


def remember_verified(machine: Machine, log: Log, report: LogReport) -> None:
    """Keeps the head of a log that verified, and what its policies ask of witnesses, for the next
    time. Raises `StorageError`.
    """
    if report.ok:
        remember(machine, report.checkpoint)
        in_force = read_authority(log, report.entries).in_force.policies
        if in_force is not None:
            remember_witnesses(machine, report.checkpoint, log_requirement(in_force.rules))


def check_witnessed(
    machine: Machine, log: Log, policies: Policies | None, at: datetime, origin: str | None = None
) -> None:
    """The quick check of a log of which not every entry is verified: its origin, and the quorum of
    witnesses. Raises `VerificationError`.
    """
    anchors = trust_anchors(machine, log, policies, at, origin=origin)
    check_pin(log, anchors.origin)
    check_witnesses(log, read_authority(log), anchors.witnesses, anchors.at)


def check_before_signing(
    machine: Machine, log: Log, policies: Policies | None, at: datetime
) -> None:
    """Raises `VerificationError` where a person would sign what lets something pass, over a server
    whose log too few witnesses have seen. What stops something (a rollback, a retirement, an open
    incident, a revocation, a rejection) waits for no witness, and neither do policies, which may
    replace the witnesses.
    """
    if is_server(machine.log_uri):
        check_witnessed(machine, log, policies, at)


def pinned(machine: Machine, origin: str | None) -> str | None:
    """The pinned origin: entry 0, or the id of the checkpoint key."""
    return origin or machine.environ.get("COUNTERSIGN_ORIGIN") or None


def unwitnessed(anchors: TrustAnchors) -> TrustAnchors:
    """For the log's own machine, which has to use its log before it can ask a witness."""
    return replace(anchors, witnessed=False)


def _asked(required: Requirement | None) -> Requirement | None:
    return required if required is not None and required.quorum else None


def _remembered(machine: Machine, note: str) -> Requirement | None:
    """The checkpoint may be unreadable: verification says so."""
    with suppress(VerificationError):
        return trusted_witnesses(machine, note)
    return None
