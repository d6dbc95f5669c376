"""`countersign diff`: what differs between two versions."""

from __future__ import annotations

import json
from pathlib import Path

import click

from governance.base.text import visible
from governance.commands import session, sources
from governance.report.build import between


@click.command("diff")
@click.argument("old", metavar="MODEL/V1")
@click.argument("new", metavar="MODEL/V2")
@session.bundle_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(old: str, new: str, bundle: Path | None, origin: str | None, as_json: bool) -> None:
    """What differs between two versions: results, data, recipe, code, base model, libraries,
    rules.
    """
    read = sources.verified(sources.of(bundle, origin))
    changes = between(read, session.named(old), session.named(new))
    if as_json:
        rows = [change.model_dump() for change in changes]
        click.echo(
            json.dumps({"old": old, "new": new, "changes": rows}, indent=2, ensure_ascii=False)
        )
        return
    lines = [f"{old} -> {new}: {len(changes)} differences"]
    lines += [
        f"  {change.group:<12} {change.what}: {change.before} -> {change.now}" for change in changes
    ]
    click.echo("\n".join(visible(line) for line in lines))
