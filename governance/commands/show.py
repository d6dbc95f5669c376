"""`countersign show`, `lineage`, `diff` and `control`: parts of a report, for a terminal."""

from __future__ import annotations

from datetime import datetime

import click

from governance.base.errors import ConfigError, did_you_mean
from governance.commands import session
from governance.commands.session import Call, named
from governance.commands.sources import exit_code, of, records_of, report_of, verified
from governance.report import controls, sections
from governance.report.build import between
from governance.report.frameworks import catalogue_of, narrowed

EPILOG = "\b\nSections:\n" + "\n".join(
    f"  {name:<12} {section.question}" for name, section in sections.SECTIONS.items()
)


@click.command("show", epilog=EPILOG)
@click.argument("version", metavar="MODEL/VERSION")
@click.argument("section", metavar="[SECTION]", default="page")
@session.options("moment", *session.READS)
def show_command(call: Call, version: str, section: str) -> None:
    """One section of the report of MODEL/VERSION; page one where none is named. Exit codes as of
    `report`.
    """
    _show(call, version, sections.ALSO.get(section, section))


@click.command("lineage")
@click.argument("version", metavar="MODEL/VERSION")
@session.options("moment", *session.READS)
def lineage_command(call: Call, version: str) -> None:
    """Everything MODEL/VERSION was made from, by digest: sources, datasets, stages, bases. As `show
    ... lineage`.
    """
    _show(call, version, "lineage")


def _show(call: Call, version: str, section: str) -> None:
    if section not in sections.SECTIONS:
        raise ConfigError(
            f"{section[:40]!r} is no section",
            expected=f"one of: {', '.join(sections.SECTIONS)}",
            fix=did_you_mean(section, sections.SECTIONS),
        )
    report = report_of(call, version)
    lines = () if call.as_json else sections.text(report, section)
    call.show(sections.document(report, section), lines)
    call.exit(exit_code(report))


@click.command("diff")
@click.argument("old", metavar="MODEL/V1")
@click.argument("new", metavar="MODEL/V2")
@session.options(*session.READS)
def diff_command(call: Call, old: str, new: str) -> None:
    """What differs between two versions: results, data, recipe, code, base model, libraries,
    rules.
    """
    changes = between(verified(of(call.bundle, call.origin)), named(old), named(new))
    lines = [f"{old} -> {new}: {len(changes)} differences"]
    for change in changes:
        lines.append(f"  {change.group:<12} {change.what}: {change.before} -> {change.now}")
    rows = [change.model_dump() for change in changes]
    call.show({"old": old, "new": new, "changes": rows}, lines)


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
@session.options(*session.READS)
def control_command(
    call: Call,
    words: tuple[str, ...],
    framework: str,
    roles: tuple[str, ...],
    jurisdictions: tuple[str, ...],
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
        raise ConfigError(
            "the policies of this version have no controls", expected="policies/controls/*.yaml"
        )
    report = controls.assess(
        records.facts,
        records.verified,
        narrowed(found, roles, jurisdictions),
        (day or call.now).date(),
    )
    call.show(report, controls.lines(report))
