"""What exports read: one version's facts, from a log that was verified from its first entry."""

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
    """One version, the evidence it rests on, and the report of the verified log."""

    facts: Facts
    verified: LogReport

    @property
    def name(self) -> str:
        """MODEL/VERSION"""
        return f"{self.facts.registration.model}/{self.facts.registration.version}"

    @property
    def log_id(self) -> str:
        """The log, identified by the digest of its first entry."""
        return f"urn:countersign:log:{self.verified.first}"

    @property
    def cards(self) -> Mapping[str, Datacard]:
        """The datacards of the policies that judge the version."""
        return self.facts.policies.datacards if self.facts.policies else {}


def read(sources: Sources, name: tuple[str, str], time: datetime | None = None) -> Records:
    """The records of (MODEL, VERSION) at `time`, or at the last entry where no time is given.

    Raises `VerificationError` where the log does not verify.
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


def entries(statements: list[Evidence | None]) -> str:
    """The log entries of these statements, as text."""
    indexes = sorted({statement.index for statement in statements if statement})
    return ", ".join(f"E{index}" for index in indexes) or "no entry"
