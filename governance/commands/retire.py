"""`countersign retire`: a version goes out of service by a signed decision; its row and its evidence stay."""

from __future__ import annotations

from datetime import datetime

import click

from governance import releasing
from governance.commands import moves, session
from governance.people.speaking import Speaker
from governance.promotion import State
from governance.releasing import Move, Plan


@click.command("retire")
@click.argument("version", metavar="MODEL/VERSION")
@click.option("--reason", required=True, help="Stands in the request.")
@session.key_option
@session.role_option
@session.write_options
def command(
    version: str, reason: str, key: str | None, role: str | None, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """Take every governed alias that MODEL/VERSION holds away. Several people are behind it, as policy says.

    Exit code 4 when it is refused.
    """
    model, number = moves.named(version)

    def make(now: State, at: datetime, signs: Speaker | None) -> Plan:
        alias = releasing.retired_alias(now, model, number)
        return releasing.plan(now, Move("retire", model, number, alias, reason), at, signs)

    def roles(now: State) -> list[str]:
        return releasing.requester_roles(now.authority.policies, releasing.retired_alias(now, model, number))

    moves.move(make, roles, (key, role, yes, dry_run, as_json))
