"""`countersign control`: what outside frameworks ask, and the evidence for it."""

from __future__ import annotations

from datetime import datetime

import click

from governance.base.errors import ConfigError
from governance.commands import session
from governance.commands.session import Call
from governance.commands.sources import records_of
from governance.report import controls, html
from governance.report.frameworks import catalogue_of, narrowed


@click.command("control")
@click.argument("words", metavar="[ID] MODEL/VERSION", nargs=-1, required=True)
@click.option("--framework", default="", help="Of one framework: its name, or how it begins.")
@click.option("--role", "roles", multiple=True, help="Of this role, e.g. provider; repeatable.")
@click.option("--jurisdiction", "regions", multiple=True, help="E.g. EU, US-CA; repeatable.")
@click.option("--on", "day", type=click.DateTime(["%Y-%m-%d"]), help="For dates; default: today.")
@session.options(*session.READS)
def command(
    call: Call,
    words: tuple[str, ...],
    framework: str,
    roles: tuple[str, ...],
    regions: tuple[str, ...],
    day: datetime | None,
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
    records = records_of(call, words[-1], call.now)
    policies = records.facts.policies
    if policies is None:
        raise ConfigError(f"there is no catalogue of controls: {records.facts.policies_note}")
    found = catalogue_of(policies).find(" ".join(words[:-1]), framework)
    if not found:
        raise ConfigError("the policies of this version have no policies/controls/*.yaml")
    narrow = narrowed(found, roles, regions)
    report = controls.assess(records.facts, records.verified, narrow, (day or call.now).date())
    call.show(report, html.lines("control.txt.j2", answer=report))
