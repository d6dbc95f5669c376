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
    installed = versions.all_installed()
    if as_json:
        document = {"versions": installed, "changed": changed}
        click.echo(json.dumps(document, indent=2, sort_keys=True))
        return
    for family, engines in installed.items():
        listed = ", ".join(f"{name} {version}" for name, version in engines.items())
        click.echo(f"{family}: {listed}")
    if write:
        outcome = "written; stages that depend on it run again" if changed else "up to date"
        click.echo(f"{versions.FILE}: {outcome}")
