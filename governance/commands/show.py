"""`countersign show`: one section of a version's report, for a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import click

from governance.base.errors import ConfigError, did_you_mean
from governance.commands import session, sources
from governance.report import sections

EPILOG = "\b\nSections:\n" + "\n".join(
    f"  {name:<12} {section.question}" for name, section in sections.SECTIONS.items()
)


@click.command("show", epilog=EPILOG)
@click.argument("version", metavar="MODEL/VERSION")
@click.argument("section", metavar="[SECTION]", default="page")
@sources.at_option
@session.bundle_options
@click.option(
    "--json", "as_json", is_flag=True, help="Print the section as it stands in the report's JSON."
)
@click.pass_context
def command(
    ctx: click.Context,
    version: str,
    section: str,
    moment: str | None,
    bundle: Path | None,
    origin: str | None,
    as_json: bool,
) -> None:
    """One section of the report of MODEL/VERSION; page one where none is named. Exit codes as of
    `report`.
    """
    section = sections.ALSO.get(section, section)
    if section not in sections.SECTIONS:
        expected = f"one of: {', '.join(sections.SECTIONS)}"
        raise ConfigError(
            f"{section[:40]!r} is no section",
            expected=expected,
            fix=did_you_mean(section, sections.SECTIONS),
        )
    report = sources.report_of(version, moment, bundle, origin)
    if as_json:
        click.echo(json.dumps(sections.document(report, section), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(sections.text(report, section)))
    ctx.exit(sources.exit_code(report))
