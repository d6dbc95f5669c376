"""`countersign lineage`: where a version comes from, source by source."""

from __future__ import annotations

from pathlib import Path

import click

from governance.commands import session, show, sources


@click.command("lineage")
@click.argument("version", metavar="MODEL/VERSION")
@sources.at_option
@session.bundle_options
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print nodes and edges as they stand in the report's JSON.",
)
@click.pass_context
def command(
    ctx: click.Context,
    version: str,
    moment: str | None,
    bundle: Path | None,
    origin: str | None,
    as_json: bool,
) -> None:
    """Everything MODEL/VERSION was made from, by digest: sources, datasets, stages, bases. As `show
    ... lineage`.
    """
    given = {"moment": moment, "bundle": bundle, "origin": origin, "as_json": as_json}
    ctx.invoke(show.command, version=version, section="lineage", **given)
