"""What a statement says about code, environment and run, and how it reaches the log."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from governance.attest.digests import sha256_bytes
from governance.attest.predicates import (
    PREDICATES,
    TYPE_PREFIX,
    Artifact,
    Code,
    Environment,
    Library,
    Requester,
    Run,
)
from governance.base.time import instant
from governance.log import evidence, views
from governance.log.port import Entry, Log
from governance.machine.machine import Machine, known_signer
from governance.policy.authority import Authority
from governance.policy.policies import Policies
from pipelines import isolation
from pipelines.codefiles import code
from pipelines.installed import still_installed, take_snapshot
from pipelines.project import Project

LONGEST_LICENCE = 120
"""Characters. A longer `License` field is the text of the licence, not its name."""


def environment(versions: dict[str, str], machine: Machine) -> Environment:
    """Interpreter, platform, engines of the stage, and digests over all that is installed."""
    found = still_installed(machine.home)
    return Environment(
        python=platform.python_version(),
        platform=f"{platform.system()}-{platform.machine()}",
        versions=versions,
        distributions=_distributions(),
        libraries={name: library for name in versions if (library := _library(name))},
        files=found.digest,
        altered=list(found.altered),
        variables=isolation.named(machine.environ),
    )


def prepare(root: Path, machine: Machine) -> None:
    """Finds out beforehand what statements need, where workers are forked."""
    take_snapshot(machine.home)
    code(root)
    _distributions()


@cache
def _library(name: str) -> Library | None:
    """Licence and digest of an installed distribution; None if it is not installed as one."""
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    record = distribution.read_text("RECORD")
    if record is None:
        return None
    return Library(licence=_licence(distribution), record=sha256_bytes(record.encode()))


def _licence(distribution: metadata.Distribution) -> str:
    """The licence that the metadata names: an expression, a short text, or a classifier."""
    fields = distribution.metadata
    for name in ("License-Expression", "License"):
        # Once imported, the backport importlib_metadata raises KeyError for fields[missing name].
        stated = (fields.get_all(name) or [""])[0]
        if stated and len(stated) <= LONGEST_LICENCE and "\n" not in stated:
            return str(stated)
    classifiers = fields.get_all("Classifier") or []
    named = [name.rpartition(" :: ")[2] for name in classifiers if name.startswith("License :: ")]
    return ", ".join(sorted(named))


@cache
def _distributions() -> str:
    """sha256 over the sorted lines `NAME-VERSION.dist-info sha256(RECORD)` of the installed
    distributions.

    Folder and file as the PyPA specification "Recording installed projects" has them.
    """
    records = {
        record for entry in sys.path for record in Path(entry or ".").glob("*.dist-info/RECORD")
    }
    lines = sorted(
        f"{record.parent.name} {sha256_bytes(record.read_bytes())}" for record in records
    )
    return sha256_bytes("\n".join(lines).encode())


def run(
    began: datetime, ended: datetime, seconds: float, requester: Requester, detail: dict[str, Any]
) -> Run:
    """The part of a statement that differs between two runs with the same result."""
    return Run(
        started=instant(began),
        finished=instant(ended),
        seconds=round(seconds, 3),
        requested_by=requester,
        detail=detail,
    )


@dataclass(frozen=True)
class Work:
    """A piece of work in a project, from its beginning, for the statement that records it."""

    project: Project
    now: Callable[[], datetime]
    began: datetime
    clock: float
    code: Code

    @classmethod
    def begin(cls, project: Project, now: Callable[[], datetime]) -> Work:
        """Work that begins now."""
        return cls(project, now, now(), time.monotonic(), code(project.root))

    def record(
        self,
        log: Log,
        kind: str,
        subjects: list[Artifact],
        fields: dict[str, Any],
        detail: dict[str, Any],
    ) -> tuple[Entry, Any]:
        """Signs a statement about the work and appends it to the log; recorded twice, it is one
        entry. Returns the entry and the predicate. `detail` is what differs between two runs with
        the same result.
        """
        project = self.project
        seconds, requester = time.monotonic() - self.clock, project.machine.requester
        fields = {
            **fields,
            "policy": project.policies.digest,
            "code": code(project.root, self.code),
            "run": run(self.began, self.now(), seconds, requester, detail),
        }
        predicate = PREDICATES[f"{TYPE_PREFIX}{kind}/v1"].model_validate(fields)
        signer = known_signer(project.machine, project.policies.keys)
        return evidence.record(log, signer, kind, subjects, predicate), predicate


def evidence_view(log: Log, policies: Policies, authority: Authority) -> views.EvidenceView:
    """The entries that the log has now, verified. Each question is put to the log once."""
    ring = evidence.key_ring(log, {**authority.keys, **policies.keys})
    return views.log_evidence(log, ring).before(log.size())
