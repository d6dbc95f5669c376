"""`countersign show`, `diff`: parts of a report, for a terminal."""

from __future__ import annotations

import click

from governance.base.errors import ConfigError, did_you_mean
from governance.commands import session
from governance.commands.exit_codes import exit_code
from governance.commands.session import Call, named
from governance.commands.sources import of, verified
from governance.report import sections
from governance.report.build import between, build

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
    show(call, version, section)


def show(call: Call, version: str, section: str) -> None:
    """Prints a section and ends the command. Raises `ConfigError` for an unknown one."""
    if section not in sections.SECTIONS:
        raise ConfigError(
            f"{section[:40]!r} is no section",
            expected=f"one of: {', '.join(sections.SECTIONS)}",
            fix=did_you_mean(section, sections.SECTIONS),
        )
    page_one = section == sections.PAGE_ONE and not call.as_json
    report = build(of(call), *named(version), as_of=call.as_of, clock=call.now, page_one=page_one)
    if call.as_json:
        call.show(sections.document(report, section), ())
    else:
        session.tell(sections.text(report, section))
    call.exit(exit_code(report))


@click.command("diff")
@click.argument("old", metavar="MODEL/V1")
@click.argument("new", metavar="MODEL/V2")
@session.options(*session.READS)
def diff_command(call: Call, old: str, new: str) -> None:
    """What differs between two versions: results, data, recipe, code, base model, libraries,
    rules.
    """
    read, versions = verified(of(call)), (named(old), named(new))
    for model, _ in versions:
        read.must_show_all_of(model)
    changes = between(read, *versions)
    lines = [f"{old} -> {new}: {len(changes)} differences"]
    for change in changes:
        lines.append(f"  {change.group:<12} {change.what}: {change.before} -> {change.now}")
    rows = [change.model_dump() for change in changes]
    call.show({"old": old, "new": new, "changes": rows}, lines)
