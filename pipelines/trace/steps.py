"""What the log says was made of each dataset: steps with the ids of records, and their files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from governance.attest.digests import digest_of
from governance.attest.predicates import Artifact, Evaluate
from governance.base.errors import InputError
from governance.history.contents import NOTHING, Contents
from governance.history.lineage import subject
from governance.history.state import LogState
from governance.log.evidence import Evidence
from governance.policy.readers import Content
from governance.release.reading import Wanted
from pipelines.paths import is_inside


@dataclass(frozen=True)
class Step:
    """Something that a stage wrote, with the ids of records."""

    statement: Evidence
    dataset: str
    role: str
    """Of the file: `records`, or `answers` to them."""
    digest: str


def steps(now: LogState) -> Iterator[Step]:
    """Every step of every dataset in the log, and the answers of every evaluation."""
    for kind in ("ingest", "scan", "quality"):
        for statement in now.evidence.all(kind):
            digest = subject(statement, "records")
            if digest is not None:
                yield Step(statement, statement.predicate.dataset, "records", digest)
    for scored in now.evidence.all(Evaluate):
        digest = subject(scored, "answers")
        if digest not in (None, NOTHING):
            yield Step(scored, scored.predicate.dataset, "answers", digest)


def wanted(step: Step, known: Contents) -> Wanted:
    """What somebody reads who looks into the files of a step."""
    named = frozenset({Content("dataset", step.dataset)})
    return Wanted.of(step.digest, known.of_digest(step.digest), named)


def artifact(statement: Evidence, role: str) -> Artifact | None:
    """What a step wrote in this role, where its name is inside the project."""
    found = next((each for each in statement.subjects if each.role == role), None)
    return found if found is not None and is_inside(found.name) else None


def proven(statement: Evidence, root: Path, role: str) -> Path:
    """The file or folder that a step wrote. Raises `InputError` if it is not here as recorded."""
    found = artifact(statement, role)
    if found is None:
        raise InputError("its statement names no such file inside the project")
    if not (root / found.name).exists():
        raise InputError(f"{found.name} is not here")
    if digest_of(root / found.name) != found.sha256:
        raise InputError(f"{found.name} differs from what was recorded")
    return root / found.name
