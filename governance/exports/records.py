"""What exports are made from: one version's facts, in a log that was verified from its first
entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from governance.base.errors import CountersignError, VerificationError
from governance.history.verify import LogReport
from governance.log.evidence import Evidence
from governance.machine.machine import Machine
from governance.policy.policies import Datacard, Policies, load_policies
from governance.report.build import Sources, open_sources
from governance.report.facts import Facts, gather


@dataclass(frozen=True)
class Records:
    """One version, everything behind it, and the verified log it stands in."""

    facts: Facts
    verified: LogReport

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


def read(sources: Sources, name: tuple[str, str], time: datetime | None = None) -> Records:
    """The records of MODEL, VERSION; as of the last entry where no time is given.

    Raises `VerificationError` where the log does not verify: nothing of it is used then.
    """
    verified = sources.verified
    if verified.broken is not None:
        raise VerificationError(
            f"EVIDENCE DOES NOT VERIFY: {verified.broken}",
            where=sources.log.where,
            fix="nothing is made from it; countersign verify says more",
        )
    now, _ = sources.read
    model, version = name
    return Records(
        gather(now, sources.project, sources.root, sources.policies, model, version, time), verified
    )


def at_hand(machine: Machine, root: Path) -> Sources:
    """This machine's log, with the policies of the project at `root`. Raises `StorageError` where
    there is no log.
    """
    policies: Policies | CountersignError
    try:
        policies = load_policies(root / "policies")
    except CountersignError as error:
        policies = error
    return open_sources(root, machine, policies)


def entries(items: list[Evidence | None]) -> str:
    """Where evidence stands in the log, in words."""
    found = sorted({item.index for item in items if item})
    return ", ".join(f"E{index}" for index in found) or "no entry"
