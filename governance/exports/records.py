"""What exports are made from: one version's facts, in a log that was verified from its first entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from governance.errors import CountersignError, VerificationError
from governance.evidence import Evidence
from governance.log.port import Log
from governance.machine import Machine, own_checkpoint_key, read_log
from governance.policy import Datacard, Policies, load_policies
from governance.promotion import state
from governance.report.facts import Facts, gather
from governance.verify import Pins, verify_log
from governance.verify import Report as Verified


@dataclass(frozen=True)
class Records:
    """One version, everything behind it, and the verified log it stands in."""

    facts: Facts
    verified: Verified

    @property
    def name(self) -> str:
        """MODEL/VERSION"""
        return f"{self.facts.registration.model}/{self.facts.registration.version}"

    @property
    def log_id(self) -> str:
        """The log by what it is pinned by: the digest of its first entry."""
        return f"urn:countersign:log:{self.verified.first}"

    @property
    def cards(self) -> Mapping[str, Datacard]:
        """Datacards of the policies the version is judged by."""
        return self.facts.policies.datacards if self.facts.policies else {}


def read(
    log: Log,
    project: str,
    root: Path,
    policies: Policies | CountersignError,
    name: tuple[str, str],
    *,
    checkpoint_key: str | None = None,
    time: datetime | None = None,
) -> Records:
    """The records of MODEL, VERSION. Raises `VerificationError` where the log does not verify: nothing is used then."""
    service: Mapping[str, str] = {} if isinstance(policies, CountersignError) else policies.keys
    verified = verify_log(log, project, service, Pins(checkpoint_key=checkpoint_key))
    if verified.broken is not None:
        raise VerificationError(
            f"EVIDENCE DOES NOT VERIFY: {verified.broken}",
            where=log.where,
            fix="nothing is made from it; countersign verify says more",
        )
    model, version = name
    return Records(gather(state(log), project, root, policies, model, version, time), verified)


def open_records(machine: Machine, root: Path, name: tuple[str, str], time: datetime | None = None) -> Records:
    """The records of MODEL, VERSION in this machine's log, with the policies of the project at `root`."""
    policies: Policies | CountersignError
    try:
        policies = load_policies(root / "policies")
    except CountersignError as error:
        policies = error
    log = read_log(machine)
    key = own_checkpoint_key(machine)
    return read(log, machine.project, root, policies, name, checkpoint_key=key, time=time)


def entries(items: list[Evidence | None]) -> str:
    """Where evidence stands in the log, in words."""
    found = sorted({item.index for item in items if item})
    return ", ".join(f"E{index}" for index in found) or "no entry"
