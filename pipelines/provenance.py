"""What a statement says of the code, the environment and the run behind it, and how it reaches the
log.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from governance.attest.digests import sha256_bytes
from governance.attest.predicates import (
    PREDICATES,
    TYPE_PREFIX,
    Artifact,
    Code,
    Environment,
    Requester,
    Run,
)
from governance.base.time import instant
from governance.log import evidence
from governance.log.port import Entry
from governance.machine.machine import Machine, known_signer, open_log
from governance.people import authorizing
from governance.policy.authority import Authority, read_authority
from governance.policy.policies import Policies


def code(root: Path, before: Code | None = None) -> Code:
    """The commit at hand, and whether code, parameters or policies differ from it (dvc.lock aside).

    `before` is what it was when the work began: changed meanwhile counts as changed. So does what
    git cannot tell.
    """
    commit = _git(root, "rev-parse", "HEAD")
    if not commit:
        return Code(commit=None, dirty=True)
    changed = _git(
        root, "status", "--porcelain", "--untracked-files=normal", "--", ".", ":(exclude)dvc.lock"
    )
    meanwhile = before is not None and (before.dirty or before.commit != commit)
    return Code(commit=commit, dirty=changed != "" or meanwhile)


def _git(root: Path, *arguments: str) -> str | None:
    """What git says; None where it cannot."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def environment(versions: dict[str, str]) -> Environment:
    """Interpreter, platform, the engines of this stage, and one digest over everything
    installed.
    """
    return Environment(
        python=platform.python_version(),
        platform=f"{platform.system()}-{platform.machine()}",
        versions=versions,
        distributions=_distributions(),
    )


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
    """The part of a statement that differs between two runs of the same thing."""
    return Run(
        started=instant(began),
        finished=instant(ended),
        seconds=round(seconds, 3),
        requested_by=requester,
        detail=detail,
    )


def record(
    kind: str,
    subjects: list[Artifact],
    fields: dict[str, Any],
    machine: Machine,
    policies: Policies,
    now: Callable[[], datetime],
) -> Entry:
    """Signs what a stage did and appends it to the log; the same thing recorded twice is one
    entry.
    """
    predicate = PREDICATES[f"{TYPE_PREFIX}{kind}/v1"].model_validate(fields)
    log = open_log(machine, policies, now)
    return evidence.record(log, known_signer(machine, policies.keys), kind, subjects, predicate)


def open_evidence(
    machine: Machine, policies: Policies, now: Callable[[], datetime]
) -> evidence.EvidenceView:
    """The verified log as a view by subject and kind."""
    log = open_log(machine, policies, now)
    return evidence.LogEvidence(
        log, evidence.key_ring(log, {**read_authority(log).keys, **policies.keys})
    )


def on_behalf(machine: Machine, policies: Policies, now: Callable[[], datetime]) -> Machine:
    """The machine, its requester authenticated where the log has their authorization for a run that
    begins now.
    """
    return authorizing.on_behalf(machine, open_log(machine, policies, now), now())


def open_authority(machine: Machine, policies: Policies, now: Callable[[], datetime]) -> Authority:
    """Who spoke for whom at each position of the log."""
    return read_authority(open_log(machine, policies, now))
