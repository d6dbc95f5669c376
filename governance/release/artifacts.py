"""Compares the files at hand with the evidence: they are those that the stages made, and no others.

1. Every file below `OUTPUTS` is a subject of a statement by its path, or in a folder that is one. A
   statement gives its digest (or the folder's) under that path.
2. A source file is the one that the latest statement about it read.
3. A registered model's files, if this machine has them, are those of its registration.
4. Only the files of a retired version are ever deleted. Row, log and evidence stay: they show what
   it was, where it came from and who retired it. Copies elsewhere (DVC's cache and remotes, other
   machines) are not deleted.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from governance.attest import digests
from governance.attest.predicates import (
    Ingest,
    ModelFile,
    Predicate,
    Promotion,
    Registration,
    Reproduction,
    Run,
    SeedRun,
)
from governance.base.errors import InputError, RefusedError, StorageError, VerificationError
from governance.history.state import LogState
from governance.log.evidence import Evidence
from governance.machine.machine import Machine
from governance.models.folder import Fault
from governance.registry.mlmodel import differences, sealed_folder

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
NO_FILES = (Reproduction, SeedRun)
"""Statements about a training that was repeated in a temporary folder: they made no file."""
_IGNORED = {".gitignore"}
"""Written by DVC beside outputs."""

REGISTRY_RUN = "registry_run"
"""The key in `run.detail` of a registration for the registry's id of the run that holds the
files.
"""

Locate = Callable[[Registration], Path | None]
"""The folder of a registered version on this machine; None if this machine does not have it."""


@dataclass(frozen=True)
class FilesReport:
    """How much was compared, and what differs."""

    compared: int
    """How many files and folders were compared."""
    versions: int
    """How many registered versions were compared."""
    out_of_reach: tuple[str, ...]
    """Registered versions whose files are not on this machine: MODEL/VERSION."""
    mismatches: tuple[Fault, ...]


def verify_files(root: Path | None, evidence: Iterable[Evidence], locate: Locate) -> FilesReport:
    """Compares the project's files below `root`, if given, and the files of registered models with
    verified evidence.
    """
    recorded = _recorded(evidence)
    registrations = recorded.registrations
    compared, mismatches = _project_files(root, recorded) if root else (0, [])
    folders: dict[tuple[str, str], Path] = {}
    for registration in registrations:
        version = (registration.model, registration.version)
        folder = locate(registration)
        if folder and (folder.exists() or version not in recorded.retired):
            folders[version] = folder
    missing: set[str] = set()
    for registration in registrations:
        version = (registration.model, registration.version)
        if version in folders:
            about = f"registered {'/'.join(version)}"
            mismatches += _faults(about, partial(_registered, registration, folders[version]))
        else:
            missing.add("/".join(version))
    return FilesReport(compared, len(folders), tuple(sorted(missing)), tuple(mismatches))


def _project_files(root: Path, recorded: _Recorded) -> tuple[int, list[Fault]]:
    """(1), (2) How many files and folders were compared, and what differs."""
    mismatches: list[Fault] = []
    made = recorded.made
    manifests = {model.model_digest: model.files for model in recorded.registrations}
    paths = [path for top in OUTPUTS for path in _below(root, PurePosixPath(top), made)]
    for path in paths:
        mismatches += _faults(path, partial(_output, root / path, made.get(path), manifests))
    sources = sorted(recorded.read.items())
    present = [(path, sha256) for path, sha256 in sources if (root / path).exists()]
    for path, sha256 in present:
        mismatches += _faults(path, partial(_source, root / path, sha256))
    return len(paths) + len(present), mismatches


def registry_run(run: Run) -> str:
    """The registry's id of the run that holds the files; empty where there was none."""
    return str(run.detail.get(REGISTRY_RUN) or "")


def in_artifact_root(root: Path) -> Locate:
    """Finds a version's files in the registry of this machine: ROOT/RUN/artifacts/model/model, or
    with a server ROOT/EXPERIMENT/RUN/artifacts/model/model; for versions of before, without the
    last part (`governance.registry.mlmodel`).
    """
    artifacts = _artifacts(root)

    def locate(registration: Registration) -> Path | None:
        folder = artifacts(registration)
        return sealed_folder(folder / "model") if folder else None

    return locate


def _artifacts(root: Path) -> Locate:
    """Finds the artifacts of a version's run.

    Raises `VerificationError` if a run has several folders, because only the registry knows which
    of them is served.
    """

    def locate(registration: Registration) -> Path | None:
        run = registry_run(registration.run)
        if not re.fullmatch(r"[0-9a-f]{32}", run) or not root.is_dir():
            return None
        folders = sorted(path for path in root.glob(f"*/{run}") if path.parent.name.isdecimal())
        folders += [root / run] if (root / run).exists() else []
        if len(folders) > 1:
            found = f"the files of run {run} stand in several folders"
            raise VerificationError(found, where=", ".join(str(path) for path in folders))
        return (folders[0] if folders else root / run) / "artifacts"

    return locate


@dataclass
class _Recorded:
    """What statements say of files."""

    made: dict[str, set[str]] = field(default_factory=dict)
    """Maps each output path to its digests."""
    read: dict[str, str] = field(default_factory=dict)
    """Maps each source path to the digest last read."""
    registrations: list[Registration] = field(default_factory=list)
    retired: set[tuple[str, str]] = field(default_factory=set)
    """Model and number of each retired version."""


def _recorded(evidence: Iterable[Evidence]) -> _Recorded:
    recorded = _Recorded()
    for statement in evidence:
        predicate = statement.predicate
        if isinstance(predicate, Predicate) and not isinstance(predicate, NO_FILES):
            for subject in statement.subjects:
                recorded.made.setdefault(subject.name, set()).add(subject.sha256)
        if isinstance(predicate, Ingest):
            sources = [used for used in predicate.inputs if used.name.startswith(SOURCES)]
            recorded.read.update({source.name: source.sha256 for source in sources})
        if isinstance(predicate, Registration):
            recorded.registrations.append(predicate)
        if isinstance(predicate, Promotion) and predicate.allowed and predicate.action == "retire":
            recorded.retired.add((predicate.model, predicate.version))
    return recorded


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


def _faults(about: str, compare: Callable[[], list[str]]) -> list[Fault]:
    """The differences that a comparison finds; what cannot be read is one."""
    try:
        return [Fault(about, line) for line in compare()]
    except InputError as error:
        return [Fault(error.where or about, error.found)]


def _output(
    path: Path, expected: set[str] | None, manifests: dict[str, list[ModelFile]]
) -> list[str]:
    if not expected:
        return ["no statement names this file as the output of a stage"]
    files = digests.manifest(path) if path.is_dir() else None
    digest = digests.sha256_file(path) if files is None else digests.manifest_digest(files)
    if digest in expected:
        return []
    manifest = next((manifests[sha256] for sha256 in sorted(expected) if sha256 in manifests), None)
    if files is not None and manifest is not None:
        return digests.difference(manifest, files)
    return [f"its bytes (sha256 {digest[:16]}...) are not those that its stage made"]


def _source(path: Path, expected: str) -> list[str]:
    same = digests.digest_of(path) == expected
    return [] if same else ["changed since it was read; `dvc repro` reads it again"]


def _registered(registration: Registration, folder: Path) -> list[str]:
    """`folder`: of the model itself. What stands around it tells MLflow how to load it."""
    found = digests.difference(registration.files, digests.manifest(folder))
    is_wrapped = sealed_folder(folder.parent) == folder
    around = differences(folder.parent, registration.model_digest) if is_wrapped else []
    return found + ([] if found else around)


# -- A retired version -----------------------------------------------------------------------------
BESIDE = ("model", "adapter")
"""Folders in the run's artifacts that hold weights."""


def delete_files(
    now: LogState, machine: Machine, model: str, version: str, dry_run: bool = False
) -> list[str]:
    """Deletes the files of a retired version from this machine's registry. Returns the folders.

    Raises `RefusedError` if the version is not retired, `StorageError` if the disk refuses.
    """
    if (model, version) not in now.timeline.retirements:
        raise RefusedError(
            f"{model}/{version} was not retired, so its files stay",
            fix=f"countersign retire {model}/{version} --reason ...",
        )
    artifacts = _artifacts(machine.artifact_root)(now.registration(model, version).predicate)
    folders = [artifacts / name for name in BESIDE] if artifacts else []
    present = [path for path in folders if path.is_dir()]
    for path in () if dry_run else present:
        try:
            shutil.rmtree(path)
        except OSError as error:
            found = f"cannot be deleted: {error.strerror or error}"
            raise StorageError(found, where=str(path)) from None
    return [str(path) for path in present]
