"""`countersign retire`: a version goes out of service by a signed decision; its row and its
evidence stay.
"""

from __future__ import annotations

from datetime import datetime

import click

from governance.commands import moves, session
from governance.people import moves as releasing
from governance.people.moves import Move, Plan
from governance.people.speaking import Speaker
from governance.release import retirement
from governance.release.promotion import State


@click.command("retire")
@click.argument("version", metavar="MODEL/VERSION")
@click.option("--reason", default="", help="Stands in the request; needed unless only files go.")
@session.key_option
@session.role_option
@click.option(
    "--delete-files", is_flag=True, help="Once it is retired: delete its weights here, for good."
)
@session.write_options
def command(
    version: str,
    reason: str,
    key: str | None,
    role: str | None,
    delete_files: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Take every governed alias that MODEL/VERSION holds away. Several people are behind it, as
    policy says.

    Once it is retired, --delete-files takes its weights out of this machine's registry; row, log
    and evidence stay.

    Exit code 4 when it is refused.
    """
    model, number = moves.named(version)

    def make(now: State, at: datetime, signs: Speaker | None) -> Plan:
        alias = releasing.retired_alias(now, model, number)
        return releasing.plan(now, Move("retire", model, number, alias, reason), at, signs)

    def roles(now: State) -> list[str]:
        return releasing.requester_roles(
            now.authority.policies, releasing.retired_alias(now, model, number)
        )

    if not delete_files:
        if not reason.strip():
            raise click.UsageError("Missing option '--reason'.")
        moves.move(make, roles, (key, role, yes, dry_run, as_json))
        return
    machine = session.here()
    gone = retirement.delete_files(
        session.current(session.read(machine)), machine, model, number, dry_run
    )
    told = [f"{'would delete' if dry_run else 'deleted'} {path}" for path in gone]
    session.show(
        {"deleted": gone, "written": not dry_run},
        told or ["no files of it are on this machine"],
        as_json,
    )
