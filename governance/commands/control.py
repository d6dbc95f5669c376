"""`countersign control`: what outside frameworks ask, and what evidence a version has for it."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import click

from governance.base.errors import ConfigError
from governance.commands import session
from governance.exports.text import cleaned
from governance.policy.controls import narrowed


@click.command("control")
@click.argument("words", metavar="[ID] MODEL/VERSION", nargs=-1, required=True)
@click.option("--framework", default="", help="Of one framework: its name, or how it begins.")
@click.option(
    "--role",
    "roles",
    multiple=True,
    help="Of this role only, e.g. provider, deployer, controller. May be given again.",
)
@click.option(
    "--jurisdiction",
    "jurisdictions",
    multiple=True,
    help="Of this jurisdiction only, e.g. EU, US-CA, international. May be given again.",
)
@click.option(
    "--on",
    "day",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The day for which dates are shown; default today.",
)
@session.bundle_options
@session.json_option
def command(
    words: tuple[str, ...],
    framework: str,
    roles: tuple[str, ...],
    jurisdictions: tuple[str, ...],
    day: datetime | None,
    bundle: Path | None,
    origin: str | None,
    as_json: bool,
) -> None:
    """Show what controls ask, the evidence that MODEL/VERSION has for it, the gap, and since when
    it is in force.

    ID is an id as this command prints it, with or without the framework, or how an id begins.
    Without ID, all controls are shown. Linked evidence exists and verifies; whether a duty is met
    is not judged here.

    \b
    countersign control "EU-AI-ACT Annex IV(2)(g)" support-desk/1
    countersign control support-desk/1 --jurisdiction EU --role provider
    """
    from governance.report.controls import assess, lines

    now = session.clock()
    records = session.records_of(session.named(words[-1]), bundle, origin, now)
    policies = records.facts.policies
    if policies is None:
        raise ConfigError(f"there is no catalogue of controls: {records.facts.policies_note}")
    controls = policies.controls.find(" ".join(words[:-1]), framework)
    if not controls:
        raise ConfigError(
            "the policies of this version have no controls", expected="policies/controls/*.yaml"
        )
    report = assess(
        records.facts,
        records.verified,
        narrowed(controls, roles, jurisdictions),
        (day or now).date(),
    )
    if as_json:
        click.echo(json.dumps(cleaned(report.model_dump()), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(lines(report)))
