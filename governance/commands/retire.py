"""`countersign retire`: take a version out of service. Its row and its evidence stay."""

from __future__ import annotations

from datetime import datetime

import click

from governance.commands import moves, session
from governance.commands.session import Signing
from governance.history.state import LogState
from governance.people import moves as releasing
from governance.people.moves import Move, Plan
from governance.people.speaking import Speaker
from governance.release import retirement


@click.command("retire")
@click.argument("version", metavar="MODEL/VERSION")
@click.option(
    "--reason", default="", help="Recorded in the request; not needed with --delete-files."
)
@click.option("--delete-files", is_flag=True, help="Delete the weights of a retired version here.")
@session.signs
def command(version: str, reason: str, delete_files: bool, signing: Signing) -> None:
    """Remove every governed alias from MODEL/VERSION. Policy says how many people have to sign.

    Once it is retired, --delete-files deletes its weights from this machine's registry. Its row,
    the log and the evidence stay. Exit code 4 when it is refused.
    """
    model, number = moves.named(version)

    def make(now: LogState, at: datetime, signs: Speaker | None) -> Plan:
        alias = releasing.retired_alias(now, model, number)
        return releasing.plan(now, Move("retire", model, number, alias, reason), at, signs)

    def roles(now: LogState) -> list[str]:
        return releasing.requester_roles(
            now.authority.policies, releasing.retired_alias(now, model, number)
        )

    if not delete_files:
        if not reason.strip():
            raise click.UsageError("Missing option '--reason'.")
        moves.move(make, roles, signing)
        return
    machine = session.here()
    deleted = retirement.delete_files(
        session.current(session.read(machine)), machine, model, number, signing.dry_run
    )
    lines = [f"{'would delete' if signing.dry_run else 'deleted'} {path}" for path in deleted]
    session.show(
        {"deleted": deleted, "written": not signing.dry_run},
        lines or ["this machine has no files of it"],
        signing.as_json,
    )
