"""Where verified records are read from: the log of this machine, or the part of a log that a bundle
carries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

from governance.attest.predicates import Finding
from governance.base.errors import ConfigError, CountersignError, VerificationError
from governance.bundle.check import BundleReport, verify_bundle
from governance.bundle.form import content, read
from governance.bundle.log import BundleLog
from governance.history.state import LogHistory, LogState
from governance.history.verify import LogReport, TrustAnchors, verify_log
from governance.log.evidence import Evidence, key_ring
from governance.log.port import Log
from governance.log.views import EvidenceView, LogSource
from governance.machine.machine import Machine, begun, log_of
from governance.machine.trust import trust_anchors
from governance.machine.workers import in_processes
from governance.policy.authority import read_authority
from governance.policy.policies import Policies

NOWHERE = Path("/nonexistent")
"""The folder of a project that is not at hand."""


@dataclass(frozen=True)
class Sources:
    """What is read of a project: the log as it was at the first read, verified and read once."""

    root: Path
    """The project's folder, with files and policies."""
    project: str
    log: Log
    policies: Policies | CountersignError
    """The local policies, or the error where they cannot be read."""
    anchors: TrustAnchors
    """What this machine trusts of the log."""
    compare: Callable[[LogState], Sequence[Finding] | None] | None = None
    """Where a registry differs from the log (`governance.release.reconcile`); None if there is
    none to compare with.
    """
    bundle: BundleReport | None = None
    """The result of verifying the bundle that the log is read from; None for a whole log."""
    opened: dict[int, Evidence] = field(default_factory=dict, repr=False, compare=False)
    """The statements of entries that `verified` has verified; they are not verified twice."""

    @property
    def service(self) -> Mapping[str, str]:
        """The keys that the local policies name, in addition to the log's keys."""
        return {} if isinstance(self.policies, CountersignError) else self.policies.keys

    @cached_property
    def registry(self) -> Sequence[Finding] | None:
        """Where the registry differs from the verified log; None if they were not compared."""
        if self.compare is None or self.verified.broken is not None:
            return None
        return self.compare(self.read[0])

    @cached_property
    def verified(self) -> LogReport:
        """The report of verifying the log from its first entry. A bundle was verified when it
        was opened.
        """
        if self.bundle is not None:
            return self.bundle
        return verify_log(
            self.log,
            self.project,
            self.service,
            self.anchors,
            run=in_processes(),
            opened=self.opened,
        )

    def shows_all_of(self, model: str) -> bool:
        """Whether nothing about a model is missing. Of a log that verifies, nothing is."""
        return self.bundle is None or self.bundle.shows_all_of(model)

    def must_show_all_of(self, model: str) -> None:
        """Raises `VerificationError` where something about a model may be missing."""
        if not self.shows_all_of(model):
            found = f"COMPLETENESS NOT SHOWN: the bundle may lack entries about {model}"
            fix = "ask for a new bundle of this model, or for the log"
            raise VerificationError(found, where=self.log.where, fix=fix)

    @cached_property
    def read(self) -> tuple[LogState, LogSource]:
        """The state of the verified entries, without later ones, and its reader.

        Keys that the local policies name are accepted in addition to the log's keys.
        """
        whole = self.bundle is not None or self.verified.broken is not None
        size = self.log.size() if whole else self.verified.entries
        log_history = LogHistory(self.log, size, self.opened)
        authority = log_history.authority(size)
        ring = key_ring(self.log, {**authority.keys, **self.service})
        source = LogSource(self.log, ring, self.opened)
        view = EvidenceView(source, size=size)
        return LogState(self.log, size, authority, view, log_history), source


def open_sources(
    root: Path,
    machine: Machine,
    policies: Policies | CountersignError,
    at: datetime,
    origin: str | None = None,
) -> Sources:
    """The sources on this machine at a time. `origin`: the pinned one. Raises `StorageError` where
    there is no log. `build` verifies it.
    """
    log = begun(log_of(machine))
    own = None if isinstance(policies, CountersignError) else policies
    anchors = trust_anchors(machine, log, own, at, origin=origin)
    return Sources(root, machine.project, log, policies, anchors)


def open_bundle(path: Path, pins: TrustAnchors) -> Sources:
    """A verified bundle: no folder, no registry, the policies that its log carries. Whether its
    origin is established, the caller asks `bundle`.

    Raises `InputError` where the file cannot be read, `VerificationError` where it does not verify.
    """
    data = content(path)
    report = verify_bundle(data, pins, where=path.name)
    if report.broken is not None:
        raise VerificationError(
            f"EVIDENCE DOES NOT VERIFY: {report.broken}", fix=f"countersign verify {path}"
        )
    log = BundleLog(read(data), path.name)
    policies = read_authority(log).in_force.policies
    missing = ConfigError("the log does not carry the policies in force", where=log.where)
    return Sources(NOWHERE, report.project, log, policies or missing, pins, bundle=report)
