"""What a statement says about code, environment and run, and how it reaches the log."""

from __future__ import annotations

import platform
import re
import subprocess
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
from governance.machine.machine import known_signer
from governance.policy.authority import Authority
from governance.policy.policies import Policies
from pipelines.project import Project

_COMMIT = re.compile(r"[0-9a-f]{40,64}")
LONGEST_LICENCE = 120
"""Characters. A longer `License` field is the text of the licence, not its name."""


def code(root: Path, before: Code | None = None) -> Code:
    """The current commit, and whether code, parameters or policies differ from it (dvc.lock aside).

    `before` is the state when the work began: a change since then counts as a difference. So does
    everything git cannot tell.
    """
    commit, changed = _git_state(root)
    changed_meanwhile = before is not None and (before.dirty or before.commit != commit)
    return Code(commit=commit, dirty=commit is None or changed or changed_meanwhile)


def _git_state(root: Path) -> tuple[str | None, bool]:
    """The commit, and whether any file differs from it. None where git cannot tell."""
    status = ["status", "--porcelain=v2", "--branch", "--untracked-files=normal"]
    try:
        done = subprocess.run(
            ["git", *status, "--", ".", ":(exclude)dvc.lock"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None, True
    if done.returncode:
        return None, True
    commit, changed = None, False
    for line in done.stdout.splitlines():
        header, _, value = line.partition("# branch.oid ")
        if not header and _COMMIT.fullmatch(value):
            commit = value
        changed = changed or not line.startswith("# ")
    return commit, changed


def environment(versions: dict[str, str]) -> Environment:
    """Interpreter, platform, engines of the stage, and one digest over all that is installed."""
    return Environment(
        python=platform.python_version(),
        platform=f"{platform.system()}-{platform.machine()}",
        versions=versions,
        distributions=_distributions(),
        libraries={name: library for name in versions if (library := _library(name))},
    )


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
