"""The training sets, suites and models that a registered version depends on, and where their files
are now.

1. What a version depends on follows from evidence, by digest (`governance.history.chain`).
2. Where the files are kept, the registration says with DVC's ids; one without them, dvc.lock here.
3. A file counts as restored only if it has the sha256 that evidence names. An id of DVC proves
   nothing.
4. Tried in this order: DVC's cache, the project's own file, the remote, and, for data and bases,
   making it again from its sources (`pipelines.rebuild`).
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from governance.attest.digests import digest_of
from governance.attest.predicates import Artifact, DvcObject, DvcState, Registration
from governance.base.errors import CountersignError, InputError
from governance.history.chain import Chain
from governance.history.lineage import DataChain, ModelNode
from governance.log.evidence import Evidence
from governance.log.views import EvidenceView
from pipelines import dvc_lock, isolation, paths
from pipelines.dvc_store import NotThereError, Store
from pipelines.paths import is_inside

Kind = Literal["training set", "prompts", "suite", "model", "base"]
Where = Literal["cache", "project", "remote", "made again", "nowhere", "not provable"]
KINDS: dict[Kind, str] = {
    "training set": "check_quality",
    "prompts": "check_quality",
    "suite": "check_quality",
    "base": "import_base",
    "model": "train",
}
"""Each kind and the family of stages that makes it."""
UNREADABLE = (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError, shutil.Error)
"""Errors of one place. Others, such as a full disk, are errors of all of them."""
MADE_AGAIN = frozenset({"check_quality", "import_base"})
"""Families that are made again here. A training is repeated by `countersign reproduce`."""


@dataclass(frozen=True)
class Item:
    """A folder that a version depends on."""

    kind: Kind
    name: str
    uses: tuple[str, ...]
    """The stages that read it."""
    sha256: str
    """Of its records or its model."""
    path: str
    """Where it stood in the project; empty if no evidence says that."""
    proofs: tuple[Artifact, ...]
    """Its files and folders below `path`, with their digests in evidence."""
    kept: DvcObject | None

    @property
    def stage(self) -> str:
        """The stage that makes it."""
        return f"{KINDS[self.kind]}@{self.name}"


@dataclass(frozen=True)
class Restored:
    """What became of an item."""

    item: Item
    where: Where
    """Where its proven files came from; `nowhere` if they are in no place that was asked, `not
    provable` if evidence is missing or everything found has other bytes.
    """
    reasons: tuple[str, ...] = ()


def items(view: EvidenceView, registration: Registration, root: Path) -> list[Item]:
    """(1), (2) Everything that the version depends on, data first."""
    chain = Chain.registered(view, registration)
    state = registration.dvc or _state_here(root, registration.stage)
    return [
        *(_dataset(data, uses, state) for data, uses in chain.datasets),
        *(_model(node, state) for node in chain.chain),
    ]


def _state_here(root: Path, stage: str) -> DvcState | None:
    return dvc_lock.behind(root, (paths.model(stage), paths.evaluation(stage)))


def _dataset(data: DataChain, uses: Sequence[str], state: DvcState | None) -> Item:
    families = {use.partition("@")[0] for use in uses}
    kind: Kind = (
        "training set" if "train" in families else "prompts" if "generate" in families else "suite"
    )
    return _item(kind, data.dataset, uses, data.sha256, data.quality, state)


def _model(node: ModelNode, state: DvcState | None) -> Item:
    kind: Kind = "model" if node.train or not node.base else "base"
    return _item(kind, node.name, (), node.sha256, node.train or node.base, state)


def _item(
    kind: Kind,
    name: str,
    uses: Sequence[str],
    sha256: str,
    statement: Evidence | None,
    state: DvcState | None,
) -> Item:
    subjects = [each for each in statement.subjects if is_inside(each.name)] if statement else []
    main = next((each for each in subjects if each.sha256 == sha256), None)
    objects = state.objects if state else []
    kept = next((each for each in objects if main and _is_below(main.name, each.path)), None)
    path = kept.path if kept else str(Path(main.name).parent.as_posix()) if main else ""
    proofs = tuple(each for each in subjects if _is_below(each.name, path))
    return Item(kind, name, tuple(uses), sha256, path, proofs, kept)


def _is_below(name: str, path: str) -> bool:
    return is_inside(path) and Path(name).is_relative_to(path)


def located(item: Item, root: Path, store: Store) -> Restored:
    """Where an item is, by the names of files only: nothing is read or proven."""
    if not item.proofs:
        return Restored(item, "not provable", ("the log has no evidence of its files",))
    if item.kept and store.has(item.kept):
        return Restored(item, "cache")
    if all((root / proof.name).exists() for proof in item.proofs):
        return Restored(item, "project")
    return Restored(item, "nowhere", ("neither in DVC's cache nor in the project",))


def restore(item: Item, target: Path, root: Path, store: Store) -> Restored:
    """(3), (4) Writes an item below `target` and proves it."""
    if not item.proofs:
        return located(item, root, store)
    if (target / item.path).exists():  # what is restored already must not be touched
        if _differing(item, target):
            return Restored(item, "not provable", ("another item has other files at its path",))
        return Restored(item, "project", ("restored with another item",))
    reasons: list[str] = []
    other = False
    for where, work in _ways(item, target, root, store):
        differing, reason = _tried(work, item, target)
        if reason:
            reasons.append(f"{where}: {reason}")
        if differing == []:
            reasons += _left_out(item, target)
            return Restored(item, where, tuple(reasons))
        if differing:
            other = True
            reasons.append(f"{where}: other bytes than evidence names: {', '.join(differing)}")
        _clear(target / item.path)
    if KINDS[item.kind] not in MADE_AGAIN:
        reasons.append(f"a training is repeated by `countersign reproduce {item.name}`")
    return Restored(item, "not provable" if other else "nowhere", tuple(reasons))


def _tried(work: Callable[[], object], item: Item, target: Path) -> tuple[list[str] | None, str]:
    """The files that differ after `work`, or why there are none."""
    try:
        work()
        return _differing(item, target), ""
    except NotThereError:
        return None, "not there"
    except CountersignError as error:
        return None, error.found
    except UNREADABLE as error:
        return None, error.strerror or "not all of it can be copied"


def _ways(
    item: Item, target: Path, root: Path, store: Store
) -> Iterator[tuple[Where, Callable[[], object]]]:
    place, kept = target / item.path, item.kept
    if kept is not None:
        yield "cache", lambda: store.take(kept, place, remote=False)
    yield "project", lambda: _copy(root / item.path, place)
    if kept is not None:
        yield "remote", lambda: store.take(kept, place, remote=True)
    if KINDS[item.kind] in MADE_AGAIN:
        yield "made again", lambda: _make_again(item, root, place)


def _copy(source: Path, target: Path) -> None:
    if not source.exists():
        raise NotThereError
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def _make_again(item: Item, root: Path, place: Path) -> None:
    """In a process isolated as a stage is. Raises `InputError` with its last lines."""
    import os

    folder = place.parent / f".{place.name}.again"
    place.parent.mkdir(parents=True, exist_ok=True)
    program = isolation.command("pipelines.rebuild", item.stage, str(folder))
    done = subprocess.run(
        program,
        cwd=root,
        env=isolation.environment(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    try:
        if done.returncode:
            lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
            raise InputError(" / ".join(lines[-2:]) or "it ended without a message")
        shutil.move(folder / item.path, place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _differing(item: Item, target: Path) -> list[str]:
    """(3) The files that are missing or have another digest."""
    return [proof.name for proof in item.proofs if not _is(target / proof.name, proof.sha256)]


def _left_out(item: Item, target: Path) -> list[str]:
    """Removes files that no evidence names."""
    folder = target / item.path
    files = [path for path in folder.rglob("*") if not path.is_dir()] if folder.is_dir() else []
    proven = [target / proof.name for proof in item.proofs]
    others = [path for path in files if not any(path.is_relative_to(good) for good in proven)]
    for path in others:
        path.unlink()
    count = len(others)
    return [f"left out: {count} files that no evidence names"] if count else []


def _is(path: Path, sha256: str) -> bool:
    return path.exists() and digest_of(path) == sha256


def _clear(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def worst(found: Iterable[Restored]) -> Where | None:
    """`not provable`, else `nowhere`, else None."""
    places = {each.where for each in found}
    order: tuple[Where, ...] = ("not provable", "nowhere")
    return next((where for where in order if where in places), None)
