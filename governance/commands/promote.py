"""`countersign promote`: a version is given an alias that serves users, where people and evidence
say so.
"""

from __future__ import annotations

from datetime import datetime

import click

from governance.commands import moves, session
from governance.people import moves as releasing
from governance.people.moves import Move, Plan
from governance.people.speaking import Speaker
from governance.release.promotion import State


@click.command("promote")
@click.argument("version", metavar="MODEL/VERSION")
@click.option("--to", "alias", default="champion", show_default=True, help="The alias.")
@click.option("--reason", default="release", show_default=True, help="Stands in the request.")
@session.key_option
@session.role_option
@session.write_options
def command(
    version: str,
    alias: str,
    reason: str,
    key: str | None,
    role: str | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Give MODEL/VERSION an alias: sign the request, have it decided on the log as it stands, move
    the alias.

    Run again after approvals came in, it takes up the request that is still open. Exit code 4 when
    it is refused.
    """
    model, number = moves.named(version)

    def make(now: State, at: datetime, signs: Speaker | None) -> Plan:
        return releasing.plan(now, Move("promote", model, number, alias, reason), at, signs)

    moves.move(
        make,
        lambda now: releasing.requester_roles(now.authority.policies, alias),
        (key, role, yes, dry_run, as_json),
    )
