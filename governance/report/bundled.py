"""A bundle for readers that ask a log: reports, and the commands that only look."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from governance.base.errors import ConfigError, VerificationError
from governance.bundle.check import verify_bundle
from governance.bundle.form import content, read
from governance.bundle.log import BundleLog
from governance.bundle.result import BundleReport
from governance.history.state import LogState, state
from governance.history.verify import TrustAnchors
from governance.policy.authority import read_authority
from governance.policy.policies import Policies
from governance.report.build import BundleSource, Sources

NOWHERE = Path("/nonexistent")
"""The folder of a project that is not at hand."""


@dataclass(frozen=True)
class Opened:
    """A bundle that verifies, and what verification found: whether the origin is established, the
    reader asks.
    """

    log: BundleLog
    report: BundleReport

    @property
    def state(self) -> LogState:
        """As of its checkpoint, as far as it carries."""
        return state(self.log)

    @property
    def sources(self) -> Sources:
        """The sources of a report: no folder, no registry, the policies that the log carries."""
        report = self.report
        log_range = f"0..{report.size - 1}"
        reads = "all of it, from a bundle"
        if not report.complete:
            log_range = f"{report.entries} of {log_range}"
            reads = (
                f"the {report.entries} entries that a bundle carries of {report.size};"
                " the others are not shown"
            )
        shows = (
            "Each statement is signed by a key the log's origin or the policies name, and has not"
            " changed since.",
            "Each is in the tree of the signed checkpoint, at its place.",
        )
        carried = BundleSource(report, log_range, reads, shows, report.limits)
        policies = _policies(self.log)
        return Sources(NOWHERE, report.project, self.log, policies, None, carried=carried)


def opened(path: Path, pins: TrustAnchors) -> Opened:
    """A verified bundle.

    Raises `InputError` where the file cannot be read, `VerificationError` where it does not verify.
    """
    data = content(path)
    report = verify_bundle(data, pins, where=path.name)
    if report.broken is not None:
        raise VerificationError(
            f"EVIDENCE DOES NOT VERIFY: {report.broken}", fix=f"countersign verify {path}"
        )
    return Opened(BundleLog(read(data), path.name), report)


def _policies(log: BundleLog) -> Policies | ConfigError:
    policies = read_authority(log).in_force.policies
    return policies or ConfigError("the log does not carry the policies in force", where=log.where)
