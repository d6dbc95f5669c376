"""`countersign upgrade`: takes over newer code and engines into `countersign.lock`, and merges a
newer template into the project's files (`pipelines.template_merge`).

It first says which families changed and which stages run again, and shows what the template
changes. A family whose code and engines did not change is not run again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from governance.base.errors import ConfigError, CountersignError
from pipelines import lock, template_merge
from pipelines.families import names
from pipelines.lock import Difference
from pipelines.params import Params, load_params
from pipelines.plan.again import again
from pipelines.plan.changes import Planned
from pipelines.plan.graph import graph
from pipelines.template_merge import Newer


@dataclass(frozen=True)
class Upgrade:
    """What an upgrade changes."""

    differences: Sequence[Difference]
    stages: Sequence[Planned]
    """Those with results that run again."""
    total: int | None
    """How many stages the project has; None if its parameters cannot be read before somebody has
    resolved a conflict in them. Then `stages` is empty.
    """


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(dry_run: bool, as_json: bool) -> None:
    """Show which stages newer code or engines run again and why, and what a newer template changes;
    then write countersign.lock and the merged files. Exit code 2: conflicts are left to you.
    """
    root = Path.cwd()
    if not (root / "params.yaml").is_file():
        fix = "change to the project's folder"
        raise ConfigError("no params.yaml here", where=str(root), expected="a project", fix=fix)
    with _while_nothing_runs(root):
        merged = template_merge.newer(root)
        found = upgrade(root, merged)
        if not as_json:
            click.echo("\n".join([*lines(found), *(merged.lines() if merged else ())]))
        changes = bool(found.differences or merged)
        if changes and not dry_run:
            write(root, found, merged)
    written = changes and not dry_run
    if as_json:
        click.echo(json.dumps(document(found, merged, written), indent=2))
    elif changes:
        click.echo("\n".join(_result(merged, written)))
    if written and merged and merged.conflicts:
        click.get_current_context().exit(ConfigError.exit_code)


def _while_nothing_runs(root: Path) -> Any:
    """A stage that ran under one entry must not be kept under another."""
    if not (root / ".dvc").is_dir():
        return nullcontext()
    from pipelines.commands.repro import one_at_a_time

    return one_at_a_time(root)


def upgrade(root: Path, merged: Newer | None) -> Upgrade:
    """What is installed against the lock of the project at `root`. Writes nothing."""
    params = _params(root, merged)
    if params is None:
        return Upgrade(lock.differences(root, names()), (), None)
    stages = graph(params)
    entries = {name: lock.installed(name) for name in names()}
    differences = lock.differences(root, names())
    return Upgrade(differences, again(root, stages, entries), len(stages))


def _params(root: Path, merged: Newer | None) -> Params | None:
    """The parameters, as the template's merge leaves them where the installed version cannot read
    them as they are. None if the merge leaves a conflict in them. Raises `ConfigError`.
    """
    try:
        return load_params(root)
    except CountersignError:
        after = {change.path: change.after for change in merged.changes} if merged else {}
        text = after.get("params.yaml")
        if merged is None or text is None:
            raise
        if "params.yaml" in merged.conflicts:
            return None
    with TemporaryDirectory() as folder:
        Path(folder, "params.yaml").write_text(text, encoding="utf-8")
        return load_params(Path(folder))


def write(root: Path, found: Upgrade, merged: Newer | None) -> None:
    """Writes the merged files, then the lock. Raises `ConfigError` or `StorageError`."""
    if merged:
        merged.write(root)
    if found.differences:
        lock.write(root)


def document(found: Upgrade, merged: Newer | None, written: bool) -> dict[str, Any]:
    """For scripts."""
    return {
        "differences": [asdict(each) for each in found.differences],
        "stages": [asdict(each) for each in found.stages],
        "unchanged": None if found.total is None else found.total - len(found.stages),
        "template": merged.document() if merged else None,
        "written": written,
    }


def lines(found: Upgrade) -> Iterator[str]:
    """For people."""
    changed = list(dict.fromkeys(each.family for each in found.differences))
    if not changed:
        yield f"{lock.FILE} is up to date: no code and no engine of a family has changed"
        return
    yield f"CHANGED  {len(changed)} of {len(names())} families of stages"
    width = max(map(len, changed))
    for name in changed:
        own = [each for each in found.differences if each.family == name]
        yield f"  {name:<{width}}  {'; '.join(lock.in_words(own, named=False))}"
    if found.total is None:
        yield "RUN AGAIN  not known before the conflict in params.yaml is resolved"
        return
    yield f"RUN AGAIN  {len(found.stages)} of {found.total} stages"
    rows: dict[str, list[str]] = {}
    for each in found.stages:
        rows.setdefault(_why(each), []).append(each.stage)
    for why, stages in rows.items():
        yield f"  {', '.join(stages)}: {why}"


def _result(merged: Newer | None, written: bool) -> Iterator[str]:
    """What was written, and the next step."""
    if not written:
        yield "nothing was written (--dry-run)"
        return
    conflicts = merged.conflicts if merged else []
    if conflicts:
        yield f"CONFLICTS in {', '.join(conflicts)}: edit between the marks <<<<<<< and >>>>>>>"
    if merged and any(change.path.startswith("policies/") for change in merged.changes):
        yield "policies changed: people sign them before they are in force (docs/people.md)"
    yield "written; next: git diff, countersign plan, git commit"


def _why(each: Planned) -> str:
    if each.why == "changed":
        return "; ".join(each.causes)
    return "only if what an earlier one of these writes changes"
