"""Files at hand against evidence: every byte that a stage is said to have made, and none besides.

1. A file below `OUTPUTS` is, by its path, a subject of a statement, or below a folder that is one;
   and its digest (the folder's) is one that a statement gives under that path.
2. A source file at hand is the one that the latest statement about it read.
3. A registered model's files, where they can be reached, are those of its registration.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from governance.attest import digests
from governance.attest.predicates import (
    Ingest,
    ModelFile,
    Predicate,
    Promotion,
    Registration,
    Reproduction,
)
from governance.base.errors import InputError, VerificationError
from governance.log.evidence import Evidence

OUTPUTS = (
    "data/ingested",
    "data/scanned",
    "data/ready",
    "models",
    "evaluations",
    "gates",
    "reports/curves",
)
"""Folders of stage outputs, relative to the project; everything in them is covered by evidence."""
SOURCES = "data/source/"
_IGNORED = {".gitignore"}
"""Written by DVC beside outputs."""

REGISTRY_RUN = "registry_run"
"""Under this name `run.detail` of a registration gives the registry's id of the run that holds the
files.
"""

Locate = Callable[[Registration], Path | None]
"""Where the files of a registered version can be reached on this machine; None where they cannot.
"""


@dataclass(frozen=True)
class Mismatch:
    """A file or folder that is not what evidence says."""

    path: str
    reason: str


@dataclass(frozen=True)
class FilesReport:
    """What was compared and what does not fit."""

    compared: int
    """Files and folders whose digest a statement names."""
    versions: int
    """Registered versions whose files were compared."""
    out_of_reach: tuple[str, ...]
    """Registered versions whose files are not on this machine: MODEL/VERSION."""
    mismatches: tuple[Mismatch, ...]


def verify_files(root: Path | None, evidence: Iterable[Evidence], locate: Locate) -> FilesReport:
    """Compares the project's files below `root`, where there is one, and registered models, with
    verified evidence.
    """
    made, read, registrations, retired = _names(evidence)
    manifests = {one.model_digest: one.files for one in registrations}
    compared, mismatches = _project_files(root, made, read, manifests) if root else (0, [])
    reached = {
        (one.model, one.version): folder
        for one in registrations
        if (folder := locate(one)) and (folder.exists() or (one.model, one.version) not in retired)
    }
    for one in registrations:
        if (one.model, one.version) in reached:
            mismatches += _compare_version(one, reached[one.model, one.version])
    missing = sorted(
        {
            f"{one.model}/{one.version}"
            for one in registrations
            if (one.model, one.version) not in reached
        }
    )
    return FilesReport(compared, len(reached), tuple(missing), tuple(mismatches))


def _project_files(
    root: Path,
    made: dict[str, set[str]],
    read: dict[str, str],
    manifests: dict[str, list[ModelFile]],
) -> tuple[int, list[Mismatch]]:
    """(1), (2) How many were compared, and what does not fit."""
    mismatches: list[Mismatch] = []
    compared = 0
    for path in _at_hand(root, made):
        compared += 1
        mismatches += _compare(root, path, made.get(path, set()), manifests)
    for path, sha256 in sorted(read.items()):
        if (root / path).exists():
            compared += 1
            mismatches += _compare_source(root, path, sha256)
    return compared, mismatches


def in_artifact_root(root: Path) -> Locate:
    """Finds a version's files where the registry of this machine keeps them:
    ROOT/RUN/artifacts/model, or, where a server keeps them, ROOT/EXPERIMENT/RUN/artifacts/model.
    Raises `VerificationError` where a run has several folders: which of them is served, only the
    registry says.
    """

    def locate(registration: Registration) -> Path | None:
        run = registration.run.detail.get(REGISTRY_RUN)
        if not isinstance(run, str) or not re.fullmatch(r"[0-9a-f]{32}", run) or not root.is_dir():
            return None
        found = sorted(path for path in root.glob(f"*/{run}") if path.parent.name.isdecimal())
        found += [root / run] if (root / run).exists() else []
        if len(found) > 1:
            raise VerificationError(
                f"the files of run {run} stand in several folders",
                where=", ".join(str(path) for path in found),
                expected="one, where the server put them",
            )
        return (found[0] if found else root / run) / "artifacts" / "model"

    return locate


def _names(
    evidence: Iterable[Evidence],
) -> tuple[dict[str, set[str]], dict[str, str], list[Registration], set[tuple[str, str]]]:
    """Path to the digests a stage gave it; source path to the digest last read; registrations;
    retired versions.
    """
    made: dict[str, set[str]] = {}
    read: dict[str, str] = {}
    registrations: list[Registration] = []
    retired: set[tuple[str, str]] = set()
    for item in evidence:
        if isinstance(item.predicate, Predicate) and not isinstance(
            item.predicate, Reproduction
        ):  # which made no file
            for subject in item.subjects:
                made.setdefault(subject.name, set()).add(subject.sha256)
        if isinstance(item.predicate, Ingest):
            read.update(
                {
                    one.name: one.sha256
                    for one in item.predicate.inputs
                    if one.name.startswith(SOURCES)
                }
            )
        if isinstance(item.predicate, Registration):
            registrations.append(item.predicate)
        if (
            isinstance(item.predicate, Promotion)
            and item.predicate.allowed
            and item.predicate.action == "retire"
        ):
            retired.add((item.predicate.model, item.predicate.version))
    return made, read, registrations, retired


def _at_hand(root: Path, made: dict[str, set[str]]) -> Iterator[str]:
    """Paths to compare: folders that are subjects as a whole, every other file by itself."""
    for top in OUTPUTS:
        yield from _below(root, PurePosixPath(top), made)


def _below(root: Path, folder: PurePosixPath, made: dict[str, set[str]]) -> Iterator[str]:
    if not (root / folder).is_dir():
        return
    for path in sorted((root / folder).iterdir()):
        relative = folder / path.name
        if path.name in _IGNORED:
            continue
        if str(relative) in made or path.is_symlink() or not path.is_dir():
            yield str(relative)
        else:
            yield from _below(root, relative, made)


def _compare(
    root: Path, path: str, expected: set[str], manifests: dict[str, list[ModelFile]]
) -> list[Mismatch]:
    if not expected:
        return [Mismatch(path, "no statement names this file as the output of a stage")]
    try:
        files = digests.manifest(root / path) if (root / path).is_dir() else None
        found = (
            digests.sha256_file(root / path) if files is None else digests.manifest_digest(files)
        )
    except InputError as error:
        return [Mismatch(error.where or path, error.found)]
    if found in expected:
        return []
    known = next((manifests[digest] for digest in sorted(expected) if digest in manifests), None)
    if files is not None and known is not None:
        return [Mismatch(path, line) for line in digests.difference(known, files)]
    return [Mismatch(path, f"its bytes (sha256 {found[:16]}...) are not those that its stage made")]


def _compare_source(root: Path, path: str, expected: str) -> list[Mismatch]:
    try:
        found = digests.digest_of(root / path)
    except InputError as error:
        return [Mismatch(error.where or path, error.found)]
    return (
        []
        if found == expected
        else [Mismatch(path, "changed since it was read; `dvc repro` reads it again")]
    )


def _compare_version(registration: Registration, folder: Path) -> list[Mismatch]:
    name = f"{registration.model}/{registration.version}"
    try:
        lines = digests.difference(registration.files, digests.manifest(folder))
    except InputError as error:
        lines = [f"{error.where}: {error.found}"]
    return [Mismatch(f"registered {name}", line) for line in lines]
