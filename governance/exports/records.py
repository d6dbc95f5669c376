"""What exports read: one version's facts, from a log that was verified from its first entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from governance.attest.predicates import Recall, Scan
from governance.base.errors import VerificationError
from governance.bundle.sources import Sources
from governance.gates import recall
from governance.gates.assessment import describe
from governance.history.verify import LogReport
from governance.policy.rules import Datacard
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

    Raises `VerificationError` where the log does not verify, or a bundle may lack entries about the
    model.
    """
    verified = sources.verified
    if verified.broken is not None:
        found = f"EVIDENCE DOES NOT VERIFY: {verified.broken}"
        raise VerificationError(found, where=sources.log.where, fix="countersign verify")
    sources.must_show_all_of(name[0])
    now, _ = sources.read
    facts = gather(now, sources.project, sources.root, sources.policies, *name, time)
    return Records(facts, verified)


def personal_data(scan: Scan) -> list[tuple[str, str, int]]:
    """Each kind of personal data that was searched for or found: what a scan found, in words; the
    action; and how many remain.
    """
    rows = []
    for name in sorted({*scan.entities_searched, *scan.found, *scan.remaining}):
        action, remaining = scan.actions.get(name, "no action"), scan.remaining.get(name, 0)
        found = f"{name}: {scan.found.get(name, 0)} found, {action}, {remaining} remaining"
        rows.append((found, action, remaining))
    return rows


def recall_summary(scans: Mapping[str, Recall | None]) -> str:
    """The lowest recall in the scans of one or several datasets, in words."""
    measured = [
        (recall.interval(counts), kind, dataset)
        for dataset, scan in scans.items()
        for kind, counts in (scan.entities.items() if scan else ())
    ]
    without = [dataset for dataset, scan in scans.items() if not (scan and scan.entities)]
    if not measured:
        return f"recall {recall.NOT_RECORDED}" if scans else "recall not recorded: no scan is"
    lowest, weakest, where = min(measured, key=lambda each: (each[0].low, each[1]))
    kinds = {kind for _, kind, _ in measured}
    partly = {kind for found, kind, _ in measured if found.mean < 1}
    also = f"; {recall.NOT_RECORDED} for {', '.join(without)}" if without else ""
    return (
        f"recall on made-up values: {len(kinds - partly)} of {len(kinds)} kinds all found, "
        f"least {weakest} {describe(lowest)} ({where}){also}"
    )
