"""`countersign versions`: the engine versions that results depend on."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pipelines import versions


@click.command()
@click.option(
    "--write", is_flag=True, help="Write the installed versions to pipelines/versions.yaml."
)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def command(write: bool, as_json: bool) -> None:
    """The engine versions that results depend on, by stage family."""
    changed = versions.write(Path.cwd()) if write else False
    found = versions.all_installed()
    if as_json:
        click.echo(json.dumps({"versions": found, "changed": changed}, indent=2, sort_keys=True))
        return
    for family, names in found.items():
        click.echo(
            f"{family}: " + ", ".join(f"{name} {version}" for name, version in names.items())
        )
    if write:
        click.echo(
            f"{versions.FILE}:"
            f" {'written; stages that depend on it run again' if changed else 'up to date'}"
        )
