"""`countersign data MODEL/VERSION`: the training sets, suites and models that a version depends on;
with `--get`, their proven files.

Exit codes: 0 everything is here or restored; 3 something is in no place that was asked; 4 policy
does not let you read it; 5 something cannot be proven.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from governance.base.errors import ConfigError, InputError, StorageError, VerificationError
from governance.base.progress import Progress
from governance.commands import session, sources
from governance.commands.admitting import admitted
from governance.commands.session import FILE, Call
from governance.history.contents import Contents
from governance.policy.readers import Content
from governance.release.reading import Wanted
from pipelines.dvc_store import store
from pipelines.new_folder import beside
from pipelines.restore import Item, Restored, Where, items, located, restore, worst

EXIT: dict[Where | None, int] = {
    None: 0,
    "nowhere": InputError.exit_code,
    "not provable": VerificationError.exit_code,
}
PLACES: dict[Where, str] = {
    "cache": "DVC's cache",
    "project": "the project",
    "remote": "the remote",
    "made again": "made again from its sources",
    "nowhere": "NOT AVAILABLE",
    "not provable": "NOT PROVABLE",
}


@click.command("data")
@click.argument("version", metavar="MODEL/VERSION")
@click.option("--get", "folder", type=FILE, metavar="DIR", help="Restore to this new folder.")
@click.option("--remote", metavar="NAME", help="The DVC remote to ask; else the default one.")
@session.options("key", "purpose", *session.READS)
def command(call: Call, version: str, folder: Path | None, remote: str | None) -> None:
    """The training sets, suites and models that MODEL/VERSION depends on. Without --get, nothing is
    read but their names.

    With --get: from DVC's cache, the project, the remote, or made again from sources. Only files
    with the recorded sha256 are written. Where policy says who may read, you need the right for
    each of them, and the log records the read.
    """
    model, number = session.named(version)
    now, root = sources.looking(call, model), Path.cwd()
    registration = now.registration(model, number).predicate
    wanted = items(now.view, registration, root)
    if folder is not None:
        admitted(call, "data", now, lambda: _contents(wanted, Contents(now.view)))
    found = _located(wanted, root) if folder is None else _get(wanted, root, folder, remote)
    call.show(document(version, found, folder), list(lines(version, found, folder)))
    call.exit(EXIT[worst(found)])


def _contents(wanted: Sequence[Item], known: Contents) -> list[Wanted]:
    """What the files are the content of."""
    return [
        Wanted.of(item.sha256, known.of_digest(item.sha256), _named(item, known)) for item in wanted
    ]


def _named(item: Item, known: Contents) -> frozenset[Content]:
    if item.kind in ("training set", "prompts", "suite"):
        return frozenset({Content("dataset", item.name)})
    return known.of_model(item.sha256) or known.of_stage(item.name)


def _located(wanted: Sequence[Item], root: Path) -> list[Restored]:
    with store(root, None, root) as kept:  # nothing is fetched
        return [located(item, root, kept) for item in wanted]


def _get(wanted: Sequence[Item], root: Path, folder: Path, remote: str | None) -> list[Restored]:
    """Everything is written and proven beside `folder`, which then appears in one step."""
    folder = folder.absolute()
    if folder.is_symlink() or (folder.exists() and not _is_empty(folder)):
        fix = "name a new folder"
        raise ConfigError("this is there already", where=str(folder), fix=fix)
    progress = Progress()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with beside(folder) as unfinished:
            made = unfinished / "made"
            made.mkdir()
            with store(root, remote, unfinished / "fetched") as kept:
                found = [_one(item, made, root, kept, progress) for item in wanted]
            if any(made.iterdir()):
                made.replace(folder)
    except OSError as error:
        raise StorageError(error.strerror or "cannot be written", where=str(folder)) from None
    return found


def _one(item: Item, made: Path, root: Path, kept: Any, progress: Progress) -> Restored:
    with progress.waiting(f"restoring {item.path or item.name}"):
        return restore(item, made, root, kept)


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def document(version: str, found: Sequence[Restored], folder: Path | None) -> dict[str, Any]:
    """For scripts."""
    return {
        "version": version,
        "folder": str(folder) if folder else None,
        "items": [_row(each) for each in found],
    }


def _row(each: Restored) -> dict[str, Any]:
    item = each.item
    return {
        "kind": item.kind,
        "name": item.name,
        "uses": list(item.uses),
        "path": item.path,
        "sha256": item.sha256,
        "dvc": item.kept.md5 if item.kept else None,
        "size": item.kept.size if item.kept else None,
        "where": each.where,
        "reasons": list(each.reasons),
    }


def lines(version: str, found: Sequence[Restored], folder: Path | None) -> Iterator[str]:
    """For people: first what is missing."""
    good = [each for each in found if each.where not in EXIT]
    done = f"restored and proven in {folder}" if folder else "here (nothing was read or proven)"
    yield f"{version}: {len(good)} of {len(found)} {done}"
    bad = [each for each in found if each.where in EXIT]
    for each in (*bad, *good):
        item = each.item
        yield (
            f"  {item.kind:<12} {item.name:<16} {PLACES[each.where]}"
            f"  {item.path or 'no path is known'}  sha256 {item.sha256[:12]}"
        )
        if each in bad:
            yield from (f"      {reason}" for reason in each.reasons)
    if bad and folder is None:
        yield f"next: countersign data {version} --get DIR asks the remote and makes data again"
