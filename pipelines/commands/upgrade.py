"""`countersign upgrade`: takes over newer code and engines into `countersign.lock`.

It first says which families changed and which stages run again. A family whose code and engines did
not change is not run again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from governance.base.errors import ConfigError
from pipelines import lock
from pipelines.families import names
from pipelines.lock import Difference
from pipelines.params import load_params
from pipelines.plan.again import again
from pipelines.plan.changes import Planned
from pipelines.plan.graph import graph


@dataclass(frozen=True)
class Upgrade:
    """What an upgrade changes."""

    differences: Sequence[Difference]
    stages: Sequence[Planned]
    """Those with results that run again."""
    total: int
    """How many stages the project has."""


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(dry_run: bool, as_json: bool) -> None:
    """Show which stages newer code or engines run again and why; then write countersign.lock."""
    root = Path.cwd()
    if not (root / "params.yaml").is_file():
        fix = "change to the project's folder"
        raise ConfigError("no params.yaml here", where=str(root), expected="a project", fix=fix)
    with _while_nothing_runs(root):
        found = upgrade(root)
        if not as_json:
            click.echo("\n".join(lines(found)))
        if found.differences and not dry_run:
            lock.write(root)
    written = bool(found.differences) and not dry_run
    if as_json:
        click.echo(json.dumps(document(found, written), indent=2))
    elif found.differences:
        click.echo(f"{lock.FILE}: {'written; commit it' if written else 'not written (--dry-run)'}")


def _while_nothing_runs(root: Path) -> Any:
    """A stage that ran under one entry must not be kept under another."""
    if not (root / ".dvc").is_dir():
        return nullcontext()
    from pipelines.commands.repro import one_at_a_time

    return one_at_a_time(root)


def upgrade(root: Path) -> Upgrade:
    """What is installed against the lock of the project at `root`. Writes nothing."""
    stages = graph(load_params(root))
    entries = {name: lock.installed(name) for name in names()}
    differences = lock.differences(root, names())
    return Upgrade(differences, again(root, stages, entries), len(stages))


def document(found: Upgrade, written: bool) -> dict[str, Any]:
    """For scripts."""
    return {
        "differences": [asdict(each) for each in found.differences],
        "stages": [asdict(each) for each in found.stages],
        "unchanged": found.total - len(found.stages),
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
    yield f"RUN AGAIN  {len(found.stages)} of {found.total} stages"
    rows: dict[str, list[str]] = {}
    for each in found.stages:
        rows.setdefault(_why(each), []).append(each.stage)
    for why, stages in rows.items():
        yield f"  {', '.join(stages)}: {why}"


def _why(each: Planned) -> str:
    if each.why == "changed":
        return "; ".join(each.causes)
    return "only if what an earlier one of these writes changes"
